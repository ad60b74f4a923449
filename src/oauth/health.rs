//! `/healthz`: the process is up and answers. Says nothing about the database: discovery and JWKS
//! are served without it.

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

/// A path without a route. Load balancers check by default with `OPTIONS /` (HAProxy) or ask
/// for the server as a whole with `OPTIONS *` (RFC 9110 §9.3.7): both learn that the process answers.
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
