//! One issuer's operations. Every verb is a method on [`Issuer`], which is also the embedding API:
//! the admin API, the CLI and the token endpoint call nothing else. No HTTP here, and no SQL.

pub mod administrators;
pub(crate) mod admission;
pub mod agents;
pub mod audit_log;
pub mod authenticate;
pub mod authorize;
pub mod cache;
pub mod change;
pub mod claude_links;
pub(crate) mod client_revocation;
pub mod credentials;
pub mod delegations;
pub(crate) mod directory;
pub mod dpop;
mod end_marks;
pub mod explain;
mod external_token;
pub(crate) mod granted;
mod groups;
mod introspect;
mod key_consumers;
pub mod keyring;
pub mod keys;
pub mod ledger;
mod line;
pub mod mint;
pub mod named;
pub mod own_token;
pub mod page;
pub mod readiness;
mod refusals;
mod resources;
pub(crate) mod revocation_list;
pub mod revocations;
mod roles;
pub mod rotation;
pub mod sealing;
pub mod secrets;
mod settings;
pub mod single_use;
mod token_claims;
pub mod trace;
mod trusted_issuers;
pub(crate) mod trusted_keys;

use std::fmt;
use std::sync::Arc;

use crate::domain::Invalid;
use crate::domain::audit::{AuditDraft, AuditEvent};
use crate::domain::id::IssuerId;
use crate::domain::remedy::Remedy;
use crate::ports::fetch::Fetcher;
use crate::ports::random::Random;
use crate::ports::time::{Clock, UnixMillis};
use crate::store::{Store, StoreError};

use cache::Registry;
use ledger::Ledger;
use sealing::Sealing;
use secrets::Secrets;

/// What every issuer of a process shares.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
    /// What fetches documents of trusted issuers.
    pub fetcher: Arc<dyn Fetcher>,
}

/// One issuer: its registry, its keys, its chain.
pub struct Issuer {
    pub(crate) id: IssuerId,
    /// The issuer identifier, byte for byte; never taken from a request.
    pub(crate) url: String,
    pub(crate) store: Store,
    pub(crate) ports: Ports,
    pub(crate) ledger: Ledger,
    pub(crate) registry: Registry,
    pub(crate) sealing: Arc<Sealing>,
    pub(crate) secrets: Secrets,
    pub(crate) renewals: change::Renewals,
    pub(crate) held_up: rotation::HeldUp,
    pub(crate) trusted_keys: trusted_keys::TrustedKeys,
    pub(crate) kept_list: revocation_list::KeptList,
    pub(crate) readiness: readiness::Readiness,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Issuer {
    /// The issuer identifier: `iss` of every token, byte for byte.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The policy as it is known here: settings, roles, groups, resources and keys.
    #[must_use]
    pub fn policy(&self) -> Arc<cache::Policy> {
        self.registry.policy()
    }

    /// The ports it was made with.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }
}

/// Who asks for an operation, for the audit.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `administrator:NAME`, `agent:NAME` or `system`.
    pub actor: String,
    /// The id of the request; empty for what the process does on its own.
    pub request_id: String,
    /// The peer's IP address; empty for what the process does on its own.
    pub address: String,
}

impl Caller {
    /// The process itself.
    #[must_use]
    pub fn system() -> Self {
        Self {
            actor: "system".to_owned(),
            request_id: String::new(),
            address: String::new(),
        }
    }

    /// An audit entry that belongs to this request, with `actor` as who did it.
    #[must_use]
    pub fn draft(
        &self,
        at: UnixMillis,
        event: AuditEvent,
        actor: impl Into<String>,
        detail: &impl serde::Serialize,
    ) -> AuditDraft {
        AuditDraft {
            request_id: self.request_id.clone(),
            address: self.address.clone(),
            ..AuditDraft::new(at, event, actor, detail)
        }
    }
}

/// Why an operation on the registry did not happen. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// A value is not well-formed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The object does not exist.
    #[error("{noun} `{name}` not found")]
    NotFound {
        /// `agent`, `group`, …
        noun: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The registry is in a state that forbids it.
    #[error("{what}")]
    Conflict {
        /// Which state.
        what: String,
        /// What to do about it.
        remedy: Option<Remedy>,
    },
    /// The object changed since the version the caller named.
    #[error("the {noun} was changed by another request: it is now at version {present}")]
    Stale {
        /// `agent`, `group`, …
        noun: &'static str,
        /// The version it has now.
        present: i64,
    },
    /// The caller may not do this.
    #[error("{what}")]
    Forbidden {
        /// What it takes.
        what: String,
        /// What to do about it.
        remedy: Option<Remedy>,
    },
    /// A fault of ours: the database, or a key that cannot be used.
    #[error("temporarily unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for IssuerError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl IssuerError {
    /// The innermost cause of a fault of ours, in the words of the database or the operating system; of anything
    /// else its sentence.
    #[must_use]
    pub fn reason(&self) -> String {
        let mut cause: &(dyn std::error::Error + 'static) = self;
        while let Some(inner) = cause.source() {
            cause = inner;
            if let Some(error) = cause.downcast_ref::<StoreError>() {
                return error.reason();
            }
        }
        cause.to_string()
    }

    /// The registry is in a state that forbids it: `what`.
    pub fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict {
            what: what.into(),
            remedy: None,
        }
    }

    /// The same error with what to do about it. Only an error that a caller can act on carries a remedy.
    #[must_use]
    pub fn with_remedy(mut self, found: Remedy) -> Self {
        match &mut self {
            Self::Invalid(Invalid { remedy, .. })
            | Self::Conflict { remedy, .. }
            | Self::Forbidden { remedy, .. } => *remedy = Some(found),
            Self::NotFound { .. } | Self::Stale { .. } | Self::Unavailable(_) => {}
        }
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Invalid(Invalid { remedy, .. })
            | Self::Conflict { remedy, .. }
            | Self::Forbidden { remedy, .. } => remedy.clone(),
            Self::Stale { .. } => Some(Remedy::action("read it again and repeat the change")),
            Self::NotFound { .. } | Self::Unavailable(_) => None,
        }
    }

    /// The `noun` of that name does not exist.
    pub fn not_found(noun: &'static str, name: &str) -> Self {
        Self::NotFound {
            noun,
            // Whatever it is, it is repeated to a person: nothing that a terminal acts on or that hides.
            name: name
                .chars()
                .filter(|c| c.is_ascii_graphic())
                .take(160)
                .collect(),
        }
    }
}

/// Compares an object's version with the one the caller saw, if the caller said.
///
/// # Errors
/// [`IssuerError::Stale`] when they differ.
pub fn check_version(
    noun: &'static str,
    present: i64,
    expected: Option<i64>,
) -> Result<(), IssuerError> {
    match expected {
        Some(version) if version != present => Err(IssuerError::Stale { noun, present }),
        Some(_) | None => Ok(()),
    }
}
