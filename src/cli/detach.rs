//! `--detach`: starts this program again in the background, waits until it reports that it is ready, and
//! leaves it running. It reports as to a service manager (sd_notify(3)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};

use super::error::CliError;
use super::notify::DETAILS;
use crate::domain::remedy::Remedy;

/// A datagram of a service that is ready is far smaller.
const DATAGRAM_MAX_BYTES: usize = 16 * 1024;
/// How much of the log of a failed start is read.
const LOG_MAX_BYTES: u64 = 64 * 1024;

/// A program that runs in the background and is ready.
#[derive(Debug)]
pub(super) struct Detached {
    /// Its process id.
    pub(super) pid: u32,
    /// The `DETAILS` of its notification.
    pub(super) details: Value,
}

/// Runs this program with `arguments` in the background, its output appended to the file `log`.
///
/// # Errors
/// When it cannot be started, or ends before it is ready: with the error that it logged.
pub(super) async fn detach(arguments: &[OsString], log: &Path) -> Result<Detached, CliError> {
    let failed = |error: io::Error| CliError::failed("start", error.to_string());
    let output = append_to(log)?;
    let written_before = output.metadata().map_err(failed)?.len();
    let folder = tempfile::tempdir().map_err(failed)?;
    let address = folder.path().join("notify");
    let socket = UnixDatagram::bind(&address).map_err(failed)?;
    let mut child = Command::new(crate::config::program().map_err(failed)?)
        .args(arguments)
        .env("NOTIFY_SOCKET", &address)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(failed)?)
        .stderr(output)
        // A Ctrl-C on this terminal must not reach the background process.
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    tokio::select! {
        details = readiness(&socket) => Ok(Detached {
            pid: child.id().unwrap_or_default(),
            details: details.map_err(failed)?,
        }),
        _ = child.wait() => Err(reason(log, written_before)),
        _ = tokio::signal::ctrl_c() => Err(abandon(child).await),
    }
}

/// Waits for the notification of readiness.
async fn readiness(socket: &UnixDatagram) -> io::Result<Value> {
    let mut buffer = vec![0; DATAGRAM_MAX_BYTES];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let text = String::from_utf8_lossy(&buffer[..length]);
        let fields: BTreeMap<&str, &str> = text
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect();
        if fields.get("READY") == Some(&"1") {
            let details = fields.get(DETAILS).copied().unwrap_or_default();
            return Ok(serde_json::from_str(details).unwrap_or_default());
        }
    }
}

async fn abandon(mut child: Child) -> CliError {
    let cancelled = CliError::failed(
        "cancelled",
        "interrupted; stopped the issuer before it was ready",
    );
    match child.kill().await {
        Ok(()) => cancelled,
        Err(error) => CliError::failed("cancelled", format!("cannot stop the issuer: {error}")),
    }
}

/// The error that a failed start wrote into its log, beyond the first `written_before` bytes.
fn reason(log: &Path, written_before: u64) -> CliError {
    let mut text = String::new();
    let read = File::open(log).and_then(|mut file| {
        file.seek(SeekFrom::Start(written_before))?;
        file.take(LOG_MAX_BYTES).read_to_string(&mut text)
    });
    let last = |prefix: &str| {
        text.lines()
            .rev()
            .find_map(|line| line.strip_prefix(prefix))
    };
    match (read, last("error: ")) {
        (Ok(_), Some(error)) => {
            let error = CliError::failed("start", error);
            match last("hint: ") {
                Some(hint) => error.with_remedy(&Remedy::action(hint)),
                None => error,
            }
        }
        (Ok(_) | Err(_), _) => {
            let remedy = Remedy::action(format!("read the log in `{}`", log.display()));
            CliError::failed("start", "the issuer ended before it was ready").with_remedy(&remedy)
        }
    }
}

/// Opens a log that only its owner may read.
fn append_to(path: &Path) -> Result<File, CliError> {
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| CliError::file(path, "open", &error))
}
