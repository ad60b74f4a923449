//! `/agents`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::domain::Invalid;
use crate::domain::assertion_audience::AssertionAudience;
use crate::issuer::Issuer;
use crate::issuer::agents::{
    AgentChanges, AgentDetail, AgentOrder, AgentQuery, AgentView, CreatedAgent, NewAgent,
};
use crate::issuer::explain::{ExplainQuery, ExplainedResource, Explanation, Refusal, Through};
use crate::ports::time::UnixTime;

use super::caller::{Operator, Viewer};
use super::credentials::{CredentialBody, NewCredentialBody};
use super::delegations::DelegationBody;
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::json::{Json, present};
use super::openapi::Problems;
use super::page::{List, Params, after_id, after_name, limit};
use super::path::Named;
use super::problem::Problem;

/// An agent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Agent)]
pub(super) struct AgentBody {
    id: String,
    /// The name, which is the agent's `client_id`.
    name: String,
    /// The `sub` of its tokens.
    subject: String,
    /// The accountable person or team.
    owner: String,
    description: String,
    /// Top-level claims of its tokens.
    attributes: BTreeMap<String, String>,
    /// `active`, `suspended` or `removed`.
    status: String,
    /// Since when it is suspended or removed.
    status_since: Option<i64>,
    /// When it stops getting tokens by itself.
    expires_at: Option<i64>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449).
    dpop_required: bool,
    /// What `aud` of its assertions must be: `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`; `null`: what the
    /// issuer says.
    assertion_audience: Option<String>,
    /// Names of its groups.
    groups: Vec<String>,
    /// Names of the roles given to it directly.
    roles: Vec<String>,
    /// Every role that it holds, directly or through a group: one item for each way to it.
    effective_roles: Vec<ThroughBody>,
    /// Its credentials; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    credentials: Option<Vec<CredentialBody>>,
    /// When it last got a token; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<i64>)]
    last_token_at: Option<Option<i64>>,
    created_at: i64,
    updated_at: i64,
    version: i64,
}

impl From<AgentView> for AgentBody {
    fn from(view: AgentView) -> Self {
        let AgentView {
            agent,
            groups,
            roles,
            effective,
        } = view;
        Self {
            id: agent.id.to_string(),
            name: agent.name.to_string(),
            subject: agent.subject.to_string(),
            status: agent.status.as_str().to_owned(),
            status_since: agent.status.since().map(|at| at.0),
            owner: agent.owner,
            description: agent.description,
            attributes: agent.attributes,
            expires_at: agent.expires_at.map(|at| at.0),
            dpop_required: agent.dpop_required,
            assertion_audience: agent
                .assertion_audience
                .map(|policy| policy.as_str().to_owned()),
            groups: groups.iter().map(ToString::to_string).collect(),
            roles: roles.iter().map(ToString::to_string).collect(),
            effective_roles: shown(effective),
            credentials: None,
            last_token_at: None,
            created_at: agent.created_at.0,
            updated_at: agent.updated_at.0,
            version: agent.version,
        }
    }
}

/// An agent that was switched off, and what it may still do at Claude.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SuspendedAgent)]
pub(super) struct SuspendedBody {
    #[serde(flatten)]
    agent: AgentBody,
    /// Until when, at most, Claude may honour tokens that it gives or gave for the agent's last ones;
    /// `null`: it got none that matters.
    claude_access_until_at_most: Option<i64>,
    /// The rule at Claude that is to be archived to end exchanges at once; `null`: the agent is not linked.
    claude_rule_id: Option<String>,
}

fn tagged(detail: AgentDetail, issuer: &Issuer) -> Tagged<AgentBody> {
    Tagged {
        version: detail.view.agent.version,
        body: detailed(detail, issuer),
    }
}

fn detailed(detail: AgentDetail, issuer: &Issuer) -> AgentBody {
    AgentBody {
        credentials: Some(
            detail
                .credentials
                .iter()
                .map(|credential| CredentialBody::of(credential, issuer))
                .collect(),
        ),
        last_token_at: Some(detail.last_token_at.map(|at| at.seconds().0)),
        ..detail.view.into()
    }
}

