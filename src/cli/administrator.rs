//! `firman administrator`: who may use the admin API.

use clap::Subcommand;

use super::client::{Answer, Query};
use super::error::CliError;
use super::noun::{Cell, NameArgs, print_as, table};
use super::print::time;
use super::session::Session;
use crate::api::administrator::Administrator;
use crate::api::list::List;

const COLUMNS: [Cell<Administrator>; 5] = [
    ("NAME", |one, _| one.name.clone()),
    ("ROLE", |one, _| one.role.clone()),
    ("EXPIRES", |one, _| time(one.expires_at)),
    ("REVOKED", |one, _| time(one.revoked_at)),
    ("CREATED", |one, _| time(one.created_at)),
];

const FACTS: [Cell<Administrator>; 3] = [
    ("name", |one, _| one.name.clone()),
    ("role", |one, _| one.role.clone()),
    ("revoked", |one, _| time(one.revoked_at)),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List administrators and their roles
    #[command(after_help = "Examples:\n  firman administrator list")]
    List,
    /// Revoke an administrator's token at once
    #[command(after_help = "Examples:\n  firman administrator revoke alice")]
    Revoke {
        #[command(flatten)]
        administrator: NameArgs,
        /// Do not ask for confirmation
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    match command {
        Command::List => {
            let path = ["administrators"];
            let all: Answer<List<Administrator>> = admin.get(&path, &Query::default()).await?;
            let table = table(&COLUMNS, &all.object.items, session.now());
            session.list(&all.raw, &table, "No administrators.")
        }
        Command::Revoke { administrator, yes } => {
            let name = administrator.name;
            let question = format!("Revoke the token of administrator {name} permanently?");
            session.confirm(&question, yes)?;
            let revoked = admin.act(&["administrators", &name, "revoke"]).await?;
            print_as(&FACTS, &revoked, session)
        }
    }
}
