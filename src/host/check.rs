//! Whether a start would work, without starting: the database is read and not migrated, the key-encryption key
//! decrypts what is sealed, and no file is created.

use std::path::Path;

use super::open::{open_pepper, sealing, stored_issuer};
use super::{HostError, HostOptions, KekSource};
use crate::domain::remedy::Remedy;
use crate::domain::settings::IssuerSettings;
use crate::issuer::sealing::SealingError;
use crate::ports::address::is_loopback_url;
use crate::ports::secret_file::{self, Readers, SecretFileError};
use crate::store::Store;

/// One check and its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartCheck {
    /// What was checked.
    pub what: &'static str,
    /// The result.
    pub found: Result<String, StartFault>,
}

/// What is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartFault {
    /// The fault in one sentence.
    pub detail: String,
    /// What an operator can do about it.
    pub remedy: Option<Remedy>,
}

impl From<HostError> for StartFault {
    fn from(error: HostError) -> Self {
        Self {
            detail: error.to_string(),
            remedy: error.remedy(),
        }
    }
}

/// Checks database, issuer, key-encryption key and bootstrap token as a start with `options` would use them.
pub async fn check_start(options: &HostOptions) -> Vec<StartCheck> {
    let mut checks = Vec::new();
    let mut add = |what, found| checks.push(StartCheck { what, found });
    let name = Store::name_of(&options.database_url);
    match Store::open_read_only(&options.database_url).await {
        Err(error) => {
            let error = HostError::opening(&options.database_url, error);
            add("database", Err(error.into()));
            add(KEY, key_alone(&options.kek));
        }
        Ok(None) => {
            add(
                "database",
                Ok(format!("{name} does not exist; the first start creates it")),
            );
            add(KEY, key_alone(&options.kek));
        }
        Ok(Some(found)) => {
            let stored = stored_issuer(&found.store).await;
            let (state, stored) = match (found.pending, stored) {
                (0, Err(error)) => (Err(HostError::from(error).into()), None),
                (0, Ok(stored)) => (Ok(format!("{name} is up to date")), stored),
                (_, stored) if found.is_empty => (
                    Ok(format!(
                        "{name} is empty; the first start creates the schema"
                    )),
                    stored.ok().flatten(),
                ),
                (pending, stored) => (
                    Ok(format!(
                        "{name} is readable; the next start applies {pending} pending migrations"
                    )),
                    stored.ok().flatten(),
                ),
            };
            add("database", state);
            match stored {
                Some(settings) => {
                    add("issuer", same_issuer(&settings, options));
                    add(KEY, key_of(&found.store, &settings, &options.kek).await);
                }
                None => add(KEY, key_alone(&options.kek)),
            }
            found.store.close().await;
        }
    }
    add("admin token", admin_token(&options.admin_token_file));
    checks
}

const KEY: &str = "key-encryption key";

fn same_issuer(stored: &IssuerSettings, options: &HostOptions) -> Result<String, StartFault> {
    let moves = is_loopback_url(&stored.url) && is_loopback_url(&options.issuer_url);
    if stored.url == options.issuer_url || moves {
        return Ok(options.issuer_url.clone());
    }
    Err(StartFault::from(HostError::OtherIssuer {
        stored: stored.url.clone(),
        configured: options.issuer_url.clone(),
    }))
}

/// The key, when nothing is sealed with it yet.
fn key_alone(kek: &KekSource) -> Result<String, StartFault> {
    match sealing(kek) {
        Ok(_) => Ok(format!("{} is well-formed", place(kek))),
        Err(SealingError::Missing { path }) => Ok(format!(
            "`{}` does not exist; the first start creates it",
            path.display()
        )),
        Err(error) => Err(HostError::from(error).into()),
    }
}

/// The key, which must decrypt the pepper.
async fn key_of(
    store: &Store,
    settings: &IssuerSettings,
    kek: &KekSource,
) -> Result<String, StartFault> {
    let sealing = sealing(kek).map_err(HostError::from)?;
    match open_pepper(store, settings, &sealing).await {
        Ok(_) => Ok(format!(
            "{} decrypts what is sealed in the database",
            place(kek)
        )),
        Err(error) => Err(error.into()),
    }
}

fn place(kek: &KekSource) -> String {
    match kek {
        KekSource::Text(_, origin) => format!("`{origin}`"),
        KekSource::File(path) => format!("`{}`", path.display()),
    }
}

/// The bootstrap token's file, which commands on this machine read.
fn admin_token(path: &Path) -> Result<String, StartFault> {
    match secret_file::read(path, Readers::OwnerOnly) {
        Ok(_) => Ok(format!(
            "`{}` is readable by its owner only",
            path.display()
        )),
        Err(SecretFileError::Unreadable { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(format!(
                "`{}` does not exist; the first start creates it",
                path.display()
            ))
        }
        Err(error) => Err(StartFault {
            detail: error.to_string(),
            remedy: error.hint().map(Remedy::action),
        }),
    }
}
