//! The audit: rows are added and read, never changed or deleted.

use std::sync::LazyLock;

use super::engine::{Tx, execute, on_engine};
use super::error::StoreError;
use super::key;
use super::rows::RowLists;
use crate::domain::audit::{AuditDraft, AuditEntry, AuditEvent};
use crate::domain::id::{AgentId, IssuerId};
use crate::ports::time::UnixMillis;

/// Which entries to list; what is `None` does not narrow.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// Of this kind.
    pub event: Option<AuditEvent>,
    /// About this agent.
    pub agent: Option<AgentId>,
    /// About the token with this `jti`.
    pub token_id: Option<String>,
    /// By this actor, such as `administrator:bootstrap`.
    pub actor: Option<String>,
    /// At or after this time.
    pub since: Option<UnixMillis>,
    /// Before this time.
    pub until: Option<UnixMillis>,
}

#[derive(sqlx::FromRow)]
struct AuditRow {
    seq: i64,
    at_ms: i64,
    event: String,
    actor: String,
    target: String,
    agent_id: Option<String>,
    token_id: Option<String>,
    request_id: String,
    address: String,
    detail: String,
    hash: Vec<u8>,
}

impl AuditRow {
    fn entry(self) -> Result<AuditEntry, StoreError> {
        let damage = |what: &str| StoreError::corrupt(format!("audit entry {}: {what}", self.seq));
        let event = AuditEvent::parse(&self.event).ok_or_else(|| damage("its event is unknown"))?;
        let hash = self
            .hash
            .as_slice()
            .try_into()
            .map_err(|_| damage("its hash has not 32 bytes"))?;
        Ok(AuditEntry {
            seq: self.seq,
            draft: AuditDraft {
                at: UnixMillis(self.at_ms),
                event,
                actor: self.actor,
                target: self.target,
                agent: self.agent_id.map(AgentId::from_text),
                token_id: self.token_id,
                request_id: self.request_id,
                address: self.address,
                detail: self.detail,
            },
            hash,
        })
    }
}

macro_rules! select_audit {
    ($rest:expr) => {
        concat!(
            "SELECT seq, at_ms, event, actor, target, agent_id, token_id, request_id, address, detail, hash FROM audit ",
            $rest
        )
    };
}

/// A page, by a condition on agent ($4) and token ($5): each text so that SQLite can use the index.
macro_rules! select_page {
    ($agent_and_token:literal) => {
        select_audit!(concat!(
            "WHERE issuer_id = $1 AND seq < $2 AND ($3 IS NULL OR event = $3) AND ",
            $agent_and_token,
            " AND ($6 IS NULL OR actor = $6) AND at_ms >= $7 AND at_ms < $8 ORDER BY seq DESC LIMIT $9"
        ))
    };
}

static INSERT: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::values(
        "INSERT INTO audit (issuer_id, seq, at_ms, event, actor, target, agent_id, token_id, request_id, address, detail, hash)",
        12,
        "",
    )
});
const PAGE: &str = select_page!("$4 IS NULL AND $5 IS NULL");
const PAGE_BY_AGENT: &str = select_page!("agent_id = $4 AND $5 IS NULL");
const PAGE_BY_TOKEN: &str = select_page!("($4 IS NULL OR agent_id = $4) AND token_id = $5");
const FROM: &str = select_audit!("WHERE issuer_id = $1 AND seq > $2 ORDER BY seq LIMIT $3");
const LAST_TOKEN: &str = "SELECT at_ms FROM audit WHERE issuer_id = $1 AND agent_id = $2 \
     AND event IN ('token.issued', 'id_token.issued') ORDER BY seq DESC LIMIT 1";

impl Tx {
    /// Adds entries to the audit. Their numbers follow the head's, which [`Tx::set_head`] then moves.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] when a number is taken, or when a text holds a NUL, which one of the two
    /// databases could not give back; any other. The transaction is over then.
    pub async fn append_audit(
        &mut self,
        issuer: &IssuerId,
        entries: &[AuditEntry],
    ) -> Result<(), StoreError> {
        if let Some(entry) = entries.iter().find(|entry| holds_nul(&entry.draft)) {
            return Err(StoreError::rejected(format!(
                "audit entry {} holds a NUL",
                entry.seq
            )));
        }
        for (sql, part) in INSERT.statements(self.dialect(), entries) {
            execute!(self, {
                let mut query = sqlx::query(sql);
                for AuditEntry { seq, draft, hash } in part {
                    query = query
                        .bind(issuer.as_str())
                        .bind(*seq)
                        .bind(draft.at.0)
                        .bind(draft.event.as_str())
                        .bind(&draft.actor)
                        .bind(&draft.target)
                        .bind(draft.agent.as_ref().map(AgentId::as_str))
                        .bind(draft.token_id.as_deref())
                        .bind(&draft.request_id)
                        .bind(&draft.address)
                        .bind(&draft.detail)
                        .bind(&hash[..]);
                }
                query
            })?;
        }
        Ok(())
    }

    /// The last `limit` entries that the filter takes, numbered below `before`, newest first.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn audit_page(
        &mut self,
        issuer: &IssuerId,
        filter: &AuditFilter,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = match (&filter.agent, &filter.token_id) {
            (_, Some(_)) => PAGE_BY_TOKEN,
            (Some(_), None) => PAGE_BY_AGENT,
            (None, None) => PAGE,
        };
        on_engine!(self, connection => sqlx::query_as::<_, AuditRow>(sql)
            .bind(issuer.as_str())
            .bind(before.unwrap_or(i64::MAX))
            .bind(filter.event.map(AuditEvent::as_str))
            .bind(filter.agent.as_ref().map(|agent| key(agent.as_str())))
            .bind(filter.token_id.as_deref().map(key))
            .bind(filter.actor.as_deref().map(key))
            .bind(filter.since.map_or(i64::MIN, |since| since.0))
            .bind(filter.until.map_or(i64::MAX, |until| until.0))
            .bind(limit)
            .fetch_all(connection))?
        .into_iter()
        .map(AuditRow::entry)
        .collect()
    }

    /// The first `limit` entries numbered above `after_seq`, oldest first.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn audit_from(
        &mut self,
        issuer: &IssuerId,
        after_seq: i64,
        limit: i64,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, AuditRow>(FROM)
            .bind(issuer.as_str())
            .bind(after_seq)
            .bind(limit)
            .fetch_all(connection))?
        .into_iter()
        .map(AuditRow::entry)
        .collect()
    }

    /// When an agent last got a token.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn last_token_at(
        &mut self,
        issuer: &IssuerId,
        agent: &AgentId,
    ) -> Result<Option<UnixMillis>, StoreError> {
        let at = on_engine!(self, connection => sqlx::query_scalar(LAST_TOKEN)
            .bind(issuer.as_str())
            .bind(key(agent.as_str()))
            .fetch_optional(connection))?;
        Ok(at.map(UnixMillis))
    }
}

fn holds_nul(draft: &AuditDraft) -> bool {
    let AuditDraft {
        at: _,
        event: _,
        actor,
        target,
        agent,
        token_id,
        request_id,
        address,
        detail,
    } = draft;
    [actor, target, request_id, address, detail]
        .into_iter()
        .any(|text| text.contains('\0'))
        || agent
            .as_ref()
            .is_some_and(|agent| agent.as_str().contains('\0'))
        || token_id
            .as_ref()
            .is_some_and(|token_id| token_id.contains('\0'))
}
