//! Why a private key cannot be used, and what to do about it.

use super::algorithm::SigningAlgorithm;
use super::json::JsonError;
use super::jwk_error::{JwkError, MAX_KEY_BYTES};
use super::pem::PemError;

/// Why a private key cannot be made, read or used. The texts hold nothing of the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The crypto library could not make a key.
    #[error("a new {0} key could not be made")]
    Generation(SigningAlgorithm),
    /// The crypto library could not sign.
    #[error("signing with the {0} key failed")]
    Signing(SigningAlgorithm),
    /// The crypto library could not write the key out.
    #[error("the {0} key could not be exported")]
    Export(SigningAlgorithm),
    /// Longer than [`MAX_KEY_BYTES`].
    #[error("the private key is longer than {MAX_KEY_BYTES} bytes; give one key alone")]
    TooLarge,
    /// The bytes are not a key for this algorithm.
    #[error("the bytes are not an unencrypted private key for {0}")]
    Rejected(SigningAlgorithm),
    /// The bytes are not a key for any algorithm.
    #[error(
        "the private key is of no supported kind; make one for P-256, P-384, Ed25519, or RSA of 2048 bits or more"
    )]
    Kind,
    /// The public half is refused.
    #[error(transparent)]
    Public(#[from] JwkError),
    /// The text is not PEM.
    #[error("the key file {0}")]
    Pem(#[from] PemError),
    /// The PEM text has no private key.
    #[error(
        "the text holds no private key; \
         `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one"
    )]
    NoPrivateKey,
    /// The PEM text holds several private keys.
    #[error("the text holds more than one private key; give one key alone")]
    SeveralKeys,
    /// The PEM key needs a passphrase.
    #[error(
        "the private key is encrypted; decrypt it with `openssl pkey -in FILE -out FILE.plain`"
    )]
    Encrypted,
    /// The OpenSSH key needs a passphrase.
    #[error(
        "the private key is encrypted; `ssh-keygen -p -N '' -f FILE` takes the passphrase off it, in place"
    )]
    SshEncrypted,
    /// An RSA key in the format of OpenSSH, which leaves out two of its numbers.
    #[error(
        "an RSA key in the format of OpenSSH cannot be read; `ssh-keygen -p -m PKCS8 -N '' -f FILE` converts it, in place"
    )]
    SshRsa,
    /// An OpenSSH private key that does not parse.
    #[error("the OpenSSH private key is not well-formed; copy it again, whole")]
    SshMalformed,
    /// A JWK Set where one key belongs.
    #[error("the JWK Set has {0} keys; give a set of exactly one, or the key alone")]
    SetOf(usize),
    /// The JWK is not a JSON object, or an ambiguous one.
    #[error("the private JWK {0}")]
    Json(#[from] JsonError),
    /// The text is not UTF-8.
    #[error(
        "the key file is not text; a key in DER becomes PEM with `openssl pkey -inform DER -in FILE -out FILE.pem`"
    )]
    NotText,
    /// `key_ops` does not allow signing.
    #[error("`key_ops` of a private key must be [\"sign\"] or left out")]
    KeyOps,
    /// The private and public parts do not belong together, or a private part is malformed.
    #[error("the private part of the JWK does not belong to its public part; export the key again")]
    Inconsistent,
}
