//! One agent's way into Claude, gathered from the issuer: what the command line chose, what is stored with the
//! agent, where Claude finds the keys, and what would keep it from working. The values are
//! `relying_party::claude::Setup`'s.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::super::client::{AdminClient, Query};
use super::super::duration::parse_duration;
use super::super::error::CliError;
use super::super::http::{self, Reach};
use super::super::keyfile;
use super::super::parse::parse_name;
use super::super::print::text;
use super::super::published::Published;
use super::apply::{KeyCopy, Stored};
use super::base_url::{BaseUrl, BaseUrlArgs};
use super::ids::PlaceArgs;
use super::team::{self, Team};
use crate::relying_party::claude::{
    IssuerObjectId, JwksSource, LinkedIds, OAUTH_SCOPES, OrganizationId, RuleId, ServiceAccountId,
    Setup, Warning, WorkspaceId, check_dialled_url, check_name, check_token_lifetime,
};

/// The name that the pages give to the resource for Claude.
const USUAL_RESOURCE: &str = "claude";

#[derive(Debug, Args)]
pub(in crate::cli) struct ConnectArgs {
    /// The agent; or a team, as 'ops.*' for every agent whose name begins with `ops.` (the dot is required)
    #[arg(long, value_name = "NAME", value_parser = team::parse_agents)]
    pub(super) agent: String,
    /// The resource that its tokens for Claude are for
    #[arg(long, value_name = "NAME", default_value = USUAL_RESOURCE, value_parser = parse_name)]
    resource: String,
    /// For tokens in which the agent acts for this subject, instead of for itself
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    pub(super) act_for: Option<String>,
    /// What the agent may do at Claude [default: workspace:developer]
    #[arg(long, value_name = "SCOPE", value_parser = OAUTH_SCOPES)]
    pub(super) scope: Option<String>,
    /// How long Claude's own tokens live [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) token_lifetime: Option<u64>,
    #[command(flatten)]
    place: PlaceArgs,
    /// Claude's service account: the id of one that is there, or a name [default: one of the agent's own]
    #[arg(long, value_name = "ID_OR_NAME", value_parser = parse_account)]
    service_account: Option<String>,
    /// Register the keys themselves; the default for an issuer that Claude cannot reach
    #[arg(long, conflicts_with = "discovery_base")]
    inline_keys: bool,
    /// Where a copy made by `firman publish-static` is on the web
    #[arg(long, value_name = "URL")]
    discovery_base: Option<String>,
    /// The private certificate authorities (PEM) that Claude is to trust for the keys it fetches
    #[arg(long, value_name = "FILE", conflicts_with = "inline_keys")]
    ca_cert: Option<PathBuf>,
    /// Where the issuer answers, when it cannot be reached at its own URL from here
    #[arg(long, value_name = "URL")]
    from: Option<String>,
    /// Under which name the issuer keeps account of inline keys [default: claude-<issuer>]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    key_consumer: Option<String>,
    /// Where the agent finds its identity token
    #[arg(long, value_name = "FILE")]
    token_file: Option<String>,
    /// What to print: an overview, or the whole of one thing
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Content,
    /// Do it through Claude's Admin API, with an org:admin token in ANTHROPIC_ADMIN_TOKEN or ANTHROPIC_ADMIN_TOKEN_FILE
    #[arg(long)]
    pub(super) apply: bool,
    #[command(flatten)]
    pub(super) base_url: BaseUrlArgs,
    /// Do not ask before --apply changes something
    #[arg(long, requires = "apply")]
    pub(super) yes: bool,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Content {
    /// An overview; everything as one object with `--output json`
    Text,
    /// What to enter in Claude's Console, field by field
    Console,
    /// The requests of Claude's Admin API that `--apply` sends
    Api,
    /// The values as a .tfvars file
    TerraformVars,
    /// The variables of the agent's environment
    Env,
    /// A profile file of Claude's SDKs, which several processes share
    Profile,
    /// Units that keep the token file and let the agent read it
    Systemd,
    /// Part of a pod: a sidecar that keeps the token file
    Kubernetes,
    /// Steps of a GitHub Actions job
    Github,
}

impl Content {
    /// Whether it is for the place where one agent runs, and holds no keys that are taken to Claude.
    pub(super) fn is_of_agent(self) -> bool {
        match self {
            Self::Env | Self::Profile | Self::Systemd | Self::Kubernetes | Self::Github => true,
            Self::Text | Self::Console | Self::Api | Self::TerraformVars => false,
        }
    }
}

impl ConnectArgs {
    /// ` --resource NAME` for a further command; empty for the usual one.
    pub(super) fn resource_option(&self) -> String {
        match self.resource.as_str() {
            USUAL_RESOURCE => String::new(),
            other => format!(" --resource {other}"),
        }
    }

