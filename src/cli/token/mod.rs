//! `firman token`: the agent's side. Gets a token as any OAuth client does, from discovery on, and reads tokens as
//! a relying party does; neither uses the admin API. `revoke`, `revocations` and `trace` are for administrators
//! and use only the admin API.

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
    #[command(
        after_help = "Examples:\n  firman token get --bundle mailer.json --resource https://api.example.com\n  firman token get --issuer https://id.example.com --client-id mailer --key mailer.pem --out token.jwt --watch"
    )]
    Get(get::GetCommand),
    /// Exchange a token to act for its subject (RFC 8693)
    #[command(
        after_help = "Examples:\n  firman token exchange --bundle mailer.json --subject-token user.jwt --subject-token-type jwt --resource https://api.example.com"
    )]
    Exchange(exchange::ExchangeCommand),
    /// Show a token's header and claims without verifying them
    #[command(after_help = "Examples:\n  firman token inspect token.jwt")]
    Inspect {
        /// The file with the token (`-` is stdin), or the token itself
        #[arg(value_name = "FILE")]
        token: String,
    },
    /// Verify a token as a relying party does, and show its claims
    #[command(
        after_help = "Examples:\n  firman token verify token.jwt --issuer https://id.example.com --audience https://api.example.com"
    )]
    Verify(verify::VerifyArgs),
    /// Revoke a token and everything derived from it, or all tokens of a subject
    #[command(
        after_help = "Examples:\n  firman token revoke 0197f3c2-6b1e-7c6a-9d2e-5d1f0c9a7b42\n  firman token revoke --token-file token.jwt\n  firman token revoke --subject agent:mailer"
    )]
    Revoke(revoke::RevokeArgs),
    /// List revoked tokens and subjects that have not expired yet
    #[command(
        after_help = "Examples:\n  firman token revocations\n  firman token revocations --all"
    )]
    Revocations(Page),
    /// Show what a token was derived from and what was derived from it
    #[command(after_help = "Examples:\n  firman token trace 0197f3c2-6b1e-7c6a-9d2e-5d1f0c9a7b42")]
    Trace {
        /// The token's jti, as shown by `audit list` and `token inspect`
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

/// A jti, or the name of a token from another issuer: it becomes a path segment.
fn parse_token_id(text: &str) -> Result<String, String> {
    let is_id = text.bytes().any(|b| b.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(&b));
    if text.starts_with("eyJ") && text.matches('.').count() == 2 {
        return Err("other users can read a whole token on a command line: use its `jti`, or `--token-file FILE`".to_owned());
    }
    if is_id {
        Ok(text.to_owned())
    } else {
        Err(
            "expected a `jti`: letters, digits, `-` and `_`, as shown by `firman audit list`"
                .to_owned(),
        )
    }
}

/// The token in a file or, for `-`, on stdin, where other users cannot see it in the list of processes; or the
/// token on the command line.
pub(super) fn read_token(argument: &str) -> Result<SecretString, CliError> {
    let path = Path::new(argument);
    if argument == "-" || !may_be_token(argument) && !argument.is_empty() {
        return keyfile::read_line(path, "token");
    }
    // Text that begins like a token is not opened as a file: an error would show it.
    if !begins_like_a_token(argument) && path.exists() {
        return keyfile::read_line(path, "token");
    }
    Ok(argument.trim().to_owned().into())
}

/// `{"` in base64url, and further parts.
fn begins_like_a_token(argument: &str) -> bool {
    argument.trim_start().starts_with("eyJ") && argument.contains('.')
}

/// Three parts of base64url joined by dots, or text that was meant as such.
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
