//! Why a process does not start.

use std::path::PathBuf;

use crate::issuer::IssuerError;
use crate::issuer::sealing::SealingError;
use crate::issuer::secrets::SecretsError;
use crate::store::{Store, StoreError};

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
    pub(super) fn opening(database_url: &str, error: StoreError) -> Self {
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
