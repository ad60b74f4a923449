//! The header fields of RFC 9449: `DPoP` in requests, `DPoP-Nonce` in responses. `issuer/dpop.rs` decides.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;

use super::error::OAuthError;
use crate::issuer::Issuer;

static DPOP: HeaderName = HeaderName::from_static("dpop");
static DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// The proof of a request, if it has one (RFC 9449 §4.3 item 1).
///
/// # Errors
/// `invalid_dpop_proof` when it has several.
pub(super) fn unverified_proof(headers: &HeaderMap) -> Result<Option<&str>, OAuthError> {
    let mut values = headers.get_all(&DPOP).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(OAuthError::invalid_dpop_proof(
            "more than one `DPoP` header; send one",
        ));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|_| OAuthError::invalid_dpop_proof("the `DPoP` header must be ASCII"))
}

/// The response to a request with a proof, with the nonce for the next one (RFC 9449 §8.2).
pub(super) fn with_nonce(
    mut answer: Response,
    request: &HeaderMap,
    issuer: &Arc<Issuer>,
) -> Response {
    let nonce = issuer.dpop_nonce(issuer.ports().clock.now());
    if request.contains_key(&DPOP)
        && let Ok(nonce) = HeaderValue::from_str(&nonce)
    {
        answer.headers_mut().insert(DPOP_NONCE.clone(), nonce);
    }
    answer
}
