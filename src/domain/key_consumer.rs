//! Key consumers: relying parties with a copy of the issuer's keys (a JWK array registered inline, a published
//! copy) that do not fetch the JWKS. A new key may sign only once each of them has confirmed that it holds it;
//! otherwise its tokens are rejected there.

use std::collections::BTreeSet;

use super::name::Name;
use crate::ports::time::UnixTime;

/// Most consumers of an issuer: each delays every rotation until it acknowledges the key.
pub const KEY_CONSUMERS_MAX: usize = 64;
/// Most key ids in one acknowledgement: an issuer publishes a handful.
pub const ACKNOWLEDGED_MAX: usize = 64;

/// A relying party that holds a copy of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyConsumer {
    /// Its name.
    pub name: Name,
    /// The relying party and the location of its copy; may be empty.
    pub description: String,
    /// When it was created.
    pub created_at: UnixTime,
    /// The ids of the keys that it has confirmed; retired and revoked ones are kept.
    pub acknowledged: BTreeSet<String>,
}

impl KeyConsumer {
    /// True when it has confirmed the key.
    #[must_use]
    pub fn holds(&self, kid: &str) -> bool {
        self.acknowledged.contains(kid)
    }
}

/// The names of the consumers that have not confirmed the key.
#[must_use]
pub fn waiting_for(kid: &str, consumers: &[KeyConsumer]) -> Vec<Name> {
    consumers
        .iter()
        .filter(|consumer| !consumer.holds(kid))
        .map(|consumer| consumer.name.clone())
        .collect()
}
