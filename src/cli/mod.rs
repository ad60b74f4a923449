//! The command line: a client of the admin API, and the agent's own side of getting and reading tokens. It parses, calls
//! and prints; it decides nothing that the issuer decides.
//!
//! Only data goes to stdout; hints, questions and errors go to stderr. With `--output json` the data are the admin API's
//! own objects and an error is `{"error": {"kind", "detail", "hint", …}}`. Exit codes: 0 done, 1 refused or failed, 2 the
//! command line is not valid.

mod access;
mod administrator;
mod agent;
mod audit;
mod bundle;
mod claude;
mod client;
mod completions;
mod config;
mod credential;
mod delegation;
mod detach;
mod duration;
mod error;
mod exec;
mod group;
mod healthcheck;
mod http;
mod issuer;
mod key;
mod key_consumer;
mod keyfile;
mod notify;
mod noun;
mod options;
mod parse;
mod platform;
mod print;
mod proof;
mod publish_static;
mod published;
mod quickstart;
mod resource;
mod role;
mod serve;
mod serving;
mod session;
mod snippet;
mod stop;
mod token;
mod trusted_issuer;
mod typed;
mod words;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand};

use self::error::CliError;
use self::options::Globals;
use self::print::{Format, Printer};
use self::session::Session;
use self::typed::Typed;
use crate::domain::remedy::Remedy;

/// An identity provider for AI agents
#[derive(Debug, Parser)]
#[command(
    name = "firman",
    version,
    propagate_version = true,
    disable_help_subcommand = true
)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Quickstart(quickstart::QuickstartArgs),
    Serve(serve::ServeArgs),
    Stop(stop::StopArgs),
    /// Show and check the configuration
    #[command(
        subcommand,
        after_help = "Examples:\n  firman config show\n  firman config check"
    )]
    Config(config::Command),
    /// Manage agents: who can get tokens
    #[command(
        subcommand,
        after_help = "Examples:\n  firman agent add mailer --owner team-mail --role sender --generate-key mailer.pem\n  firman agent list"
    )]
    Agent(agent::Command),
    /// Manage credentials: how agents authenticate
    #[command(
        subcommand,
        after_help = "Examples:\n  firman credential list mailer\n  firman credential rotate mailer --generate-key new.pem"
    )]
    Credential(credential::Command),
    /// Manage delegations: which agents may act for whom
    #[command(
        subcommand,
        after_help = "Examples:\n  firman delegation add --actor mailer --subject agent:planner --resource mail --for 30d\n  firman delegation list"
    )]
    Delegation(delegation::Command),
    /// Manage trusted issuers: whose tokens are accepted, and for what
    #[command(
        subcommand,
        after_help = "Examples:\n  firman trusted-issuer add github --preset github --trust client_auth\n  firman trusted-issuer list"
    )]
    TrustedIssuer(trusted_issuer::Command),
    /// Manage groups: agents that share roles
    #[command(
        subcommand,
        after_help = "Examples:\n  firman group add mailers --role sender\n  firman group show mailers"
    )]
    Group(group::Command),
    /// Manage resources: what tokens are for
    #[command(
        subcommand,
        after_help = "Examples:\n  firman resource add reports --identifier https://reports.example.com --scope read\n  firman resource list"
    )]
    Resource(resource::Command),
    /// Manage roles: which scopes at which resources
    #[command(
        subcommand,
        after_help = "Examples:\n  firman role add reader --grant reports=read\n  firman role list"
    )]
    Role(role::Command),
    /// Get, exchange, inspect, verify and revoke tokens
    #[command(
        subcommand,
        after_help = "Examples:\n  firman token get --issuer https://id.example.com --client-id mailer --key mailer.pem\n  firman token inspect mailer.token"
    )]
    Token(token::Command),
    /// Connect agents to Claude: set up, check and try the federation
    #[command(
        subcommand,
        after_help = "Examples:\n  firman claude connect --agent mailer\n  firman claude verify --agent mailer"
    )]
    Claude(claude::Command),
    Exec(exec::ExecArgs),
    /// Manage the issuer's signing keys
    #[command(
        subcommand,
        after_help = "Examples:\n  firman key list\n  firman key rotate"
    )]
    Key(key::Command),
    /// Read and verify the audit: the record of everything that happened
    #[command(
        subcommand,
        after_help = "Examples:\n  firman audit list --agent mailer\n  firman audit verify"
    )]
    Audit(audit::Command),
    /// Show and change the issuer's settings
    #[command(
        subcommand,
        after_help = "Examples:\n  firman issuer show\n  firman issuer edit --default-lifetime 10m"
    )]
    Issuer(issuer::Command),
    /// Manage administrators: who may use the admin API
    #[command(subcommand, after_help = "Examples:\n  firman administrator list")]
    Administrator(administrator::Command),
    PublishStatic(publish_static::PublishArgs),
    /// Check that this data directory's issuer answers: exit code 0 or 1
    ///
    /// Asks the public listener of the process that serves this data directory, or the listener at --url.
    #[command(
        after_help = "Examples:\n  firman healthcheck\n  firman healthcheck --url https://id.example.com"
    )]
    Healthcheck,
    Completions(completions::CompletionsArgs),
    Man(completions::ManArgs),
}

