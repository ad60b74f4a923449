//! `firman issuer`: the issuer's address and settings.

use clap::{Args, Subcommand};

use super::client::Query;
use super::duration::parse_duration;
use super::error::CliError;
use super::noun::{Cell, print_as};
use super::parse::{nothing_to_change, seconds};
use super::session::Session;
use crate::api::issuer::{Issuer, IssuerEdit};
use crate::domain::assertion_audience::AssertionAudience;

const FACTS: [Cell<Issuer>; 10] = [
    ("url", |issuer, _| issuer.url.clone()),
    ("slug", |issuer, _| issuer.slug.clone()),
    ("subjects", |issuer, _| issuer.subject_template.clone()),
    ("default lifetime", |issuer, _| {
        format!("{} s", issuer.default_lifetime)
    }),
    ("max lifetime", |issuer, _| {
        format!("{} s", issuer.max_lifetime)
    }),
    ("default algorithm", |issuer, _| {
        issuer.default_algorithm.clone()
    }),
    ("assertion audience", |issuer, _| {
        issuer.assertion_audience.clone()
    }),
    ("token endpoint", |issuer, _| issuer.token_endpoint.clone()),
    ("key set", |issuer, _| issuer.jwks_uri.clone()),
    ("discovery", |issuer, _| issuer.discovery.clone()),
];

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show the issuer's URLs and settings
    #[command(after_help = "Examples:\n  firman issuer show")]
    Show,
    /// Change the issuer's settings, which apply to every agent and resource without their own
    #[command(
        after_help = "Examples:\n  firman issuer edit --default-lifetime 10m\n  firman issuer edit --assertion-audience issuer"
    )]
    Edit(EditArgs),
}

#[derive(Debug, Default, PartialEq, Args)]
pub(super) struct EditArgs {
    /// Token lifetime when neither request nor resource sets one
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    default_lifetime: Option<u64>,
    /// Longest token lifetime
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_lifetime: Option<u64>,
    /// Signature algorithm for resources without their own
    #[arg(long, value_parser = ["ES256", "RS256"])]
    default_algorithm: Option<String>,
    /// What `aud` of client assertions must be, for agents without their own policy
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
hint: use this setting only for clients that cannot be changed; the page client-libraries has the line that sets the audience in each library";

pub(super) async fn run(command: Command, session: &mut Session<'_>) -> Result<(), CliError> {
    match command {
        Command::Show => {
            let issuer = session.admin()?.get(&["issuer"], &Query::default()).await?;
            print_as(&FACTS, &issuer, session).map(|_| ())
        }
        Command::Edit(args) => edit(&args, session).await,
    }
}

async fn edit(args: &EditArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    if *args == EditArgs::default() {
        return Err(nothing_to_change("issuer edit"));
    }
    let edit = |_: &Issuer| {
        Ok(IssuerEdit {
            default_lifetime: seconds(args.default_lifetime),
            max_lifetime: seconds(args.max_lifetime),
            default_algorithm: args.default_algorithm.clone(),
            assertion_audience: args.assertion_audience.clone(),
        })
    };
    let issuer = session.admin()?.edit(&["issuer"], edit).await?;
    print_as(&FACTS, &issuer, session)?;
    warn_of_audience(args.assertion_audience.as_deref(), session);
    Ok(())
}
