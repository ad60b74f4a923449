//! Reading the audit log and verifying its chain.

use crate::domain::Invalid;
use crate::domain::audit::{AuditEntry, AuditEvent, GENESIS, chain_hash};
use crate::domain::id::AgentId;
use crate::domain::subject::is_user;
use crate::domain::text;
use crate::ports::time::UnixMillis;
use crate::store::{AuditFilter, AuditSpan, StoreError, Tx};

use super::named::known_name;
use super::{Issuer, IssuerError};

/// Entries read at once when the chain is verified.
const VERIFY_BATCH: i64 = 500;
/// Most entries that one call scans when no index matches the filter.
const WINDOW: i64 = 50_000;
/// Largest difference between the clocks of processes that write to one audit log, in milliseconds: entries are
/// ordered by time only to this precision.
const CLOCK_DIFFERENCE_MILLIS: i64 = 3_600_000;
/// Longest text in a filter.
const FILTER_MAX_CHARS: usize = 256;

/// Which entries a list shows.
#[derive(Debug, Default)]
pub struct AuditQuery {
    /// The event's name.
    pub event: Option<String>,
    /// The name of the agent concerned.
    pub agent: Option<String>,
    /// The `jti` of the token concerned.
    pub token_id: Option<String>,
    /// The actor: `administrator:NAME`, `agent:NAME`, `system`, `unknown`, or the bare name of an administrator or
    /// agent.
    pub actor: Option<String>,
    /// The target, such as `role:reader`.
    pub target: Option<String>,
    /// Not before this second.
    pub since: Option<i64>,
    /// Before this second.
    pub until: Option<i64>,
}

/// Audit entries, the newest first.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// All entries from this number on were scanned; the next page has those before it. `None`: all were scanned.
    pub next_before: Option<i64>,
}

/// Audit entries, the oldest first.
#[derive(Clone, Debug)]
pub struct AuditTail {
    /// The entries.
    pub entries: Vec<AuditEntry>,
    /// All entries up to this number were scanned.
    pub after: i64,
    /// True when that is the newest entry.
    pub is_caught_up: bool,
}

/// What verifying the chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditVerdict {
    /// Number of entries that were read and are intact.
    pub entries: i64,
    /// The hash of the last entry, to store elsewhere and compare with later.
    pub head_hash: [u8; 32],
    /// The first entry that was altered.
    pub first_bad: Option<BadEntry>,
}

/// An altered entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEntry {
    /// Its number.
    pub seq: i64,
    /// What is wrong.
    pub problem: String,
}

impl BadEntry {
    fn new(seq: i64, problem: &str) -> Self {
        Self {
            seq,
            problem: problem.to_owned(),
        }
    }
}

