//! `firman exec`: runs a command with a fresh token where Claude's SDKs look for one, and removes everything that
//! would override it. Input, output, signals and exit code are the command's.

mod environment;
mod signals;

use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;

use clap::Args;
use rustix::process::{Pid, Signal as Number, kill_process};
use tempfile::TempDir;
use tokio::process::Child;
use uuid::Uuid;

use super::client::Query;
use super::duration::parse_duration;
use super::error::CliError;
use super::notify::Supervisor;
use super::print::Printer;
use super::session::Session;
use super::token::{ClientArgs, GetArgs, Pipe, Source, Watch, why_not};
use crate::api::claude_link::ClaudeLink;
use crate::api::issuer::Issuer;
use crate::domain::remedy::Remedy;
use environment::{Handover, prepare};
use signals::{Signals, came_from_the_terminal};

/// The audience that Claude expects by default.
const CLAUDE: &str = "https://api.anthropic.com";

/// Run a command that gets fresh tokens for Claude's SDKs
///
/// Sets the variables (or the profile) of Claude's workload identity federation and removes everything that would
/// override it. Passes signals on and exits with the command's exit code.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  firman exec --bundle mailer.json -- python agent.py\n  firman exec --issuer https://id.example.com --client-id mailer --key mailer.pem -- claude -p 'Hello'"
)]
pub(super) struct ExecArgs {
    /// The issuer's URL, exactly as it calls itself [env: FIRMAN_AGENT_ISSUER] [default: ask the admin API]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
    /// What the tokens are for: a resource's identifier
    #[arg(long, value_name = "RESOURCE", default_value = CLAUDE)]
    resource: String,
    /// Lifetime of each token (90s, 15m)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
    #[command(flatten)]
    federation: FederationArgs,
    /// Configure the federation with a profile instead of variables; `ant` and `php` always get one
    #[arg(long)]
    profile: bool,
    /// Keep the token in a plain file instead of a named pipe, for programs that cannot read a pipe
    #[arg(long)]
    plain_file: bool,
    /// The command and its arguments, after `--`
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// The identity at Claude that the token is exchanged for. Missing values come from the agent's link, through the
/// admin API.
#[derive(Debug, Args)]
struct FederationArgs {
    /// The federation rule (fdrl_…)
    #[arg(long, value_name = "ID", value_parser = |id: &str| parse_tagged("fdrl_", id))]
    rule: Option<String>,
    /// The organization, a UUID
    #[arg(long, value_name = "UUID", value_parser = parse_organization)]
    organization: Option<String>,
    /// The service account (svac_…)
    #[arg(long, value_name = "ID", value_parser = |id: &str| parse_tagged("svac_", id))]
    service_account: Option<String>,
    /// The workspace (wrkspc_… or `default`), when the rule covers several
    #[arg(long, value_name = "ID", value_parser = parse_workspace)]
    workspace: Option<String>,
    /// Claude's base URL for the SDKs
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
}

/// The identity at Claude that the token is exchanged for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Federation {
    rule: String,
    organization: String,
    service_account: String,
    workspace: Option<String>,
    base_url: Option<String>,
}

/// Where the command finds its tokens.
enum Outlet<'a> {
    /// A named pipe, in which each reader finds its own token.
    Pipe(Pipe<'a>),
    /// A file, whose token is replaced after it was read.
    File(Watch<'a>),
}

impl<'a> Outlet<'a> {
    fn open(source: &'a Source, path: &Path, plain_file: bool, printer: &mut Printer) -> Self {
        if !plain_file {
            match Pipe::new(source, path) {
                Ok(pipe) => return Self::Pipe(pipe),
                Err(error) => printer.warn(&why_not(path, &error)),
            }
        }
        Self::File(Watch::new(source, path, Supervisor::none(), printer))
    }

    /// Gets the first token.
    async fn start(&mut self, printer: &mut Printer) -> Result<(), CliError> {
        match self {
            Self::Pipe(pipe) => pipe.start(printer).await,
            Self::File(watch) => watch.start(printer).await,
        }
    }

    /// Runs until it is dropped.
    async fn keep(&mut self, printer: &mut Printer) -> CliError {
        match self {
            Self::Pipe(pipe) => pipe.keep(printer).await,
            Self::File(watch) => watch.keep(printer).await,
        }
    }
}

pub(super) async fn run(args: ExecArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let (by_profile, plain_file) = (args.profile, args.plain_file);
    let (request, federation, command) = settle(args, session).await?;
    let source = Source::new(request, session.reach()?)?;
    let directory = private_directory()?;
    let token_file = directory.path().join("identity-token");
    let mut signals = Signals::catch()?;
    let printer = &mut session.printer;
    let mut outlet = Outlet::open(&source, &token_file, plain_file, printer);
    tokio::select! {
        started = outlet.start(printer) => started?,
        signal = signals.next() => return Err(CliError::Ended(by_signal(signal))),
    }
    let handover = Handover {
        federation: &federation,
        token_file: &token_file,
        directory: directory.path(),
        by_profile,
    };
    let (mut command, notes) = prepare(command, &handover, session.environment)?;
    for note in notes {
        printer.warn(&format!("firman: {note}"));
    }
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let name = Path::new(command.as_std().get_program());
            session.printer.error(&CliError::file(name, "run", &error));
            return Err(CliError::Ended(unable(&error)));
        }
    };
    let ended = tokio::select! {
        ended = attend(&mut child, &mut signals) => ended,
        error = outlet.keep(&mut session.printer) => Err(error),
    };
    drop(outlet);
    if let Err(error) = directory.close() {
        let failed = CliError::file(&token_file, "remove", &error);
        session.printer.error(&failed);
    }
    match exit_code(ended?) {
        0 => Ok(()),
        code => Err(CliError::Ended(code)),
    }
}

