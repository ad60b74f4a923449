//! What changes over time: the signing keys, inline copies of them, and the clocks.

use super::super::SKEW_SECONDS;
use super::{Check, Dialled, shorts};
use crate::domain::remedy::Remedy;
use crate::ports::time::UnixTime;

/// The name of the check of keys.
const KEYS: &str = "keys";
/// The order matters: an acknowledgement lets the new key sign.
const THEN: &str = "update the keys there, then acknowledge them";
/// Clocks this far apart still work, but are not synchronized.
const NOTABLE_SKEW_SECONDS: i64 = 5;

/// A signing key of this issuer and its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyState {
    /// `kid`.
    pub kid: String,
    /// `prepared`, `active`, `retiring`, `retired` or `revoked`.
    pub state: String,
    /// When it was created and published.
    pub created_at: Option<UnixTime>,
    /// Since when it has this state, if known.
    pub since: Option<UnixTime>,
}

/// A holder of a copy of our keys, and which keys it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConsumer {
    /// Its name.
    pub name: String,
    /// The kids it has acknowledged.
    pub acknowledged: Vec<String>,
    /// Revoked kids that it once acknowledged.
    pub revoked: Vec<String>,
}

impl KeyConsumer {
    fn misses<'k>(&self, keys: impl Iterator<Item = &'k KeyState>) -> Vec<&'k str> {
        keys.map(|key| key.kid.as_str())
            .filter(|kid| !self.acknowledged.iter().any(|known| known == kid))
            .collect()
    }
}

/// Whether each holder of an inline copy has the keys that sign now and those that sign next. `usual` is
/// the key consumer that stands for Claude's copy by default.
#[must_use]
pub fn key_state(
    keys: &[KeyState],
    consumers: &[KeyConsumer],
    usual: &str,
    dialled: Dialled,
) -> Check {
    let of = |state: &'static str| keys.iter().filter(move |key| key.state == state);
    if of("active").next().is_none() {
        return Check::fail(KEYS, "no key is active", Remedy::command("key list"));
    }
    if let Some(problem) = stale_copy(keys, consumers) {
        return problem;
    }
    let told = |state| {
        let kids: Vec<&str> = of(state).map(|key| key.kid.as_str()).collect();
        if kids.is_empty() {
            "none".to_owned()
        } else {
            shorts(&kids)
        }
    };
    let summary = format!(
        "signing: {}; prepared: {}",
        told("active"),
        told("prepared")
    );
    match (consumers.len(), dialled) {
        (0, Dialled::Inline) => Check::warn(
            KEYS,
            format!(
                "{summary}; no key consumer stands for the inline copy, so the next rotation breaks it"
            ),
            Remedy::command(format!("key consumer add {usual}")),
        ),
        (0, Dialled::ByClaude | Dialled::ByStandIn) => Check::ok(KEYS, summary),
        (count, _) => Check::ok(
            KEYS,
            format!("{summary}; acknowledged by {count} of {count} key consumers"),
        ),
    }
}

/// The first problem with a copy.
fn stale_copy(keys: &[KeyState], consumers: &[KeyConsumer]) -> Option<Check> {
    let of = |state: &'static str| keys.iter().filter(move |key| key.state == state);
    let again =
        |consumer: &KeyConsumer| Remedy::command(format!("key consumer ack {}", consumer.name));
    for consumer in consumers {
        let missing = consumer.misses(of("active"));
        if !missing.is_empty() {
            let seen = format!(
                "`{}` has not acknowledged the signing key {}: {THEN}",
                consumer.name,
                shorts(&missing)
            );
            return Some(Check::fail(KEYS, seen, again(consumer)));
        }
    }
    for consumer in consumers {
        let missing = consumer.misses(of("prepared"));
        if !missing.is_empty() {
            let seen = format!(
                "`{}` has not acknowledged the prepared key {}, which does not sign before: {THEN}",
                consumer.name,
                shorts(&missing)
            );
            return Some(Check::warn(KEYS, seen, again(consumer)));
        }
    }
    let consumer = consumers
        .iter()
        .find(|consumer| !consumer.revoked.is_empty())?;
    let revoked: Vec<&str> = consumer.revoked.iter().map(String::as_str).collect();
    Some(Check::warn(
        KEYS,
        format!(
            "`{}` acknowledged the revoked key {} and may still trust it",
            consumer.name,
            shorts(&revoked)
        ),
        Remedy::action("remove the revoked key from the copy there"),
    ))
}

