//! `firman credential`: how an agent authenticates. A client secret is shown once and never again; a private key is
//! made here, on the caller's machine, and never sent.

mod add;
mod federation;
mod rotate;

use clap::{Args, Subcommand};

use super::client::{AdminClient, Answer, Page, Query};
use super::duration::parse_duration;
use super::error::CliError;
use super::noun::{self, Asked, Cell, Noun};
use super::parse::{parse_id, parse_name};
use super::print::{time, time_and_distance};
use super::proof::{Proof, hints};
use super::session::Session;
use crate::api::credential::{AddedCredential, AgentCredential, Credential, DAMAGED};
use crate::api::list::List;

/// The live credentials of all agents.
const CREDENTIAL: Noun<AgentCredential> = Noun {
    name: "credential",
    path: "credentials",
    columns: &[
        ("AGENT", |held, _| held.agent.clone()),
        ("ID", |held, _| held.credential.id.clone()),
        ("KIND", |held, _| kind(&held.credential)),
        ("KID", |held, _| kid(&held.credential)),
        ("AGE", |held, now| age(now.0 - held.credential.created_at)),
        ("EXPIRES", |held, now| {
            time_and_distance(held.credential.expires_at, now)
        }),
    ],
    facts: &[],
};

/// The credentials of one agent.
pub(super) const COLUMNS: [Cell<Credential>; 6] = [
    ("ID", |credential, _| credential.id.clone()),
    ("KIND", |credential, _| credential.kind.clone()),
    ("STATUS", |credential, _| credential.status.clone()),
    ("KID", |credential, _| kid(credential)),
    ("EXPIRES", |credential, _| time(credential.expires_at)),
    ("CREATED", |credential, _| time(credential.created_at)),
];

const FACTS: [Cell<Credential>; 8] = [
    ("credential", |credential, _| credential.id.clone()),
    ("kind", |credential, _| credential.kind.clone()),
    ("kid", |credential, _| kid(credential)),
    ("trusted issuer", |credential, _| {
        credential.trusted_issuer.clone().unwrap_or_default()
    }),
    ("tokens with", |credential, _| {
        federation::matched(credential)
    }),
    ("status", |credential, _| credential.status.clone()),
    ("expires", |credential, _| time(credential.expires_at)),
    ("revoked", |credential, _| time(credential.revoked_at)),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a credential to an agent: a client secret, a public key, or tokens of a trusted issuer
    #[command(
        after_help = "Examples:\n  firman credential add mailer --generate-key mailer.pem\n  firman credential add mailer --federated cluster --namespace prod --service-account mailer"
    )]
    Add(Box<add::AddArgs>),
    /// List an agent's credentials, or the live ones of all agents, oldest first
    #[command(
        after_help = "Examples:\n  firman credential list mailer\n  firman credential list --expires-within 30d"
    )]
    List(ListArgs),
    /// Replace a credential; the old one stays valid for the overlap
    #[command(
        after_help = "Examples:\n  firman credential rotate mailer --generate-key new.pem\n  firman credential rotate batch --secret-out new.secret --overlap 1h"
    )]
    Rotate(rotate::RotateArgs),
    /// Revoke a credential at once
    #[command(
        after_help = "Examples:\n  firman credential revoke mailer 0195e3a2-7c41-7b12-9f80-3d2b1c0a9e8f"
    )]
    Revoke {
        /// The agent's name
        #[arg(value_name = "AGENT", value_parser = parse_name)]
        agent: String,
        /// The credential's id
        #[arg(value_name = "ID", value_parser = parse_id)]
        id: String,
    },
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// The agent's name [default: all agents]
    #[arg(value_name = "AGENT", value_parser = parse_name)]
    agent: Option<String>,
    /// Only credentials that expire within this time (24h, 30d)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, conflicts_with = "agent")]
    expires_within: Option<u64>,
    #[command(flatten)]
    page: Page,
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add(args) => add::run(*args, session).await,
        Command::List(args) => match &args.agent {
            Some(agent) => list(agent, session).await,
            None => list_all(&args, session).await,
        },
        Command::Rotate(args) => rotate::run(args, session).await,
        Command::Revoke { agent, id } => {
            let path = ["agents", &agent, "credentials", &id, "revoke"];
            let revoked = session.admin()?.act(&path).await?;
            noun::print_as(&FACTS, &revoked, session)?;
            session.printer.hint(
                "Revoked. New token requests with it are refused. Tokens that were already issued stay valid until they expire.",
            );
            Ok(())
        }
    }
}

/// The credentials of `agent`, also revoked and expired ones.
async fn held_by(agent: &str, admin: &AdminClient) -> Result<Answer<List<Credential>>, CliError> {
    let path = ["agents", agent, "credentials"];
    admin.get(&path, &Query::default()).await
}

async fn list(agent: &str, session: &mut Session<'_>) -> Result<(), CliError> {
    let held = held_by(agent, &session.admin()?).await?;
    let nothing = format!(
        "{agent} has no credential. Next: firman credential add {agent} --generate-key {agent}.pem"
    );
    noun::print_list(&COLUMNS, &held, &nothing, session).map(|_| ())
}

async fn list_all(args: &ListArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let asked = Asked {
        filter: Query::default().with("expires_within", args.expires_within),
        page: &args.page,
        nothing: if args.expires_within.is_some() {
            "No live credential expires within that time."
        } else {
            "No agent has a live credential."
        },
    };
    CREDENTIAL.list(asked, session).await
}

/// Prints a new credential, and what to do with it. Returns it for a person who is shown more.
async fn print_new(
    answer: &Answer<AddedCredential>,
    proof: &Proof,
    admin: &AdminClient,
    session: &mut Session<'_>,
) -> Result<Option<AddedCredential>, CliError> {
    let Some(added) = print_added(answer, session)? else {
        return Ok(None);
    };
    hints(&added.client_id, proof, admin, session).await;
    Ok(Some(added))
}

fn print_added(
    answer: &Answer<AddedCredential>,
    session: &mut Session<'_>,
) -> Result<Option<AddedCredential>, CliError> {
    let Some(added) = session.object(answer)? else {
        return Ok(None);
    };
    let now = session.now();
    let secret = added.client_secret.clone().unwrap_or_default();
    let mut shown = vec![
        ("client_id", added.client_id.clone()),
        ("client_secret", secret),
    ];
    let facts = FACTS.iter();
    shown.extend(facts.map(|(title, text)| (*title, text(&added.credential, now))));
    session.printer.facts(&shown)?;
    Ok(Some(added))
}

/// The kind, and whether its row cannot be read: the list has no column for what nearly all credentials are.
fn kind(credential: &Credential) -> String {
    if credential.status == DAMAGED {
        return format!("{} (damaged)", credential.kind);
    }
    credential.kind.clone()
}

fn kid(credential: &Credential) -> String {
    credential.kid.clone().unwrap_or_default()
}

/// How old something is, in the largest whole unit.
fn age(seconds: i64) -> String {
    match seconds.max(0) {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds @ 7_200..=172_799 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
