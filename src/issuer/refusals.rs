//! Refusals as the audit shows them: bounded, whatever is sent. No request waits for them.
//!
//! Callers that proved nothing are counted, on both listeners, and become entries at the interval. A caller
//! that is known, an agent or an administrator, gets its first refusal of a kind written at once; equal ones
//! of the same interval are folded into one entry. What could not be written is counted too, and the number
//! becomes an entry of its own as soon as one can be written.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::domain::audit::{AuditDraft, AuditEvent};
use crate::domain::id::IssuerId;
use crate::domain::text::is_unshowable;
use crate::ports::time::UnixMillis;

use super::secrets::is_well_formed;
use super::{Caller, Issuer};

/// How often counted and folded refusals become entries.
const INTERVAL: Duration = Duration::from_secs(10);
/// Kinds of unproven callers kept apart per listener and interval: strangers can cause this many entries.
const UNPROVEN_KINDS: usize = 128;
/// Kinds of refusals of one agent or administrator kept apart per interval; further ones are counted together.
const KINDS: usize = 8;
/// Agents and administrators kept apart per interval; refusals of further ones are counted together.
const PRINCIPALS: usize = 4096;
/// Longest detail of a refusal, in bytes of JSON.
pub(super) const DETAIL_MAX_BYTES: usize = 256;
/// How much of each text in a detail is kept, in bytes of JSON: the first that makes the whole short enough.
const TEXT_MAX_BYTES: [usize; 5] = [160, 96, 64, 40, 20];
/// In place of what is left out.
const MARK: char = '…';
/// Members of a detail that are never left out.
const KEPT_MEMBERS: [&str; 6] = ["error", "status", "reason", "count", "first_at", "last_at"];
/// Bytes of a claimed client id, or of a target in a kind, that are kept, and at most one escape more: names
/// have 128.
const SHOWN_MAX_BYTES: usize = 160;

/// Bytes of a stranger's value that a reason repeats, and at most one escape more.
const FACT_MAX_BYTES: usize = 64;

/// An entry to write, and how many refusals it stands for.
pub(super) struct Refusal {
    pub(super) issuer: Arc<Issuer>,
    pub(super) draft: AuditDraft,
    pub(super) stands_for: u64,
}

/// What is not written yet, by issuer.
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
    /// Refusals of those beyond [`PRINCIPALS`].
    others: u64,
    /// Refusals that could not be written.
    lost: u64,
}

/// A kind of unproven caller: reason, address, what it claimed or asked for.
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
    /// Those beyond [`UNPROVEN_KINDS`].
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

    /// The entries, each with how many refusals it stands for.
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

/// What makes refusals of one actor equal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kind {
    event: AuditEvent,
    target: String,
    /// The error's code, or the HTTP status.
    answer: String,
    reason: String,
}

impl Kind {
    fn of(draft: &AuditDraft, detail: &Value) -> Self {
        let text = |member: &str| {
            let value = &detail[member];
            match value.as_str() {
                Some(text) => cut(text, SHOWN_MAX_BYTES),
                None if value.is_null() => String::new(),
                None => cut(&value.to_string(), SHOWN_MAX_BYTES),
            }
        };
        Self {
            event: draft.event,
            target: cut(&draft.target, SHOWN_MAX_BYTES),
            answer: text("error") + &text("status"),
            reason: text("reason"),
        }
    }
}

/// Equal refusals since the one that was written at once.
struct Fold {
    kind: Kind,
    count: u64,
    first_at: UnixMillis,
    last: AuditDraft,
}

/// The refusals of one actor.
#[derive(Default)]
struct Folds {
    kinds: Vec<Fold>,
    /// Refusals beyond [`KINDS`], and the last of them.
    further: Option<Fold>,
}

impl Folds {
    /// True when the refusal is the first of its kind, and to be written now.
    fn fold(&mut self, draft: &AuditDraft, detail: &Value) -> bool {
        let kind = Kind::of(draft, detail);
        if let Some(fold) = self.kinds.iter_mut().find(|fold| fold.kind == kind) {
            fold.add(draft);
            return false;
        }
        let is_first = self.kinds.len() < KINDS;
        let fold = Fold {
            kind,
            count: 0,
            first_at: draft.at,
            last: AuditDraft {
                detail: String::new(),
                ..draft.clone()
            },
        };
        if is_first {
            self.kinds.push(fold);
        } else {
            self.further.get_or_insert(fold).add(draft);
        }
        is_first
    }

