//! A clock that stands still until it is moved.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::ports::time::{Clock, UnixMillis};

/// Tells the time it was set to.
#[derive(Debug)]
pub struct ManualClock {
    millis: AtomicI64,
}

impl ManualClock {
    /// A clock that stands at a Unix second.
    #[must_use]
    pub fn new(seconds: i64) -> Self {
        Self {
            millis: AtomicI64::new(seconds.saturating_mul(1000)),
        }
    }

    /// Moves it by seconds; back when negative.
    pub fn advance(&self, seconds: i64) {
        self.millis
            .fetch_add(seconds.saturating_mul(1000), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_millis(&self) -> UnixMillis {
        UnixMillis(self.millis.load(Ordering::SeqCst))
    }
}
