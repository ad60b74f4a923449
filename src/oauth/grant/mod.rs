//! What is asked for, as it stands in the request. Parses only; `issuer/authorize/` decides.

mod client_credentials;
mod token_exchange;

use super::error::OAuthError;
use super::form::Form;
use crate::issuer::authorize::GrantType;
use crate::issuer::authorize::client_credentials::ClientCredentialsRequest;
use crate::issuer::authorize::token_exchange::TokenExchangeRequest;

/// A parsed request of one of the grants.
#[derive(Debug)]
pub(super) enum GrantRequest {
    /// RFC 6749 §4.4.
    ClientCredentials(ClientCredentialsRequest),
    /// RFC 8693.
    TokenExchange(Box<TokenExchangeRequest>),
}

/// What the request asks for.
///
/// # Errors
/// `invalid_request` or `unsupported_grant_type`.
pub(super) fn parse(form: &Form) -> Result<GrantRequest, OAuthError> {
    let name = form
        .get("grant_type")
        .ok_or_else(|| OAuthError::invalid_request("grant_type is missing"))?;
    let supported = || GrantType::ALL.map(GrantType::as_str).join(" ");
    match GrantType::parse(name).ok_or_else(|| OAuthError::unsupported_grant_type(&supported()))? {
        GrantType::ClientCredentials => {
            client_credentials::parse(form).map(GrantRequest::ClientCredentials)
        }
        GrantType::TokenExchange => token_exchange::parse(form)
            .map(|request| GrantRequest::TokenExchange(Box::new(request))),
    }
}
