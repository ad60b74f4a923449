//! `firman issuer`: the issuer's address and settings.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::client::Query;
use super::duration::parse_duration;
use super::error::CliError;
use super::print::text;
use super::{Session, nothing_to_change};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the issuer's URLs and settings
    Show,
    /// Change the issuer's settings
    Edit(EditArgs),
}

#[derive(Debug, Args)]
pub(super) struct EditArgs {
    /// How long tokens live when neither request nor resource says
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    default_lifetime: Option<u64>,
    /// How long tokens may live at most
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_lifetime: Option<u64>,
    /// How tokens are signed when the resource does not say
    #[arg(long, value_parser = ["ES256", "RS256"])]
    default_algorithm: Option<String>,
}

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    let issuer = match command {
        Command::Show => session.admin()?.get(&["issuer"], &Query::default()).await?,
        Command::Edit(args) => {
            let members = [
                ("default_lifetime", args.default_lifetime.map(Value::from)),
                ("max_lifetime", args.max_lifetime.map(Value::from)),
                ("default_algorithm", args.default_algorithm.map(Value::from)),
            ];
            let body: Map<String, Value> = members
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect();
            if body.is_empty() {
                return Err(nothing_to_change());
            }
            session
                .admin()?
                .edit(&["issuer"], |_| Ok(body.clone()))
                .await?
        }
    };
    if session.printer.is_json() {
        return session.printer.json(&issuer);
    }
    let lifetime = |name: &str| format!("{} s", text(&issuer, name));
    session.printer.facts(&[
        ("url", text(&issuer, "url")),
        ("slug", text(&issuer, "slug")),
        ("subjects", text(&issuer, "subject_template")),
        ("default lifetime", lifetime("default_lifetime")),
        ("max lifetime", lifetime("max_lifetime")),
        ("default algorithm", text(&issuer, "default_algorithm")),
        ("token endpoint", text(&issuer, "token_endpoint")),
        ("key set", text(&issuer, "jwks_uri")),
        ("discovery", text(&issuer, "discovery")),
    ])
}
