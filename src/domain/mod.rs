//! Words and rules: what an agent, a role, a resource, a credential *is*, and which values are well-formed. No
//! I/O, no async, no SQL, no HTTP. Values are parsed once at the edge and trusted afterwards.

pub mod actor;
pub mod administrator;
pub mod agent;
pub mod assertion_audience;
pub mod audit;
pub mod claims;
pub mod claude_link;
pub mod credential;
pub mod delegation;
pub mod group;
pub mod id;
pub mod key_consumer;
pub mod name;
pub mod profile;
pub mod remedy;
pub mod resource;
pub mod role;
pub mod scope;
pub mod settings;
pub mod signing_key;
pub mod subject;
pub mod text;
pub mod token_typ;
pub mod trusted_issuer;

use remedy::Remedy;

/// A malformed value from outside. The message names the fault and what is allowed; it never repeats more than a
/// short, escaped part of the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The member or parameter concerned, as the caller spells it.
    pub field: &'static str,
    /// The fault and what is allowed.
    pub problem: String,
    /// The remedy, if it is more than another value.
    pub remedy: Option<Remedy>,
}

impl Invalid {
    /// An error about `field`.
    pub fn new(field: &'static str, problem: impl Into<String>) -> Self {
        Self {
            field,
            problem: problem.into(),
            remedy: None,
        }
    }

    /// The same error with a remedy.
    #[must_use]
    pub fn with_remedy(self, remedy: Remedy) -> Self {
        Self {
            remedy: Some(remedy),
            ..self
        }
    }
}
