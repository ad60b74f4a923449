//! `/agents`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use secrecy::ExposeSecret;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::agent::{
    Agent as AgentBody, AgentEdit, CreatedAgent as CreatedAgentBody, NewAgent,
    SuspendedAgent as SuspendedBody, Through as ThroughBody,
};
use crate::api::explanation::{
    ExplainedResource as ExplainedResourceBody, ExplainedScope as ExplainedScopeBody,
    Explanation as ExplanationBody, Refusal as RefusalBody,
};
use crate::issuer::Issuer;
use crate::issuer::agents::{AgentDetail, AgentOrder, AgentQuery, AgentView, CreatedAgent};
use crate::issuer::explain::{ExplainQuery, ExplainedResource, Explanation, Refusal, Through};

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, Params, after_id, after_name, limit};
use super::path::Named;
use super::problem::Problem;
use crate::api::credential::Credential as CredentialBody;

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

/// Which agents to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Items of a page, 1 to 200; 50 by default.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
    /// `active`, `suspended` or `removed`; by default all but removed ones.
    status: Option<String>,
    /// Name of a group they are in.
    group: Option<String>,
    /// Name of a role that they hold, directly or through a group.
    role: Option<String>,
    /// `true`: only agents that hold the role directly.
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
#[utoipa::path(post, path = "/agents", tag = "agents", request_body = NewAgent, security(("administrator_token" = [])),
    responses((status = 201, body = CreatedAgentBody, description = "The secret is shown this once."), Problems))]
pub(super) async fn create(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewAgent>,
) -> Result<Created<CreatedAgentBody>, Problem> {
    let CreatedAgent {
        agent,
        credential,
        secret,
    } = issuer.create_agent(&caller, body).await?;
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

/// Shows an agent, also a removed one.
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
    Ok(tagged(
        issuer.edit_agent(&caller, &name, body, expected).await?,
        &issuer,
    ))
}

/// Suspends an agent: it gets no further tokens.
#[utoipa::path(post, path = "/agents/{name}/suspend", tag = "agents", params(("name" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 200, body = SuspendedBody), Problems))]
pub(super) async fn suspend(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<Tagged<SuspendedBody>, Problem> {
    let suspension = issuer.suspend_agent(&caller, &name, expected).await?;
    let access = match issuer.claude_access(&name).await {
        Err(error) if suspension.is_new => {
            return Err(error.after_change(format!("agent show {name}")).into());
        }
        access => access?,
    };
    let Tagged { version, body } = tagged(suspension.agent, &issuer);
    Ok(Tagged {
        version,
        body: SuspendedBody {
            agent: body,
            claude_access_until_at_most: access.until_at_most.map(|at| at.0),
            claude_rule_id: access.link.map(|link| link.objects.rule.to_string()),
        },
    })
}

/// Resumes an agent.
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

/// Removes an agent permanently. Its name and subject are never reused.
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

/// The request to explain.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ExplainParams {
    /// Name or identifier of a resource.
    resource: Option<String>,
    /// Scopes, space-separated.
    scope: Option<String>,
}

/// Explains which token an agent would get, and through which roles and groups, without minting.
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
    Ok(axum::Json(explanation.into()))
}

impl From<Explanation> for ExplanationBody {
    fn from(explanation: Explanation) -> Self {
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
            delegations: explanation.delegations,
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
            hint: refusal.remedy.map(|remedy| remedy.to_string()),
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
