//! Revocations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request to revoke: exactly one member is required.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRevocation {
    /// The `jti` of a token: revokes it and everything made from it. Or the name of an external token, as `trace`
    /// shows it: revokes everything made from that token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub token_id: Option<String>,
    /// A complete token, to revoke by its `jti`. It is neither stored nor logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A subject: revokes all tokens issued so far in which it is the subject or an actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub subject: Option<String>,
}

/// The result of a revocation.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EndedTokens {
    /// The `jti` of the token; absent for a subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub token_id: Option<String>,
    /// The subject of the token, or the given subject.
    pub subject: String,
    /// When the token, or the subject's last token, would have expired.
    pub expires_at: i64,
    /// True when this call ended the token and everything made from it; false when it had already ended or
    /// expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revoked: Option<bool>,
    /// Tokens issued at or before this second are ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub not_before: Option<i64>,
}

/// A token that ended before its expiry, or all tokens of a subject or a delegation up to a moment.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Revocation {
    /// `token`, `subject` or `delegation`.
    pub kind: String,
    /// The token's `jti`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub token_id: Option<String>,
    /// The subject; `user:NAME:` for all users of a trusted issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub subject: Option<String>,
    /// The id of the delegation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub delegation: Option<String>,
    /// When the token was revoked; for a subject or a delegation, the second up to which tokens are ended.
    pub revoked_at: i64,
    /// When the entry is removed: all tokens that it concerns would have expired.
    pub expires_at: i64,
}
