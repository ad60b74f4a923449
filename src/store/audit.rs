//! The audit: rows are added and read, never changed or deleted.

use std::sync::LazyLock;

use super::error::StoreError;
use super::key;
use super::rows::RowLists;
use super::transaction::{Tx, execute, on_engine};
use crate::domain::audit::{AuditDraft, AuditEntry, AuditEvent};
use crate::domain::id::{AgentId, IssuerId};
use crate::ports::time::UnixMillis;

/// Which entries to list; a `None` does not narrow.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    /// With this event.
    pub event: Option<AuditEvent>,
    /// About this agent.
    pub agent: Option<AgentId>,
    /// About the token with this `jti`.
    pub token_id: Option<String>,
    /// By this actor, such as `administrator:bootstrap`.
    pub actor: Option<String>,
    /// About this object, such as `role:reader`.
    pub target: Option<String>,
    /// Only entries that are not the issuance of a token: those have an index by actor and target.
    pub without_tokens: bool,
    /// At or after this time.
    pub since: Option<UnixMillis>,
    /// Before this time.
    pub until: Option<UnixMillis>,
}

impl AuditFilter {
    /// Whether an index leads to the entries; else a page skips rows that do not match.
    #[must_use]
    pub fn has_index(&self) -> bool {
        let is_registrys = self.without_tokens && (self.target.is_some() || self.actor.is_some());
        self.token_id.is_some() || self.agent.is_some() || is_registrys
    }
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
            .map_err(|_| damage("its hash is not 32 bytes long"))?;
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

/// The entries of a page, by a condition on agent ($4) and token ($5): each text so that both engines can
/// use the index for it.
macro_rules! select_matching {
    ($agent_and_token:literal) => {
        select_audit!(concat!(
            "WHERE issuer_id = $1 AND seq < $2 AND seq > $11 AND ($3 IS NULL OR event = $3) AND ",
            $agent_and_token,
            " AND ($6 IS NULL OR actor = $6) AND ($10 IS NULL OR target = $10) AND at_ms >= $7 AND at_ms < $8 "
        ))
    };
}

static INSERT: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::values(
        "INSERT INTO audit (issuer_id, seq, at_ms, event, actor, target, agent_id, token_id, request_id, address, detail, hash)",
        12,
        "ON CONFLICT DO NOTHING",
    )
});
const PAGE: &str = concat!(
    select_matching!("$4 IS NULL AND $5 IS NULL"),
    "ORDER BY seq DESC LIMIT $9"
);
// Each of the two halves of an agent's entries has an index: the tokens and the rest. A page of each is read,
// because PostgreSQL does not merge two indexes that begin with constants.
const PAGE_BY_AGENT: &str = concat!(
    "SELECT * FROM (",
    select_matching!(
        "agent_id = $4 AND event IN ('token.issued', 'id_token.issued') AND $5 IS NULL"
    ),
    "ORDER BY seq DESC LIMIT $9) AS tokens UNION ALL SELECT * FROM (",
    select_matching!(
        "agent_id = $4 AND event NOT IN ('token.issued', 'id_token.issued') AND $5 IS NULL"
    ),
    "ORDER BY seq DESC LIMIT $9) AS others ORDER BY seq DESC LIMIT $9"
);
const PAGE_BY_TOKENS_OF_AGENT: &str = concat!(
    select_matching!(
        "agent_id = $4 AND event IN ('token.issued', 'id_token.issued') AND $5 IS NULL"
    ),
    "ORDER BY seq DESC LIMIT $9"
);
const PAGE_BY_TOKEN: &str = concat!(
    select_matching!("($4 IS NULL OR agent_id = $4) AND token_id = $5"),
    "ORDER BY seq DESC LIMIT $9"
);
// For entries other than the issuance of a token, actors and targets have an index.
const PAGE_BY_TARGET: &str = concat!(
    select_matching!(
        "target = $10 AND event NOT IN ('token.issued', 'id_token.issued') AND $4 IS NULL AND $5 IS NULL"
    ),
    "ORDER BY seq DESC LIMIT $9"
);
const PAGE_BY_ACTOR: &str = concat!(
    select_matching!(
        "actor = $6 AND event NOT IN ('token.issued', 'id_token.issued') AND $4 IS NULL AND $5 IS NULL"
    ),
    "ORDER BY seq DESC LIMIT $9"
);
const FOLLOWING: &str = select_audit!(
    "WHERE issuer_id = $1 AND seq > $2 AND seq <= $11 AND ($3 IS NULL OR event = $3) \
     AND ($4 IS NULL OR agent_id = $4) AND ($5 IS NULL OR token_id = $5) AND ($6 IS NULL OR actor = $6) \
     AND ($10 IS NULL OR target = $10) AND at_ms >= $7 AND at_ms < $8 ORDER BY seq LIMIT $9"
);
const ISSUED: &str = select_audit!(
    "WHERE issuer_id = $1 AND token_id = $2 AND event IN ('token.issued', 'id_token.issued') ORDER BY seq LIMIT 1"
);
const FROM: &str = select_audit!("WHERE issuer_id = $1 AND seq > $2 ORDER BY seq LIMIT $3");
const LAST_TOKEN: &str = "SELECT at_ms FROM audit WHERE issuer_id = $1 AND agent_id = $2 \
     AND event IN ('token.issued', 'id_token.issued') ORDER BY seq DESC LIMIT 1";

