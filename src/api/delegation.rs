//! Delegations.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::edit::present;
use super::role::GrantedScopes;
use super::warning::Warning;

/// The permission of an agent to act for others.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Delegation {
    pub id: String,
    /// Name of the agent that may act.
    pub actor: String,
    /// A subject, or with a trailing `*` a prefix of subjects.
    pub subject: String,
    /// Name of the trusted issuer whose tokens alone are accepted; `null`: every token that may be a subject
    /// token.
    pub trusted_issuer: Option<String>,
    /// Claims that a token of the trusted issuer must have.
    pub subject_claims: BTreeMap<String, String>,
    /// The resource's name.
    pub resource: String,
    /// The resource's identifier, the value of `aud`.
    pub identifier: String,
    pub scopes: GrantedScopes,
    /// Most actors in the chain of a token, 1 to 4.
    pub max_depth: usize,
    /// `active`, `suspended`, `revoked` or `expired`.
    pub status: String,
    /// Since when it is suspended, revoked or expired.
    pub status_since: Option<i64>,
    /// When it expires.
    pub expires_at: i64,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: i64,
}

/// A request for a delegation. Either `expires_at` or `expires_in` is required.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDelegation {
    /// Name of the agent that may act.
    pub actor: String,
    /// A subject such as `agent:mailer` or `user:ISSUER:SUB`, or with a trailing `*` a prefix of subjects.
    #[schema(min_length = 1, max_length = 256)]
    pub subject: String,
    /// Name of the trusted issuer whose tokens alone are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_issuer: Option<String>,
    /// Top-level claims that a token of the trusted issuer must have, with these values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject_claims: Option<BTreeMap<String, String>>,
    /// Name or identifier of the resource.
    pub resource: String,
    /// Omitted: all current and future scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<GrantedScopes>,
    /// Most actors in the chain of a token; 1 by default: the agent acts directly, not through another actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 4)]
    pub max_depth: Option<i64>,
    /// When it ends, at most 400 days from now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
    /// Seconds until it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 34_560_000)]
    pub expires_in: Option<i64>,
}

/// A new delegation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AddedDelegation {
    #[serde(flatten)]
    pub delegation: Delegation,
    /// Why it has no effect yet.
    pub warnings: Vec<Warning>,
}

/// A delegation that was suspended or revoked.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EndedDelegation {
    #[serde(flatten)]
    pub delegation: Delegation,
    /// Tokens made under it up to this second, and everything made from them, ended with it; absent when it was
    /// already suspended or over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub tokens_ended_until: Option<i64>,
}

/// An edit of a delegation's end. Either `expires_at` or `expires_in` is required.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DelegationEdit {
    /// When it ends, at most 400 days from now.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub expires_at: Option<i64>,
    /// Seconds until it ends.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, minimum = 1, maximum = 34_560_000)]
    pub expires_in: Option<i64>,
}
