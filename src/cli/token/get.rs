//! `firman token get`: a `client_credentials` grant (RFC 6749 §4.4), once or repeatedly.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::expose;
use super::identity::ClientArgs;
use super::minting::{GetArgs, Minted, Source, facts, mint};
use super::watch::Watch;
use crate::cli::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::keyfile;
use crate::cli::notify::Supervisor;
use crate::cli::serve::StopSignals;
use crate::cli::session::Session;
use crate::cli::words::{Words, parse_words};

#[derive(Debug, Args)]
pub(in crate::cli) struct GetCommand {
    #[command(flatten)]
    args: AskArgs,
    /// Write the token to this file (mode 0600, replaced atomically) instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Keep a fresh, unused token in the file until stopped
    #[arg(long, requires = "out")]
    watch: bool,
}

/// A request for a token, as the command line states it.
#[derive(Debug, Args)]
struct AskArgs {
    /// The issuer's URL, exactly as it calls itself [env: FIRMAN_AGENT_ISSUER]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
    /// The resource that the token is for, by its identifier
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// Scopes (`a,b`, `"a b"`, or repeat the option) [default: all that are granted]
    #[arg(long, value_name = "SCOPES", value_parser = parse_words)]
    scope: Vec<Words>,
    /// Lifetime of the token (90s, 15m)
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
    /// Bind the token to this private key, PEM or JWK (RFC 9449); without the key it is useless
    #[arg(long, value_name = "FILE")]
    dpop_key: Option<PathBuf>,
}

impl AskArgs {
    fn settle(self, session: &Session<'_>) -> Result<GetArgs, CliError> {
        let settled = self
            .client
            .settle_with_issuer(self.issuer, session.environment);
        let (client, issuer) = settled?;
        Ok(GetArgs {
            issuer,
            client,
            resource: self.resource,
            scope: self.scope,
            expires_in: self.expires_in,
            dpop_key: self.dpop_key,
        })
    }
}

pub(super) async fn run(command: GetCommand, session: &mut Session<'_>) -> Result<(), CliError> {
    let GetCommand { args, out, watch } = command;
    let args = args.settle(session)?;
    let reach = session.reach()?;
    match out {
        Some(path) if watch => {
            let source = Source::new(args, reach)?;
            keep(&source, &path, session).await
        }
        out => {
            let minted = mint(&args, &args.client.proof()?, &reach).await?;
            hand_over(&minted, out.as_deref(), session)
        }
    }
}

/// Keeps a token in the file until a signal comes.
async fn keep(source: &Source, path: &Path, session: &mut Session<'_>) -> Result<(), CliError> {
    let stop = StopSignals::catch()?;
    let supervisor = Supervisor::find(session.environment);
    let printer = &mut session.printer;
    let mut watch = Watch::new(source, path, supervisor, printer);
    let ended = tokio::select! {
        () = stop.received() => None,
        error = async {
            match watch.start(printer).await {
                Ok(()) => {
                    watch.announce(printer);
                    watch.keep(printer).await
                }
                Err(error) => error,
            }
        } => Some(error),
    };
    watch.stop(printer);
    ended.map_or(Ok(()), Err)
}

/// Writes the token into the file, or prints it.
pub(super) fn hand_over(
    minted: &Minted,
    out: Option<&Path>,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    match out {
        Some(path) => write(minted, path, session),
        None => print(minted, session),
    }
}

fn write(minted: &Minted, path: &Path, session: &mut Session<'_>) -> Result<(), CliError> {
    keyfile::write_atomically(path, format!("{}\n", expose(&minted.text)).as_bytes())?;
    if session.printer.is_json() {
        let mut shown = facts(minted);
        shown["out"] = json!(path.display().to_string());
        return session.printer.json(&shown);
    }
    let until = minted
        .expires_at()
        .map_or(String::new(), |time| format!(", valid until {time}"));
    session
        .printer
        .hint(&format!("Wrote the token to `{}`{until}", path.display()));
    Ok(())
}

fn print(minted: &Minted, session: &mut Session<'_>) -> Result<(), CliError> {
    if !session.printer.is_json() {
        return session
            .printer
            .write(&format!("{}\n", expose(&minted.text)));
    }
    let mut shown = facts(minted);
    shown["access_token"] = json!(expose(&minted.text));
    if let Some(id_token) = minted.answer["id_token"].as_str() {
        shown["id_token"] = json!(id_token);
    }
    session.printer.json(&shown)
}
