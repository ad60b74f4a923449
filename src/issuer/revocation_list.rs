//! The signed revocation list: one JWT that lists tokens that ended before their expiry, for verifiers that work
//! offline. docs/reference/revocation-list.md describes it. However often it is requested, the database is read at
//! intervals and a new list is signed only after a change.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::domain::settings::SKEW_SECONDS;
use crate::ports::time::UnixTime;
use crate::store::{EndKind, EndMark, RevokedToken, StoreError, Window};

use super::keyring::Rendered;
use super::mint::MintError;
use super::{Issuer, IssuerError};

/// `typ` of the list, so that no verifier accepts it as a token (RFC 8725 §3.11).
pub(crate) const REVOCATION_LIST_TYPE: &str = "revocation-list+jwt";
/// How long a list is valid, in seconds.
pub(crate) const REVOCATION_LIST_LIFETIME_SECONDS: i64 = 3600;
/// How long a cache may serve it without revalidation, in seconds.
pub(crate) const REVOCATION_LIST_MAX_AGE_SECONDS: u32 = 30;
/// The database is read again after this many seconds, or when the registry has changed.
const LOOKED_UP_SECONDS: i64 = 10;
/// An unchanged list is signed again after this many seconds, long before it expires.
const SIGNED_ANEW_SECONDS: i64 = 300;
/// Most tokens, subjects and delegations in a list: some 700 KiB each. With more, the list states that it is
/// incomplete.
const ENTRIES_MAX: usize = 10_000;

/// How long a request waits for the database, or for another request's renewal, before it gets the kept list:
/// shorter than the response deadline.
const RENEWED_WITHIN: Duration = Duration::from_secs(2);

/// The last list.
#[derive(Default)]
pub(crate) struct KeptList {
    /// Never held across an await.
    kept: Mutex<Option<Kept>>,
    /// Held by the request that renews the list.
    renewing: tokio::sync::Mutex<()>,
    /// Ends that this process recorded without a change of the registry.
    ended: AtomicU64,
}

impl fmt::Debug for KeptList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeptList")
    }
}

struct Kept {
    rendered: Rendered,
    contents: Contents,
    kid: String,
    signed_at: UnixTime,
    looked_up_at: UnixTime,
    version: Version,
}

/// What a list was made from: while neither number changes, a new list would be the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    registry: i64,
    /// The number of ends that this process recorded without a change of the registry.
    ended: u64,
}

impl KeptList {
    /// Makes the next request read the database: a token ended without a change of the registry.
    pub(crate) fn is_outdated(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }

    fn kept(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list, if `holds` is true of it.
    fn rendered(&self, holds: impl Fn(&Kept) -> bool) -> Option<Rendered> {
        let kept = self.kept();
        let kept = kept.as_ref().filter(|kept| holds(kept));
        kept.map(|kept| kept.rendered.clone())
    }
}

impl Kept {
    fn is_fresh(&self, version: Version, now: UnixTime) -> bool {
        self.version == version && (0..LOOKED_UP_SECONDS).contains(&now.since(self.looked_up_at))
    }

    /// Whether it may be served although it could not be renewed: verifiers see its age in `iat`, and caches drop
    /// it before its `exp`.
    fn is_good(&self, now: UnixTime) -> bool {
        let longest = REVOCATION_LIST_LIFETIME_SECONDS - i64::from(REVOCATION_LIST_MAX_AGE_SECONDS);
        (0..longest).contains(&now.since(self.signed_at))
    }

