//! Reading the audit, and checking its chain.

use crate::domain::Invalid;
use crate::domain::audit::{AuditEntry, AuditEvent, GENESIS, chain_hash};
use crate::domain::id::AgentId;
use crate::domain::text;
use crate::ports::time::UnixMillis;
use crate::store::AuditFilter;
use crate::store::StoreError;

use super::directory::known_name;
use super::page::Page;
use super::{Issuer, IssuerError};

/// Entries read at once when the chain is checked.
const VERIFY_BATCH: i64 = 500;
/// Longest text that is looked for.
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
    /// Who did it.
    pub actor: Option<String>,
    /// From this second on.
    pub since: Option<i64>,
    /// Before this second.
    pub until: Option<i64>,
}

/// What a check of the chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditVerdict {
    /// How many entries were read and are sound.
    pub entries: i64,
    /// The hash of the last entry, to be kept elsewhere and compared with later.
    pub head_hash: [u8; 32],
    /// The first entry that is not as it was written.
    pub first_bad: Option<BadEntry>,
}

/// An entry that is not as it was written.
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
    /// Audit entries, the newest first, those before entry `before`.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a filter that no entry can match, [`IssuerError::NotFound`] for an
    /// agent there never was.
    pub async fn audit(
        &self,
        query: &AuditQuery,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Page<AuditEntry>, IssuerError> {
        let event = query.event.as_deref().map(parse_event).transpose()?;
        let token_id = query
            .token_id
            .as_deref()
            .map(|id| text::line("token_id", id, FILTER_MAX_CHARS))
            .transpose()?;
        let actor = query
            .actor
            .as_deref()
            .map(|actor| text::line("actor", actor, FILTER_MAX_CHARS))
            .transpose()?;
        let (mut tx, _) = self.read().await?;
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
        let filter = AuditFilter {
            event,
            agent,
            token_id,
            actor,
            since: query
                .since
                .map(|seconds| UnixMillis(seconds.saturating_mul(1000))),
            until: query
                .until
                .map(|seconds| UnixMillis(seconds.saturating_mul(1000))),
        };
        let entries = tx.audit_page(&self.id, &filter, before, limit + 1).await?;
        tx.rollback().await?;
        Ok(Page::cut(entries, limit))
    }

    /// Reads the whole chain and checks each entry against its hash and its predecessor, up to the
    /// head at the start of the check.
    ///
    /// # Errors
    /// When the database cannot be read. A damaged chain is no error but the answer.
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
                // One row of the batch does not read back: go on one by one to find it.
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
        let first_bad = (hash != head.hash)
            .then(|| BadEntry::new(seq, "its hash is not the one the issuer's head holds"));
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
    use crate::domain::audit::{AuditDraft, chain};

    fn entries() -> Vec<AuditEntry> {
        let draft = |target: &str| AuditDraft {
            at: UnixMillis(1),
            event: AuditEvent::AgentCreated,
            actor: "system".to_owned(),
            target: target.to_owned(),
            agent: None,
            token_id: None,
            request_id: String::new(),
            address: String::new(),
            detail: "{}".to_owned(),
        };
        chain(
            "i",
            (0, GENESIS),
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
