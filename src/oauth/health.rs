//! `/healthz`: the process is up and responds. It does not check the database, which discovery and JWKS do not
//! need.

use axum::Json;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::error;

pub(super) async fn healthz() -> Response {
    (
        [(header::CACHE_CONTROL, "no-store")],
        Json(json!({ "status": "ok" })),
    )
        .into_response()
}

/// A path without a route. By default load balancers check with `OPTIONS /` (HAProxy) or with `OPTIONS *` for the
/// server as a whole (RFC 9110 §9.3.7): both get a response that shows that the process is up.
pub(super) async fn anywhere_else(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS && matches!(uri.path(), "/" | "*") {
        return (
            StatusCode::NO_CONTENT,
            [
                (header::ALLOW, "GET, HEAD, OPTIONS, POST"),
                (header::CACHE_CONTROL, "no-store"),
            ],
        )
            .into_response();
    }
    error::not_found().await
}
