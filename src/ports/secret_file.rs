//! Files with keys, secrets and tokens, as people keep them: read with a size limit, refused while other users
//! may read them, and stripped of what editors, shells and other systems add around a text. Every room reads
//! such files here.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::cause::reason;

/// Larger than any key, secret or token that is read here.
const FILE_MAX_BYTES: u64 = 64 * 1024;

/// The other users that may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// No one: it holds a long-lived secret.
    OwnerOnly,
    /// Anyone: it holds public or short-lived data.
    Anyone,
}

/// Why a file is not read. Does not contain any part of its content.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The operating system refused.
    #[error("cannot read `{}`: {}", path.display(), reason(source))]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// Longer than 64 KiB.
    #[error("`{}` is larger than 64 KiB", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// Neither UTF-8 nor UTF-16 with a byte order mark.
    #[error("`{}` is not text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The file belongs to this user, and its mode lets others read or write it.
    #[error("other users can access `{}` (mode {mode:04o})", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

impl SecretFileError {
    /// What the owner of the file can do about it: one action, lowercase.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. } | Self::NotText { .. } => None,
            Self::TooLarge { .. } => Some("check that it is the right file".to_owned()),
            Self::Exposed { path, .. } => {
                let path = shell_word(&path.display().to_string());
                Some(format!("run `chmod 600 {path}`"))
            }
        }
    }
}

/// The content of `path`, at most 64 KiB, wiped when dropped.
///
/// With [`Readers::OwnerOnly`] a regular file that belongs to this user and that others may access is
/// refused, as `ssh` refuses it. A file of another user (a secret mounted into a container) and one on a
/// read-only file system cannot be changed by this user, so their modes are not judged; nor are pipes.
///
/// # Errors
/// [`SecretFileError`], but never `NotText`.
pub fn read(path: &Path, readers: Readers) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let unreadable = |source| SecretFileError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    if let (Readers::OwnerOnly, Some(mode)) = (readers, exposed(&file).map_err(unreadable)?) {
        return Err(SecretFileError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    bounded(file, path)
}

/// Standard input to its end, with the same bound.
///
/// # Errors
/// When it cannot be read or is longer.
pub fn read_stdin() -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    bounded(io::stdin().lock(), Path::new("-"))
}

/// The text in `path`, tidied.
///
/// # Errors
/// [`SecretFileError`].
pub fn read_text(path: &Path, readers: Readers) -> Result<Zeroizing<String>, SecretFileError> {
    tidy(&read(path, readers)?).ok_or_else(|| SecretFileError::NotText {
        path: path.to_owned(),
    })
}

fn bounded(from: impl Read, path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let mut content = Zeroizing::new(Vec::new());
    from.take(FILE_MAX_BYTES + 1)
        .read_to_end(&mut content)
        .map_err(|source| SecretFileError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    if content.len() as u64 > FILE_MAX_BYTES {
        return Err(SecretFileError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(content)
}

/// The mode of a file that others may access although this user could forbid it.
#[cfg(unix)]
fn exposed(file: &File) -> io::Result<Option<u32>> {
    use std::os::unix::fs::MetadataExt as _;

    let metadata = file.metadata()?;
    let mode = metadata.mode() & 0o777;
    let is_ours = metadata.uid() == rustix::process::geteuid().as_raw();
    if !metadata.is_file() || !is_ours || mode & 0o077 == 0 {
        return Ok(None);
    }
    let mount = rustix::fs::fstatvfs(file)?;
    let is_read_only = mount.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY);
    Ok((!is_read_only).then_some(mode))
}

#[cfg(not(unix))]
fn exposed(_: &File) -> io::Result<Option<u32>> {
    Ok(None)
}

/// The text meant by `content`: UTF-8, or UTF-16 with a byte order mark (Windows PowerShell writes that),
/// without the mark, surrounding white space and line ends (also literal `\n`), and quotes around the whole.
/// `None` when it is not text.
#[must_use]
pub fn tidy(content: &[u8]) -> Option<Zeroizing<String>> {
    let text = match content {
        [0xEF, 0xBB, 0xBF, rest @ ..] => of_utf8(rest)?,
        [0xFF, 0xFE, rest @ ..] => of_utf16(rest, u16::from_le_bytes)?,
        [0xFE, 0xFF, rest @ ..] => of_utf16(rest, u16::from_be_bytes)?,
        rest => of_utf8(rest)?,
    };
    let mut meant = trim(&text);
    for quote in ['"', '\''] {
        let inner = meant
            .strip_prefix(quote)
            .and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            meant = trim(inner);
            break;
        }
    }
    Some(Zeroizing::new(meant.to_owned()))
}

fn of_utf8(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let text = std::str::from_utf8(bytes).ok()?;
    Some(Zeroizing::new(text.to_owned()))
}

fn of_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<Zeroizing<String>> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    // A character has at most three bytes in UTF-8 for two in UTF-16: the string never grows.
    let mut text = Zeroizing::new(String::with_capacity(bytes.len() * 2));
    for character in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        text.push(character.ok()?);
    }
    Some(text)
}

