//! `firman administrator`: who may use the admin API. A token is shown once and never again.

mod recover;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::client::{Answer, Query};
use super::duration::{DurationOr, parse_duration, parse_duration_or_never};
use super::error::CliError;
use super::keyfile::NewFile;
use super::noun::{NameArgs, Noun, print_list};
use super::parse::{nothing_to_change, parse_name, seconds};
use super::print::{shell_word, time};
use super::session::Session;
use crate::api::administrator::{
    Administrator, AdministratorEdit, AdministratorRotation, NewAdministrator,
};
use crate::domain::administrator::AdministratorRole;
use crate::domain::remedy::Remedy;

const ADMINISTRATOR: Noun<Administrator> = Noun {
    name: "administrator",
    path: "administrators",
    columns: &[
        ("NAME", |one, _| one.name.clone()),
        ("ROLE", |one, _| one.role.clone()),
        ("EXPIRES", |one, _| time(one.expires_at)),
        ("REVOKED", |one, _| time(one.revoked_at)),
        ("CREATED", |one, _| time(one.created_at)),
    ],
    facts: &[
        ("name", |one, _| one.name.clone()),
        ("role", |one, _| one.role.clone()),
        ("expires", |one, _| time(one.expires_at)),
        ("revoked", |one, _| time(one.revoked_at)),
        ("created", |one, _| time(one.created_at)),
        ("id", |one, _| one.id.clone()),
    ],
};

const ROLES: [&str; 3] = [
    AdministratorRole::Viewer.as_str(),
    AdministratorRole::Operator.as_str(),
    AdministratorRole::Owner.as_str(),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Create an administrator with a token of its own
    ///
    /// A viewer reads; an operator also changes agents, groups, roles, resources and credentials; an owner does everything.
    #[command(
        after_help = "Examples:\n  firman administrator add alice --role owner --out alice.token\n  firman administrator add ci --role operator --expires-in 90d --out ci.token"
    )]
    Add(AddArgs),
    /// List administrators and their roles
    #[command(after_help = "Examples:\n  firman administrator list")]
    List,
    /// Show an administrator
    #[command(after_help = "Examples:\n  firman administrator show alice")]
    Show(NameArgs),
    /// Change an administrator's role or expiry
    #[command(
        after_help = "Examples:\n  firman administrator edit alice --role viewer\n  firman administrator edit ci --expires-in 90d"
    )]
    Edit(EditArgs),
    /// Replace an administrator's token; the old one ends at once
    #[command(
        after_help = "Examples:\n  firman administrator rotate alice --out alice.token\n  firman administrator rotate ci --expires-in 90d --out ci.token"
    )]
    Rotate(RotateArgs),
    /// Revoke an administrator's token at once
    #[command(after_help = "Examples:\n  firman administrator revoke alice")]
    Revoke {
        #[command(flatten)]
        administrator: NameArgs,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
    /// Replace an owner's lost token, on the machine of the server
    ///
    /// Needs the database and the key-encryption key, not a token. The server may run. Creates the owner if there is
    /// no administrator of that name.
    #[command(
        after_help = "Examples:\n  firman administrator recover --out owner.token\n  firman administrator recover alice --data-dir /var/lib/firman"
    )]
    Recover(recover::RecoverArgs),
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The name: labels of a-z, 0-9 and `-`, joined by `.`
    #[arg(value_parser = parse_name)]
    name: String,
    /// What it may do
    #[arg(long, value_parser = ROLES)]
    role: String,
    /// How long its token is valid (24h, 90d) [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
    #[command(flatten)]
    sink: SinkArgs,
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    #[command(flatten)]
    administrator: NameArgs,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, Default, PartialEq, Args)]
struct Changes {
    /// What it may do
    #[arg(long, value_parser = ROLES)]
    role: Option<String>,
    /// How long from now its token is valid, or `never` to remove the limit
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_never)]
    expires_in: Option<DurationOr>,
}

#[derive(Debug, Args)]
pub(super) struct RotateArgs {
    #[command(flatten)]
    administrator: NameArgs,
    /// How long the new token is valid (24h, 90d) [default: the expiry stays]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
    #[command(flatten)]
    sink: SinkArgs,
}

/// Where a new token goes.
#[derive(Debug, Args)]
struct SinkArgs {
    /// Write the token to this new file (mode 0600) instead of showing it
    #[arg(long, value_name = "FILE", alias = "token-file")]
    out: Option<PathBuf>,
}

