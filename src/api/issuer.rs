//! The issuer and its settings.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::edit::present;

/// The issuer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Issuer {
    pub id: String,
    pub slug: String,
    /// The issuer identifier: `iss` of every token.
    pub url: String,
    pub subject_template: String,
    /// Default lifetime of a token in seconds.
    pub default_lifetime: i64,
    /// Longest token lifetime in seconds.
    pub max_lifetime: i64,
    pub default_algorithm: String,
    /// The required `aud` of client assertions: `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`.
    pub assertion_audience: String,
    pub version: i64,
    pub token_endpoint: String,
    pub jwks_uri: String,
    pub discovery: String,
}

/// An edit of the settings. Omitted members keep their values.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerEdit {
    /// Seconds.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, minimum = 60, maximum = 43_200)]
    pub default_lifetime: Option<i64>,
    /// Seconds, at most 43200.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, minimum = 60, maximum = 43_200)]
    pub max_lifetime: Option<i64>,
    /// `ES256` or `RS256`.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, pattern = "^(ES256|RS256)$")]
    pub default_algorithm: Option<String>,
    /// `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`. With the last one, a server that names this
    /// token endpoint in its metadata can replay assertions that clients make for it.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(
        nullable = false,
        pattern = "^(issuer-as-string|issuer|issuer-or-token-endpoint)$"
    )]
    pub assertion_audience: Option<String>,
}
