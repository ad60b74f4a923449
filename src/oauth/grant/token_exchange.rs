//! Parameters of token exchange (RFC 8693 §2.1). Fields that name claims (`sub`, `act`, `roles`) are not
//! parameters and are ignored.

use crate::domain::scope::{Scopes, parse_scopes};
use crate::issuer::authorize::AuthorizationError;
use crate::issuer::authorize::token_exchange::{TokenExchangeRequest, TokenType};
use crate::oauth::error::OAuthError;
use crate::oauth::form::Form;

pub(super) fn parse(form: &Form) -> Result<TokenExchangeRequest, OAuthError> {
    let subject_token = form
        .get("subject_token")
        .ok_or_else(|| OAuthError::invalid_request("`subject_token` is required"))?;
    let subject_token_type = form
        .get("subject_token_type")
        .ok_or_else(|| OAuthError::invalid_request("`subject_token_type` is required"))?;
    let actor_token = match (form.get("actor_token"), form.get("actor_token_type")) {
        (None, None) => None,
        (Some(token), Some(token_type)) => {
            parse_type("actor_token_type", token_type)?;
            Some(token.to_owned())
        }
        (Some(_), None) => {
            return Err(OAuthError::invalid_request(
                "`actor_token_type` is required with `actor_token`",
            ));
        }
        (None, Some(_)) => {
            return Err(OAuthError::invalid_request(
                "`actor_token` is required with `actor_token_type`",
            ));
        }
    };
    let requested = form
        .get("requested_token_type")
        .map_or(Ok(TokenType::AccessToken), |text| {
            parse_type("requested_token_type", text)
        })?;
    let scopes = form.get("scope").map_or(Ok(Scopes::new()), parse_scopes);
    let expires_in = form
        .get("expires_in")
        .map(|text| text.parse::<i64>())
        .transpose();
    Ok(TokenExchangeRequest {
        unverified_subject_token: subject_token.to_owned(),
        subject_token_type: parse_type("subject_token_type", subject_token_type)?,
        unverified_actor_token: actor_token,
        requested_token_type: requested,
        audience: super::target(form)?,
        scopes: scopes.map_err(|invalid| AuthorizationError::invalid_scope(invalid.to_string()))?,
        expires_in: expires_in.map_err(|_| {
            OAuthError::invalid_request("`expires_in` must be a whole number of seconds")
        })?,
    })
}

fn parse_type(parameter: &str, text: &str) -> Result<TokenType, OAuthError> {
    TokenType::parse(text).ok_or_else(|| {
        let names = TokenType::ALL.map(TokenType::as_str).join(" ");
        OAuthError::invalid_request(format!("`{parameter}` must be one of: {names}"))
    })
}
