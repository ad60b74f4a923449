//! `firman key`: the issuer's signing keys.

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::client::Query;
use super::error::CliError;
use super::key_consumer;
use super::parse::parse_id;
use super::print::{Table, date, items, names, text, texts};
use super::session::Session;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List signing keys and where they are in their life
    List,
    /// Publish new keys now, which sign once every relying party can have seen them
    Rotate {
        /// Only the key of this algorithm
        #[arg(long, value_parser = ["ES256", "RS256"])]
        algorithm: Option<String>,
    },
    /// Let a new key sign although a key consumer lacks it: what it signs fails there
    Activate {
        /// The key's id, from `firman key list`
        #[arg(value_name = "KID", value_parser = parse_id, allow_hyphen_values = true)]
        kid: String,
        /// Do not wait for key consumers that have not acknowledged it
        #[arg(long)]
        override_consumers: bool,
    },
    /// Those who hold a copy of the key set: a new key waits for them
    #[command(subcommand)]
    Consumer(key_consumer::Command),
    /// Emergency: withdraw a key at once; tokens it signed stop being accepted
    Revoke {
        /// The key's id, from `firman key list`
        #[arg(value_name = "KID", value_parser = parse_id, allow_hyphen_values = true)]
        kid: String,
        /// Why; it goes into the audit
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::List => {
            let answer = session.admin()?.get(&["keys"], &Query::default()).await?;
            let table = table(items(&answer, "items"));
            session.list(&answer, &table, "No signing keys.")
        }
        Command::Rotate { algorithm } => {
            let mut body = Map::new();
            if let Some(algorithm) = algorithm {
                body.insert("algorithm".to_owned(), algorithm.into());
            }
            let answer = session
                .admin()?
                .post(&["keys", "rotate"], Some(&Value::Object(body)))
                .await?;
            let table = table(items(&answer, "items"));
            session.list(&answer, &table, "No key was prepared.")?;
            session.printer.hint(&what_to_do(items(&answer, "items")));
            Ok(())
        }
        Command::Activate {
            kid,
            override_consumers,
        } => {
            let body = json!({ "override_consumers": override_consumers });
            let key = session
                .admin()?
                .post(&["keys", &kid, "activate"], Some(&body))
                .await?;
            if session.printer.is_json() {
                return session.printer.json(&key);
            }
            session.printer.table(&table(&[key]), "")
        }
        Command::Consumer(command) => key_consumer::run(command, session).await,
        Command::Revoke { kid, reason, yes } => {
            let admin = session.admin()?;
            session.confirm(
                &format!("Revoke signing key {kid}? Every token it signed stops being accepted as relying parties reload the key set."),
                yes,
            )?;
            let answer = admin
                .post(
                    &["keys", &kid, "revoke"],
                    Some(&json!({ "reason": reason })),
                )
                .await?;
            if session.printer.is_json() {
                return session.printer.json(&answer);
            }
            let keys = [answer["revoked"].clone(), answer["active"].clone()];
            session.printer.table(&table(&keys), "")?;
            let stale = names(&answer, "stale_consumers");
            if !stale.is_empty() {
                session.printer.hint(&format!(
                    "The copies of these key consumers are wrong now: {stale}. Give them the key set, then: firman key consumer ack NAME"
                ));
            }
            Ok(())
        }
    }
}

/// What is to be done after new keys were prepared.
fn what_to_do(keys: &[Value]) -> String {
    let mut waiting: Vec<String> = keys
        .iter()
        .flat_map(|key| texts(key, "waiting_for"))
        .collect();
    waiting.sort();
    waiting.dedup();
    if waiting.is_empty() {
        return "Published now; each signs from the time it activates. Nothing else needs to be done."
            .to_owned();
    }
    format!(
        "Published now; each waits for {} as well. Give them the key set, then: firman key consumer ack NAME",
        waiting.join(", ")
    )
}

fn table(keys: &[Value]) -> Table {
    let mut table = Table::new(&[
        "KID",
        "ALGORITHM",
        "STATE",
        "SINCE",
        "UNTIL",
        "ACTIVATES",
        "WAITING FOR",
        "CREATED",
    ]);
    for key in keys {
        table.row([
            text(key, "kid"),
            text(key, "algorithm"),
            text(key, "state"),
            date(key, "since"),
            date(key, "until"),
            date(key, "activates_at"),
            names(key, "waiting_for"),
            date(key, "created_at"),
        ]);
    }
    table
}
