//! Key consumers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A relying party that holds a copy of the signing keys and does not fetch the JWKS.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct KeyConsumer {
    pub name: String,
    pub description: String,
    pub created_at: i64,
    /// Ids of published keys that it has confirmed.
    pub acknowledged: Vec<String>,
    /// Ids of published keys that it has not confirmed.
    pub missing: Vec<String>,
    /// Ids of revoked keys that it has confirmed and may still trust.
    pub revoked: Vec<String>,
}

/// A request to register a key consumer.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKeyConsumer {
    #[schema(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length = 128)]
    pub name: String,
    /// The relying party and the location of its copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub description: Option<String>,
}

/// A key consumer's confirmation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyAcknowledgement {
    /// Ids of published keys that it holds in addition; omitted: its copy is the key set as published now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(min_items = 1, max_items = 64)]
    pub kids: Option<Vec<String>>,
}
