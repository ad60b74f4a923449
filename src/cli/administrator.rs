//! `firman administrator`: who may use the admin API.

use clap::Subcommand;

use super::client::Query;
use super::error::CliError;
use super::noun::{Cell, NameArgs, print_as, print_list};
use super::print::time;
use super::session::Session;
use crate::api::administrator::Administrator;

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
            let all = admin.get(&["administrators"], &Query::default()).await?;
            print_list(&COLUMNS, &all, "No administrators.", session).map(|_| ())
        }
        Command::Revoke { administrator, yes } => {
            let name = administrator.name;
            let question = format!("Revoke the token of administrator {name} permanently?");
            session.confirm(&question, yes)?;
            let revoked = admin.act(&["administrators", &name, "revoke"]).await?;
            print_as(&FACTS, &revoked, session).map(|_| ())
        }
    }
}
