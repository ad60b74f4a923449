//! A clock that stops until a test moves it.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::ports::time::{Clock, UnixMillis};

/// A clock with a set time.
#[derive(Debug)]
pub struct ManualClock {
    millis: AtomicI64,
    monotonic_seconds: AtomicU64,
}

impl ManualClock {
    /// A clock that stops at a Unix second.
    #[must_use]
    pub fn new(seconds: i64) -> Self {
        Self {
            millis: AtomicI64::new(seconds.saturating_mul(1000)),
            monotonic_seconds: AtomicU64::new(0),
        }
    }

    /// Lets seconds pass. Negative: sets the wall clock back, as [`ManualClock::set_wall`] does.
    pub fn advance(&self, seconds: i64) {
        let passed = u64::try_from(seconds).unwrap_or(0);
        self.monotonic_seconds.fetch_add(passed, Ordering::SeqCst);
        self.set_wall(seconds);
    }

    /// Sets the wall clock forward by seconds, or back when negative, while no time passes.
    pub fn set_wall(&self, seconds: i64) {
        self.millis
            .fetch_add(seconds.saturating_mul(1000), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.monotonic_seconds.load(Ordering::SeqCst))
    }

    fn now_millis(&self) -> UnixMillis {
        UnixMillis(self.millis.load(Ordering::SeqCst))
    }
}
