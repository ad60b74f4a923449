//! The grant of a token request. Parses only; `issuer/authorize/` decides.

mod client_credentials;
mod token_exchange;

use super::error::OAuthError;
use super::form::Form;
use crate::domain::resource::IDENTIFIER_MAX_BYTES;
use crate::issuer::authorize::client_credentials::ClientCredentialsRequest;
use crate::issuer::authorize::token_exchange::TokenExchangeRequest;
use crate::issuer::authorize::{AuthorizationError, GrantType, shown};

/// A parsed request of one of the grants.
#[derive(Debug)]
pub(super) enum GrantRequest {
    /// RFC 6749 §4.4.
    ClientCredentials(ClientCredentialsRequest),
    /// RFC 8693.
    TokenExchange(Box<TokenExchangeRequest>),
}

/// Parses the grant of a request.
///
/// # Errors
/// `invalid_request` or `unsupported_grant_type`.
pub(super) fn parse(form: &Form) -> Result<GrantRequest, OAuthError> {
    let name = form
        .get("grant_type")
        .ok_or_else(|| OAuthError::invalid_request("`grant_type` is required"))?;
    let supported = || GrantType::ALL.map(GrantType::as_str).join(" ");
    match GrantType::parse(name).ok_or_else(|| OAuthError::unsupported_grant_type(&supported()))? {
        GrantType::ClientCredentials => {
            client_credentials::parse(form).map(GrantRequest::ClientCredentials)
        }
        GrantType::TokenExchange => token_exchange::parse(form)
            .map(|request| GrantRequest::TokenExchange(Box::new(request))),
    }
}

/// The requested target: the one value of `resource` and `audience`, however often it is sent.
///
/// # Errors
/// `invalid_target` when two values differ (RFC 8707 §2, RFC 8693 §2.2.2), `invalid_request` when one is
/// too long.
fn target(form: &Form) -> Result<Option<String>, OAuthError> {
    let Some((first, further)) = form.targets().split_first() else {
        return Ok(None);
    };
    if form
        .targets()
        .iter()
        .any(|target| target.len() > IDENTIFIER_MAX_BYTES)
    {
        return Err(OAuthError::invalid_request(format!(
            "`resource` is longer than {IDENTIFIER_MAX_BYTES} characters"
        )));
    }
    if let Some(other) = further.iter().find(|other| *other != first) {
        return Err(AuthorizationError::invalid_target(format!(
            "the request names {} and {}; a token has one audience: send one request for each",
            shown(first),
            shown(other)
        ))
        .into());
    }
    Ok(Some(first.clone()))
}
