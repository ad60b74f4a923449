//! `firman key`: the issuer's signing keys.

use clap::{Args, Subcommand};

use super::client::{Answer, Query};
use super::error::CliError;
use super::key_consumer;
use super::noun::{Cell, print_list, table};
use super::parse::parse_id;
use super::print::time;
use super::session::Session;
use crate::api::key::{Key, KeyActivation, KeyRevocation, KeyRotation, RevokedKey};

const COLUMNS: [Cell<Key>; 8] = [
    ("KID", |key, _| key.kid.clone()),
    ("ALGORITHM", |key, _| key.algorithm.clone()),
    ("STATE", |key, _| key.state.clone()),
    ("SINCE", |key, _| time(key.since)),
    ("UNTIL", |key, _| time(key.until)),
    ("ACTIVATES", |key, _| time(key.activates_at)),
    ("WAITING FOR", |key, _| waiting_for(key).join(", ")),
    ("CREATED", |key, _| time(key.created_at)),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List signing keys and the state each is in
    #[command(after_help = "Examples:\n  firman key list")]
    List,
    /// Rotate signing keys: publish new ones now, which sign after every relying party can have fetched them
    #[command(after_help = "Examples:\n  firman key rotate\n  firman key rotate --algorithm ES256")]
    Rotate {
        /// Only the key of this algorithm
        #[arg(long, value_parser = ["ES256", "RS256"])]
        algorithm: Option<String>,
    },
    /// Activate a new key before every key consumer has it
    #[command(
        after_help = "Key consumers that do not have the key reject what it signs.\n\nExamples:\n  firman key activate Zq3kT0 --override-consumers"
    )]
    Activate {
        #[command(flatten)]
        key: KidArgs,
        /// Do not wait for key consumers that have not acknowledged it
        #[arg(long)]
        override_consumers: bool,
    },
    /// Manage key consumers: services with a copy of the key set, for which a new key waits
    #[command(
        subcommand,
        after_help = "Examples:\n  firman key consumer list\n  firman key consumer ack claude"
    )]
    Consumer(key_consumer::Command),
    /// Revoke a signing key at once, in an emergency: tokens that it signed are rejected
    #[command(
        after_help = "Examples:\n  firman key revoke Zq3kT0 --reason \"the backup was stolen\""
    )]
    Revoke {
        #[command(flatten)]
        key: KidArgs,
        /// Why; it is recorded in the audit
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct KidArgs {
    /// The key's id, from `firman key list`
    #[arg(value_name = "KID", value_parser = parse_id, allow_hyphen_values = true)]
    kid: String,
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::List => {
            let keys = session.admin()?.get(&["keys"], &Query::default()).await?;
            print_list(&COLUMNS, &keys, "No signing keys.", session).map(|_| ())
        }
        Command::Rotate { algorithm } => {
            let rotation = KeyRotation { algorithm };
            let path = ["keys", "rotate"];
            let keys = session.admin()?.post(&path, &rotation).await?;
            let keys = print_list(&COLUMNS, &keys, "No key was prepared.", session)?;
            session.printer.hint(&what_to_do(&keys));
            Ok(())
        }
        Command::Activate {
            key,
            override_consumers,
        } => {
            let activation = KeyActivation {
                override_consumers: Some(override_consumers),
            };
            let path = ["keys", &key.kid, "activate"];
            let key: Answer<Key> = session.admin()?.post(&path, &activation).await?;
            match session.object(&key)? {
                Some(key) => print(&[key], session),
                None => Ok(()),
            }
        }
        Command::Consumer(command) => key_consumer::run(command, session).await,
        Command::Revoke { key, reason, yes } => {
            let question = format!(
                "Revoke signing key `{}`? Every token it signed is rejected as soon as relying parties reload the key set.",
                key.kid
            );
            session.admin()?;
            session.confirm(&question, yes)?;
            revoke(&key.kid, reason, session).await
        }
    }
}

async fn revoke(kid: &str, reason: String, session: &mut Session<'_>) -> Result<(), CliError> {
    let path = ["keys", kid, "revoke"];
    let revocation = KeyRevocation { reason };
    let answer: Answer<RevokedKey> = session.admin()?.post(&path, &revocation).await?;
    let Some(done) = session.object(&answer)? else {
        return Ok(());
    };
    print(&[done.revoked, done.active], session)?;
    if !done.stale_consumers.is_empty() {
        session.printer.hint(&format!(
            "The copies of these key consumers are outdated: {}. Update them, then run: firman key consumer ack NAME",
            done.stale_consumers.join(", ")
        ));
    }
    Ok(())
}

fn print(keys: &[Key], session: &mut Session<'_>) -> Result<(), CliError> {
    let table = table(&COLUMNS, keys, session.now());
    session.printer.table(&table, "")
}

fn waiting_for(key: &Key) -> &[String] {
    key.waiting_for.as_deref().unwrap_or_default()
}

/// What to do after new keys were prepared.
fn what_to_do(keys: &[Key]) -> String {
    let mut waiting: Vec<&str> = keys
        .iter()
        .flat_map(waiting_for)
        .map(String::as_str)
        .collect();
    waiting.sort_unstable();
    waiting.dedup();
    if waiting.is_empty() {
        return "Published. Each key signs from the time it activates; nothing else needs to be done."
            .to_owned();
    }
    format!(
        "Published. Each key also waits for {}. Update their copies of the key set, then run: firman key consumer ack NAME",
        waiting.join(", ")
    )
}
