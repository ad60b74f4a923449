//! One issuer's operations. Every verb is a method on [`Issuer`], which is also the embedding API: the admin API,
//! the CLI and the token endpoint call nothing else. No HTTP and no SQL here.

pub mod administrators;
pub(crate) mod admission;
pub mod agents;
pub mod audit_log;
pub mod authenticate;
pub mod authority;
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
use crate::domain::administrator::NotAdmitted;
use crate::domain::audit::{AuditDraft, AuditEvent};
use crate::domain::id::IssuerId;
use crate::domain::remedy::Remedy;
use crate::ports::fetch::Fetcher;
use crate::ports::random::Random;
use crate::ports::time::{Clock, UnixMillis};
use crate::store::{Store, StoreError};

use authority::Authority;
use cache::Registry;
use ledger::Ledger;
use sealing::Sealing;
use secrets::Secrets;

/// The ports that every issuer of a process shares.
#[derive(Clone, Debug)]
pub struct Ports {
    /// The wall clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub random: Arc<dyn Random>,
    /// The source of documents that trusted issuers publish.
    pub fetcher: Arc<dyn Fetcher>,
}

/// One issuer: its registry, its keys, its audit chain.
pub struct Issuer {
    pub(crate) id: IssuerId,
    /// The issuer identifier, byte for byte; never derived from a request.
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

    /// The cached policy: settings, roles, groups, resources and keys.
    #[must_use]
    pub fn policy(&self) -> Arc<cache::Policy> {
        self.registry.policy()
    }

    /// The ports of this issuer.
    #[must_use]
    pub fn ports(&self) -> &Ports {
        &self.ports
    }
}

/// The caller of an operation, for the audit.
#[derive(Clone, Debug)]
pub struct Caller {
    /// `administrator:NAME`, `agent:NAME` or `system`.
    pub actor: String,
    /// The id of the request; empty for operations of the process itself.
    pub request_id: String,
    /// The peer's IP address; empty for operations of the process itself.
    pub address: String,
    /// What an administrator may do, which every change looks up again; `None` for all others.
    pub authority: Option<Authority>,
}

impl Caller {
    /// The process itself.
    #[must_use]
    pub fn system() -> Self {
        Self {
            actor: "system".to_owned(),
            request_id: String::new(),
            address: String::new(),
            authority: None,
        }
    }

    /// An audit entry for this request, with `actor` as its actor.
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

/// Why an operation on the registry failed. Nothing was changed, except with [`IssuerError::NotShown`] and perhaps with
/// [`IssuerError::Unconfirmed`].
#[derive(Debug, thiserror::Error)]
pub enum IssuerError {
    /// A value is malformed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The object does not exist.
    #[error("{noun} `{name}` not found")]
    NotFound {
        /// `agent`, `group`, …
        noun: &'static str,
        /// The requested name.
        name: String,
    },
    /// The state of the registry does not allow it.
    #[error("{what}")]
    Conflict {
        /// The state.
        what: String,
        /// What the caller can do about it.
        remedy: Option<Remedy>,
    },
    /// The object changed since the version the caller named.
    #[error("the {noun} was changed by another request: it is now at version {present}")]
    Stale {
        /// `agent`, `group`, …
        noun: &'static str,
        /// The current version.
        present: i64,
    },
    /// The caller may not do this, or no longer.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// The change was made and is durable, but its result cannot be read.
    #[error("the change was made, but its result cannot be shown")]
    NotShown {
        /// The cause.
        source: Box<IssuerError>,
        /// The command that shows the result.
        remedy: Remedy,
    },
    /// A server-side fault: the database, or a key that cannot be used.
    #[error("temporarily unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The commit failed, so that the change may or may not be in the database.
    #[error("the database did not confirm the change, so it may have been made")]
    Unconfirmed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for IssuerError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl IssuerError {
    /// The innermost cause of a server-side fault, in the words of the database or the operating system. For any
    /// other error its own sentence.
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

    /// The same error, after a change was made: `line` is the command that shows the result.
    #[must_use]
    pub fn after_change(self, line: impl Into<String>) -> Self {
        Self::NotShown {
            source: Box::new(self),
            remedy: Remedy::command(line),
        }
    }

    /// The state of the registry does not allow it: `what`.
    pub fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict {
            what: what.into(),
            remedy: None,
        }
    }

    /// The same error with a remedy. Only an error that a caller can act on has one.
    #[must_use]
    pub fn with_remedy(mut self, found: Remedy) -> Self {
        match &mut self {
            Self::Invalid(Invalid { remedy, .. }) | Self::Conflict { remedy, .. } => {
                *remedy = Some(found);
            }
            Self::NotShown { remedy, .. } => *remedy = found,
            Self::NotFound { .. }
            | Self::Stale { .. }
            | Self::NotAdmitted(_)
            | Self::Unavailable(_)
            | Self::Unconfirmed(_) => {}
        }
        self
    }

    /// What the caller can do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Invalid(Invalid { remedy, .. }) | Self::Conflict { remedy, .. } => remedy.clone(),
            Self::NotShown { remedy, .. } => Some(remedy.clone()),
            Self::Stale { .. } => Some(Remedy::action("read it again and repeat the change")),
            Self::Unconfirmed(_) => Some(Remedy::action(
                "check whether the change was made before you repeat it",
            )),
            Self::NotFound { .. } | Self::NotAdmitted(_) | Self::Unavailable(_) => None,
        }
    }

    /// The `noun` of that name does not exist.
    pub fn not_found(noun: &'static str, name: &str) -> Self {
        Self::NotFound {
            noun,
            // Any text may be repeated to a person, so remove characters that control a terminal or hide text.
            name: name
                .chars()
                .filter(|c| c.is_ascii_graphic())
                .take(160)
                .collect(),
        }
    }
}

/// Compares an object's version with the one that the caller saw, if it sent one.
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
