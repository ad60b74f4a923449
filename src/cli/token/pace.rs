//! When to request a token and which one to serve: pure functions of the tokens at hand and the time passed. No
//! clock, no file, no network.
//!
//! A consumer reads a token at each exchange, and what it gets in exchange lives at most twice as long as the
//! token has left (Claude's rule, and its SDKs come back 120 s before that end). So a served token has at least
//! half of its life left, and no other consumer has read it.

use std::collections::VecDeque;
use std::time::Duration;

use secrecy::SecretString;

use crate::ports::time::UnixTime;

/// A token is replaced at this part of its life at the earliest, and a twelfth later at the latest:
/// before half of it is gone, and not by all agents of a fleet in the same second.
const RENEW_FROM: f64 = 0.40;
const RENEW_SPREAD: f64 = 0.08;
/// When a used token needs a replacement, an older unused one is acceptable up to this part of its life.
const SPENT_AT: f64 = 0.9;
/// No wait is longer before the clocks are read again: a machine may have slept meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(15);
/// The longest pause after the first failure.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
/// The longest pause: an issuer that is back is noticed within a minute.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);
/// A reader in a loop must not make the issuer mint in a loop: this many requests may follow each other at
/// once, then one per interval (two a second).
const BURST: u32 = 60;
const INTERVAL: Duration = Duration::from_millis(500);
/// The number of unused tokens kept ready is the number of reads in the last ten seconds, from one to
/// eight.
const DEMAND_WINDOW: Duration = Duration::from_secs(10);
const SPARES_MAX: usize = 8;
/// Maximum number of concurrent requests.
const REQUESTS_MAX: usize = 4;
/// How long a reader waits for a token before it finds nothing.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// The age at which a token of that life is replaced. `jitter` is between 0 and 1.
fn renew_after(life: Duration, jitter: f64) -> Duration {
    life.mul_f64(RENEW_FROM + RENEW_SPREAD * jitter.clamp(0.0, 1.0))
}

/// The pause after so many failures in a row: doubled each time, and between half and the whole of that by
/// `jitter` (0 to 1), so that clients that failed together do not return together.
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
    /// Records a failure; returns the pause until the next try.
    pub(super) fn failed(&mut self, now: Duration, jitter: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let pause = back_off(self.failures, jitter);
        self.due = now + pause;
        pause
    }

    /// Records a success; true when there were failures before it.
    pub(super) fn succeeded(&mut self) -> bool {
        self.due = Duration::ZERO;
        std::mem::take(&mut self.failures) > 0
    }

    /// Whether the last try failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
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

/// A minted token that has not been read yet.
#[derive(Debug)]
pub(super) struct Token {
    pub(super) text: SecretString,
    /// Its end by the wall clock, for people.
    pub(super) expires_at: UnixTime,
    /// Whether it is exchanged once, instead of presented repeatedly.
    is_single_use: bool,
    life: Life,
}

