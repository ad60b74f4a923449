//! Whether a start would work, found out without starting: the database is read and not migrated, the
//! key-encryption key opens what is sealed, and no file is made.

use std::path::Path;

use super::open::{open_pepper, sealing, stored_issuer};
use super::{HostError, HostOptions, KekSource};
use crate::domain::settings::IssuerSettings;
use crate::issuer::sealing::SealingError;
use crate::ports::address::is_loopback_url;
use crate::ports::secret_file::{self, Readers, SecretFileError};
use crate::store::Store;

/// What was looked at, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartCheck {
    /// What was looked at.
    pub what: &'static str,
    /// What is so, or what is wrong and what to do about it.
    pub found: Result<String, String>,
}

/// Checks database, issuer, key-encryption key and bootstrap token as a start with `options` would use them.
pub async fn check_start(options: &HostOptions) -> Vec<StartCheck> {
    let mut checks = Vec::new();
    let mut add = |what, found| checks.push(StartCheck { what, found });
    let name = Store::name_of(&options.database_url);
    match Store::open_read_only(&options.database_url).await {
        Err(error) => {
            let error = HostError::opening(&options.database_url, error);
            add("database", Err(error.to_string()));
            add(KEY, key_alone(&options.kek));
        }
        Ok(None) => {
            add(
                "database",
                Ok(format!("{name} does not exist; the first start makes it")),
            );
            add(KEY, key_alone(&options.kek));
        }
        Ok(Some(found)) => {
            let stored = stored_issuer(&found.store).await;
            let state = match (found.pending, &stored) {
                (0, Err(error)) => Err(error.to_string()),
                (0, Ok(_)) => Ok(format!("{name} is up to date")),
                _ if found.is_empty => {
                    Ok(format!("{name} is empty; the first start makes the schema"))
                }
                (pending, _) => Ok(format!(
                    "{name} can be read; the next start applies {pending} pending migrations"
                )),
            };
            add("database", state);
            match stored.ok().flatten() {
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

fn same_issuer(stored: &IssuerSettings, options: &HostOptions) -> Result<String, String> {
    let moves = is_loopback_url(&stored.url) && is_loopback_url(&options.issuer_url);
    if stored.url == options.issuer_url || moves {
        return Ok(options.issuer_url.clone());
    }
    let error = HostError::OtherIssuer {
        stored: stored.url.clone(),
        configured: options.issuer_url.clone(),
    };
    Err(error.to_string())
}

/// The key, where there is nothing yet that it must open.
fn key_alone(kek: &KekSource) -> Result<String, String> {
    match sealing(kek) {
        Ok(_) => Ok(format!("{} is well-formed", place(kek))),
        Err(SealingError::Missing { path }) => Ok(format!(
            "{} does not exist; the first start makes it",
            path.display()
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// The key, which must open the pepper.
async fn key_of(
    store: &Store,
    settings: &IssuerSettings,
    kek: &KekSource,
) -> Result<String, String> {
    let sealing = sealing(kek).map_err(|error| error.to_string())?;
    match open_pepper(store, settings, &sealing).await {
        Ok(_) => Ok(format!(
            "{} opens what is sealed in the database",
            place(kek)
        )),
        Err(error) => Err(error.to_string()),
    }
}

fn place(kek: &KekSource) -> String {
    match kek {
        KekSource::Text(_, origin) => origin.clone(),
        KekSource::File(path) => path.display().to_string(),
    }
}

/// The bootstrap token's file, which commands on this machine read.
fn admin_token(path: &Path) -> Result<String, String> {
    match secret_file::read(path, Readers::OwnerOnly) {
        Ok(_) => Ok(format!("{} is there, for its owner alone", path.display())),
        Err(SecretFileError::Unreadable { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound =>
        {
            Ok(format!(
                "{} does not exist; a first start makes it",
                path.display()
            ))
        }
        Err(error) => Err(error.to_string()),
    }
}
