//! `/revocations`: revoked tokens, and their revocation.

use std::sync::Arc;

use axum::extract::State;
use secrecy::SecretString;

use crate::api::revocation::{
    EndedTokens as EndedBody, NewRevocation as NewRevocationBody, Revocation as RevocationBody,
};
use crate::issuer::Issuer;
use crate::issuer::revocations::{AfterRevocation, Ended, Revocation, ToRevoke};
use crate::store::EndKind;

use super::caller::{Operator, Viewer};
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, PageParams, Params, after_text, forged, limit};
use super::problem::{Kind, Problem};

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

impl From<Revocation> for RevocationBody {
    fn from(revocation: Revocation) -> Self {
        match revocation {
            Revocation::Token(token) => Self {
                kind: "token".to_owned(),
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
                    kind: mark.kind.as_str().to_owned(),
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
/// The first letters of a cursor's key: for a token, a subject and a delegation.
const TOKEN: &str = "token:";
const SUBJECT: &str = "subject:";
const DELEGATION: &str = "delegation:";

/// Revokes a token with everything derived from it, or all earlier tokens of a subject.
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
                "exactly one of `token_id`, `token` and `subject` is required",
            ));
        }
    };
    let ended = issuer.revoke(&caller, wish).await?;
    Ok(axum::Json(ended.into()))
}

/// Lists revocations of unexpired tokens: tokens by `jti`, then subjects, then delegations.
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
