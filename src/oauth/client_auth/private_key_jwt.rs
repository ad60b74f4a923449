//! Assertions in the form (RFC 7521 §4.2): `private_key_jwt` and tokens of trusted issuers (RFC 7523 §2.2),
//! and JWT-SVIDs (draft-ietf-oauth-spiffe-client-auth §3.1).

use secrecy::SecretString;

use crate::issuer::authenticate::PresentedCredential;
use crate::oauth::error::OAuthError;
use crate::oauth::form::Form;

/// A JWT of the client or of a trusted issuer.
const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// A JWT-SVID.
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// An assertion in the form.
pub(super) fn from_form(form: &Form) -> Result<PresentedCredential, OAuthError> {
    let is_svid = match form.get("client_assertion_type") {
        Some(JWT_BEARER) => false,
        Some(JWT_SPIFFE) => true,
        Some(_) | None => {
            return Err(OAuthError::invalid_request(format!(
                "`client_assertion_type` must be {JWT_BEARER}, or {JWT_SPIFFE} for a JWT-SVID"
            )));
        }
    };
    let assertion = form
        .get("client_assertion")
        .ok_or_else(|| OAuthError::invalid_request("`client_assertion` is required"))?;
    let unverified_client_id = form.get("client_id").map(str::to_owned);
    let assertion = SecretString::from(assertion);
    Ok(if is_svid {
        PresentedCredential::JwtSvid {
            unverified_client_id,
            unverified_svid: assertion,
        }
    } else {
        PresentedCredential::Assertion {
            unverified_client_id,
            unverified_assertion: assertion,
        }
    })
}
