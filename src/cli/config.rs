//! `firman config`: what the configuration says, where each value comes from, and whether `firman serve` would
//! start with it.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::Session;
use super::error::{CliError, reason};
use super::print::Table;
use super::serve;
use crate::config::Overrides;
use crate::host::check_start;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show every setting with its value and where that came from
    Show,
    /// Check what `firman serve` would use, without starting or changing anything: exit code 0 or 1
    Check {
        #[command(flatten)]
        settings: Box<Overrides>,
    },
}

/// One line of the check.
struct Line {
    what: &'static str,
    state: State,
    detail: String,
}

enum State {
    Ok,
    Warning,
    Failed,
}

impl State {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

impl Line {
    fn of(what: &'static str, found: Result<String, String>) -> Self {
        let (state, detail) = match found {
            Ok(detail) => (State::Ok, detail),
            Err(detail) => (State::Failed, detail),
        };
        Self {
            what,
            state,
            detail,
        }
    }
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Check { settings } => check(*settings, session).await,
        Command::Show => {
            let shown = serve::config(Overrides::default(), session)?.show();
            if session.printer.is_json() {
                return session.printer.json(&json!({ "items": shown }));
            }
            let mut table = Table::new(&["KEY", "VALUE", "ORIGIN"]);
            for line in shown {
                table.row([line.key.to_owned(), line.value, line.origin]);
            }
            session.printer.table(&table, "there are no settings")
        }
    }
}

async fn check(settings: Overrides, session: &mut Session<'_>) -> Result<(), CliError> {
    let config = serve::config(settings, session)?;
    // What only a start can find out besides: whether the issuer's URL follows from the listener.
    let failed = |error: crate::config::ConfigError| CliError::failed("config", error.to_string());
    let issuer_url = config.issuer_url(config.listen()).map_err(failed)?;
    config
        .insecure_loopback_fetch(&issuer_url)
        .map_err(failed)?;
    let mut lines = vec![
        Line::of("configuration", Ok("every setting can be used".to_owned())),
        listener("public listener", config.listen()),
        listener("private listener", config.admin_listen()),
        Line::of("data directory", directory(config.data_dir())),
    ];
    let options = serve::host_options(&config, issuer_url)?;
    let checks = check_start(&options).await;
    lines.extend(
        checks
            .into_iter()
            .map(|check| Line::of(check.what, check.found)),
    );
    report(&lines, session)
}

fn report(lines: &[Line], session: &mut Session<'_>) -> Result<(), CliError> {
    let is_good = !lines.iter().any(|line| matches!(line.state, State::Failed));
    if session.printer.is_json() {
        let checks: Vec<Value> = lines
            .iter()
            .map(|line| json!({ "check": line.what, "result": line.state.as_str(), "detail": line.detail }))
            .collect();
        session
            .printer
            .json(&json!({ "ok": is_good, "checks": checks }))?;
    } else {
        let mut table = Table::new(&["RESULT", "CHECK", "DETAIL"]);
        for line in lines {
            table.row([
                line.state.as_str().to_owned(),
                line.what.to_owned(),
                line.detail.clone(),
            ]);
        }
        session.printer.table(&table, "")?;
        if is_good {
            session.printer.hint("The configuration is good.");
        }
    }
    if is_good {
        Ok(())
    } else {
        Err(CliError::Ended(1))
    }
}

/// Whether the address can be listened on. One in use may be the server's that runs already.
fn listener(what: &'static str, address: SocketAddr) -> Line {
    let (state, detail) = match TcpListener::bind(address) {
        Ok(_) => (State::Ok, format!("{address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => (
            State::Warning,
            format!("{address} is in use; a start fails unless the one that uses it stops first"),
        ),
        Err(error) => (
            State::Failed,
            format!(
                "{address} cannot be listened on: {}; name an address of this machine",
                reason(&error)
            ),
        ),
    };
    Line {
        what,
        state,
        detail,
    }
}

/// Whether a start can write there; a directory that does not exist is made below the first that does.
fn directory(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let existing = path
        .ancestors()
        .map(|ancestor| {
            if ancestor.as_os_str().is_empty() {
                Path::new(".")
            } else {
                ancestor
            }
        })
        .find(|ancestor| ancestor.exists())
        .unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        return Err(format!("{} is not a directory", existing.display()));
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if let Err(error) = rustix::fs::access(existing, access) {
        let error = std::io::Error::from(error);
        return Err(format!(
            "{} cannot be written to: {}; firman must own it",
            existing.display(),
            reason(&error)
        ));
    }
    Ok(if existing == path {
        format!("{shown} can be written to")
    } else {
        format!("{shown} does not exist; the first start makes it")
    })
}
