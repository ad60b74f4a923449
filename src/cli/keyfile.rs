//! Files with keys, secrets and tokens: read with a size limit, written so that only their owner can read them,
//! and never written over an existing key.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::error::CliError;
use crate::domain::remedy::Remedy;
use crate::issuer::secrets::check_shape;
use crate::jose::{JwkError, PublicJwk, SigningAlgorithm, SigningKey};
use crate::ports::secret_file::{self, Readers, SecretFileError, shell_word};
use crate::relying_party::claude::check_ca_cert;

/// The content of `path`, or of stdin for `-`, wiped when dropped.
fn read(path: &Path, readers: Readers) -> Result<Zeroizing<Vec<u8>>, CliError> {
    if path == Path::new("-") {
        return secret_file::read_stdin().map_err(refused);
    }
    secret_file::read(path, readers).map_err(refused)
}

/// The text of `path`, or of stdin for `-`, without a byte order mark, quotes and white space around it.
pub(super) fn read_text(path: &Path, readers: Readers) -> Result<Zeroizing<String>, CliError> {
    let content = read(path, readers)?;
    secret_file::tidy(&content)
        .ok_or_else(|| CliError::failed("file", format!("`{}` is not text", path.display())))
}

/// Why a file was not read, as an error of the command line.
pub(super) fn refused(error: SecretFileError) -> CliError {
    match error {
        SecretFileError::Unreadable { path, source } => CliError::file(&path, "read", &source),
        SecretFileError::TooLarge { .. }
        | SecretFileError::NotText { .. }
        | SecretFileError::Exposed { .. } => {
            CliError::failed("file", error.to_string()).with_hint(error.hint())
        }
    }
}

/// A token: one line of text without the white space around it.
pub(super) fn read_line(path: &Path, what: &str) -> Result<SecretString, CliError> {
    one_line(path, what, Readers::Anyone)
}

/// A client secret. A malformed one is rejected here, because sending it would count as a failed attempt.
pub(super) fn read_secret(path: &Path) -> Result<SecretString, CliError> {
    let secret = one_line(path, "client secret", Readers::OwnerOnly)?;
    check_secret(path, &secret)?;
    Ok(secret)
}

/// Rejects a malformed client secret and names its file.
pub(super) fn check_secret(path: &Path, secret: &SecretString) -> Result<(), CliError> {
    check_shape(secret.expose_secret())
        .map_err(|problem| CliError::failed("secret", format!("`{}` {problem}", path.display())))
}

fn one_line(path: &Path, what: &str, readers: Readers) -> Result<SecretString, CliError> {
    let content = read(path, readers)?;
    let line = secret_file::tidy(&content).unwrap_or_default();
    if line.is_empty() || line.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(CliError::failed(
            "file",
            format!(
                "`{}` does not contain a {what}: expected one line of text without spaces",
                path.display()
            ),
        ));
    }
    Ok(line.as_str().into())
}

/// The certificates of private authorities from a PEM file with nothing else.
pub(super) fn read_ca_cert(path: &Path) -> Result<String, CliError> {
    let text = read_text(path, Readers::Anyone)?;
    check_ca_cert(&text).map_err(|invalid| {
        CliError::failed("file", format!("`{}` {}", path.display(), invalid.problem))
    })?;
    Ok(format!("{}\n", *text))
}

/// A public key from a file with PEM, a JWK, a JWK Set of one or an SSH key.
pub(super) fn read_public(path: &Path) -> Result<PublicJwk, CliError> {
    let content = read(path, Readers::Anyone)?;
    PublicJwk::from_file_content(&content).map_err(|problem| {
        // The key is still secret: it was not sent.
        let public_key = if problem == JwkError::PrivatePem {
            "openssl pkey -in FILE -pubout"
        } else if problem == JwkError::PrivateSsh {
            "ssh-keygen -y -f FILE"
        } else if matches!(problem, JwkError::Private(_)) {
            "jq 'del(.d,.p,.q,.dp,.dq,.qi,.key_ops)' FILE"
        } else {
            return key_error(path, &problem.to_string(), problem.hint());
        };
        let hint = format!("register the public key, which `{public_key}` prints");
        key_error(path, "it is a private key and was not sent", Some(hint))
    })
}

/// A private key from a file with PEM, a JWK or a JWK Set of one.
pub(super) fn read_private(path: &Path) -> Result<SigningKey, CliError> {
    let content = read(path, Readers::OwnerOnly)?;
    SigningKey::from_file_content(None, &content)
        .map_err(|problem| key_error(path, &problem.to_string(), problem.hint()))
}

/// A key's problem with the file that it is in; the command of a hint is for that file.
fn key_error(path: &Path, problem: &str, hint: Option<String>) -> CliError {
    let path = path.display().to_string();
    let hint = hint.map(|hint| match path.as_str() {
        "-" => hint,
        path => hint
            .replace("FILE.plain", &shell_word(&format!("{path}.plain")))
            .replace("FILE.pem", &shell_word(&format!("{path}.pem")))
            .replace("FILE", &shell_word(path)),
    });
    CliError::failed("key", format!("cannot use `{path}`: {problem}")).with_hint(hint)
}

