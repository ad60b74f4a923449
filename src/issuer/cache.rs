//! The registry in memory. It saves reading and parsing; it never decides: every decision made on
//! it carries the registry version it was made at, and the ledger judges that again inside the
//! transaction that records the token.
//!
//! Invariant: everything in here is at least as new as registry version `seen`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use tokio::sync::{Mutex, Semaphore};

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

/// Agents kept in memory. An aggregate with two keys takes a few KiB: some 100 MiB when full.
const AGENTS_CACHED: usize = 20_000;
/// More changed agents than this at once, and the cache starts anew instead of reading each.
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
    /// Assertions made at or before this second are refused: a restored database cannot know which of
    /// them were used after its backup.
    pub assertions_not_before: UnixTime,
    /// Those who hold copies of the keys, and which.
    pub key_consumers: Vec<KeyConsumer>,
    /// Trusted issuers, in id order.
    pub trusted_issuers: BTreeMap<TrustedIssuerId, TrustedIssuer>,
    /// The signing keys, parsed.
    pub keyring: Keyring,
}

impl Policy {
    /// Whether a subject still exists: one from outside, `user:<trusted issuer's name>:…`, is known by
    /// the word of an issuer that is trusted to name subjects.
    #[must_use]
    pub fn vouches_for(&self, subject: &str) -> bool {
        issuer_of_user(subject).is_none_or(|name| {
            self.trusted_issuers
                .values()
                .any(|trusted| trusted.definition.subject && trusted.name.as_str() == name)
        })
    }

    /// Reads the policy; keys that `previous` already holds are not unsealed and parsed again.
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
    /// Names by subject. A subject is never given to another agent, so that what is in here stays true.
    names: Cache<String, String>,
    seen: AtomicI64,
    cold_reads: Semaphore,
    /// Held while entries are replaced or added, so that an old row never follows a newer `seen`.
    renewal: Mutex<()>,
}

impl Registry {
    /// A cache that holds `policy`, read at registry version `seen`, and no agents yet. At most `cold_reads`
    /// agents are read at once: anyone can ask for agents that are not in memory or do not exist, and the
    /// other connections are for the ledger and for clients that proved themselves.
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

    /// The registry version that everything in the cache is at least as new as. A decision reads it
    /// *before* anything else and carries it as its basis.
    #[must_use]
    pub(crate) fn seen(&self) -> i64 {
        self.seen.load(Ordering::Acquire)
    }

    /// The policy as it is known here.
    #[must_use]
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.policy.load_full()
    }

    /// Begins a read of what the database holds now, with its head. One that shows less than was read from it
    /// before is no answer to anything: neither that an agent is active nor that there is none. Its connection
    /// is closed. What was read while it began may be newer than it; that is no fault.
    ///
    /// # Errors
    /// When the database cannot be read, or shows an older state than is known here.
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

    /// An agent and its credentials by `client_id`, removed agents included; from memory if it can be.
    ///
    /// # Errors
    /// When the database must be asked and cannot be.
    pub(crate) async fn agent(
        &self,
        store: &Store,
        issuer: &IssuerId,
        client_id: &str,
    ) -> Result<Option<Arc<AgentAggregate>>, StoreError> {
        if let Some(found) = self.agents.get(client_id) {
            return Ok(Some(found));
        }
        let place = self.cold_reads.acquire().await.ok();
        // The version first: what is read after it is at least as new.
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

    /// The name of the agent with a subject, if it is known here.
    #[must_use]
    pub(crate) fn name_of(&self, subject: &str) -> Option<String> {
        self.names.get(subject)
    }

    /// Keeps the name of the agent with a subject, as the database has it.
    pub(crate) fn note_name(&self, subject: &str, name: &str) {
        self.names.insert(subject.to_owned(), name.to_owned());
    }

    /// The version of a cached agent.
    #[must_use]
    pub(crate) fn cached_version(&self, client_id: &str) -> Option<i64> {
        self.agents.peek(client_id).map(|found| found.agent.version)
    }

    /// [`Registry::refresh`] under the issuer's lock, where `head` is the newest there is. One that is
    /// older than the cache is that of a database that went back, to a backup or to a standby that
    /// lagged behind: then nothing that is known here counts.
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

    /// Brings the cache up to `head`, which was read in `tx` before anything else: by [`Registry::read`], so that
    /// one that is older than the cache is only older than what was read meanwhile.
    ///
    /// # Errors
    /// When the database cannot be read; the cache is then as it was, or partly newer.
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
                    // One damaged row must not end the service for everybody else: its agent is
                    // forgotten here, and whoever asks for it reads it again and is told.
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
