//! `GET /oauth2/revocations`: the signed revocation list, for verifiers that work offline.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};

use crate::issuer::revocation_list::REVOCATION_LIST_MAX_AGE_SECONDS;

use super::Shared;
use super::authenticated::ANSWER_WITHIN;
use super::discovery::{Kind, public_document};
use super::error::OAuthError;

/// RFC 7519 §10.3.1.
const JWT: Kind = ("application/jwt", REVOCATION_LIST_MAX_AGE_SECONDS);

pub(super) async fn revocations(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    match tokio::time::timeout(ANSWER_WITHIN, shared.issuer.revocation_list()).await {
        Ok(Ok(list)) => public_document(&list, JWT, &headers),
        Ok(Err(error)) => OAuthError::unavailable().because(error).into_response(),
        Err(elapsed) => OAuthError::unavailable().because(elapsed).into_response(),
    }
}
