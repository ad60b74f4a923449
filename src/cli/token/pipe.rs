//! Serves each reader of a path its own token, and lets it wait while none is available: `exec` uses it where
//! the SDKs read a file. The path is a named pipe (fifo(7)), which all of Claude's SDKs read as they read a
//! file.
//!
//! Opening a pipe for writing blocks until a reader is there, so a thread does nothing else: it opens, and
//! replaces the pipe that has its reader by another one. Two readers that open in between, some ten
//! microseconds, share a pipe: one of them gets the token and the other one nothing.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::expose;
use super::minting::Source;
use super::pace::{PATIENCE, Pool, Token};
use super::supply::Supply;
use crate::cli::error::{CliError, reason};
use crate::cli::print::Printer;
use crate::domain::remedy::Remedy;

/// Maximum number of readers that wait; further ones find nothing.
const WAITING_MAX: usize = 256;
/// Pause between two tries to create or replace a pipe after a passing fault, such as a full disk.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A reader that waits for its token.
struct Waiting {
    since: Duration,
    end: File,
}

/// A path where each reader finds its own token.
pub(in crate::cli) struct Pipe<'a> {
    supply: Supply<'a>,
    pool: Pool,
    path: PathBuf,
    /// None once no more readers can be served.
    arrivals: Option<UnboundedReceiver<io::Result<File>>>,
    waiting: VecDeque<Waiting>,
    /// Whether the warning about too many readers was printed.
    is_crowded: bool,
}

impl<'a> Pipe<'a> {
    /// Creates a pipe at `path`, in a directory that only this process uses. Readers wait until [`Pipe::start`]
    /// has a token.
    ///
    /// # Errors
    /// A system or a file system without named pipes.
    pub(in crate::cli) fn new(source: &'a Source, path: &Path) -> io::Result<Self> {
        make(path)?;
        let (sender, arrivals) = mpsc::unbounded_channel();
        let at = path.to_owned();
        std::thread::Builder::new()
            .name("readers".to_owned())
            .spawn(move || {
                if let Err(error) = admit(&at, &sender) {
                    release(&at);
                    // It may have been told to end.
                    let _ = sender.send(Err(error));
                }
            })?;
        Ok(Self {
            supply: Supply::new(source),
            pool: Pool::new(true),
            path: path.to_owned(),
            arrivals: Some(arrivals),
            waiting: VecDeque::new(),
            is_crowded: false,
        })
    }

    /// Gets the first token, however long the issuer is unreachable.
    ///
    /// # Errors
    /// A refusal: waiting does not help.
    pub(in crate::cli) async fn start(&mut self, printer: &mut Printer) -> Result<(), CliError> {
        while !self.supply.has_begun() {
            self.turn(printer).await?;
        }
        Ok(())
    }

    /// Serves readers after [`Pipe::start`], until it is dropped.
    pub(in crate::cli) async fn keep(&mut self, printer: &mut Printer) -> CliError {
        loop {
            if let Err(error) = self.turn(printer).await {
                return error;
            }
        }
    }

