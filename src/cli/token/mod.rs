//! `firman token`: the agent's side. Gets a token the way any OAuth client does, from discovery on,
//! and looks into tokens as a relying party would; neither knows of the admin API. `revoke`,
//! `revocations` and `trace` are the administrator's and know nothing else.

mod asking;
mod exchange;
mod get;
mod identity;
mod inspect;
mod minting;
mod pace;
mod pipe;
mod reads;
mod revocation_list;
mod revoke;
mod stopwatch;
mod supply;
mod trace;
mod verify;
mod watch;

pub(super) use identity::{ClientArgs, Proof};
pub(super) use inspect::decode;
pub(super) use minting::{GetArgs, Source, request};
pub(super) use pipe::{Pipe, why_not};
pub(super) use verify::verify;
pub(super) use watch::Watch;

use std::path::Path;

use clap::Subcommand;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::client::Page;
use super::error::CliError;
use super::keyfile;
use super::print::{Printer, when};
use super::session::Session;
use crate::ports::time::UnixTime;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Get a token and print it, or keep a fresh one in a file
    Get(get::GetCommand),
    /// Exchange a token for one of your own, to act for whom it is about
    Exchange(exchange::ExchangeCommand),
    /// Show what a token says, without checking anything
    Inspect {
        /// The file with the token (`-` is stdin), or the token itself
        #[arg(value_name = "FILE")]
        token: String,
    },
    /// Check a token as a relying party does, and show what it says
    Verify(verify::VerifyArgs),
    /// End a token and everything made from it, or all tokens of a subject so far
    Revoke(revoke::RevokeArgs),
    /// List what was revoked and would still live
    Revocations(Page),
    /// Show where a token comes from and what was made from it
    Trace {
        /// The token's jti, as audit and inspect show it
        #[arg(value_name = "JTI", value_parser = parse_token_id)]
        token_id: String,
    },
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Get(command) => get::run(command, session).await,
        Command::Exchange(command) => exchange::run(command, session).await,
        Command::Inspect { token } => inspect::run(&read_token(&token)?, session),
        Command::Verify(args) => verify::run(args, session).await,
        Command::Revoke(args) => revoke::run(args, session).await,
        Command::Revocations(page) => revoke::list(&page, session).await,
        Command::Trace { token_id } => trace::run(&token_id, session).await,
    }
}

/// A jti, or the name of a token from outside: it becomes a path segment.
fn parse_token_id(text: &str) -> Result<String, String> {
    let is_id = text.bytes().any(|b| b.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    if text.starts_with("eyJ") && text.matches('.').count() == 2 {
        return Err("this is a whole token, which does not belong on a command line; give its jti, or put it into a file: --token-file".to_owned());
    }
    if is_id {
        Ok(text.to_owned())
    } else {
        Err("a jti is made of letters, digits, '-' and '_'; copy it from the audit".to_owned())
    }
}

/// The token in a file, or on stdin for `-`, where other users do not see it in the list of processes; or
/// the one on the command line.
pub(super) fn read_token(argument: &str) -> Result<SecretString, CliError> {
    let path = Path::new(argument);
    if argument == "-" || !may_be_token(argument) && !argument.is_empty() {
        return keyfile::read_line(path, "token");
    }
    // What begins like a token is not looked for as a file: its name would be shown.
    if !begins_like_a_token(argument) && path.exists() {
        return keyfile::read_line(path, "token");
    }
    Ok(argument.trim().to_owned().into())
}

/// `{"` in base64url, and further parts.
fn begins_like_a_token(argument: &str) -> bool {
    argument.trim_start().starts_with("eyJ") && argument.contains('.')
}

/// Three parts of base64url joined by dots, or what was meant as such.
fn may_be_token(argument: &str) -> bool {
    let is_base64url = |part: &str| {
        part.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let mut parts = argument.trim().split('.');
    begins_like_a_token(argument) || argument.matches('.').count() == 2 && parts.all(is_base64url)
}

/// Prints a token's header and claims: as JSON with whether they were verified, or as facts with
/// times as dates.
fn print(
    header: &Map<String, Value>,
    claims: &Map<String, Value>,
    is_verified: bool,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let now = session.now();
    let printer = &mut session.printer;
    if printer.is_json() {
        return printer
            .json(&json!({ "verified": is_verified, "header": header, "claims": claims }));
    }
    print_members(header, now, printer)?;
    printer.write("\n")?;
    print_members(claims, now, printer)
}

fn print_members(
    members: &Map<String, Value>,
    now: UnixTime,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let facts: Vec<(String, String)> = members
        .iter()
        .map(|(name, value)| {
            let shown = match (name.as_str(), value) {
                ("exp" | "iat" | "nbf" | "auth_time", Value::Number(seconds)) => {
                    match seconds.as_i64() {
                        Some(seconds) => when(UnixTime(seconds), now),
                        None => seconds.to_string(),
                    }
                }
                (_, Value::String(text)) => text.clone(),
                (_, other) => other.to_string(),
            };
            (super::print::harmless(name), shown)
        })
        .collect();
    let facts: Vec<(&str, String)> = facts
        .iter()
        .map(|(name, shown)| (name.as_str(), shown.clone()))
        .collect();
    printer.facts(&facts)
}

/// The text of a token or secret, at the moment it is used.
fn expose(secret: &SecretString) -> &str {
    secret.expose_secret()
}