/// An agent to be registered.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewAgent)]
pub(super) struct NewAgentBody {
    /// Labels of a-z, 0-9 and '-' joined by '.'; becomes the `client_id` and is never given out again.
    #[schema(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length = 128)]
    name: String,
    /// The accountable person or team.
    #[schema(min_length = 1, max_length = 256)]
    owner: String,
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// A subject taken over from another issuer.
    subject: Option<String>,
    attributes: Option<BTreeMap<String, String>>,
    /// Names of groups.
    groups: Option<Vec<String>>,
    /// Names of roles.
    roles: Option<Vec<String>>,
    /// Seconds until the agent stops getting tokens.
    #[schema(minimum = 1, maximum = 315_360_000)]
    expires_in: Option<i64>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449); left out: no.
    dpop_required: Option<bool>,
    /// What `aud` of its assertions must be; left out: what the issuer says.
    #[schema(pattern = "^(issuer-as-string|issuer|issuer-or-token-endpoint)$")]
    assertion_audience: Option<String>,
    /// Its first credential.
    credential: Option<NewCredentialBody>,
}

/// A registered agent.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedAgent)]
pub(super) struct CreatedAgentBody {
    agent: AgentBody,
    client_id: String,
    /// The client secret; shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_secret: Option<String>,
    credential: Option<CredentialBody>,
}

/// An edit of an agent; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AgentEdit)]
pub(super) struct AgentEdit {
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, min_length = 1, max_length = 256)]
    owner: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, max_length = 1024)]
    description: Option<String>,
    /// All its attributes.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    attributes: Option<BTreeMap<String, String>>,
    /// Names of all its groups.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    groups: Option<Vec<String>>,
    /// Names of all roles given to it directly.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    roles: Option<Vec<String>>,
    /// Seconds until the agent stops getting tokens; `null`: never.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 315_360_000)]
    expires_in: Option<Option<i64>>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449).
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    dpop_required: Option<bool>,
    /// What `aud` of its assertions must be: `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`; `null`: what the
    /// issuer says. With the last one, a server that names this token endpoint in its metadata can replay the
    /// assertions that the agent makes for it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, pattern = "^(issuer-as-string|issuer|issuer-or-token-endpoint)$")]
    assertion_audience: Option<Option<String>>,
}

fn policy(name: Option<String>) -> Result<Option<AssertionAudience>, Invalid> {
    name.as_deref().map(AssertionAudience::parse).transpose()
}

/// Which agents to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Items of a page, 1 to 200; 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// `active`, `suspended` or `removed`; left out: all but removed ones.
    status: Option<String>,
    /// Name of a group they are in.
    group: Option<String>,
    /// Name of a role that they hold, directly or through a group.
    role: Option<String>,
    /// `true`: only those that the role was given to directly.
    direct: Option<bool>,
    /// Part of the name.
    search: Option<String>,
}

/// Lists agents by name; those of a group or a role in the order in which they were registered.
#[utoipa::path(get, path = "/agents", tag = "agents", params(ListParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<AgentBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<ListParams>,
) -> Result<axum::Json<List<AgentBody>>, Problem> {
    let query = AgentQuery {
        status: params.status,
        group: params.group,
        role: params.role,
        direct: params.direct.unwrap_or(false),
        search: params.search,
    };
    let cursor = params.cursor.as_deref();
    let (list, after) = match query.order() {
        AgentOrder::Name => ("agents", after_name("agents", cursor)?),
        AgentOrder::Id => ("agents-by-id", after_id("agents-by-id", cursor)?),
    };
    let page = issuer
        .agents(&query, after.as_deref(), limit(params.limit)?)
        .await?;
    let key = |view: &AgentView| match query.order() {
        AgentOrder::Name => view.agent.name.to_string(),
        AgentOrder::Id => view.agent.id.to_string(),
    };
    Ok(axum::Json(List::of(list, page, key, AgentBody::from)))
}

