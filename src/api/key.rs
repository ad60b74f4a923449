//! Signing keys, without their private halves.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A signing key without its private half.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Key {
    pub kid: String,
    pub algorithm: String,
    /// `prepared`, `active`, `retiring`, `retired` or `revoked`.
    pub state: String,
    /// Since when it is active, retired or revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub since: Option<i64>,
    /// When a retiring key leaves the JWKS.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub until: Option<i64>,
    pub created_at: i64,
    /// When a prepared key starts signing, unless it waits for a key consumer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub activates_at: Option<i64>,
    /// Names of the key consumers that a prepared key waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub waiting_for: Option<Vec<String>>,
}

/// A request to rotate keys.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRotation {
    /// `ES256` or `RS256`; omitted: both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(ES256|RS256)$")]
    pub algorithm: Option<String>,
}

/// A request to revoke a key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyRevocation {
    #[schema(min_length = 1, max_length = 256)]
    pub reason: String,
}

/// A revoked key and the one that signs now.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RevokedKey {
    pub revoked: Key,
    pub active: Key,
    /// Names of key consumers whose copy is outdated: it still has the revoked key, or lacks the active one.
    pub stale_consumers: Vec<String>,
}

/// A request to activate a key.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyActivation {
    /// Do not wait for key consumers that have not acknowledged the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub override_consumers: Option<bool>,
}
