//! The caller: the bearer token (RFC 6750 §2.1) is looked up in the database on every call. A handler states the role
//! that it requires by its first argument: [`Viewer`] reads, [`Operator`] changes the registry, [`Owner`] changes keys,
//! administrators and settings. An administrator may be revoked while an admitted call is still being read, so each
//! change looks the administrator up again under the issuer's lock (`issuer/authority.rs`). Rejected calls are audited:
//! an entry for each call of an administrator, equal ones folded, and a count for all others.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, OriginalUri};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use crate::domain::administrator::{AdministratorRole, NotAdmitted};
use crate::domain::remedy::Remedy;
use crate::issuer::authority::Authority;
use crate::issuer::{Caller, Issuer};
use crate::ports::request::{PeerAddr, RequestId};

use super::problem::Problem;

/// Longest accepted token, in bytes; an administrator's token has about fifty.
const TOKEN_MAX_BYTES: usize = 512;
/// Longest path in an audit entry, in characters.
const TARGET_MAX_CHARS: usize = 256;

/// The actor of a call without a valid token.
const UNKNOWN: &str = "unknown";

/// A caller that may read.
pub(super) struct Viewer;
/// A caller that may change agents, groups, roles, resources and credentials.
pub(super) struct Operator(pub(super) Caller);
/// A caller that may do everything.
pub(super) struct Owner(pub(super) Caller);

impl FromRequestParts<Arc<Issuer>> for Viewer {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, issuer: &Arc<Issuer>) -> Result<Self, Problem> {
        admit(parts, issuer, AdministratorRole::Viewer)
            .await
            .map(|_| Self)
    }
}

impl FromRequestParts<Arc<Issuer>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, issuer: &Arc<Issuer>) -> Result<Self, Problem> {
        admit(parts, issuer, AdministratorRole::Operator)
            .await
            .map(Self)
    }
}

impl FromRequestParts<Arc<Issuer>> for Owner {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, issuer: &Arc<Issuer>) -> Result<Self, Problem> {
        admit(parts, issuer, AdministratorRole::Owner)
            .await
            .map(Self)
    }
}

async fn admit(
    parts: &Parts,
    issuer: &Arc<Issuer>,
    least: AdministratorRole,
) -> Result<Caller, Problem> {
    let mut caller = Caller {
        actor: UNKNOWN.to_owned(),
        request_id: parts
            .extensions
            .get::<RequestId>()
            .map_or_else(String::new, |id| id.0.clone()),
        address: parts
            .extensions
            .get::<PeerAddr>()
            .map_or_else(String::new, |peer| peer.0.ip().to_string()),
        authority: None,
    };
    let unproven = |caller: &Caller, reason| {
        // The path as it was written could be another one each time.
        let route = parts.extensions.get::<MatchedPath>();
        let target = format!("{} {}", parts.method, route.map_or("", MatchedPath::as_str));
        issuer.note_unproven_call(reason, &target, caller);
    };
    let token = match unverified_token(parts) {
        Ok(token) => token,
        Err(refused) => {
            unproven(&caller, refused.reason);
            return Err(refused.into());
        }
    };
    let Some(administrator) = issuer.administrator_of(token).await? else {
        unproven(&caller, NotAdmitted::Unknown.reason());
        return Err(NotAdmitted::Unknown.into());
    };
    caller.actor = format!("administrator:{}", administrator.name);
    let authority = Authority {
        token_digest: administrator.token_digest,
        least,
        call: written_target(parts),
    };
    if let Err(refused) = administrator.admit(least, issuer.ports().clock.now()) {
        issuer.note_not_admitted(&caller, &authority, &refused);
        return Err(refused.into());
    }
    caller.authority = Some(authority);
    Ok(caller)
}

/// Method and path of a call as it was written.
fn written_target(parts: &Parts) -> String {
    let uri = parts
        .extensions
        .get::<OriginalUri>()
        .map_or(&parts.uri, |original| &original.0);
    let target = format!("{} {}", parts.method, uri.path());
    target.chars().take(TARGET_MAX_CHARS).collect()
}

/// Why a call does not have a token.
struct NoToken {
    reason: &'static str,
    detail: &'static str,
    remedy: Option<Remedy>,
    token_was_sent: bool,
}

impl From<NoToken> for Problem {
    fn from(no: NoToken) -> Self {
        let problem = Self::unauthorized(no.detail, no.token_was_sent);
        match no.remedy {
            Some(remedy) => problem.with_remedy(&remedy),
            None => problem,
        }
    }
}

fn unverified_token(parts: &Parts) -> Result<&str, NoToken> {
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (headers.next(), headers.next()) else {
        return Err(NoToken {
            reason: "no token",
            detail: "exactly one header `Authorization` is required",
            remedy: Some(Remedy::action(
                "send `Authorization: Bearer TOKEN`; the first token is in the file `admin-token` of the data directory",
            )),
            token_was_sent: false,
        });
    };
    let (scheme, token) = header
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .unwrap_or_default();
    let token = token.trim_matches(' ');
    let is_token =
        (1..=TOKEN_MAX_BYTES).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if !scheme.eq_ignore_ascii_case("bearer") || !is_token {
        return Err(NoToken {
            reason: "malformed token",
            detail: "the header `Authorization` is not `Bearer TOKEN`",
            remedy: None,
            token_was_sent: true,
        });
    }
    Ok(token)
}
