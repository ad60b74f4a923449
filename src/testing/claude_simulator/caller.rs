//! The caller: the bearer of an access token issued here, or of the admin token.

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use super::Shared;
use super::answer::ApiError;
use super::state::Grant;
use crate::jose::digest::sha256;

/// A caller that may use the Admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Administrator {
    /// A person, by an OAuth token with scope `org:admin`.
    Person,
    /// A workload, by a federation token with scope `org:admin`.
    Workload,
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_start())
}

/// The version header, which every endpoint but the exchange requires. Not documented: which versions exist.
/// The SDKs send newer ones than the Admin API's pages name, so any date is accepted.
pub(super) fn check_version(headers: &HeaderMap) -> Result<(), ApiError> {
    match header(headers, "anthropic-version") {
        None => Err(ApiError::invalid("anthropic-version: header is required")),
        Some(version) if is_date(version) => Ok(()),
        Some(_) => Err(ApiError::invalid(
            "anthropic-version: is not a valid version; use 2023-06-01",
        )),
    }
}

/// `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok()
}

/// Authenticates an administrator.
pub(super) fn administrator(
    shared: &Shared,
    headers: &HeaderMap,
) -> Result<Administrator, ApiError> {
    let token = bearer(headers);
    let api_key = header(headers, "x-api-key");
    let is_admin_key = |key: &str| key.starts_with("sk-ant-admin");
    // Not documented: status and wording.
    if token.into_iter().chain(api_key).any(is_admin_key) {
        return Err(ApiError::authentication(
            "Admin API keys cannot be used for workload identity federation; use an OAuth token with scope org:admin (ant auth login --scope org:admin)",
        ));
    }
    let Some(token) = token else {
        return Err(ApiError::authentication(
            "an OAuth bearer token with scope org:admin is required",
        ));
    };
    // Digests, so that timing reveals nothing about a guess.
    if sha256(token.as_bytes()) == sha256(shared.0.admin_token.as_bytes()) {
        return Ok(Administrator::Person);
    }
    if live_grant(shared, token)?.scope == "org:admin" {
        Ok(Administrator::Workload)
    } else {
        Err(ApiError::permission(
            "the token's scope does not cover this endpoint; it needs org:admin",
        ))
    }
}

/// Authenticates the bearer of a token that was issued here and covers messages.
pub(super) fn messenger(shared: &Shared, headers: &HeaderMap) -> Result<Grant, ApiError> {
    let Some(token) = bearer(headers) else {
        return Err(ApiError::authentication(
            if header(headers, "x-api-key").is_some() {
                "invalid x-api-key: this simulation accepts only tokens it issued; an ANTHROPIC_API_KEY in the environment takes precedence over federation"
            } else {
                "a bearer token is required"
            },
        ));
    };
    let grant = live_grant(shared, token)?;
    if matches!(
        grant.scope.as_str(),
        "workspace:developer" | "workspace:inference"
    ) {
        Ok(grant)
    } else {
        Err(ApiError::permission(
            "the token's scope does not cover this endpoint; it needs workspace:developer or workspace:inference",
        ))
    }
}

fn live_grant(shared: &Shared, token: &str) -> Result<Grant, ApiError> {
    let now = shared.0.clock.now();
    match shared.memory().granted(token) {
        None => Err(ApiError::authentication("Invalid bearer token")),
        Some(grant) if grant.expires_at <= now => {
            Err(ApiError::authentication("OAuth token has expired"))
        }
        Some(grant) => Ok(grant.clone()),
    }
}
