//! Why an authenticated client does not get the token that it requested.

use crate::domain::remedy::Remedy;

/// The `error` value of a rejected token request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// RFC 6749 §5.2 `invalid_request`.
    InvalidRequest,
    /// RFC 6749 §5.2 `invalid_scope`.
    InvalidScope,
    /// RFC 8707 §2 `invalid_target`.
    InvalidTarget,
    /// RFC 6749 §5.2 `unauthorized_client`.
    UnauthorizedClient,
    /// RFC 9449 §5 `invalid_dpop_proof`: a proof is required.
    InvalidDpopProof,
}

impl Rejection {
    /// The registered value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidScope => "invalid_scope",
            Self::InvalidTarget => "invalid_target",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::InvalidDpopProof => "invalid_dpop_proof",
        }
    }
}

/// Why an authenticated client does not get what it requests. The sentence names what *is* granted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct AuthorizationError {
    /// Its `error` value.
    pub rejection: Rejection,
    /// The sentence for the client.
    pub problem: String,
    /// What an administrator can do about it: for the audit and `explain`, never for the client.
    pub remedy: Option<Remedy>,
}

impl AuthorizationError {
    fn new(rejection: Rejection, problem: impl Into<String>) -> Self {
        Self {
            rejection,
            problem: problem.into(),
            remedy: None,
        }
    }

    /// The request is malformed or out of bounds.
    pub fn invalid_request(problem: impl Into<String>) -> Self {
        Self::new(Rejection::InvalidRequest, problem)
    }

    /// The scope is not granted.
    pub fn invalid_scope(problem: impl Into<String>) -> Self {
        Self::new(Rejection::InvalidScope, problem)
    }

    /// The audience is not granted.
    pub fn invalid_target(problem: impl Into<String>) -> Self {
        Self::new(Rejection::InvalidTarget, problem)
    }

    /// The client may not use this grant type.
    pub fn unauthorized_client(problem: impl Into<String>) -> Self {
        Self::new(Rejection::UnauthorizedClient, problem)
    }

    /// The token must be bound to a key, and the request has no proof of one.
    pub fn no_proof(problem: impl Into<String>) -> Self {
        Self::new(Rejection::InvalidDpopProof, problem)
    }

    /// The same with what an administrator can do about it.
    #[must_use]
    pub fn with_remedy(self, remedy: Remedy) -> Self {
        Self {
            remedy: Some(remedy),
            ..self
        }
    }
}
