//! The keys of one trusted issuer in memory: when to fetch again, and which keys to use until then.

use std::sync::Arc;

use super::source::KeysError;
use crate::jose::jwk_set::PublicJwkSet;

/// Fetched keys are used for this long without a new fetch, in seconds: a key that its issuer withdrew is accepted
/// no longer than this.
const FRESH_SECONDS: i64 = 600;
/// Keys that could not be refreshed are used for this long, in seconds. Issuers publish a key days before and
/// after they use it, so a day-old set is correct, and an outage of a platform lasts a day at most. A longer time
/// would let an attacker who blocks the fetches keep a withdrawn key alive.
pub(super) const STALE_SECONDS: i64 = 86_400;
/// An unknown `kid` or a signature that does not verify causes a fetch at most this often for each issuer, in
/// seconds: a stranger can send either.
const UNKNOWN_KEY_SECONDS: i64 = 60;
/// The wait after a failed fetch, in seconds; it doubles with each further failure.
const BACK_OFF_SECONDS: i64 = 5;
/// The longest such wait, in seconds.
const BACK_OFF_MAX_SECONDS: i64 = 60;

/// A reading of the monotonic clock in whole seconds. Negative before its origin: keys that were fetched
/// before this process started are older than its clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment(pub(super) i64);

impl Moment {
    pub(super) fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    pub(super) fn before(self, seconds: i64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct State {
    pub(super) held: Option<(Arc<PublicJwkSet>, Moment)>,
    tried_at: Option<Moment>,
    /// Failed fetches since the last successful one.
    failures: u32,
    problem: Option<KeysError>,
    /// When the keys were last written to the database.
    pub(super) stored_at: Option<Moment>,
}

/// The reason for requesting keys.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'k> {
    /// The key with this `kid`; `None`: any.
    Kid(Option<&'k str>),
    /// Other keys than these, none of which verifies a signature.
    Other(&'k Arc<PublicJwkSet>),
}

impl State {
    /// Whether to fetch: there is a reason, and the last fetch was long enough ago.
    pub(super) fn is_due(&self, wanted: Wanted<'_>, now: Moment) -> bool {
        let will_do = self.held.as_ref().is_some_and(|(keys, at)| match wanted {
            Wanted::Kid(kid) => now.since(*at) < FRESH_SECONDS && knows(keys, kid),
            Wanted::Other(tried) => !Arc::ptr_eq(keys, tried),
        });
        let wait = match self.failures {
            0 => UNKNOWN_KEY_SECONDS,
            failures => {
                let doubled = BACK_OFF_SECONDS.saturating_mul(1 << (failures - 1).min(8));
                doubled.min(BACK_OFF_MAX_SECONDS)
            }
        };
        !will_do && self.tried_at.is_none_or(|at| now.since(at) >= wait)
    }

    /// The result without a fetch.
    pub(super) fn answer(
        &self,
        kid: Option<&str>,
        now: Moment,
    ) -> Result<Arc<PublicJwkSet>, KeysError> {
        let usable = self
            .held
            .as_ref()
            .filter(|(_, at)| now.since(*at) < STALE_SECONDS);
        match (usable, &self.problem) {
            (Some((keys, _)), Some(problem)) if !knows(keys, kid) => Err(problem.clone()),
            (Some((keys, _)), _) => Ok(Arc::clone(keys)),
            (None, Some(problem)) => Err(problem.clone()),
            (None, None) => Err(KeysError::Unavailable {
                what: "the key set".to_owned(),
                why: "not fetched yet".to_owned(),
            }),
        }
    }

    /// Records the result of a fetch. True when the keys must be written to the database: they changed, or the
    /// stored ones are no longer fresh. Not after each fetch: a write delays tokens.
    pub(super) fn note(
        &mut self,
        outcome: Result<PublicJwkSet, KeysError>,
        began: Moment,
        ended: Moment,
    ) -> bool {
        // Measured from the end: after a slow fetch the next one must not be due immediately.
        self.tried_at = Some(ended);
        match outcome {
            Ok(keys) => {
                let same = self
                    .held
                    .as_ref()
                    .is_some_and(|(held, _)| held.keys() == keys.keys());
                self.held = Some((Arc::new(keys), began));
                self.failures = 0;
                self.problem = None;
                let is_stored = self
                    .stored_at
                    .is_some_and(|at| began.since(at) < FRESH_SECONDS);
                !(same && is_stored)
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.problem = Some(error);
                false
            }
        }
    }
}

fn knows(keys: &PublicJwkSet, kid: Option<&str>) -> bool {
    kid.is_none_or(|kid| keys.keys().iter().any(|key| key.answers_to(kid)))
}