/// Runs one command line (`args` with the program's name first) and returns the process's exit code.
pub async fn run(
    args: impl Iterator<Item = OsString>,
    environment: &BTreeMap<String, String>,
) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let cli = match typed::parse(&args) {
        Ok(Typed::Command(cli)) => *cli,
        Ok(Typed::Version) => return version(),
        Err(error) => return explain(error, &args),
    };
    let mut session = Session {
        globals: &cli.globals,
        environment,
        printer: Printer::stdio(cli.globals.output),
    };
    match dispatch(cli.command, &mut session).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            session.printer.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

async fn dispatch(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Quickstart(args) => quickstart::run(args, session).await,
        Command::Serve(args) => serve::run(args, session).await,
        Command::Stop(args) => stop::run(args, session).await,
        Command::Config(command) => config::run(command, session).await,
        Command::Agent(command) => agent::run(command, session).await,
        Command::Credential(command) => credential::run(command, session).await,
        Command::Delegation(command) => delegation::run(command, session).await,
        Command::TrustedIssuer(command) => trusted_issuer::run(command, session).await,
        Command::Group(command) => group::run(command, session).await,
        Command::Resource(command) => resource::run(command, session).await,
        Command::Role(command) => role::run(command, session).await,
        Command::Token(command) => token::run(command, session).await,
        Command::Claude(command) => claude::run(command, session).await,
        Command::Exec(args) => exec::run(args, session).await,
        Command::Key(command) => key::run(command, session).await,
        Command::Audit(command) => audit::run(command, session).await,
        Command::Issuer(command) => issuer::run(command, session).await,
        Command::Administrator(command) => administrator::run(command, session).await,
        Command::PublishStatic(args) => publish_static::run(args, session).await,
        Command::Healthcheck => healthcheck::run(session).await,
        Command::Completions(args) => completions::completions(&args, session),
        Command::Man(args) => completions::man(&args, session),
    }
}

/// `firman version`: the same as `firman --version`.
fn version() -> ExitCode {
    let text = typed::spelled().render_version();
    let written = Printer::stdio(Format::Table).write(&text);
    ExitCode::from(written.err().map_or(0, |error| error.exit_code()))
}

/// Answers a command line that was not parsed: help and version are data, the rest is a usage error.
fn explain(mut error: clap::Error, args: &[OsString]) -> ExitCode {
    let wants_json = args.windows(2).any(|pair| {
        (pair[0] == OsStr::new("--output") || pair[0] == OsStr::new("-o"))
            && pair[1] == OsStr::new("json")
    }) || args
        .iter()
        .any(|arg| arg == "--output=json" || arg == "-o=json" || arg == "-ojson");
    let mut printer = Printer::stdio(if wants_json {
        Format::Json
    } else {
        Format::Table
    });
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        let written = printer.write(&error.render().to_string());
        return ExitCode::from(written.err().map_or(0, |error| error.exit_code()));
    }
    let hint = typed::instead(&mut error, args);
    let text = error.render().to_string();
    if wants_json {
        let first = text.split("\n\n").next().unwrap_or_default();
        let detail = first
            .trim_start_matches("error: ")
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ");
        let error = CliError::usage(detail);
        printer.error(&match hint {
            Some(hint) => error.with_remedy(&Remedy::action(hint)),
            None => error,
        });
    } else {
        let (fault, rest) = text.split_once("\n\n").unwrap_or((&text, ""));
        let hint = hint.map_or_else(String::new, |hint| format!("hint: {hint}\n\n"));
        let rest = rest.trim_start_matches('\n');
        printer.warn(format!("{fault}\n\n{hint}{rest}").trim_end());
    }
    ExitCode::from(2)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_command_takes_certificate_authorities() {
        fn check(command: &clap::Command) {
            let takes = command.get_arguments().any(|arg| arg.get_id() == "ca_cert");
            assert!(takes, "{}", command.get_name());
            command.get_subcommands().for_each(check);
        }
        let mut command = Cli::command();
        command.build();
        check(&command);
    }

    #[test]
    fn edits_that_contradict_each_other_are_refused() {
        for line in [
            "firman agent add mailer",
            "firman agent add mailer --owner o --secret --generate-key k.pem",
            "firman agent list --all --limit 3",
            "firman agent list --limit 0",
            "firman credential add mailer",
            "firman delegation add --actor a --subject agent:b --resource api",
            "firman delegation add --actor a --subject agent:b --resource api --for 1h --until 2027-01-01",
            "firman delegation add --actor a --subject user:okta:* --subject-claim k=v --resource api --for 1h",
            "firman delegation edit 1",
            "firman delegation add --actor a --subject agent:b --resource api --for 1h --depth 5",
            "firman resource edit api --allow-delegation --no-allow-delegation",
            "firman credential rotate mailer a/b",
            "firman agent show ..",
            "firman token get --bundle b --client-id a",
            "firman token get --bundle b --key k.pem",
            "firman credential list a --expires-within 1h",
            "firman credential add a --public-key k --secret-out s",
            "firman token get --issuer https://x --client-id a --key k.pem --watch",
            "firman exec --agent a --key k.pem",
            "firman exec --agent a --key k.pem --secret-file s -- true",
            "firman exec --agent a --key k.pem --rule svac_x -- true",
            "firman exec --agent a --key k.pem --organization acme -- true",
            "firman exec --agent a --key k.pem --workspace main -- true",
            "firman token verify x.y.z --issuer https://x",
            "firman token verify x.y.z --audience https://x",
            "firman key revoke abc",
            "firman key activate",
            "firman key consumer ack",
            "firman key consumer add A",
            "firman claude link mailer --rule fdrl_1 --organization x",
        ] {
            assert!(typed::parse(line.split(' ')).is_err(), "{line}");
        }
    }
}
