//! `firman administrator`: who may use the admin API.

use clap::Subcommand;

use super::client::Query;
use super::error::CliError;
use super::parse::parse_name;
use super::print::{Table, date, items, text};
use super::session::Session;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List administrators
    List,
    /// Revoke an administrator's token at once
    Revoke {
        /// The administrator's name
        #[arg(value_parser = parse_name)]
        name: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    match command {
        Command::List => {
            let answer = admin.get(&["administrators"], &Query::default()).await?;
            let mut table = Table::new(&["NAME", "ROLE", "EXPIRES", "REVOKED", "CREATED"]);
            for administrator in items(&answer, "items") {
                table.row([
                    text(administrator, "name"),
                    text(administrator, "role"),
                    date(administrator, "expires_at"),
                    date(administrator, "revoked_at"),
                    date(administrator, "created_at"),
                ]);
            }
            session.list(&answer, &table, "No administrators.")
        }
        Command::Revoke { name, yes } => {
            session.confirm(
                &format!("Revoke the token of administrator {name}? It is never made again."),
                yes,
            )?;
            let answer = admin
                .post(&["administrators", &name, "revoke"], None)
                .await?;
            if session.printer.is_json() {
                return session.printer.json(&answer);
            }
            session.printer.facts(&[
                ("name", text(&answer, "name")),
                ("role", text(&answer, "role")),
                ("revoked", date(&answer, "revoked_at")),
            ])
        }
    }
}
