//! The keys of trusted issuers: given by the administrator, or fetched and kept. A token can make us
//! fetch from addresses of registered issuers only, one fetch at a time for each, and not often. An
//! issuer that is down for a while does not take its workloads down with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::domain::id::TrustedIssuerId;
use crate::domain::trusted_issuer::{KeySource, SPIFFE_SCHEME, TrustedIssuer};
use crate::jose::json::parse_object;
use crate::jose::jwk_set::PublicJwkSet;
use crate::ports::fetch::{FetchError, Fetcher};
use crate::ports::time::UnixTime;

/// Fetched keys are taken without asking again for this long, in seconds: how soon a key that its issuer
/// withdrew is good no longer.
const FRESH_SECONDS: i64 = 600;
/// Keys that could not be fetched again are taken for this long, in seconds. Issuers publish a key days
/// before and after they use it, so that a day-old set is right; and a day is what an outage of a
/// platform lasts at worst. Longer, and a withdrawn key would live as long as somebody can block us.
const STALE_SECONDS: i64 = 86_400;
/// A `kid` that is not known makes us fetch again at most this often, in seconds: anybody can invent one.
const UNKNOWN_KEY_SECONDS: i64 = 60;
/// After a failed fetch the next waits this long, in seconds, then twice as long each time.
const BACK_OFF_SECONDS: i64 = 5;
/// The longest such wait, in seconds.
const BACK_OFF_MAX_SECONDS: i64 = 60;
/// How long a request waits for newer keys when those at hand would do.
const PATIENCE: Duration = Duration::from_secs(1);
/// Issuers whose keys are kept: more than can be registered, with those that were edited meanwhile.
const ISSUERS_MAX: usize = 1024;

/// Why keys cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeysError {
    /// They must not be fetched from there.
    #[error("{what} must not be fetched: {why}")]
    Refused {
        /// The discovery document or the key set, with its address.
        what: String,
        /// The reason.
        why: String,
    },
    /// What is there is not what it must be.
    #[error("{0}")]
    Wrong(String),
    /// They cannot be fetched at present.
    #[error("{what} cannot be fetched: {why}")]
    Unavailable {
        /// The discovery document or the key set, with its address.
        what: String,
        /// The reason.
        why: String,
    },
}

/// The keys of trusted issuers, as they are known here.
#[derive(Debug)]
pub(crate) struct TrustedKeys {
    fetcher: Arc<dyn Fetcher>,
    known: Mutex<HashMap<TrustedIssuerId, Arc<Known>>>,
}

/// What is known of one issuer at one version of it.
#[derive(Debug)]
struct Known {
    version: i64,
    source: KeySource,
    state: Mutex<State>,
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Debug, Default)]
struct State {
    held: Option<(Arc<PublicJwkSet>, UnixTime)>,
    tried_at: Option<UnixTime>,
    /// Failed fetches since the last good one.
    failures: u32,
    problem: Option<KeysError>,
}

impl TrustedKeys {
    pub(crate) fn new(fetcher: Arc<dyn Fetcher>) -> Self {
        Self {
            fetcher,
            known: Mutex::default(),
        }
    }

    /// The keys of `trusted`, among them the one that goes by `kid` if it can be had.
    ///
    /// # Errors
    /// When there are none and none can be fetched.
    pub(crate) async fn keys(
        &self,
        trusted: &TrustedIssuer,
        kid: Option<&str>,
        now: UnixTime,
    ) -> Result<Arc<PublicJwkSet>, KeysError> {
        let known = self.known(trusted);
        if let KeySource::Inline { jwks } = &trusted.definition.keys {
            return known.given(&trusted.url, jwks, now);
        }
        if !known.state().is_due(kid, now) {
            return known.state().answer(kid, now);
        }
        let at_hand = known.state().answer(kid, now).ok();
        let fetching = self.refresh(&known, trusted, kid, now);
        match at_hand {
            None => fetching.await,
            Some(keys) => {
                // Newer ones if they come soon; the fetch goes on either way.
                if tokio::time::timeout(PATIENCE, fetching).await.is_err() {
                    return Ok(keys);
                }
            }
        }
        known.state().answer(kid, now)
    }