impl Issuer {
    /// Audit entries, the newest first, those before entry `before`. Where no index matches the filter, one call
    /// scans only a part of the log, so a page may be short although more entries match.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a filter that no entry can match, [`IssuerError::NotFound`] for an agent that
    /// never existed.
    pub async fn audit(
        &self,
        query: &AuditQuery,
        before: Option<i64>,
        limit: i64,
    ) -> Result<AuditPage, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let filter = self.audit_filter(&mut tx, query).await?;
        let floor = if filter.has_index() {
            0
        } else {
            let before = match before {
                Some(before) => before,
                None => self.newest_entry(&mut tx).await? + 1,
            };
            (before - 1 - WINDOW).max(0)
        };
        let span = AuditSpan {
            after: floor,
            before: before.unwrap_or(i64::MAX),
        };
        let mut entries = tx.audit_page(&self.id, &filter, span, limit + 1).await?;
        let most = usize::try_from(limit).unwrap_or(0);
        let next_before = if entries.len() > most {
            entries.truncate(most);
            entries.last().map(|entry| entry.seq)
        } else if floor > 0 && !self.all_are_older(&mut tx, floor, &filter).await? {
            Some(floor + 1)
        } else {
            None
        };
        tx.rollback().await?;
        Ok(AuditPage {
            entries,
            next_before,
        })
    }

    /// Follows the audit log: entries after entry `after`, the oldest first. Without `after` it returns no
    /// entries, only the number of the newest, to continue from.
    ///
    /// # Errors
    /// As [`Issuer::audit`].
    pub async fn audit_tail(
        &self,
        query: &AuditQuery,
        after: Option<i64>,
        limit: i64,
    ) -> Result<AuditTail, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let filter = self.audit_filter(&mut tx, query).await?;
        let newest = self.newest_entry(&mut tx).await?;
        let after = after.map_or(newest, |after| after.clamp(0, newest));
        let last = newest.min(after + WINDOW);
        let span = AuditSpan {
            after,
            before: last + 1,
        };
        let entries = tx.audit_following(&self.id, &filter, span, limit).await?;
        tx.rollback().await?;
        let is_full = entries.len() as i64 == limit;
        let after = match entries.last() {
            Some(entry) if is_full => entry.seq,
            Some(_) | None => last,
        };
        Ok(AuditTail {
            entries,
            after,
            is_caught_up: after == newest,
        })
    }

    async fn newest_entry(&self, tx: &mut Tx) -> Result<i64, IssuerError> {
        let head = tx.head(&self.id).await?;
        Ok(head.map_or(0, |head| head.seq))
    }

    /// Whether entry `seq` and those before it are older than the filter's `since`.
    async fn all_are_older(
        &self,
        tx: &mut Tx,
        seq: i64,
        filter: &AuditFilter,
    ) -> Result<bool, IssuerError> {
        let Some(since) = filter.since else {
            return Ok(false);
        };
        let entry = tx.audit_from(&self.id, seq - 1, 1).await?.pop();
        Ok(entry.is_some_and(|entry| {
            entry.draft.at.0 < since.0.saturating_sub(CLOCK_DIFFERENCE_MILLIS)
        }))
    }

    async fn audit_filter(
        &self,
        tx: &mut Tx,
        query: &AuditQuery,
    ) -> Result<AuditFilter, IssuerError> {
        let line = |field, text: &Option<String>| {
            let text = text.as_deref();
            text.map(|text| text::line(field, text, FILTER_MAX_CHARS))
                .transpose()
        };
        let event = query.event.as_deref().map(parse_event).transpose()?;
        let token_id = line("token_id", &query.token_id)?;
        let target = line("target", &query.target)?;
        let actor = match line("actor", &query.actor)? {
            Some(text) => Some(self.actor_named(tx, text).await?),
            None => None,
        };
        let agent: Option<AgentId> = match &query.agent {
            Some(name) => {
                let name = known_name("agent", name)?;
                let agent = tx.agent_by_name(&self.id, name.as_str()).await?;
                Some(
                    agent
                        .ok_or_else(|| IssuerError::not_found("agent", name.as_str()))?
                        .id,
                )
            }
            None => None,
        };
        // A token is issued by its agent and is about a subject: an agent, or a user of a trusted issuer.
        let may_be_subject = match target.as_deref() {
            Some(target) if is_user(target) => true,
            Some(target) => tx.agent_name_by_subject(&self.id, target).await?.is_some(),
            None => false,
        };
        let is_agents = actor
            .as_deref()
            .is_some_and(|actor| actor.starts_with("agent:"));
        let without_tokens =
            (target.is_some() && !may_be_subject) || (actor.is_some() && !is_agents);
        let millis = |seconds: i64| UnixMillis(seconds.saturating_mul(1000));
        Ok(AuditFilter {
            event,
            agent,
            token_id,
            actor,
            target,
            without_tokens,
            since: query.since.map(millis),
            until: query.until.map(millis),
        })
    }

    /// An actor in the form that entries have. A bare name is that of an administrator or an agent.
    async fn actor_named(&self, tx: &mut Tx, text: String) -> Result<String, IssuerError> {
        if text.contains(':') || ["system", "unknown"].contains(&text.as_str()) {
            return Ok(text);
        }
        let administrators = tx.administrators(&self.id).await?;
        let is_administrator = administrators
            .iter()
            .any(|known| known.name.as_str() == text);
        let is_agent = tx.agent_by_name(&self.id, &text).await?.is_some();
        let problem = match (is_administrator, is_agent) {
            (true, false) => return Ok(format!("administrator:{text}")),
            (false, true) => return Ok(format!("agent:{text}")),
            (true, true) => format!(
                "`{text}` is an administrator and an agent: write `administrator:{text}` or `agent:{text}`"
            ),
            (false, false) => format!(
                "no administrator or agent is named `{text}`; an actor is `administrator:NAME`, `agent:NAME`, `system` or `unknown`"
            ),
        };
        Err(Invalid::new("actor", problem).into())
    }

    /// Reads the whole chain and verifies each entry against its hash and its predecessor, up to the head at the
    /// start.
    ///
    /// # Errors
    /// When the database cannot be read. A damaged chain is a result, not an error.
    pub async fn verify_audit(&self) -> Result<AuditVerdict, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let head = tx
            .head(&self.id)
            .await?
            .ok_or_else(|| IssuerError::not_found("issuer", &self.url))?;
        tx.rollback().await?;
        let (mut seq, mut hash) = (0, GENESIS);
        let mut batch_size = VERIFY_BATCH;
        while seq < head.seq {
            let (mut tx, _) = self.read().await?;
            let batch = match tx.audit_from(&self.id, seq, batch_size).await {
                Ok(batch) => batch,
                // A row of the batch is corrupt: read one by one to find it.
                Err(StoreError::Corrupt { .. }) if batch_size > 1 => {
                    batch_size = 1;
                    continue;
                }
                Err(StoreError::Corrupt { what }) => {
                    return Ok(bad(seq, hash, BadEntry::new(seq + 1, &what)));
                }
                Err(error) => return Err(error.into()),
            };
            tx.rollback().await?;
            if batch.is_empty() {
                return Ok(bad(
                    seq,
                    hash,
                    BadEntry::new(seq + 1, "the entries from here to the head are missing"),
                ));
            }
            for entry in batch.iter().filter(|entry| entry.seq <= head.seq) {
                if let Some(problem) = check_entry(self.id.as_str(), entry, seq, &hash) {
                    return Ok(bad(seq, hash, problem));
                }
                (seq, hash) = (entry.seq, entry.hash);
            }
        }
        let first_bad = (hash != head.hash).then(|| {
            BadEntry::new(
                seq,
                "its hash differs from the hash in the issuer's head row",
            )
        });
        Ok(AuditVerdict {
            entries: seq,
            head_hash: hash,
            first_bad,
        })
    }
}

