//! `firman claude`: everything between a registered agent and an answered message. `relying_party::claude` knows
//! what Claude requires; here it is requested, sent and printed.

mod admin_api;
mod apply;
mod base_url;
mod connect;
mod connect_args;
mod connection;
mod diagnose;
mod facts;
mod ids;
mod link;
mod plan;
mod probe;
mod read_back;
mod set_up;
mod show;
mod simulate;
mod team;
mod verify;

use clap::Subcommand;

use super::error::CliError;
use super::session::Session;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Connect an agent to Claude: print the setup, or make it with --apply
    Connect(connect_args::ConnectArgs),
    /// Store an agent's ids at Claude, so that other commands do not need them
    Link(link::LinkArgs),
    /// List the stored ids of all agents
    Links(link::LinksArgs),
    /// Remove an agent's stored ids; nothing changes at Claude
    Unlink(link::UnlinkArgs),
    /// Check from the outside whether Claude will accept an agent; exit code 1 if a check fails
    Verify(verify::VerifyArgs),
    /// Find out why Claude denied a token: the causes, likeliest first
    Diagnose(diagnose::DiagnoseArgs),
    /// Run a local simulation of Claude that explains each denial
    Simulate(simulate::SimulateArgs),
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Connect(args) => connect::run(args, session).await,
        Command::Link(args) => link::link(args, session).await,
        Command::Links(args) => link::links(&args, session).await,
        Command::Unlink(args) => link::unlink(&args, session).await,
        Command::Verify(args) => verify::run(args, session).await,
        Command::Diagnose(args) => diagnose::run(args, session).await,
        Command::Simulate(args) => simulate::run(args, session).await,
    }
}
