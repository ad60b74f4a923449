//! The requirements of a kind of relying party: `typ`, algorithms, longest lifetime. One file per relying party;
//! `Profile` lists them.

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

/// The requirements of one profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demands {
    /// The `typ` headers of access tokens that the relying party accepts; the first is the default.
    pub typs: &'static [TokenTyp],
    /// The algorithms that the relying party verifies. The first is the default, unless the issuer's own default
    /// is among them.
    pub algorithms: &'static [SigningAlgorithm],
    /// Default lifetime of a token in seconds; `None`: the issuer's default.
    pub default_lifetime: Option<i64>,
    /// Longest lifetime in seconds that the relying party accepts; `None`: only the issuer's maximum applies.
    pub max_lifetime: Option<i64>,
    /// The default audience; `None`: an audience is required.
    pub default_identifier: Option<&'static str>,
    /// Whether it accepts tokens made by token exchange, unless the resource overrides it.
    pub allow_delegation: bool,
    /// Whether it verifies the proof of the key that a token is bound to (RFC 9449 §7).
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

    /// The requirements of this kind of relying party.
    #[must_use]
    pub fn demands(self) -> Demands {
        match self {
            Self::Generic => generic::DEMANDS,
            Self::Claude => claude::DEMANDS,
        }
    }
}
