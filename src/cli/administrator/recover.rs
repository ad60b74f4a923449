//! `firman administrator recover`: an owner's token, from the database and the key-encryption key alone.

use std::sync::Arc;

use clap::Args;

use super::{SinkArgs, print_token};
use crate::cli::error::CliError;
use crate::cli::parse::parse_name;
use crate::cli::serve;
use crate::cli::session::Session;
use crate::config::Overrides;
use crate::domain::administrator::BOOTSTRAP;
use crate::domain::remedy::Remedy;
use crate::host::{Host, HostError};
use crate::issuer::Ports;
use crate::ports::cause::with_causes;
use crate::ports::fetch::HttpFetcher;
use crate::ports::random::SystemRandom;
use crate::ports::time::SystemClock;

#[derive(Debug, Args)]
pub(in crate::cli) struct RecoverArgs {
    /// The owner that gets the token
    #[arg(value_parser = parse_name, default_value = BOOTSTRAP)]
    name: String,
    #[command(flatten)]
    sink: SinkArgs,
}

pub(super) async fn run(args: RecoverArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let config = serve::config(Overrides::default(), session)?;
    let again = Remedy::command(format!("administrator recover {}", args.name));
    let sink = args.sink.create(again)?;
    let ports = Ports {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        fetcher: Arc::new(HttpFetcher::default()),
    };
    let database_url = config.database_url.expose();
    let kek = serve::kek(&config);
    let recovered = Host::recover_owner(database_url, &kek, &args.name, ports).await;
    let recovered = recovered.map_err(|error| refused(&error))?;
    let answer = serde_json::to_value(&recovered)
        .map_err(|error| CliError::failed("recover", error.to_string()))?;
    print_token(&args.name, answer, sink, session)
}

fn refused(error: &HostError) -> CliError {
    let fault = CliError::failed("recover", with_causes(error));
    match error.remedy() {
        Some(remedy) => fault.with_remedy(&remedy),
        None => fault,
    }
}