    /// Fetches as it would be done for tokens, keeping nothing.
    ///
    /// # Errors
    /// [`KeysError`].
    pub(crate) async fn try_out(&self, url: &str, keys: &KeySource) -> Result<(), KeysError> {
        load(&*self.fetcher, url, keys).await.map(drop)
    }

    fn known(&self, trusted: &TrustedIssuer) -> Arc<Known> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(&trusted.id) {
            Some(known) if known.version == trusted.version => Arc::clone(known),
            older => {
                // A change of anything but where the keys come from leaves what is known of them: the issuer
                // may be away at this very moment.
                let source = &trusted.definition.keys;
                let same = older.filter(|older| older.source == *source);
                let state = same.map(|older| older.state().clone()).unwrap_or_default();
                if all.len() >= ISSUERS_MAX {
                    all.clear();
                }
                let fresh = Arc::new(Known {
                    version: trusted.version,
                    source: source.clone(),
                    state: Mutex::new(state),
                    fetching: Arc::default(),
                });
                all.insert(trusted.id.clone(), Arc::clone(&fresh));
                fresh
            }
        }
    }

    /// Waits for a fetch of another request, or fetches. The fetch has a task of its own: whoever asked
    /// may go away, and the next finds the keys.
    async fn refresh(
        &self,
        known: &Arc<Known>,
        trusted: &TrustedIssuer,
        kid: Option<&str>,
        now: UnixTime,
    ) {
        let only_one = Arc::clone(&known.fetching).lock_owned().await;
        if !known.state().is_due(kid, now) {
            return;
        }
        let (known, fetcher) = (Arc::clone(known), Arc::clone(&self.fetcher));
        let (name, url) = (trusted.name.clone(), trusted.url.clone());
        let source = trusted.definition.keys.clone();
        let fetch = tokio::spawn(async move {
            let started = Instant::now();
            let outcome = load(&*fetcher, &url, &source).await;
            if let Err(error) = &outcome {
                tracing::warn!(trusted_issuer = name.as_str(), %error, "the keys of a trusted issuer could not be fetched");
            }
            // A slow one must not be due again when it ends: the wait is between fetches.
            let took = i64::try_from(started.elapsed().as_secs()).unwrap_or(i64::MAX);
            known.state().note(outcome, now, took);
            drop(only_one);
        });
        if let Err(error) = fetch.await {
            tracing::error!(%error, "a fetch of a trusted issuer's keys ended abnormally");
        }
    }
}

impl Known {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keys given by the administrator, parsed once.
    fn given(
        &self,
        url: &str,
        jwks: &Value,
        now: UnixTime,
    ) -> Result<Arc<PublicJwkSet>, KeysError> {
        let mut state = self.state();
        if let Some((keys, _)) = &state.held {
            return Ok(Arc::clone(keys));
        }
        let keys = Arc::new(parse_keys(url, jwks.to_string().as_bytes())?);
        state.held = Some((Arc::clone(&keys), now));
        Ok(keys)
    }
}

impl State {
    /// Whether to ask again: there is a reason to, and the last time was long enough ago.
    fn is_due(&self, kid: Option<&str>, now: UnixTime) -> bool {
        let is_fresh = self
            .held
            .as_ref()
            .is_some_and(|(keys, at)| now.since(*at) < FRESH_SECONDS && knows(keys, kid));
        let wait = match self.failures {
            0 => UNKNOWN_KEY_SECONDS,
            failures => {
                let doubled = BACK_OFF_SECONDS.saturating_mul(1 << (failures - 1).min(8));
                doubled.min(BACK_OFF_MAX_SECONDS)
            }
        };
        !is_fresh && self.tried_at.is_none_or(|at| now.since(at) >= wait)
    }

