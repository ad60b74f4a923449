//! Refusals in the audit: their number is bounded, whatever callers send. No request waits for them.
//!
//! Refusals of unauthenticated callers are counted, on both listeners, and become entries at the end of the
//! interval. For an authenticated caller, an agent or an administrator, the first refusal of a kind is written at
//! once; equal ones of the same interval are folded into one entry. Refusals that could not be written are counted
//! too, and their number becomes an entry as soon as one can be written.

mod fold;
mod shown;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::audit::{AuditDraft, AuditEvent};
use crate::domain::id::IssuerId;
use crate::ports::time::UnixMillis;

use super::{Caller, Issuer};
use fold::Folds;
use shown::{SHOWN_MAX_BYTES, capped, cut, printable, shown};

pub(super) use shown::fact;

/// How often counted and folded refusals become entries.
const INTERVAL: Duration = Duration::from_secs(10);
/// Kinds of unauthenticated callers counted separately per listener and interval: strangers can cause this many
/// entries.
const UNPROVEN_KINDS: usize = 128;
/// Agents and administrators counted separately per interval; refusals of further ones are counted together.
const PRINCIPALS: usize = 4096;

/// An entry to write, and the number of refusals that it represents.
pub(super) struct Refusal {
    pub(super) issuer: Arc<Issuer>,
    pub(super) draft: AuditDraft,
    pub(super) stands_for: u64,
}

/// The refusals that are not written yet, by issuer.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<IssuerId, Unwritten>>);

#[derive(Default)]
struct Unwritten {
    /// Of the public listener.
    clients: Unproven,
    /// Of the private listener.
    callers: Unproven,
    /// By the actor's name in the audit.
    principals: HashMap<String, Folds>,
    /// Refusals of actors beyond [`PRINCIPALS`].
    others: u64,
    /// Refusals that could not be written.
    lost: u64,
}

/// A kind of unauthenticated caller: reason, address, what it claimed or requested.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct UnprovenKind {
    reason: String,
    address: String,
    target: String,
}

impl UnprovenKind {
    fn of(reason: &str, unverified_target: &str, caller: &Caller) -> Self {
        Self {
            reason: cut(reason, SHOWN_MAX_BYTES),
            address: caller.address.clone(),
            target: shown(unverified_target),
        }
    }
}

#[derive(Default)]
struct Unproven {
    counts: BTreeMap<UnprovenKind, u64>,
    /// Callers beyond [`UNPROVEN_KINDS`].
    others: u64,
}

impl Unproven {
    fn count(&mut self, kind: UnprovenKind) {
        if self.counts.len() >= UNPROVEN_KINDS && !self.counts.contains_key(&kind) {
            self.others += 1;
        } else {
            *self.counts.entry(kind).or_default() += 1;
        }
    }

    /// The entries, each with the number of refusals that it represents.
    fn drafts(self, event: AuditEvent, at: UnixMillis) -> Vec<(AuditDraft, u64)> {
        let others = UnprovenKind {
            reason: "further callers".to_owned(),
            address: String::new(),
            target: String::new(),
        };
        let others = (self.others > 0).then_some((others, self.others));
        self.counts
            .into_iter()
            .chain(others)
            .map(|(kind, count)| {
                let detail = json!({ "count": count, "reason": kind.reason });
                let draft = AuditDraft {
                    target: kind.target,
                    address: kind.address,
                    ..AuditDraft::new(at, event, "unknown", &detail)
                };
                (draft, count)
            })
            .collect()
    }
}

impl Unwritten {
    /// True when the refusal is to be written now.
    fn fold(&mut self, draft: &AuditDraft, detail: &Value) -> bool {
        if self.principals.len() >= PRINCIPALS && !self.principals.contains_key(&draft.actor) {
            self.others += 1;
            return false;
        }
        self.principals
            .entry(draft.actor.clone())
            .or_default()
            .fold(draft, detail)
    }

    fn drafts(self, at: UnixMillis) -> Vec<(AuditDraft, u64)> {
        let mut drafts = self.clients.drafts(AuditEvent::ClientRefused, at);
        drafts.extend(self.callers.drafts(AuditEvent::AdminRefused, at));
        let mut principals: Vec<(String, Folds)> = self.principals.into_iter().collect();
        principals.sort_by(|(one, _), (other, _)| one.cmp(other));
        drafts.extend(
            principals
                .into_iter()
                .flat_map(|(_, folds)| folds.drafts(at)),
        );
        if self.others > 0 {
            let detail = json!({ "count": self.others, "reason": "further agents" });
            let draft = AuditDraft::new(at, AuditEvent::TokenRefused, "system", &detail);
            drafts.push((draft, self.others));
        }
        if self.lost > 0 {
            let detail = json!({ "count": self.lost });
            let draft = AuditDraft::new(at, AuditEvent::RefusalsLost, "system", &detail);
            drafts.push((draft, self.lost));
        }
        drafts
    }
}

