//! Audit entries, following the log, and verifying its chain.

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
    /// SHA-256 over the entry and the previous hash, in hexadecimal.
    pub hash: String,
}

/// New audit entries.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditTail {
    /// The entries, the oldest first.
    pub items: Vec<AuditEntry>,
    /// The value of `after` for the next call: all entries up to it were scanned.
    pub after: i64,
    /// True when that is the newest entry.
    pub caught_up: bool,
}

/// The result of verifying the chain.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditVerdict {
    /// True when no entry was altered.
    pub ok: bool,
    /// Number of intact entries from the first on.
    pub entries: i64,
    /// The hash of the last intact entry, in hexadecimal; store it elsewhere and compare with it later.
    pub head_hash: String,
    /// The first entry that was altered.
    pub first_bad: Option<BadAuditEntry>,
}

/// An altered entry.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct BadAuditEntry {
    pub seq: i64,
    pub problem: String,
}
