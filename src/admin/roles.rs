//! `/roles`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::role::{
    AllScopes, Grant as GrantBody, GrantedScopes as ScopesBody, NewGrant as NewGrantBody,
    NewRole as NewRoleBody, Role as RoleBody, RoleEdit,
};
use crate::domain::role::GrantedScopes;
use crate::issuer::Issuer;
use crate::issuer::roles::{GrantView, NewGrant, NewRole, RoleChanges, RoleView};

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::groups::RemovalParams;
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

impl From<RoleView> for RoleBody {
    fn from(view: RoleView) -> Self {
        let RoleView { role, grants } = view;
        Self {
            id: role.id.to_string(),
            name: role.name.to_string(),
            description: role.description,
            grants: grants.into_iter().map(GrantBody::from).collect(),
            created_at: role.created_at.0,
            updated_at: role.updated_at.0,
            version: role.version,
        }
    }
}

impl From<GrantView> for GrantBody {
    fn from(grant: GrantView) -> Self {
        Self {
            resource: grant.resource.to_string(),
            identifier: grant.identifier.as_str().to_owned(),
            scopes: grant.scopes.into(),
        }
    }
}

impl From<GrantedScopes> for ScopesBody {
    fn from(scopes: GrantedScopes) -> Self {
        match scopes {
            GrantedScopes::All => Self::All(AllScopes::Star),
            GrantedScopes::Only(scopes) => {
                Self::Only(scopes.iter().map(ToString::to_string).collect())
            }
        }
    }
}

impl ScopesBody {
    /// The names; `None`: all, as when nothing is said.
    pub(super) fn names(scopes: Option<Self>) -> Option<Vec<String>> {
        match scopes {
            Some(Self::Only(names)) => Some(names),
            Some(Self::All(AllScopes::Star)) | None => None,
        }
    }
}

fn tagged(view: RoleView) -> Tagged<RoleBody> {
    Tagged {
        version: view.role.version,
        body: view.into(),
    }
}

fn new_grants(grants: Vec<NewGrantBody>) -> Vec<NewGrant> {
    grants
        .into_iter()
        .map(|grant| NewGrant {
            resource: grant.resource,
            scopes: ScopesBody::names(grant.scopes),
        })
        .collect()
}

/// Which roles to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct RoleListParams {
    /// Items of a page, 1 to 200; 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Name or identifier of a resource that they grant.
    resource: Option<String>,
}

/// Lists roles by name.
#[utoipa::path(get, path = "/roles", tag = "roles", params(RoleListParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<RoleBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<RoleListParams>,
) -> Result<axum::Json<List<RoleBody>>, Problem> {
    let after = after_name("roles", params.cursor.as_deref())?;
    let page = issuer
        .roles(
            params.resource.as_deref(),
            after.as_deref(),
            limit(params.limit)?,
        )
        .await?;
    Ok(axum::Json(List::of(
        "roles",
        page,
        |view| view.role.name.to_string(),
        RoleBody::from,
    )))
}

/// Makes a role.
#[utoipa::path(post, path = "/roles", tag = "roles", request_body = NewRoleBody, security(("administrator_token" = [])),
    responses((status = 201, body = RoleBody), Problems))]
pub(super) async fn create(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewRoleBody>,
) -> Result<Created<RoleBody>, Problem> {
    let new = NewRole {
        name: body.name,
        description: body.description.unwrap_or_default(),
        grants: new_grants(body.grants.unwrap_or_default()),
    };
    let view = issuer.create_role(&caller, new).await?;
    Ok(Created {
        version: Some(view.role.version),
        location: format!("/roles/{}", view.role.name),
        body: view.into(),
    })
}

/// Shows a role.
#[utoipa::path(get, path = "/roles/{name}", tag = "roles", params(("name" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = RoleBody), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<RoleBody>, Problem> {
    Ok(tagged(issuer.role(&name).await?))
}

/// Edits a role.
#[utoipa::path(patch, path = "/roles/{name}", tag = "roles", params(("name" = String, Path), IfMatchHeader), request_body = RoleEdit,
    security(("administrator_token" = [])), responses((status = 200, body = RoleBody), Problems))]
pub(super) async fn edit(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<RoleEdit>,
) -> Result<Tagged<RoleBody>, Problem> {
    let changes = RoleChanges {
        description: body.description,
        grants: body.grants.map(new_grants),
    };
    Ok(tagged(
        issuer.edit_role(&caller, &name, changes, expected).await?,
    ))
}

/// Removes a role. Its name is never given out again.
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
