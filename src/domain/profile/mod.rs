//! What a kind of relying party demands of a token: its `typ`, its algorithms, its longest life.
//! One file per relying party; `Profile` is the list.

mod claude;
mod generic;

use super::token_typ::TokenTyp;
use crate::jose::algorithm::SigningAlgorithm;

/// A kind of relying party.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Profile {
    /// A resource server that follows RFC 9068.
    Generic,
    /// Claude Workload Identity Federation.
    Claude,
}

/// The demands of one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demands {
    /// The `typ` headers of the access token that the relying party accepts; the first is the default.
    pub typs: &'static [TokenTyp],
    /// Algorithms the relying party verifies; the first is the default, unless the issuer's own
    /// default is among them.
    pub algorithms: &'static [SigningAlgorithm],
    /// Default lifetime of a token in seconds; `None`: the issuer's default.
    pub default_lifetime: Option<i64>,
    /// Longest life in seconds that the relying party takes; `None`: the issuer's maximum alone counts.
    pub max_lifetime: Option<i64>,
    /// The audience when none is given; `None`: one must be given.
    pub default_identifier: Option<&'static str>,
    /// Whether it takes tokens made by token exchange when the resource does not say.
    pub allow_delegation: bool,
    /// Whether it checks that a token comes with a proof of the key that it is bound to (RFC 9449 §7).
    pub takes_bound_tokens: bool,
}

impl Profile {
    /// All profiles.
    pub const ALL: [Self; 2] = [Self::Generic, Self::Claude];

    /// The profile's name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::Claude => "claude",
        }
    }

    /// The profile of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|profile| profile.as_str() == text)
    }

    /// What this kind of relying party demands.
    #[must_use]
    pub fn demands(self) -> Demands {
        match self {
            Self::Generic => generic::DEMANDS,
            Self::Claude => claude::DEMANDS,
        }
    }
}
