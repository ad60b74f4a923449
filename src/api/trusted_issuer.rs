//! Trusted issuers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::trusted_issuer::KeySource;

use super::edit::present;
use super::warning::Warning;

/// Another issuer whose tokens are accepted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TrustedIssuer {
    pub id: String,
    pub name: String,
    /// The exact `iss` of its tokens, or `spiffe://` and a trust domain.
    pub url: String,
    pub description: String,
    /// The only accepted `aud` of its tokens.
    pub audience: String,
    /// The source of its keys: `{"type": "discovery"}`, `{"type": "jwks_uri", "url": …}` or `{"type": "inline",
    /// "jwks": …}`.
    #[schema(value_type = Object)]
    pub keys: KeySource,
    /// What it is trusted for: `client_auth`, `subject`, `actor`.
    pub trust: Vec<String>,
    /// Whether its subject tokens may contain `act`; the actors are kept under its `iss`.
    pub accept_act: bool,
    /// Longest lifetime of its tokens in seconds.
    pub max_lifetime: i64,
    /// Accepted `typ` headers; the empty text for an absent one.
    pub types: Vec<String>,
    /// `single-use` or `reusable`.
    pub jti: String,
    /// Claims that every token must have, with their values.
    pub required_claims: BTreeMap<String, String>,
    /// The claim that names the subject.
    pub subject_claim: String,
    /// Attributes of tokens minted for its users, each with the claim that provides it.
    pub claims: BTreeMap<String, String>,
    /// Warnings for the administrator.
    pub warnings: Vec<Warning>,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: i64,
}

/// A request to trust an issuer. It is not trusted for anything that `trust` omits.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewTrustedIssuer {
    /// A short name; part of the subjects of its users, so never reused.
    #[schema(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length = 128)]
    pub name: String,
    /// The exact `iss` of its tokens, or `spiffe://` and a trust domain.
    #[schema(max_length = 512)]
    pub url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub description: Option<String>,
    /// The only accepted `aud` of its tokens; this issuer's URL by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 512)]
    pub audience: Option<String>,
    /// `{"type": "discovery"}` (the default), `{"type": "jwks_uri", "url": …}` or
    /// `{"type": "inline", "jwks": …}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub keys: Option<KeySource>,
    /// Any of `client_auth`, `subject`, `actor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<Vec<String>>,
    /// Accept subject tokens with `act`; `false` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept_act: Option<bool>,
    /// Longest lifetime of its tokens in seconds; 3600 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 90_000)]
    pub max_lifetime: Option<i64>,
    /// Accepted `typ` headers, the empty text for an absent one; `JWT` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<String>>,
    /// `single-use` (the default) or `reusable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(single-use|reusable)$")]
    pub jti: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub required_claims: Option<BTreeMap<String, String>>,
    /// `sub` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_claim: Option<String>,
    /// Attribute name to claim name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claims: Option<BTreeMap<String, String>>,
}

/// An edit of a trusted issuer. Omitted members keep their values.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustedIssuerEdit {
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, max_length = 1024)]
    pub description: Option<String>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, max_length = 512)]
    pub audience: Option<String>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Object)]
    pub keys: Option<KeySource>,
    /// Everything that it is trusted for; replaces the current list.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub trust: Option<Vec<String>>,
    /// Accept subject tokens with `act`.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub accept_act: Option<bool>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, minimum = 1, maximum = 90_000)]
    pub max_lifetime: Option<i64>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub types: Option<Vec<String>>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, pattern = "^(single-use|reusable)$")]
    pub jti: Option<String>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub required_claims: Option<BTreeMap<String, String>>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub subject_claim: Option<String>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub claims: Option<BTreeMap<String, String>>,
}