/// A file for a secret or key, made new with mode 0600. Unless [`NewFile::keep`] is called, dropping it
/// removes the file again: a credential that was not registered would only be mistaken for one that is.
pub(super) struct NewFile {
    path: PathBuf,
    file: fs::File,
    is_kept: bool,
}

impl NewFile {
    /// Creates an empty file. An existing one, of any kind, is left unchanged.
    pub(super) fn create(path: &Path) -> Result<Self, CliError> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| {
                if error.kind() == io::ErrorKind::AlreadyExists {
                    return CliError::failed(
                        "file",
                        format!("`{}` already exists", path.display()),
                    )
                    .with_remedy(&Remedy::action("name another file, or move that one away"));
                }
                CliError::file(path, "create", &error)
            })?;
        Ok(Self {
            path: path.to_owned(),
            file,
            is_kept: false,
        })
    }

    /// Writes the content, once, to the disk.
    pub(super) fn write(&mut self, content: &str) -> Result<(), CliError> {
        self.file
            .write_all(content.as_bytes())
            .and_then(|()| self.file.sync_all())
            .map_err(|error| CliError::file(&self.path, "write", &error))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its content is registered: the file stays.
    pub(super) fn keep(&mut self) {
        self.is_kept = true;
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.is_kept {
            // A failure cannot be handled here, and the error that led here matters more.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A private key that was just made, in a file of its own.
pub(super) struct KeyFile {
    file: NewFile,
    public: PublicJwk,
}

impl KeyFile {
    /// Makes an ES256 key and writes it to `path` as PKCS#8 PEM.
    pub(super) fn generate(path: &Path) -> Result<Self, CliError> {
        Self::with(path, |key| {
            let pem = key.to_pkcs8_pem();
            pem.map_err(|problem| CliError::failed("key", problem.to_string()))
        })
    }

    /// Makes an ES256 key and writes to `path` what `content` makes of it.
    pub(super) fn with(
        path: &Path,
        content: impl FnOnce(&SigningKey) -> Result<Zeroizing<String>, CliError>,
    ) -> Result<Self, CliError> {
        let key = SigningKey::generate(SigningAlgorithm::Es256)
            .map_err(|problem| CliError::failed("key", problem.to_string()))?;
        let content = content(&key)?;
        let mut file = NewFile::create(path)?;
        file.write(&content)?;
        let public = key.public_jwk().clone();
        Ok(Self { file, public })
    }

    /// The public half.
    pub(super) fn public(&self) -> &PublicJwk {
        &self.public
    }

    /// Where the private half is.
    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// The key is registered: the file stays.
    pub(super) fn keep(&mut self) {
        self.file.keep();
    }
}

/// Replaces `path` by a file with `content` and mode 0600 such that a reader sees the old file or the
/// whole new one, also after a power cut.
pub(super) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), CliError> {
    replace(path, content, 0o600)
}

/// The same for content that is public.
pub(super) fn write_public(path: &Path, content: &[u8]) -> Result<(), CliError> {
    replace(path, content, 0o644)
}

fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), CliError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let write = || -> io::Result<()> {
        // tempfile makes files with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(content)?;
        file.as_file()
            .set_permissions(fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(|error| CliError::file(path, "write", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn an_existing_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mailer.pem");
        fs::write(&path, "precious").unwrap();
        let error = KeyFile::generate(&path).err().unwrap().text().unwrap();
        assert!(error.ends_with(
            "mailer.pem` already exists\nhint: name another file, or move that one away"
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_dangling_link_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mailer.pem");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(KeyFile::generate(&path).is_err());
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn a_key_that_was_not_registered_is_removed_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mailer.pem");
        drop(KeyFile::generate(&path).unwrap());
        assert!(!path.exists());
    }

    #[test]
    fn a_generated_key_reads_back_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mailer.pem");
        let mut file = KeyFile::generate(&path).unwrap();
        file.keep();
        let thumbprint = file.public().thumbprint().to_owned();
        drop(file);
        assert_eq!(mode(&path), 0o600);
        assert_eq!(read_private(&path).unwrap().kid(), thumbprint);
    }

    #[test]
    fn a_private_key_is_not_accepted_as_a_public_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mailer.pem");
        KeyFile::generate(&path).unwrap().keep();
        assert!(read_public(&path).is_err());
    }

    #[test]
    fn a_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_atomically(&path, b"new\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new\n");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_secret_file_holds_one_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        for bad in [&b""[..], b"\n", b"a\nb\n", b"a b", b"\xff"] {
            fs::write(&path, bad).unwrap();
            assert!(read_line(&path, "client secret").is_err(), "{bad:?}");
        }
        fs::write(&path, b"fmn_x\r\n").unwrap();
        use secrecy::ExposeSecret;
        assert_eq!(
            read_line(&path, "client secret").unwrap().expose_secret(),
            "fmn_x"
        );
    }
}
