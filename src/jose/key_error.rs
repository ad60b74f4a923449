//! Why a private key cannot be used, and what to do about it.

use super::algorithm::SigningAlgorithm;
use super::json::JsonError;
use super::jwk_error::{JwkError, MAX_KEY_BYTES};
use super::pem::PemError;

/// Why a private key cannot be made, read or used. The texts do not contain any part of the key. What to do about
/// it is apart, in [`KeyError::hint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The crypto library could not make a key.
    #[error("cannot generate a key for `{0}`")]
    Generation(SigningAlgorithm),
    /// The crypto library could not sign.
    #[error("cannot sign with the key for `{0}`")]
    Signing(SigningAlgorithm),
    /// The crypto library could not write the key out.
    #[error("cannot export the key for `{0}`")]
    Export(SigningAlgorithm),
    /// Longer than [`MAX_KEY_BYTES`].
    #[error("the private key is longer than {MAX_KEY_BYTES} bytes")]
    TooLarge,
    /// The bytes are not a key for this algorithm.
    #[error("the bytes are not an unencrypted private key for `{0}`")]
    Rejected(SigningAlgorithm),
    /// The bytes are not a key for any algorithm.
    #[error("the private key is not of a supported kind")]
    Kind,
    /// The public half is refused.
    #[error(transparent)]
    Public(#[from] JwkError),
    /// The text is not PEM.
    #[error("the key file {0}")]
    Pem(#[from] PemError),
    /// The PEM text has no private key.
    #[error("the text does not contain a private key")]
    NoPrivateKey,
    /// The PEM text has several private keys.
    #[error("the text contains more than one private key")]
    SeveralKeys,
    /// The PEM key needs a passphrase.
    #[error("the private key is encrypted")]
    Encrypted,
    /// The OpenSSH key needs a passphrase.
    #[error("the private key is encrypted")]
    SshEncrypted,
    /// An RSA key in the format of OpenSSH, which leaves out two of its numbers.
    #[error("RSA keys in the OpenSSH format are not supported")]
    SshRsa,
    /// An OpenSSH private key that does not parse.
    #[error("the OpenSSH private key is malformed")]
    SshMalformed,
    /// A JWK Set where one key belongs.
    #[error("the JWK Set has {0} keys; expected exactly one")]
    SetOf(usize),
    /// The JWK is not a JSON object, or an ambiguous one.
    #[error("the private JWK {0}")]
    Json(#[from] JsonError),
    /// The text is not UTF-8.
    #[error("the key file is not text")]
    NotText,
    /// `key_ops` does not allow signing.
    #[error("`key_ops` of a private key must be absent or `[\"sign\"]`")]
    KeyOps,
    /// The private and public parts do not belong together, or a private part is malformed.
    #[error("the private part of the JWK does not match its public part")]
    Inconsistent,
}

impl KeyError {
    /// What the owner of the key can do about it: one action, lowercase. A command in it names the file as `FILE`.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let action = match self {
            Self::Public(error) => return error.hint(),
            Self::TooLarge | Self::SeveralKeys | Self::SetOf(_) => "use one private key",
            Self::Kind => "use a key for P-256, P-384, Ed25519, or RSA of 2048 bits or more",
            Self::NoPrivateKey => {
                "run `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` to generate one"
            }
            Self::Encrypted => "run `openssl pkey -in FILE -out FILE.plain` to decrypt it",
            Self::SshEncrypted => {
                "run `ssh-keygen -p -N '' -f FILE` to remove the passphrase, in place"
            }
            Self::SshRsa => "run `ssh-keygen -p -m PKCS8 -N '' -f FILE` to convert it, in place",
            Self::SshMalformed => "copy the key again, including its first and last line",
            Self::NotText => {
                "run `openssl pkey -inform DER -in FILE -out FILE.pem` to convert a key in DER"
            }
            Self::Inconsistent => "export the key again",
            Self::Generation(_)
            | Self::Signing(_)
            | Self::Export(_)
            | Self::Rejected(_)
            | Self::Pem(_)
            | Self::Json(_)
            | Self::KeyOps => return None,
        };
        Some(action.to_owned())
    }
}
