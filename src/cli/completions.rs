//! `firman completions` and `firman man`: files that a package installs beside the program.

use std::path::PathBuf;

use clap::Args;

use super::error::CliError;
use super::session::Session;
use super::typed;

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  firman completions bash\n  firman completions zsh")]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Print the manual page, or write all pages into a directory
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  firman man\n  firman man --dir /usr/local/share/man/man1")]
pub(super) struct ManArgs {
    /// Write one page per command into this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(
    args: &CompletionsArgs,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut typed::spelled(), "firman", &mut script);
    session.printer.bytes(&script)
}

pub(super) fn man(args: &ManArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    if let Some(dir) = &args.dir {
        std::fs::create_dir_all(dir)
            .and_then(|()| clap_mangen::generate_to(typed::spelled(), dir))
            .map_err(|error| CliError::file(dir, "write manual pages into", &error))?;
        session
            .printer
            .hint(&format!("Wrote the manual pages into {}", dir.display()));
        return Ok(());
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(typed::spelled()).render(&mut page)?;
    session.printer.bytes(&page)
}
