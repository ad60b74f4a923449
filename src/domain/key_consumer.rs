//! Key consumers: relying parties that were given the issuer's keys themselves (a JWK array registered
//! inline, a published copy) and do not fetch the JWKS. A new key may sign only once each of them has
//! confirmed to hold it; else its tokens fail there.

use std::collections::BTreeSet;

use super::name::Name;
use crate::ports::time::UnixTime;

/// Most consumers of an issuer: each holds up every rotation until it is acknowledged.
pub const KEY_CONSUMERS_MAX: usize = 64;
/// Most key ids in one acknowledgement: an issuer publishes a handful.
pub const ACKNOWLEDGED_MAX: usize = 64;

/// One that holds a copy of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConsumer {
    /// Its name.
    pub name: Name,
    /// Who it is and where its copy lies; may be empty.
    pub description: String,
    /// When it was made.
    pub created_at: UnixTime,
    /// The ids of the keys that it has confirmed to hold; retired and revoked ones stay in it.
    pub acknowledged: BTreeSet<String>,
}

impl KeyConsumer {
    /// True when it has confirmed to hold the key.
    #[must_use]
    pub fn holds(&self, kid: &str) -> bool {
        self.acknowledged.contains(kid)
    }
}

/// The names of those that have not confirmed to hold the key.
#[must_use]
pub fn waiting_for(kid: &str, consumers: &[KeyConsumer]) -> Vec<Name> {
    consumers
        .iter()
        .filter(|consumer| !consumer.holds(kid))
        .map(|consumer| consumer.name.clone())
        .collect()
}
