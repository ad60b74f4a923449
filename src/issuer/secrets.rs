//! Client secrets: generated here, shown once, stored as Argon2id (RFC 9106) with a pepper.
//!
//! A secret is `fmn_`, 256 random bits in base64url, and a checksum, so that malformed input is rejected before
//! any hash is computed and secret scanners recognise it. Its entropy is the protection, so the hash is light; the
//! pepper is stored sealed like the signing keys.
//!
//! Also here: the nonces of RFC 9449, which are authenticated with a key derived from the pepper.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::hmac;
use quick_cache::sync::Cache;
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::domain::id::CredentialId;
use crate::jose::digest::{base64url, decode_base64url, sha256};
use crate::ports::random::{Random, random_bytes};

/// Prefix of every secret.
pub(crate) const PREFIX: &str = "fmn_";
/// Prefix, 43 characters of secret, 6 of checksum.
pub(crate) const SECRET_CHARS: usize = PREFIX.len() + 43 + 6;
/// Length of the pepper, in bytes.
pub(crate) const PEPPER_BYTES: usize = 32;

/// Memory of the hash of a generated secret, in KiB. Its 256 random bits need no slow hash (OWASP ASVS 5.0 6.5.2),
/// and ten thousand agents that reconnect after a restart must not overload the server.
const MEMORY_KIB: u32 = 64;
const PASSES: u32 = 1;
const LANES: u32 = 1;
/// A stored hash that requires more memory than this is rejected: a tampered row must not make the server allocate
/// gigabytes. OWASP's 19 MiB fits.
const MEMORY_KIB_CEILING: u32 = 32 * 1024;
/// The same for passes.
const PASSES_CEILING: u32 = 4;
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;
/// Bytes of a nonce: 128 bits cannot be guessed during its lifetime of minutes.
const NONCE_BYTES: usize = 16;
/// The label that derives the nonce key from the pepper.
const NONCE_LABEL: &[u8] = b"firman dpop nonce 1";
/// Verified secrets that are remembered, so that the next use costs one HMAC.
const REMEMBERED: usize = 50_000;

/// A new secret.
pub(crate) struct NewSecret {
    /// The secret, to be shown once.
    pub plaintext: SecretString,
    /// The stored hash.
    pub hash: String,
}

impl fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NewSecret")
    }
}

/// Why a secret cannot be hashed or verified: a server-side fault.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// The hash function rejected its parameters.
    #[error("Argon2 failed: {0}")]
    Hash(argon2::Error),
    /// A stored hash does not parse, or requires more than the ceiling.
    #[error("a stored secret hash is malformed or asks for more memory or passes than are allowed")]
    StoredHash,
}

/// Generates and verifies client secrets.
pub(crate) struct Secrets {
    pepper: Zeroizing<Vec<u8>>,
    remembering: hmac::Key,
    nonces: hmac::Key,
    remembered: Cache<[u8; 32], ()>,
    /// Verified for an unknown client, so that the timing is the same.
    decoy: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    /// Uses `pepper`.
    ///
    /// # Errors
    /// When the hash function rejects its parameters.
    pub(crate) fn new(
        pepper: Zeroizing<Vec<u8>>,
        random: &dyn Random,
    ) -> Result<Self, SecretsError> {
        let key = Zeroizing::new(random_bytes::<32>(random));
        let remembering = hmac::Key::new(hmac::HMAC_SHA256, &*key);
        let pepper_key = hmac::Key::new(hmac::HMAC_SHA256, &pepper);
        let nonces = hmac::Key::new(
            hmac::HMAC_SHA256,
            hmac::sign(&pepper_key, NONCE_LABEL).as_ref(),
        );
        let mut secrets = Self {
            pepper,
            remembering,
            nonces,
            remembered: Cache::new(REMEMBERED),
            decoy: String::new(),
        };
        secrets.decoy = secrets.issue(random)?.hash;
        Ok(secrets)
    }

    /// Generates a secret.
    ///
    /// # Errors
    /// When the hash function fails.
    pub(crate) fn issue(&self, random: &dyn Random) -> Result<NewSecret, SecretsError> {
        let bits = Zeroizing::new(random_bytes::<32>(random));
        let body = Zeroizing::new(format!("{PREFIX}{}", base64url(&*bits)));
        let plaintext = SecretString::from(format!("{}{}", *body, checksum(&body)));
        let salt = random_bytes::<SALT_BYTES>(random);
        let stored = StoredHash {
            memory: MEMORY_KIB,
            passes: PASSES,
            lanes: LANES,
            salt: salt.to_vec(),
            hash: Vec::new(),
        };
        let hash = self.hash(plaintext.expose_secret(), &stored)?;
        Ok(NewSecret {
            plaintext,
            hash: StoredHash {
                hash: hash.to_vec(),
                ..stored
            }
            .to_phc(),
        })
    }

