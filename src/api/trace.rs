//! The tree that a token belongs to.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A tree of tokens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Trace {
    /// The requested `jti`.
    pub token_id: String,
    /// False when the tree has more than 1000 tokens; the path from the root to the requested token is shown in
    /// any case.
    pub complete: bool,
    /// The root, then depth first everything made from it.
    pub tokens: Vec<TracedToken>,
}

/// A token of a tree. Unknown members are `null`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct TracedToken {
    /// Its `jti`; for an external token the trusted issuer's name, `:` and a digest.
    pub token_id: String,
    /// The token it was made from; `null` for the root.
    pub parent_id: Option<String>,
    /// Steps from the root.
    pub depth: usize,
    /// The trusted issuer of an external token.
    pub trusted_issuer: Option<String>,
    /// `access_token` or `id_token`.
    pub kind: Option<String>,
    /// Its `sub`.
    pub subject: Option<String>,
    /// The agent that requested it.
    pub agent: Option<String>,
    pub audience: Option<String>,
    pub scope: Option<String>,
    pub delegation_id: Option<String>,
    pub issued_at: Option<i64>,
    pub expires_at: Option<i64>,
    /// `active`, `revoked`, `expired`, or `switched_off`: an agent in it is not active, or trust in its subject's issuer
    /// was withdrawn. `null` for an external token that was not revoked here.
    pub state: Option<String>,
    pub request_id: Option<String>,
    pub address: Option<String>,
}
