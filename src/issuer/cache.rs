//! The registry in memory. It saves reading and parsing; it never decides. Every decision based on it carries the
//! registry version at which it was made, and the ledger checks that version inside the transaction that records
//! the token.
//!
//! Invariant: everything in the cache is at least as new as registry version `seen`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};

use crate::domain::group::Group;
use crate::domain::id::{GroupId, IssuerId, ResourceId, RoleId, TrustedIssuerId};
use crate::domain::key_consumer::KeyConsumer;
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::domain::settings::IssuerSettings;
use crate::domain::subject::issuer_of_user;
use crate::domain::trusted_issuer::TrustedIssuer;
use crate::ports::time::UnixTime;
use crate::store::AgentAggregate;
use crate::store::{Head, Store, StoreError, Tx};

use super::keyring::Keyring;
use super::sealing::Sealing;

/// Agents kept in memory. An aggregate with two keys needs a few KiB: some 100 MiB when full.
const AGENTS_CACHED: usize = 20_000;
/// With more changed agents than this at once, the cache is cleared instead of reading each.
const RELOAD_MAX: i64 = 256;

/// Roles, groups, resources, keys and settings: small, and needed by every decision.
#[derive(Debug)]
pub struct Policy {
    /// The issuer's settings.
    pub settings: IssuerSettings,
    /// Groups that are not removed.
    pub groups: HashMap<GroupId, Group>,
    /// Roles that are not removed.
    pub roles: HashMap<RoleId, Role>,
    /// Resources that are not removed, in id order.
    pub resources: BTreeMap<ResourceId, Resource>,
    /// Assertions made at or before this second are rejected: a restored database does not contain the marks of
    /// those used after its backup.
    pub assertions_not_before: UnixTime,
    /// The holders of key copies, and which keys each holds.
    pub key_consumers: Vec<KeyConsumer>,
    /// Trusted issuers, in id order.
    pub trusted_issuers: BTreeMap<TrustedIssuerId, TrustedIssuer>,
    /// The signing keys, parsed.
    pub keyring: Keyring,
}

impl Policy {
    /// Whether a subject still exists. A user of a trusted issuer, `user:<trusted issuer's name>:…`, exists while
    /// that issuer is trusted to name subjects.
    #[must_use]
    pub fn vouches_for(&self, subject: &str) -> bool {
        issuer_of_user(subject).is_none_or(|name| {
            self.trusted_issuers
                .values()
                .any(|trusted| trusted.definition.subject && trusted.name.as_str() == name)
        })
    }

    /// Reads the policy. Keys that `previous` already holds are not unsealed and parsed again.
    ///
    /// # Errors
    /// When the database cannot be read, or a key cannot be unsealed.
    pub(crate) async fn load(
        tx: &mut Tx,
        issuer: &IssuerId,
        sealing: &Sealing,
        previous: Option<&Keyring>,
    ) -> Result<Self, StoreError> {
        let settings = tx
            .issuers()
            .await?
            .into_iter()
            .find(|settings| settings.id == *issuer)
            .ok_or_else(|| StoreError::corrupt("the issuer's row is missing"))?;
        let groups = tx
            .groups(issuer)
            .await?
            .into_iter()
            .map(|group| (group.id.clone(), group))
            .collect();
        let roles = tx
            .roles(issuer)
            .await?
            .into_iter()
            .map(|role| (role.id.clone(), role))
            .collect();
        let resources = tx
            .resources(issuer)
            .await?
            .into_iter()
            .map(|resource| (resource.id.clone(), resource))
            .collect();
        let assertions_not_before = tx.assertions_not_before(issuer).await?;
        let key_consumers = tx.key_consumers(issuer).await?;
        let trusted_issuers = tx
            .trusted_issuers(issuer)
            .await?
            .into_iter()
            .map(|trusted| (trusted.id.clone(), trusted))
            .collect();
        let keys = tx.keys(issuer).await?;
        let keyring = Keyring::open(issuer, keys, sealing, previous)
            .map_err(|error| StoreError::corrupt(error.to_string()))?;
        Ok(Self {
            settings,
            groups,
            roles,
            resources,
            assertions_not_before,
            key_consumers,
            trusted_issuers,
            keyring,
        })
    }
}

/// The cache of one issuer.
#[derive(Debug)]
pub(crate) struct Registry {
    policy: ArcSwap<Policy>,
    agents: Cache<String, Arc<AgentAggregate>>,
    /// Names by subject. A subject is never reassigned, so entries stay valid.
    names: Cache<String, String>,
    seen: AtomicI64,
    cold_reads: Semaphore,
    /// Held while entries are replaced or added, so that an old row is never stored after a newer `seen`.
    renewal: Mutex<()>,
}

impl Registry {
    /// A cache with `policy`, read at registry version `seen`, and no agents yet. At most `cold_reads` reads of
    /// agents run at once: anyone can request agents that are not in memory or do not exist, or present a token of a
    /// public platform. The other connections are for the ledger and for authenticated clients.
    #[must_use]
    pub(crate) fn new(policy: Policy, seen: i64, cold_reads: usize) -> Self {
        Self {
            policy: ArcSwap::from_pointee(policy),
            agents: Cache::new(AGENTS_CACHED),
            names: Cache::new(AGENTS_CACHED),
            seen: AtomicI64::new(seen),
            cold_reads: Semaphore::new(cold_reads),
            renewal: Mutex::new(()),
        }
    }

    /// Everything in the cache is at least as new as this registry version. A decision reads it *before* anything
    /// else and carries it as its basis.
    #[must_use]
    pub(crate) fn seen(&self) -> i64 {
        self.seen.load(Ordering::Acquire)
    }

