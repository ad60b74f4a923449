//! `firman claude`: setting up, checking and trying the federation with Claude.

mod simulate;

use clap::Subcommand;

use super::Session;
use super::error::CliError;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a local stand-in for Claude that takes this issuer's tokens and says why not
    Simulate(simulate::SimulateArgs),
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Simulate(args) => simulate::run(args, session).await,
    }
}