/// Removes white space at both ends, and the two characters `\n` or `\r` at the end, which `echo` and copied
/// program text leave there.
fn trim(text: &str) -> &str {
    let mut text = text.trim();
    while let Some(shorter) = text
        .strip_suffix(r"\n")
        .or_else(|| text.strip_suffix(r"\r"))
    {
        text = shorter.trim_end();
    }
    text
}

/// `word` for a shell: quoted unless it is plain.
#[must_use]
pub fn shell_word(word: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_./:@%+=,".contains(&b);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_stripped_of_what_surrounds_it() {
        for content in [
            &b"fmn_x"[..],
            b"fmn_x\n",
            b"fmn_x\r\n\r\n",
            b" \tfmn_x ",
            b"\xEF\xBB\xBFfmn_x\r\n",
            b"\"fmn_x\"\n",
            b"' fmn_x\\n'",
            b"fmn_x\\r\\n",
            b"\xFF\xFEf\0m\0n\0_\0x\0\r\0\n\0",
            b"\xFE\xFF\0f\0m\0n\0_\0x",
        ] {
            assert_eq!(tidy(content).unwrap().as_str(), "fmn_x", "{content:?}");
        }
    }

    #[test]
    fn characters_that_belong_to_a_text_are_kept() {
        for text in ["\"", "'a\"", "\"a", "a b", "{\"a\":\"b\"}", r"a\nb", ""] {
            assert_eq!(tidy(text.as_bytes()).unwrap().as_str(), text);
        }
    }

    #[test]
    fn content_that_is_not_text_is_recognized() {
        for content in [&b"\xff"[..], b"\xFF\xFEa", b"\xFF\xFE\x00\xD8"] {
            assert_eq!(tidy(content), None, "{content:?}");
        }
    }

    #[test]
    fn a_file_of_other_sizes_than_secrets_have_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("large");
        std::fs::write(&path, vec![b'a'; 65_537]).unwrap();
        let refused = read(&path, Readers::Anyone).unwrap_err();
        assert!(matches!(refused, SecretFileError::TooLarge { .. }));
        let missing = read(&folder.path().join("no"), Readers::Anyone).unwrap_err();
        assert!(matches!(missing, SecretFileError::Unreadable { .. }));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_access_is_refused_with_the_command_that_forbids_it() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("it's"), folder.path().join("link"));
        std::fs::write(&path, "x").unwrap();
        symlink(&path, &link).unwrap();
        for (mode, is_refused) in [
            (0o644, true),
            (0o640, true),
            (0o604, true),
            (0o620, true),
            (0o600, false),
            (0o400, false),
        ] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            for path in [&path, &link] {
                assert_eq!(
                    read(path, Readers::OwnerOnly).is_err(),
                    is_refused,
                    "{mode:o}"
                );
                assert!(read(path, Readers::Anyone).is_ok());
            }
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let refused = read(&path, Readers::OwnerOnly).unwrap_err();
        let shown = format!("{refused}\nhint: {}", refused.hint().unwrap());
        assert_eq!(
            shown.replace(&folder.path().display().to_string(), "DIR"),
            "other users can access `DIR/it's` (mode 0644)\nhint: run `chmod 600 'DIR/it'\\''s'`"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_and_a_file_of_another_user_are_not_judged_by_their_mode() {
        let (out, into) = std::io::pipe().unwrap();
        let fd = std::os::fd::AsRawFd::as_raw_fd(&out);
        drop(into);
        assert!(read(Path::new(&format!("/dev/fd/{fd}")), Readers::OwnerOnly).is_ok());
        if !rustix::process::geteuid().is_root() {
            assert!(read(Path::new("/etc/hostname"), Readers::OwnerOnly).is_ok());
        }
    }
}