    /// The cached policy.
    #[must_use]
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// Begins a read of the database's current state, with its head. A read that shows an older state than the
    /// cache is an error and its connection is closed: it proves neither that an agent is active nor that it is
    /// missing. The cache may become newer than the read while the read begins; that is allowed.
    ///
    /// # Errors
    /// When the database cannot be read, or shows an older state than the cache.
    pub(crate) async fn read(
        &self,
        store: &Store,
        issuer: &IssuerId,
    ) -> Result<(Tx, Head), StoreError> {
        let known = self.seen();
        let mut tx = store.read().await?;
        let head = tx
            .head(issuer)
            .await?
            .ok_or_else(|| StoreError::corrupt("the issuer's head row is missing"))?;
        if head.registry_version < known {
            tx.distrust();
            return Err(StoreError::Unavailable(
                "the database is older than what was read from it before".into(),
            ));
        }
        Ok((tx, head))
    }

    /// A permit for a read that anyone can cause; waits until one is free.
    pub(crate) async fn cold_read(&self) -> Option<SemaphorePermit<'_>> {
        self.cold_reads.acquire().await.ok()
    }

    /// An agent and its credentials by `client_id`, removed agents included; from memory if possible.
    ///
    /// # Errors
    /// When the database is needed and cannot be read.
    pub(crate) async fn agent(
        &self,
        store: &Store,
        issuer: &IssuerId,
        client_id: &str,
    ) -> Result<Option<Arc<AgentAggregate>>, StoreError> {
        if let Some(found) = self.agents.get(client_id) {
            return Ok(Some(found));
        }
        let place = self.cold_read().await;
        // The version first, so that everything read after it is at least as new.
        let (mut tx, head) = self.read(store, issuer).await?;
        let aggregate = tx.aggregate_by_name(issuer, client_id).await?.map(Arc::new);
        tx.rollback().await?;
        drop(place);
        if let Some(found) = &aggregate {
            let _renewal = self.renewal.lock().await;
            if head.registry_version >= self.seen() {
                self.agents.insert(client_id.to_owned(), Arc::clone(found));
            }
        }
        Ok(aggregate)
    }

    /// The name of the agent with a subject, if it is cached.
    #[must_use]
    pub(crate) fn name_of(&self, subject: &str) -> Option<String> {
        self.names.get(subject)
    }

    /// Caches the name of the agent with a subject, as read from the database.
    pub(crate) fn note_name(&self, subject: &str, name: &str) {
        self.names.insert(subject.to_owned(), name.to_owned());
    }

    /// The version of a cached agent.
    #[must_use]
    pub(crate) fn cached_version(&self, client_id: &str) -> Option<i64> {
        self.agents.peek(client_id).map(|found| found.agent.version)
    }

    /// [`Registry::refresh`] under the issuer's lock, where `head` is the newest. A head older than the cache
    /// means that the database was rolled back to a backup or to a lagging standby; then the cache is discarded.
    ///
    /// # Errors
    /// As [`Registry::refresh`].
    pub(crate) async fn refresh_locked(
        &self,
        tx: &mut Tx,
        issuer: &IssuerId,
        head: &Head,
        sealing: &Sealing,
    ) -> Result<(), StoreError> {
        if head.registry_version >= self.seen() {
            return self.refresh(tx, issuer, head, sealing).await;
        }
        tracing::error!(
            known = self.seen(),
            found = head.registry_version,
            "the database is older than what was read from it before; reading everything again"
        );
        let _renewal = self.renewal.lock().await;
        let policy = Policy::load(tx, issuer, sealing, None).await?;
        self.agents.clear();
        self.names.clear();
        self.policy.store(Arc::new(policy));
        self.seen.store(head.registry_version, Ordering::Release);
        Ok(())
    }

    /// Updates the cache to `head`, which was read in `tx` before anything else, by [`Registry::read`]: a head
    /// older than the cache is therefore only older than what was read concurrently.
    ///
    /// # Errors
    /// When the database cannot be read; the cache is then unchanged, or newer in part.
    pub(crate) async fn refresh(
        &self,
        tx: &mut Tx,
        issuer: &IssuerId,
        head: &Head,
        sealing: &Sealing,
    ) -> Result<(), StoreError> {
        if head.registry_version <= self.seen() {
            return Ok(());
        }
        let _renewal = self.renewal.lock().await;
        let seen = self.seen();
        if head.registry_version <= seen {
            return Ok(());
        }
        if head.policy_version > seen {
            let policy =
                Policy::load(tx, issuer, sealing, Some(&self.policy.load().keyring)).await?;
            self.policy.store(Arc::new(policy));
        }
        let changed = tx.changed_agents(issuer, seen, RELOAD_MAX + 1).await?;
        if changed.len() as i64 > RELOAD_MAX {
            self.agents.clear();
        } else {
            for id in changed {
                match tx.aggregate(issuer, &id).await {
                    Ok(Some(aggregate)) => {
                        let name = aggregate.agent.name.as_str();
                        if self.agents.peek(name).is_some() {
                            self.agents.insert(name.to_owned(), Arc::new(aggregate));
                        }
                    }
                    Ok(None) => {}
                    // One damaged row must not stop the service for every other agent. Its agent leaves the cache,
                    // so that the next request for it reads the row again and gets the error.
                    Err(StoreError::Corrupt { what }) => {
                        tracing::error!(
                            what,
                            "an agent cannot be read; its token requests are rejected"
                        );
                        self.agents.retain(|_, known| known.agent.id != id);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        self.seen.store(head.registry_version, Ordering::Release);
        Ok(())
    }
}
