//! The command line: a client of the admin API, and the agent's own side of getting and reading
//! tokens. Parses, calls, prints; decides nothing that the issuer decides.
//!
//! Data alone goes to stdout; hints, questions and errors go to stderr. With `--output json` the data
//! are the admin API's own objects and an error is `{"error": {"kind", "detail", …}}`. Exit codes:
//! 0 done, 1 refused or failed, 2 the command line makes no sense.

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
mod platform;
mod print;
mod publish_static;
mod published;
mod quickstart;
mod resource;
mod role;
mod serve;
mod serving;
mod stop;
mod token;
mod trusted_issuer;
mod typed;
mod words;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use self::client::{AdminClient, Extent, Page, Query};
use self::error::CliError;
use self::http::Reach;
use self::print::{Format, Printer, Table};
use self::typed::Typed;
use crate::config::CA_CERT;
use crate::domain::name::Name;
use crate::ports::time::{Clock, SystemClock, UnixTime};

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

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
struct Globals {
    /// How to print data: columns, or the admin API's objects
    #[arg(
        long,
        short = 'o',
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "table"
    )]
    output: Format,
    /// Where the issuer keeps its data, its address and the first admin token [env: FIRMAN_DATA_DIR] [default: data]
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<String>,
    /// The private listener; for `healthcheck` the public one [env: FIRMAN_URL] [default: <data dir>/admin-url]
    #[arg(long, global = true, value_name = "URL")]
    url: Option<String>,
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Send credentials over plain HTTP to another machine
    #[arg(long, global = true)]
    insecure_http: bool,
    /// Trust the certificate authorities in this PEM file alone for HTTPS to the issuer [env: FIRMAN_CA_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    ca_cert: Option<PathBuf>,
}

impl Globals {
    #[cfg(test)]
    fn for_test() -> Self {
        Self {
            output: Format::Table,
            data_dir: None,
            url: None,
            config: None,
            insecure_http: false,
            ca_cert: None,
        }
    }

    /// How the issuer is reached.
    fn reach(&self, environment: &BTreeMap<String, String>) -> Result<Reach, CliError> {
        let named = environment.get(CA_CERT).filter(|path| !path.is_empty());
        let path = self.ca_cert.as_deref().or(named.map(Path::new));
        Ok(Reach {
            insecure_http: self.insecure_http,
            ca_cert_pem: path.map(keyfile::read_ca_cert).transpose()?,
        })
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start, register an agent, get a token and verify it as a stranger would; then keep serving
    Quickstart(quickstart::QuickstartArgs),
    Serve(serve::ServeArgs),
    Stop(stop::StopArgs),
    /// The configuration: what is set, and whether it is good
    #[command(subcommand)]
    Config(config::Command),
    /// Agents: who may get tokens
    #[command(subcommand)]
    Agent(agent::Command),
    /// How an agent proves itself: client secrets, public keys and tokens of trusted issuers
    #[command(subcommand)]
    Credential(credential::Command),
    /// Delegations: which agents may act for whom
    #[command(subcommand)]
    Delegation(delegation::Command),
    /// Trusted issuers: others whose tokens are believed, and for what
    #[command(subcommand)]
    TrustedIssuer(trusted_issuer::Command),
    /// Groups of agents, which share roles
    #[command(subcommand)]
    Group(group::Command),
    /// Resources: what tokens are for
    #[command(subcommand)]
    Resource(resource::Command),
    /// Roles: which scopes at which resources
    #[command(subcommand)]
    Role(role::Command),
    /// Get a token as an agent, look into one, or end one before its time
    #[command(subcommand)]
    Token(token::Command),
    /// Claude: set up, check and try the federation
    #[command(subcommand)]
    Claude(claude::Command),
    /// Run a command that finds a fresh token where Claude's SDKs look for one
    Exec(exec::ExecArgs),
    /// The issuer's signing keys
    #[command(subcommand)]
    Key(key::Command),
    /// The record of everything that happened
    #[command(subcommand)]
    Audit(audit::Command),
    /// The issuer's settings
    #[command(subcommand)]
    Issuer(issuer::Command),
    /// Who may use the admin API
    #[command(subcommand)]
    Administrator(administrator::Command),
    /// Write discovery and key set as plain files for a web host, or tell when such a copy is stale
    PublishStatic(publish_static::PublishArgs),
    /// Ask whether this data directory's issuer answers: exit code 0 or 1
    ///
    /// Finds the process that serves this data directory and asks its public listener. With --url it asks that listener instead.
    #[command(
        after_help = "Examples:\n  firman healthcheck\n  firman healthcheck --url https://id.example.com"
    )]
    Healthcheck,
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print the manual page, or write all of them into a directory
    Man(completions::ManArgs),
}

