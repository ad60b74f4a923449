//! `firman claude`: everything between a registered agent and an answered message. What Claude demands
//! is `relying_party::claude`'s to know; here it is asked for, sent and printed.

mod admin_api;
mod apply;
mod connect;
mod plan;
mod set_up;
mod show;

use clap::Subcommand;

use super::Session;
use super::error::CliError;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print what makes Claude trust an agent, or set it up there with --apply
    Connect(connect::ConnectArgs),
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Connect(args) => connect::run(args, session).await,
    }
}