    /// What can be said without asking.
    fn answer(&self, kid: Option<&str>, now: UnixTime) -> Result<Arc<PublicJwkSet>, KeysError> {
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
                why: "it was not fetched yet".to_owned(),
            }),
        }
    }

    /// Notes what came of a fetch that began at `now`.
    fn note(&mut self, outcome: Result<PublicJwkSet, KeysError>, now: UnixTime, took: i64) {
        self.tried_at = Some(now.plus(took));
        match outcome {
            Ok(keys) => {
                self.held = Some((Arc::new(keys), now));
                self.failures = 0;
                self.problem = None;
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                self.problem = Some(error);
            }
        }
    }
}

fn knows(keys: &PublicJwkSet, kid: Option<&str>) -> bool {
    kid.is_none_or(|kid| keys.keys().iter().any(|key| key.answers_to(kid)))
}

/// Keys from wherever they come.
async fn load(
    fetcher: &dyn Fetcher,
    url: &str,
    source: &KeySource,
) -> Result<PublicJwkSet, KeysError> {
    let jwks_uri = match source {
        KeySource::Inline { jwks } => return parse_keys(url, jwks.to_string().as_bytes()),
        KeySource::JwksUri { url } => url.clone(),
        KeySource::Discovery => discover(fetcher, url).await?,
    };
    let what = format!("the key set {jwks_uri}");
    let body = fetch(fetcher, &jwks_uri, &what).await?;
    parse_keys(url, &body).map_err(|error| KeysError::Wrong(format!("{what}: {error}")))
}

/// OpenID Connect Discovery §4: the document is at the issuer's own address and must name that very
/// issuer (§4.3), or another could speak for it.
async fn discover(fetcher: &dyn Fetcher, url: &str) -> Result<String, KeysError> {
    let address = discovery_url(url);
    let what = format!("the discovery document {address}");
    let body = fetch(fetcher, &address, &what).await?;
    let document =
        parse_object(&body).map_err(|error| KeysError::Wrong(format!("{what} {error}")))?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    if text("issuer") != Some(url) {
        return Err(KeysError::Wrong(format!(
            "{what} does not name the issuer {url}, byte for byte"
        )));
    }
    text("jwks_uri")
        .map(str::to_owned)
        .ok_or_else(|| KeysError::Wrong(format!("{what} has no jwks_uri")))
}

/// OpenID Connect Discovery §4.1.
fn discovery_url(issuer: &str) -> String {
    format!(
        "{}/.well-known/openid-configuration",
        issuer.strip_suffix('/').unwrap_or(issuer)
    )
}

async fn fetch(fetcher: &dyn Fetcher, url: &str, what: &str) -> Result<Vec<u8>, KeysError> {
    let (what, unavailable) = (what.to_owned(), |what, why: String| {
        KeysError::Unavailable { what, why }
    });
    match fetcher.fetch(url).await {
        Ok(fetched) if fetched.status == 200 => Ok(fetched.body),
        Ok(fetched) if (300..400).contains(&fetched.status) => Err(KeysError::Wrong(format!(
            "{what} is answered with a redirect ({}), which is not followed; name the address it leads to",
            fetched.status
        ))),
        Ok(fetched) => Err(unavailable(
            what,
            format!("the answer has the status {}", fetched.status),
        )),
        Err(FetchError::Refused(why)) => Err(KeysError::Refused { what, why }),
        Err(FetchError::Failed(why)) => Err(unavailable(what, why)),
    }
}

fn parse_keys(url: &str, json: &[u8]) -> Result<PublicJwkSet, KeysError> {
    let parsed = if url.starts_with(SPIFFE_SCHEME) {
        PublicJwkSet::parse_spiffe_bundle(json)
    } else {
        PublicJwkSet::parse_published(json)
    };
    parsed.map_err(|error| KeysError::Wrong(error.to_string()))
}