/// Registers an agent.
#[utoipa::path(post, path = "/agents", tag = "agents", request_body = NewAgentBody, security(("administrator_token" = [])),
    responses((status = 201, body = CreatedAgentBody, description = "The secret is shown this once."), Problems))]
pub(super) async fn create(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewAgentBody>,
) -> Result<Created<CreatedAgentBody>, Problem> {
    let new = NewAgent {
        name: body.name,
        owner: body.owner,
        description: body.description.unwrap_or_default(),
        subject: body.subject,
        attributes: body.attributes.unwrap_or_default(),
        groups: body.groups.unwrap_or_default(),
        roles: body.roles.unwrap_or_default(),
        expires_in: body.expires_in,
        dpop_required: body.dpop_required.unwrap_or(false),
        assertion_audience: policy(body.assertion_audience)?,
        credential: body.credential.map(TryInto::try_into).transpose()?,
    };
    let CreatedAgent {
        agent,
        credential,
        secret,
    } = issuer.create_agent(&caller, new).await?;
    let client_id = agent.view.agent.name.to_string();
    Ok(Created {
        version: Some(agent.view.agent.version),
        location: format!("/agents/{client_id}"),
        body: CreatedAgentBody {
            agent: detailed(agent, &issuer),
            client_id,
            client_secret: secret.map(|secret| secret.expose_secret().to_owned()),
            credential: credential.map(|credential| CredentialBody::of(&credential, &issuer)),
        },
    })
}

/// Shows an agent, a removed one too.
#[utoipa::path(get, path = "/agents/{name}", tag = "agents", params(("name" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = AgentBody), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<AgentBody>, Problem> {
    Ok(tagged(issuer.agent(&name).await?, &issuer))
}

/// Edits an agent.
#[utoipa::path(patch, path = "/agents/{name}", tag = "agents", params(("name" = String, Path), IfMatchHeader), request_body = AgentEdit,
    security(("administrator_token" = [])), responses((status = 200, body = AgentBody), Problems))]
pub(super) async fn edit(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<AgentEdit>,
) -> Result<Tagged<AgentBody>, Problem> {
    let AgentEdit {
        owner,
        description,
        attributes,
        groups,
        roles,
        expires_in,
        dpop_required,
        assertion_audience,
    } = body;
    let changes = AgentChanges {
        owner,
        description,
        attributes,
        groups,
        roles,
        expires_in,
        dpop_required,
        assertion_audience: assertion_audience.map(policy).transpose()?,
    };
    Ok(tagged(
        issuer.edit_agent(&caller, &name, changes, expected).await?,
        &issuer,
    ))
}

