//! Refusals before routing: small JSON, without any part of the request. A malformed head never arrives here:
//! hyper answers it itself, with 400 or 431 and no body.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde_json::json;

use crate::ports::request::RequestId;

/// The form of errors on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ErrorForm {
    /// RFC 6749 §5.2, on the public one.
    OAuth,
    /// RFC 9457, on the private one.
    Problem,
}

/// Why a request is not routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No `Host` line, or several (RFC 9112 §3.2).
    NotOneHost,
    /// A `Host` that is not `uri-host [ ":" port ]` (RFC 9112 §3.2).
    MalformedHost,
    /// A `Host` that is not on this listener's list.
    UnknownHost,
    /// A transfer coding other than `chunked` alone (RFC 9112 §6.1).
    UnknownTransferCoding,
    /// More body than allowed, announced or sent.
    BodyTooLarge { limit_bytes: usize },
    /// A body that did not arrive in time.
    BodyTooSlow,
    /// A body with malformed framing.
    MalformedBody,
    /// A fault of the program, not of the request.
    HandlerPanicked,
}

impl Refusal {
    /// The answer, in the form of the listener's other errors. The connection is closed after it wherever the
    /// rest of the request is unread.
    pub(super) fn response(self, form: ErrorForm, id: &RequestId) -> Response<Body> {
        let (status, error, description) = self.wording();
        let (content_type, mut body) = match form {
            ErrorForm::OAuth => (
                "application/json",
                json!({ "error": error, "error_description": description }),
            ),
            ErrorForm::Problem => (
                "application/problem+json",
                json!({
                    "type": format!("urn:firman:problem:{}", self.problem_kind()),
                    "title": status.canonical_reason().unwrap_or_default(),
                    "status": status.as_u16(),
                    "detail": description,
                    "request_id": id.0,
                }),
            ),
        };
        if let (ErrorForm::Problem, Self::UnknownHost) = (form, self) {
            body["hint"] = json!("add the name to `FIRMAN_ADMIN_HOSTS`");
        }
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self != Self::HandlerPanicked {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The admin API's kind, where it has one.
    fn problem_kind(self) -> &'static str {
        match self {
            Self::NotOneHost | Self::MalformedHost | Self::MalformedBody => "invalid",
            Self::BodyTooLarge { .. } => "too_large",
            Self::UnknownHost => "misdirected_request",
            Self::UnknownTransferCoding => "not_implemented",
            Self::BodyTooSlow => "request_timeout",
            Self::HandlerPanicked => "internal",
        }
    }

    fn wording(self) -> (StatusCode, &'static str, String) {
        let (status, error, description) = match self {
            Self::NotOneHost => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "exactly one `Host` header is required",
            ),
            Self::MalformedHost => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "the `Host` header is not a host with an optional port",
            ),
            Self::UnknownHost => (
                StatusCode::MISDIRECTED_REQUEST,
                "misdirected_request",
                "this listener does not accept that host name",
            ),
            Self::UnknownTransferCoding => (
                StatusCode::NOT_IMPLEMENTED,
                "not_implemented",
                "the only supported transfer coding is `chunked`",
            ),
            Self::BodyTooLarge { limit_bytes } => {
                return (
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "content_too_large",
                    format!("the request body must be at most {limit_bytes} bytes long"),
                );
            }
            Self::BodyTooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "request_timeout",
                "the request body did not arrive in time",
            ),
            Self::MalformedBody => (
                StatusCode::BAD_REQUEST,
                "invalid_request",
                "the request body is incomplete or malformed",
            ),
            Self::HandlerPanicked => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                "internal error; the log has the cause with this request id",
            ),
        };
        (status, error, description.to_owned())
    }
}
