//! The settings of one issuer.

use crate::jose::algorithm::SigningAlgorithm;

use super::Invalid;
use super::assertion_audience::AssertionAudience;
use super::id::IssuerId;
use super::subject::SubjectTemplate;

/// Shortest lifetime that can be requested, in seconds: below it clock skew alone makes tokens fail.
pub const LIFETIME_FLOOR_SECONDS: i64 = 60;
/// The upper limit of an issuer's maximum, in seconds (12 h): services that verify offline do not see a
/// revocation.
pub const LIFETIME_CEILING_SECONDS: i64 = 43_200;
/// Default lifetime of a token, in seconds.
pub const DEFAULT_LIFETIME_SECONDS: i64 = 900;
/// Default maximum of an issuer, in seconds.
pub const DEFAULT_MAX_LIFETIME_SECONDS: i64 = 3600;
/// Longest lifetime of an agent or a credential, in seconds: ten years. To set none, omit it.
pub const EXPIRES_IN_MAX_SECONDS: i64 = 315_360_000;
/// Accepted clock difference in both directions, in seconds: the skew that Claude documents, between the 10 s that
/// must be accepted and the 60 s that must be rejected (FAPI 2.0 §5.3.2.1).
pub const SKEW_SECONDS: i64 = 30;
/// The slug of the issuer at the public URL.
pub const DEFAULT_SLUG: &str = "default";

/// One issuer's settings, a row like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// Stable id.
    pub id: IssuerId,
    /// `default` for the issuer at the public URL.
    pub slug: String,
    /// The issuer identifier: `iss`, byte for byte.
    pub url: String,
    /// The template of agents' subjects.
    pub subject_template: SubjectTemplate,
    /// Default lifetime of a token, in seconds.
    pub default_lifetime: i64,
    /// Longest lifetime of a token, in seconds.
    pub max_lifetime: i64,
    /// The signing algorithm of tokens whose resource has none.
    pub default_algorithm: SigningAlgorithm,
    /// The required `aud` of client assertions, unless the agent has its own policy.
    pub assertion_audience: AssertionAudience,
    /// The issuer's registry version at the last change of these settings.
    pub version: i64,
}

/// The URL of an issuer's token endpoint.
#[must_use]
pub fn token_endpoint(issuer_url: &str) -> String {
    format!("{issuer_url}/oauth2/token")
}

/// Checks a lifetime in seconds.
///
/// # Errors
/// When it is not 1 to [`EXPIRES_IN_MAX_SECONDS`].
pub fn check_expires_in(seconds: i64) -> Result<i64, Invalid> {
    if (1..=EXPIRES_IN_MAX_SECONDS).contains(&seconds) {
        return Ok(seconds);
    }
    Err(Invalid::new(
        "expires_in",
        format!("must be 1 to {EXPIRES_IN_MAX_SECONDS} seconds; leave it out for no expiry"),
    ))
}

/// Checks the two lifetimes of an issuer.
///
/// # Errors
/// When one is out of bounds or the default is above the maximum.
pub fn check_lifetimes(default_lifetime: i64, max_lifetime: i64) -> Result<(), Invalid> {
    if !(LIFETIME_FLOOR_SECONDS..=LIFETIME_CEILING_SECONDS).contains(&max_lifetime) {
        return Err(Invalid::new(
            "max_lifetime",
            format!("must be {LIFETIME_FLOOR_SECONDS} to {LIFETIME_CEILING_SECONDS} seconds"),
        ));
    }
    if !(LIFETIME_FLOOR_SECONDS..=max_lifetime).contains(&default_lifetime) {
        return Err(Invalid::new(
            "default_lifetime",
            format!("must be {LIFETIME_FLOOR_SECONDS} to max_lifetime ({max_lifetime}) seconds"),
        ));
    }
    Ok(())
}