    /// True when `unverified` is the secret that `stored` was made from.
    ///
    /// # Errors
    /// When the stored hash is malformed or the hash function fails: a server-side fault.
    pub(crate) fn verify(
        &self,
        credential: &CredentialId,
        unverified: &SecretString,
        stored: &str,
    ) -> Result<bool, SecretsError> {
        let unverified = unverified.expose_secret();
        if !is_well_formed(unverified) {
            return Ok(false);
        }
        let memory = self.memory_key(credential, unverified, stored);
        if self.remembered.get(&memory).is_some() {
            return Ok(true);
        }
        let stored = StoredHash::parse(stored).ok_or(SecretsError::StoredHash)?;
        let computed = self.hash(unverified, &stored)?;
        let matches: bool = computed.ct_eq(stored.hash.as_slice()).into();
        if matches {
            self.remembered.insert(memory, ());
        }
        Ok(matches)
    }

    /// Does the work of a failing verification.
    ///
    /// # Errors
    /// When the hash function fails.
    pub(crate) fn verify_decoy(&self, unverified: &SecretString) -> Result<(), SecretsError> {
        if let (true, Some(stored)) = (
            is_well_formed(unverified.expose_secret()),
            StoredHash::parse(&self.decoy),
        ) {
            std::hint::black_box(self.hash(unverified.expose_secret(), &stored)?);
        }
        Ok(())
    }

    /// The nonce of a period: the same on every process that has the pepper, and only they can make it.
    #[must_use]
    pub(crate) fn nonce(&self, period: i64) -> String {
        base64url(&self.nonce_bytes(period))
    }

    /// True when `unverified` is the nonce of that period.
    #[must_use]
    pub(crate) fn is_nonce(&self, unverified: &str, period: i64) -> bool {
        decode_base64url(unverified)
            .is_ok_and(|bytes| bytes.ct_eq(&self.nonce_bytes(period)).into())
    }

    fn nonce_bytes(&self, period: i64) -> [u8; NONCE_BYTES] {
        let mut bytes = [0; NONCE_BYTES];
        let tag = hmac::sign(&self.nonces, &period.to_be_bytes());
        bytes.copy_from_slice(&tag.as_ref()[..NONCE_BYTES]);
        bytes
    }

    fn memory_key(&self, credential: &CredentialId, unverified: &str, stored: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.remembering);
        for part in [credential.as_str(), stored, unverified] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut key = [0; 32];
        key.copy_from_slice(context.sign().as_ref());
        key
    }

    fn hash(
        &self,
        secret: &str,
        stored: &StoredHash,
    ) -> Result<Zeroizing<[u8; HASH_BYTES]>, SecretsError> {
        let params = Params::new(stored.memory, stored.passes, stored.lanes, Some(HASH_BYTES))
            .map_err(SecretsError::Hash)?;
        let argon2 =
            Argon2::new_with_secret(&self.pepper, Algorithm::Argon2id, Version::V0x13, params)
                .map_err(SecretsError::Hash)?;
        let mut out = Zeroizing::new([0; HASH_BYTES]);
        argon2
            .hash_password_into(secret.as_bytes(), &stored.salt, &mut *out)
            .map_err(SecretsError::Hash)?;
        Ok(out)
    }
}

/// True when `text` has the form of a client secret of this program, checksum included.
#[must_use]
pub(crate) fn is_well_formed(text: &str) -> bool {
    check_shape(text).is_ok()
}

/// Why a text cannot be a client secret. Contains nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MalformedSecret {
    /// It has another prefix.
    #[error("is not a client secret of firman, which begins with `{PREFIX}`")]
    Prefix,
    /// It is truncated, or has trailing characters.
    #[error(
        "has {0} characters; a client secret has {SECRET_CHARS}, so it was cut off or something was added"
    )]
    Length(usize),
    /// Its checksum, the last six characters, does not match.
    #[error(
        "has a client secret whose checksum does not match: at least one character of it was changed"
    )]
    Checksum,
}

/// Checks the form of a client secret, checksum included, without any key.
///
/// # Errors
/// The first fault.
pub(crate) fn check_shape(text: &str) -> Result<(), MalformedSecret> {
    if !text.starts_with(PREFIX) {
        return Err(MalformedSecret::Prefix);
    }
    if text.len() != SECRET_CHARS {
        return Err(MalformedSecret::Length(text.chars().count()));
    }
    match text.split_at_checked(SECRET_CHARS - 6) {
        Some((body, sum)) if text.is_ascii() && sum == checksum(body) => Ok(()),
        Some(_) | None => Err(MalformedSecret::Checksum),
    }
}

