//! `/readyz`: whether this process can issue a token now, and why not. Needs no authentication.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::issuer::Issuer;
use crate::issuer::readiness::NotReady;

pub(super) async fn readyz(State(issuer): State<Arc<Issuer>>) -> Response {
    let (status, body) = match issuer.check_ready().await {
        Ok(()) => (StatusCode::OK, json!({ "status": "ready" })),
        Err(NotReady { reason }) => {
            tracing::warn!(reason, "this process is not ready");
            (
                StatusCode::SERVICE_UNAVAILABLE,
                json!({ "status": "not ready", "reason": reason }),
            )
        }
    };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}