    /// Does what is due, then waits for the next thing to happen.
    async fn turn(&mut self, printer: &mut Printer) -> Result<(), CliError> {
        let now = self.supply.now();
        self.serve(now);
        let mut wake = self.turn_away(now, printer).min(self.pool.wake(now));
        let wants_more = self
            .pool
            .wants(self.waiting.len(), self.supply.under_way(), now);
        if wants_more {
            let asked = match self.pool.limit(now) {
                Duration::ZERO => self.supply.ask(now),
                limit => Some(limit),
            };
            match asked {
                None => {
                    self.pool.asked(now);
                    return Ok(());
                }
                Some(wait) => wake = wake.min(wait),
            }
        }
        let Self {
            supply, arrivals, ..
        } = self;
        let arrival = async {
            match arrivals {
                Some(arrivals) => arrivals.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            arrival = arrival => {
                self.welcome(arrival, printer);
                Ok(())
            }
            minted = supply.next() => self.take_in(minted, printer),
            () = tokio::time::sleep(wake) => Ok(()),
        }
    }

    /// Serves tokens to the waiting readers, in order.
    fn serve(&mut self, now: Duration) {
        while !self.waiting.is_empty()
            && let Some(token) = self.pool.take(now, true)
            && let Some(reader) = self.waiting.pop_front()
        {
            if hand_over(&reader.end, &token).is_err() {
                // The reader has gone, and the token is still unused.
                self.pool.put_back(token);
            }
        }
    }

    /// Turns away readers that have waited long enough: they read an empty file. Returns the wait until the
    /// next one is due.
    fn turn_away(&mut self, now: Duration, printer: &mut Printer) -> Duration {
        while let Some(first) = self.waiting.front() {
            let left = (first.since + PATIENCE).saturating_sub(now);
            if !left.is_zero() {
                return left;
            }
            self.waiting.pop_front();
            printer.warn(&format!(
                "warning: a reader of `{}` waited {} s and got no token",
                self.path.display(),
                PATIENCE.as_secs()
            ));
        }
        Duration::MAX
    }

    /// Lets a reader wait, or turns it away when too many wait already. Without a pipe (its directory was removed,
    /// for example) the command continues with the Claude tokens that it has.
    fn welcome(&mut self, arrival: Option<io::Result<File>>, printer: &mut Printer) {
        let now = self.supply.now();
        match arrival.unwrap_or_else(|| Err(io::ErrorKind::BrokenPipe.into())) {
            Ok(_) if self.waiting.len() >= WAITING_MAX => {
                if !self.is_crowded {
                    self.is_crowded = true;
                    printer.warn(&format!(
                        "warning: {WAITING_MAX} readers of `{}` wait for a token: further readers get an empty file",
                        self.path.display()
                    ));
                }
            }
            Ok(end) => {
                self.is_crowded = false;
                self.pool.read(now);
                self.waiting.push_back(Waiting { since: now, end });
            }
            Err(error) => {
                self.arrivals = None;
                let error = CliError::file(&self.path, "replace", &error);
                let remedy = Remedy::action("restart the command: it gets no more tokens");
                printer.error(&error.with_remedy(&remedy));
            }
        }
    }

    fn take_in(
        &mut self,
        minted: Result<Token, CliError>,
        printer: &mut Printer,
    ) -> Result<(), CliError> {
        match minted {
            Ok(token) => {
                if self.supply.succeeded() {
                    printer.hint("The issuer issues tokens again");
                }
                let now = self.supply.now();
                self.pool.stock(token, now);
                Ok(())
            }
            Err(error) if !self.supply.has_begun() && !error.is_passing() => Err(error),
            Err(error) => {
                let pause = self.supply.failed().as_secs_f64().ceil();
                printer.error(&error.and(&format!("Trying again in {pause} s")));
                Ok(())
            }
        }
    }
}

/// Opens the pipe at `path` for each reader in turn, and replaces it by another one.
fn admit(path: &Path, sender: &UnboundedSender<io::Result<File>>) -> io::Result<()> {
    let next = path.with_extension("next");
    loop {
        // Ready before it is needed: only the rename lies between a reader and its privacy.
        persist(sender, || prepare(&next))?;
        let end = persist(sender, || File::options().write(true).open(path))?;
        persist(sender, || replace(&next, path))?;
        if sender.send(Ok(end)).is_err() {
            return Ok(());
        }
    }
}

/// Makes the pipe at `path`, if it is not there yet.
fn prepare(path: &Path) -> io::Result<()> {
    match make(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Replaces `path` by `next`. The command may have removed it: then another one is created.
fn replace(next: &Path, path: &Path) -> io::Result<()> {
    match std::fs::rename(next, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(next)?;
            std::fs::rename(next, path)
        }
        renamed => renamed,
    }
}

/// Tries until `attempt` succeeds, fails for a permanent reason, or readers are no longer wanted.
fn persist<T>(
    sender: &UnboundedSender<io::Result<File>>,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    loop {
        match attempt() {
            Err(error) if passes(&error) && !sender.is_closed() => {
                std::thread::sleep(RETRY_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// True for a lack of space, memory or descriptors.
fn passes(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::NOMEM,
            Errno::MFILE,
            Errno::NFILE,
            Errno::INTR,
        ]
        .contains(&errno)
    })
}

/// Ends the wait of readers that block on a pipe without a writer: they read nothing, and later ones find no
/// file.
fn release(path: &Path) {
    let pipe = File::options()
        .read(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path);
    // Without the file no reader waits.
    let _ = std::fs::remove_file(path);
    drop(pipe);
}

#[cfg(target_os = "linux")]
fn make(path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, Mode, mkfifoat};
    Ok(mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR)?)
}

#[cfg(not(target_os = "linux"))]
fn make(_path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Writes the token into a reader's pipe, which is empty and has room for more than a token (16 KiB): a stopped
/// reader must not delay the others.
fn hand_over(mut end: &File, token: &Token) -> io::Result<()> {
    rustix::fs::fcntl_setfl(end, rustix::fs::OFlags::NONBLOCK)?;
    end.write_all(format!("{}\n", expose(&token.text)).as_bytes())
}

/// The warning when a pipe cannot be created.
pub(in crate::cli) fn why_not(path: &Path, error: &io::Error) -> String {
    format!(
        "warning: cannot create a named pipe at `{}` ({}): using a plain file, from which two concurrent readers may get the same token",
        path.display(),
        reason(error)
    )
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
