//! The process: one store, one ledger, one sealing key, and the issuers that they serve. Creates them or opens
//! those in the database, maintains them, and stops them in order.

mod check;
mod error;
mod first_start;
mod open;
mod recover;

pub use check::{StartCheck, StartFault, check_start};
pub use error::HostError;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::domain::settings::{
    DEFAULT_LIFETIME_SECONDS, DEFAULT_MAX_LIFETIME_SECONDS, IssuerSettings,
};
use crate::issuer::cache::{Policy, Registry};
use crate::issuer::ledger::{Ledger, ledger};
use crate::issuer::sealing::Sealing;
use crate::issuer::secrets::Secrets;
use crate::issuer::trusted_keys::TrustedKeys;
use crate::issuer::{Issuer, IssuerError, Ports};
use crate::jose::algorithm::SigningAlgorithm;
use crate::jose::key::SigningKey;
use crate::store::{Store, StoreError};
use open::{open_issuer, open_pepper};

/// How often the process checks whether work is due: keys to rotate, rows of other replicas to read, used
/// assertions and old revocations to delete. Well below the publish-ahead time of keys.
pub const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(5);
/// Used assertions, revocations and the lineage of tokens are kept this many seconds longer than needed, so
/// that a clock that is set back does not make them acceptable again.
const KEPT_SECONDS: i64 = 86_400;
/// Delegations and federated credentials are kept this long after they expire, in seconds: 90 days.
const ENDED_KEPT_SECONDS: i64 = 90 * 86_400;
/// How long after the newest token a time still counts as confirmed, in seconds.
const CONFIRMED_SECONDS: i64 = 86_400;
/// Used assertions, revoked tokens, marks, lineages, delegations and federated credentials that one transaction
/// deletes: tokens wait for it.
const PURGE_MAX: u32 = 1_000;
/// Such transactions in one run: 10,000 assertions a second, more than are used.
const PURGES: u32 = 50;
/// Where the key-encryption key is.
#[derive(Clone, Debug)]
pub enum KekSource {
    /// The key itself; the second field names its origin.
    Text(SecretString, String),
    /// In this file, which the first start creates.
    File(PathBuf),
}

/// The options of a process.
#[derive(Clone, Debug)]
pub struct HostOptions {
    /// `sqlite:PATH` or `postgres://…`.
    pub database_url: String,
    /// The default issuer's URL.
    pub issuer_url: String,
    /// The key-encryption key.
    pub kek: KekSource,
    /// Where the bootstrap token is written at the first start.
    pub admin_token_file: PathBuf,
    /// Settings of a new issuer; an existing one keeps its own.
    pub first_settings: FirstSettings,
    /// Signing keys of a new issuer. For an algorithm without one, a key is generated: an RSA key costs a tenth
    /// of a second, which a test that starts many issuers can save.
    pub first_keys: Vec<Arc<SigningKey>>,
}

/// Settings of an issuer that does not exist yet.
#[derive(Clone, Copy, Debug)]
pub struct FirstSettings {
    /// Default lifetime of a token in seconds.
    pub default_lifetime: i64,
    /// Longest lifetime of a token in seconds.
    pub max_lifetime: i64,
    /// The algorithm of tokens for resources that do not name one.
    pub default_algorithm: SigningAlgorithm,
}

impl Default for FirstSettings {
    fn default() -> Self {
        Self {
            default_lifetime: DEFAULT_LIFETIME_SECONDS,
            max_lifetime: DEFAULT_MAX_LIFETIME_SECONDS,
            default_algorithm: SigningAlgorithm::Es256,
        }
    }
}

/// A running process without its listeners.
#[derive(Debug)]
pub struct Host {
    store: Store,
    ledger: Ledger,
    issuer: Arc<Issuer>,
    ledger_task: Mutex<Option<JoinHandle<()>>>,
}

