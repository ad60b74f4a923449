//! Audit entries, the tail and the verdict of a check.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// An audit entry.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its number in the issuer's chain, from 1, without gaps.
    pub seq: i64,
    /// When it happened, RFC 3339 with milliseconds.
    pub at: String,
    /// When it happened, in Unix milliseconds.
    pub at_ms: i64,
    pub event: String,
    /// `agent:NAME`, `administrator:NAME`, `system` or `unknown`.
    pub actor: String,
    pub target: String,
    pub agent_id: Option<String>,
    /// The `jti` of the token concerned.
    pub token_id: Option<String>,
    pub request_id: String,
    pub address: String,
    /// Further facts.
    #[schema(value_type = Object)]
    pub detail: Value,
    /// SHA-256 over the entry and the hash before it, in hexadecimal.
    pub hash: String,
}

/// Audit entries as they come.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditTail {
    /// The entries, the oldest first.
    pub items: Vec<AuditEntry>,
    /// What to send as `after` next: all entries up to it were looked at.
    pub after: i64,
    /// True when that is the newest entry.
    pub caught_up: bool,
}

/// What a check of the chain found.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditVerdict {
    /// True when every entry is as it was written.
    pub ok: bool,
    /// How many entries are sound, from the first on.
    pub entries: i64,
    /// The hash of the last sound entry, in hexadecimal; keep it elsewhere and compare later.
    pub head_hash: String,
    /// The first entry that is not as it was written.
    pub first_bad: Option<BadAuditEntry>,
}

/// An entry that is not as it was written.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BadAuditEntry {
    pub seq: i64,
    pub problem: String,
}
