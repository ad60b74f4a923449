//! `/revocations`: tokens ended before their time, and the ending of them.

use std::sync::Arc;

use axum::extract::State;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::issuer::Issuer;
use crate::issuer::revocations::{AfterRevocation, Ended, Revocation, ToRevoke};

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
    /// How many tokens this call ended, those made from it included; 0 when it was over before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revoked: Option<u64>,
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
                subject: mark.subject,
                expires_at: mark.expires_at.0,
                revoked: None,
                not_before: Some(mark.not_before.0),
            },
        }
    }
}

/// A token, or all tokens of a subject up to a moment, that ended before the time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Revocation)]
pub(super) struct RevocationBody {
    /// `token` or `subject`.
    kind: &'static str,
    /// The token's `jti`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token_id: Option<String>,
    /// The subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    subject: Option<String>,
    /// When the token was revoked; up to when tokens of the subject are.
    revoked_at: i64,
    /// When the entry leaves: the token, or the last of the subject's, would have expired.
    expires_at: i64,
}

impl From<Revocation> for RevocationBody {
    fn from(revocation: Revocation) -> Self {
        match revocation {
            Revocation::Token(token) => Self {
                kind: "token",
                token_id: Some(token.token_id),
                subject: None,
                revoked_at: token.revoked_at.0,
                expires_at: token.expires_at.0,
            },
            Revocation::Subject(mark) => Self {
                kind: "subject",
                token_id: None,
                subject: Some(mark.subject),
                revoked_at: mark.not_before.0,
                expires_at: mark.expires_at.0,
            },
        }
    }
}

/// The list's name in its cursors.
const LIST: &str = "revocations";
/// What the key of a token begins with in a cursor, and that of a subject.
const TOKEN: &str = "token:";
const SUBJECT: &str = "subject:";

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

/// Lists what was revoked and would not have expired yet: tokens by `jti`, then subjects.
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
        Revocation::Subject(mark) => format!("{SUBJECT}{}", mark.subject),
    };
    Ok(axum::Json(List::of(LIST, page, key, RevocationBody::from)))
}

fn after(key: &str) -> Result<AfterRevocation, Problem> {
    if let Some(token_id) = key.strip_prefix(TOKEN) {
        return Ok(AfterRevocation::Token(token_id.to_owned()));
    }
    key.strip_prefix(SUBJECT)
        .map(|subject| AfterRevocation::Subject(subject.to_owned()))
        .ok_or_else(forged)
}
