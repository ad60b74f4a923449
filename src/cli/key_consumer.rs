//! `firman key consumer`: those who were given the key set itself and do not fetch it.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::client::Query;
use super::error::CliError;
use super::noun::removed;
use super::parse::parse_name;
use super::print::{Table, date, items, names, text, texts};
use super::session::Session;
use super::words::{Words, all_of, parse_ids};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make one known: from then on no new key signs before it is acknowledged for it
    Add {
        /// The name: labels of a-z, 0-9 and '-' joined by '.'
        #[arg(value_parser = parse_name)]
        name: String,
        /// Who it is, and where its copy lies
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// List them, and which published keys each lacks
    List,
    /// Note that one was given the key set as it is published now
    Ack {
        /// The consumer's name
        #[arg(value_parser = parse_name)]
        name: String,
        /// Note only that it holds these keys as well (`a,b`, `"a b"`, or repeat the option)
        #[arg(long = "kid", value_name = "KIDS", value_parser = parse_ids, allow_hyphen_values = true)]
        kids: Vec<Words>,
    },
    /// Remove one: new keys do not wait for it any more
    Remove {
        /// The consumer's name
        #[arg(value_parser = parse_name)]
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Add { name, description } => {
            let mut body = Map::new();
            body.insert("name".to_owned(), json!(name));
            if let Some(description) = description {
                body.insert("description".to_owned(), json!(description));
            }
            let admin = session.admin()?;
            let consumer = admin
                .post(&["key-consumers"], Some(&Value::Object(body)))
                .await?;
            print(&consumer, session)?;
            session
                .printer
                .hint("Give it the key set of the issuer, then note that it has it.");
            session
                .printer
                .next(&format!("firman key consumer ack {name}"));
            Ok(())
        }
        Command::List => {
            let admin = session.admin()?;
            let answer = admin.get(&["key-consumers"], &Query::default()).await?;
            let table = table(&answer);
            session.list(
                &answer,
                &table,
                "No key consumers: everybody fetches the key set.",
            )
        }
        Command::Ack { name, kids } => {
            let body = if kids.is_empty() {
                json!({})
            } else {
                json!({ "kids": all_of(&kids) })
            };
            let consumer = session
                .admin()?
                .post(&["key-consumers", &name, "ack"], Some(&body))
                .await?;
            print(&consumer, session)
        }
        Command::Remove { name, yes } => {
            let admin = session.admin()?;
            session.confirm(
                &format!("Remove key consumer {name}? New keys sign without it; what they sign fails there if it lacks them."),
                yes,
            )?;
            admin
                .delete(&["key-consumers", &name], &Query::default())
                .await?;
            removed(&name, session)
        }
    }
}

fn table(answer: &Value) -> Table {
    let mut table = Table::new(&["NAME", "HOLDS", "LACKS", "DESCRIPTION", "CREATED"]);
    for consumer in items(answer, "items") {
        let keys = |member: &str| match texts(consumer, member).len() {
            0 => String::new(),
            1 => "1 key".to_owned(),
            count => format!("{count} keys"),
        };
        table.row([
            text(consumer, "name"),
            keys("acknowledged"),
            keys("missing"),
            text(consumer, "description"),
            date(consumer, "created_at"),
        ]);
    }
    table
}

fn print(consumer: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(consumer);
    }
    session.printer.facts(&[
        ("name", text(consumer, "name")),
        ("description", text(consumer, "description")),
        ("holds", names(consumer, "acknowledged")),
        ("lacks", names(consumer, "missing")),
        ("still trusts", names(consumer, "revoked")),
        ("created", date(consumer, "created_at")),
    ])
}
