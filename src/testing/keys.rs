//! Fixed key pairs of agents, so that a test does not spend a second on an RSA key. Every copy of this program
//! contains them: they do not protect anything.

use std::sync::{Arc, OnceLock};

use crate::jose::algorithm::SigningAlgorithm;
use crate::jose::key::SigningKey;

/// A fixed key pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TestKey {
    /// P-256, ES256.
    Es256,
    /// Another P-256 key.
    Es256Second,
    /// A third P-256 key.
    Es256Third,
    /// P-384, ES384.
    Es384,
    /// RSA 2048, RS256.
    Rs256,
    /// The same RSA key, signing PS256.
    Ps256,
    /// Ed25519.
    EdDsa,
}

const COUNT: usize = 7;

impl TestKey {
    /// All of them.
    pub const ALL: [Self; COUNT] = [
        Self::Es256,
        Self::Es256Second,
        Self::Es256Third,
        Self::Es384,
        Self::Rs256,
        Self::Ps256,
        Self::EdDsa,
    ];

    /// The parsed key pair.
    ///
    /// # Panics
    /// Never: the files are part of the program.
    #[must_use]
    pub fn signing_key(self) -> Arc<SigningKey> {
        static PARSED: [OnceLock<Arc<SigningKey>>; COUNT] = [const { OnceLock::new() }; COUNT];
        let (slot, algorithm, pem) = match self {
            Self::Es256 => (0, SigningAlgorithm::Es256, include_str!("keys/es256-1.pem")),
            Self::Es256Second => (1, SigningAlgorithm::Es256, include_str!("keys/es256-2.pem")),
            Self::Es256Third => (2, SigningAlgorithm::Es256, include_str!("keys/es256-3.pem")),
            Self::Es384 => (3, SigningAlgorithm::Es384, include_str!("keys/es384.pem")),
            Self::Rs256 => (4, SigningAlgorithm::Rs256, include_str!("keys/rsa.pem")),
            Self::Ps256 => (5, SigningAlgorithm::Ps256, include_str!("keys/rsa.pem")),
            Self::EdDsa => (6, SigningAlgorithm::EdDsa, include_str!("keys/ed25519.pem")),
        };
        let key = PARSED[slot].get_or_init(|| {
            let parsed = SigningKey::from_pkcs8_pem(Some(algorithm), pem);
            Arc::new(parsed.expect("a key of ours"))
        });
        Arc::clone(key)
    }
}

/// The first RS256 key of every [`TestIssuer`](super::TestIssuer): no test waits for one to be generated.
///
/// # Panics
/// Never: the file is part of the program.
pub(super) fn issuer_rsa_key() -> Arc<SigningKey> {
    static PARSED: OnceLock<Arc<SigningKey>> = OnceLock::new();
    let key = PARSED.get_or_init(|| {
        let pem = include_str!("keys/issuer-rsa.pem");
        let parsed = SigningKey::from_pkcs8_pem(Some(SigningAlgorithm::Rs256), pem);
        Arc::new(parsed.expect("a key of ours"))
    });
    Arc::clone(key)
}
