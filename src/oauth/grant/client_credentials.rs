//! Parameters of the client-credentials grant besides `resource` (RFC 8707) and `audience`: `scope`,
//! `expires_in`.

use crate::domain::scope::{Scopes, parse_scopes};
use crate::issuer::authorize::client_credentials::ClientCredentialsRequest;
use crate::oauth::error::OAuthError;
use crate::oauth::form::Form;

pub(super) fn parse(form: &Form) -> Result<ClientCredentialsRequest, OAuthError> {
    let scopes = form.get("scope").map_or(Ok(Scopes::new()), parse_scopes);
    let expires_in = form
        .get("expires_in")
        .map(|text| text.parse::<i64>())
        .transpose();
    Ok(ClientCredentialsRequest {
        audience: super::target(form)?,
        scopes: scopes.map_err(|invalid| {
            crate::issuer::authorize::AuthorizationError::invalid_scope(invalid.to_string())
        })?,
        expires_in: expires_in.map_err(|_| {
            OAuthError::invalid_request("`expires_in` must be a whole number of seconds")
        })?,
    })
}
