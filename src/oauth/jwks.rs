//! The JWK set (RFC 7517 §5), from memory.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::Shared;
use super::discovery::{JSON, public_document};

pub(super) async fn jwks(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    let policy = shared.issuer.policy();
    public_document(policy.keyring.jwks(), JSON, &headers)
}
