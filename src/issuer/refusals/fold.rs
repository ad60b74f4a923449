//! Folds equal refusals of one caller into one entry with their number and times.

use serde_json::{Value, json};

use crate::domain::audit::{AuditDraft, AuditEvent};
use crate::ports::time::UnixMillis;

use super::shown::{SHOWN_MAX_BYTES, capped, cut};

/// Kinds of refusals of one agent or administrator counted separately per interval; further ones are counted
/// together.
pub(super) const KINDS: usize = 8;

/// What two equal refusals of one actor have in common.
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

/// Equal refusals after the one that was written at once.
pub(super) struct Fold {
    kind: Kind,
    count: u64,
    first_at: UnixMillis,
    last: AuditDraft,
}

/// The refusals of one actor.
#[derive(Default)]
pub(super) struct Folds {
    pub(super) kinds: Vec<Fold>,
    /// Refusals beyond [`KINDS`], and the last of them.
    further: Option<Fold>,
}

impl Folds {
    /// True when the refusal is the first of its kind, to be written now.
    pub(super) fn fold(&mut self, draft: &AuditDraft, detail: &Value) -> bool {
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

    pub(super) fn drafts(self, at: UnixMillis) -> Vec<(AuditDraft, u64)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn blank(actor: &str, at: UnixMillis) -> AuditDraft {
        AuditDraft::new(at, AuditEvent::TokenRefused, actor, &json!({}))
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
}
