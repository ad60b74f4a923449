//! The life of a signing key as facts in the database.

use crate::jose::algorithm::SigningAlgorithm;
use crate::ports::time::UnixTime;

/// A signing key without its private half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyRecord {
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// The one algorithm it signs with.
    pub algorithm: SigningAlgorithm,
    /// Where it is in its life.
    pub state: KeyState,
    /// When it was made, and so first published.
    pub created_at: UnixTime,
    /// The issuer's registry version at its last change.
    pub version: i64,
}

/// `prepared → active → retiring → retired`, or `revoked` from any of the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, not signing yet.
    Prepared,
    /// Published and signing; exactly one per issuer and algorithm.
    Active {
        /// Since when.
        since: UnixTime,
    },
    /// Published until the last token it signed has expired, skew included.
    Retiring {
        /// When it leaves the JWKS.
        until: UnixTime,
    },
    /// Out of the JWKS; its private half is erased.
    Retired {
        /// Since when.
        at: UnixTime,
    },
    /// Out of the JWKS at once; its private half is erased.
    Revoked {
        /// Since when.
        at: UnixTime,
    },
}

impl KeyState {
    /// The state's name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active { .. } => "active",
            Self::Retiring { .. } => "retiring",
            Self::Retired { .. } => "retired",
            Self::Revoked { .. } => "revoked",
        }
    }

    /// The time that goes with the state, for those that have one.
    #[must_use]
    pub fn at(self) -> Option<UnixTime> {
        match self {
            Self::Prepared => None,
            Self::Active { since } => Some(since),
            Self::Retiring { until } => Some(until),
            Self::Retired { at } | Self::Revoked { at } => Some(at),
        }
    }

    /// True while the public half belongs in the JWKS.
    #[must_use]
    pub fn is_published(self) -> bool {
        match self {
            Self::Prepared | Self::Active { .. } | Self::Retiring { .. } => true,
            Self::Retired { .. } | Self::Revoked { .. } => false,
        }
    }
}
