//! The client authentication in a request: exactly one method (RFC 6749 §2.3). Parses only; `issuer/authenticate/`
//! verifies.

mod client_secret;
mod private_key_jwt;

use axum::http::{HeaderMap, header};

use super::error::OAuthError;
use super::form::Form;
use crate::issuer::authenticate::PresentedCredential;

/// True when the request has an Authorization header, which decides whether a rejection carries a challenge.
pub(super) fn uses_authorization_header(headers: &HeaderMap) -> bool {
    headers.contains_key(header::AUTHORIZATION)
}

/// Parses the credential that the client presents.
///
/// # Errors
/// `invalid_request` for two methods at once or a malformed method, `invalid_client` for none.
pub(super) fn parse(headers: &HeaderMap, form: &Form) -> Result<PresentedCredential, OAuthError> {
    let methods = [
        uses_authorization_header(headers),
        form.has("client_secret"),
        form.has("client_assertion") || form.has("client_assertion_type"),
    ];
    match methods {
        [false, false, false] => {
            Err(OAuthError::invalid_client().because("the request has no client authentication"))
        }
        [true, false, false] => client_secret::from_basic(headers, form),
        [false, true, false] => client_secret::from_form(form),
        [false, false, true] => private_key_jwt::from_form(form),
        [true, true, _] | [true, _, true] | [_, true, true] => Err(OAuthError::invalid_request(
            "the client must authenticate in exactly one way",
        )),
    }
}
