//! `firman claude link`, `links` and `unlink`: the ids from Claude's Console, stored with the agent.

use clap::Args;
use serde_json::{Map, Value, json};

use super::ids::{IdArgs, parse_issuer_object};
use crate::cli::client::{Page, Query};
use crate::cli::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::noun::removed;
use crate::cli::parse::parse_name;
use crate::cli::print::{date, text};
use crate::cli::session::{Listing, Session};
use crate::relying_party::claude::IssuerObjectId;

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
    let members = [
        ("rule_id", ids.rule.map(|id| json!(id))),
        (
            "organization_id",
            ids.place.organization.map(|id| json!(id)),
        ),
        (
            "service_account_id",
            ids.service_account.map(|id| json!(id)),
        ),
        ("workspace_id", ids.place.workspace.map(|id| json!(id))),
        ("issuer_id", args.issuer.map(|id| json!(id))),
        ("token_lifetime", args.token_lifetime.map(Value::from)),
    ];
    let body: Map<String, Value> = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    let link = session
        .admin()?
        .put(
            &["agents", &args.agent, "claude-link"],
            &Value::Object(body),
        )
        .await?;
    if session.printer.is_json() {
        return session.printer.json(&link);
    }
    let lifetime = text(&link, "token_lifetime");
    let lifetime = if lifetime.is_empty() {
        lifetime
    } else {
        format!("{lifetime} s")
    };
    session.printer.facts(&[
        ("agent", text(&link, "agent")),
        ("rule", text(&link, "rule_id")),
        ("organization", text(&link, "organization_id")),
        ("service account", text(&link, "service_account_id")),
        ("workspace", text(&link, "workspace_id")),
        ("issuer", text(&link, "issuer_id")),
        ("token lifetime", lifetime),
        ("created", date(&link, "created_at")),
    ])
}

pub(super) async fn links(args: &LinksArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let listing = Listing {
        path: &["claude-links"],
        filter: Query::default(),
        page: &args.page,
        columns: &[
            "AGENT",
            "RULE",
            "SERVICE ACCOUNT",
            "WORKSPACE",
            "ORGANIZATION",
            "ISSUER",
        ],
        nothing: "No links. Next: firman claude link AGENT --rule fdrl_… --organization UUID --service-account svac_…",
    };
    let members = [
        "agent",
        "rule_id",
        "service_account_id",
        "workspace_id",
        "organization_id",
        "issuer_id",
    ];
    let row = |link: &Value| members.map(|member| text(link, member)).to_vec();
    session.list_pages(listing, row).await
}

pub(super) async fn unlink(args: &UnlinkArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let path = ["agents", &args.agent, "claude-link"];
    session.admin()?.delete(&path, &Query::default()).await?;
    removed(&format!("the Claude link of {}", args.agent), session)
}
