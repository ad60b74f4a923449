//! `/revocations`: tokens ended before their time, and the ending of them.

use std::sync::Arc;

use axum::extract::State;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::issuer::Issuer;
use crate::issuer::revocations::{AfterRevocation, Ended, Revocation, ToRevoke};
use crate::store::EndKind;

use super::caller::{Operator, Viewer};
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, PageParams, Params, after_text, forged, limit};
use super::problem::{Kind, Problem};

/// What to end: exactly one of these.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRevocation)]
pub(super) struct NewRevocationBody {
    /// The `jti` of a token: it ends, and so does everything made from it. Or the name that `trace` shows for
    /// a token from outside: what was made from it ends.
    #[schema(max_length = 256)]
    token_id: Option<String>,
    /// A whole token, whose `jti` is taken. It is neither kept nor logged.
    token: Option<String>,
    /// A subject: all tokens so far end that are about it, or in which it acts.
    #[schema(max_length = 256)]
    subject: Option<String>,
}

/// What was ended.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndedTokens)]
pub(super) struct EndedBody {
    /// The `jti` of the token; absent for a subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token_id: Option<String>,
    /// Whom the token is about, or the subject.
    subject: String,
    /// When the token, or the last of the subject's, would have expired.
    expires_at: i64,
    /// True when this call ended the token, and with it everything made from it; false when it was over before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revoked: Option<bool>,
    /// Tokens issued at or before this second are ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    not_before: Option<i64>,
}

impl From<Ended> for EndedBody {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Token {
                token_id,
                subject,
                expires_at,
                revoked,
            } => Self {
                token_id: Some(token_id),
                subject,
                expires_at: expires_at.0,
                revoked: Some(revoked),
                not_before: None,
            },
            Ended::Subject(mark) => Self {
                token_id: None,
                subject: mark.key,
                expires_at: mark.expires_at.0,
                revoked: None,
                not_before: Some(mark.not_before.0),
            },
        }
    }
}

/// A token, or all tokens of a subject or a delegation up to a moment, that ended before the time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Revocation)]
pub(super) struct RevocationBody {
    /// `token`, `subject` or `delegation`.
    kind: &'static str,
    /// The token's `jti`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token_id: Option<String>,
    /// The subject; `user:NAME:` stands for all users of a trusted issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    subject: Option<String>,
    /// The id of the delegation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    delegation: Option<String>,
    /// When the token was revoked; up to when tokens of the subject or the delegation are.
    revoked_at: i64,
    /// When the entry leaves: the token, or the last of those, would have expired.
    expires_at: i64,
}

impl From<Revocation> for RevocationBody {
    fn from(revocation: Revocation) -> Self {
        match revocation {
            Revocation::Token(token) => Self {
                kind: "token",
                token_id: Some(token.token_id),
                subject: None,
                delegation: None,
                revoked_at: token.revoked_at.0,
                expires_at: token.expires_at.0,
            },
            Revocation::Mark(mark) => {
                let (subject, delegation) = match mark.kind {
                    EndKind::Subject => (Some(mark.key), None),
                    EndKind::Delegation => (None, Some(mark.key)),
                };
                Self {
                    kind: mark.kind.as_str(),
                    token_id: None,
                    subject,
                    delegation,
                    revoked_at: mark.not_before.0,
                    expires_at: mark.expires_at.0,
                }
            }
        }
    }
}

/// The list's name in its cursors.
const LIST: &str = "revocations";
/// What the key of a token begins with in a cursor, and those of a subject and of a delegation.
const TOKEN: &str = "token:";
const SUBJECT: &str = "subject:";
const DELEGATION: &str = "delegation:";

/// Ends a token with everything made from it, or all tokens of a subject so far.
#[utoipa::path(post, path = "/revocations", tag = "revocations", request_body = NewRevocationBody,
    security(("administrator_token" = [])), responses((status = 200, body = EndedBody), Problems))]
pub(super) async fn create(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewRevocationBody>,
) -> Result<axum::Json<EndedBody>, Problem> {
    let wish = match (body.token_id, body.token, body.subject) {
        (Some(token_id), None, None) => ToRevoke::TokenId(token_id),
        (None, Some(token), None) => ToRevoke::Token(SecretString::from(token)),
        (None, None, Some(subject)) => ToRevoke::Subject(subject),
        (_, _, _) => {
            return Err(Problem::new(
                Kind::Invalid,
                "name exactly one of token_id, token and subject",
            ));
        }
    };
    let ended = issuer.revoke(&caller, wish).await?;
    Ok(axum::Json(ended.into()))
}

/// Lists what was revoked and would not have expired yet: tokens by `jti`, then subjects, then delegations.
#[utoipa::path(get, path = "/revocations", tag = "revocations", params(PageParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<RevocationBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<PageParams>,
) -> Result<axum::Json<List<RevocationBody>>, Problem> {
    let after = after_text(LIST, params.cursor.as_deref())?
        .map(|key| after(&key))
        .transpose()?;
    let page = issuer
        .revocations(after.as_ref(), limit(params.limit)?)
        .await?;
    let key = |revocation: &Revocation| match revocation {
        Revocation::Token(token) => format!("{TOKEN}{}", token.token_id),
        Revocation::Mark(mark) => match mark.kind {
            EndKind::Subject => format!("{SUBJECT}{}", mark.key),
            EndKind::Delegation => format!("{DELEGATION}{}", mark.key),
        },
    };
    Ok(axum::Json(List::of(LIST, page, key, RevocationBody::from)))
}

fn after(key: &str) -> Result<AfterRevocation, Problem> {
    if let Some(token_id) = key.strip_prefix(TOKEN) {
        return Ok(AfterRevocation::Token(token_id.to_owned()));
    }
    let mark = |prefix: &str, kind: EndKind| {
        key.strip_prefix(prefix)
            .map(|key| AfterRevocation::Mark(kind, key.to_owned()))
    };
    mark(SUBJECT, EndKind::Subject)
        .or_else(|| mark(DELEGATION, EndKind::Delegation))
        .ok_or_else(forged)
}
