//! Sealing: private keys and the pepper are stored encrypted (AES-256-GCM, NIST SP 800-38D) under the
//! key-encryption key, bound to the issuer and their own name. A stolen backup cannot sign, and a sealed value
//! cannot replace another.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::domain::id::IssuerId;
use crate::domain::remedy::Remedy;
use crate::jose::digest::{base64url, decode_base64url};
use crate::ports::cause::reason;
use crate::ports::random::{Random, random_bytes};
use crate::ports::secret_file::{self, Readers, SecretFileError};

/// Length of the key-encryption key, in bytes.
const KEK_BYTES: usize = 32;
/// First byte of a sealed value; another layout has another number.
const LAYOUT: u8 = 1;

/// Why a key-encryption key or a sealed value cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// No key where one is expected.
    #[error("the key-encryption key `{}` does not exist", path.display())]
    Missing {
        /// The expected path.
        path: PathBuf,
    },
    /// The key is not 32 bytes of base64url.
    #[error("the key-encryption key in `{origin}` is not 43 base64url characters (32 bytes)")]
    Malformed {
        /// A path or the name of a variable.
        origin: String,
    },
    /// The file cannot be read or written.
    #[error("cannot read or write the key-encryption key `{}`: {}", path.display(), reason(source))]
    File {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Others may read the key, or it is not text.
    #[error("cannot use the key-encryption key: {0}")]
    Unfit(SecretFileError),
    /// The sealed value was not sealed with this key for this name, or was changed.
    #[error(
        "cannot decrypt {name}: the key-encryption key is not the one it was sealed with, or the database was changed"
    )]
    Open {
        /// The value to decrypt.
        name: String,
    },
    /// The cipher failed to encrypt.
    #[error("cannot encrypt {name}")]
    Seal {
        /// The value to encrypt.
        name: String,
    },
}

impl SealingError {
    /// What an operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::Missing { .. } => Some(Remedy::action(
                "restore the key that belongs to this database, or name it with `FIRMAN_KEYS_DIR`, `FIRMAN_KEK` or `FIRMAN_KEK_FILE`",
            )),
            Self::Malformed { .. } => Some(Remedy::action("restore the key from your backup")),
            Self::Open { .. } => Some(Remedy::action(
                "restore the key that belongs to this database",
            )),
            Self::Unfit(error) => error.hint().map(Remedy::action),
            Self::File { .. } | Self::Seal { .. } => None,
        }
    }
}

/// Holds the key-encryption key.
pub(crate) struct Sealing {
    key: LessSafeKey,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealing")
    }
}

