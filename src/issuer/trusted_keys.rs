//! The keys of trusted issuers: given by the administrator, or fetched and kept, in memory and in the
//! database. A token can make us fetch from addresses of registered issuers only, one fetch at a time for
//! each, and not often. An issuer that is down for a while does not take its workloads down with it, even
//! when this process restarts meanwhile.
//!
//! Ages are measured on the monotonic clock: a wall clock that is set makes no key fresh and none stale. Only
//! what was fetched before this process started is dated by the wall clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::domain::id::{IssuerId, TrustedIssuerId};
use crate::domain::name::Name;
use crate::domain::settings::SKEW_SECONDS;
use crate::domain::trusted_issuer::{KeySource, SPIFFE_SCHEME, TrustedIssuer};
use crate::jose::json::parse_object;
use crate::jose::{PublicJwkSet, SkippedKey};
use crate::ports::fetch::{FetchError, Fetcher};
use crate::ports::time::{Clock, UnixTime};
use crate::store::{FetchedKeys, Store, StoreError};

/// Fetched keys are taken without asking again for this long, in seconds: how soon a key that its issuer
/// withdrew is good no longer.
const FRESH_SECONDS: i64 = 600;
/// Keys that could not be fetched again are taken for this long, in seconds. Issuers publish a key days
/// before and after they use it, so that a day-old set is right; and a day is what an outage of a
/// platform lasts at worst. Longer, and a withdrawn key would live as long as somebody can block us.
const STALE_SECONDS: i64 = 86_400;
/// A `kid` that is not known and a signature that does not verify make us fetch again at most this often for
/// each issuer, in seconds: a stranger can send either.
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

/// A reading of the monotonic clock in whole seconds. Negative before its origin: keys that were fetched
/// before this process started are older than its clock.
#[derive(Clone, Copy, Debug)]
struct Moment(i64);

impl Moment {
    fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    fn before(self, seconds: i64) -> Self {
        Self(self.0.saturating_sub(seconds))
    }
}

/// The keys of trusted issuers, as they are known here.
#[derive(Debug)]
pub(crate) struct TrustedKeys {
    outside: Arc<Outside>,
    known: Mutex<HashMap<TrustedIssuerId, Arc<Known>>>,
}

/// What is asked for keys and for the time.
#[derive(Debug)]
struct Outside {
    fetcher: Arc<dyn Fetcher>,
    clock: Arc<dyn Clock>,
    store: Store,
    issuer: IssuerId,
}

/// What is known of one issuer at one version of it.
#[derive(Debug)]
struct Known {
    trusted: TrustedIssuer,
    state: Mutex<State>,
    fetching: Arc<tokio::sync::Mutex<()>>,
    /// Set once the database was asked for keys of an earlier process.
    recalled: tokio::sync::OnceCell<()>,
}

#[derive(Clone, Debug, Default)]
struct State {
    held: Option<(Arc<PublicJwkSet>, Moment)>,
    tried_at: Option<Moment>,
    /// Failed fetches since the last good one.
    failures: u32,
    problem: Option<KeysError>,
    /// When the held keys were last written to the database.
    stored_at: Option<Moment>,
}

