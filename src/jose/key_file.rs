//! Keys in files, public and private: one size limit, one way to decode the bytes, one way to distinguish the
//! formats.

use zeroize::Zeroizing;

use super::algorithm::SigningAlgorithm;
use super::json::JsonError;
use super::jwk::PublicJwk;
use super::jwk_error::{JwkError, MAX_KEY_BYTES};
use super::key::SigningKey;
use super::key_error::KeyError;
use super::ssh;
use crate::ports::secret_file;

/// The text of a key file, by its apparent format.
enum KeyText {
    /// A JWK, or a JWK Set of one.
    Json(Zeroizing<String>),
    /// The line of an SSH public key, or its RFC 4716 form.
    Ssh(Zeroizing<String>),
    /// Anything else is read as PEM.
    Pem(Zeroizing<String>),
}

/// Why the content of a file is not the text of a key.
enum NoText {
    TooLarge,
    NotText,
}

impl KeyText {
    fn of(content: &[u8]) -> Result<Self, NoText> {
        if content.len() > MAX_KEY_BYTES {
            return Err(NoText::TooLarge);
        }
        let text = secret_file::tidy(content).ok_or(NoText::NotText)?;
        Ok(if text.starts_with('{') {
            Self::Json(text)
        } else if ssh::is_public(&text) {
            Self::Ssh(text)
        } else {
            Self::Pem(text)
        })
    }
}

impl PublicJwk {
    /// Reads a public key from a file's content: PEM, a JWK, a JWK Set of one, or the line of an SSH key.
    ///
    /// # Errors
    /// As [`PublicJwk::from_pem`] and [`PublicJwk::parse`], or when an SSH key is of another kind.
    /// The texts name the file as `FILE`.
    pub fn from_file_content(content: &[u8]) -> Result<Self, JwkError> {
        match KeyText::of(content) {
            Ok(KeyText::Json(text)) => Self::parse(text.as_bytes()),
            Ok(KeyText::Ssh(text)) => Self::from_ssh(&text),
            Ok(KeyText::Pem(text)) => Self::from_pem(&text),
            Err(NoText::TooLarge) => Err(JwkError::TooLarge),
            Err(NoText::NotText) => {
                Err(der(content).map_or(JwkError::Json(JsonError::NotUtf8), JwkError::Der))
            }
        }
    }
}

impl SigningKey {
    /// Reads a private key from a file's content: PEM, a JWK or a JWK Set of one.
    ///
    /// # Errors
    /// As [`SigningKey::from_pkcs8_pem`] and [`SigningKey::from_jwk`]. The texts name the file as `FILE`.
    pub fn from_file_content(
        algorithm: Option<SigningAlgorithm>,
        content: &[u8],
    ) -> Result<Self, KeyError> {
        match KeyText::of(content) {
            Ok(KeyText::Json(text)) => Self::from_jwk(algorithm, text.as_bytes()),
            Ok(KeyText::Ssh(_)) => Err(KeyError::NoPrivateKey),
            Ok(KeyText::Pem(text)) => Self::from_pkcs8_pem(algorithm, &text),
            Err(NoText::TooLarge) => Err(KeyError::TooLarge),
            Err(NoText::NotText) => Err(KeyError::NotText),
        }
    }
}

/// The command for a DER text, chosen by the first element in its outer SEQUENCE (X.690 §8.9): an INTEGER in a
/// private key, a long SEQUENCE in a certificate, a short one in a SubjectPublicKeyInfo.
fn der(content: &[u8]) -> Option<&'static str> {
    let within = match content {
        [0x30, length, rest @ ..] if *length < 0x80 => rest,
        [0x30, 0x81, _, rest @ ..] | [0x30, 0x82, _, _, rest @ ..] => rest,
        _ => return None,
    };
    match within {
        [0x02, ..] => Some("openssl pkey -inform DER -in FILE -pubout"),
        [0x30, 0x81..=0xff, ..] => Some("openssl x509 -inform DER -in FILE -pubkey -noout"),
        [0x30, ..] => Some("openssl pkey -pubin -inform DER -in FILE"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::pem::PemError;

    #[test]
    fn a_file_is_read_as_what_it_looks_like() {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let jwk = key.public_jwk().to_value().to_string();
        for content in [
            format!("\n {jwk} \n"),
            format!("\u{feff}{jwk}\r\n"),
            format!("'{jwk}'"),
            format!("{{\"keys\":[{jwk}]}}"),
        ] {
            assert_eq!(
                PublicJwk::from_file_content(content.as_bytes()).as_ref(),
                Ok(key.public_jwk()),
                "{content}"
            );
        }
        for (content, expected) in [
            (&b"\xff"[..], JwkError::Json(JsonError::NotUtf8)),
            (b"ssh-ed25519 AAAA", JwkError::SshMalformed),
            (b"ssh-dss AAAA", JwkError::SshKind),
            (b"ssh-ed25519 AAAA\nssh-ed25519 AAAA", JwkError::SshSeveral),
            (b"---- BEGIN SSH2 PUBLIC KEY ----", JwkError::Ssh2),
            (b"hello", JwkError::Pem(PemError::NoBlock)),
            (b"{\"keys\":[]}", JwkError::SetOf(0)),
            (b"{\"keys\":[{},{}]}", JwkError::SetOf(2)),
            (b"{}", JwkError::Missing("kty")),
            (&[b' '; MAX_KEY_BYTES + 1], JwkError::TooLarge),
        ] {
            assert_eq!(PublicJwk::from_file_content(content), Err(expected));
        }
    }

    #[test]
    fn a_file_with_no_private_key_is_refused() {
        for (content, expected) in [
            (&b"\xff"[..], KeyError::NotText),
            (b"ssh-ed25519 AAAA", KeyError::NoPrivateKey),
            (b"---- BEGIN SSH2 PUBLIC KEY ----", KeyError::NoPrivateKey),
            (&[b' '; MAX_KEY_BYTES + 1], KeyError::TooLarge),
        ] {
            let refused = SigningKey::from_file_content(None, content).err();
            assert_eq!(refused, Some(expected));
        }
    }
}