/// How far the clock of `whose` is from ours.
#[must_use]
pub fn clock(whose: &str, theirs: Option<UnixTime>, ours: UnixTime) -> Check {
    const NAME: &str = "clock";
    let Some(theirs) = theirs else {
        return Check::warn(
            NAME,
            format!("{whose} sends no `Date`"),
            Remedy::action("compare its clock yourself; Claude tolerates 30 s"),
        );
    };
    let offset = theirs.since(ours);
    let seen = match offset {
        0 => format!("{whose} agrees with this machine"),
        1.. => format!("{whose} is {offset} s ahead of this machine"),
        _ => format!("{whose} is {} s behind this machine", -offset),
    };
    if offset.abs() > SKEW_SECONDS {
        Check::fail(
            NAME,
            seen,
            Remedy::action("synchronize the clocks (NTP); Claude tolerates 30 s"),
        )
    } else if offset.abs() > NOTABLE_SKEW_SECONDS {
        Check::warn(
            NAME,
            seen,
            Remedy::action("synchronize the clocks (NTP); Claude tolerates 30 s"),
        )
    } else {
        Check::ok(NAME, seen)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    fn key(kid: &str, state: &str) -> KeyState {
        KeyState {
            kid: kid.to_owned(),
            state: state.to_owned(),
            created_at: None,
            since: None,
        }
    }

    fn consumer(acknowledged: &[&str], revoked: &[&str]) -> KeyConsumer {
        let owned = |kids: &[&str]| kids.iter().map(|kid| (*kid).to_owned()).collect();
        KeyConsumer {
            name: "claude".to_owned(),
            acknowledged: owned(acknowledged),
            revoked: owned(revoked),
        }
    }

    #[test]
    fn a_copy_that_is_or_will_be_stale_is_told() {
        let keys = [
            key("now", "active"),
            key("next", "prepared"),
            key("old", "retired"),
        ];
        let by_claude = Dialled::ByClaude;
        for (keys, consumers, dialled, expected) in [
            (&keys[1..], vec![], by_claude, Status::Fail),
            (
                &keys[..],
                vec![consumer(&["next"], &[])],
                by_claude,
                Status::Fail,
            ),
            (
                &keys[..],
                vec![consumer(&["now"], &[])],
                by_claude,
                Status::Warn,
            ),
            (
                &keys[..],
                vec![consumer(&["now", "next"], &["old"])],
                by_claude,
                Status::Warn,
            ),
            (&keys[..], vec![], Dialled::Inline, Status::Warn),
            (&keys[..], vec![], by_claude, Status::Ok),
            (
                &keys[..],
                vec![consumer(&["now", "next"], &[])],
                Dialled::Inline,
                Status::Ok,
            ),
        ] {
            let check = key_state(keys, &consumers, "claude-default", dialled);
            assert_eq!(check.status, expected, "{check:?}");
        }
    }

    #[test]
    fn clocks_may_differ_by_half_a_minute() {
        let now = UnixTime(1_795_253_400);
        for (offset, expected) in [
            (31, Status::Fail),
            (-31, Status::Fail),
            (30, Status::Warn),
            (-6, Status::Warn),
            (5, Status::Ok),
            (0, Status::Ok),
        ] {
            let check = clock("id.example.com", Some(now.plus(offset)), now);
            assert_eq!(check.status, expected, "{check:?}");
        }
        assert_eq!(clock("id.example.com", None, now).status, Status::Warn);
    }
}
