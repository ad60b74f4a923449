//! The API's own description, OpenAPI 3.1, generated from the handlers. It contains no secret and requires no
//! token.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Response};
use axum::response::IntoResponse;
use bytes::Bytes;
use utoipa::openapi::RefOr;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{IntoResponses, OpenApi};

/// Its path.
pub(super) const PATH: &str = "/admin/v1/openapi.json";

/// The security scheme that every operation names.
pub(super) const SCHEME: &str = "administrator_token";

/// The document before its paths.
pub(super) fn head() -> utoipa::openapi::OpenApi {
    Head::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "firman admin API",
        description = "Agents, groups, roles, resources, credentials, trusted issuers, delegations, signing keys and the audit of one issuer. \
                       Times are Unix seconds. Errors are RFC 9457 problems."
    ),
    components(schemas(crate::api::problem::Problem)),
    modifiers(&BearerToken)
)]
struct Head;

struct BearerToken;

impl utoipa::Modify for BearerToken {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("The token of an administrator"))
            .build();
        document
            .components
            .get_or_insert_default()
            .add_security_scheme(SCHEME, SecurityScheme::Http(scheme));
    }
}

/// The problems that any operation may return.
#[derive(IntoResponses)]
#[response(
    status = "default",
    description = "A problem (RFC 9457)",
    content_type = "application/problem+json"
)]
pub(super) struct Problems(
    #[expect(dead_code, reason = "read by the derive, for the document")]
    crate::api::problem::Problem,
);

/// Parts that OpenAPI 3.1 requires and the derives omit: an `operationId` that is unique in the document
/// (§4.8.10; handlers of different nouns share their names) and a description of every response (§4.8.17).
fn complete(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        let operations = [
            &mut item.get,
            &mut item.post,
            &mut item.put,
            &mut item.patch,
            &mut item.delete,
        ];
        for operation in operations.into_iter().flatten() {
            let noun = operation.tags.iter().flatten().next();
            if let (Some(noun), Some(id)) = (noun, &operation.operation_id) {
                operation.operation_id = Some(format!("{noun}_{id}"));
            }
            for (status, response) in &mut operation.responses.responses {
                if let RefOr::T(response) = response
                    && response.description.is_empty()
                {
                    response.description = meaning(status).to_owned();
                }
            }
        }
    }
}

fn meaning(status: &str) -> &'static str {
    match status {
        "201" => "Made.",
        "204" => "Done; there is nothing to show.",
        _ => "Done.",
    }
}

/// The finished document, serialized once.
#[derive(Clone)]
pub(super) struct Document(Bytes);

impl Document {
    pub(super) fn new(mut document: utoipa::openapi::OpenApi) -> Self {
        complete(&mut document);
        let json = document
            .to_json()
            .expect("a document made of strings and maps serializes");
        Self(Bytes::from(json))
    }

    pub(super) async fn serve(self) -> Response<Body> {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (
                CACHE_CONTROL,
                HeaderValue::from_static("public, max-age=300"),
            ),
        ];
        (headers, self.0).into_response()
    }
}