    /// Refuses what a team has none of.
    pub(super) fn check_team(&self) -> Result<(), CliError> {
        if !team::is_team(&self.agent) {
            return Ok(());
        }
        if self.act_for.is_some() {
            return Err(CliError::usage(
                "--act-for is for one agent; name it with --agent",
            ));
        }
        if self.format.is_of_agent() || self.format == Content::TerraformVars {
            return Err(CliError::usage(
                "that --format is for one agent; name it with --agent",
            ));
        }
        Ok(())
    }
}

/// One agent's way into Claude, and what is known around it.
pub(super) struct Connection {
    pub(super) setup: Setup,
    pub(super) warnings: Vec<Warning>,
    /// The copy of the keys that Claude will hold, if it does not fetch them.
    pub(super) copy: Option<KeyCopy>,
    /// The organization, when it was named or is linked.
    pub(super) organization: Option<OrganizationId>,
    /// The service account that a person named, by id or by name.
    pub(super) account: Option<String>,
    /// What is stored with the agent, or with each of the team.
    pub(super) stored: Vec<Stored>,
}

impl Connection {
    /// Asks the issuer for everything.
    pub(super) async fn gather(
        args: &ConnectArgs,
        base_url: &BaseUrl,
        admin: &AdminClient,
    ) -> Result<Self, CliError> {
        let issuer = admin.get(&["issuer"], &Query::default()).await?;
        let found = Agents::gather(args, &issuer, admin).await?;
        let resource = resource(args, admin).await?;
        let issuer_url = text(&issuer, "url");
        let mut setup = Setup::new(&args.agent, &found.subject, &issuer_url);
        setup.act_for = args.act_for.clone();
        setup.audience = text(&resource, "identifier");
        setup.identity_token_seconds = resource["token_lifetime"].as_i64().unwrap_or_default();
        if let Some(seconds) = args.token_lifetime {
            setup.token_lifetime_seconds = token_lifetime(seconds)?;
        }
        if let Some(scope) = &args.scope {
            setup.oauth_scope = scope.clone();
        }
        let linked = found.stored.first().filter(|_| !setup.is_team());
        setup.ids = linked.and_then(|stored| linked_ids(&stored.link, args));
        setup.workspace_id = args.place.workspace.clone().or_else(|| {
            let linked = setup.ids.as_ref();
            linked.and_then(|ids| ids.workspace_id.clone())
        });
        if !base_url.is_claude() {
            setup.base_url = Some(base_url.as_str().to_owned());
        }
        if let Some(file) = &args.token_file {
            setup.token_file = file.clone();
        }
        let copy = key_source(&mut setup, &text(&issuer, "slug"), args, admin.reach()).await?;
        let mut warnings = setup.warnings();
        warnings.extend(found.warnings);
        for stored in &found.stored {
            warnings.extend(agent_warnings(args, &stored.agent, admin, &resource).await?);
        }
        let linked = setup.ids.as_ref().map(|ids| ids.organization_id.clone());
        Ok(Self {
            warnings,
            copy,
            organization: args.place.organization.clone().or(linked),
            account: args.service_account.clone(),
            stored: found.stored,
            setup,
        })
    }
}

/// The agent, or those of a team.
struct Agents {
    subject: String,
    stored: Vec<Stored>,
    warnings: Vec<Warning>,
}

impl Agents {
    async fn gather(
        args: &ConnectArgs,
        issuer: &Value,
        admin: &AdminClient,
    ) -> Result<Self, CliError> {
        let (subject, names, warnings) = if team::is_team(&args.agent) {
            let team = Team::gather(&args.agent, issuer, admin).await?;
            (team.subject, team.members, team.warnings)
        } else {
            let agent = admin
                .get(&["agents", &args.agent], &Query::default())
                .await?;
            (
                text(&agent, "subject"),
                vec![args.agent.clone()],
                Vec::new(),
            )
        };
        let mut stored = Vec::new();
        for agent in names {
            let link = stored_link(&agent, admin).await?;
            stored.push(Stored { agent, link });
        }
        Ok(Self {
            subject,
            stored,
            warnings,
        })
    }
}

/// The resource, which must be one whose tokens Claude takes.
async fn resource(args: &ConnectArgs, admin: &AdminClient) -> Result<Value, CliError> {
    let name = &args.resource;
    let found = admin.get(&["resources", name], &Query::default()).await;
    let resource = found.map_err(|error| match error.status() {
        Some(404) => error.and(&format!(
            "Register it: firman resource add {name} --profile claude"
        )),
        Some(_) | None => error,
    })?;
    match text(&resource, "profile").as_str() {
        "claude" => Ok(resource),
        profile => Err(CliError::failed(
            "profile",
            format!(
                "the resource {name} has the profile {profile}, whose tokens are not made for Claude; name one of the profile claude with --resource, or make it: firman resource add claude --profile claude"
            ),
        )),
    }
}

/// The ids that are stored with the agent. They are its own, not those of a pair.
async fn stored_link(agent: &str, admin: &AdminClient) -> Result<Value, CliError> {
    let path = ["agents", agent, "claude-link"];
    match admin.get(&path, &Query::default()).await {
        Ok(link) => Ok(link),
        Err(error) if error.status() == Some(404) => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

/// The stored ids, when they are those that are meant.
fn linked_ids(stored: &Value, args: &ConnectArgs) -> Option<LinkedIds> {
    let id = |name: &str| stored[name].as_str().unwrap_or_default();
    let ids = LinkedIds {
        organization_id: OrganizationId::parse(id("organization_id")).ok()?,
        rule_id: RuleId::parse(id("rule_id")).ok()?,
        service_account_id: ServiceAccountId::parse(id("service_account_id")).ok()?,
        issuer_id: IssuerObjectId::parse(id("issuer_id")).ok(),
        workspace_id: WorkspaceId::parse(id("workspace_id")).ok(),
    };
    let is_other = |named: Option<&str>, linked: &str| named.is_some_and(|named| named != linked);
    let organization = args.place.organization.as_ref().map(OrganizationId::as_str);
    let workspace = args.place.workspace.as_ref().map(WorkspaceId::as_str);
    let linked_workspace = ids.workspace_id.as_ref().map(WorkspaceId::as_str);
    if args.act_for.is_some()
        || is_other(organization, ids.organization_id.as_str())
        || is_other(
            args.service_account.as_deref(),
            ids.service_account_id.as_str(),
        )
        || is_other(workspace, linked_workspace.unwrap_or("default"))
    {
        return None;
    }
    Some(ids)
}

/// Decides where Claude takes the keys from; with inline keys, fetches them.
async fn key_source(
    setup: &mut Setup,
    slug: &str,
    args: &ConnectArgs,
    reach: &Reach,
) -> Result<Option<KeyCopy>, CliError> {
    let ca_cert_pem = args.ca_cert.as_deref().map(keyfile::read_ca_cert);
    let ca_cert_pem = ca_cert_pem.transpose()?;
    if let Some(base) = &args.discovery_base {
        http::parse_url(base, "--discovery-base")?;
        setup.jwks = JwksSource::Discovery {
            discovery_base: Some(base.trim_end_matches('/').to_owned()),
            ca_cert_pem,
        };
        return Ok(None);
    }
    let is_reachable = check_dialled_url("issuer_url", &setup.issuer_url, false).is_ok();
    if is_reachable && !args.inline_keys {
        setup.jwks = JwksSource::Discovery {
            discovery_base: None,
            ca_cert_pem,
        };
        return Ok(None);
    }
    if ca_cert_pem.is_some() {
        return Err(CliError::usage(format!(
            "--ca-cert is for keys that Claude fetches, and {} is none that it can reach; name the address of a copy with --discovery-base, or leave --ca-cert out",
            setup.issuer_url
        )));
    }
    let published = Published::of(&setup.issuer_url, args.from.as_deref(), reach)
        .await
        .map_err(|error| match args.from {
            Some(_) => error,
            None => {
                error.and("Its keys are needed here; name the address where it answers with --from")
            }
        })?;
    setup.jwks = JwksSource::Inline {
        keys: published.key_array(),
    };
    let consumer = args.key_consumer.clone();
    let consumer = consumer.unwrap_or_else(|| key_consumer_name(slug));
    setup.key_consumer = Some(consumer.clone());
    Ok(Some(KeyCopy {
        consumer,
        kids: published.kids(),
    }))
}

/// Under which name the issuer `slug` keeps account of the copy of its keys at Claude.
pub(super) fn key_consumer_name(slug: &str) -> String {
    format!("claude-{slug}")
}

/// Why no token would come, or none that the rule takes.
async fn agent_warnings(
    args: &ConnectArgs,
    agent: &str,
    admin: &AdminClient,
    resource: &Value,
) -> Result<Vec<Warning>, CliError> {
    let query = Query::default().with("resource", Some(&args.resource));
    let explained: Value = admin.get(&["agents", agent, "explain"], &query).await?;
    let mut found = Vec::new();
    if explained["active"] == false {
        found.push(Warning {
            code: "agent_inactive",
            text: format!("the agent {agent} is suspended or expired and gets no tokens"),
        });
    } else if explained["refusal"].is_object() {
        found.push(Warning {
            code: "not_granted",
            text: format!(
                "the agent {agent} gets no token for {} yet: {}",
                args.resource,
                text(&explained["refusal"], "error_description")
            ),
        });
    }
    if args.act_for.is_some() && resource["allow_delegation"] != true {
        found.push(Warning {
            code: "no_delegation",
            text: format!(
                "the resource {} does not allow delegation, so that no token for it carries act and this rule takes none yet",
                args.resource
            ),
        });
    }
    Ok(found)
}

fn token_lifetime(seconds: u64) -> Result<i64, CliError> {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    match check_token_lifetime(seconds) {
        Ok(()) => Ok(seconds),
        Err(invalid) => Err(CliError::usage(format!(
            "--token-lifetime {} seconds",
            invalid.problem
        ))),
    }
}

/// A subject as a rule can pin it: one that ends in `*` would be a prefix.
fn parse_subject(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("a subject is a line of text".to_owned());
    }
    if text.ends_with('*') {
        return Err(
            "a rule would take the trailing '*' for any ending; name one subject".to_owned(),
        );
    }
    Ok(text.to_owned())
}

fn parse_account(text: &str) -> Result<String, String> {
    let is_good = ServiceAccountId::parse(text).is_ok() || check_name(text).is_ok();
    if is_good {
        Ok(text.to_owned())
    } else {
        Err("a service account is svac_…, or a name of a-z, 0-9 and '-'".to_owned())
    }
}
