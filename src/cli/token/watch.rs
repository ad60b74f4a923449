//! Keeps an unused token in a file: `token get --watch`, and `exec --plain-file`.
//!
//! [`pace`](super::pace) decides when, [`supply`](super::supply) requests tokens, [`reads`](super::reads)
//! detects the consumers; this file replaces the token and reports. A file is replaced by a whole new one. A
//! token for one exchange does not stay after it was read: without a successor its file is removed, because
//! Claude's SDKs report a missing file clearly, but would send an empty or used token and be rejected without a
//! reason.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::expose;
use super::minting::Source;
use super::pace::{Retry, Shelf, Token};
use super::reads::{Notice, Reads};
use super::supply::{Supply, jitter};
use crate::cli::error::{CliError, reason};
use crate::cli::notify::Supervisor;
use crate::cli::print::Printer;
use crate::ports::time::{Clock as _, SystemClock};

/// A file that always holds an unused token.
pub(in crate::cli) struct Watch<'a> {
    supply: Supply<'a>,
    path: PathBuf,
    supervisor: Supervisor,
    shelf: Shelf,
    reads: Option<Reads>,
    place_retry: Retry,
    /// Whether two reads of the current token were reported.
    said_shared: bool,
}

impl<'a> Watch<'a> {
    /// Prepares to keep a token in `path`; nothing is written yet.
    pub(in crate::cli) fn new(
        source: &'a Source,
        path: &Path,
        supervisor: Supervisor,
        printer: &mut Printer,
    ) -> Self {
        let reads = Reads::watch(path);
        if let Err(error) = &reads {
            printer.warn(&format!(
                "warning: cannot detect reads of `{}` ({}): its token is replaced by time only, so let only one process read it",
                path.display(),
                reason(error)
            ));
        }
        Self {
            supply: Supply::new(source),
            path: path.to_owned(),
            supervisor,
            shelf: Shelf::new(reads.is_ok()),
            reads: reads.ok(),
            place_retry: Retry::default(),
            said_shared: false,
        }
    }

    /// Puts the first token in place, however long the issuer is unreachable.
    ///
    /// # Errors
    /// A refusal or a file that cannot be written: waiting does not help.
    pub(in crate::cli) async fn start(&mut self, printer: &mut Printer) -> Result<(), CliError> {
        while self.shelf.placed_until().is_none() {
            self.turn(printer).await?;
        }
        Ok(())
    }

    /// Reports what will happen from now on.
    pub(in crate::cli) fn announce(&self, printer: &mut Printer) {
        let Some(until) = self.shelf.placed_until() else {
            return;
        };
        let when_read = match self.reads {
            Some(_) => ", and after each read",
            None => "",
        };
        printer.hint(&format!(
            "{} holds a token, valid until {until}; it is replaced before half of its lifetime has passed{when_read}",
            self.path.display()
        ));
    }

    /// Keeps it fresh and unused after [`Watch::start`], until it is dropped.
    pub(in crate::cli) async fn keep(&mut self, printer: &mut Printer) -> CliError {
        loop {
            if let Err(error) = self.turn(printer).await {
                return error;
            }
        }
    }

    /// Notifies the supervisor that this ends, and reports what remains.
    pub(in crate::cli) fn stop(&self, printer: &mut Printer) {
        self.tell(self.supervisor.stopping(), printer);
        if let Some(until) = self.shelf.placed_until()
            && !self.shelf.is_away()
        {
            printer.hint(&format!(
                "Stopped; {} keeps its last token, valid until {until}",
                self.path.display()
            ));
        }
    }

