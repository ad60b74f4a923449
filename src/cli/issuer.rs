//! `firman issuer`: the issuer's address and settings.

use clap::{Args, Subcommand};
use serde_json::{Map, Value};

use super::client::Query;
use super::duration::parse_duration;
use super::error::CliError;
use super::parse::nothing_to_change;
use super::print::text;
use super::session::Session;
use crate::domain::assertion_audience::AssertionAudience;

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
    /// What `aud` of client assertions must be, for agents without a policy of their own
    #[arg(long, value_name = "POLICY", value_parser = ASSERTION_AUDIENCES)]
    assertion_audience: Option<String>,
}

/// The policies for `aud` of client assertions.
pub(super) const ASSERTION_AUDIENCES: [&str; 3] =
    ["issuer-as-string", "issuer", "issuer-or-token-endpoint"];

/// Warns when `policy` accepts assertions for the token endpoint.
pub(super) fn warn_of_audience(policy: Option<&str>, session: &mut Session<'_>) {
    if policy == Some(AssertionAudience::IssuerOrTokenEndpoint.as_str()) {
        session.printer.warn(REPLAYABLE);
    }
}

const REPLAYABLE: &str = "warning: assertions for the token endpoint can be replayed. A server that names this token endpoint in its metadata gets assertions from clients that trust it, and this issuer accepts them (draft-ietf-oauth-rfc7523bis).
hint: use this setting for clients that cannot be changed; the page client-libraries has the line that sets the audience in each library";

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    let mut policy = None;
    let issuer = match command {
        Command::Show => session.admin()?.get(&["issuer"], &Query::default()).await?,
        Command::Edit(args) => {
            let members = [
                ("default_lifetime", args.default_lifetime.map(Value::from)),
                ("max_lifetime", args.max_lifetime.map(Value::from)),
                ("default_algorithm", args.default_algorithm.map(Value::from)),
                (
                    "assertion_audience",
                    args.assertion_audience.clone().map(Value::from),
                ),
            ];
            let body: Map<String, Value> = members
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)))
                .collect();
            if body.is_empty() {
                return Err(nothing_to_change());
            }
            policy = args.assertion_audience;
            session
                .admin()?
                .edit(&["issuer"], |_| Ok(body.clone()))
                .await?
        }
    };
    print(&issuer, session)?;
    warn_of_audience(policy.as_deref(), session);
    Ok(())
}

fn print(issuer: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(issuer);
    }
    let lifetime = |name: &str| format!("{} s", text(issuer, name));
    session.printer.facts(&[
        ("url", text(issuer, "url")),
        ("slug", text(issuer, "slug")),
        ("subjects", text(issuer, "subject_template")),
        ("default lifetime", lifetime("default_lifetime")),
        ("max lifetime", lifetime("max_lifetime")),
        ("default algorithm", text(issuer, "default_algorithm")),
        ("assertion audience", text(issuer, "assertion_audience")),
        ("token endpoint", text(issuer, "token_endpoint")),
        ("key set", text(issuer, "jwks_uri")),
        ("discovery", text(issuer, "discovery")),
    ])
}
