//! When to ask for a token and when to put which one in place: pure functions of what is held and
//! how much time has passed. No clock, no file, no network.
//!
//! A consumer reads the file at each exchange, and what it gets in exchange lives at most twice as
//! long as the token has left (Claude's rule, and its SDKs come back 120 s before that end). So the
//! token in the file always has at least half of its life left, and nobody else has read it.

use std::time::{Duration, Instant};

use secrecy::SecretString;

use crate::ports::time::UnixTime;

/// A token is replaced at this part of its life at the earliest, and a twelfth later at the latest:
/// before half of it is gone, and not by all agents of a fleet in the same second.
const RENEW_FROM: f64 = 0.40;
const RENEW_SPREAD: f64 = 0.08;
/// When an unused token is wanted in place of a used one, an older one will do up to here.
const SPENT_AT: f64 = 0.9;
/// Nothing is waited for longer than this before the clocks are looked at again: a machine may have
/// slept meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// The first failure is followed by a pause of at most this.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// No pause is longer: an issuer that is back is noticed within a minute.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// So many replacements may follow each other at once, then one per interval: somebody who reads the
/// file in a loop must not make the issuer mint in a loop.
const BURST: u32 = 5;
const INTERVAL: Duration = Duration::from_secs(1);
/// Unused tokens kept ready at most, when several processes read the file at the same time.
const SPARES_MAX: usize = 4;

/// Time passed since the start, as the faster of two clocks has it: the steady one stands still while
/// a machine sleeps, the wall clock may be set back.
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

    /// The time passed; never less than what was told before.
    pub(super) fn read(&mut self, instant: Instant, wall: UnixTime) -> Duration {
        let steady = instant.saturating_duration_since(self.start);
        let steady_seconds = i64::try_from(steady.as_secs()).unwrap_or(i64::MAX);
        let ahead = wall.since(self.wall_start).saturating_sub(steady_seconds);
        let jump = ahead.saturating_sub(self.ahead_seconds);
        if jump.saturating_abs() > Self::SLACK_SECONDS {
            self.ahead_seconds = ahead;
            // A clock that was set back took no time away.
            self.skipped += Duration::from_secs(u64::try_from(jump).unwrap_or(0));
        }
        steady + self.skipped
    }
}

/// The age at which a token of that life is replaced. `jitter` is between 0 and 1.
fn renew_after(life: Duration, jitter: f64) -> Duration {
    life.mul_f64(RENEW_FROM + RENEW_SPREAD * jitter.clamp(0.0, 1.0))
}

/// The pause after so many failures in a row: doubled each time, and between half and the whole of
/// that by `jitter` (0 to 1), so that those who failed together do not come back together.
pub(super) fn back_off(failures: u32, jitter: f64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let ceiling = BACK_OFF_FIRST
        .saturating_mul(1 << doublings)
        .min(BACK_OFF_MAX);
    ceiling.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

/// Failures in a row, and when the next try is due.
#[derive(Debug, Default)]
pub(super) struct Retry {
    failures: u32,
    due: Duration,
}

impl Retry {
    /// Notes a failure; the pause until the next try.
    pub(super) fn failed(&mut self, now: Duration, jitter: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = back_off(self.failures, jitter);
        self.due = now + pause;
        pause
    }

    /// Notes a success; true when there were failures before it.
    pub(super) fn succeeded(&mut self) -> bool {
        self.due = Duration::ZERO;
        std::mem::take(&mut self.failures) > 0
    }

    /// The wait until the next try; zero when it is due.
    pub(super) fn wait(&self, now: Duration) -> Duration {
        self.due.saturating_sub(now)
    }
}

/// A limit on how often: [`BURST`] at once, then one per [`INTERVAL`] (the generic cell rate algorithm).
#[derive(Debug, Default)]
struct Bucket {
    full_again: Duration,
}

impl Bucket {
    fn wait(&self, now: Duration) -> Duration {
        let tolerance = INTERVAL * (BURST - 1);
        self.full_again
            .saturating_sub(tolerance)
            .saturating_sub(now)
    }

    fn take(&mut self, now: Duration) {
        self.full_again = self.full_again.max(now) + INTERVAL;
    }
}

/// A minted token that nobody has seen yet.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: SecretString,
    /// Its end by the wall clock, for people.
    pub(super) expires_at: UnixTime,
    life: Life,
}

