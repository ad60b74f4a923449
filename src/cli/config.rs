//! `firman config`: the settings, where each value comes from, and whether `firman serve` would start with them.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use clap::Subcommand;
use serde_json::{Value, json};

use super::error::{CliError, reason};
use super::print::Table;
use super::serve;
use super::serving::{self, Serving};
use super::session::Session;
use crate::config::{Config, Overrides, reachable};
use crate::host::check_start;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show every setting, its value and where the value came from
    #[command(after_help = "Examples:\n  firman config show\n  firman config show -o json")]
    Show,
    /// Check the configuration before a start; changes nothing, exit code 0 or 1
    #[command(
        after_help = "Examples:\n  firman config check\n  firman config check --config /etc/firman/firman.toml"
    )]
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
    // Only a start would find this out otherwise: whether the issuer's URL follows from the listener.
    let failed = |error: crate::config::ConfigError| CliError::failed("config", error.to_string());
    let issuer_url = config.issuer_url(config.listen).map_err(failed)?;
    config
        .insecure_loopback_fetch(&issuer_url)
        .map_err(failed)?;
    let [public, private] = listeners(&config)?;
    let mut lines = vec![
        Line::of("configuration", Ok("every setting is valid".to_owned())),
        public,
        private,
        Line::of("data directory", directory(&config.data_dir)),
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
            session.printer.hint("The configuration is valid.");
        }
    }
    if is_good {
        Ok(())
    } else {
        Err(CliError::Ended(1))
    }
}

/// Whether both addresses can be listened on at once. One in use may be that of the server that runs already.
fn listeners(config: &Config) -> Result<[Line; 2], CliError> {
    let running = serving::find(&config.data_dir)?;
    let (first, second) = (config.listen, config.admin_listen);
    // Held until the second is tried, as a start holds it.
    let (public, _held) = listener("public listener", first, running.as_ref());
    let private = if is_same(first, second) {
        Line::of(
            "private listener",
            Err(format!(
                "{second} is also the address of the public listener; set another with --admin-listen or FIRMAN_ADMIN_LISTEN"
            )),
        )
    } else {
        listener("private listener", second, running.as_ref()).0
    };
    Ok([public, private])
}

/// Whether two listeners would conflict; with port 0 each gets its own port.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let is_every = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || is_every && one.is_ipv4() == other.is_ipv4())
}

/// Whether the address can be listened on, and the socket that does.
fn listener(
    what: &'static str,
    address: SocketAddr,
    running: Option<&Serving>,
) -> (Line, Option<TcpListener>) {
    let here = format!("http://{}", reachable(address));
    let is_ours = running.filter(|it| [&it.public, &it.private].contains(&&here));
    let (state, detail, socket) = match (TcpListener::bind(address), is_ours) {
        (Ok(socket), _) => (State::Ok, format!("{address} is free"), Some(socket)),
        (Err(error), Some(running)) if error.kind() == ErrorKind::AddrInUse => (
            State::Warning,
            format!(
                "{address} is in use by process {}, which serves this data directory; a start fails until that process stops",
                running.pid
            ),
            None,
        ),
        (Err(error), None) if error.kind() == ErrorKind::AddrInUse => (
            State::Failed,
            format!("{address} is in use by another program; stop it, or choose another address"),
            None,
        ),
        (Err(error), _) => (
            State::Failed,
            format!(
                "cannot listen on {address}: {}; name an address of this machine",
                reason(&error)
            ),
            None,
        ),
    };
    let line = Line {
        what,
        state,
        detail,
    };
    (line, socket)
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
            "cannot write to {}: {}; firman must own it",
            existing.display(),
            reason(&error)
        ));
    }
    Ok(if existing == path {
        format!("{shown} is writable")
    } else {
        format!("{shown} does not exist; the first start creates it")
    })
}
