//! `firman claude link`, `links` and `unlink`: the ids from Claude's Console, stored with the agent.

use clap::Args;

use super::ids::{IdArgs, parse_issuer_object};
use crate::api::claude_link::{ClaudeLink, NewClaudeLink};
use crate::cli::client::{Page, Query};
use crate::cli::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::noun::{Cell, cells, print_as, removed};
use crate::cli::parse::{parse_name, seconds};
use crate::cli::print::time;
use crate::cli::session::{Listing, Session};
use crate::relying_party::claude::IssuerObjectId;

const COLUMNS: [Cell<ClaudeLink>; 6] = [
    ("AGENT", |link, _| link.agent.clone()),
    ("RULE", |link, _| link.rule_id.clone()),
    ("SERVICE ACCOUNT", |link, _| link.service_account_id.clone()),
    ("WORKSPACE", |link, _| {
        link.workspace_id.clone().unwrap_or_default()
    }),
    ("ORGANIZATION", |link, _| link.organization_id.clone()),
    ("ISSUER", |link, _| {
        link.issuer_id.clone().unwrap_or_default()
    }),
];

const FACTS: [Cell<ClaudeLink>; 8] = [
    ("agent", |link, _| link.agent.clone()),
    ("rule", |link, _| link.rule_id.clone()),
    ("organization", |link, _| link.organization_id.clone()),
    ("service account", |link, _| link.service_account_id.clone()),
    ("workspace", |link, _| {
        link.workspace_id.clone().unwrap_or_default()
    }),
    ("issuer", |link, _| {
        link.issuer_id.clone().unwrap_or_default()
    }),
    ("token lifetime", |link, _| {
        link.token_lifetime
            .map_or_else(String::new, |seconds| format!("{seconds} s"))
    }),
    ("created", |link, _| time(link.created_at)),
];

#[derive(Debug, Args)]
#[command(after_help = "Example:
  firman claude link mailer --rule fdrl_01ABC --organization 6b0c4f0e-3a0a-4c55-9d5e-1f1d3c0a7b21 --service-account svac_01ABC")]
pub(in crate::cli) struct LinkArgs {
    /// The agent's name
    // Every id but the workspace is required to store a link.
    #[arg(value_parser = parse_name, requires_all = ["rule", "organization", "service_account"])]
    agent: String,
    #[command(flatten)]
    ids: IdArgs,
    /// The federation issuer, `fdis_…`
    #[arg(long, value_name = "ID", value_parser = parse_issuer_object)]
    issuer: Option<IssuerObjectId>,
    /// The rule's token lifetime (10m, 1h): how long access to Claude can outlast a suspension
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    token_lifetime: Option<u64>,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  firman claude links")]
pub(in crate::cli) struct LinksArgs {
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
#[command(after_help = "Example:
  firman claude unlink mailer")]
pub(in crate::cli) struct UnlinkArgs {
    /// The agent's name
    #[arg(value_parser = parse_name)]
    agent: String,
}

pub(super) async fn link(args: LinkArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let ids = args.ids;
    // The parser requires these three, and the server refuses an empty id.
    let new = NewClaudeLink {
        rule_id: ids.rule.map(Into::into).unwrap_or_default(),
        organization_id: ids.place.organization.map(Into::into).unwrap_or_default(),
        service_account_id: ids.service_account.map(Into::into).unwrap_or_default(),
        workspace_id: ids.place.workspace.map(Into::into),
        issuer_id: args.issuer.map(Into::into),
        token_lifetime: seconds(args.token_lifetime),
    };
    let path = ["agents", &args.agent, "claude-link"];
    let link = session.admin()?.put(&path, &new).await?;
    print_as(&FACTS, &link, session).map(|_| ())
}

pub(super) async fn links(args: &LinksArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let listing = Listing {
        path: &["claude-links"],
        filter: Query::default(),
        page: &args.page,
        columns: &COLUMNS.map(|(title, _)| title),
        nothing: "No links. Next: firman claude link AGENT --rule fdrl_… --organization UUID --service-account svac_…",
    };
    let now = session.now();
    session
        .list_pages(listing, |link: &ClaudeLink| cells(&COLUMNS, link, now))
        .await
}

pub(super) async fn unlink(args: &UnlinkArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let path = ["agents", &args.agent, "claude-link"];
    session.admin()?.delete(&path, &Query::default()).await?;
    removed(&format!("the Claude link of {}", args.agent), session)
}