/// The note of an answer with a token, once the token may be in a file.
#[derive(Deserialize)]
struct Issued {
    administrator: Administrator,
    #[serde(default)]
    token: String,
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add(args, session).await,
        Command::List => {
            let path = [ADMINISTRATOR.path];
            let all = session.admin()?.get(&path, &Query::default()).await?;
            print_list(ADMINISTRATOR.columns, &all, "No administrators.", session).map(|_| ())
        }
        Command::Show(args) => ADMINISTRATOR.show(&args.name, session).await.map(|_| ()),
        Command::Edit(args) => edit(args, session).await,
        Command::Rotate(args) => rotate(args, session).await,
        Command::Revoke { administrator, yes } => revoke(&administrator.name, yes, session).await,
        Command::Recover(args) => recover::run(args, session).await,
    }
}

async fn add(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let sink = args.sink.create(Remedy::command(format!(
        "administrator rotate {}",
        args.name
    )))?;
    let new = NewAdministrator {
        name: args.name,
        role: args.role,
        expires_in: seconds(args.expires_in),
    };
    let answer: Value = admin.post(&[ADMINISTRATOR.path], &new).await?;
    print_token(&new.name, answer, sink, session)
}

async fn edit(args: EditArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let EditArgs {
        administrator,
        changes,
    } = args;
    if changes == Changes::default() {
        return Err(nothing_to_change("administrator edit"));
    }
    let edit = |_: &Administrator| {
        Ok(AdministratorEdit {
            role: changes.role.clone(),
            expires_in: changes.expires_in.map(DurationOr::to_seconds),
        })
    };
    let path = [ADMINISTRATOR.path, &administrator.name];
    let edited = session.admin()?.edit(&path, edit).await?;
    ADMINISTRATOR.print(&edited, session).map(|_| ())
}

async fn rotate(args: RotateArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let name = args.administrator.name;
    // An owner that rotated its own token has none left that the server accepts.
    let sink = args.sink.create(Remedy::action(format!(
        "rotate it again as another owner, or run `firman administrator recover {name}` on the server's machine"
    )))?;
    let rotation = AdministratorRotation {
        expires_in: seconds(args.expires_in),
    };
    let path = [ADMINISTRATOR.path, &name, "rotate"];
    let answer: Value = admin.post(&path, &rotation).await?;
    print_token(&name, answer, sink, session)?;
    if !session.printer.is_json() {
        session.printer.hint("The old token is no longer accepted.");
    }
    Ok(())
}

async fn revoke(name: &str, yes: bool, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let question = format!("Revoke the token of administrator {name} permanently?");
    session.confirm(&question, yes)?;
    let revoked = admin.act(&[ADMINISTRATOR.path, name, "revoke"]).await?;
    ADMINISTRATOR.print(&revoked, session).map(|_| ())
}

/// Where a new token goes, and what helps when it cannot be written there.
struct Sink {
    file: Option<NewFile>,
    again: Remedy,
}

impl SinkArgs {
    /// Creates the file before there is a token that could be lost. `again` makes another token.
    fn create(&self, again: Remedy) -> Result<Sink, CliError> {
        let file = self.out.as_deref().map(NewFile::create).transpose()?;
        Ok(Sink { file, again })
    }
}

/// Prints a new token of the administrator `name`, or where it is, and how to use it.
fn print_token(
    name: &str,
    mut answer: Value,
    sink: Sink,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let path = match sink.file {
        Some(file) => Some(keep(&mut answer, file).map_err(|error| {
            error
                .and(&format!("The new token of {name} is lost"))
                .with_remedy(&sink.again)
        })?),
        None => None,
    };
    let Some(issued) = session.object(&Answer::<Issued>::of(answer))? else {
        return Ok(());
    };
    let now = session.now();
    let facts = ADMINISTRATOR.facts.iter();
    let mut shown = vec![("token", issued.token)];
    shown.extend(facts.map(|(title, text)| (*title, text(&issued.administrator, now))));
    session.printer.facts(&shown)?;
    session.printer.hint(&match &path {
        Some(path) => {
            format!("The token is in `{path}` and nowhere else. Let only `{name}` read it.")
        }
        None => format!("The token is shown once. Store it where only `{name}` can read it."),
    });
    let file = path.map_or_else(|| "FILE".to_owned(), |path| shell_word(&path));
    session.printer.next(&format!(
        "FIRMAN_ADMIN_TOKEN_FILE={file} firman administrator list"
    ));
    Ok(())
}

/// Moves the token of `answer` into the file, and puts in its place where it is.
fn keep(answer: &mut Value, mut file: NewFile) -> Result<String, CliError> {
    let token = answer
        .as_object_mut()
        .and_then(|answer| answer.remove("token"));
    let Some(Value::String(token)) = token else {
        let detail = "the server's answer does not contain a token";
        return Err(CliError::failed("http", detail));
    };
    let token = Zeroizing::new(token);
    file.write(&format!("{}\n", *token))?;
    file.keep();
    let path = file.path().display().to_string();
    answer["out"] = json!(path);
    Ok(path)
}
