//! Limits on repeated requests: rejections of unauthenticated callers, and revocations by authenticated agents.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::domain::id::AgentId;

/// Rejections per second that one address gets for one client, after a burst, before it is limited. A valid
/// credential is never delayed, so an agent cannot be locked out.
const REFUSALS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("20 is not 0");
const REFUSAL_BURST: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");

/// Revocations per second for one client, after a burst: each stays in the revocation list until its token would
/// have expired, and one client must not fill the list for all.
const REVOCATIONS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1).expect("1 is not 0");
const REVOCATION_BURST: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");

/// Agents whose revocations are counted before the cells of agents below their limit are dropped.
const COUNTED_AGENTS: usize = 1024;

/// Counts the revocations of each agent separately: one agent over its limit does not delay others. It has about
/// as many cells as agents revoked something in the last minute.
pub(crate) struct RevocationLimiter {
    cells: DefaultKeyedRateLimiter<AgentId>,
    swept_at: AtomicUsize,
}

impl std::fmt::Debug for RevocationLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RevocationLimiter")
    }
}

impl RevocationLimiter {
    pub(super) fn new() -> Self {
        let quota = Quota::per_second(REVOCATIONS_PER_SECOND).allow_burst(REVOCATION_BURST);
        Self {
            cells: RateLimiter::keyed(quota),
            swept_at: AtomicUsize::new(COUNTED_AGENTS),
        }
    }

    /// Counts one more revocation of an authenticated agent; true when there were too many.
    pub(super) fn is_exceeded(&self, agent: &AgentId) -> bool {
        if self.cells.len() >= self.swept_at.load(Ordering::Relaxed) {
            self.cells.retain_recent();
            // Twice the remaining cells, so that as many new cells pay for a sweep.
            let next = COUNTED_AGENTS.max(2 * self.cells.len());
            self.swept_at.store(next, Ordering::Relaxed);
        }
        self.cells.check_key(agent).is_err()
    }
}

/// Counts rejections of unauthenticated callers in a fixed number of cells. Two callers may share a cell and its
/// limit, which affects only requests that would be rejected anyway.
pub(crate) struct Limiter {
    hasher: RandomState,
    cells: DefaultKeyedRateLimiter<u16>,
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Limiter")
    }
}

impl Limiter {
    /// By address and claimed client.
    pub(super) fn of_refusals() -> Self {
        let quota = Quota::per_second(REFUSALS_PER_SECOND).allow_burst(REFUSAL_BURST);
        Self {
            hasher: RandomState::new(),
            cells: RateLimiter::keyed(quota),
        }
    }

    /// Counts one more rejection; true when there were too many.
    pub(super) fn is_exceeded(&self, address: &str, client: &str) -> bool {
        let [low, high, ..] = self.hasher.hash_one((address, client)).to_le_bytes();
        self.cells
            .check_key(&u16::from_le_bytes([low, high]))
            .is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_revokes_too_often_slows_no_other_down() {
        let limiter = RevocationLimiter::new();
        let busy = AgentId::from_text("busy");
        let allowed = (0..1000).filter(|_| !limiter.is_exceeded(&busy)).count();
        assert!((60..110).contains(&allowed), "{allowed}");
        // With 65,536 shared cells some of these agents would share the busy one's cell.
        for number in 0..200_000 {
            let agent = AgentId::from_text(format!("agent-{number}"));
            assert!(!limiter.is_exceeded(&agent), "{number}");
        }
        // One per second is restored; a sweep that dropped the cell would restore the whole burst.
        let allowed = (0..100).filter(|_| !limiter.is_exceeded(&busy)).count();
        assert!(allowed < 50, "{allowed}");
    }
}
