//! `/readyz`: this process can issue a token now. Needs no authentication and says no more than that.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::issuer::Issuer;

pub(super) async fn readyz(State(issuer): State<Arc<Issuer>>) -> Response {
    let (status, body) = match issuer.check_ready().await {
        Ok(()) => (StatusCode::OK, json!({ "status": "ready" })),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "this process is not ready"
            );
            (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({ "status": "not ready" }),
            )
        }
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
