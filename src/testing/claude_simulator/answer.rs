//! Answers in Claude's form: `{"type":"error","error":{"type","message"},"request_id"}`, the header
//! `request-id`, and the header that marks a simulation.

use axum::extract::Request;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::domain::Invalid;
use crate::ports::request::RequestId;
use crate::relying_party::claude::{Denied, OrganizationId, WorkspaceId};

/// The longest explanation: the SDKs cut an error's text off after 2000 characters.
const EXPLANATION_MAX_CHARS: usize = 1200;
/// The id behind the word `default`.
const DEFAULT_WORKSPACE: &str = "wrkspc_01SimulatedDefault";

const ANTHROPIC_ORGANIZATION_ID: HeaderName = HeaderName::from_static("anthropic-organization-id");
const ANTHROPIC_WORKSPACE_ID: HeaderName = HeaderName::from_static("anthropic-workspace-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const X_SIMULATION: HeaderName = HeaderName::from_static("x-simulation");

/// A request id that looks like Claude's, made from the server's own.
pub(super) fn request_id(id: &RequestId) -> String {
    let letters: String = id.0.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("req_{letters}")
}

/// A JSON answer.
pub(super) fn ok(value: &Value) -> Response {
    json_response(StatusCode::OK, value)
}

fn json_response(status: StatusCode, value: &Value) -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (status, headers, value.to_string()).into_response()
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    /// The reason of a denial, with `--explain`; Claude never sends it.
    explanation: Option<Denied>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            message: message.into(),
            explanation: None,
        }
    }

    /// 400.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// 401.
    pub(super) fn authentication(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "authentication_error", message)
    }

    /// 403.
    pub(super) fn permission(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "permission_error", message)
    }

    /// 404.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found_error",
            format!("{what} not found"),
        )
    }

    /// 409. Not documented: the type that goes with it.
    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "invalid_request_error", message)
    }

    /// The opaque answer to every denial, with its reason only on request.
    pub(super) fn denied(denied: &Denied, explain: bool) -> Self {
        let mut error = Self::authentication("Authentication failed");
        error.explanation = explain.then(|| denied.clone());
        error
    }

    /// The answer to the request of that id.
    pub(super) fn response(&self, id: &RequestId) -> Response {
        let mut body = json!({
            "type": "error",
            "error": { "type": self.kind, "message": self.message },
            "request_id": request_id(id),
        });
        if let Some(denied) = &self.explanation {
            // Of an error of the exchange the SDKs keep the members of RFC 6749 §5.2 and drop the others.
            body["error_description"] = json!(explained(denied));
            body["simulation"] = json!({
                "reason": denied.denial.as_str(),
                "detail": denied.detail,
                "hint": denied.denial.remedy(),
            });
        }
        json_response(self.status, &body)
    }
}

/// A denial and its hint as one text.
fn explained(denied: &Denied) -> String {
    let Denied { denial, detail } = denied;
    let mut detail = detail.clone();
    if let Some((end, _)) = detail.char_indices().nth(EXPLANATION_MAX_CHARS) {
        detail.truncate(end);
        detail.push('…');
    }
    format!("{denial}: {detail}. hint: {}", denial.remedy())
}

/// Adds the headers for organization and workspace, as Claude does on every answer but a 401.
pub(super) fn belonging_to(
    mut response: Response,
    organization: &OrganizationId,
    workspace: Option<&WorkspaceId>,
) -> Response {
    let named = workspace.filter(|workspace| !workspace.is_default());
    let workspace = named.map_or(DEFAULT_WORKSPACE, WorkspaceId::as_str);
    for (name, id) in [
        (ANTHROPIC_ORGANIZATION_ID, organization.as_str()),
        (ANTHROPIC_WORKSPACE_ID, workspace),
    ] {
        if let Ok(id) = HeaderValue::try_from(id) {
            response.headers_mut().insert(name, id);
        }
    }
    response
}

impl From<Invalid> for ApiError {
    /// Malformed ids in Claude's words: `federation_rule_id is not a well-formed …`; other faults with the field as
    /// prefix.
    fn from(invalid: Invalid) -> Self {
        let Invalid { field, problem, .. } = &invalid;
        if problem.starts_with("is ") {
            Self::invalid(format!("{field} {problem}"))
        } else {
            Self::invalid(format!("{field}: {problem}"))
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

/// The answer to a request, or the refusal in Claude's form.
pub(super) fn respond(outcome: Result<Response, ApiError>, id: &RequestId) -> Response {
    outcome.unwrap_or_else(|error| error.response(id))
}

/// Adds the request id and the mark of a simulation to every answer.
pub(super) async fn mark(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map(request_id);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(X_SIMULATION, HeaderValue::from_static("firman"));
    if let Some(id) = id.and_then(|id| HeaderValue::try_from(id).ok()) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relying_party::claude::Denial;

    #[test]
    fn an_explanation_keeps_its_hint_and_never_outgrows_what_the_sdks_show() {
        let told = explained(&Denial::JtiReused.because("é".repeat(4000)));
        assert!(told.starts_with("jti_reused: é") && told.contains("…. hint: "));
        assert!(
            told.len() > 2000 && told.chars().count() < 2000,
            "counted in characters"
        );
    }
}
