//! The process: one store, one ledger, one sealing key, and the issuers they serve. Starts them from
//! nothing or from what the database holds, keeps them, and ends them in order.

mod check;

pub use check::{StartCheck, check_start};

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::domain::administrator::{Administrator, AdministratorRole, BOOTSTRAP};
use crate::domain::assertion_audience::AssertionAudience;
use crate::domain::audit::{AuditDraft, AuditEvent, chain};
use crate::domain::id::{AdministratorId, IssuerId};
use crate::domain::name::Name;
use crate::domain::settings::{
    DEFAULT_LIFETIME_SECONDS, DEFAULT_MAX_LIFETIME_SECONDS, DEFAULT_SLUG, IssuerSettings,
};
use crate::domain::subject::SubjectTemplate;
use crate::issuer::cache::{Policy, Registry};
use crate::issuer::change::Touches;
use crate::issuer::keyring::SIGNED_WITH;
use crate::issuer::ledger::{Ledger, ledger};
use crate::issuer::rotation::generate;
use crate::issuer::sealing::{Sealing, SealingError};
use crate::issuer::secrets::{PEPPER_BYTES, Secrets, SecretsError};
use crate::issuer::trusted_keys::TrustedKeys;
use crate::issuer::{Caller, Issuer, IssuerError, Ports};
use crate::jose::algorithm::SigningAlgorithm;
use crate::jose::digest::{base64url, sha256};
use crate::jose::key::SigningKey;
use crate::ports::address::is_loopback_url;
use crate::ports::random::random_bytes;
use crate::store::{Store, StoreError, Tx};

/// How often the process looks whether anything is due: keys to rotate, rows of other replicas to
/// read, used assertions and old revocations to forget. Well below the publish-ahead time of keys.
pub const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(5);
/// Used assertions, revocations and the lineage of tokens are kept this much longer than they are needed, in
/// seconds, so that a clock that is set back opens nothing again.
const KEPT_SECONDS: i64 = 86_400;
/// Used assertions, revoked tokens, marks and lineages each forgotten in one transaction: tokens wait for it.
const PURGE_MAX: u32 = 1_000;
/// Such transactions in one go: 10,000 assertions a second, more than are used.
const PURGES: u32 = 50;
/// What administrator tokens begin with.
const ADMIN_TOKEN_PREFIX: &str = "fma_";
/// The name the pepper is sealed under.
const PEPPER: &str = "pepper";

/// Where the key-encryption key is.
#[derive(Clone, Debug)]
pub enum KekSource {
    /// Given outright; the second half says where.
    Text(SecretString, String),
    /// In this file, which is made at the first start.
    File(PathBuf),
}

/// What a process is started with.
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
    /// Settings of an issuer that is made now; one that exists keeps its own.
    pub first_settings: FirstSettings,
    /// Signing keys of an issuer that is made now. For an algorithm that none of them is for, a key is generated:
    /// an RSA key costs a tenth of a second, which a test that starts many issuers can save.
    pub first_keys: Vec<Arc<SigningKey>>,
}

