//! Opens the default issuer of a database, or makes it: its row, its sealed pepper, its first audit entry.

use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{HostError, HostOptions, KekSource};
use crate::domain::assertion_audience::AssertionAudience;
use crate::domain::audit::{AuditDraft, AuditEvent, chain};
use crate::domain::id::IssuerId;
use crate::domain::settings::{DEFAULT_SLUG, IssuerSettings};
use crate::domain::subject::SubjectTemplate;
use crate::issuer::sealing::{Sealing, SealingError};
use crate::issuer::secrets::PEPPER_BYTES;
use crate::issuer::{IssuerError, Ports};
use crate::ports::address::is_loopback_url;
use crate::ports::random::random_bytes;
use crate::store::{Store, StoreError, Tx};

/// The name under which the pepper is sealed.
const PEPPER: &str = "pepper";

/// Finds the default issuer and the key it is sealed with, or makes both.
pub(super) async fn open_issuer(
    store: &Store,
    options: &HostOptions,
    ports: &Ports,
) -> Result<(IssuerSettings, Sealing), HostError> {
    if let Some(stored) = stored_issuer(store).await? {
        let sealing = sealing(&options.kek)?;
        if stored.url == options.issuer_url {
            return Ok((stored, sealing));
        }
        // With a wrong key the start is refused, before it changes anything.
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
        let stored = stored_issuer(store).await?;
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

/// The default issuer as the database has it.
pub(super) async fn stored_issuer(store: &Store) -> Result<Option<IssuerSettings>, StoreError> {
    let mut tx = store.read().await?;
    let stored = tx.issuer_by_slug(DEFAULT_SLUG).await?;
    tx.rollback().await?;
    Ok(stored)
}

/// The key of an existing issuer; does not create one.
pub(super) fn sealing(kek: &KekSource) -> Result<Sealing, SealingError> {
    match kek {
        KekSource::Text(text, origin) => Sealing::from_text(text.expose_secret(), origin),
        KekSource::File(path) => Sealing::from_file(path),
    }
}

/// The key of a new issuer: the existing file, or a new one.
fn first_sealing(kek: &KekSource, ports: &Ports) -> Result<Sealing, SealingError> {
    let path = match kek {
        KekSource::Text(text, origin) => return Sealing::from_text(text.expose_secret(), origin),
        KekSource::File(path) => path,
    };
    match Sealing::from_file(path) {
        Err(SealingError::Missing { .. }) => match Sealing::create_file(path, &*ports.random) {
            // Another replica with the same folder was first: its key is complete, so use it.
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

/// Unseals the pepper, which every issuer has from the start: proof that the key-encryption key is the right
/// one.
pub(super) async fn open_pepper(
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

/// An issuer on loopback is a developer's machine: its port may change, because no relying party pins it. The
/// URL of any other issuer never changes silently.
async fn move_loopback_issuer(
    store: &Store,
    stored: IssuerSettings,
    options: &HostOptions,
    ports: &Ports,
) -> Result<IssuerSettings, HostError> {
    check_may_move(&stored, options)?;
    let mut tx = store.write().await?;
    tx.lock_head(&stored.id).await?;
    // An edit may have been committed since the row was read.
    let stored = tx.issuer_by_slug(DEFAULT_SLUG).await?;
    let stored = stored.ok_or_else(|| StoreError::corrupt("the issuer's row is missing"))?;
    check_may_move(&stored, options)?;
    if stored.url == options.issuer_url {
        // Another process moved it.
        tx.rollback().await?;
        return Ok(stored);
    }
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
        "the loopback issuer's URL changed; tokens issued under the old URL no longer match"
    );
    Ok(moved)
}

fn check_may_move(stored: &IssuerSettings, options: &HostOptions) -> Result<(), HostError> {
    if is_loopback_url(&stored.url) && is_loopback_url(&options.issuer_url) {
        return Ok(());
    }
    Err(HostError::OtherIssuer {
        stored: stored.url.clone(),
        configured: options.issuer_url.clone(),
    })
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