impl Host {
    /// Opens and migrates the database and unseals its keys. The first start creates the issuer, its signing
    /// keys and the bootstrap administrator.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn start(options: &HostOptions, ports: Ports) -> Result<Self, HostError> {
        let url = &options.database_url;
        let store = Store::open(url)
            .await
            .map_err(|error| HostError::opening(url, error))?;
        let started = Self::start_on(store.clone(), options, ports).await;
        if started.is_err() {
            store.close().await;
        }
        started
    }

    async fn start_on(
        store: Store,
        options: &HostOptions,
        ports: Ports,
    ) -> Result<Self, HostError> {
        let (settings, sealing) = open_issuer(&store, options, &ports).await?;
        let (ledger, task) = ledger();
        let issuer = Arc::new(assemble(&store, settings, sealing, ports, &ledger).await?);
        let host = Self {
            store,
            ledger,
            issuer,
            ledger_task: Mutex::new(Some(tokio::spawn(task.run()))),
        };
        host.complete_first_start(options).await?;
        Ok(host)
    }

    /// The default issuer.
    #[must_use]
    pub fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Does the work that is due: reads the changes of other replicas, rotates keys, deletes expired used assertions,
    /// revocations, delegations and federated credentials. Faults are logged; the next call tries again.
    pub async fn maintain(&self) {
        let issuer = &self.issuer;
        let result: Result<(), IssuerError> = async {
            issuer.catch_up().await?;
            issuer.rotate_due().await?;
            self.forget().await?;
            Ok(())
        }
        .await;
        if let Err(error) = result {
            tracing::warn!(
                error = error.reason(),
                "maintenance failed; trying again at the next interval"
            );
        }
    }

    /// Calls [`Host::maintain`] at its interval, indefinitely.
    pub async fn keep(&self) {
        let mut maintenance = tokio::time::interval(MAINTENANCE_INTERVAL);
        let interval = Issuer::refusal_interval();
        let mut refusals = tokio::time::interval_at(Instant::now() + interval, interval);
        loop {
            tokio::select! {
                _ = maintenance.tick() => self.maintain().await,
                _ = refusals.tick() => self.issuer.flush_refusals(),
            }
        }
    }

    /// Writes the queue and closes the database. Call it after the listeners have drained.
    pub async fn stop(&self) {
        self.issuer.flush_refusals();
        self.ledger.stop();
        if let Some(task) = self.ledger_task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the ledger ended abnormally");
        }
        self.store.close().await;
    }

    /// Deletes rows that only long-expired tokens and assertions would need, and delegations and federated
    /// credentials that expired long ago. With nothing to delete it only reads: every write waits for the disk, and
    /// tokens wait for the lock.
    async fn forget(&self) -> Result<(), StoreError> {
        let now = self.issuer.ports().clock.now();
        let before = now.plus(-KEPT_SECONDS);
        for _ in 0..PURGES {
            let mut tx = self.store.read().await?;
            let Some(head) = tx.head(&self.issuer.id).await? else {
                return tx.rollback().await;
            };
            // Delegations live for months. A clock that is far ahead must not delete live ones, so the newest token
            // has to confirm the time.
            let confirmed = now.min(head.newest_iat.plus(CONFIRMED_SECONDS));
            let ended_before = confirmed.plus(-ENDED_KEPT_SECONDS);
            let is_due = tx.holds_expired(&self.issuer.id, before).await?
                || tx.holds_ended(&self.issuer.id, ended_before).await?;
            tx.rollback().await?;
            if !is_due {
                break;
            }
            let mut tx = self.store.write().await?;
            tx.lock_head(&self.issuer.id).await?;
            let most = i64::from(PURGE_MAX);
            tx.purge_used_assertions(&self.issuer.id, before, most)
                .await?;
            tx.purge_revocations(&self.issuer.id, before, most).await?;
            tx.purge_lineage(&self.issuer.id, before, most).await?;
            tx.purge_ended(&self.issuer.id, ended_before, most).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

/// The issuer with those settings. Fails unless the key-encryption key decrypts what is sealed.
async fn assemble(
    store: &Store,
    settings: IssuerSettings,
    sealing: Sealing,
    ports: Ports,
    ledger: &Ledger,
) -> Result<Issuer, HostError> {
    let pepper = open_pepper(store, &settings, &sealing).await?;
    let mut tx = store.read().await?;
    let head = tx
        .head(&settings.id)
        .await?
        .ok_or_else(|| StoreError::corrupt("the issuer's head row is missing"))?;
    let policy = Policy::load(&mut tx, &settings.id, &sealing, None).await?;
    tx.rollback().await?;
    let secrets = Secrets::new(pepper, &*ports.random)?;
    let trusted_keys = TrustedKeys::new(
        Arc::clone(&ports.fetcher),
        Arc::clone(&ports.clock),
        store.clone(),
        settings.id.clone(),
    );
    Ok(Issuer {
        id: settings.id,
        url: settings.url,
        store: store.clone(),
        trusted_keys,
        ports,
        ledger: ledger.clone(),
        registry: Registry::new(policy, head.registry_version, store.cold_reads()),
        sealing: Arc::new(sealing),
        secrets,
        renewals: crate::issuer::change::Renewals::default(),
        held_up: crate::issuer::rotation::HeldUp::default(),
        kept_list: crate::issuer::revocation_list::KeptList::default(),
        readiness: crate::issuer::readiness::Readiness::default(),
    })
}
