//! Versions as entity tags (RFC 9110 §8.8.3): `ETag: "v12"` on every single object, `If-Match` on
//! every change of one.

use std::sync::Arc;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{ETAG, IF_MATCH, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::IntoParams;

use crate::issuer::Issuer;

use super::problem::Problem;

/// The version that a caller saw; `None` when the caller does not state one, or accepts any (`*`).
pub(super) struct IfMatch(pub(super) Option<i64>);

/// [`IfMatch`] in the API's description.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct IfMatchHeader {
    /// The ETag of the version that is to be changed; a stale one is refused with 412.
    #[param(rename = "If-Match", pattern = r#"^(\*|"v[0-9]+")$"#)]
    #[expect(dead_code, reason = "read by the derive, for the document")]
    if_match: Option<String>,
}

impl FromRequestParts<Arc<Issuer>> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Issuer>) -> Result<Self, Problem> {
        let mut headers = parts.headers.get_all(IF_MATCH).iter();
        let only = match (headers.next(), headers.next()) {
            (None, _) => return Ok(Self(None)),
            (Some(only), None) => only.to_str().unwrap_or_default().trim(),
            (Some(_), Some(_)) => "",
        };
        if only == "*" {
            return Ok(Self(None));
        }
        let version = only
            .strip_prefix("\"v")
            .and_then(|rest| rest.strip_suffix('"'))
            .and_then(|digits| digits.parse().ok());
        version.map(|version| Self(Some(version))).ok_or_else(|| {
            Problem::invalid(
                "If-Match",
                "must be one ETag as it was given, such as \"v12\"",
            )
        })
    }
}

/// One object, with its version.
pub(super) struct Tagged<T> {
    pub(super) version: i64,
    pub(super) body: T,
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        (etag(self.version), Json(self.body)).into_response()
    }
}

/// A new object, with its version and its location.
pub(super) struct Created<T> {
    pub(super) version: Option<i64>,
    pub(super) location: String,
    pub(super) body: T,
}

impl<T: Serialize> IntoResponse for Created<T> {
    fn into_response(self) -> Response {
        let mut response = (StatusCode::CREATED, Json(self.body)).into_response();
        if let Ok(location) = HeaderValue::try_from(format!("{}{}", super::BASE, self.location)) {
            response.headers_mut().insert(LOCATION, location);
        }
        if let Some(version) = self.version {
            response.headers_mut().extend(etag(version));
        }
        response
    }
}

fn etag(version: i64) -> [(HeaderName, HeaderValue); 1] {
    [(
        ETAG,
        HeaderValue::try_from(format!("\"v{version}\"")).expect("digits are a header value"),
    )]
}