    fn still_tells(&self, contents: &Contents, kid: &str, now: UnixTime) -> bool {
        self.contents == *contents
            && self.kid == kid
            && (0..SIGNED_ANEW_SECONDS).contains(&now.since(self.signed_at))
    }
}

#[derive(PartialEq, Eq)]
struct Contents {
    tokens: Vec<RevokedToken>,
    subjects: Vec<EndMark>,
    delegations: Vec<EndMark>,
    is_whole: bool,
}

impl Issuer {
    /// The current list, at most some seconds old. While the database cannot be read or does not respond within
    /// two seconds, the last list, as long as it is valid.
    ///
    /// # Errors
    /// When no valid list is kept and none can be made, or no key signs.
    pub(crate) async fn revocation_list(&self) -> Result<Rendered, IssuerError> {
        let now = self.ports.clock.now();
        let version = Version {
            registry: self.registry_version(),
            ended: self.kept_list.ended.load(Ordering::Acquire),
        };
        let fresh = || self.kept_list.rendered(|kept| kept.is_fresh(version, now));
        if let Some(list) = fresh() {
            return Ok(list);
        }
        let renewed = tokio::time::timeout(RENEWED_WITHIN, async {
            // One request renews it; concurrent requests wait and get the same list.
            let _renewing = self.kept_list.renewing.lock().await;
            match fresh() {
                Some(list) => Ok(list),
                None => self.renewed_list(version, now).await,
            }
        })
        .await
        .unwrap_or_else(|elapsed| Err(IssuerError::Unavailable(Box::new(elapsed))));
        renewed.or_else(|error| {
            let list = self.kept_list.rendered(|kept| kept.is_good(now));
            if list.is_some() {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the revocation list could not be renewed; serving the previous one"
                );
            }
            list.ok_or(error)
        })
    }

    async fn renewed_list(&self, version: Version, now: UnixTime) -> Result<Rendered, IssuerError> {
        let contents = self.listed(now).await?;
        let policy = self.policy();
        let algorithm = policy.settings.default_algorithm;
        let unavailable = |error: MintError| IssuerError::Unavailable(Box::new(error));
        let key = policy
            .keyring
            .active(algorithm)
            .ok_or_else(|| unavailable(MintError::NoKey(algorithm)))?;
        if let Some(kept) = self
            .kept_list
            .kept()
            .as_mut()
            .filter(|kept| kept.still_tells(&contents, key.kid(), now))
        {
            (kept.version, kept.looked_up_at) = (version, now);
            return Ok(kept.rendered.clone());
        }
        let claims = contents.claims(&self.url, now).to_string();
        let list = key
            .sign_compact(REVOCATION_LIST_TYPE, claims.as_bytes())
            .map_err(|error| unavailable(MintError::Sign(Box::new(error))))?;
        let rendered = Rendered::of(list.into());
        *self.kept_list.kept() = Some(Kept {
            rendered: rendered.clone(),
            contents,
            kid: key.kid().to_owned(),
            signed_at: now,
            looked_up_at: now,
            version,
        });
        Ok(rendered)
    }

    async fn listed(&self, now: UnixTime) -> Result<Contents, StoreError> {
        let limit = i64::try_from(ENTRIES_MAX + 1).unwrap_or(i64::MAX);
        let (mut tx, _) = self.read().await?;
        // Verifiers accept a token past its `exp` by the skew.
        let mut tokens = tx
            .revoked_tokens(&self.id, now.plus(-SKEW_SECONDS), None, limit)
            .await?;
        let mut subjects = tx
            .end_marks(&self.id, EndKind::Subject, now, Window::first(limit))
            .await?;
        let mut delegations = tx
            .end_marks(&self.id, EndKind::Delegation, now, Window::first(limit))
            .await?;
        tx.rollback().await?;
        let is_whole = [tokens.len(), subjects.len(), delegations.len()]
            .iter()
            .all(|&entries| entries <= ENTRIES_MAX);
        if !is_whole {
            tracing::warn!(
                most = ENTRIES_MAX,
                "the revocation list is incomplete: more tokens were revoked than it can hold"
            );
        }
        tokens.truncate(ENTRIES_MAX);
        subjects.truncate(ENTRIES_MAX);
        delegations.truncate(ENTRIES_MAX);
        Ok(Contents {
            tokens,
            subjects,
            delegations,
            is_whole,
        })
    }
}

impl Contents {
    fn claims(&self, issuer: &str, now: UnixTime) -> Value {
        let revoked: Vec<Value> = self
            .tokens
            .iter()
            .map(|token| json!({ "jti": token.token_id, "exp": token.expires_at.0 }))
            .collect();
        let until = |marks: &[EndMark]| -> Map<String, Value> {
            marks
                .iter()
                .map(|mark| (mark.key.clone(), json!(mark.not_before.0)))
                .collect()
        };
        json!({
            "iss": issuer,
            "iat": now.0,
            "exp": now.plus(REVOCATION_LIST_LIFETIME_SECONDS).0,
            "complete": self.is_whole,
            "revoked": revoked,
            "not_before": until(&self.subjects),
            "delegations": until(&self.delegations),
        })
    }
}
