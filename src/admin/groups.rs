//! `/groups`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::group::{Group as GroupBody, GroupEdit, NewGroup as NewGroupBody};
use crate::issuer::Issuer;
use crate::issuer::groups::{GroupChanges, GroupView, NewGroup, Removal};

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

impl From<GroupView> for GroupBody {
    fn from(view: GroupView) -> Self {
        let GroupView {
            group,
            roles,
            members,
        } = view;
        Self {
            id: group.id.to_string(),
            name: group.name.to_string(),
            description: group.description,
            roles: roles.iter().map(ToString::to_string).collect(),
            members,
            created_at: group.created_at.0,
            updated_at: group.updated_at.0,
            version: group.version,
        }
    }
}

fn tagged(view: GroupView) -> Tagged<GroupBody> {
    Tagged {
        version: view.group.version,
        body: view.into(),
    }
}

/// How to remove.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RemovalParams {
    /// Remove it although it is in use; each use is taken away and audited.
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
    /// Items of a page, 1 to 200; 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Name of a role that they pass on to their members.
    role: Option<String>,
}

/// Lists groups by name.
#[utoipa::path(get, path = "/groups", tag = "groups", params(GroupListParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<GroupBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<GroupListParams>,
) -> Result<axum::Json<List<GroupBody>>, Problem> {
    let after = after_name("groups", params.cursor.as_deref())?;
    let page = issuer
        .groups(
            params.role.as_deref(),
            after.as_deref(),
            limit(params.limit)?,
        )
        .await?;
    Ok(axum::Json(List::of(
        "groups",
        page,
        |view| view.group.name.to_string(),
        GroupBody::from,
    )))
}

/// Makes a group.
#[utoipa::path(post, path = "/groups", tag = "groups", request_body = NewGroupBody, security(("administrator_token" = [])),
    responses((status = 201, body = GroupBody), Problems))]
pub(super) async fn create(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewGroupBody>,
) -> Result<Created<GroupBody>, Problem> {
    let new = NewGroup {
        name: body.name,
        description: body.description.unwrap_or_default(),
        roles: body.roles.unwrap_or_default(),
    };
    let view = issuer.create_group(&caller, new).await?;
    Ok(Created {
        version: Some(view.group.version),
        location: format!("/groups/{}", view.group.name),
        body: view.into(),
    })
}

/// Shows a group.
#[utoipa::path(get, path = "/groups/{name}", tag = "groups", params(("name" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = GroupBody), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<GroupBody>, Problem> {
    Ok(tagged(issuer.group(&name).await?))
}

/// Edits a group.
#[utoipa::path(patch, path = "/groups/{name}", tag = "groups", params(("name" = String, Path), IfMatchHeader), request_body = GroupEdit,
    security(("administrator_token" = [])), responses((status = 200, body = GroupBody), Problems))]
pub(super) async fn edit(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<GroupEdit>,
) -> Result<Tagged<GroupBody>, Problem> {
    let changes = GroupChanges {
        description: body.description,
        roles: body.roles,
    };
    Ok(tagged(
        issuer.edit_group(&caller, &name, changes, expected).await?,
    ))
}

/// Removes a group. Its name is never given out again.
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
