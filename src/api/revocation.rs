//! Revocations.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What to end: exactly one of these.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRevocation {
    /// The `jti` of a token: it ends, and so does everything made from it. Or the name that `trace` shows for
    /// a token from outside: what was made from it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub token_id: Option<String>,
    /// A whole token, to revoke by its `jti`. It is neither stored nor logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// A subject: all tokens so far end that are about it, or in which it acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 256)]
    pub subject: Option<String>,
}

/// What was ended.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EndedTokens {
    /// The `jti` of the token; absent for a subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub token_id: Option<String>,
    /// Whom the token is about, or the subject.
    pub subject: String,
    /// When the token, or the last of the subject's, would have expired.
    pub expires_at: i64,
    /// True when this call ended the token, and with it everything made from it; false when it was over before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub revoked: Option<bool>,
    /// Tokens issued at or before this second are ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub not_before: Option<i64>,
}

/// A token, or all tokens of a subject or a delegation up to a moment, that ended before the time.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Revocation {
    /// `token`, `subject` or `delegation`.
    pub kind: String,
    /// The token's `jti`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub token_id: Option<String>,
    /// The subject; `user:NAME:` stands for all users of a trusted issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub subject: Option<String>,
    /// The id of the delegation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub delegation: Option<String>,
    /// When the token was revoked; up to when tokens of the subject or the delegation are.
    pub revoked_at: i64,
    /// When the entry leaves: the token, or the last of those, would have expired.
    pub expires_at: i64,
}