    /// Does what is due, then waits for the next thing to happen. An error only before the first token
    /// is in place.
    async fn turn(&mut self, printer: &mut Printer) -> Result<(), CliError> {
        let now = self.supply.now();
        let decision = self.shelf.decide(self.supply.under_way(), now);
        let mut wake = decision.wake;
        if decision.place {
            match self.place_retry.wait(now) {
                Duration::ZERO => return self.place(now, printer),
                wait => wake = wake.min(wait),
            }
        }
        if decision.take_away {
            self.take_away(printer);
        }
        if decision.mint {
            match self.supply.ask(now) {
                None => {
                    self.shelf.pool.asked(now);
                    // Another one may be wanted.
                    return Ok(());
                }
                Some(wait) => wake = wake.min(wait),
            }
        }
        let Self { supply, reads, .. } = self;
        let seen = async {
            match reads {
                Some(reads) => reads.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // Reads come first: the next reader must not get the same token.
            biased;
            seen = seen => {
                self.heed(seen, printer);
                Ok(())
            }
            minted = supply.next() => self.take_in(minted, printer),
            () = tokio::time::sleep(wake) => Ok(()),
        }
    }

    fn heed(&mut self, seen: std::io::Result<Vec<super::reads::Seen>>, printer: &mut Printer) {
        let (Some(reads), Ok(seen)) = (&mut self.reads, seen) else {
            // The queue is broken: continue by time only.
            self.reads = None;
            self.shelf.used();
            printer.warn(&format!(
                "warning: can no longer detect reads of `{}`: its token is replaced by time only",
                self.path.display()
            ));
            return;
        };
        let notices: Vec<Notice> = seen
            .into_iter()
            .filter_map(|seen| reads.readers.see(seen))
            .collect();
        let now = self.supply.now();
        for notice in notices {
            self.shelf.pool.read(now);
            match notice {
                Notice::Used => self.shelf.used(),
                Notice::ReadAgain => {
                    if !std::mem::replace(&mut self.said_shared, true) {
                        printer.warn(&format!(
                            "warning: `{}` was read twice before its token was replaced: two readers hold the same token, and services that accept each token once (Claude) reject the second reader until it reads again. If this happens often, use one file for each process",
                            self.path.display()
                        ));
                    }
                }
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
                self.shelf.pool.stock(token, now);
                Ok(())
            }
            Err(error) if self.shelf.placed_until().is_none() && !error.is_passing() => Err(error),
            Err(error) => {
                let pause = self.supply.failed();
                self.say_failed(error, pause, printer);
                Ok(())
            }
        }
    }

    fn place(&mut self, now: Duration, printer: &mut Printer) -> Result<(), CliError> {
        let Some(token) = self.shelf.take(now) else {
            return Ok(());
        };
        if let Err(error) = write(&self.path, &token) {
            self.shelf.pool.put_back(token);
            if self.shelf.placed_until().is_none() {
                return Err(error);
            }
            let pause = self.place_retry.failed(now, jitter());
            self.say_failed(error, pause, printer);
            return Ok(());
        }
        let is_first = self.shelf.placed_until().is_none();
        self.shelf.placed(&token);
        self.said_shared = false;
        if self.place_retry.succeeded() {
            printer.hint(&format!("{} can be written again", self.path.display()));
        }
        if let Some(Err(error)) = self.reads.as_mut().map(Reads::renew) {
            self.heed(Err(error), printer);
        }
        self.tell_placed(&token, is_first, printer);
        Ok(())
    }

    /// Removes the file, whose token was read and would be refused from now on.
    fn take_away(&mut self, printer: &mut Printer) {
        match std::fs::remove_file(&self.path) {
            Ok(()) => {
                if let Some(reads) = &mut self.reads {
                    reads.readers.removed();
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => printer.error(&CliError::file(&self.path, "remove", &error)),
        }
        self.shelf.taken_away();
    }

    fn tell_placed(&self, token: &Token, is_first: bool, printer: &mut Printer) {
        let (path, until) = (self.path.display(), token.expires_at);
        let status = format!("{path} holds a token, valid until {until}");
        let told = if is_first {
            self.supervisor.ready(&status)
        } else {
            self.supervisor.status(&status)
        };
        self.tell(told, printer);
    }

    /// Reports what failed, what it means for readers of the file, and what happens next.
    fn say_failed(&self, error: CliError, pause: Duration, printer: &mut Printer) {
        let path = self.path.display();
        let meanwhile = match self.shelf.placed_until() {
            None => format!("{path} holds no token yet"),
            Some(_) if self.shelf.is_away() => {
                format!("{path} was read and is absent until the next token")
            }
            Some(until) if until > SystemClock.now() => {
                format!("{path} keeps its token, valid until {until}")
            }
            Some(until) => format!("The token in {path} EXPIRED at {until}"),
        };
        let pause = pause.as_secs_f64().ceil();
        let sentence = format!("{meanwhile}; trying again in {pause} s");
        self.tell(self.supervisor.status(&sentence), printer);
        printer.error(&error.and(&sentence));
    }

    fn tell(&self, told: std::io::Result<()>, printer: &mut Printer) {
        if let Err(error) = told {
            printer.warn(&format!(
                "warning: cannot notify the service manager at `NOTIFY_SOCKET`: {}",
                reason(&error)
            ));
        }
    }
}

/// Replaces the file by one with the token. Nothing is synced: after a crash of the machine the token would be
/// old, and a reader should not wait for a disk.
fn write(path: &Path, token: &Token) -> Result<(), CliError> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let write = || -> std::io::Result<()> {
        // tempfile makes files with mode 0600.
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        writeln!(file, "{}", expose(&token.text))?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|error| CliError::file(path, "write", &error))
}