/// What a command works with: options, environment, output, the time.
struct Session<'a> {
    globals: &'a Globals,
    environment: &'a BTreeMap<String, String>,
    printer: Printer,
}

impl Session<'_> {
    /// The admin API of the issuer that options, environment and files point to.
    fn admin(&self) -> Result<AdminClient, CliError> {
        AdminClient::find(self.globals, self.environment)
    }

    /// How the issuer is reached.
    fn reach(&self) -> Result<Reach, CliError> {
        self.globals.reach(self.environment)
    }

    /// The present second.
    fn now(&self) -> UnixTime {
        SystemClock.now()
    }

    /// Prints a list page by page: as one JSON object with all of its items, or as a table of the first ones
    /// and how to see more; `row` makes the cells of an item.
    async fn list_pages(
        &mut self,
        listing: Listing<'_>,
        row: impl Fn(&Value) -> Vec<String>,
    ) -> Result<(), CliError> {
        let admin = self.admin()?;
        if self.printer.is_json() {
            let (page, filter) = (listing.page.extent(None), listing.filter);
            let mut list = self.printer.json_list();
            let next = admin
                .each_page(listing.path, &filter, &page, |items| {
                    items.iter().try_for_each(|item| list.item(item))
                })
                .await?;
            return list.end(next.as_deref());
        }
        self.list_table(&admin, listing, row).await
    }

    /// Prints the first items of a list as a table, and how to see more.
    async fn list_table(
        &mut self,
        admin: &AdminClient,
        listing: Listing<'_>,
        row: impl Fn(&Value) -> Vec<String>,
    ) -> Result<(), CliError> {
        let Listing {
            path,
            filter,
            page,
            columns,
            nothing,
        } = listing;
        let mut table = Table::new(columns);
        let next = admin
            .each_page(path, &filter, &page.extent(Some(TABLE_ROWS)), |items| {
                items.iter().for_each(|item| table.row(row(item)));
                Ok(())
            })
            .await?;
        self.printer.table(&table, nothing)?;
        if let Some(cursor) = next {
            self.printer.hint(&there_are_more(&cursor));
        }
        Ok(())
    }

    /// Prints the first of what belongs to an object, below it, and the command that lists all. Returns the
    /// first cell of each row.
    async fn sample(
        &mut self,
        admin: &AdminClient,
        sample: Sample<'_>,
        row: impl Fn(&Value) -> Vec<String>,
    ) -> Result<Vec<String>, CliError> {
        let Sample {
            path,
            filter,
            columns,
            all,
            nothing,
        } = sample;
        let mut found = Vec::new();
        let next = admin
            .each_page(path, &filter, &Extent::up_to(COUNTED), |items| {
                found.extend(items);
                Ok(())
            })
            .await?;
        if found.is_empty() {
            if !nothing.is_empty() {
                self.printer.hint(nothing);
            }
            return Ok(Vec::new());
        }
        let rows: Vec<Vec<String>> = found.iter().take(SAMPLE_ROWS).map(row).collect();
        let names = rows.iter().filter_map(|row| row.first().cloned()).collect();
        let mut table = Table::new(columns);
        rows.into_iter().for_each(|row| table.row(row));
        self.printer.write("\n")?;
        self.printer.table(&table, "")?;
        let more = found.len().saturating_sub(SAMPLE_ROWS);
        if more > 0 {
            let at_least = if next.is_some() { "at least " } else { "" };
            self.printer
                .hint(&format!("and {at_least}{more} more: {all}"));
        }
        Ok(names)
    }

    /// Prints a list that came as a whole: the API's object, or `table`.
    fn list(&mut self, answer: &Value, table: &Table, nothing: &str) -> Result<(), CliError> {
        if self.printer.is_json() {
            return self.printer.json(answer);
        }
        self.printer.table(table, nothing)
    }

    /// Asks a person before what cannot be undone; without one to ask, `--yes` must have been given.
    fn confirm(&mut self, question: &str, yes: bool) -> Result<(), CliError> {
        if yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Err(CliError::usage(format!(
                "{question} There is no terminal to confirm this on; add --yes if you are sure"
            )));
        }
        self.printer.ask(&format!("{question} [y/N]"));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            Ok(())
        } else {
            Err(CliError::failed(
                "cancelled",
                "cancelled; nothing was changed",
            ))
        }
    }
}

