//! `/groups`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::group::{Group, GroupEdit, NewGroup};
use crate::issuer::Issuer;
use crate::issuer::named::Removal;

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

fn tagged(group: Group) -> Tagged<Group> {
    Tagged {
        version: group.version,
        body: group,
    }
}

/// How to remove.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RemovalParams {
    /// Remove it although it is in use. Each use is removed and audited.
    force: Option<bool>,
}

impl RemovalParams {
    pub(super) fn removal(&self, expected: Option<i64>) -> Removal {
        Removal {
            force: self.force.unwrap_or(false),
            expected,
        }
    }
}

/// Which groups to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct GroupListParams {
    /// Items of a page, 1 to 200; 50 by default.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
    /// Name of a role that they pass on to their members.
    role: Option<String>,
}

/// Lists groups by name.
#[utoipa::path(get, path = "/groups", tag = "groups", params(GroupListParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<Group>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<GroupListParams>,
) -> Result<axum::Json<List<Group>>, Problem> {
    let after = after_name("groups", params.cursor.as_deref())?;
    let page = issuer
        .groups(
            params.role.as_deref(),
            after.as_deref(),
            limit(params.limit)?,
        )
        .await?;
    Ok(axum::Json(List::page("groups", page, |group| {
        group.name.clone()
    })))
}

/// Makes a group.
#[utoipa::path(post, path = "/groups", tag = "groups", request_body = NewGroup, security(("administrator_token" = [])),
    responses((status = 201, body = Group), Problems))]
pub(super) async fn create(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewGroup>,
) -> Result<Created<Group>, Problem> {
    let group = issuer.create_group(&caller, body).await?;
    Ok(Created {
        version: Some(group.version),
        location: format!("/groups/{}", group.name),
        body: group,
    })
}

/// Shows a group.
#[utoipa::path(get, path = "/groups/{name}", tag = "groups", params(("name" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = Group), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<Group>, Problem> {
    Ok(tagged(issuer.group(&name).await?))
}

/// Edits a group.
#[utoipa::path(patch, path = "/groups/{name}", tag = "groups", params(("name" = String, Path), IfMatchHeader), request_body = GroupEdit,
    security(("administrator_token" = [])), responses((status = 200, body = Group), Problems))]
pub(super) async fn edit(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<GroupEdit>,
) -> Result<Tagged<Group>, Problem> {
    Ok(tagged(
        issuer.edit_group(&caller, &name, body, expected).await?,
    ))
}

/// Removes a group. Its name is never reused.
#[utoipa::path(delete, path = "/groups/{name}", tag = "groups", params(("name" = String, Path), RemovalParams, IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 204), Problems))]
pub(super) async fn remove(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Params(params): Params<RemovalParams>,
) -> Result<StatusCode, Problem> {
    issuer
        .remove_group(&caller, &name, params.removal(expected))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