impl Token {
    /// A token that was asked for at `asked_at` (so it is at most as old as it looks) and lives for
    /// `seconds`. `jitter` is between 0 and 1.
    pub(super) fn new(
        text: SecretString,
        expires_at: UnixTime,
        asked_at: Duration,
        seconds: u64,
        jitter: f64,
    ) -> Self {
        let whole = Duration::from_secs(seconds);
        Self {
            text,
            expires_at,
            life: Life {
                begin: asked_at,
                renew: asked_at + renew_after(whole, jitter),
                spent: asked_at + whole.mul_f64(SPENT_AT),
            },
        }
    }
}

/// A token's times, by the stopwatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Life {
    begin: Duration,
    renew: Duration,
    spent: Duration,
}

/// The token in the file.
#[derive(Debug)]
struct Placed {
    life: Life,
    expires_at: UnixTime,
    is_used: bool,
}

/// What is to be done now, and when to ask again at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) place: bool,
    pub(super) mint: bool,
    pub(super) wake: Duration,
}

/// The token in the file and the unused ones that are ready to follow it.
#[derive(Debug)]
pub(super) struct Shelf {
    placed: Option<Placed>,
    /// The youngest last.
    spares: Vec<Token>,
    /// How many spares to hold; none when nobody can tell that the file was read.
    wanted: usize,
    bucket: Bucket,
}

impl Shelf {
    /// An empty one. `sees_reads`: whether [`Shelf::used`] will be called for each read.
    pub(super) fn new(sees_reads: bool) -> Self {
        Self {
            placed: None,
            spares: Vec::new(),
            wanted: usize::from(sees_reads),
            bucket: Bucket::default(),
        }
    }

    /// When the token in the file ends, if there is one.
    pub(super) fn placed_until(&self) -> Option<UnixTime> {
        self.placed.as_ref().map(|placed| placed.expires_at)
    }

    /// A fresh token came. It makes older ones superfluous once they are old.
    pub(super) fn stock(&mut self, token: Token, now: Duration) {
        self.spares.retain(|spare| now < spare.life.renew);
        self.spares.push(token);
    }

    /// The file was read, or is gone: its token is not to be handed out again.
    pub(super) fn used(&mut self) {
        if let Some(placed) = &mut self.placed {
            placed.is_used = true;
        }
    }

    /// Two readers got the same token: more are kept ready from now on.
    pub(super) fn shared(&mut self) {
        if self.wanted > 0 {
            self.wanted = (self.wanted + 1).min(SPARES_MAX);
        }
    }

    /// What to do at `now`.
    pub(super) fn decide(&self, now: Duration) -> Decision {
        let wants_another = self.wants_another(now);
        let limit = self.bucket.wait(now);
        let can_replace = wants_another && self.spares.last().is_some_and(|t| self.serves(t, now));
        let fresh = self.spares.iter().filter(|t| now < t.life.renew).count();
        let renewals = self.spares.iter().map(|spare| spare.life.renew);
        let next = renewals
            .chain(self.placed.as_ref().map(|placed| placed.life.renew))
            .filter(|renew| *renew > now)
            .map(|renew| renew - now)
            .chain((can_replace && !limit.is_zero()).then_some(limit))
            .fold(LOOK_AGAIN, Duration::min);
        Decision {
            place: can_replace && limit.is_zero(),
            mint: fresh < self.wanted + usize::from(wants_another),
            wake: next,
        }
    }

    fn wants_another(&self, now: Duration) -> bool {
        let is_good = |placed: &Placed| !placed.is_used && now < placed.life.renew;
        !self.placed.as_ref().is_some_and(is_good)
    }

    /// Whether `token` is better than what is in the file, which is old or used. Instead of a used one
    /// any unused one is, while it lives; instead of an old one only a fresh one.
    fn serves(&self, token: &Token, now: Duration) -> bool {
        let is_only_old = self.placed.as_ref().is_some_and(|placed| !placed.is_used);
        if is_only_old {
            now < token.life.renew
        } else {
            now < token.life.spent
        }
    }

