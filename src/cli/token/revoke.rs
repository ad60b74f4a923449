//! `firman token revoke` and `revocations`: revokes tokens before they expire, as an administrator.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::{expose, parse_token_id};
use crate::cli::client::{Page, Query};
use crate::cli::error::CliError;
use crate::cli::keyfile;
use crate::cli::print::{date, text};
use crate::cli::session::{Listing, Session};

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct RevokeArgs {
    /// The token's jti, as shown by `audit list` and `token trace`
    #[arg(value_name = "JTI", value_parser = parse_token_id)]
    token_id: Option<String>,
    /// A file with the whole token (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Revoke all tokens issued so far in which this subject is subject or actor
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
}

pub(super) async fn run(args: RevokeArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let body = if let Some(token_id) = args.token_id {
        json!({ "token_id": token_id })
    } else if let Some(path) = args.token_file {
        let token = keyfile::read_line(&path, "token")?;
        json!({ "token": expose(&token) })
    } else {
        json!({ "subject": args.subject })
    };
    let ended = admin.post(&["revocations"], &body).await?;
    print(&ended, session)
}

fn print(ended: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(ended);
    }
    session.printer.facts(&[
        ("token", text(ended, "token_id")),
        ("subject", text(ended, "subject")),
        ("not before", date(ended, "not_before")),
        ("revoked", text(ended, "revoked")),
        ("until", date(ended, "expires_at")),
    ])?;
    let said = match ended["revoked"].as_bool() {
        None => {
            "All its tokens up to that second are inactive. It can get new ones from the next second on."
        }
        Some(false) => "Nothing to revoke: the token has expired or was revoked before.",
        Some(true) => "The token and everything derived from it are inactive.",
    };
    session.printer.hint(said);
    if let Some(token_id) = ended["token_id"].as_str() {
        session
            .printer
            .next(&format!("firman token trace {token_id}"));
    }
    Ok(())
}

pub(super) async fn list(page: &Page, session: &mut Session<'_>) -> Result<(), CliError> {
    let listing = Listing {
        path: &["revocations"],
        filter: Query::default(),
        page,
        columns: &["KIND", "WHAT", "REVOKED", "UNTIL"],
        nothing: "No revocations of unexpired tokens.",
    };
    let row = |revocation: &Value| {
        vec![
            text(revocation, "kind"),
            ["token_id", "subject", "delegation"]
                .map(|member| text(revocation, member))
                .concat(),
            date(revocation, "revoked_at"),
            date(revocation, "expires_at"),
        ]
    };
    session.list_pages(listing, row).await
}