/// Which entries to consider, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuditSpan {
    /// Numbers above it.
    pub after: i64,
    /// Numbers below it.
    pub before: i64,
}

impl AuditSpan {
    /// All of them.
    pub const ALL: Self = Self {
        after: 0,
        before: i64::MAX,
    };
}

impl Tx {
    /// Adds entries to the audit. Their numbers follow the head's, which [`Tx::set_head`] then moves.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] when a number is in use, or when a text contains a NUL, which one of the two
    /// databases cannot return; any other. The transaction is over then.
    pub async fn append_audit(
        &mut self,
        issuer: &IssuerId,
        entries: &[AuditEntry],
    ) -> Result<(), StoreError> {
        if let Some(entry) = entries.iter().find(|entry| holds_nul(&entry.draft)) {
            return Err(StoreError::rejected(format!(
                "audit entry {} contains a NUL",
                entry.seq
            )));
        }
        let mut added = 0;
        for (sql, part) in INSERT.repeating(self.dialect(), entries) {
            added += execute!(self, {
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
        // The insert skips a number that is in use, so that rows may be repeated in it.
        if added == entries.len() as u64 {
            Ok(())
        } else {
            Err(StoreError::rejected(
                "the number of an audit entry is already used",
            ))
        }
    }

    /// The last `limit` entries of the span that match the filter, newest first.
    pub async fn audit_page(
        &mut self,
        issuer: &IssuerId,
        filter: &AuditFilter,
        span: AuditSpan,
        limit: i64,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let sql = match (&filter.agent, &filter.token_id) {
            (_, Some(_)) => PAGE_BY_TOKEN,
            (Some(_), None) if filter.event.is_some_and(AuditEvent::is_issuance) => {
                PAGE_BY_TOKENS_OF_AGENT
            }
            (Some(_), None) => PAGE_BY_AGENT,
            (None, None) if filter.without_tokens && filter.target.is_some() => PAGE_BY_TARGET,
            (None, None) if filter.without_tokens && filter.actor.is_some() => PAGE_BY_ACTOR,
            (None, None) => PAGE,
        };
        self.matching(sql, issuer, filter, [span.before, span.after, limit])
            .await
    }

    /// The first `limit` entries of the span that match the filter, oldest first.
    pub async fn audit_following(
        &mut self,
        issuer: &IssuerId,
        filter: &AuditFilter,
        span: AuditSpan,
        limit: i64,
    ) -> Result<Vec<AuditEntry>, StoreError> {
        self.matching(
            FOLLOWING,
            issuer,
            filter,
            [span.after, span.before - 1, limit],
        )
        .await
    }

    /// `bounds`: where the statement begins, the number at which it stops, and the most entries.
    async fn matching(
        &mut self,
        sql: &'static str,
        issuer: &IssuerId,
        filter: &AuditFilter,
        bounds: [i64; 3],
    ) -> Result<Vec<AuditEntry>, StoreError> {
        let [start, end, limit] = bounds;
        on_engine!(self, connection => sqlx::query_as::<_, AuditRow>(sql)
            .bind(issuer.as_str())
            .bind(start)
            .bind(filter.event.map(AuditEvent::as_str))
            .bind(filter.agent.as_ref().map(|agent| key(agent.as_str())))
            .bind(filter.token_id.as_deref().map(key))
            .bind(filter.actor.as_deref().map(key))
            .bind(filter.since.map_or(i64::MIN, |since| since.0))
            .bind(filter.until.map_or(i64::MAX, |until| until.0))
            .bind(limit)
            .bind(filter.target.as_deref().map(key))
            .bind(end)
            .fetch_all(connection))?
        .into_iter()
        .map(AuditRow::entry)
        .collect()
    }

    /// The entry of a token's issuance: the first about it, however many follow.
    pub async fn issue_entry(
        &mut self,
        issuer: &IssuerId,
        token_id: &str,
    ) -> Result<Option<AuditEntry>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, AuditRow>(ISSUED)
            .bind(issuer.as_str())
            .bind(key(token_id))
            .fetch_optional(connection))?
        .map(AuditRow::entry)
        .transpose()
    }

    /// The first `limit` entries with numbers above `after_seq`, oldest first.
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

    /// When an agent last received a token.
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
