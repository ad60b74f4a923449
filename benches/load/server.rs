//! The program under test: starts it on free loopback ports with its own data, runs its commands, and reads its
//! resource use from the kernel. It ends when its value is dropped.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::Outcome;

const START_DEADLINE: Duration = Duration::from_secs(30);
/// The kernel's unit of processor time (`getconf CLK_TCK`), the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) struct Server {
    pub(crate) issuer: String,
    pub(crate) address: SocketAddr,
    admin_address: SocketAddr,
    directory: TempDir,
    process: Child,
}

/// What the process has used so far.
pub(crate) struct Usage {
    pub(crate) processor_seconds: f64,
    resident_kib: u64,
    peak_kib: u64,
}

impl Usage {
    pub(crate) fn resident_mib(&self) -> u64 {
        self.resident_kib / 1024
    }

    pub(crate) fn peak_mib(&self) -> u64 {
        self.peak_kib / 1024
    }
}

impl Server {
    /// Starts `firman serve` and waits until it answers.
    pub(crate) async fn start() -> Outcome<Self> {
        // Beside the build, not in /tmp, which may be in memory, where a commit costs nothing.
        let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let (address, admin_address) = free_addresses()?;
        let log = File::create(directory.path().join("log"))?;
        let process = command_in(&directory, address, admin_address)
            .arg("serve")
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let mut server = Self {
            issuer: format!("http://{address}"),
            address,
            admin_address,
            directory,
            process,
        };
        tokio::time::timeout(START_DEADLINE, server.wait_until_healthy())
            .await
            .map_err(|_| "firman did not become healthy")??;
        Ok(server)
    }

    async fn wait_until_healthy(&mut self) -> Outcome<()> {
        loop {
            if let Some(status) = self.process.try_wait()? {
                let log = std::fs::read_to_string(self.directory.path().join("log"))?;
                return Err(format!("firman ended with {status}:\n{log}").into());
            }
            if let Ok(mut stream) = TcpStream::connect(self.address).await {
                let request = format!(
                    "GET /healthz HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                    self.address
                );
                stream.write_all(request.as_bytes()).await?;
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await?;
                if answer.starts_with(b"HTTP/1.1 200") {
                    return Ok(());
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Runs one firman command against this server, in its directory; words are split at spaces.
    pub(crate) async fn command(&self, words: &str) -> Outcome<()> {
        let done = command_in(&self.directory, self.address, self.admin_address)
            .args(words.split_whitespace())
            .output()
            .await?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            return Err(format!("firman {words}: {said}").into());
        }
        Ok(())
    }

    /// Writes a file into the directory in which commands run.
    pub(crate) fn write_file(&self, name: &str, content: &str) -> Outcome<()> {
        Ok(std::fs::write(self.directory.path().join(name), content)?)
    }

    /// The server's resource use according to the kernel.
    pub(crate) fn usage(&self) -> Outcome<Usage> {
        let process = self.process.id().ok_or("firman ended during the run")?;
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let kib = |name: &str| {
            status
                .lines()
                .find_map(|line| {
                    line.strip_prefix(name)?
                        .trim()
                        .strip_suffix(" kB")?
                        .parse()
                        .ok()
                })
                .ok_or_else(|| format!("no {name} in /proc/{process}/status"))
        };
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
        // The name in brackets may contain spaces; utime and stime are the 12th and 13th field after it.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |index: usize| -> Outcome<f64> {
            Ok(fields.get(index).ok_or("a short /proc/PID/stat")?.parse()?)
        };
        Ok(Usage {
            processor_seconds: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND,
            resident_kib: kib("VmRSS:")?,
            peak_kib: kib("VmHWM:")?,
        })
    }
}

/// Without the caller's environment: a `FIRMAN_DATABASE_URL` there must not be used.
fn command_in(directory: &TempDir, address: SocketAddr, admin_address: SocketAddr) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firman"));
    command
        .current_dir(directory.path())
        .env_clear()
        .env("FIRMAN_LISTEN", address.to_string())
        .env("FIRMAN_ADMIN_LISTEN", admin_address.to_string())
        .env("FIRMAN_DATA_DIR", directory.path().join("data"))
        .env("FIRMAN_KEYS_DIR", directory.path().join("keys"))
        .stdin(Stdio::null());
    command
}

/// Two loopback ports that were free a moment ago, held together so that they differ.
fn free_addresses() -> Outcome<(SocketAddr, SocketAddr)> {
    let public = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let admin = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok((public.local_addr()?, admin.local_addr()?))
}
