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
use crate::domain::remedy::Remedy;
use crate::host::{StartFault, check_start};

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
    hint: Option<String>,
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
    fn of(what: &'static str, found: Result<String, StartFault>) -> Self {
        match found {
            Ok(detail) => Self {
                what,
                state: State::Ok,
                detail,
                hint: None,
            },
            Err(fault) => Self {
                what,
                state: State::Failed,
                detail: fault.detail,
                hint: fault.remedy.map(|remedy| remedy.to_string()),
            },
        }
    }

    fn json(&self) -> Value {
        let mut line = json!({
            "check": self.what,
            "result": self.state.as_str(),
            "detail": self.detail,
        });
        if let Some(hint) = &self.hint {
            line["hint"] = json!(hint);
        }
        line
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
            session.printer.table(&table, "no settings")
        }
    }
}

async fn check(settings: Overrides, session: &mut Session<'_>) -> Result<(), CliError> {
    let config = serve::config(settings, session)?;
    // Only a start would find this out otherwise: whether the issuer's URL follows from the listener.
    let issuer_url = config.issuer_url(config.listen)?;
    config.insecure_loopback_fetch(&issuer_url)?;
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
        let checks: Vec<Value> = lines.iter().map(Line::json).collect();
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
            if let Some(hint) = &line.hint {
                table.note(&format!("hint: {hint}"));
            }
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
            fault(
                format!("`{second}` is also the address of the public listener"),
                "choose another address with `--admin-listen` or `FIRMAN_ADMIN_LISTEN`",
            ),
        )
    } else {
        listener("private listener", second, running.as_ref()).0
    };
    Ok([public, private])
}

/// A check that failed, with an action that helps.
fn fault<T>(detail: String, action: &str) -> Result<T, StartFault> {
    Err(StartFault {
        detail,
        remedy: Some(Remedy::action(action)),
    })
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
    let line = match (TcpListener::bind(address), is_ours) {
        (Ok(socket), _) => {
            let line = Line::of(what, Ok(format!("`{address}` is free")));
            return (line, Some(socket));
        }
        (Err(error), Some(running)) if error.kind() == ErrorKind::AddrInUse => Line {
            what,
            state: State::Warning,
            detail: format!(
                "process {} uses `{address}` and serves this data directory",
                running.pid
            ),
            hint: Some(Remedy::command("stop").to_string()),
        },
        (Err(error), None) if error.kind() == ErrorKind::AddrInUse => Line::of(
            what,
            fault(
                format!("another program uses `{address}`"),
                "stop that program, or choose another address",
            ),
        ),
        (Err(error), _) => Line::of(
            what,
            fault(
                format!("cannot listen on `{address}`: {}", reason(&error)),
                "choose an address of this machine",
            ),
        ),
    };
    (line, None)
}

/// Whether a start can write there; a directory that does not exist is made below the first that does.
fn directory(path: &Path) -> Result<String, StartFault> {
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
        return Err(StartFault {
            detail: format!("`{}` is not a directory", existing.display()),
            remedy: None,
        });
    }
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    if let Err(error) = rustix::fs::access(existing, access) {
        let error = std::io::Error::from(error);
        return fault(
            format!(
                "cannot write to `{}`: {}",
                existing.display(),
                reason(&error)
            ),
            "make firman's user the owner of the directory",
        );
    }
    Ok(if existing == path {
        format!("`{shown}` is writable")
    } else {
        format!("`{shown}` does not exist; the first start creates it")
    })
}