/// Why a text is not a client secret, for the operator, without repeating any of it; `None` when it has the form
/// of one.
#[must_use]
pub(crate) fn malformation(text: &str) -> Option<&'static str> {
    let inner = text.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`'));
    Some(match check_shape(text) {
        Ok(()) => return None,
        Err(_) if is_well_formed(inner) => "it has white space or quotes around it",
        Err(MalformedSecret::Prefix) => "it does not begin with `fmn_`",
        Err(MalformedSecret::Length(count)) if count > SECRET_CHARS => {
            "it is longer than a client secret"
        }
        Err(MalformedSecret::Length(_)) => "it is shorter than a client secret",
        Err(MalformedSecret::Checksum) => "its checksum does not match: a character is wrong",
    })
}

/// Six characters (36 bits) of SHA-256 over prefix and secret: a random error passes once in 2^36.
fn checksum(body: &str) -> String {
    let mut text = base64url(&sha256(body.as_bytes()));
    text.truncate(6);
    text
}

/// The PHC string format of Argon2 (`$argon2id$v=19$m=64,t=1,p=1$salt$hash`), with base64url.
struct StoredHash {
    memory: u32,
    passes: u32,
    lanes: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl StoredHash {
    fn to_phc(&self) -> String {
        format!(
            "$argon2id$v=19$m={},t={},p={}${}${}",
            self.memory,
            self.passes,
            self.lanes,
            base64url(&self.salt),
            base64url(&self.hash)
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let (costs, salt, hash) = (parts.next()?, parts.next()?, parts.next()?);
        let mut costs = costs.split(',');
        let mut cost = |name: &str| costs.next()?.strip_prefix(name)?.parse::<u32>().ok();
        let (memory, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
        let salt = decode_base64url(salt).ok()?;
        let hash = decode_base64url(hash).ok()?;
        let within = memory <= MEMORY_KIB_CEILING
            && passes <= PASSES_CEILING
            && lanes == LANES
            && hash.len() == HASH_BYTES;
        (within && parts.next().is_none()).then_some(Self {
            memory,
            passes,
            lanes,
            salt,
            hash,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::random::SystemRandom;

    fn secrets() -> Secrets {
        Secrets::new(Zeroizing::new(vec![7; PEPPER_BYTES]), &SystemRandom).unwrap()
    }

    #[test]
    fn garbage_is_no_secret_whatever_its_length() {
        let secret = secrets()
            .issue(&SystemRandom)
            .unwrap()
            .plaintext
            .expose_secret()
            .to_owned();
        assert_eq!(secret.len(), SECRET_CHARS);
        for bad in [
            "",
            "fmn_",
            "hunter2",
            &secret[..52],
            &format!("{secret}x"),
            &secret.replacen("fmn_", "fmx_", 1),
            &"é".repeat(27),
        ] {
            assert!(!is_well_formed(bad), "{bad}");
        }
        assert!(is_well_formed(&secret));
    }

    #[test]
    fn a_secret_verifies_with_its_pepper_and_its_hash_only() {
        let secrets = secrets();
        let id = CredentialId::from_text("c");
        let (a, b) = (
            secrets.issue(&SystemRandom).unwrap(),
            secrets.issue(&SystemRandom).unwrap(),
        );
        assert!(!secrets.verify(&id, &a.plaintext, &b.hash).unwrap());
        let other_pepper =
            Secrets::new(Zeroizing::new(vec![8; PEPPER_BYTES]), &SystemRandom).unwrap();
        assert!(!other_pepper.verify(&id, &a.plaintext, &a.hash).unwrap());
        assert!(secrets.verify(&id, &a.plaintext, &a.hash).unwrap());
        assert!(
            secrets.verify(&id, &a.plaintext, &a.hash).unwrap(),
            "remembered"
        );
    }

    #[test]
    fn a_nonce_is_good_for_its_period_and_its_pepper_only() {
        let (ours, replica) = (secrets(), secrets());
        let other = Secrets::new(Zeroizing::new(vec![8; PEPPER_BYTES]), &SystemRandom).unwrap();
        let nonce = ours.nonce(6_000_000);
        for bad in ["", "AA", "*", &nonce[1..], &format!("{nonce}AA")] {
            assert!(!ours.is_nonce(bad, 6_000_000), "{bad:?}");
        }
        assert!(!ours.is_nonce(&nonce, 6_000_001));
        assert!(!other.is_nonce(&nonce, 6_000_000));
        assert!(replica.is_nonce(&nonce, 6_000_000));
    }

    #[test]
    fn te_043_a_stored_hash_with_dear_parameters_is_refused_not_obeyed() {
        let secrets = secrets();
        let secret = secrets.issue(&SystemRandom).unwrap();
        let (_, rest) = secret.hash.split_once("m=64,t=1,p=1").unwrap();
        for costs in [
            "m=4194304,t=1,p=1",
            "m=64,t=1000,p=1",
            "m=64,t=1,p=9",
            "m=64,t=1",
            "m=x,t=1,p=1",
        ] {
            let dear = format!("$argon2id$v=19${costs}{rest}");
            assert!(matches!(
                secrets.verify(&CredentialId::from_text("c"), &secret.plaintext, &dear),
                Err(SecretsError::StoredHash)
            ));
        }
    }
}