fn check_entry(
    issuer_id: &str,
    entry: &AuditEntry,
    previous_seq: i64,
    previous_hash: &[u8; 32],
) -> Option<BadEntry> {
    if entry.seq != previous_seq + 1 {
        return Some(BadEntry::new(previous_seq + 1, "the entry is missing"));
    }
    let computed = chain_hash(issuer_id, previous_hash, entry.seq, &entry.draft);
    (computed != entry.hash).then(|| {
        BadEntry::new(
            entry.seq,
            "its content or the entry before it was changed after it was written",
        )
    })
}

fn bad(entries: i64, head_hash: [u8; 32], first_bad: BadEntry) -> AuditVerdict {
    AuditVerdict {
        entries,
        head_hash,
        first_bad: Some(first_bad),
    }
}

fn parse_event(text: &str) -> Result<AuditEvent, Invalid> {
    AuditEvent::parse(text).ok_or_else(|| {
        let names = AuditEvent::ALL.map(AuditEvent::as_str).join(", ");
        Invalid::new("event", format!("must be one of {names}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::audit::{AuditDraft, ChainHead, chain};

    fn entries() -> Vec<AuditEntry> {
        let detail = serde_json::json!({});
        let draft = |target: &str| AuditDraft {
            target: target.to_owned(),
            ..AuditDraft::new(UnixMillis(1), AuditEvent::AgentCreated, "system", &detail)
        };
        chain(
            "i",
            ChainHead::START,
            vec![draft("agent:a"), draft("agent:b"), draft("agent:c")],
        )
    }

    #[test]
    fn a_changed_a_removed_and_a_moved_entry_show() {
        let good = entries();
        assert_eq!(check_entry("i", &good[1], 1, &good[0].hash), None);
        let mut changed = good[1].clone();
        changed.draft.detail = "{ }".to_owned();
        for (entry, previous_seq, previous_hash, seq) in [
            (&changed, 1, &good[0].hash, 2),
            (&good[2], 1, &good[0].hash, 2),
            (&good[1], 1, &good[2].hash, 2),
            (&good[1], 2, &good[1].hash, 3),
        ] {
            let found = check_entry("i", entry, previous_seq, previous_hash).map(|bad| bad.seq);
            assert_eq!(found, Some(seq));
        }
        assert!(check_entry("another issuer", &good[1], 1, &good[0].hash).is_some());
    }
}
