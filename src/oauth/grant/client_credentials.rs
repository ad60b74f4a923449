//! Parameters of the client-credentials grant: `scope`, `resource` (RFC 8707) or `audience`,
//! `expires_in`.

use crate::domain::resource::IDENTIFIER_MAX_BYTES;
use crate::domain::scope::{Scopes, parse_scopes};
use crate::issuer::authorize::client_credentials::ClientCredentialsRequest;
use crate::oauth::error::OAuthError;
use crate::oauth::form::Form;

pub(super) fn parse(form: &Form) -> Result<ClientCredentialsRequest, OAuthError> {
    let audience = match (form.get("resource"), form.get("audience")) {
        (Some(resource), Some(audience)) if resource != audience => {
            return Err(OAuthError::invalid_request(
                "resource and audience name different things; a token has exactly one audience",
            ));
        }
        (Some(one), _) | (None, Some(one)) => Some(one),
        (None, None) => None,
    };
    if audience.is_some_and(|audience| audience.len() > IDENTIFIER_MAX_BYTES) {
        return Err(OAuthError::invalid_request(format!(
            "resource is longer than {IDENTIFIER_MAX_BYTES} characters"
        )));
    }
    let scopes = form.get("scope").map_or(Ok(Scopes::new()), parse_scopes);
    let expires_in = form
        .get("expires_in")
        .map(|text| text.parse::<i64>())
        .transpose();
    Ok(ClientCredentialsRequest {
        audience: audience.map(str::to_owned),
        scopes: scopes.map_err(|invalid| {
            crate::issuer::authorize::AuthorizationError::InvalidScope(invalid.to_string())
        })?,
        expires_in: expires_in.map_err(|_| {
            OAuthError::invalid_request("expires_in must be a whole number of seconds")
        })?,
    })
}