impl Sealing {
    /// Parses a key of 43 base64url characters; `origin` names its source.
    ///
    /// # Errors
    /// When it is not 32 bytes of base64url.
    pub(crate) fn from_text(text: &str, origin: &str) -> Result<Self, SealingError> {
        let malformed = || SealingError::Malformed {
            origin: origin.to_owned(),
        };
        let bytes = Zeroizing::new(decode_base64url(text.trim()).map_err(|_| malformed())?);
        if bytes.len() != KEK_BYTES {
            return Err(malformed());
        }
        let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| malformed())?;
        Ok(Self {
            key: LessSafeKey::new(key),
        })
    }

    /// Reads the key from a file.
    ///
    /// # Errors
    /// When the file is missing, unreadable or not a key, or its mode allows others to read it.
    pub(crate) fn from_file(path: &Path) -> Result<Self, SealingError> {
        match secret_file::read_text(path, Readers::OwnerOnly) {
            Ok(text) => Self::from_text(&text, &path.display().to_string()),
            Err(SecretFileError::Unreadable { path, source }) => {
                if source.kind() == io::ErrorKind::NotFound {
                    Err(SealingError::Missing { path })
                } else {
                    Err(SealingError::File { path, source })
                }
            }
            Err(
                error @ (SecretFileError::TooLarge { .. }
                | SecretFileError::NotText { .. }
                | SecretFileError::Exposed { .. }),
            ) => Err(SealingError::Unfit(error)),
        }
    }

    /// Generates a key in a new file that only its owner can read. Never overwrites a file.
    ///
    /// # Errors
    /// When the file exists already or cannot be written.
    pub(crate) fn create_file(path: &Path, random: &dyn Random) -> Result<Self, SealingError> {
        let fault = |source| SealingError::File {
            path: path.to_owned(),
            source,
        };
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(fault)?;
        let bytes = Zeroizing::new(random_bytes::<KEK_BYTES>(random));
        let text = Zeroizing::new(base64url(&*bytes));
        // Under another name first, with mode 0600: an interrupted start does not leave a partial key, and no
        // other user can read it.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fault)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.as_file().sync_all())
            .map_err(fault)?;
        file.persist_noclobber(path)
            .map_err(|error| fault(error.error))?;
        // Its directory entry must survive a power failure too, before anything is sealed with the key.
        #[cfg(unix)]
        std::fs::File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(fault)?;
        Self::from_text(&text, &path.display().to_string())
    }

    /// Encrypts `plain`, bound to the issuer and `name`.
    ///
    /// # Errors
    /// When the cipher fails (a value beyond its limits).
    pub(crate) fn seal(
        &self,
        issuer: &IssuerId,
        name: &str,
        plain: &[u8],
        random: &dyn Random,
    ) -> Result<Vec<u8>, SealingError> {
        let nonce = random_bytes::<NONCE_LEN>(random);
        let mut text = plain.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                bound_to(issuer, name),
                &mut text,
            )
            .map_err(|_| SealingError::Seal {
                name: name.to_owned(),
            })?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(LAYOUT);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Decrypts a value sealed for the issuer and `name`.
    ///
    /// # Errors
    /// When it was not sealed with this key for this name, or was changed.
    pub(crate) fn open(
        &self,
        issuer: &IssuerId,
        name: &str,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SealingError> {
        let fault = || SealingError::Open {
            name: name.to_owned(),
        };
        let (&layout, rest) = sealed.split_first().ok_or_else(fault)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or_else(fault)?;
        if layout != LAYOUT {
            return Err(fault());
        }
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .key
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                bound_to(issuer, name),
                &mut text,
            )
            .map_err(|_| fault())?
            .len();
        text.truncate(length);
        Ok(text)
    }
}

fn bound_to(issuer: &IssuerId, name: &str) -> Aad<Vec<u8>> {
    Aad::from(format!("firman-seal-1\0{issuer}\0{name}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::random::SystemRandom;

    #[test]
    fn a_sealed_value_opens_only_for_its_issuer_and_name_and_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let sealing = Sealing::create_file(&folder.path().join("kek"), &SystemRandom).unwrap();
        let other = Sealing::create_file(&folder.path().join("other"), &SystemRandom).unwrap();
        let (a, b) = (IssuerId::from_text("a"), IssuerId::from_text("b"));
        let sealed = sealing.seal(&a, "key", b"secret", &SystemRandom).unwrap();

        assert!(sealing.open(&b, "key", &sealed).is_err());
        assert!(sealing.open(&a, "kez", &sealed).is_err());
        assert!(other.open(&a, "key", &sealed).is_err());
        for length in 0..sealed.len() {
            assert!(
                sealing.open(&a, "key", &sealed[..length]).is_err(),
                "{length} bytes were enough"
            );
        }
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(
                sealing.open(&a, "key", &changed).is_err(),
                "a change at {position} passed"
            );
        }
        assert_eq!(
            sealing.open(&a, "key", &sealed).unwrap().as_slice(),
            b"secret"
        );
    }

    #[test]
    fn a_key_file_is_private_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/kek");
        assert!(matches!(
            Sealing::from_file(&path),
            Err(SealingError::Missing { .. })
        ));
        Sealing::create_file(&path, &SystemRandom).unwrap();
        assert!(matches!(
            Sealing::create_file(&path, &SystemRandom),
            Err(SealingError::File { .. })
        ));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
        std::fs::write(&path, "short").unwrap();
        assert!(matches!(
            Sealing::from_file(&path),
            Err(SealingError::Malformed { .. })
        ));
    }
}
