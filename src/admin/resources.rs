//! `/resources`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::resource::{NewResource, Resource, ResourceEdit};
use crate::issuer::Issuer;

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::groups::RemovalParams;
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, PageParams, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

fn tagged(resource: Resource) -> Tagged<Resource> {
    Tagged {
        version: resource.version,
        body: resource,
    }
}

/// Lists resources by name.
#[utoipa::path(get, path = "/resources", tag = "resources", params(PageParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<Resource>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<PageParams>,
) -> Result<axum::Json<List<Resource>>, Problem> {
    let after = after_name("resources", params.cursor.as_deref())?;
    let page = issuer
        .resources(after.as_deref(), limit(params.limit)?)
        .await?;
    Ok(axum::Json(List::page("resources", page, |resource| {
        resource.name.clone()
    })))
}

/// Makes a resource.
#[utoipa::path(post, path = "/resources", tag = "resources", request_body = NewResource, security(("administrator_token" = [])),
    responses((status = 201, body = Resource), Problems))]
pub(super) async fn create(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewResource>,
) -> Result<Created<Resource>, Problem> {
    let resource = issuer.create_resource(&caller, body).await?;
    Ok(Created {
        version: Some(resource.version),
        location: format!("/resources/{}", resource.name),
        body: resource,
    })
}

/// Shows a resource.
#[utoipa::path(get, path = "/resources/{name}", tag = "resources", params(("name" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = Resource), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<Resource>, Problem> {
    Ok(tagged(issuer.resource(&name).await?))
}

/// Edits a resource; its name, identifier and profile stay.
#[utoipa::path(patch, path = "/resources/{name}", tag = "resources", params(("name" = String, Path), IfMatchHeader), request_body = ResourceEdit,
    security(("administrator_token" = [])), responses((status = 200, body = Resource), Problems))]
pub(super) async fn edit(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ResourceEdit>,
) -> Result<Tagged<Resource>, Problem> {
    Ok(tagged(
        issuer.edit_resource(&caller, &name, body, expected).await?,
    ))
}

/// Removes a resource.
#[utoipa::path(delete, path = "/resources/{name}", tag = "resources", params(("name" = String, Path), RemovalParams, IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 204), Problems))]
pub(super) async fn remove(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Params(params): Params<RemovalParams>,
) -> Result<StatusCode, Problem> {
    issuer
        .remove_resource(&caller, &name, params.removal(expected))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
