//! The signing keys in memory: parsed once, with the JWKS and the discovery document rendered, so that neither
//! issuing a token nor fetching the JWKS costs any parsing.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use serde_json::json;

use crate::domain::id::IssuerId;
use crate::domain::signing_key::{KeyState, SigningKeyRecord};
use crate::jose::algorithm::SigningAlgorithm;
use crate::jose::digest::{base64url, sha256};
use crate::jose::jwk::PublicJwk;
use crate::jose::key::SigningKey;
use crate::store::StoredKey;

use super::sealing::{Sealing, SealingError};

/// The algorithms that an issuer keeps keys for.
pub const SIGNED_WITH: [SigningAlgorithm; 2] = [SigningAlgorithm::Es256, SigningAlgorithm::Rs256];

/// How long a verifier may keep the JWKS, in seconds: well below the publish-ahead time, so that
/// every verifier knows a key before it signs.
pub const JWKS_MAX_AGE_SECONDS: u32 = 300;

/// Why the keys in the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// A private key cannot be unsealed.
    #[error(transparent)]
    Sealing(#[from] SealingError),
    /// The unsealed key does not match its `kid`.
    #[error("signing key `{kid}` is damaged: {problem}")]
    Damaged {
        /// Its key id.
        kid: String,
        /// What is wrong.
        problem: String,
    },
}

/// A document with its entity tag.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// The bytes that are served.
    pub body: bytes::Bytes,
    /// A strong entity tag (RFC 9110 §8.8.3), including quotes.
    pub etag: String,
}

impl Rendered {
    /// Renders a JSON document.
    #[must_use]
    pub fn json(document: &serde_json::Value) -> Self {
        Self::of(bytes::Bytes::from(document.to_string()))
    }

    /// Wraps a document that is already rendered.
    #[must_use]
    pub fn of(body: bytes::Bytes) -> Self {
        let etag = format!("\"{}\"", &base64url(&sha256(&body))[..22]);
        Self { body, etag }
    }
}

/// All keys that are published, and the active one per algorithm.
pub struct Keyring {
    parsed: HashMap<String, Arc<SigningKey>>,
    active: HashMap<SigningAlgorithm, Arc<SigningKey>>,
    records: Vec<SigningKeyRecord>,
    jwks: Rendered,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(
                self.records
                    .iter()
                    .map(|record| (&record.kid, record.state.as_str())),
            )
            .finish()
    }
}

impl Keyring {
    /// Unseals and parses the keys, except those that `previous` already holds.
    ///
    /// # Errors
    /// When a published key cannot be unsealed or does not match its `kid`.
    pub(crate) fn open(
        issuer: &IssuerId,
        stored: Vec<StoredKey>,
        sealing: &Sealing,
        previous: Option<&Self>,
    ) -> Result<Self, KeyringError> {
        let mut keyring = Self {
            parsed: HashMap::new(),
            active: HashMap::new(),
            records: Vec::new(),
            jwks: Rendered::json(&json!({"keys": []})),
        };
        let mut published = Vec::new();
        for StoredKey { record, sealed, .. } in stored {
            if record.state.is_published() {
                let key = match previous.and_then(|previous| previous.parsed.get(&record.kid)) {
                    Some(known) => Arc::clone(known),
                    None => Arc::new(unseal(issuer, &record, sealed.as_deref(), sealing)?),
                };
                published.push(
                    key.public_jwk()
                        .to_jwks_entry(&record.kid, record.algorithm),
                );
                if matches!(record.state, KeyState::Active { .. }) {
                    keyring.active.insert(record.algorithm, Arc::clone(&key));
                }
                keyring.parsed.insert(record.kid.clone(), key);
            }
            keyring.records.push(record);
        }
        keyring.jwks = Rendered::json(&json!({ "keys": published }));
        Ok(keyring)
    }

    /// The key that signs with `algorithm`, if there is one.
    #[must_use]
    pub fn active(&self, algorithm: SigningAlgorithm) -> Option<&Arc<SigningKey>> {
        self.active.get(&algorithm)
    }

    /// The public half of a published key, for verification.
    #[must_use]
    pub fn verifying(&self, kid: &str) -> Option<&PublicJwk> {
        self.parsed.get(kid).map(|key| key.public_jwk())
    }

    /// The records of all keys, the newest last.
    #[must_use]
    pub fn records(&self) -> &[SigningKeyRecord] {
        &self.records
    }

    /// The JWK set document (RFC 7517 §5).
    #[must_use]
    pub fn jwks(&self) -> &Rendered {
        &self.jwks
    }
}

/// The name that a signing key is sealed under.
#[must_use]
pub fn sealed_name(kid: &str) -> String {
    format!("signing key {kid}")
}

fn unseal(
    issuer: &IssuerId,
    record: &SigningKeyRecord,
    sealed: Option<&[u8]>,
    sealing: &Sealing,
) -> Result<SigningKey, KeyringError> {
    let damaged = |problem: &str| KeyringError::Damaged {
        kid: record.kid.clone(),
        problem: problem.to_owned(),
    };
    let sealed = sealed.ok_or_else(|| damaged("its private half is missing"))?;
    let der = sealing.open(issuer, &sealed_name(&record.kid), sealed)?;
    let key = SigningKey::from_pkcs8_der(record.algorithm, &der)
        .map_err(|error| damaged(&error.to_string()))?;
    if key.kid() == record.kid {
        Ok(key)
    } else {
        Err(damaged("its private half belongs to another kid"))
    }
}
