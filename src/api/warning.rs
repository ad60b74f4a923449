//! Warnings about an object that was accepted.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::remedy::Remedy;

/// A warning: the object was accepted, but something about it will not work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Warning {
    /// The fault, in one sentence.
    pub text: String,
    /// The remedy: one command or one action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Warning {
    /// A warning without a hint.
    pub fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            hint: None,
        }
    }

    /// The same warning with a remedy.
    #[must_use]
    pub fn with_remedy(self, remedy: &Remedy) -> Self {
        Self {
            hint: Some(remedy.to_string()),
            ..self
        }
    }
}
