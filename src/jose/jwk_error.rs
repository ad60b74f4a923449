//! Why a public key is refused, and the limits that such refusals name.

use std::fmt;

use serde_json::Value;

use super::algorithm::{KeyType, SigningAlgorithm};
use super::digest::Base64Error;
use super::json::JsonError;
use super::pem::PemError;

/// The longest JWK or PEM text that is parsed: an RSA key of 8192 bits has 2 KiB.
pub const MAX_KEY_BYTES: usize = 16 * 1024;
/// RFC 8725 §3.5 and NIST SP 800-131A: 112 bits of strength.
pub const MIN_RSA_BITS: usize = 2048;
/// Verification time grows with the square of the size; larger keys are not in use.
pub const MAX_RSA_BITS: usize = 8192;
/// Room for every kid in use (a URL, a UUID, a thumbprint), small enough to index and to log.
pub const MAX_KEY_ID_BYTES: usize = 256;

/// The longest part of a `kid` that is repeated in a log or an answer, in characters.
const SHOWN_KID_CHARS: usize = 64;
/// The most entries that a set without a usable key names one by one.
const NAMED_MAX: usize = 8;

/// Why a key is refused. The texts may be shown to the sender of the key; they do not contain any part of the
/// key. What to do about it is apart, in [`JwkError::hint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwkError {
    /// Longer than [`MAX_KEY_BYTES`].
    #[error("the key is longer than {MAX_KEY_BYTES} bytes")]
    TooLarge,
    /// Not a JSON object, or an ambiguous one.
    #[error("the JWK {0}")]
    Json(#[from] JsonError),
    /// The text is not PEM.
    #[error("the key file {0}")]
    Pem(#[from] PemError),
    /// A PEM text without a public key of a supported kind.
    #[error(
        "the PEM text does not contain a public key of a supported kind (P-256, P-384, RSA, Ed25519)"
    )]
    PemKind,
    /// A private member is present (RFC 7517 §9.2).
    #[error("the key is a private key (member `{0}`) and no longer secret")]
    Private(&'static str),
    /// A PEM private key where the public one belongs.
    #[error("the PEM text contains a private key, which is no longer secret")]
    PrivatePem,
    /// A private key of OpenSSH where the public one belongs.
    #[error("the text contains an OpenSSH private key, which is no longer secret")]
    PrivateSsh,
    /// A certificate where a bare key belongs: its dates and its issuer would have no effect.
    #[error("the text contains a certificate, not a public key")]
    CertificatePem,
    /// A certificate request where a bare key belongs.
    #[error("the text contains a certificate request, not a public key")]
    RequestPem,
    /// A key in binary form; holds the command that prints the public key.
    #[error("the key is in DER, not PEM")]
    Der(&'static str),
    /// A public key of SSH that does not parse.
    #[error("the SSH key is malformed; expected `ssh-ed25519 AAAA…`")]
    SshMalformed,
    /// A public key of SSH of another kind.
    #[error("the SSH key is not of a supported kind")]
    SshKind,
    /// Several public keys of SSH.
    #[error("the text contains more than one SSH key")]
    SshSeveral,
    /// The format of RFC 4716.
    #[error("the key is in the SSH2 format (RFC 4716)")]
    Ssh2,
    /// A JWK Set where one key belongs.
    #[error("the JWK Set has {0} keys; expected exactly one")]
    SetOf(usize),
    /// `kty` is `oct`.
    #[error("`kty` `oct` is a shared secret, not a public key")]
    Symmetric,
    /// A required member is absent.
    #[error("the JWK does not have the member `{0}`")]
    Missing(&'static str),
    /// A member is not of the JSON type it must be.
    #[error("`{0}` must be {1}")]
    WrongType(&'static str, &'static str),
    /// A number is not base64url.
    #[error("`{0}` is {1}")]
    Encoding(&'static str, Base64Error),
    /// An unsupported `kty`.
    #[error("`kty` must be `EC`, `RSA` or `OKP`")]
    KeyType,
    /// An unsupported `crv`.
    #[error("`crv` must be `P-256` or `P-384` (EC) or `Ed25519` (OKP)")]
    Curve,
    /// A coordinate does not have the length its curve demands (RFC 7518 §6.2.1.2).
    #[error("`{0}` must be {1} bytes long for this `crv`, leading zeros included")]
    CoordinateLength(&'static str, usize),
    /// The point is not on its curve (invalid-curve attack, RFC 8725 §3.4).
    #[error("the point is not on the curve that `crv` names")]
    NotOnCurve,
    /// An Ed25519 point of small order: anyone can make signatures that verify with it.
    #[error("the Ed25519 point is of small order, so that anyone can sign for it")]
    SmallOrder,
    /// `n` starts with a zero byte, a second spelling of the same key (RFC 7518 §6.3.1.1).
    #[error("`n` must not start with a zero byte")]
    LeadingZero,
    /// Fewer bits than [`MIN_RSA_BITS`].
    #[error("the RSA modulus is shorter than {MIN_RSA_BITS} bits")]
    ModulusTooShort,
    /// More bits than [`MAX_RSA_BITS`].
    #[error("the RSA modulus is longer than {MAX_RSA_BITS} bits")]
    ModulusTooLong,
    /// An even modulus is not a product of two odd primes.
    #[error("the RSA modulus is even")]
    EvenModulus,
    /// Another exponent than 65537.
    #[error("the RSA exponent must be 65537 (`e`: `AQAB`)")]
    Exponent,
    /// The modulus bears the fingerprint of CVE-2017-15361.
    #[error("the RSA key comes from a flawed generator (ROCA, CVE-2017-15361) and can be broken")]
    Roca,
    /// The crypto library rejects the RSA key.
    #[error("the RSA key is not valid")]
    RsaRejected,
    /// `use` is not `sig` (RFC 7517 §4.2).
    #[error("`use` must be `sig`: an encryption key does not sign")]
    Use,
    /// `key_ops` is not `["verify"]` (RFC 7517 §4.3).
    #[error("`key_ops` must be absent or `[\"verify\"]`")]
    KeyOps,
    /// `alg` is not supported.
    #[error("`alg` must be `ES256`, `ES384`, `RS256`, `PS256` or `EdDSA`")]
    Algorithm,
    /// `alg` is supported, but not for this kind of key.
    #[error("`alg` `{0}` does not match a key of type `{1}`")]
    AlgorithmMismatch(SigningAlgorithm, KeyType),
    /// `x5c` or `x5u` is present.
    #[error(
        "`{0}` is not accepted: a key is trusted because it is registered, not for a certificate"
    )]
    Certificate(&'static str),
    /// `kid` is empty, too long or has control characters.
    #[error("`kid` must be 1 to {MAX_KEY_ID_BYTES} bytes without control characters")]
    KeyId,
    /// A set without a key that could verify anything.
    #[error("the key set does not have a usable key")]
    SetEmpty,
    /// A published set of which no entry can be used.
    #[error("the key set does not have a usable key: {}", listed(.0))]
    NoneUsable(Vec<SkippedKey>),
    /// A set of more keys than the limit.
    #[error("the key set has more than {0} keys")]
    SetTooLarge(usize),
    /// Two keys of a set have the same `kid`.
    #[error("two keys of the set have the same `kid`")]
    DuplicateKeyId,
}

impl JwkError {
    /// What the sender of the key can do about it: one action, lowercase. A command in it names the file as `FILE`.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let action = match self {
            Self::TooLarge | Self::SshSeveral | Self::SetOf(_) => "use one public key",
            Self::PemKind => {
                "run `openssl pkey -in FILE -pubout` to print the public key of a private key"
            }
            Self::Private(_) => "generate a new key and send only its public key",
            Self::PrivatePem => {
                "generate a new key and send only its public key (`openssl pkey -in FILE -pubout`)"
            }
            Self::PrivateSsh => {
                "generate a new key and send only its public key (`ssh-keygen -y -f FILE`)"
            }
            Self::CertificatePem => {
                "run `openssl x509 -pubkey -noout -in FILE` to print its public key"
            }
            Self::RequestPem => "run `openssl req -in FILE -noout -pubkey` to print its public key",
            Self::Der(command) => return Some(format!("run `{command}` to print its public key")),
            Self::SshMalformed => "run `ssh-keygen -y -f FILE` to print the public key",
            Self::SshKind => {
                "use `ssh-ed25519`, `ecdsa-sha2-nistp256`, `ecdsa-sha2-nistp384` or `ssh-rsa`"
            }
            Self::Ssh2 => "run `ssh-keygen -i -f FILE` to convert it",
            Self::Symmetric => "use an EC, RSA or OKP key",
            Self::NotOnCurve | Self::LeadingZero | Self::EvenModulus | Self::RsaRejected => {
                "export the key again, or generate a new one"
            }
            Self::SmallOrder | Self::Exponent | Self::Roca => "generate a new key",
            Self::ModulusTooShort | Self::ModulusTooLong => {
                return Some(format!(
                    "use a key of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits"
                ));
            }
            Self::Certificate(member) => return Some(format!("remove `{member}` from the key")),
            Self::SetEmpty => "put at least one public signature key in `keys`",
            Self::SetTooLarge(_) => "remove keys that are no longer in use",
            Self::DuplicateKeyId => "use a different `kid` for each key",
            Self::Json(_)
            | Self::Pem(_)
            | Self::Missing(_)
            | Self::WrongType(..)
            | Self::Encoding(..)
            | Self::KeyType
            | Self::Curve
            | Self::CoordinateLength(..)
            | Self::Use
            | Self::KeyOps
            | Self::Algorithm
            | Self::AlgorithmMismatch(..)
            | Self::KeyId
            | Self::NoneUsable(_) => return None,
        };
        Some(action.to_owned())
    }
}

/// An entry of a published set that is not used, and why. Contains only the `kid` of the key.
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

    /// Whether it is a valid key for another purpose or another verifier, not a fault of the set.
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
            write!(f, " (`kid` `{kid}`)")?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// The reasons of the first entries, in one sentence.
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
