//! `POST /v1/messages` and `GET /v1/models`, for tokens that were issued here. The answer is fixed text that
//! names the service account: it shows the authenticated caller, not the answer of a model.

use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::Shared;
use super::answer::{ApiError, belonging_to, ok, respond};
use super::caller::{check_version, messenger};
use super::exchange::json_object;
use super::state::Grant;
use crate::ports::request::RequestId;

/// The only listed model. Requests may name any.
const MODEL: &str = "claude-simulated";

pub(super) async fn messages(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    for_messenger(&shared, &headers, &id, |grant| {
        answer(&shared, grant, &body)
    })
}

/// Answers with the result of `act` for an authenticated bearer.
fn for_messenger(
    shared: &Shared,
    headers: &HeaderMap,
    id: &RequestId,
    act: impl FnOnce(&Grant) -> Result<Response, ApiError>,
) -> Response {
    match messenger(shared, headers) {
        Err(refused) => refused.response(id),
        Ok(grant) => {
            let answer = check_version(headers).and_then(|()| act(&grant));
            let workspace = grant.workspace_id.as_ref();
            belonging_to(respond(answer, id), &shared.0.organization_id, workspace)
        }
    }
}

fn answer(shared: &Shared, grant: &Grant, body: &[u8]) -> Result<Response, ApiError> {
    let body = json_object(body)?;
    let model = check_request(&body)?;
    let text = format!("simulated answer for {}", grant.service_account_id);
    let message = json!({
        "id": shared.stamp().id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [{ "type": "text", "text": text }],
        "stop_reason": "end_turn",
        "stop_sequence": null,
        "usage": { "input_tokens": 1, "output_tokens": 4 },
    });
    if body.get("stream") == Some(&Value::Bool(true)) {
        Ok(streamed(&message))
    } else {
        Ok(ok(&message))
    }
}

/// Checks the required members; returns the model.
fn check_request(body: &Map<String, Value>) -> Result<&str, ApiError> {
    let required = |field: &str| ApiError::invalid(format!("{field}: Field required"));
    let model = body
        .get("model")
        .and_then(Value::as_str)
        .ok_or_else(|| required("model"))?;
    let max_tokens = body
        .get("max_tokens")
        .ok_or_else(|| required("max_tokens"))?;
    if max_tokens.as_u64().is_none_or(|tokens| tokens == 0) {
        return Err(ApiError::invalid(
            "max_tokens: must be a whole number of at least 1",
        ));
    }
    let messages = body.get("messages").ok_or_else(|| required("messages"))?;
    if messages.as_array().is_none_or(Vec::is_empty) {
        return Err(ApiError::invalid(
            "messages: at least one message is required",
        ));
    }
    Ok(model)
}

/// The same message as server-sent events.
fn streamed(message: &Value) -> Response {
    let mut start = message.clone();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    let events = [
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": message["content"][0]["text"]},
        }),
        json!({"type": "content_block_stop", "index": 0}),
        json!({
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": null},
            "usage": {"output_tokens": 4},
        }),
        json!({"type": "message_stop"}),
    ];
    let text: String = events
        .iter()
        .map(|event| {
            let name = event["type"].as_str().unwrap_or_default();
            format!("event: {name}\ndata: {event}\n\n")
        })
        .collect();
    let headers = [
        (CONTENT_TYPE, "text/event-stream; charset=utf-8"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, text).into_response()
}

fn model_value() -> Value {
    json!({
        "type": "model",
        "id": MODEL,
        "display_name": "Simulated",
        "created_at": "2026-01-01T00:00:00Z",
    })
}

pub(super) async fn models(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    headers: HeaderMap,
) -> Response {
    for_messenger(&shared, &headers, &id, |_| {
        Ok(ok(&json!({
            "data": [model_value()],
            "has_more": false,
            "first_id": MODEL,
            "last_id": MODEL,
        })))
    })
}

pub(super) async fn model(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Response {
    for_messenger(&shared, &headers, &id, |_| {
        if name == MODEL {
            Ok(ok(&model_value()))
        } else {
            Err(ApiError::not_found("model"))
        }
    })
}
