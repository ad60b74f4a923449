//! Words and rules: what an agent, a role, a resource, a credential *is*, and which values are
//! well-formed. No I/O, no async, no SQL, no HTTP. Everything here is parsed once at the edge and
//! trusted afterwards.

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

/// A value from outside that is not well-formed. The message says what is wrong and what is allowed;
/// it never repeats more than a short, escaped part of the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The member or parameter concerned, as the caller spells it.
    pub field: &'static str,
    /// What is wrong with it and what would be right.
    pub problem: String,
    /// What to do about it, if it is more than another value.
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

    /// The same error with what to do about it.
    #[must_use]
    pub fn with_remedy(self, remedy: Remedy) -> Self {
        Self {
            remedy: Some(remedy),
            ..self
        }
    }
}