/// Why keys are asked for.
#[derive(Clone, Copy, Debug)]
enum Wanted<'k> {
    /// The key that goes by this `kid`; `None`: any.
    Kid(Option<&'k str>),
    /// Others than these, none of which verifies a signature.
    Other(&'k Arc<PublicJwkSet>),
}

impl TrustedKeys {
    pub(crate) fn new(
        fetcher: Arc<dyn Fetcher>,
        clock: Arc<dyn Clock>,
        store: Store,
        issuer: IssuerId,
    ) -> Self {
        Self {
            outside: Arc::new(Outside {
                fetcher,
                clock,
                store,
                issuer,
            }),
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
    ) -> Result<Arc<PublicJwkSet>, KeysError> {
        let known = self.known(trusted);
        if let KeySource::Inline { jwks } = &trusted.definition.keys {
            return known.given(jwks, self.outside.moment());
        }
        self.outside.recall(&known).await;
        let (wanted, now) = (Wanted::Kid(kid), self.outside.moment());
        if !known.state().is_due(wanted, now) {
            return known.state().answer(kid, now);
        }
        let at_hand = known.state().answer(kid, now).ok();
        let fetching = self.refresh(&known, wanted);
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

    /// Other keys of `trusted` than those `tried`, none of which verifies a token: some issuers put a new key
    /// under an old `kid`. Fetches as seldom as for an unknown `kid`, however many bad signatures are
    /// sent; a fetch that fails or is slow loses nothing.
    pub(crate) async fn other_keys(
        &self,
        trusted: &TrustedIssuer,
        tried: &Arc<PublicJwkSet>,
    ) -> Option<Arc<PublicJwkSet>> {
        let known = self.known(trusted);
        let (wanted, now) = (Wanted::Other(tried), self.outside.moment());
        match trusted.definition.keys {
            KeySource::Inline { .. } => return None,
            KeySource::Discovery | KeySource::JwksUri { .. } => {}
        }
        if known.state().is_due(wanted, now) {
            // The fetch goes on when patience ends, and the next token finds what it brought.
            let _ = tokio::time::timeout(PATIENCE, self.refresh(&known, wanted)).await;
        }
        let keys = known.state().answer(None, now).ok()?;
        (keys.keys() != tried.keys()).then_some(keys)
    }

    /// Fetches as it would be done for tokens, keeping nothing. Returns what is faulty in the set.
    ///
    /// # Errors
    /// [`KeysError`].
    pub(crate) async fn try_out(
        &self,
        url: &str,
        keys: &KeySource,
    ) -> Result<Vec<SkippedKey>, KeysError> {
        let keys = load(&*self.outside.fetcher, url, keys).await?;
        let skipped = keys.skipped().iter();
        Ok(skipped
            .filter(|key| !key.is_for_others())
            .cloned()
            .collect())
    }

    fn known(&self, trusted: &TrustedIssuer) -> Arc<Known> {
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get(&trusted.id) {
            Some(known) if known.trusted.version == trusted.version => Arc::clone(known),
            older => {
                // A change of anything but where the keys come from leaves what is known of them: the issuer
                // may be away at this very moment.
                let source = &trusted.definition.keys;
                let same = older.filter(|older| older.trusted.definition.keys == *source);
                let state = same.map(|older| older.state().clone()).unwrap_or_default();
                if all.len() >= ISSUERS_MAX {
                    all.clear();
                }
                let fresh = Arc::new(Known {
                    trusted: trusted.clone(),
                    state: Mutex::new(state),
                    fetching: Arc::default(),
                    recalled: tokio::sync::OnceCell::new(),
                });
                all.insert(trusted.id.clone(), Arc::clone(&fresh));
                fresh
            }
        }
    }

    /// Waits for a fetch of another request, or fetches. The fetch has a task of its own: whoever asked
    /// may go away, and the next finds the keys.
    async fn refresh(&self, known: &Arc<Known>, wanted: Wanted<'_>) {
        let only_one = Arc::clone(&known.fetching).lock_owned().await;
        if !known.state().is_due(wanted, self.outside.moment()) {
            return;
        }
        let (known, outside) = (Arc::clone(known), Arc::clone(&self.outside));
        let fetch = tokio::spawn(async move {
            outside.fetch(&known).await;
            drop(only_one);
        });
        if let Err(error) = fetch.await {
            tracing::error!(%error, "a fetch of a trusted issuer's keys ended abnormally");
        }
    }
}

impl Outside {
    fn moment(&self) -> Moment {
        let seconds = self.clock.monotonic().as_secs();
        Moment(i64::try_from(seconds).unwrap_or(i64::MAX))
    }

    /// Fetches the keys of one issuer and notes what came of it.
    async fn fetch(self: &Arc<Self>, known: &Arc<Known>) {
        let (began, fetched_at) = (self.moment(), self.clock.now());
        let trusted = &known.trusted;
        let outcome = load(&*self.fetcher, &trusted.url, &trusted.definition.keys).await;
        match &outcome {
            Ok(keys) => {
                let before = known.held();
                let before = before.as_ref().map(|held| held.skipped());
                log_skipped(&trusted.name, before.unwrap_or_default(), keys.skipped());
            }
            Err(error) => {
                tracing::warn!(trusted_issuer = trusted.name.as_str(), %error, "the keys of a trusted issuer could not be fetched");
            }
        }
        let must_store = known.state().note(outcome, began, self.moment());
        if must_store {
            // Not on the way of the request that waits for the keys.
            let (outside, known) = (Arc::clone(self), Arc::clone(known));
            tokio::spawn(async move { outside.store(&known, fetched_at, began).await });
        }
    }

    /// Writes the keys that are held to the database. What fails costs the next process a fetch, no more.
    async fn store(&self, known: &Known, fetched_at: UnixTime, began: Moment) {
        let trusted = &known.trusted;
        let (Some(keys), Some(source)) = (known.held(), source_text(trusted)) else {
            return;
        };
        let fetched = FetchedKeys {
            source,
            keys: keys.to_value().to_string(),
            fetched_at,
        };
        let written: Result<bool, StoreError> = async {
            let mut tx = self.store.write().await?;
            tx.lock_head(&self.issuer).await?;
            let is_put = tx
                .put_trusted_issuer_keys(&self.issuer, (&trusted.id, trusted.version), &fetched)
                .await?;
            tx.commit().await?;
            Ok(is_put)
        }
        .await;
        match written {
            Ok(true) => known.state().stored_at = Some(began),
            // Edited or removed meanwhile: these keys are not of the issuer as it is now.
            Ok(false) => {}
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    trusted_issuer = trusted.name.as_str(),
                    error,
                    "the keys of a trusted issuer could not be kept for the next start"
                );
            }
        }
    }

    /// Reads the keys that an earlier process or another replica kept, once.
    async fn recall(&self, known: &Known) {
        let read = known.recalled.get_or_try_init(|| async {
            if known.held().is_some() {
                return Ok(());
            }
            let mut tx = self.store.read().await?;
            let kept = tx
                .trusted_issuer_keys(&self.issuer, &known.trusted.id)
                .await?;
            tx.rollback().await?;
            if let Some((keys, age)) = kept.and_then(|kept| self.usable(known, &kept)) {
                let at = self.moment().before(age);
                let mut state = known.state();
                if state.held.is_none() {
                    state.held = Some((Arc::new(keys), at));
                    state.stored_at = Some(at);
                }
            }
            Ok::<(), StoreError>(())
        });
        if let Err(error) = read.await {
            let error = &error as &dyn std::error::Error;
            let trusted_issuer = known.trusted.name.as_str();
            tracing::warn!(
                trusted_issuer,
                error,
                "the kept keys of a trusted issuer could not be read"
            );
        }
    }

    /// The kept keys with their age in seconds, if they are of the present source and their age is known.
    fn usable(&self, known: &Known, kept: &FetchedKeys) -> Option<(PublicJwkSet, i64)> {
        if source_text(&known.trusted).as_ref() != Some(&kept.source) {
            return None;
        }
        // Only the wall clock outlives a process. One that was set back makes keys seem to come from the
        // future: how old they are cannot be said then, and they count as too old.
        let age = self.clock.now().since(kept.fetched_at);
        if !(-SKEW_SECONDS..STALE_SECONDS).contains(&age) {
            return None;
        }
        match PublicJwkSet::parse_published(kept.keys.as_bytes()) {
            Ok(keys) => Some((keys, age.max(0))),
            Err(error) => {
                let trusted_issuer = known.trusted.name.as_str();
                tracing::warn!(trusted_issuer, %error, "the kept keys of a trusted issuer cannot be used");
                None
            }
        }
    }
}

/// Where fetched keys come from, as the database has it; `None` for those that are not fetched.
fn source_text(trusted: &TrustedIssuer) -> Option<String> {
    match &trusted.definition.keys {
        KeySource::Inline { .. } => None,
        source @ (KeySource::Discovery | KeySource::JwksUri { .. }) => {
            serde_json::to_string(source).ok()
        }
    }
}

impl Known {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held(&self) -> Option<Arc<PublicJwkSet>> {
        self.state().held.as_ref().map(|(keys, _)| Arc::clone(keys))
    }

    /// Keys given by the administrator, parsed once.
    fn given(&self, jwks: &Value, now: Moment) -> Result<Arc<PublicJwkSet>, KeysError> {
        let mut state = self.state();
        if let Some((keys, _)) = &state.held {
            return Ok(Arc::clone(keys));
        }
        let trusted = &self.trusted;
        let keys = Arc::new(parse_keys(&trusted.url, jwks.to_string().as_bytes())?);
        log_skipped(&trusted.name, &[], keys.skipped());
        state.held = Some((Arc::clone(&keys), now));
        Ok(keys)
    }
}

impl State {
    /// Whether to ask again: there is a reason to, and the last time was long enough ago.
    fn is_due(&self, wanted: Wanted<'_>, now: Moment) -> bool {
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

    /// What can be said without asking.
    fn answer(&self, kid: Option<&str>, now: Moment) -> Result<Arc<PublicJwkSet>, KeysError> {
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

    /// Notes what came of a fetch. True when the keys are to be written to the database: they are others, or
    /// those there are no longer fresh. Not each time, for a write holds up tokens.
    fn note(
        &mut self,
        outcome: Result<PublicJwkSet, KeysError>,
        began: Moment,
        ended: Moment,
    ) -> bool {
        // A slow one must not be due again when it ends: the wait is between fetches.
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

/// Logs each entry that is not used, once for as long as the set holds it.
fn log_skipped(trusted_issuer: &Name, before: &[SkippedKey], skipped: &[SkippedKey]) {
    for key in skipped.iter().filter(|key| !before.contains(key)) {
        let trusted_issuer = trusted_issuer.as_str();
        if key.is_for_others() {
            tracing::info!(trusted_issuer, skipped = %key, "a key of a trusted issuer is for others");
        } else {
            tracing::warn!(trusted_issuer, skipped = %key, "a key of a trusted issuer cannot be used");
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