impl Refusals {
    fn all(&self) -> MutexGuard<'_, HashMap<IssuerId, Unwritten>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Issuer {
    /// Records the refusal of an authenticated agent or administrator. The first of its kind is queued for the
    /// audit; equal ones are folded until [`Issuer::flush_refusals`].
    pub(crate) fn note_refusal(self: &Arc<Self>, draft: AuditDraft) {
        let draft = printable(draft);
        let detail: Value = serde_json::from_str(&draft.detail).unwrap_or_default();
        let is_first = self
            .ledger
            .refusals()
            .all()
            .entry(self.id.clone())
            .or_default()
            .fold(&draft, &detail);
        if is_first {
            let draft = AuditDraft {
                detail: capped(detail),
                ..draft
            };
            self.queue_refusal(draft, 1);
        }
    }

    /// Counts a client that failed to authenticate; a flood becomes one entry per kind and interval.
    pub fn note_unproven(&self, reason: &str, unverified_client_id: &str, caller: &Caller) {
        let kind = UnprovenKind::of(reason, unverified_client_id, caller);
        let mut unwritten = self.ledger.refusals().all();
        let unwritten = unwritten.entry(self.id.clone()).or_default();
        unwritten.clients.count(kind);
    }

    /// Counts a caller of the admin API that failed to authenticate. `target`: the requested path, one of the
    /// API's own.
    pub(crate) fn note_unproven_call(&self, reason: &'static str, target: &str, caller: &Caller) {
        let kind = UnprovenKind::of(reason, target, caller);
        let mut unwritten = self.ledger.refusals().all();
        let unwritten = unwritten.entry(self.id.clone()).or_default();
        unwritten.callers.count(kind);
    }

    /// Queues the refusals that were counted and folded in the past interval, and the number of refusals that were
    /// lost.
    pub fn flush_refusals(self: &Arc<Self>) {
        let Some(unwritten) = self.ledger.refusals().all().remove(&self.id) else {
            return;
        };
        for (draft, stands_for) in unwritten.drafts(self.ports.clock.now_millis()) {
            self.queue_refusal(draft, stands_for);
        }
    }

    /// How often [`Issuer::flush_refusals`] is due.
    #[must_use]
    pub(crate) fn refusal_interval() -> Duration {
        INTERVAL
    }

    /// Counts refusals that could not be written, until their number can be.
    pub(super) fn lose_refusals(&self, count: u64) {
        if count > 0 {
            let mut unwritten = self.ledger.refusals().all();
            unwritten.entry(self.id.clone()).or_default().lost += count;
        }
    }

    fn queue_refusal(self: &Arc<Self>, draft: AuditDraft, stands_for: u64) {
        let refusal = Refusal {
            issuer: Arc::clone(self),
            draft,
            stands_for,
        };
        if !self.ledger.queue_refusal(refusal) {
            self.lose_refusals(stands_for);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fold::KINDS;
    use super::*;

    fn blank(actor: &str, at: UnixMillis) -> AuditDraft {
        AuditDraft::new(at, AuditEvent::TokenRefused, actor, &json!({}))
    }

    #[test]
    fn what_strangers_and_agents_make_is_bounded() {
        let mut unwritten = Unwritten::default();
        for number in 0..100_000 {
            let draft = AuditDraft {
                target: format!("agent:{number}"),
                ..blank(&format!("agent:{}", number % 5000), UnixMillis(0))
            };
            unwritten.fold(
                &draft,
                &json!({ "error": "x", "reason": number.to_string() }),
            );
        }
        assert_eq!(unwritten.principals.len(), PRINCIPALS);
        assert!(
            unwritten
                .principals
                .values()
                .all(|folds| folds.kinds.len() <= KINDS)
        );
        let told: u64 = unwritten
            .drafts(UnixMillis(0))
            .iter()
            .map(|(_, count)| count)
            .sum();
        let at_once = PRINCIPALS * KINDS;
        assert_eq!(told, 100_000 - at_once as u64, "none is passed over");
    }
}
