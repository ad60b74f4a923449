//! Why a public key is refused, and the limits that such refusals name.

use std::fmt;

use serde_json::Value;

use super::algorithm::{KeyType, SigningAlgorithm};
use super::digest::Base64Error;
use super::json::JsonError;
use super::pem::PemError;

/// The longest JWK or PEM text that is looked at: an RSA key of 8192 bits takes 2 KiB.
pub const MAX_KEY_BYTES: usize = 16 * 1024;
/// RFC 8725 §3.5 and NIST SP 800-131A: 112 bits of strength.
pub const MIN_RSA_BITS: usize = 2048;
/// Verification time grows with the square of the size; no one needs more.
pub const MAX_RSA_BITS: usize = 8192;
/// Room for every kid in use (a URL, a UUID, a thumbprint), small enough to index and to log.
pub const MAX_KEY_ID_BYTES: usize = 256;

/// The longest part of a `kid` that is repeated in a log or an answer, in characters.
const SHOWN_KID_CHARS: usize = 64;
/// The most entries that a set without a usable key names one by one.
const NAMED_MAX: usize = 8;

/// Why a key is refused. The texts may be shown to the sender of the key: they say what is wrong and
/// what to do, and hold nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Longer than [`MAX_KEY_BYTES`].
    #[error("the key is longer than {MAX_KEY_BYTES} bytes; send one public key alone")]
    TooLarge,
    /// Not a JSON object, or an ambiguous one.
    #[error("the JWK {0}")]
    Json(#[from] JsonError),
    /// The text is not PEM.
    #[error("the key file {0}")]
    Pem(#[from] PemError),
    /// A PEM text without a public key that this house can use.
    #[error(
        "the PEM text holds no public key of a supported kind (P-256, P-384, RSA, Ed25519); \
         `openssl pkey -in FILE -pubout` prints that of a private key"
    )]
    PemKind,
    /// A private member is present (RFC 7517 §9.2).
    #[error(
        "the key is a private key (member `{0}`); send only the public one, and make a new key: \
         this one has left its owner's hands"
    )]
    Private(&'static str),
    /// A PEM private key where the public one belongs.
    #[error(
        "the PEM text holds a private key; send only the public one \
         (`openssl pkey -in FILE -pubout`), and make a new key: this one has left its owner's hands"
    )]
    PrivatePem,
    /// A private key of OpenSSH where the public one belongs.
    #[error(
        "the text holds a private key of OpenSSH; send only the public one (`ssh-keygen -y -f FILE`), \
         and make a new key: this one has left its owner's hands"
    )]
    PrivateSsh,
    /// A certificate where a bare key belongs.
    #[error(
        "the text holds a certificate, whose dates and issuer would not count here; \
         `openssl x509 -pubkey -noout -in FILE` prints its public key"
    )]
    CertificatePem,
    /// A certificate request where a bare key belongs.
    #[error(
        "the text holds a certificate request; `openssl req -in FILE -noout -pubkey` prints its public key"
    )]
    RequestPem,
    /// A key in binary form; holds the command that prints the public key.
    #[error("the key is in DER, not PEM; `{0}` prints its public key")]
    Der(&'static str),
    /// A public key of SSH that does not parse.
    #[error(
        "the SSH key is not well-formed; expected `ssh-ed25519 AAAA…`, as `ssh-keygen -y -f FILE` prints it"
    )]
    SshMalformed,
    /// A public key of SSH of another kind.
    #[error(
        "the SSH key is of an unsupported kind; use ssh-ed25519, ecdsa-sha2-nistp256, ecdsa-sha2-nistp384 or ssh-rsa"
    )]
    SshKind,
    /// Several public keys of SSH.
    #[error("the text holds more than one SSH key; give one key alone")]
    SshSeveral,
    /// The format of RFC 4716.
    #[error("the key is in the SSH2 format (RFC 4716); `ssh-keygen -i -f FILE` converts it")]
    Ssh2,
    /// A JWK Set where one key belongs.
    #[error("the JWK Set has {0} keys; give a set of exactly one, or the key alone")]
    SetOf(usize),
    /// `kty` is `oct`.
    #[error("`kty` oct is a shared secret, not a public key; use an EC, RSA or OKP key")]
    Symmetric,
    /// A required member is absent.
    #[error("the JWK has no `{0}`")]
    Missing(&'static str),
    /// A member is not of the JSON type it must be.
    #[error("`{0}` must be {1}")]
    WrongType(&'static str, &'static str),
    /// A number is not base64url.
    #[error("`{0}` is {1}")]
    Encoding(&'static str, Base64Error),
    /// An unsupported `kty`.
    #[error("`kty` must be EC, RSA or OKP")]
    KeyType,
    /// An unsupported `crv`.
    #[error("`crv` must be P-256 or P-384 (EC) or Ed25519 (OKP)")]
    Curve,
    /// A coordinate does not have the length its curve demands (RFC 7518 §6.2.1.2).
    #[error("`{0}` must be {1} bytes long for this `crv`, leading zeros included")]
    CoordinateLength(&'static str, usize),
    /// The point is not on its curve (invalid-curve attack, RFC 8725 §3.4).
    #[error("the point is not on the curve that `crv` names; export the key again")]
    NotOnCurve,
    /// An Ed25519 point of small order: anyone can make signatures that verify with it.
    #[error("the Ed25519 point is of small order: anyone could sign for it; make a new key")]
    SmallOrder,
    /// `n` starts with a zero byte, a second spelling of the same key (RFC 7518 §6.3.1.1).
    #[error("`n` must not start with a zero byte; export the key again")]
    LeadingZero,
    /// Fewer bits than [`MIN_RSA_BITS`].
    #[error(
        "the RSA modulus is shorter than {MIN_RSA_BITS} bits; make a key of {MIN_RSA_BITS} bits or more"
    )]
    ModulusTooShort,
    /// More bits than [`MAX_RSA_BITS`].
    #[error(
        "the RSA modulus is longer than {MAX_RSA_BITS} bits; make a key of at most {MAX_RSA_BITS} bits"
    )]
    ModulusTooLong,
    /// An even modulus is not a product of two odd primes.
    #[error(
        "the RSA modulus is even, which no RSA modulus is; export the key again or make a new one"
    )]
    EvenModulus,
    /// Another exponent than 65537.
    #[error("the RSA exponent must be 65537 (`e`: \"AQAB\"); make a new key")]
    Exponent,
    /// The modulus bears the fingerprint of CVE-2017-15361.
    #[error(
        "the RSA key was made by a flawed generator (ROCA, CVE-2017-15361) and can be broken; make a new key"
    )]
    Roca,
    /// The crypto library takes no such RSA key.
    #[error("the RSA key is not acceptable; export the key again or make a new one")]
    RsaRejected,
    /// `use` is not `sig` (RFC 7517 §4.2).
    #[error("`use` must be \"sig\": a key for encryption does not sign")]
    Use,
    /// `key_ops` is not `["verify"]` (RFC 7517 §4.3).
    #[error("`key_ops` must be [\"verify\"] or left out")]
    KeyOps,
    /// `alg` is none of ours.
    #[error("`alg` must be ES256, ES384, RS256, PS256 or EdDSA")]
    Algorithm,
    /// `alg` is one of ours, but not for this kind of key.
    #[error("`alg` {0} does not fit a key of kind {1}")]
    AlgorithmMismatch(SigningAlgorithm, KeyType),
    /// `x5c` or `x5u` is present.
    #[error("leave out `{0}`: keys are trusted because they are registered, not for a certificate")]
    Certificate(&'static str),
    /// `kid` is empty, too long or has control characters.
    #[error("`kid` must be 1 to {MAX_KEY_ID_BYTES} bytes without control characters")]
    KeyId,
    /// A set without a key that could verify anything.
    #[error("the key set has no usable key; put at least one public signature key in `keys`")]
    SetEmpty,
    /// A published set of which no entry can be used.
    #[error("the key set has no usable key: {}", listed(.0))]
    NoneUsable(Vec<SkippedKey>),
    /// A set of more keys than the limit.
    #[error("the key set has more than {0} keys; leave out those no longer in use")]
    SetTooLarge(usize),
    /// Two keys of a set have the same `kid`.
    #[error("two keys of the set have the same `kid`; give each its own")]
    DuplicateKeyId,
}

