//! `/audit`: read only. No call changes or removes an entry.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use crate::api::audit::{
    AuditEntry as EntryBody, AuditTail as TailBody, AuditVerdict as VerdictBody,
    BadAuditEntry as BadBody,
};
use crate::domain::audit::AuditEntry;
use crate::issuer::Issuer;
use crate::issuer::audit_log::{AuditQuery, AuditVerdict};

use super::caller::Viewer;
use super::openapi::Problems;
use super::page::{List, Params, before_number, limit};
use super::problem::Problem;

impl From<AuditEntry> for EntryBody {
    fn from(entry: AuditEntry) -> Self {
        let AuditEntry { seq, draft, hash } = entry;
        Self {
            seq,
            at: draft.at.to_string(),
            at_ms: draft.at.0,
            event: draft.event.as_str().to_owned(),
            actor: draft.actor,
            target: draft.target,
            agent_id: draft.agent.map(|id| id.to_string()),
            token_id: draft.token_id,
            request_id: draft.request_id,
            address: draft.address,
            detail: serde_json::from_str(&draft.detail).unwrap_or(Value::String(draft.detail)),
            hash: hex(&hash),
        }
    }
}

/// Which entries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Items of a page, 1 to 200; 50 by default.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
    /// Name of an event, such as `token.issued`.
    event: Option<String>,
    /// Name of the agent concerned.
    agent: Option<String>,
    /// The `jti` of the token concerned.
    token_id: Option<String>,
    /// The actor, such as `administrator:bootstrap`, or the bare name of an administrator or agent.
    actor: Option<String>,
    /// The target, such as `role:reader`.
    target: Option<String>,
    /// From this Unix second on.
    since: Option<i64>,
    /// Before this Unix second.
    until: Option<i64>,
}

/// Lists audit entries, the newest first. A page may contain fewer entries than its limit: the list ends when
/// `next_cursor` is `null`.
#[utoipa::path(get, path = "/audit", tag = "audit", params(ListParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<EntryBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<ListParams>,
) -> Result<axum::Json<List<EntryBody>>, Problem> {
    let before = before_number("audit", params.cursor.as_deref())?;
    let limit = limit(params.limit)?;
    let query = AuditQuery {
        event: params.event,
        agent: params.agent,
        token_id: params.token_id,
        actor: params.actor,
        target: params.target,
        since: params.since,
        until: params.until,
    };
    let page = issuer.audit(&query, before, limit).await?;
    Ok(axum::Json(List::up_to(
        "audit",
        page.entries.into_iter().map(EntryBody::from).collect(),
        page.next_before.map(|seq| seq.to_string()),
    )))
}

/// Which entries to follow.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct TailParams {
    /// Maximum number of entries in an answer, 1 to 200; 50 by default.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// Entries with a higher number; by default those that are written from now on.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// Name of an event, such as `token.issued`.
    event: Option<String>,
    /// Name of the agent concerned.
    agent: Option<String>,
    /// The `jti` of the token concerned.
    token_id: Option<String>,
    /// The actor, such as `administrator:bootstrap`, or the bare name of an administrator or agent.
    actor: Option<String>,
    /// The target, such as `role:reader`.
    target: Option<String>,
}

/// Lists the audit entries after a given one, the oldest first, to follow the audit.
#[utoipa::path(get, path = "/audit/tail", tag = "audit", params(TailParams), security(("administrator_token" = [])),
    responses((status = 200, body = TailBody), Problems))]
pub(super) async fn tail(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<TailParams>,
) -> Result<axum::Json<TailBody>, Problem> {
    let limit = limit(params.limit)?;
    if params.after.is_some_and(|after| after < 0) {
        return Err(Problem::invalid(
            "after",
            "must be 0 or the number of an entry",
        ));
    }
    let query = AuditQuery {
        event: params.event,
        agent: params.agent,
        token_id: params.token_id,
        actor: params.actor,
        target: params.target,
        since: None,
        until: None,
    };
    let tail = issuer.audit_tail(&query, params.after, limit).await?;
    Ok(axum::Json(TailBody {
        items: tail.entries.into_iter().map(EntryBody::from).collect(),
        after: tail.after,
        caught_up: tail.is_caught_up,
    }))
}

/// Verifies the whole chain.
#[utoipa::path(get, path = "/audit/verify", tag = "audit", security(("administrator_token" = [])),
    responses((status = 200, body = VerdictBody), Problems))]
pub(super) async fn verify(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
) -> Result<axum::Json<VerdictBody>, Problem> {
    let AuditVerdict {
        entries,
        head_hash,
        first_bad,
    } = issuer.verify_audit().await?;
    Ok(axum::Json(VerdictBody {
        ok: first_bad.is_none(),
        entries,
        head_hash: hex(&head_hash),
        first_bad: first_bad.map(|bad| BadBody {
            seq: bad.seq,
            problem: bad.problem,
        }),
    }))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
