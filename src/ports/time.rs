//! The wall clock, and a clock that never goes back.

use std::fmt;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Whole seconds since 1970-01-01T00:00:00Z: the `NumericDate` of RFC 7519 §2 without fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixTime(pub i64);

impl UnixTime {
    /// This time moved by `seconds` (negative: earlier), saturating at the ends of `i64`.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this time; negative when `earlier` is later. Never `i64::MIN`, whose
    /// magnitude is not an `i64`.
    #[must_use]
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0).max(-i64::MAX)
    }
}

impl fmt::Display for UnixTime {
    /// RFC 3339 in UTC (`2026-11-21T09:30:00Z`); the bare number when it is outside that calendar.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => write!(f, "{}", self.0),
        }
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z, for the audit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// The whole second this instant lies in.
    #[must_use]
    pub fn seconds(self) -> UnixTime {
        UnixTime(self.0.div_euclid(1000))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// A clock. Read it once per request and pass the value down: two reads can straddle an expiry.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current instant.
    fn now_millis(&self) -> UnixMillis;

    /// The current second.
    fn now(&self) -> UnixTime {
        self.now_millis().seconds()
    }

    /// The time since a fixed moment of this process. Never goes back and never jumps when the wall clock is
    /// set: for the age of what is kept in memory. Means nothing to another process.
    fn monotonic(&self) -> Duration;
}

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The start of [`SystemClock::monotonic`].
static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        ORIGIN.elapsed()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the operating system"
    )]
    fn now_millis(&self) -> UnixMillis {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        };
        UnixMillis(millis)
    }
}
