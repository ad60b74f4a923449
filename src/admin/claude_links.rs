//! `/agents/{name}/claude-link` and `/claude-links`: which objects at Claude belong to an agent.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::api::claude_link::{ClaudeLink, NewClaudeLink};
use crate::issuer::Issuer;

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, PageParams, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

fn tagged(link: ClaudeLink) -> Tagged<ClaudeLink> {
    Tagged {
        version: link.version,
        body: link,
    }
}

/// Shows an agent's link.
#[utoipa::path(get, path = "/agents/{name}/claude-link", tag = "claude-links", params(("name" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = ClaudeLink), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<ClaudeLink>, Problem> {
    Ok(tagged(issuer.claude_link(&name).await?))
}

/// Links an agent to its objects at Claude, or replaces its link.
#[utoipa::path(put, path = "/agents/{name}/claude-link", tag = "claude-links", params(("name" = String, Path), IfMatchHeader),
    request_body = NewClaudeLink, security(("administrator_token" = [])),
    responses((status = 200, body = ClaudeLink), (status = 201, body = ClaudeLink), Problems))]
pub(super) async fn put(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<NewClaudeLink>,
) -> Result<Response, Problem> {
    let (link, is_new) = issuer.link_claude(&caller, &name, body, expected).await?;
    if !is_new {
        return Ok(tagged(link).into_response());
    }
    let made = Created {
        version: Some(link.version),
        location: format!("/agents/{}/claude-link", link.agent),
        body: link,
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
    responses((status = 200, body = List<ClaudeLink>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<PageParams>,
) -> Result<axum::Json<List<ClaudeLink>>, Problem> {
    let after = after_name("claude-links", params.cursor.as_deref())?;
    let page = issuer
        .claude_links(after.as_deref(), limit(params.limit)?)
        .await?;
    Ok(axum::Json(List::page("claude-links", page, |link| {
        link.agent.clone()
    })))
}
