//! Keys as OpenSSH writes them: the one-line public key (RFC 4253 §6.6, RFC 5656 §3.1, RFC 8709 §4) and the
//! unencrypted `OPENSSH PRIVATE KEY` (PROTOCOL.key of OpenSSH). Both are strings with a length before them (RFC
//! 4251 §5). RSA private keys lack two numbers that aws-lc-rs needs, and are refused; the hint names the
//! command that converts them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use base64::engine::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::algorithm::{KeyType, SigningAlgorithm};
use super::jwk::PublicJwk;
use super::jwk_error::JwkError;
use super::jwk_members::KeyMeta;
use super::key::{KeyPair, SigningKey};
use super::key_error::KeyError;

const ED25519: &str = "ssh-ed25519";
const P256: &str = "ecdsa-sha2-nistp256";
const P384: &str = "ecdsa-sha2-nistp384";
const RSA: &str = "ssh-rsa";
/// The first bytes of an `OPENSSH PRIVATE KEY`.
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// The key files of other SSH programs (RFC 4716).
const SSH2: &str = "---- BEGIN SSH2 PUBLIC KEY";

/// Whether a text is meant as a public key of SSH.
pub(super) fn is_public(text: &str) -> bool {
    let text = text.trim_start();
    ["ssh-", "ecdsa-sha2-", "sk-", SSH2]
        .iter()
        .any(|start| text.starts_with(start))
}

impl PublicJwk {
    /// Reads the content of an OpenSSH `.pub` file: type, base64, comment. The key has no `kid`.
    pub(super) fn from_ssh(text: &str) -> Result<Self, JwkError> {
        if text.trim_start().starts_with(SSH2) {
            return Err(JwkError::Ssh2);
        }
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Err(JwkError::SshSeveral);
        };
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let blob = words.next().and_then(|word| STANDARD.decode(word).ok());
        let blob = blob.ok_or(JwkError::SshMalformed)?;
        if ![ED25519, P256, P384, RSA].contains(&name) {
            return Err(JwkError::SshKind);
        }
        Self::from_ssh_blob(name, &blob)
    }

    fn from_ssh_blob(name: &str, blob: &[u8]) -> Result<Self, JwkError> {
        let mut wire = Wire(blob);
        if wire.string() != Some(name.as_bytes()) {
            return Err(JwkError::SshMalformed);
        }
        let meta = KeyMeta::default();
        let key = match name {
            ED25519 => wire.string().map(|point| Self::from_ed25519(point, meta)),
            P256 => wire
                .point()
                .map(|(x, y)| Self::from_ec(KeyType::P256, x, y, meta)),
            P384 => wire
                .point()
                .map(|(x, y)| Self::from_ec(KeyType::P384, x, y, meta)),
            RSA => wire.number().and_then(|exponent| {
                let modulus = wire.number()?;
                Some(Self::from_rsa(modulus, exponent, meta))
            }),
            _ => return Err(JwkError::SshKind),
        };
        match key {
            Some(key) if wire.0.is_empty() => key,
            Some(_) | None => Err(JwkError::SshMalformed),
        }
    }
}

impl SigningKey {
    /// Reads the bytes of an `OPENSSH PRIVATE KEY` without a passphrase.
    pub(super) fn from_openssh(
        algorithm: Option<SigningAlgorithm>,
        bytes: &[u8],
    ) -> Result<Self, KeyError> {
        let private = private_part(bytes)?;
        let mut wire = Wire(private);
        let (one, other) = (wire.take(4), wire.take(4));
        if one.is_none() || one != other {
            return Err(KeyError::SshMalformed);
        }
        let (pair, usual) = match wire.string() {
            Some(name) if name == ED25519.as_bytes() => {
                (ed25519(&mut wire), SigningAlgorithm::EdDsa)
            }
            Some(name) if name == P256.as_bytes() => {
                let pair = ecdsa(&mut wire, &ECDSA_P256_SHA256_FIXED_SIGNING, 32);
                (pair, SigningAlgorithm::Es256)
            }
            Some(name) if name == P384.as_bytes() => {
                let pair = ecdsa(&mut wire, &ECDSA_P384_SHA384_FIXED_SIGNING, 48);
                (pair, SigningAlgorithm::Es384)
            }
            Some(name) if name == RSA.as_bytes() => return Err(KeyError::SshRsa),
            Some(_) => return Err(KeyError::Kind),
            None => return Err(KeyError::SshMalformed),
        };
        let pair = pair.ok_or(KeyError::SshMalformed)?;
        match algorithm {
            Some(algorithm) if algorithm != usual => Err(KeyError::Rejected(algorithm)),
            Some(_) | None => Self::assemble(pair, usual, None),
        }
    }
}

