//! Why a process does not start.

use std::path::PathBuf;

use crate::domain::remedy::Remedy;
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
    /// The database does not contain an issuer.
    #[error("{database} does not contain an issuer")]
    NotMade {
        /// What a person calls it.
        database: String,
    },
    /// The schema is that of an earlier version.
    #[error("{database} belongs to an earlier version of firman")]
    Pending {
        /// What a person calls it.
        database: String,
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
    /// What to do about it, where the sentence does not say so.
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
            Self::Store(_)
            | Self::Database { .. }
            | Self::Sealing(_)
            | Self::Secrets(_)
            | Self::OtherIssuer { .. }
            | Self::AdminToken { .. } => None,
        }
    }

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