/// Completes the values that the command line omits.
async fn settle(
    args: ExecArgs,
    session: &Session<'_>,
) -> Result<(GetArgs, Federation, Vec<OsString>), CliError> {
    let (client, issuer) = args.client.settle(args.issuer, session.environment)?;
    let federation = match args.federation.complete() {
        Some(federation) => federation,
        None => linked(client.client_id.as_deref(), args.federation, session).await?,
    };
    let issuer = match issuer {
        Some(issuer) => issuer,
        None => {
            let answer = session
                .admin()?
                .get::<Issuer>(&["issuer"], &Query::default())
                .await;
            let by_option = Remedy::action("name the issuer with `--issuer`");
            answer.map_err(|error| error.with_remedy(&by_option))?.url
        }
    };
    let request = GetArgs {
        issuer,
        client,
        resource: Some(args.resource),
        scope: Vec::new(),
        expires_in: args.expires_in,
        dpop_key: None,
    };
    if request.client.is_proof_on_stdin() {
        return Err(CliError::usage("stdin belongs to the command")
            .with_remedy(&Remedy::action("name a file that holds the credential")));
    }
    Ok((request, federation, args.command))
}

impl FederationArgs {
    /// All values, when nothing needs to be looked up.
    fn complete(&self) -> Option<Federation> {
        Some(Federation {
            rule: self.rule.clone()?,
            organization: self.organization.clone()?,
            service_account: self.service_account.clone()?,
            workspace: self.workspace.clone(),
            base_url: self.base_url.clone(),
        })
    }

    /// Fills missing values from the agent's link.
    fn with_link(self, link: ClaudeLink) -> Federation {
        Federation {
            rule: self.rule.unwrap_or(link.rule_id),
            organization: self.organization.unwrap_or(link.organization_id),
            service_account: self.service_account.unwrap_or(link.service_account_id),
            workspace: self.workspace.or(link.workspace_id),
            base_url: self.base_url,
        }
    }
}

async fn linked(
    agent: Option<&str>,
    given: FederationArgs,
    session: &Session<'_>,
) -> Result<Federation, CliError> {
    let agent = agent.ok_or_else(|| {
        CliError::usage("the identity at Claude is missing").with_remedy(&Remedy::action(
            "name `--rule`, `--organization` and `--service-account`, or the agent with `--client-id` to use its link",
        ))
    })?;
    let remedy = Remedy::action(format!(
        "name `--rule`, `--organization` and `--service-account`, or record them once with `firman claude link {agent}` and run this where the admin API is"
    ));
    let admin = session
        .admin()
        .map_err(|error| error.with_remedy(&remedy))?;
    let link = admin
        .get(&["agents", agent, "claude-link"], &Query::default())
        .await
        .map_err(|error| error.with_remedy(&remedy))?;
    Ok(given.with_link(link))
}

