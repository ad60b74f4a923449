//! Errors of the protocol endpoints (RFC 6749 §5.2, RFC 8707 §2): a fixed public text in the response, a private
//! cause in the log beside the request id.

use std::error::Error;
use std::fmt;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::issuer::authorize::{AuthorizationError, Rejection};

/// The `error` values of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request cannot be parsed.
    InvalidRequest,
    /// Client authentication failed.
    InvalidClient,
    /// The grant type is unknown.
    UnsupportedGrantType,
    /// The authorization endpoint supports no grant (RFC 6749 §4.1.2.1).
    UnsupportedResponseType,
    /// The scope is not granted.
    InvalidScope,
    /// The audience is not granted (RFC 8707 §2).
    InvalidTarget,
    /// The client may not use that grant type.
    UnauthorizedClient,
    /// The proof of a key is invalid or missing (RFC 9449 §5).
    InvalidDpopProof,
    /// The proof needs the nonce in this response (RFC 9449 §8).
    UseDpopNonce,
    /// A server-side fault.
    ServerError,
    /// Too many requests at once; try again.
    TemporarilyUnavailable,
}

impl ErrorCode {
    /// The registered value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::InvalidDpopProof => "invalid_dpop_proof",
            Self::UseDpopNonce => "use_dpop_nonce",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
        }
    }
}

/// A rejection or a fault, ready to be returned.
#[derive(Debug)]
pub struct OAuthError {
    code: ErrorCode,
    status: StatusCode,
    description: String,
    challenge: bool,
    retry_after_seconds: Option<u32>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.description)
    }
}

impl OAuthError {
    fn new(code: ErrorCode, status: StatusCode, description: impl Into<String>) -> Self {
        Self {
            code,
            status,
            description: description.into(),
            challenge: false,
            retry_after_seconds: None,
            source: None,
        }
    }

    /// 400: the request cannot be parsed.
    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(
            ErrorCode::InvalidRequest,
            StatusCode::BAD_REQUEST,
            description,
        )
    }

    /// 401: the same response for every failed authentication, whatever the reason.
    #[must_use]
    pub fn invalid_client() -> Self {
        Self::invalid_assertion("client authentication failed")
    }

    /// 401: the signature verified; the fault is named.
    pub fn invalid_assertion(problem: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidClient, StatusCode::UNAUTHORIZED, problem)
    }

    /// 400: the grant type is not supported.
    #[must_use]
    pub fn unsupported_grant_type(supported: &str) -> Self {
        Self::new(
            ErrorCode::UnsupportedGrantType,
            StatusCode::BAD_REQUEST,
            format!("`grant_type` must be one of: {supported}"),
        )
    }

    /// 400: the proof of a key is invalid; the fault is named.
    pub fn invalid_dpop_proof(problem: impl Into<String>) -> Self {
        Self::new(
            ErrorCode::InvalidDpopProof,
            StatusCode::BAD_REQUEST,
            problem,
        )
    }

    /// 400: retry with the nonce from the header `DPoP-Nonce`.
    #[must_use]
    pub fn use_dpop_nonce() -> Self {
        Self::new(
            ErrorCode::UseDpopNonce,
            StatusCode::BAD_REQUEST,
            "make a new proof with the nonce in the `DPoP-Nonce` header",
        )
    }

    /// 429: too many rejections for this caller.
    #[must_use]
    pub fn slow_down() -> Self {
        Self::too_often("too many failed attempts for this client from this address")
    }

    /// 429: too many requests of one caller.
    pub fn too_often(description: impl Into<String>) -> Self {
        let error = Self::new(
            ErrorCode::TemporarilyUnavailable,
            StatusCode::TOO_MANY_REQUESTS,
            description,
        );
        Self {
            retry_after_seconds: Some(1),
            ..error
        }
    }

    /// 503: overload, or the database is unavailable.
    #[must_use]
    pub fn unavailable() -> Self {
        let error = Self::new(
            ErrorCode::TemporarilyUnavailable,
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily unavailable; try again",
        );
        Self {
            retry_after_seconds: Some(1),
            ..error
        }
    }

    /// 503: a server-side fault that needs an operator.
    #[must_use]
    pub fn server_error() -> Self {
        let error = Self::new(
            ErrorCode::ServerError,
            StatusCode::SERVICE_UNAVAILABLE,
            "the token cannot be issued; see the issuer's log",
        );
        Self {
            retry_after_seconds: Some(30),
            ..error
        }
    }

    /// Adds `WWW-Authenticate: Basic`, which is required when the client used the Authorization header (RFC 6749
    /// §5.2).
    #[must_use]
    pub fn challenging(mut self, used_authorization_header: bool) -> Self {
        self.challenge = used_authorization_header && self.status == StatusCode::UNAUTHORIZED;
        self
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The `error` value.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.code
    }
}

impl From<AuthorizationError> for OAuthError {
    fn from(error: AuthorizationError) -> Self {
        let code = match error.rejection {
            Rejection::InvalidRequest => ErrorCode::InvalidRequest,
            Rejection::InvalidScope => ErrorCode::InvalidScope,
            Rejection::InvalidTarget => ErrorCode::InvalidTarget,
            Rejection::UnauthorizedClient => ErrorCode::UnauthorizedClient,
            Rejection::InvalidDpopProof => ErrorCode::InvalidDpopProof,
        };
        Self::new(code, StatusCode::BAD_REQUEST, error.problem)
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        match &self.source {
            Some(source) if self.status.is_server_error() => {
                tracing::error!(
                    error = &**source as &(dyn Error + 'static),
                    code = self.code.as_str(),
                    "a token request could not be answered"
                );
            }
            Some(source) => {
                tracing::info!(reason = %source, code = self.code.as_str(), "a token request was refused")
            }
            None => tracing::info!(
                reason = self.description,
                code = self.code.as_str(),
                "a token request was refused"
            ),
        }
        let body = json!({ "error": self.code.as_str(), "error_description": described(&self.description) });
        let mut response = (
            self.status,
            [(header::CACHE_CONTROL, "no-store")],
            Json(body),
        )
            .into_response();
        if self.challenge {
            response.headers_mut().insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"firman\", charset=\"UTF-8\""),
            );
        }
        if let Some(seconds) = self.retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The characters that RFC 6749 §5.2 allows in `error_description`.
fn described(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' | '\\' => '\'',
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

/// A path that does not exist.
pub(super) async fn not_found() -> Response {
    let body =
        json!({ "error": "not_found", "error_description": "there is nothing at this path" });
    (
        StatusCode::NOT_FOUND,
        [(header::CACHE_CONTROL, "no-store")],
        Json(body),
    )
        .into_response()
}