/// Switches an agent off: it gets no further token.
#[utoipa::path(post, path = "/agents/{name}/suspend", tag = "agents", params(("name" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 200, body = SuspendedBody), Problems))]
pub(super) async fn suspend(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<Tagged<SuspendedBody>, Problem> {
    let detail = issuer.suspend_agent(&caller, &name, expected).await?;
    let access = issuer.claude_access(&name).await?;
    let Tagged { version, body } = tagged(detail, &issuer);
    Ok(Tagged {
        version,
        body: SuspendedBody {
            agent: body,
            claude_access_until_at_most: access.until_at_most.map(|at| at.0),
            claude_rule_id: access.link.map(|link| link.objects.rule.to_string()),
        },
    })
}

/// Switches an agent on again.
#[utoipa::path(post, path = "/agents/{name}/resume", tag = "agents", params(("name" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 200, body = AgentBody), Problems))]
pub(super) async fn resume(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<Tagged<AgentBody>, Problem> {
    Ok(tagged(
        issuer.resume_agent(&caller, &name, expected).await?,
        &issuer,
    ))
}

/// Removes an agent for good. Its name and subject are never given out again.
#[utoipa::path(delete, path = "/agents/{name}", tag = "agents", params(("name" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 204), Problems))]
pub(super) async fn remove(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    issuer.remove_agent(&caller, &name, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the agent is supposed to ask for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainParams {
    /// Name or identifier of a resource.
    resource: Option<String>,
    /// Scopes, space-separated.
    scope: Option<String>,
}

/// What an agent would get, and why.
#[derive(Serialize, ToSchema)]
#[schema(as = Explanation)]
pub(super) struct ExplanationBody {
    agent: String,
    /// Whether it may get tokens at all.
    active: bool,
    /// What it may reach, and the resource asked for.
    resources: Vec<ExplainedResourceBody>,
    /// The claims of the access token without its times and `jti`; `null` when it is refused.
    claims: Option<Value>,
    /// Why no token would be given; `null` when one would.
    refusal: Option<RefusalBody>,
    /// The delegations that hold now: for whom it may act by token exchange.
    delegations: Vec<DelegationBody>,
}

/// One resource as an agent may reach it.
#[derive(Serialize, ToSchema)]
#[schema(as = ExplainedResource)]
pub(super) struct ExplainedResourceBody {
    resource: String,
    identifier: String,
    /// The ways in which the resource is granted; none: it is not.
    through: Vec<ThroughBody>,
    granted: Vec<ExplainedScopeBody>,
    not_granted: Vec<String>,
    /// Why a request that names the resource, with the scopes asked for, gets no token; `null` when it gets
    /// one.
    refusal: Option<RefusalBody>,
}

/// A granted scope.
#[derive(Serialize, ToSchema)]
#[schema(as = ExplainedScope)]
pub(super) struct ExplainedScopeBody {
    scope: String,
    through: Vec<ThroughBody>,
}

/// A way in which a role is held, or in which something is granted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Through)]
pub(super) struct ThroughBody {
    role: String,
    /// The group the role comes from; `null`: given directly.
    group: Option<String>,
}

/// The error that the token endpoint would give.
#[derive(Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(super) struct RefusalBody {
    error: String,
    error_description: String,
}

/// Tells what an agent would get, through which roles and groups, without minting.
#[utoipa::path(get, path = "/agents/{name}/explain", tag = "agents", params(("name" = String, Path), ExplainParams),
    security(("administrator_token" = [])), responses((status = 200, body = ExplanationBody), Problems))]
pub(super) async fn explain(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    Params(params): Params<ExplainParams>,
) -> Result<axum::Json<ExplanationBody>, Problem> {
    let query = ExplainQuery {
        resource: params.resource,
        scope: params.scope,
    };
    let explanation = issuer.explain(&name, &query).await?;
    let now = issuer.ports().clock.now();
    Ok(axum::Json(ExplanationBody::of(explanation, now)))
}

impl ExplanationBody {
    fn of(explanation: Explanation, now: UnixTime) -> Self {
        Self {
            agent: explanation.agent.to_string(),
            active: explanation.is_active,
            resources: explanation
                .resources
                .into_iter()
                .map(ExplainedResourceBody::from)
                .collect(),
            claims: explanation.claims,
            refusal: explanation.refusal.map(RefusalBody::from),
            delegations: explanation
                .delegations
                .into_iter()
                .map(|view| DelegationBody::of(view, now))
                .collect(),
        }
    }
}

impl From<ExplainedResource> for ExplainedResourceBody {
    fn from(explained: ExplainedResource) -> Self {
        let granted = explained.granted.into_iter();
        Self {
            resource: explained.resource.to_string(),
            identifier: explained.identifier.as_str().to_owned(),
            through: shown(explained.through),
            granted: granted
                .map(|granted| ExplainedScopeBody {
                    scope: granted.scope.to_string(),
                    through: shown(granted.through),
                })
                .collect(),
            not_granted: explained
                .not_granted
                .iter()
                .map(ToString::to_string)
                .collect(),
            refusal: explained.refusal.map(RefusalBody::from),
        }
    }
}

impl From<Refusal> for RefusalBody {
    fn from(refusal: Refusal) -> Self {
        Self {
            error: refusal.error.to_owned(),
            error_description: refusal.description,
        }
    }
}

fn shown(ways: Vec<Through>) -> Vec<ThroughBody> {
    ways.into_iter()
        .map(|way| ThroughBody {
            role: way.role.to_string(),
            group: way.group.map(|group| group.to_string()),
        })
        .collect()
}
