//! The signature algorithms that firman signs with and accepts (RFC 7518 §3.1, RFC 8037 §3.1). A closed list of
//! asymmetric ones: `none` and the HMAC family cannot be named, let alone chosen.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A JWS signature algorithm, as the `alg` member spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SigningAlgorithm {
    /// ECDSA over P-256 with SHA-256: the default.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA over P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a 32-byte salt.
    #[serde(rename = "PS256")]
    Ps256,
    /// Ed25519.
    #[serde(rename = "EdDSA", alias = "Ed25519")]
    EdDsa,
}

impl SigningAlgorithm {
    /// Every algorithm, in the order discovery lists them.
    pub const ALL: [Self; 5] = [
        Self::Es256,
        Self::Es384,
        Self::Rs256,
        Self::Ps256,
        Self::EdDsa,
    ];

    /// The `alg` value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm spelled `name`; names are case-sensitive (RFC 7515 §4.1.1). `None` for every
    /// other name, `none` included. `Ed25519` is RFC 9864's name for what `EdDSA` means here; newer
    /// client libraries send only that one.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }
}

impl fmt::Display for SigningAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The kind of a key, which decides the algorithms that it can be used with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyType {
    /// `kty` EC, `crv` P-256.
    P256,
    /// `kty` EC, `crv` P-384.
    P384,
    /// `kty` RSA.
    Rsa,
    /// `kty` OKP, `crv` Ed25519.
    Ed25519,
}

impl KeyType {
    /// The kind of key that `algorithm` requires.
    #[must_use]
    pub const fn of(algorithm: SigningAlgorithm) -> Self {
        match algorithm {
            SigningAlgorithm::Es256 => Self::P256,
            SigningAlgorithm::Es384 => Self::P384,
            SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 => Self::Rsa,
            SigningAlgorithm::EdDsa => Self::Ed25519,
        }
    }

    /// The algorithms that a key of this kind can verify, the usual one first.
    #[must_use]
    pub const fn algorithms(self) -> &'static [SigningAlgorithm] {
        match self {
            Self::P256 => &[SigningAlgorithm::Es256],
            Self::P384 => &[SigningAlgorithm::Es384],
            Self::Rsa => &[SigningAlgorithm::Rs256, SigningAlgorithm::Ps256],
            Self::Ed25519 => &[SigningAlgorithm::EdDsa],
        }
    }

    /// Its common name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::P256 => "EC P-256",
            Self::P384 => "EC P-384",
            Self::Rsa => "RSA",
            Self::Ed25519 => "Ed25519",
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_names_and_other_spellings_are_no_algorithms() {
        for name in [
            "", "none", "None", "NONE", "HS256", "HS384", "HS512", "ES512", "ES521", "ES256K",
            "RS384", "RS512", "PS384", "PS512", "es256", "ES256 ", "EDDSA", "eddsa", "ed25519",
            "RSA-OAEP", "dir",
        ] {
            assert_eq!(SigningAlgorithm::parse(name), None, "{name}");
        }
    }

    #[test]
    fn every_algorithm_reads_back_from_its_name_and_from_json() {
        for algorithm in SigningAlgorithm::ALL {
            assert_eq!(SigningAlgorithm::parse(algorithm.as_str()), Some(algorithm));
            assert_eq!(algorithm.to_string(), algorithm.as_str());
            let json = serde_json::to_string(&algorithm).unwrap();
            assert_eq!(json, format!("\"{algorithm}\""));
            assert_eq!(
                serde_json::from_str::<SigningAlgorithm>(&json).unwrap(),
                algorithm
            );
        }
    }
}