/// Rows of a table when no option says how many.
const TABLE_ROWS: u64 = 50;

/// Rows of a table below an object that is shown.
const SAMPLE_ROWS: usize = 20;
/// Up to how many are counted to say how many more there are.
const COUNTED: u64 = 200;

/// What belongs to an object that is shown: the first of it, and how to see all.
struct Sample<'l> {
    path: &'l [&'l str],
    filter: Query,
    columns: &'l [&'static str],
    /// The command that lists all.
    all: &'l str,
    /// Said when there is nothing.
    nothing: &'l str,
}

/// A list of the API, and how it is shown.
struct Listing<'l> {
    path: &'l [&'l str],
    filter: Query,
    page: &'l Page,
    columns: &'l [&'static str],
    /// Said when there is nothing.
    nothing: &'l str,
}

/// The hint below a table that is not all.
fn there_are_more(cursor: &str) -> String {
    format!("There are more: add --all, or --cursor {cursor}")
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
            Some(hint) => error.and(&hint),
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

/// A name as a path segment must be one: the rules of [`Name`] keep `..` and `/` out of URLs.
fn parse_name(text: &str) -> Result<String, String> {
    Name::parse(text)
        .map(|name| name.as_str().to_owned())
        .map_err(|invalid| invalid.problem)
}

/// An id or key id: it becomes a path segment.
fn parse_id(text: &str) -> Result<String, String> {
    let is_id = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if is_id {
        Ok(text.to_owned())
    } else {
        Err("an id is made of letters, digits, '-' and '_'; copy it from the list".to_owned())
    }
}

/// `current` with `add` added and `remove` removed. Removing what is not there is an error that
/// tells what is: it would otherwise hide a slip of the pen.
fn edited_list(
    what: &str,
    current: Vec<String>,
    add: &[String],
    remove: &[String],
) -> Result<Vec<String>, CliError> {
    let mut list = current;
    for name in remove {
        let Some(at) = list.iter().position(|have| have == name) else {
            let have = if list.is_empty() {
                "none".to_owned()
            } else {
                list.join(", ")
            };
            return Err(CliError::failed(
                "invalid",
                format!("there is no {what} '{name}' to remove; there: {have}"),
            ));
        };
        list.remove(at);
    }
    for name in add {
        if !list.contains(name) {
            list.push(name.clone());
        }
    }
    Ok(list)
}

/// A `K=V` pair.
fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE".to_owned()),
    }
}

/// The error of an `edit` without anything to edit.
fn nothing_to_change() -> CliError {
    CliError::usage("nothing to change: name at least one option; --help lists them")
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
    fn what_would_change_a_path_is_no_name_and_no_id() {
        for text in ["", ".", "..", "a/b", "a b", "A", "%2e%2e", "a\u{202e}"] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
        for text in ["", ".", "..", "a/b", "a b", "%2e", "a?b"] {
            assert!(parse_id(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_name("team-a.bot"), Ok("team-a.bot".to_owned()));
        assert_eq!(parse_id("cred_01-Ab"), Ok("cred_01-Ab".to_owned()));
    }

    #[test]
    fn removing_what_is_not_there_tells_what_is() {
        let list = || vec!["reader".to_owned(), "writer".to_owned()];
        let error = edited_list("role", list(), &[], &["raeder".to_owned()]).unwrap_err();
        insta::assert_snapshot!(error.text().unwrap(), @"error: there is no role 'raeder' to remove; there: reader, writer");
        let edited = edited_list(
            "role",
            list(),
            &["reader".to_owned(), "admin".to_owned()],
            &["writer".to_owned()],
        );
        assert_eq!(edited.unwrap(), ["reader", "admin"]);
    }

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        assert_eq!(
            parse_pair("team=a=b"),
            Ok(("team".to_owned(), "a=b".to_owned()))
        );
        assert_eq!(parse_pair("team="), Ok(("team".to_owned(), String::new())));
        assert!(parse_pair("team").is_err());
        assert!(parse_pair("=a").is_err());
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
