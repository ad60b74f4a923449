//! `/resources`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::resource::{
    NewResource as NewResourceBody, Resource as ResourceBody, ResourceEdit,
};
use crate::issuer::Issuer;
use crate::issuer::resources::{NewResource, ResourceChanges, ResourceView};

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::groups::RemovalParams;
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, PageParams, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

impl From<ResourceView> for ResourceBody {
    fn from(view: ResourceView) -> Self {
        let ResourceView {
            resource,
            server,
            token_lifetime,
            token_algorithm,
        } = view;
        let token_typ = resource.token_typ().as_str().to_owned();
        Self {
            allow_delegation: resource.allow_delegation,
            delegation_allowed: resource.allows_delegation(),
            server: server.map(|server| server.to_string()),
            dpop_required: resource.dpop_required,
            id: resource.id.to_string(),
            name: resource.name.to_string(),
            identifier: resource.identifier.as_str().to_owned(),
            description: resource.description,
            profile: resource.profile.as_str().to_owned(),
            scopes: resource.scopes.iter().map(ToString::to_string).collect(),
            lifetime: resource.lifetime,
            algorithm: resource
                .algorithm
                .map(|algorithm| algorithm.as_str().to_owned()),
            typ: resource.typ.map(|typ| typ.as_str().to_owned()),
            token_lifetime,
            token_algorithm: token_algorithm.as_str().to_owned(),
            token_typ,
            created_at: resource.created_at.0,
            updated_at: resource.updated_at.0,
            version: resource.version,
        }
    }
}

fn tagged(view: ResourceView) -> Tagged<ResourceBody> {
    Tagged {
        version: view.resource.version,
        body: view.into(),
    }
}

/// Lists resources by name.
#[utoipa::path(get, path = "/resources", tag = "resources", params(PageParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<ResourceBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<PageParams>,
) -> Result<axum::Json<List<ResourceBody>>, Problem> {
    let after = after_name("resources", params.cursor.as_deref())?;
    let page = issuer
        .resources(after.as_deref(), limit(params.limit)?)
        .await?;
    Ok(axum::Json(List::of(
        "resources",
        page,
        |view| view.resource.name.to_string(),
        ResourceBody::from,
    )))
}

/// Makes a resource.
#[utoipa::path(post, path = "/resources", tag = "resources", request_body = NewResourceBody, security(("administrator_token" = [])),
    responses((status = 201, body = ResourceBody), Problems))]
pub(super) async fn create(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewResourceBody>,
) -> Result<Created<ResourceBody>, Problem> {
    let new = NewResource {
        name: body.name,
        identifier: body.identifier,
        description: body.description.unwrap_or_default(),
        profile: body.profile,
        scopes: body.scopes.unwrap_or_default(),
        lifetime: body.lifetime,
        algorithm: body.algorithm,
        typ: body.typ,
        allow_delegation: body.allow_delegation,
        server: body.server,
        dpop_required: body.dpop_required.unwrap_or(false),
    };
    let view = issuer.create_resource(&caller, new).await?;
    Ok(Created {
        version: Some(view.resource.version),
        location: format!("/resources/{}", view.resource.name),
        body: view.into(),
    })
}

/// Shows a resource.
#[utoipa::path(get, path = "/resources/{name}", tag = "resources", params(("name" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = ResourceBody), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<ResourceBody>, Problem> {
    Ok(tagged(issuer.resource(&name).await?))
}

/// Edits a resource; its name, identifier and profile stay.
#[utoipa::path(patch, path = "/resources/{name}", tag = "resources", params(("name" = String, Path), IfMatchHeader), request_body = ResourceEdit,
    security(("administrator_token" = [])), responses((status = 200, body = ResourceBody), Problems))]
pub(super) async fn edit(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<ResourceEdit>,
) -> Result<Tagged<ResourceBody>, Problem> {
    let ResourceEdit {
        description,
        scopes,
        lifetime,
        algorithm,
        typ,
        allow_delegation,
        server,
        dpop_required,
    } = body;
    let changes = ResourceChanges {
        description,
        scopes,
        lifetime,
        algorithm,
        typ,
        allow_delegation,
        server,
        dpop_required,
    };
    Ok(tagged(
        issuer
            .edit_resource(&caller, &name, changes, expected)
            .await?,
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
