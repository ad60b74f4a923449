//! `firman claude`: what Claude needs to know of this issuer, and what this issuer knows of Claude.

mod link;

use clap::Subcommand;

use super::Session;
use super::error::CliError;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Note which rule and service account at Claude belong to an agent, so that other commands need no flags
    Link(link::LinkArgs),
    /// List which agents are linked to what at Claude
    Links(link::LinksArgs),
    /// Forget what belongs to an agent at Claude; there everything stays as it is
    Unlink(link::UnlinkArgs),
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Link(args) => link::link(args, session).await,
        Command::Links(args) => link::links(&args, session).await,
        Command::Unlink(args) => link::unlink(&args, session).await,
    }
}