/// The unencrypted list of private keys, which has one.
fn private_part(bytes: &[u8]) -> Result<&[u8], KeyError> {
    let malformed = || KeyError::SshMalformed;
    let mut wire = Wire(bytes.strip_prefix(MAGIC).ok_or_else(malformed)?);
    let cipher = wire.string().ok_or_else(malformed)?;
    let (_kdf, _options) = (wire.string(), wire.string());
    let keys = wire.take(4).ok_or_else(malformed)?;
    if cipher != b"none" {
        return Err(KeyError::SshEncrypted);
    }
    if keys != [0, 0, 0, 1] {
        return Err(KeyError::SeveralKeys);
    }
    let _public = wire.string().ok_or_else(malformed)?;
    let private = wire.string().ok_or_else(malformed)?;
    if wire.0.is_empty() {
        Ok(private)
    } else {
        Err(malformed())
    }
}

fn ed25519(wire: &mut Wire<'_>) -> Option<KeyPair> {
    let public = wire.string()?;
    let (seed, again) = wire.string()?.split_at_checked(32)?;
    if again != public {
        return None;
    }
    let pair = Ed25519KeyPair::from_seed_and_public_key(seed, public).ok()?;
    Some(KeyPair::Ed25519(pair))
}

fn ecdsa(
    wire: &mut Wire<'_>,
    algorithm: &'static EcdsaSigningAlgorithm,
    length: usize,
) -> Option<KeyPair> {
    let _curve = wire.string()?;
    let public = wire.string()?;
    let number = wire.number()?;
    let mut private = Zeroizing::new(vec![0; length]);
    let start = length.checked_sub(number.len())?;
    private.get_mut(start..)?.copy_from_slice(number);
    let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, public).ok()?;
    Some(KeyPair::Ecdsa(pair))
}