impl Token {
    /// A token that was requested at `asked_at` (so it is at most as old as it looks) and lives for `seconds`.
    /// `jitter` is between 0 and 1.
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
            is_single_use: true,
            life: Life {
                begin: asked_at,
                renew: asked_at + renew_after(whole, jitter),
                spent: asked_at + whole.mul_f64(SPENT_AT),
            },
        }
    }

    /// One that may be presented more than once.
    pub(super) fn reusable(self) -> Self {
        Self {
            is_single_use: false,
            ..self
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

/// The unused tokens that are ready to be served.
#[derive(Debug)]
pub(super) struct Pool {
    /// The youngest last.
    spares: Vec<Token>,
    /// The times of the last reads, the latest last; none when reads are not detected.
    reads: Option<VecDeque<Duration>>,
    bucket: Bucket,
}

impl Pool {
    /// An empty one. `sees_reads`: whether [`Pool::read`] will be called for each read; otherwise no spares are
    /// kept.
    pub(super) fn new(sees_reads: bool) -> Self {
        Self {
            spares: Vec::new(),
            reads: sees_reads.then(VecDeque::new),
            bucket: Bucket::default(),
        }
    }

    /// Adds a fresh token. Older ones become superfluous once they are old.
    pub(super) fn stock(&mut self, token: Token, now: Duration) {
        self.spares.retain(|spare| now < spare.life.renew);
        self.spares.push(token);
    }

    /// Records a read.
    pub(super) fn read(&mut self, now: Duration) {
        if let Some(reads) = &mut self.reads {
            reads.push_back(now);
            while reads.len() > SPARES_MAX {
                reads.pop_front();
            }
        }
    }

    /// How many spares to hold.
    fn wanted(&self, now: Duration) -> usize {
        let is_recent = |read: &&Duration| now < **read + DEMAND_WINDOW;
        self.reads.as_ref().map_or(0, |reads| {
            reads.iter().filter(is_recent).count().clamp(1, SPARES_MAX)
        })
    }

    /// Whether to request another one, when `needed` are wanted at once and `under_way` were requested.
    pub(super) fn wants(&self, needed: usize, under_way: usize, now: Duration) -> bool {
        let fresh = self.spares.iter().filter(|t| now < t.life.renew).count();
        under_way < REQUESTS_MAX && fresh + under_way < self.wanted(now) + needed
    }

    /// The wait until another one may be requested; zero when it may be now.
    pub(super) fn limit(&self, now: Duration) -> Duration {
        self.bucket.wait(now)
    }

    /// Records a request.
    pub(super) fn asked(&mut self, now: Duration) {
        self.bucket.take(now);
    }

    /// The one to serve: the oldest that is fresh, or in need one that is old and still valid.
    pub(super) fn take(&mut self, now: Duration, in_need: bool) -> Option<Token> {
        self.candidate(now, in_need)
            .map(|index| self.spares.remove(index))
    }

    fn candidate(&self, now: Duration, in_need: bool) -> Option<usize> {
        let spares = &self.spares;
        let fresh = spares.iter().position(|spare| now < spare.life.renew);
        let youngest = spares.len().checked_sub(1);
        let good = youngest.filter(|index| in_need && now < spares[*index].life.spent);
        fresh.or(good)
    }

    /// Returns one that was not delivered: it is still unused.
    pub(super) fn put_back(&mut self, token: Token) {
        self.spares.push(token);
    }

    /// The wait until a spare must be renewed, or until the clocks must be read again.
    pub(super) fn wake(&self, now: Duration) -> Duration {
        let renewals = self.spares.iter().map(|spare| spare.life.renew);
        renewals
            .filter(|renew| *renew > now)
            .map(|renew| renew - now)
            .fold(LOOK_AGAIN, Duration::min)
    }
}

/// The token in the file.
#[derive(Debug)]
struct Placed {
    life: Life,
    expires_at: UnixTime,
    is_single_use: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unused,
    Used,
    /// The file was removed, because its token was used.
    Away,
}

/// What to do now, and when to ask again at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) place: bool,
    /// Otherwise remove the file: its token is used, and would be refused.
    pub(super) take_away: bool,
    pub(super) mint: bool,
    pub(super) wake: Duration,
}

/// The token in the file and the unused ones that are ready to follow it.
#[derive(Debug)]
pub(super) struct Shelf {
    placed: Option<Placed>,
    pub(super) pool: Pool,
}

impl Shelf {
    /// An empty one. `sees_reads`: whether [`Shelf::used`] will be called for each read.
    pub(super) fn new(sees_reads: bool) -> Self {
        Self {
            placed: None,
            pool: Pool::new(sees_reads),
        }
    }

    /// When the token that was last put into the file ends, if there was one.
    pub(super) fn placed_until(&self) -> Option<UnixTime> {
        self.placed.as_ref().map(|placed| placed.expires_at)
    }

    /// Whether the file was removed.
    pub(super) fn is_away(&self) -> bool {
        let state = self.placed.as_ref().map(|placed| placed.state);
        state == Some(State::Away)
    }

    /// The file was read or removed: its token must not be served again.
    pub(super) fn used(&mut self) {
        if let Some(placed) = &mut self.placed
            && placed.state == State::Unused
        {
            placed.state = State::Used;
        }
    }

    /// The file was removed, as [`Shelf::decide`] said.
    pub(super) fn taken_away(&mut self) {
        if let Some(placed) = &mut self.placed {
            placed.state = State::Away;
        }
    }

    /// What to do at `now`, when `under_way` tokens were requested.
    pub(super) fn decide(&self, under_way: usize, now: Duration) -> Decision {
        let wants_another = self.wants_another(now);
        let place = wants_another && self.pool.candidate(now, self.is_in_need()).is_some();
        let limit = self.pool.limit(now);
        let wants_minted = self.pool.wants(usize::from(wants_another), under_way, now);
        let renewal = self.placed.as_ref().map(|placed| placed.life.renew);
        let wake = renewal
            .filter(|renew| *renew > now)
            .map(|renew| renew - now)
            .into_iter()
            .chain((wants_minted && !limit.is_zero()).then_some(limit))
            .fold(self.pool.wake(now), Duration::min);
        let is_spoilt = self
            .placed
            .as_ref()
            .is_some_and(|placed| placed.state == State::Used && placed.is_single_use);
        Decision {
            place,
            take_away: is_spoilt,
            mint: wants_minted && limit.is_zero(),
            wake,
        }
    }

    fn wants_another(&self, now: Duration) -> bool {
        let is_good = |placed: &Placed| placed.state == State::Unused && now < placed.life.renew;
        !self.placed.as_ref().is_some_and(is_good)
    }

    /// A used token may be replaced by any unused one that is valid, an old one only by a fresh one.
    fn is_in_need(&self) -> bool {
        let is_only_old = |placed: &Placed| placed.state == State::Unused;
        !self.placed.as_ref().is_some_and(is_only_old)
    }

    /// The token to put in place after [`Shelf::decide`] requested it.
    pub(super) fn take(&mut self, now: Duration) -> Option<Token> {
        let in_need = self.is_in_need();
        self.pool.take(now, in_need)
    }

    /// It is in the file now.
    pub(super) fn placed(&mut self, token: &Token) {
        self.placed = Some(Placed {
            life: token.life,
            expires_at: token.expires_at,
            is_single_use: token.is_single_use,
            state: State::Unused,
        });
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

    /// Place, take away, mint, wake in seconds.
    fn decision(shelf: &Shelf, now: u64) -> (bool, bool, bool, u64) {
        let Decision {
            place,
            take_away,
            mint,
            wake,
        } = shelf.decide(0, seconds(now));
        (place, take_away, mint, wake.as_secs())
    }

    fn stock(shelf: &mut Shelf, asked_at: u64) {
        shelf.pool.stock(token(asked_at), seconds(asked_at));
    }

    fn place(shelf: &mut Shelf, now: u64) {
        assert!(shelf.decide(0, seconds(now)).place, "at {now}");
        let token = shelf.take(seconds(now)).unwrap();
        shelf.placed(&token);
    }

    fn read(shelf: &mut Shelf, now: u64) {
        shelf.used();
        shelf.pool.read(seconds(now));
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
    fn a_burst_of_requests_is_allowed_and_then_two_a_second() {
        let mut bucket = Bucket::default();
        for _ in 0..60 {
            assert_eq!(bucket.wait(seconds(100)), Duration::ZERO);
            bucket.take(seconds(100));
        }
        assert_eq!(bucket.wait(seconds(100)), INTERVAL);
        for _ in 0..2 {
            assert_eq!(bucket.wait(seconds(101)), Duration::ZERO);
            bucket.take(seconds(101));
        }
        assert_eq!(bucket.wait(seconds(101)), INTERVAL);
        assert_eq!(bucket.wait(seconds(1000)), Duration::ZERO);
    }

    #[test]
    fn an_empty_shelf_mints_then_places_then_keeps_one_ready() {
        let mut shelf = Shelf::new(true);
        assert_eq!(decision(&shelf, 0), (false, false, true, 15));
        stock(&mut shelf, 0);
        assert_eq!(decision(&shelf, 0), (true, false, true, 15));
        place(&mut shelf, 0);
        assert_eq!(decision(&shelf, 1), (false, false, true, 15));
        stock(&mut shelf, 1);
        assert_eq!(decision(&shelf, 1), (false, false, false, 15));
        assert_eq!(decision(&shelf, 235), (false, false, false, 5));
    }

    #[test]
    fn without_sight_of_reads_nothing_is_minted_before_it_is_needed() {
        let mut shelf = Shelf::new(false);
        stock(&mut shelf, 0);
        place(&mut shelf, 0);
        assert_eq!(decision(&shelf, 239), (false, false, false, 1));
        assert_eq!(decision(&shelf, 240), (false, false, true, 15));
        shelf.pool.read(seconds(239));
        assert_eq!(decision(&shelf, 239), (false, false, false, 1));
    }

    #[test]
    fn a_used_token_is_replaced_at_once_and_its_spare_minted_again() {
        let mut shelf = Shelf::new(true);
        stock(&mut shelf, 0);
        place(&mut shelf, 0);
        stock(&mut shelf, 0);
        read(&mut shelf, 10);
        assert_eq!(decision(&shelf, 10), (true, true, true, 15));
        place(&mut shelf, 10);
        assert_eq!(decision(&shelf, 10), (false, false, true, 15));
    }

    #[test]
    fn a_used_token_without_a_successor_is_taken_away_once() {
        let mut shelf = Shelf::new(true);
        stock(&mut shelf, 0);
        place(&mut shelf, 0);
        read(&mut shelf, 10);
        assert_eq!(decision(&shelf, 10), (false, true, true, 15));
        shelf.taken_away();
        assert!(shelf.is_away());
        assert_eq!(decision(&shelf, 10), (false, false, true, 15));
        // Later inotify events about it change nothing.
        shelf.used();
        assert!(shelf.is_away());
        stock(&mut shelf, 11);
        place(&mut shelf, 11);
        assert!(!shelf.is_away());
    }

    #[test]
    fn a_used_token_that_may_be_presented_again_stays_until_there_is_another() {
        let mut shelf = Shelf::new(true);
        shelf.pool.stock(token(0).reusable(), seconds(0));
        place(&mut shelf, 0);
        read(&mut shelf, 10);
        assert_eq!(decision(&shelf, 10), (false, false, true, 15));
    }

    #[test]
    fn in_an_outage_an_old_spare_replaces_a_used_token_but_not_an_unused_one() {
        let mut shelf = Shelf::new(true);
        stock(&mut shelf, 0);
        place(&mut shelf, 0);
        stock(&mut shelf, 0);
        assert_eq!(decision(&shelf, 300), (false, false, true, 15));
        read(&mut shelf, 300);
        assert_eq!(decision(&shelf, 300), (true, true, true, 15));
        assert_eq!(decision(&shelf, 540), (false, true, true, 15));
    }

    #[test]
    fn a_fresh_token_takes_the_place_of_old_spares() {
        let mut pool = Pool::new(true);
        for _ in 0..3 {
            pool.stock(token(0), seconds(0));
        }
        pool.stock(token(300), seconds(300));
        assert_eq!(pool.spares.len(), 1);
        assert_eq!(pool.spares[0].life.begin, seconds(300));
    }

    #[test]
    fn the_oldest_fresh_spare_is_handed_out_first_and_an_old_one_only_in_need() {
        let mut pool = Pool::new(true);
        for asked_at in [0, 100] {
            pool.stock(token(asked_at), seconds(asked_at));
        }
        let begins = |taken: Option<Token>| taken.map(|token| token.life.begin.as_secs());
        assert_eq!(begins(pool.take(seconds(200), false)), Some(0));
        assert_eq!(begins(pool.take(seconds(340), false)), None);
        assert_eq!(begins(pool.take(seconds(640), true)), None);
        assert_eq!(begins(pool.take(seconds(340), true)), Some(100));
    }

    #[test]
    fn what_could_not_be_put_in_place_is_tried_again_and_not_minted_anew() {
        let mut shelf = Shelf::new(false);
        stock(&mut shelf, 0);
        let taken = shelf.take(seconds(0)).unwrap();
        shelf.pool.put_back(taken);
        assert_eq!(decision(&shelf, 1), (true, false, false, 15));
    }

    #[test]
    fn more_requests_than_the_limit_wait_for_it() {
        let mut shelf = Shelf::new(true);
        for _ in 0..60 {
            shelf.pool.asked(seconds(0));
        }
        let Decision { mint, wake, .. } = shelf.decide(0, seconds(0));
        assert_eq!((mint, wake), (false, INTERVAL));
        assert!(shelf.decide(0, seconds(1)).mint);
    }

    #[test]
    fn spares_follow_the_reads_of_the_last_ten_seconds() {
        let mut pool = Pool::new(true);
        assert_eq!(pool.wanted(seconds(0)), 1);
        for (reads, wanted) in [(1, 1), (1, 2), (1, 3), (20, 8)] {
            for _ in 0..reads {
                pool.read(seconds(100));
            }
            assert_eq!(pool.wanted(seconds(100)), wanted);
        }
        pool.read(seconds(105));
        assert_eq!(pool.wanted(seconds(109)), 8);
        assert_eq!(pool.wanted(seconds(110)), 1);
        assert_eq!(pool.wanted(seconds(1000)), 1);
    }

    #[test]
    fn no_more_is_asked_for_than_is_wanted_and_four_at_the_same_time() {
        let mut pool = Pool::new(true);
        assert!(pool.wants(0, 0, seconds(0)));
        assert!(!pool.wants(0, 1, seconds(0)));
        assert!(pool.wants(1, 1, seconds(0)));
        assert!(!pool.wants(20, 4, seconds(0)));
        pool.stock(token(0), seconds(0));
        assert!(!pool.wants(0, 0, seconds(0)));
        assert!(pool.wants(0, 0, seconds(240)));
    }

    #[test]
    fn the_end_of_what_is_in_the_file_is_known() {
        let mut shelf = Shelf::new(true);
        assert_eq!(shelf.placed_until(), None);
        stock(&mut shelf, 0);
        place(&mut shelf, 0);
        assert_eq!(shelf.placed_until(), Some(UnixTime(0)));
    }
}
