//! Why a process does not start.

use std::path::PathBuf;

use crate::domain::remedy::Remedy;
use crate::issuer::IssuerError;
use crate::issuer::sealing::SealingError;
use crate::issuer::secrets::SecretsError;
use crate::ports::cause::reason;
use crate::store::{Store, StoreError};

/// Why a process does not start. One sentence each; what to do about it is apart, in [`HostError::remedy`].
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The database, after it was opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database cannot be opened.
    #[error("cannot use {database}: {reason}")]
    Database {
        /// Its name for people.
        database: String,
        /// The database's or the operating system's reason.
        reason: String,
        /// What to do about it.
        remedy: Remedy,
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
    /// The database belongs to another issuer. Relying parties compare its URL byte for byte.
    #[error("the database belongs to the issuer `{stored}`, not to the configured `{configured}`")]
    OtherIssuer {
        /// The URL in the database.
        stored: String,
        /// The URL in the configuration.
        configured: String,
    },
    /// The database does not contain an issuer.
    #[error("{database} does not contain an issuer")]
    NotMade {
        /// Its name for people.
        database: String,
    },
    /// The schema is that of an earlier version.
    #[error("{database} has the schema of an earlier version of firman")]
    Pending {
        /// Its name for people.
        database: String,
    },
    /// The bootstrap token cannot be written.
    #[error("cannot write the administrator's token to `{}`: {}", path.display(), reason(source))]
    AdminToken {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
}

impl HostError {
    /// What an operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Issuer(error) => error.remedy(),
            Self::NotMade { .. } => Some(Remedy::action(
                "run this where `firman serve` runs, with the same configuration",
            )),
            Self::Pending { .. } => Some(Remedy::action(
                "start the server once with this version, which migrates the database",
            )),
            Self::Store(error) => error.remedy(),
            Self::Database { remedy, .. } => Some(remedy.clone()),
            Self::Sealing(error) => error.remedy(),
            Self::OtherIssuer { stored, .. } => Some(Remedy::action(format!(
                "start with `FIRMAN_ISSUER_URL={stored}`, or use another database"
            ))),
            Self::Secrets(_) | Self::AdminToken { .. } => None,
        }
    }

    pub(super) fn opening(database_url: &str, error: StoreError) -> Self {
        let remedy = match &error {
            StoreError::Unavailable(_) if database_url.starts_with("sqlite:") => {
                "allow firman to write to that file and to its directory"
            }
            StoreError::Unavailable(_) => {
                "check that the server runs, and that `FIRMAN_DATABASE_URL` names it, a user and a database that exist"
            }
            StoreError::Corrupt { .. } | StoreError::Rejected(_) => {
                "name another database with `FIRMAN_DATABASE_URL`, or restore a backup"
            }
            StoreError::NewerSchema | StoreError::InUse { .. } | StoreError::BadUrl { .. } => {
                return Self::Store(error);
            }
        };
        Self::Database {
            database: Store::name_of(database_url),
            reason: error.reason(),
            remedy: Remedy::action(remedy),
        }
    }
}
