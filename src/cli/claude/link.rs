//! `firman claude link`, `links` and `unlink`: the ids that a person made in Claude's Console, kept with
//! the agent.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::client::{Page, Query};
use crate::cli::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::noun::removed;
use crate::cli::parse::parse_name;
use crate::cli::print::{date, text};
use crate::cli::session::{Listing, Session};

#[derive(Debug, Args)]
pub(in crate::cli) struct LinkArgs {
    /// The agent's name
    #[arg(value_parser = parse_name)]
    agent: String,
    /// The federation rule, fdrl_…
    #[arg(long, value_name = "ID")]
    rule: String,
    /// The organization, a bare UUID
    #[arg(long, value_name = "UUID")]
    organization: String,
    /// The service account, svac_…
    #[arg(long, value_name = "ID")]
    service_account: String,
    /// The workspace, wrkspc_… or default; needed when the rule is enabled in several
    #[arg(long, value_name = "ID")]
    workspace: Option<String>,
    /// The federation issuer, fdis_…
    #[arg(long, value_name = "ID")]
    issuer: Option<String>,
    /// The rule's token lifetime (10m, 1h): how long access there may outlive a suspension
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    token_lifetime: Option<u64>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LinksArgs {
    #[command(flatten)]
    page: Page,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct UnlinkArgs {
    /// The agent's name
    #[arg(value_parser = parse_name)]
    agent: String,
}

pub(super) async fn link(args: LinkArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let mut body = Map::new();
    body.insert("rule_id".to_owned(), json!(args.rule));
    body.insert("organization_id".to_owned(), json!(args.organization));
    body.insert("service_account_id".to_owned(), json!(args.service_account));
    let optional = [
        ("workspace_id", args.workspace.map(Value::from)),
        ("issuer_id", args.issuer.map(Value::from)),
        ("token_lifetime", args.token_lifetime.map(Value::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            body.insert(name.to_owned(), value);
        }
    }
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
