//! `/audit`: read only; no call changes or removes an entry.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::domain::audit::AuditEntry;
use crate::issuer::Issuer;
use crate::issuer::audit_log::{AuditQuery, AuditVerdict};

use super::caller::Viewer;
use super::openapi::Problems;
use super::page::{List, Params, before_number, limit};
use super::problem::Problem;

/// An audit entry.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(super) struct EntryBody {
    /// Its number in the issuer's chain, from 1, without gaps.
    seq: i64,
    /// When it happened, RFC 3339 with milliseconds.
    at: String,
    /// When it happened, in Unix milliseconds.
    at_ms: i64,
    event: String,
    /// `agent:NAME`, `administrator:NAME`, `system` or `unknown`.
    actor: String,
    target: String,
    agent_id: Option<String>,
    /// The `jti` of the token concerned.
    token_id: Option<String>,
    request_id: String,
    address: String,
    /// Further facts.
    #[schema(value_type = Object)]
    detail: Value,
    /// SHA-256 over the entry and the hash before it, in hexadecimal.
    hash: String,
}

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
    /// Items of a page, 1 to 200; 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Name of an event, such as `token.issued`.
    event: Option<String>,
    /// Name of the agent concerned.
    agent: Option<String>,
    /// The `jti` of the token concerned.
    token_id: Option<String>,
    /// Who did it, such as `administrator:bootstrap`.
    actor: Option<String>,
    /// From this Unix second on.
    since: Option<i64>,
    /// Before this Unix second.
    until: Option<i64>,
}

/// Lists audit entries, the newest first.
#[utoipa::path(get, path = "/audit", tag = "audit", params(ListParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<EntryBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<ListParams>,
) -> Result<axum::Json<List<EntryBody>>, Problem> {
    let before = before_number("audit", params.cursor.as_deref())?;
    let limit = limit(params.limit)?;
    let ListParams {
        event,
        agent,
        token_id,
        actor,
        since,
        until,
        ..
    } = params;
    let query = AuditQuery {
        event,
        agent,
        token_id,
        actor,
        since,
        until,
    };
    let page = issuer.audit(&query, before, limit).await?;
    Ok(axum::Json(List::of(
        "audit",
        page,
        |entry| entry.seq.to_string(),
        EntryBody::from,
    )))
}

/// What a check of the chain found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditVerdict)]
pub(super) struct VerdictBody {
    /// True when every entry is as it was written.
    ok: bool,
    /// How many entries are sound, from the first on.
    entries: i64,
    /// The hash of the last sound entry, in hexadecimal; keep it elsewhere and compare later.
    head_hash: String,
    /// The first entry that is not as it was written.
    first_bad: Option<BadBody>,
}

/// An entry that is not as it was written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BadAuditEntry)]
pub(super) struct BadBody {
    seq: i64,
    problem: String,
}

/// Checks the whole chain.
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
