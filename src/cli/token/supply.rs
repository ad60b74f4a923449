//! The source of ready tokens: requests as many as [`pace`](super::pace) wants, a few at the same time, and
//! waits longer after each failure.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::inspect;
use super::minting::{Source, Timed};
use super::pace::{Retry, Token};
use super::stopwatch::Stopwatch;
use crate::cli::error::CliError;
use crate::ports::random::{SystemRandom, random_bytes};
use crate::ports::time::{Clock as _, SystemClock};

/// A token on its way.
struct UnderWay<'a> {
    asked_at: Duration,
    minting: Pin<Box<dyn Future<Output = Result<Timed, CliError>> + 'a>>,
}

/// Requests tokens and measures the time since the start.
pub(super) struct Supply<'a> {
    source: &'a Source,
    stopwatch: Stopwatch,
    under_way: Vec<UnderWay<'a>>,
    retry: Retry,
    has_begun: bool,
}

impl<'a> Supply<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self {
            source,
            stopwatch: Stopwatch::start(Instant::now(), SystemClock.now()),
            under_way: Vec::new(),
            retry: Retry::default(),
            has_begun: false,
        }
    }

    /// Whether a token has come.
    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// The time since the start.
    pub(super) fn now(&mut self) -> Duration {
        self.stopwatch.read(Instant::now(), SystemClock.now())
    }

    /// How many requests are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Requests another one; returns the wait instead, when it is too early after a failure. One request at a
    /// time while the issuer fails, and until the first token came: a credential that is accepted once would
    /// let one of two requests succeed, and the refusal of the other must not end the command first.
    pub(super) fn ask(&mut self, now: Duration) -> Option<Duration> {
        let wait = self.retry.wait(now);
        if !wait.is_zero() {
            return Some(wait);
        }
        if (self.retry.is_failing() || !self.has_begun) && !self.under_way.is_empty() {
            return Some(Duration::MAX);
        }
        self.under_way.push(UnderWay {
            asked_at: now,
            minting: Box::pin(self.source.mint()),
        });
        None
    }

    /// Waits for the next requested token; indefinitely without a request.
    ///
    /// # Errors
    /// The error of the issuer or of the network.
    pub(super) async fn next(&mut self) -> Result<Token, CliError> {
        let (asked_at, minted) = poll_fn(|context| {
            for index in 0..self.under_way.len() {
                let under_way = &mut self.under_way[index];
                if let Poll::Ready(minted) = under_way.minting.as_mut().poll(context) {
                    return Poll::Ready((self.under_way.swap_remove(index).asked_at, minted));
                }
            }
            Poll::Pending
        })
        .await;
        let Timed {
            text,
            seconds,
            expires_at,
        } = minted?;
        let is_for_exchange = inspect::decode(super::expose(&text))
            .is_ok_and(|(header, _)| !is_access_token(header["typ"].as_str()));
        let token = Token::new(text, expires_at, asked_at, seconds, jitter());
        Ok(if is_for_exchange {
            token
        } else {
            token.reusable()
        })
    }

    /// Records a token; true when there were failures before it.
    pub(super) fn succeeded(&mut self) -> bool {
        self.has_begun = true;
        self.retry.succeeded()
    }

    /// Records a failure; returns the pause until the next try.
    pub(super) fn failed(&mut self) -> Duration {
        let now = self.now();
        self.retry.failed(now, jitter())
    }
}

/// Whether a token of that type is presented at its resource repeatedly (RFC 9068 §2.1).
fn is_access_token(typ: Option<&str>) -> bool {
    typ.is_some_and(|typ| {
        let typ = typ.to_ascii_lowercase();
        typ.strip_prefix("application/").unwrap_or(&typ) == "at+jwt"
    })
}

/// A random number between 0 and 1.
pub(super) fn jitter() -> f64 {
    f64::from(u32::from_le_bytes(random_bytes(&SystemRandom))) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::http::Reach;
    use crate::cli::token::{ClientArgs, GetArgs};

    #[test]
    fn until_the_first_token_came_one_is_asked_for_at_a_time() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "eyJhbGciOiJSUzI1NiJ9.e30.AA").unwrap();
        let client = ClientArgs {
            client_id: Some("mailer".to_owned()),
            assertion_file: Some(file.path().to_owned()),
            ..ClientArgs::default()
        };
        let args = GetArgs::for_resource("http://127.0.0.1:9", client, "https://mail.example");
        let reach = Reach {
            insecure_http: false,
            ca_cert_pem: None,
        };
        let source = Source::new(args, reach).unwrap();
        let mut supply = Supply::new(&source);
        let now = Duration::ZERO;
        assert_eq!(supply.ask(now), None);
        assert_eq!(supply.ask(now), Some(Duration::MAX), "not a second one");
        supply.succeeded();
        assert_eq!(supply.ask(now), None);
        assert_eq!(supply.under_way(), 2);
    }

    #[test]
    fn an_access_token_is_known_by_its_type() {
        for (typ, expected) in [
            (None, false),
            (Some("JWT"), false),
            (Some("at+jwtx"), false),
            (Some("at+jwt"), true),
            (Some("application/AT+JWT"), true),
        ] {
            assert_eq!(is_access_token(typ), expected, "{typ:?}");
        }
    }

    #[test]
    fn chance_stays_between_nothing_and_one() {
        for _ in 0..100 {
            assert!((0.0..=1.0).contains(&jitter()));
        }
    }
}
