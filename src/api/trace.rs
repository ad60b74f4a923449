//! The tree that a token belongs to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A tree of tokens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    /// The `jti` that was asked for.
    pub token_id: String,
    /// False when the tree has more than 1000 tokens; the way from the root to the asked one is shown then too.
    pub complete: bool,
    /// The root, then depth first what was made from it.
    pub tokens: Vec<TracedToken>,
}

/// A token of a tree. What is not known is `null`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TracedToken {
    /// Its `jti`; for a token from outside the trusted issuer's name, `:` and a digest.
    pub token_id: String,
    /// What it was made from; `null` for the root.
    pub parent_id: Option<String>,
    /// Steps from the root.
    pub depth: usize,
    /// The trusted issuer, for a token from outside.
    pub trusted_issuer: Option<String>,
    /// `access_token` or `id_token`.
    pub kind: Option<String>,
    /// For whom: its `sub`.
    pub subject: Option<String>,
    /// The agent that asked for it.
    pub agent: Option<String>,
    pub audience: Option<String>,
    pub scope: Option<String>,
    pub delegation_id: Option<String>,
    pub issued_at: Option<i64>,
    pub expires_at: Option<i64>,
    /// `active`, `revoked`, `expired` or `switched_off`: an agent in it is; `null` for a token from outside
    /// that was not revoked here.
    pub state: Option<String>,
    pub request_id: Option<String>,
    pub address: Option<String>,
}
