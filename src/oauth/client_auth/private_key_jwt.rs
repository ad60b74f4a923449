//! `private_key_jwt` (RFC 7521 §4.2, RFC 7523 §2.2).

use secrecy::SecretString;

use crate::issuer::authenticate::PresentedCredential;
use crate::oauth::error::OAuthError;
use crate::oauth::form::Form;

/// The one assertion type we take.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An assertion in the form.
pub(super) fn from_form(form: &Form) -> Result<PresentedCredential, OAuthError> {
    if form.get("client_assertion_type") != Some(JWT_BEARER) {
        return Err(OAuthError::invalid_request(format!(
            "client_assertion_type must be {JWT_BEARER}"
        )));
    }
    let assertion = form
        .get("client_assertion")
        .ok_or_else(|| OAuthError::invalid_request("client_assertion is missing"))?;
    Ok(PresentedCredential::Assertion {
        unverified_client_id: form.get("client_id").map(str::to_owned),
        unverified_assertion: SecretString::from(assertion),
    })
}