    /// The token to put in place when [`Shelf::decide`] said so.
    pub(super) fn take(&mut self) -> Option<Token> {
        self.spares.pop()
    }

    /// It could not be put in place: it is still unused.
    pub(super) fn put_back(&mut self, token: Token) {
        self.spares.push(token);
    }

    /// It is in the file now.
    pub(super) fn placed(&mut self, token: &Token, now: Duration) {
        let was_shared = self.placed.as_ref().is_some_and(|before| before.is_used);
        if !was_shared {
            // A quiet time: no need to hold as many.
            self.wanted = self.wanted.min(self.wanted.saturating_sub(1).max(1));
        }
        self.placed = Some(Placed {
            life: token.life,
            expires_at: token.expires_at,
            is_used: false,
        });
        self.bucket.take(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A token of ten minutes, which is old at 240 s and spent at 540 s.
    fn token(asked_at: u64) -> Token {
        Token::new(
            "t".to_owned().into(),
            UnixTime(0),
            seconds(asked_at),
            600,
            0.0,
        )
    }

    /// Place, mint, wake in seconds.
    fn decision(shelf: &Shelf, now: u64) -> (bool, bool, u64) {
        let Decision { place, mint, wake } = shelf.decide(seconds(now));
        (place, mint, wake.as_secs())
    }

    fn place(shelf: &mut Shelf, now: u64) {
        assert!(shelf.decide(seconds(now)).place, "at {now}");
        let token = shelf.take().unwrap();
        shelf.placed(&token, seconds(now));
    }

    #[test]
    fn a_token_is_replaced_before_half_of_its_life_is_gone() {
        for (life, jitter, expected) in [
            (600, 0.0, 240.0),
            (600, 0.5, 264.0),
            (600, 1.0, 288.0),
            (60, 0.0, 24.0),
            (60, 1.0, 28.8),
            (3600, 1.0, 1728.0),
            (600, 7.0, 288.0),
            (600, -1.0, 240.0),
            (0, 0.5, 0.0),
        ] {
            let after = renew_after(seconds(life), jitter);
            assert!(
                (after.as_secs_f64() - expected).abs() < 0.001,
                "{life} {jitter}: {after:?}"
            );
            assert!(after * 2 <= seconds(life));
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute_and_are_spread() {
        for (failures, longest_ms) in [
            (0, 1_000),
            (1, 1_000),
            (2, 2_000),
            (3, 4_000),
            (6, 32_000),
            (7, 60_000),
            (8, 60_000),
            (1_000, 60_000),
            (u32::MAX, 60_000),
        ] {
            let longest = Duration::from_millis(longest_ms);
            assert_eq!(back_off(failures, 1.0), longest, "{failures}");
            assert_eq!(back_off(failures, 0.0), longest / 2, "{failures}");
        }
    }

    #[test]
    fn a_success_ends_the_pause() {
        let mut retry = Retry::default();
        assert_eq!(retry.wait(seconds(5)), Duration::ZERO);
        assert_eq!(retry.failed(seconds(5), 1.0), seconds(1));
        assert_eq!(retry.failed(seconds(6), 1.0), seconds(2));
        assert_eq!(retry.wait(seconds(7)), seconds(1));
        assert!(retry.succeeded());
        assert_eq!(retry.wait(seconds(7)), Duration::ZERO);
        assert!(!retry.succeeded());
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

    #[test]
    fn a_burst_of_replacements_is_allowed_and_then_one_a_second() {
        let mut bucket = Bucket::default();
        for _ in 0..5 {
            assert_eq!(bucket.wait(seconds(100)), Duration::ZERO);
            bucket.take(seconds(100));
        }
        assert_eq!(bucket.wait(seconds(100)), seconds(1));
        assert_eq!(bucket.wait(seconds(101)), Duration::ZERO);
        bucket.take(seconds(101));
        assert_eq!(bucket.wait(seconds(101)), seconds(1));
        assert_eq!(bucket.wait(seconds(1000)), Duration::ZERO);
    }

    #[test]
    fn an_empty_shelf_mints_then_places_then_keeps_one_ready() {
        let mut shelf = Shelf::new(true);
        assert_eq!(decision(&shelf, 0), (false, true, 15));
        shelf.stock(token(0), seconds(0));
        assert_eq!(decision(&shelf, 0), (true, true, 15));
        place(&mut shelf, 0);
        assert_eq!(decision(&shelf, 1), (false, true, 15));
        shelf.stock(token(1), seconds(1));
        assert_eq!(decision(&shelf, 1), (false, false, 15));
        assert_eq!(decision(&shelf, 235), (false, false, 5));
    }

    #[test]
    fn without_sight_of_reads_nothing_is_minted_before_it_is_needed() {
        let mut shelf = Shelf::new(false);
        shelf.stock(token(0), seconds(0));
        place(&mut shelf, 0);
        assert_eq!(decision(&shelf, 239), (false, false, 1));
        assert_eq!(decision(&shelf, 240), (false, true, 15));
        shelf.shared();
        assert_eq!(decision(&shelf, 239), (false, false, 1));
    }

    #[test]
    fn a_used_token_is_replaced_at_once_and_its_spare_minted_again() {
        let mut shelf = Shelf::new(true);
        shelf.stock(token(0), seconds(0));
        place(&mut shelf, 0);
        shelf.stock(token(0), seconds(0));
        shelf.used();
        assert_eq!(decision(&shelf, 10), (true, true, 15));
        place(&mut shelf, 10);
        assert_eq!(decision(&shelf, 10), (false, true, 15));
    }

    #[test]
    fn in_an_outage_an_old_spare_replaces_a_used_token_but_not_an_unused_one() {
        let mut shelf = Shelf::new(true);
        shelf.stock(token(0), seconds(0));
        place(&mut shelf, 0);
        shelf.stock(token(0), seconds(0));
        assert_eq!(decision(&shelf, 300), (false, true, 15));
        shelf.used();
        assert_eq!(decision(&shelf, 300), (true, true, 15));
        assert_eq!(decision(&shelf, 540), (false, true, 15));
    }

    #[test]
    fn a_fresh_token_takes_the_place_of_old_spares() {
        let mut shelf = Shelf::new(true);
        for _ in 0..3 {
            shelf.stock(token(0), seconds(0));
        }
        shelf.stock(token(300), seconds(300));
        assert_eq!(shelf.spares.len(), 1);
        assert_eq!(shelf.spares[0].life.begin, seconds(300));
    }

    #[test]
    fn what_could_not_be_put_in_place_is_tried_again_and_not_minted_anew() {
        let mut shelf = Shelf::new(false);
        shelf.stock(token(0), seconds(0));
        let taken = shelf.take().unwrap();
        shelf.put_back(taken);
        assert_eq!(decision(&shelf, 1), (true, false, 15));
    }

    #[test]
    fn more_replacements_than_the_limit_wait_for_it() {
        let mut shelf = Shelf::new(true);
        for _ in 0..5 {
            shelf.stock(token(0), seconds(0));
            place(&mut shelf, 0);
            shelf.used();
        }
        shelf.stock(token(0), seconds(0));
        assert_eq!(decision(&shelf, 0), (false, true, 1));
        assert_eq!(decision(&shelf, 1), (true, true, 15));
    }

    #[test]
    fn processes_that_share_a_token_get_more_spares_and_lose_them_in_quiet() {
        let mut shelf = Shelf::new(true);
        for (shares, wanted) in [(1, 2), (1, 3), (5, 4)] {
            for _ in 0..shares {
                shelf.shared();
            }
            assert_eq!(shelf.wanted, wanted);
        }
        for (begin, wanted) in [(0, 3), (240, 2), (480, 1), (720, 1)] {
            shelf.stock(token(begin), seconds(begin));
            place(&mut shelf, begin);
            assert_eq!(shelf.wanted, wanted, "{begin}");
        }
    }

    #[test]
    fn the_end_of_what_is_in_the_file_is_known() {
        let mut shelf = Shelf::new(true);
        assert_eq!(shelf.placed_until(), None);
        shelf.stock(token(0), seconds(0));
        place(&mut shelf, 0);
        assert_eq!(shelf.placed_until(), Some(UnixTime(0)));
    }
}
