//! `firman config`: what the configuration says, where each value comes from, and whether it is good.

use clap::Subcommand;
use serde_json::json;

use super::Session;
use super::error::CliError;
use super::print::Table;
use super::serve;
use crate::config::Overrides;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show every setting with its value and where that came from
    Show,
    /// Say whether the configuration is good: exit code 0 or 1
    Check,
}

pub(super) fn run(command: &Command, session: &mut Session<'_>) -> Result<(), CliError> {
    let config = serve::config(Overrides::default(), session)?;
    match command {
        Command::Check => {
            // What only a start can find out besides: whether the issuer's URL follows from the listener.
            config
                .issuer_url(config.listen())
                .map_err(|error| CliError::failed("config", error.to_string()))?;
            if session.printer.is_json() {
                return session.printer.json(&json!({ "ok": true }));
            }
            session.printer.hint("The configuration is good.");
            Ok(())
        }
        Command::Show => {
            let shown = config.show();
            if session.printer.is_json() {
                return session.printer.json(&json!({ "items": shown }));
            }
            let mut table = Table::new(&["KEY", "VALUE", "ORIGIN"]);
            for line in shown {
                table.row([line.key.to_owned(), line.value, line.origin]);
            }
            session.printer.table(&table, "there are no settings")
        }
    }
}