/// The bytes that are not read yet (RFC 4251 §5).
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// A `string`: four bytes of length, then so many.
    fn string(&mut self) -> Option<&'a [u8]> {
        let length: [u8; 4] = self.take(4)?.try_into().ok()?;
        self.take(usize::try_from(u32::from_be_bytes(length)).ok()?)
    }

    /// A positive `mpint`: a zero byte precedes a first bit that is set.
    fn number(&mut self) -> Option<&'a [u8]> {
        let bytes = self.string()?;
        match bytes {
            [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => Some(rest),
            [first, ..] if (1..0x80).contains(first) => Some(bytes),
            _ => None,
        }
    }

    /// Curve name and uncompressed point (SEC 1 §2.3.3): x and y.
    fn point(&mut self) -> Option<(&'a [u8], &'a [u8])> {
        let _curve = self.string()?;
        let coordinates = self.string()?.strip_prefix(&[4])?;
        coordinates.split_at_checked(coordinates.len() / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::pem;

    /// Made with `ssh-keygen -t ed25519 -N ''`, only for this test.
    const ED25519_PRIVATE: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----\n\
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n\
QyNTUxOQAAACA2WPdgbeIeXZ08at0qWpnMj8OjjVTUtthXb7lGNnzI0wAAAJAa1wL5GtcC\n\
+QAAAAtzc2gtZWQyNTUxOQAAACA2WPdgbeIeXZ08at0qWpnMj8OjjVTUtthXb7lGNnzI0w\n\
AAAECe3kbTiU0EBsZIBlKMCwIwo09OrpsS9szVjRc+kNsQWTZY92Bt4h5dnTxq3SpamcyP\n\
w6ONVNS22FdvuUY2fMjTAAAABm1haWxlcgECAwQFBgc=\n\
-----END OPENSSH PRIVATE KEY-----\n";
    const ED25519_PUBLIC: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDZY92Bt4h5dnTxq3SpamcyPw6ONVNS22FdvuUY2fMjT mailer";
    /// Made with `ssh-keygen -t ecdsa -b 256 -N ''`, only for this test; its number has a zero byte before it.
    const P256_PRIVATE: &str = "\
-----BEGIN OPENSSH PRIVATE KEY-----\n\
b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAaAAAABNlY2RzYS\n\
1zaGEyLW5pc3RwMjU2AAAACG5pc3RwMjU2AAAAQQQyo2+WXad62aOglEmYYW/QxFtHG6sf\n\
0RzNs2DoWnWMCq0e6cZ/MSsugkzj06NFdKNIXyQAbMo/wMSaEg0vzxCEAAAAoLfgwLK34M\n\
CyAAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBDKjb5Zdp3rZo6CU\n\
SZhhb9DEW0cbqx/RHM2zYOhadYwKrR7pxn8xKy6CTOPTo0V0o0hfJABsyj/AxJoSDS/PEI\n\
QAAAAhAIVaRz8K5ydDlrxxzakbpOmYgMWoBfdA0+USsHcDtdXKAAAABm1haWxlcgE=\n\
-----END OPENSSH PRIVATE KEY-----\n";
    const P256_PUBLIC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBDKjb5Zdp3rZo6CUSZhhb9DEW0cbqx/RHM2zYOhadYwKrR7pxn8xKy6CTOPTo0V0o0hfJABsyj/AxJoSDS/PEIQ= mailer";

    #[test]
    fn both_halves_of_a_key_belong_together() {
        for (private, public) in [
            (ED25519_PRIVATE, ED25519_PUBLIC),
            (P256_PRIVATE, P256_PUBLIC),
        ] {
            let private = SigningKey::from_file_content(None, private.as_bytes()).unwrap();
            let public = PublicJwk::from_file_content(public.as_bytes()).unwrap();
            assert_eq!(private.public_jwk().thumbprint(), public.thumbprint());
            let message = private.sign_parts(b"{\"alg\":\"x\"}", b"{}");
            assert!(message.is_ok());
        }
    }

    #[test]
    fn a_key_that_is_cut_off_or_changed_is_refused() {
        for text in [ED25519_PRIVATE, P256_PRIVATE] {
            let blocks = pem::blocks(text).unwrap();
            let whole = &blocks[0].bytes;
            for length in 0..whole.len() {
                assert!(
                    SigningKey::from_openssh(None, &whole[..length]).is_err(),
                    "{length} bytes were enough"
                );
            }
            let asked = Some(SigningAlgorithm::Rs256);
            assert_eq!(
                SigningKey::from_openssh(asked, whole).err(),
                Some(KeyError::Rejected(SigningAlgorithm::Rs256))
            );
        }
        for text in [ED25519_PUBLIC, P256_PUBLIC] {
            let (name, rest) = text.split_once(' ').unwrap();
            let blob = STANDARD.decode(rest.split(' ').next().unwrap()).unwrap();
            for length in 0..blob.len() {
                assert!(PublicJwk::from_ssh_blob(name, &blob[..length]).is_err());
            }
            let longer = [&blob[..], &[0]].concat();
            assert_eq!(
                PublicJwk::from_ssh_blob(name, &longer),
                Err(JwkError::SshMalformed)
            );
            let other = if name == ED25519 { P256 } else { ED25519 };
            assert_eq!(
                PublicJwk::from_ssh_blob(other, &blob),
                Err(JwkError::SshMalformed)
            );
        }
    }
}