/// An entry of a published set that is not used, and why. Holds nothing of the key but its `kid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its place in the set, counted from 1.
    pub place: usize,
    /// Its `kid`, escaped and cut to 64 characters.
    pub kid: Option<String>,
    /// Why it is not used.
    pub reason: JwkError,
}

impl SkippedKey {
    pub(super) fn of(index: usize, entry: &Value, reason: JwkError) -> Self {
        let kid = entry.get("kid").and_then(Value::as_str);
        Self {
            place: index + 1,
            kid: kid.map(|kid| kid.escape_debug().take(SHOWN_KID_CHARS).collect()),
            reason,
        }
    }

    /// Whether it is a good key for another purpose or another verifier: not a fault of the set.
    #[must_use]
    pub fn is_for_others(&self) -> bool {
        matches!(
            self.reason,
            JwkError::KeyType
                | JwkError::Curve
                | JwkError::Algorithm
                | JwkError::Use
                | JwkError::KeyOps
        )
    }
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {}", self.place)?;
        if let Some(kid) = &self.kid {
            write!(f, " (`kid` {kid})")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// The reasons of the first entries, for one sentence.
#[must_use]
pub fn listed(skipped: &[SkippedKey]) -> String {
    let named: Vec<String> = skipped
        .iter()
        .take(NAMED_MAX)
        .map(SkippedKey::to_string)
        .collect();
    let more = match skipped.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!("{}{more}", named.join("; "))
}