    fn drafts(self, at: UnixMillis) -> Vec<(AuditDraft, u64)> {
        let folded = self.kinds.into_iter().filter(|fold| fold.count > 0);
        let folded = folded.map(|fold| {
            let (mut detail, reason) = (fold.times(), fold.kind.reason.clone());
            detail["reason"] = json!(reason);
            match fold.kind.answer.parse::<u16>() {
                Ok(status) => detail["status"] = json!(status),
                Err(_) => detail["error"] = json!(fold.kind.answer),
            }
            fold.entry(at, detail)
        });
        let further = self.further.into_iter().map(|fold| {
            let mut detail = fold.times();
            detail["reason"] = json!("further refusals");
            fold.entry(at, detail)
        });
        folded.chain(further).collect()
    }
}

impl Fold {
    fn add(&mut self, draft: &AuditDraft) {
        if self.count == 0 {
            self.first_at = draft.at;
        }
        self.count += 1;
        self.last = AuditDraft {
            detail: String::new(),
            ..draft.clone()
        };
    }

    fn times(&self) -> Value {
        json!({
            "count": self.count,
            "first_at": self.first_at.seconds().0,
            "last_at": self.last.at.seconds().0,
        })
    }

    fn entry(self, at: UnixMillis, detail: Value) -> (AuditDraft, u64) {
        let draft = AuditDraft {
            at,
            detail: capped(detail),
            ..self.last
        };
        (draft, self.count)
    }
}

