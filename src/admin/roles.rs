//! `/roles`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::role::{NewRole, Role, RoleEdit};
use crate::issuer::Issuer;

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::groups::RemovalParams;
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

fn tagged(role: Role) -> Tagged<Role> {
    Tagged {
        version: role.version,
        body: role,
    }
}

/// Which roles to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RoleListParams {
    /// Items of a page, 1 to 200; 50 by default.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
    /// Name or identifier of a resource that they grant.
    resource: Option<String>,
}

/// Lists roles by name.
#[utoipa::path(get, path = "/roles", tag = "roles", params(RoleListParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<Role>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<RoleListParams>,
) -> Result<axum::Json<List<Role>>, Problem> {
    let after = after_name("roles", params.cursor.as_deref())?;
    let page = issuer
        .roles(
            params.resource.as_deref(),
            after.as_deref(),
            limit(params.limit)?,
        )
        .await?;
    Ok(axum::Json(List::page("roles", page, |role| {
        role.name.clone()
    })))
}

/// Makes a role.
#[utoipa::path(post, path = "/roles", tag = "roles", request_body = NewRole, security(("administrator_token" = [])),
    responses((status = 201, body = Role), Problems))]
pub(super) async fn create(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewRole>,
) -> Result<Created<Role>, Problem> {
    let role = issuer.create_role(&caller, body).await?;
    Ok(Created {
        version: Some(role.version),
        location: format!("/roles/{}", role.name),
        body: role,
    })
}

/// Shows a role.
#[utoipa::path(get, path = "/roles/{name}", tag = "roles", params(("name" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = Role), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<Role>, Problem> {
    Ok(tagged(issuer.role(&name).await?))
}

/// Edits a role.
#[utoipa::path(patch, path = "/roles/{name}", tag = "roles", params(("name" = String, Path), IfMatchHeader), request_body = RoleEdit,
    security(("administrator_token" = [])), responses((status = 200, body = Role), Problems))]
pub(super) async fn edit(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<RoleEdit>,
) -> Result<Tagged<Role>, Problem> {
    Ok(tagged(
        issuer.edit_role(&caller, &name, body, expected).await?,
    ))
}

/// Removes a role. Its name is never reused.
#[utoipa::path(delete, path = "/roles/{name}", tag = "roles", params(("name" = String, Path), RemovalParams, IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 204), Problems))]
pub(super) async fn remove(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Params(params): Params<RemovalParams>,
) -> Result<StatusCode, Problem> {
    issuer
        .remove_role(&caller, &name, params.removal(expected))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