/// Settings of an issuer that does not exist yet.
#[derive(Clone, Copy, Debug)]
pub struct FirstSettings {
    /// Default lifetime of a token in seconds.
    pub default_lifetime: i64,
    /// Longest life of a token in seconds.
    pub max_lifetime: i64,
    /// The algorithm of tokens whose resource names none.
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

/// Why a process does not start. One plain sentence each.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The database, once it was open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database cannot be opened.
    #[error("cannot use {database}: {reason}; {remedy}")]
    Database {
        /// What a person calls it.
        database: String,
        /// The database's or the operating system's reason.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The key-encryption key, or something sealed with it.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The issuer.
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    /// The secret hash.
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    /// The database belongs to another issuer.
    #[error(
        "this database belongs to the issuer {stored}, and the configuration says {configured}; relying parties compare the URL byte for byte, so start with FIRMAN_ISSUER_URL={stored}, or with another database"
    )]
    OtherIssuer {
        /// The URL in the database.
        stored: String,
        /// The URL in the configuration.
        configured: String,
    },
    /// The bootstrap token cannot be written.
    #[error("the administrator's token cannot be written to {}: {source}", path.display())]
    AdminToken {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

impl HostError {
    fn opening(database_url: &str, error: StoreError) -> Self {
        let remedy = match &error {
            StoreError::Unavailable(_) if database_url.starts_with("sqlite:") => {
                "firman must be allowed to write to that file and to its directory"
            }
            StoreError::Unavailable(_) => {
                "check that the server runs, and that FIRMAN_DATABASE_URL names it, a user and a database that exist"
            }
            StoreError::Corrupt { .. } | StoreError::Rejected(_) => {
                "name another with FIRMAN_DATABASE_URL, or restore a backup"
            }
            StoreError::NewerSchema | StoreError::InUse { .. } | StoreError::BadUrl { .. } => {
                return Self::Store(error);
            }
        };
        Self::Database {
            database: Store::name_of(database_url),
            reason: error.reason(),
            remedy,
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
    /// Opens the database, migrates it, unseals what it holds; at the first start makes the issuer,
    /// its signing keys and the bootstrap administrator.
    ///
    /// # Errors
    /// [`HostError`], one sentence for a person.
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
        let pepper = open_pepper(&store, &settings, &sealing).await?;
        let mut tx = store.read().await?;
        let head = tx
            .head(&settings.id)
            .await?
            .ok_or_else(|| StoreError::corrupt("the issuer's head row is missing"))?;
        let policy = Policy::load(&mut tx, &settings.id, &sealing, None).await?;
        tx.rollback().await?;
        let secrets = Secrets::new(pepper, &*ports.random)?;
        let (ledger, task) = ledger();
        let trusted_keys = TrustedKeys::new(
            Arc::clone(&ports.fetcher),
            Arc::clone(&ports.clock),
            store.clone(),
            settings.id.clone(),
        );
        let issuer = Arc::new(Issuer {
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
        });
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

    /// Does what is due now: reads what other replicas changed, rotates keys, forgets used assertions
    /// and revocations that are over. Faults are logged; the next call tries again.
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
                "maintenance could not be done; it is tried again"
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

    /// Writes what is queued and closes the database. Call it after the listeners have drained.
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

    /// Forgets what only tokens and assertions that are long over would need. With nothing to forget it
    /// only reads: every write waits for the disk, and tokens wait for the lock.
    async fn forget(&self) -> Result<(), StoreError> {
        let before = self.issuer.ports().clock.now().plus(-KEPT_SECONDS);
        for _ in 0..PURGES {
            let mut tx = self.store.read().await?;
            let is_due = tx.holds_expired(&self.issuer.id, before).await?;
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
            tx.commit().await?;
        }
        Ok(())
    }

    /// Makes what a new issuer lacks: signing keys, and the first administrator. Decided under the
    /// head row, so that two replicas that start at once make one of each, and a start that was cut
    /// off is completed by the next.
    async fn complete_first_start(&self, options: &HostOptions) -> Result<(), HostError> {
        let issuer = &self.issuer;
        let mut tx = self.store.read().await?;
        let lacks_keys = tx.keys(&issuer.id).await?.is_empty();
        let lacks_administrators = tx.administrators(&issuer.id).await?.is_empty();
        tx.rollback().await?;
        if !lacks_keys && !lacks_administrators {
            return Ok(());
        }
        let mut keys = Vec::new();
        if lacks_keys {
            for algorithm in SIGNED_WITH {
                let mut given = options.first_keys.iter();
                keys.push(match given.find(|key| key.algorithm() == algorithm) {
                    Some(key) => Arc::clone(key),
                    None => Arc::new(generate(algorithm).await?),
                });
            }
        }
        let mut change = issuer.begin(&Caller::system(), Touches::Policy).await?;
        let mut changed = false;
        if lacks_keys && change.tx.keys(&issuer.id).await?.is_empty() {
            issuer.insert_first_keys(&mut change, &keys).await?;
            changed = true;
        }
        if lacks_administrators && change.tx.administrators(&issuer.id).await?.is_empty() {
            let token = write_admin_token(&options.admin_token_file, &issuer.ports)?;
            let administrator = Administrator {
                id: AdministratorId::new(change.at, &*issuer.ports.random),
                name: Name::parse(BOOTSTRAP).map_err(IssuerError::from)?,
                role: AdministratorRole::Owner,
                token_digest: sha256(token.as_bytes()),
                expires_at: None,
                revoked_at: None,
                created_at: change.now(),
            };
            change
                .tx
                .insert_administrator(&issuer.id, &administrator)
                .await?;
            let detail = serde_json::json!({ "role": administrator.role.as_str() });
            change.audit(
                AuditEvent::AdministratorCreated,
                format!("administrator:{BOOTSTRAP}"),
                None,
                &detail,
            );
            changed = true;
        }
        if changed {
            Ok(issuer.end(change).await?)
        } else {
            Ok(change.tx.rollback().await?)
        }
    }
}

/// Finds the default issuer and the key it is sealed with, or makes both.
async fn open_issuer(
    store: &Store,
    options: &HostOptions,
    ports: &Ports,
) -> Result<(IssuerSettings, Sealing), HostError> {
    let mut tx = store.read().await?;
    let stored = tx.issuer_by_slug(DEFAULT_SLUG).await?;
    tx.rollback().await?;
    if let Some(stored) = stored {
        let sealing = match &options.kek {
            KekSource::Text(text, origin) => Sealing::from_text(text.expose_secret(), origin)?,
            KekSource::File(path) => Sealing::from_file(path)?,
        };
        if stored.url == options.issuer_url {
            return Ok((stored, sealing));
        }
        // With a wrong key the start is going to be refused: before it changes anything.
        open_pepper(store, &stored, &sealing).await?;
        return Ok((
            move_loopback_issuer(store, stored, options, ports).await?,
            sealing,
        ));
    }
    let sealing = first_sealing(&options.kek, ports)?;
    let now = ports.clock.now_millis();
    let settings = IssuerSettings {
        id: IssuerId::new(now, &*ports.random),
        slug: DEFAULT_SLUG.to_owned(),
        url: options.issuer_url.clone(),
        subject_template: SubjectTemplate::parse(SubjectTemplate::DEFAULT)
            .map_err(IssuerError::from)?,
        default_lifetime: options.first_settings.default_lifetime,
        max_lifetime: options.first_settings.max_lifetime,
        default_algorithm: options.first_settings.default_algorithm,
        assertion_audience: AssertionAudience::default(),
        version: 0,
    };
    let pepper = Zeroizing::new(random_bytes::<PEPPER_BYTES>(&*ports.random));
    let sealed = sealing.seal(&settings.id, PEPPER, &*pepper, &*ports.random)?;
    let mut tx = store.write().await?;
    if !tx.insert_issuer(&settings, now.seconds()).await? {
        // Another replica was first: use what it made.
        tx.rollback().await?;
        let mut tx = store.read().await?;
        let stored = tx.issuer_by_slug(DEFAULT_SLUG).await?;
        tx.rollback().await?;
        let stored = stored.ok_or_else(|| StoreError::corrupt("the issuer's row is missing"))?;
        if stored.url != options.issuer_url {
            return Err(HostError::OtherIssuer {
                stored: stored.url,
                configured: options.issuer_url.clone(),
            });
        }
        return Ok((stored, sealing));
    }
    tx.insert_sealed_secret(&settings.id, PEPPER, &sealed)
        .await?;
    append_system_entry(
        &mut tx,
        &settings,
        ports,
        AuditEvent::IssuerCreated,
        &serde_json::json!({ "url": settings.url }),
    )
    .await?;
    tx.commit().await?;
    Ok((settings, sealing))
}

/// The key of a new issuer: the one that is there, or one that is made.
fn first_sealing(kek: &KekSource, ports: &Ports) -> Result<Sealing, SealingError> {
    let path = match kek {
        KekSource::Text(text, origin) => return Sealing::from_text(text.expose_secret(), origin),
        KekSource::File(path) => path,
    };
    match Sealing::from_file(path) {
        Err(SealingError::Missing { .. }) => match Sealing::create_file(path, &*ports.random) {
            // Another replica with the same folder was first: its key is whole, and is ours.
            Err(SealingError::File { source, .. })
                if source.kind() == std::io::ErrorKind::AlreadyExists =>
            {
                Sealing::from_file(path)
            }
            made => made,
        },
        found => found,
    }
}

/// Unseals the pepper, which every issuer has from its first row on: the proof that the
/// key-encryption key is the right one.
async fn open_pepper(
    store: &Store,
    settings: &IssuerSettings,
    sealing: &Sealing,
) -> Result<Zeroizing<Vec<u8>>, HostError> {
    let mut tx = store.read().await?;
    let sealed = tx.sealed_secret(&settings.id, PEPPER).await?;
    tx.rollback().await?;
    let sealed = sealed.ok_or_else(|| StoreError::corrupt("the sealed pepper is missing"))?;
    Ok(sealing.open(&settings.id, PEPPER, &sealed)?)
}

/// An issuer on loopback is somebody's own machine: its port may change, no relying party pins it.
/// Any other issuer's URL is never changed behind the back of those who trust it.
async fn move_loopback_issuer(
    store: &Store,
    stored: IssuerSettings,
    options: &HostOptions,
    ports: &Ports,
) -> Result<IssuerSettings, HostError> {
    if !is_loopback_url(&stored.url) || !is_loopback_url(&options.issuer_url) {
        return Err(HostError::OtherIssuer {
            stored: stored.url,
            configured: options.issuer_url.clone(),
        });
    }
    let mut tx = store.write().await?;
    tx.lock_head(&stored.id).await?;
    let version = tx.bump_registry_version(&stored.id, true).await?;
    let moved = IssuerSettings {
        url: options.issuer_url.clone(),
        version,
        ..stored.clone()
    };
    tx.update_issuer(&moved, ports.clock.now()).await?;
    let detail = serde_json::json!({ "url": { "old": stored.url, "new": moved.url } });
    append_system_entry(&mut tx, &moved, ports, AuditEvent::IssuerChanged, &detail).await?;
    tx.commit().await?;
    tracing::warn!(
        old = stored.url,
        new = moved.url,
        "the issuer on loopback has another address now; tokens of the old one no longer match"
    );
    Ok(moved)
}

async fn append_system_entry(
    tx: &mut Tx,
    settings: &IssuerSettings,
    ports: &Ports,
    event: AuditEvent,
    detail: &serde_json::Value,
) -> Result<(), StoreError> {
    let head = tx
        .lock_head(&settings.id)
        .await?
        .ok_or_else(|| StoreError::corrupt("the issuer's head row is missing"))?;
    let draft = AuditDraft {
        target: format!("issuer:{}", settings.slug),
        ..AuditDraft::new(ports.clock.now_millis(), event, "system", detail)
    };
    let entries = chain(settings.id.as_str(), head.chain(), vec![draft]);
    tx.append_audit(&settings.id, &entries).await?;
    match entries.last() {
        Some(last) => tx.set_head(&settings.id, last.into(), None).await,
        None => Ok(()),
    }
}

/// Makes the bootstrap token and writes it, for its owner only, before its digest is stored: a crash
/// between the two leaves a token that opens nothing and is replaced at the next start.
fn write_admin_token(path: &Path, ports: &Ports) -> Result<Zeroizing<String>, HostError> {
    let fault = |source| HostError::AdminToken {
        path: path.to_owned(),
        source,
    };
    let bits = Zeroizing::new(random_bytes::<32>(&*ports.random));
    let token = Zeroizing::new(format!("{ADMIN_TOKEN_PREFIX}{}", base64url(&*bits)));
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(fault)?;
    // A temporary file of mode 0600 in the same folder, then a rename: never a half-written token.
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fault)?;
    std::io::Write::write_all(&mut file, token.as_bytes())
        .and_then(|()| file.as_file().sync_all())
        .map_err(fault)?;
    file.persist(path).map_err(|error| fault(error.error))?;
    Ok(token)
}
