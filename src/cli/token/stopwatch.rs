//! The time that has passed, on a machine that may sleep or whose clock may be set back. Does not read a clock
//! itself.

use std::time::{Duration, Instant};

use crate::ports::time::UnixTime;

/// The time since the start, by the faster of two clocks: the steady one stops while a machine sleeps, the wall
/// clock may be set back.
#[derive(Debug)]
pub(super) struct Stopwatch {
    start: Instant,
    wall_start: UnixTime,
    /// How far the wall clock was ahead of the steady one when it was last looked at, in seconds.
    ahead_seconds: i64,
    skipped: Duration,
}

impl Stopwatch {
    /// The wall clock counts whole seconds, so a difference up to this means nothing.
    const SLACK_SECONDS: i64 = 2;

    pub(super) fn start(instant: Instant, wall: UnixTime) -> Self {
        Self {
            start: instant,
            wall_start: wall,
            ahead_seconds: 0,
            skipped: Duration::ZERO,
        }
    }

    /// The time passed; never less than an earlier reading.
    pub(super) fn read(&mut self, instant: Instant, wall: UnixTime) -> Duration {
        let steady = instant.saturating_duration_since(self.start);
        let steady_seconds = i64::try_from(steady.as_secs()).unwrap_or(i64::MAX);
        let ahead = wall.since(self.wall_start).saturating_sub(steady_seconds);
        let jump = ahead.saturating_sub(self.ahead_seconds);
        if jump.saturating_abs() > Self::SLACK_SECONDS {
            self.ahead_seconds = ahead;
            // A clock that was set back does not reduce the time.
            self.skipped += Duration::from_secs(u64::try_from(jump).unwrap_or(0));
        }
        steady + self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_stopwatch_goes_on_while_the_machine_sleeps_and_never_back() {
        let (start, wall) = (Instant::now(), UnixTime(1_795_253_400));
        let mut watch = Stopwatch::start(start, wall);
        for (steady, wall_seconds, expected) in [
            (0, 0, 0),
            (10, 10, 10),
            // Whole seconds are rounded, one way or the other.
            (20, 21, 20),
            (30, 29, 30),
            // Asleep for an hour.
            (31, 3631, 3631),
            (41, 3641, 3641),
            // The wall clock is set back by a day, then right again.
            (42, -82_758, 3642),
            (43, -82_757, 3643),
            (44, 3644, 90_044),
        ] {
            let read = watch.read(start + seconds(steady), wall.plus(wall_seconds));
            assert_eq!(read, seconds(expected), "steady {steady}");
        }
    }
}
