//! `firman claude`: everything between a registered agent and an answered message. What Claude demands
//! is `relying_party::claude`'s to know; here it is asked for, sent and printed.

mod admin_api;
mod apply;
mod base_url;
mod connect;
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
    /// Print what makes Claude trust an agent, or set it up there with --apply
    Connect(connection::ConnectArgs),
    /// Note which rule and service account at Claude belong to an agent, so that other commands need no flags
    Link(link::LinkArgs),
    /// List which agents are linked to what at Claude
    Links(link::LinksArgs),
    /// Forget what belongs to an agent at Claude; there everything stays as it is
    Unlink(link::UnlinkArgs),
    /// Go round from the outside as Claude would: one line per check, exit code 1 when one fails
    Verify(verify::VerifyArgs),
    /// Why Claude refused a token: the likely causes, the likeliest first
    Diagnose(diagnose::DiagnoseArgs),
    /// Run a local stand-in for Claude that takes this issuer's tokens and says why not
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