impl Unwritten {
    /// True when a refusal is to be written now.
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
    /// Notes the refusal of an agent or administrator that is known. The first of its kind is queued for the
    /// audit; equal ones are folded until [`Issuer::flush_refusals`].
    pub fn note_refusal(self: &Arc<Self>, draft: AuditDraft) {
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

    /// Counts a client that did not prove itself; a flood becomes one entry per kind and interval.
    pub fn note_unproven(&self, reason: &str, unverified_client_id: &str, caller: &Caller) {
        let kind = UnprovenKind::of(reason, unverified_client_id, caller);
        let mut unwritten = self.ledger.refusals().all();
        let unwritten = unwritten.entry(self.id.clone()).or_default();
        unwritten.clients.count(kind);
    }

    /// Counts a caller of the admin API that did not prove itself. `target`: what it asked for, one of the
    /// API's own paths.
    pub fn note_unproven_call(&self, reason: &'static str, target: &str, caller: &Caller) {
        let kind = UnprovenKind::of(reason, target, caller);
        let mut unwritten = self.ledger.refusals().all();
        let unwritten = unwritten.entry(self.id.clone()).or_default();
        unwritten.callers.count(kind);
    }

    /// Queues what was counted and folded in the past interval, and the number of refusals that were lost.
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
    pub fn refusal_interval() -> Duration {
        INTERVAL
    }

    /// Counts refusals whose entries could not be written, until their number can be.
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

/// Refusals repeat what callers sent: no character of it may trouble the database or a terminal.
fn printable(draft: AuditDraft) -> AuditDraft {
    let clean = |text: String| text.chars().filter(|&c| !is_unshowable(c)).collect();
    AuditDraft {
        actor: clean(draft.actor),
        target: clean(draft.target),
        address: clean(draft.address),
        detail: clean(draft.detail),
        ..draft
    }
}

/// A claimed client id as the audit shows it: short, one line, and nothing that opens anything.
fn shown(unverified_client_id: &str) -> String {
    if is_well_formed(unverified_client_id.trim()) {
        return "a client secret in place of a client id".to_owned();
    }
    escaped(unverified_client_id, SHOWN_MAX_BYTES)
}

/// A value that a stranger wrote, in a reason: short, quoted, one line, and nothing that opens anything.
pub(super) fn fact(unverified: &str) -> String {
    if is_well_formed(unverified.trim()) {
        return "(a client secret)".to_owned();
    }
    let shown = escaped(unverified, FACT_MAX_BYTES);
    let mark = if unverified.len() > FACT_MAX_BYTES {
        "…"
    } else {
        ""
    };
    format!("`{shown}{mark}`")
}

/// The beginning of a text, of about `most` bytes.
fn escaped(unverified: &str, most: usize) -> String {
    let mut shown = String::new();
    for c in unverified.chars() {
        if shown.len() >= most {
            break;
        }
        if is_unshowable(c) {
            // Escaped, not left out: the rest could be another client's name.
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// A detail of at most [`DETAIL_MAX_BYTES`]: what is nested goes first, then texts are cut, then facts go.
fn capped(mut detail: Value) -> String {
    let text = detail.to_string();
    if text.len() <= DETAIL_MAX_BYTES {
        return text;
    }
    let Some(members) = detail.as_object_mut() else {
        return json!({ "reason": cut(&text, TEXT_MAX_BYTES[0]) }).to_string();
    };
    for value in members.values_mut() {
        if value.is_object() || value.is_array() {
            *value = json!(MARK.to_string());
        }
    }
    for most in TEXT_MAX_BYTES {
        for value in members.values_mut() {
            if let Value::String(text) = value {
                *text = cut(text, most);
            }
        }
        let text = json!(members).to_string();
        if text.len() <= DETAIL_MAX_BYTES {
            return text;
        }
    }
    members.retain(|name, _| KEPT_MEMBERS.contains(&name.as_str()));
    detail.to_string()
}

/// The beginning of a text that takes at most `most` bytes in JSON, with a mark when it is not all of it.
fn cut(text: &str, most: usize) -> String {
    let mut length = 0;
    let mut end = 0;
    for (at, c) in text.char_indices() {
        length += match c {
            '"' | '\\' => 2,
            c if c.is_control() => 6,
            c => c.len_utf8(),
        };
        if length <= most - MARK.len_utf8() {
            end = at + c.len_utf8();
        }
        if length > most {
            return format!("{}{MARK}", &text[..end]);
        }
    }
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blank(actor: &str, at: UnixMillis) -> AuditDraft {
        AuditDraft::new(at, AuditEvent::TokenRefused, actor, &json!({}))
    }

    #[test]
    fn a_detail_is_valid_json_of_at_most_256_bytes_that_still_tells_the_reason() {
        let long = "\"\\é".repeat(4000);
        let many: Vec<String> = (0..500).map(|number| format!("scope-{number}")).collect();
        for detail in [
            json!({ "error": "invalid_scope", "reason": long }),
            json!({ "error": "invalid_scope", "reason": long, "count": u64::MAX, "first_at": i64::MAX, "last_at": i64::MAX }),
            json!({ "error": "invalid_target", "reason": "not granted", "subject": long, "resource": long }),
            json!({ "error": "invalid_grant", "reason": "x".repeat(256), "claims": { "a": many, "b": long } }),
            json!({ "error": "invalid_grant", "reason": { "a": many } }),
        ] {
            let text = capped(detail.clone());
            assert!(
                text.len() <= DETAIL_MAX_BYTES,
                "{} bytes: {text}",
                text.len()
            );
            let short: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(short["error"], detail["error"], "{text}");
            if let (Some(short), Some(whole)) =
                (short["reason"].as_str(), detail["reason"].as_str())
            {
                assert!(whole.starts_with(short.trim_end_matches('…')), "{text}");
                assert!(short.len() > 8, "{text}");
            }
        }
        let fits = json!({ "error": "invalid_scope", "reason": "x".repeat(200) });
        assert_eq!(capped(fits.clone()), fits.to_string());
    }

    #[test]
    fn equal_refusals_become_one_entry_with_their_number_and_times() {
        let mut folds = Folds::default();
        let at = |seconds: i64| AuditDraft {
            request_id: seconds.to_string(),
            ..blank("agent:a", UnixMillis(seconds * 1000))
        };
        let scope = json!({ "error": "invalid_scope", "reason": "not granted" });
        let call = json!({ "status": 403, "reason": "role too low" });
        assert!(folds.fold(&at(1), &scope), "the first is written at once");
        assert!(!folds.fold(&at(2), &scope));
        assert!(folds.fold(&at(3), &call), "another kind");
        assert!(!folds.fold(&at(5), &scope));
        let drafts = folds.drafts(UnixMillis(10_000));
        let shown: Vec<String> = drafts
            .iter()
            .map(|(draft, count)| format!("{count} {} {}", draft.request_id, draft.detail))
            .collect();
        assert_eq!(
            shown,
            [
                r#"2 5 {"count":2,"error":"invalid_scope","first_at":2,"last_at":5,"reason":"not granted"}"#
            ]
        );
        assert_eq!(drafts[0].0.at, UnixMillis(10_000));
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
