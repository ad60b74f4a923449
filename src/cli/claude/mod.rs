//! `firman claude`: setting up, checking and trying the federation with Claude. Calls what is known of
//! Claude in `relying_party::claude`; everything outbound is here.

mod diagnose;
mod facts;
mod probe;
mod verify;

use clap::Subcommand;

use super::Session;
use super::error::CliError;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Go round from the outside as Claude would: one line per check, exit code 1 when one fails
    Verify(verify::VerifyArgs),
    /// Why Claude refused a token: the likely causes, the likeliest first
    Diagnose(diagnose::DiagnoseArgs),
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Verify(args) => verify::run(args, session).await,
        Command::Diagnose(args) => diagnose::run(args, session).await,
    }
}
