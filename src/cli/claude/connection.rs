//! The connection of one agent, or a team, to Claude: the stored ids, where Claude gets
//! the keys, and warnings. The values are those of `relying_party::claude::Setup`.

use serde_json::Value;

use super::super::client::{AdminClient, Query};
use super::super::error::CliError;
use super::super::http::{self, Reach};
use super::super::keyfile;
use super::super::print::text;
use super::super::published::Published;
use super::apply::{KeyCopy, Stored};
use super::base_url::BaseUrl;
use super::connect_args::{ConnectArgs, token_lifetime};
use super::team::{self, Team};
use crate::domain::remedy::Remedy;
use crate::relying_party::claude::{
    IssuerObjectId, JwksSource, LinkedIds, OrganizationId, RuleId, ServiceAccountId, Setup,
    Warning, WorkspaceId, check_dialled_url,
};

/// The setup and what is known around it.
pub(super) struct Connection {
    pub(super) setup: Setup,
    pub(super) warnings: Vec<Warning>,
    /// The copy of the keys that Claude will hold, if it does not fetch them.
    pub(super) copy: Option<KeyCopy>,
    /// The organization, if named or linked.
    pub(super) organization: Option<OrganizationId>,
    /// The service account that was named, by id or by name.
    pub(super) account: Option<String>,
    /// What is stored with the agent, or with each agent of the team.
    pub(super) stored: Vec<Stored>,
}

impl Connection {
    /// Reads everything from the issuer.
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

/// The agent, or the agents of a team.
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

/// The resource, which must have the profile `claude`.
async fn resource(args: &ConnectArgs, admin: &AdminClient) -> Result<Value, CliError> {
    let name = &args.resource;
    let found = admin.get(&["resources", name], &Query::default()).await;
    let resource = found.map_err(|error| match error.status() {
        Some(404) => error.with_remedy(&Remedy::command(format!(
            "resource add {name} --profile claude"
        ))),
        Some(_) | None => error,
    })?;
    match text(&resource, "profile").as_str() {
        "claude" => Ok(resource),
        profile => Err(CliError::failed(
            "profile",
            format!("the resource `{name}` has the profile `{profile}`, not `claude`"),
        )
        .with_remedy(&Remedy::command("resource add claude --profile claude"))),
    }
}

/// The ids stored with the agent: its own, not those of a pair.
async fn stored_link(agent: &str, admin: &AdminClient) -> Result<Value, CliError> {
    let path = ["agents", agent, "claude-link"];
    match admin.get(&path, &Query::default()).await {
        Ok(link) => Ok(link),
        Err(error) if error.status() == Some(404) => Ok(Value::Null),
        Err(error) => Err(error),
    }
}

/// The stored ids, unless other ones were named.
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

/// Decides where Claude gets the keys; fetches inline keys.
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
            "`--ca-cert` applies to keys that Claude fetches, and it cannot reach {}",
            setup.issuer_url
        ))
        .with_remedy(&Remedy::action(
            "name the URL of a copy with `--discovery-base`, or drop `--ca-cert`",
        )));
    }
    let published = Published::of(&setup.issuer_url, args.from.as_deref(), reach)
        .await
        .map_err(|error| match args.from {
            Some(_) => error,
            None => error.with_remedy(&Remedy::action(
                "name the address where the issuer answers with `--from`",
            )),
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

/// The key consumer that stands for the copy of the keys of issuer `slug` at Claude.
pub(super) fn key_consumer_name(slug: &str) -> String {
    format!("claude-{slug}")
}

/// Why the agent would get no token, or none that the rule accepts.
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
            text: format!("the agent `{agent}` is suspended or expired and gets no tokens"),
            hint: Some(Remedy::command(format!("agent show {agent}"))),
        });
    } else if explained["refusal"].is_object() {
        found.push(Warning {
            code: "not_granted",
            text: format!(
                "the issuer refuses `{agent}` a token for `{}`: {}",
                args.resource,
                text(&explained["refusal"], "error_description")
            ),
            hint: Some(Remedy::command(format!(
                "agent explain {agent} --resource {}",
                args.resource
            ))),
        });
    }
    if args.act_for.is_some() && resource["allow_delegation"] != true {
        found.push(Warning {
            code: "no_delegation",
            text: format!(
                "the resource `{}` does not accept delegated tokens, which this rule requires",
                args.resource
            ),
            hint: Some(Remedy::command(format!(
                "resource edit {} --allow-delegation",
                args.resource
            ))),
        });
    }
    Ok(found)
}
