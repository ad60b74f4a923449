//! The keys of trusted issuers: set by the administrator, or fetched and kept in memory and in the database. A
//! token can only cause fetches from addresses of registered issuers, one fetch at a time for each, at limited
//! intervals. A temporary outage of an issuer does not affect its workloads, even if this process restarts during
//! it.
//!
//! Ages are measured on the monotonic clock, so that setting the wall clock makes no key fresh or stale. Only keys
//! fetched before this process started are dated by the wall clock.

mod held;
mod source;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::domain::id::{IssuerId, TrustedIssuerId};
use crate::domain::name::Name;
use crate::domain::settings::SKEW_SECONDS;
use crate::domain::trusted_issuer::{KeySource, TrustedIssuer};
use crate::jose::{PublicJwkSet, SkippedKey};
use crate::ports::fetch::Fetcher;
use crate::ports::time::{Clock, UnixTime};
use crate::store::{FetchedKeys, Store, StoreError};
use held::{Moment, STALE_SECONDS, State, Wanted};
pub(crate) use source::KeysError;
use source::{load, parse_keys};

/// How long a request waits for newer keys when it already has usable ones.
const PATIENCE: Duration = Duration::from_secs(1);
/// Issuers whose keys are kept: more than can be registered, including concurrent edits.
const ISSUERS_MAX: usize = 1024;

/// The cached keys of trusted issuers.
#[derive(Debug)]
pub(crate) struct TrustedKeys {
    outside: Arc<Outside>,
    known: Mutex<HashMap<TrustedIssuerId, Arc<Known>>>,
}

/// The sources of keys and of the time.
#[derive(Debug)]
struct Outside {
    fetcher: Arc<dyn Fetcher>,
    clock: Arc<dyn Clock>,
    store: Store,
    issuer: IssuerId,
}

/// The cached keys of one version of an issuer.
#[derive(Debug)]
struct Known {
    trusted: TrustedIssuer,
    state: Mutex<State>,
    fetching: Arc<tokio::sync::Mutex<()>>,
    /// Set once the database was read for keys of an earlier process.
    recalled: tokio::sync::OnceCell<()>,
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

    /// The keys of `trusted`, including the one named `kid` if it is available.
    ///
    /// # Errors
    /// When no keys are kept and none can be fetched.
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
                // Wait briefly for newer ones; the fetch continues in any case.
                if tokio::time::timeout(PATIENCE, fetching).await.is_err() {
                    return Ok(keys);
                }
            }
        }
        known.state().answer(kid, now)
    }

    /// Other keys of `trusted` than those `tried`, none of which verifies a token: some issuers publish a new key
    /// under an old `kid`. Limited to the interval for an unknown `kid`, however many bad signatures arrive. A
    /// fetch that fails or is slow loses nothing.
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
            // The fetch continues after the time-out, and the next token uses its result.
            let _ = tokio::time::timeout(PATIENCE, self.refresh(&known, wanted)).await;
        }
        let keys = known.state().answer(None, now).ok()?;
        (keys.keys() != tried.keys()).then_some(keys)
    }

    /// Fetches keys as for tokens, but keeps nothing. Returns the faulty entries of the set.
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
                // An edit that keeps the source of the keys keeps the cached keys: the issuer may be down right
                // now.
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

    /// Waits for another request's fetch, or fetches. The fetch has its own task: it continues when the request is
    /// dropped, and the next request finds the keys.
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

    /// Fetches the keys of one issuer and records the result.
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
            // In its own task, so that the request that waits for the keys does not wait for the write.
            let (outside, known) = (Arc::clone(self), Arc::clone(known));
            tokio::spawn(async move { outside.store(&known, fetched_at, began).await });
        }
    }

    /// Writes the keys to the database. A failure only costs the next process a fetch.
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
                .put_trusted_issuer_keys(&self.issuer, &trusted.id, trusted.version, &fetched)
                .await?;
            tx.commit().await?;
            Ok(is_put)
        }
        .await;
        match written {
            Ok(true) => known.state().stored_at = Some(began),
            // Edited or removed concurrently: these keys do not belong to the current issuer.
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

    /// Reads, once, the keys that an earlier process or another replica stored.
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

    /// The stored keys with their age in seconds, if they come from the current source and their age is known.
    fn usable(&self, known: &Known, kept: &FetchedKeys) -> Option<(PublicJwkSet, i64)> {
        if source_text(&known.trusted).as_ref() != Some(&kept.source) {
            return None;
        }
        // Only the wall clock outlives a process. If it was set back, keys seem to come from the future: their age
        // is unknown, so they count as too old.
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

/// The source of fetched keys in the database's form; `None` for keys that are not fetched.
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

    /// Keys set by the administrator, parsed once.
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

/// Logs each unusable entry, once for as long as the set contains it.
fn log_skipped(trusted_issuer: &Name, before: &[SkippedKey], skipped: &[SkippedKey]) {
    for key in skipped.iter().filter(|key| !before.contains(key)) {
        let trusted_issuer = trusted_issuer.as_str();
        if key.is_for_others() {
            tracing::info!(trusted_issuer, skipped = %key, "a key of a trusted issuer is not for signatures of its tokens");
        } else {
            tracing::warn!(trusted_issuer, skipped = %key, "a key of a trusted issuer cannot be used");
        }
    }
}
