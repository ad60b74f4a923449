//! `/agents/{name}/claude-link` and `/claude-links`: which objects at Claude belong to an agent.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::claude_link::{ClaudeLink as ClaudeLinkBody, NewClaudeLink as NewClaudeLinkBody};
use crate::issuer::Issuer;
use crate::issuer::claude_links::{ClaudeLinkView, NewClaudeLink};

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, PageParams, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

impl From<ClaudeLinkView> for ClaudeLinkBody {
    fn from(view: ClaudeLinkView) -> Self {
        let ClaudeLinkView { agent, link } = view;
        let objects = link.objects;
        Self {
            agent: agent.to_string(),
            rule_id: objects.rule.into(),
            organization_id: objects.organization.into(),
            service_account_id: objects.service_account.into(),
            workspace_id: objects.workspace.map(Into::into),
            issuer_id: objects.issuer.map(Into::into),
            token_lifetime: objects.token_lifetime,
            created_at: link.created_at.0,
            updated_at: link.updated_at.0,
            version: link.version,
        }
    }
}

fn tagged(view: ClaudeLinkView) -> Tagged<ClaudeLinkBody> {
    Tagged {
        version: view.link.version,
        body: view.into(),
    }
}

/// Shows an agent's link.
#[utoipa::path(get, path = "/agents/{name}/claude-link", tag = "claude-links", params(("name" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = ClaudeLinkBody), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<ClaudeLinkBody>, Problem> {
    Ok(tagged(issuer.claude_link(&name).await?))
}

/// Links an agent to its objects at Claude, or replaces its link.
#[utoipa::path(put, path = "/agents/{name}/claude-link", tag = "claude-links", params(("name" = String, Path), IfMatchHeader),
    request_body = NewClaudeLinkBody, security(("administrator_token" = [])),
    responses((status = 200, body = ClaudeLinkBody), (status = 201, body = ClaudeLinkBody), Problems))]
pub(super) async fn put(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<NewClaudeLinkBody>,
) -> Result<Response, Problem> {
    let new = NewClaudeLink {
        rule_id: body.rule_id,
        organization_id: body.organization_id,
        service_account_id: body.service_account_id,
        workspace_id: body.workspace_id,
        issuer_id: body.issuer_id,
        token_lifetime: body.token_lifetime,
    };
    let (view, is_new) = issuer.link_claude(&caller, &name, new, expected).await?;
    if !is_new {
        return Ok(tagged(view).into_response());
    }
    let made = Created {
        version: Some(view.link.version),
        location: format!("/agents/{}/claude-link", view.agent),
        body: ClaudeLinkBody::from(view),
    };
    Ok(made.into_response())
}

/// Removes an agent's link. The objects at Claude stay unchanged.
#[utoipa::path(delete, path = "/agents/{name}/claude-link", tag = "claude-links", params(("name" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 204), Problems))]
pub(super) async fn remove(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<StatusCode, Problem> {
    issuer.unlink_claude(&caller, &name, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists links by the agent's name.
#[utoipa::path(get, path = "/claude-links", tag = "claude-links", params(PageParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<ClaudeLinkBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<PageParams>,
) -> Result<axum::Json<List<ClaudeLinkBody>>, Problem> {
    let after = after_name("claude-links", params.cursor.as_deref())?;
    let page = issuer
        .claude_links(after.as_deref(), limit(params.limit)?)
        .await?;
    Ok(axum::Json(List::of(
        "claude-links",
        page,
        |view| view.agent.to_string(),
        ClaudeLinkBody::from,
    )))
}
