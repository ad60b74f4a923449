//! The caller: the bearer token (RFC 6750 §2.1) is looked up in the database on every call, so that a
//! revocation takes effect at once. A handler states the role that it requires by its first argument:
//! [`Viewer`] reads, [`Operator`] changes the registry, [`Owner`] changes keys, administrators and settings.
//! Refused calls are audited: an entry for each call of an administrator, equal ones folded, and a count for
//! all others.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, OriginalUri};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use crate::domain::administrator::{Administrator, AdministratorRole};
use crate::domain::audit::{Answer, AuditDraft, AuditEvent, RefusalDetail};
use crate::domain::remedy::Remedy;
use crate::issuer::{Caller, Issuer};
use crate::ports::request::{PeerAddr, RequestId};

use super::problem::{Kind, Problem};

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

/// Why a call is rejected.
struct Refused {
    actor: String,
    reason: &'static str,
    problem: Box<Problem>,
}

async fn admit(
    parts: &Parts,
    issuer: &Arc<Issuer>,
    minimum: AdministratorRole,
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
    };
    let administrator = match unverified_token(parts) {
        Ok(token) => issuer.administrator_of(token).await?,
        Err(refused) => return Err(refuse(parts, issuer, caller, refused)),
    };
    match judge(administrator, issuer, minimum) {
        Ok(administrator) => {
            caller.actor = actor(&administrator);
            Ok(caller)
        }
        Err(refused) => Err(refuse(parts, issuer, caller, refused)),
    }
}

fn unverified_token(parts: &Parts) -> Result<&str, Refused> {
    let unproven = |reason, problem| Refused {
        actor: UNKNOWN.to_owned(),
        reason,
        problem: Box::new(problem),
    };
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (headers.next(), headers.next()) else {
        let problem =
            Problem::unauthorized("exactly one header `Authorization` is required", false);
        let remedy = Remedy::action(
            "send `Authorization: Bearer TOKEN`; the first token is in the file `admin-token` of the data directory",
        );
        return Err(unproven("no token", problem.with_remedy(&remedy)));
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
        return Err(unproven(
            "malformed token",
            Problem::unauthorized("the header `Authorization` is not `Bearer TOKEN`", true),
        ));
    }
    Ok(token)
}

fn judge(
    administrator: Option<Administrator>,
    issuer: &Issuer,
    minimum: AdministratorRole,
) -> Result<Administrator, Refused> {
    // The same words for unknown, expired and revoked: only the audit distinguishes them.
    let detail = "the token is not a valid administrator token";
    let Some(administrator) = administrator else {
        return Err(Refused {
            actor: UNKNOWN.to_owned(),
            reason: "unknown token",
            problem: Box::new(Problem::unauthorized(detail, true)),
        });
    };
    if !administrator.is_live(issuer.ports().clock.now()) {
        let reason = if administrator.revoked_at.is_some() {
            "revoked token"
        } else {
            "expired token"
        };
        return Err(Refused {
            actor: actor(&administrator),
            reason,
            problem: Box::new(Problem::unauthorized(detail, true)),
        });
    }
    if administrator.role < minimum {
        let detail = format!(
            "an administrator with the role `{}` is required; `{}` is `{}`",
            minimum.as_str(),
            administrator.name,
            administrator.role.as_str()
        );
        return Err(Refused {
            actor: actor(&administrator),
            reason: "role too low",
            problem: Box::new(Problem::new(Kind::Forbidden, detail)),
        });
    }
    Ok(administrator)
}

fn actor(administrator: &Administrator) -> String {
    format!("administrator:{}", administrator.name)
}

fn refuse(parts: &Parts, issuer: &Arc<Issuer>, caller: Caller, refused: Refused) -> Problem {
    if refused.actor == UNKNOWN {
        // The path as written could differ in each call.
        let route = parts.extensions.get::<MatchedPath>();
        let target = format!("{} {}", parts.method, route.map_or("", MatchedPath::as_str));
        issuer.note_unproven_call(refused.reason, &target, &caller);
        return *refused.problem;
    }
    let uri = parts
        .extensions
        .get::<OriginalUri>()
        .map_or(&parts.uri, |original| &original.0);
    let target = format!("{} {}", parts.method, uri.path());
    let answer = Answer::Status(refused.problem.status().as_u16());
    let detail = RefusalDetail::new(answer, refused.reason);
    let at = issuer.ports().clock.now_millis();
    issuer.note_refusal(AuditDraft {
        target: target.chars().take(TARGET_MAX_CHARS).collect(),
        ..caller.draft(at, AuditEvent::AdminRefused, refused.actor, &detail)
    });
    *refused.problem
}