/// A directory for the token that only its owner can read; removed when dropped.
fn private_directory() -> Result<TempDir, CliError> {
    tempfile::Builder::new()
        .prefix("firman-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir()
        .map_err(|error| {
            CliError::failed(
                "file",
                format!(
                    "cannot create a temporary directory: {}",
                    super::error::reason(&error)
                ),
            )
        })
}

/// Passes signals on until the command ends.
async fn attend(child: &mut Child, signals: &mut Signals) -> Result<ExitStatus, CliError> {
    let pid = child
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    loop {
        tokio::select! {
            // Once a process was waited for, its id may belong to another one.
            biased;
            status = child.wait() => {
                return status.map_err(|error| CliError::failed("wait", super::error::reason(&error)));
            }
            number = signals.next() => {
                if let Some(pid) = pid && !came_from_the_terminal(number) {
                    // It may have ended this instant.
                    let _ = kill_process(pid, number);
                }
            }
        }
    }
}

/// The command's exit code, or 128 plus the signal that ended it, as shells report.
fn exit_code(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|number| 128 + number));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

fn by_signal(number: Number) -> u8 {
    u8::try_from(128 + number.as_raw()).unwrap_or(1)
}

/// The exit code of shells and env(1) for a command that was not found (127) or cannot be run (126).
fn unable(error: &std::io::Error) -> u8 {
    if error.kind() == std::io::ErrorKind::NotFound {
        127
    } else {
        126
    }
}

/// An id of Claude's of one kind.
fn parse_tagged(tag: &str, id: &str) -> Result<String, String> {
    let rest = id.strip_prefix(tag).unwrap_or_default();
    if !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
        Ok(id.to_owned())
    } else {
        Err(format!(
            "expected `{tag}` and letters or digits, as the Claude Console shows it"
        ))
    }
}

fn parse_organization(id: &str) -> Result<String, String> {
    match Uuid::try_parse(id) {
        Ok(uuid) if uuid.hyphenated().to_string() == id.to_ascii_lowercase() => Ok(id.to_owned()),
        Ok(_) | Err(_) => Err("expected a bare UUID, as the Claude Console shows it".to_owned()),
    }
}

fn parse_workspace(id: &str) -> Result<String, String> {
    if id == "default" {
        return Ok(id.to_owned());
    }
    parse_tagged("wrkspc_", id).map_err(|problem| format!("{problem}, or `default`"))
}

#[cfg(test)]
mod tests {

    use super::*;

    fn given() -> FederationArgs {
        FederationArgs {
            rule: None,
            organization: None,
            service_account: None,
            workspace: None,
            base_url: None,
        }
    }

    #[test]
    fn ids_of_another_kind_are_refused() {
        for id in [
            "", "fdrl_", "svac_1", "fdrl_a b", "fdrl_a/b", "FDRL_a", "fdrl_…",
        ] {
            assert!(parse_tagged("fdrl_", id).is_err(), "{id:?}");
        }
        for id in [
            "",
            "acme",
            "org_1",
            "00000000000040008000000000000001",
            "{00000000-0000-4000-8000-000000000001}",
        ] {
            assert!(parse_organization(id).is_err(), "{id:?}");
        }
        for id in ["", "main", "wrkspc_", "Default"] {
            assert!(parse_workspace(id).is_err(), "{id:?}");
        }
        assert!(parse_tagged("fdrl_", "fdrl_01AbC").is_ok());
        assert!(parse_organization("00000000-0000-4000-8000-000000000001").is_ok());
        assert!(parse_workspace("default").is_ok());
        assert!(parse_workspace("wrkspc_01AbC").is_ok());
    }

    #[test]
    fn what_the_flags_leave_out_comes_from_the_link() {
        let link = ClaudeLink {
            agent: "mailer".to_owned(),
            rule_id: "fdrl_1".to_owned(),
            organization_id: "o".to_owned(),
            service_account_id: "svac_1".to_owned(),
            workspace_id: None,
            issuer_id: None,
            token_lifetime: None,
            created_at: 0,
            updated_at: 0,
            version: 1,
        };
        let flags = FederationArgs {
            rule: Some("fdrl_2".to_owned()),
            base_url: Some("http://127.0.0.1:9".to_owned()),
            ..given()
        };
        assert_eq!(flags.complete(), None);
        let expected = Federation {
            rule: "fdrl_2".to_owned(),
            organization: "o".to_owned(),
            service_account: "svac_1".to_owned(),
            workspace: None,
            base_url: Some("http://127.0.0.1:9".to_owned()),
        };
        assert_eq!(flags.with_link(link), expected);
    }

    #[test]
    fn an_exit_code_is_the_commands_own_or_tells_its_signal() {
        assert_eq!(exit_code(ExitStatus::from_raw(0)), 0);
        assert_eq!(exit_code(ExitStatus::from_raw(7 << 8)), 7);
        assert_eq!(exit_code(ExitStatus::from_raw(255 << 8)), 255);
        assert_eq!(exit_code(ExitStatus::from_raw(15)), 143);
        assert_eq!(by_signal(Number::INT), 130);
    }
}
