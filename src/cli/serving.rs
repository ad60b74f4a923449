//! Which process serves a data directory: the process keeps a file there locked while it runs. `firman stop` and
//! `firman healthcheck` therefore never mistake another program for it, even when its process id was reused.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::CliError;
use crate::domain::remedy::Remedy;

/// The file in the data directory.
const FILE: &str = "serving.json";
/// A command that reads the file holds its lock for microseconds; the server tries this often.
const TRIES: u32 = 10;
/// Pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// What a running server records about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Serving {
    /// Its process id.
    pub(super) pid: u32,
    /// Base URL of the public listener, as this machine reaches it.
    pub(super) public: String,
    /// Base URL of the private listener, as this machine reaches it.
    pub(super) private: String,
}

/// The lock on a data directory's file, held by the process that serves it.
#[derive(Debug)]
pub(super) struct Claim {
    file: File,
    path: PathBuf,
}

impl Claim {
    /// Locks the file of `data_dir`, which must exist. `None` when another process serves with the same
    /// directory, as replicas on one machine may: the file then describes the first.
    ///
    /// # Errors
    /// When the file cannot be made or locked.
    pub(super) async fn take(data_dir: &Path) -> Result<Option<Self>, CliError> {
        let path = data_dir.join(FILE);
        let fault = |error: &io::Error| CliError::file(&path, "lock", error);
        let file = open(&path).map_err(|error| fault(&error))?;
        for _ in 0..TRIES {
            match file.try_lock() {
                Ok(()) => {
                    // What an earlier process recorded is not true of this one.
                    file.set_len(0).map_err(|error| fault(&error))?;
                    return Ok(Some(Self { file, path }));
                }
                Err(TryLockError::WouldBlock) => tokio::time::sleep(PAUSE).await,
                Err(TryLockError::Error(error)) => return Err(fault(&error)),
            }
        }
        Ok(None)
    }

    /// Records where the server listens.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn announce(&mut self, serving: &Serving) -> Result<(), CliError> {
        let text = serde_json::to_string(serving).unwrap_or_default();
        let written = (|| {
            self.file.set_len(0)?;
            self.file.rewind()?;
            self.file.write_all(text.as_bytes())
        })();
        written.map_err(|error| CliError::file(&self.path, "write", &error))
    }
}

/// The process that serves `data_dir`; `None` when no process does, or it is still starting.
///
/// # Errors
/// When the file is there and cannot be read.
pub(super) fn find(data_dir: &Path) -> Result<Option<Serving>, CliError> {
    let path = data_dir.join(FILE);
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(CliError::file(&path, "read", &error)),
    };
    match file.try_lock_shared() {
        // The lock is released, so the process has ended.
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            file.read_to_string(&mut text)
                .map_err(|error| CliError::file(&path, "read", &error))?;
            Ok(serde_json::from_str(&text).ok())
        }
        Err(TryLockError::Error(error)) => Err(CliError::file(&path, "read", &error)),
    }
}

/// [`find`], where a missing server is an error with the command that starts one.
///
/// # Errors
/// When no process serves `data_dir`, or its file cannot be read.
pub(super) fn expect(data_dir: &Path) -> Result<Serving, CliError> {
    find(data_dir)?.ok_or_else(|| {
        CliError::failed(
            "not_running",
            format!(
                "no issuer is running with the data directory `{}`",
                data_dir.display()
            ),
        )
        .with_remedy(&Remedy::command("serve --detach"))
    })
}

fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving() -> Serving {
        Serving {
            pid: 7,
            public: "http://127.0.0.1:1".to_owned(),
            private: "http://127.0.0.1:2".to_owned(),
        }
    }

    #[tokio::test]
    async fn a_directory_is_served_while_the_lock_is_held_and_no_longer() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(find(dir.path()).unwrap(), None);
        let mut claim = Claim::take(dir.path()).await.unwrap().unwrap();
        assert_eq!(find(dir.path()).unwrap(), None, "it is still starting");
        claim.announce(&serving()).unwrap();
        assert_eq!(find(dir.path()).unwrap(), Some(serving()));
        assert!(Claim::take(dir.path()).await.unwrap().is_none());
        drop(claim);
        assert_eq!(find(dir.path()).unwrap(), None);
        let error = expect(dir.path()).unwrap_err().text().unwrap();
        assert!(error.ends_with("\nhint: firman serve --detach"), "{error}");
    }

    #[tokio::test]
    async fn a_shorter_record_replaces_a_longer_one() {
        let dir = tempfile::tempdir().unwrap();
        let mut claim = Claim::take(dir.path()).await.unwrap().unwrap();
        let long = Serving {
            public: "http://127.0.0.1:10000".to_owned(),
            ..serving()
        };
        claim.announce(&long).unwrap();
        claim.announce(&serving()).unwrap();
        assert_eq!(find(dir.path()).unwrap(), Some(serving()));
    }
}
