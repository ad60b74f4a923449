//! `firman key consumer`: services that have a copy of the key set and do not fetch it.

use clap::{Args, Subcommand};

use super::client::Query;
use super::error::CliError;
use super::noun::{Cell, NameArgs, print_as, print_list, removed};
use super::parse::parse_name;
use super::print::time;
use super::session::Session;
use super::words::{Words, given, parse_ids};
use crate::api::key_consumer::{KeyAcknowledgement, KeyConsumer, NewKeyConsumer};

const COLUMNS: [Cell<KeyConsumer>; 5] = [
    ("NAME", |consumer, _| consumer.name.clone()),
    ("HOLDS", |consumer, _| count(&consumer.acknowledged)),
    ("LACKS", |consumer, _| count(&consumer.missing)),
    ("DESCRIPTION", |consumer, _| consumer.description.clone()),
    ("CREATED", |consumer, _| time(consumer.created_at)),
];

const FACTS: [Cell<KeyConsumer>; 6] = [
    ("name", |consumer, _| consumer.name.clone()),
    ("description", |consumer, _| consumer.description.clone()),
    ("holds", |consumer, _| consumer.acknowledged.join(", ")),
    ("lacks", |consumer, _| consumer.missing.join(", ")),
    ("still trusts", |consumer, _| consumer.revoked.join(", ")),
    ("created", |consumer, _| time(consumer.created_at)),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Register a key consumer, so that new keys wait until it is acknowledged to have them
    #[command(
        after_help = "Examples:\n  firman key consumer add claude --description \"registered inline at Claude\""
    )]
    Add(AddArgs),
    /// List key consumers and how many published keys each lacks
    #[command(after_help = "Examples:\n  firman key consumer list")]
    List,
    /// Acknowledge that a key consumer has the key set as it is published now
    #[command(
        after_help = "Examples:\n  firman key consumer ack claude\n  firman key consumer ack claude --kid Zq3kT0"
    )]
    Ack(AckArgs),
    /// Remove a key consumer, so that new keys no longer wait for it
    #[command(after_help = "Examples:\n  firman key consumer remove claude")]
    Remove {
        #[command(flatten)]
        consumer: NameArgs,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// The name: labels of a-z, 0-9 and `-`, joined by `.`
    #[arg(value_parser = parse_name)]
    name: String,
    /// What it is, and where its copy is
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct AckArgs {
    #[command(flatten)]
    consumer: NameArgs,
    /// Acknowledge only these keys, in addition (`a,b`, `"a b"`, or repeat the option)
    #[arg(long = "kid", value_name = "KIDS", value_parser = parse_ids, allow_hyphen_values = true)]
    kids: Vec<Words>,
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    match command {
        Command::Add(args) => {
            let new = NewKeyConsumer {
                name: args.name,
                description: args.description,
            };
            let consumer = admin.post(&["key-consumers"], &new).await?;
            print_as(&FACTS, &consumer, session)?;
            session
                .printer
                .hint("Copy the issuer's key set to it, then acknowledge the copy.");
            session
                .printer
                .next(&format!("firman key consumer ack {}", new.name));
            Ok(())
        }
        Command::List => {
            let all = admin.get(&["key-consumers"], &Query::default()).await?;
            let nothing = "No key consumers: every relying party fetches the key set.";
            print_list(&COLUMNS, &all, nothing, session).map(|_| ())
        }
        Command::Ack(args) => {
            let held = KeyAcknowledgement {
                kids: given(&args.kids),
            };
            let path = ["key-consumers", &args.consumer.name, "ack"];
            let consumer = admin.post(&path, &held).await?;
            print_as(&FACTS, &consumer, session).map(|_| ())
        }
        Command::Remove { consumer, yes } => {
            let name = consumer.name;
            let question = format!(
                "Remove key consumer `{name}`? New keys no longer wait for it. Without a new key, it rejects what that key signs."
            );
            session.confirm(&question, yes)?;
            let path = ["key-consumers", &name];
            admin.delete(&path, &Query::default()).await?;
            removed(&name, session)
        }
    }
}

fn count(keys: &[String]) -> String {
    match keys.len() {
        0 => String::new(),
        1 => "1 key".to_owned(),
        count => format!("{count} keys"),
    }
}
