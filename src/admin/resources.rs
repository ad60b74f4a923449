//! `/resources`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::issuer::Issuer;
use crate::issuer::resources::{NewResource, ResourceChanges, ResourceView};

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::groups::RemovalParams;
use super::json::{Json, present};
use super::openapi::Problems;
use super::page::{List, PageParams, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

/// Something a token is for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Resource)]
pub(super) struct ResourceBody {
    id: String,
    name: String,
    /// What becomes `aud`.
    identifier: String,
    description: String,
    /// `generic` or `claude`.
    profile: String,
    scopes: Vec<String>,
    /// Its own life of tokens in seconds; `null`: the default.
    lifetime: Option<i64>,
    /// Its own algorithm; `null`: the default.
    algorithm: Option<String>,
    /// Its own `typ` header of tokens; `null`: as its profile has it.
    typ: Option<String>,
    /// The life in seconds that a token gets when its request does not say.
    token_lifetime: i64,
    /// The algorithm that signs its tokens.
    token_algorithm: String,
    /// The `typ` header of its tokens: `at+jwt` (RFC 9068) or `JWT`.
    token_typ: String,
    /// Whether its tokens may be made by token exchange, as it was set; `null`: as its profile has it.
    allow_delegation: Option<bool>,
    /// Whether its tokens may be made by token exchange.
    delegation_allowed: bool,
    /// Name of the agent that is the resource server; `null`: none is known.
    server: Option<String>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449).
    dpop_required: bool,
    created_at: i64,
    updated_at: i64,
    version: i64,
}

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

/// A resource to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewResource)]
pub(super) struct NewResourceBody {
    #[schema(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length = 128)]
    name: String,
    /// An absolute URI; may be left out with profile `claude`.
    identifier: Option<String>,
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// `generic` (unless said) or `claude`.
    #[schema(pattern = "^(generic|claude)$")]
    profile: Option<String>,
    scopes: Option<Vec<String>>,
    /// Life of its tokens in seconds.
    #[schema(minimum = 60, maximum = 43_200)]
    lifetime: Option<i64>,
    /// `ES256` or `RS256`.
    #[schema(pattern = "^(ES256|RS256)$")]
    algorithm: Option<String>,
    /// The `typ` header of its tokens: `at+jwt` (RFC 9068) or `JWT`; left out: `at+jwt` with profile
    /// `generic`, `JWT` with profile `claude`, which takes no other.
    #[schema(pattern = r"^(at\+jwt|JWT)$")]
    typ: Option<String>,
    /// Whether its tokens may be made by token exchange; left out: yes with profile `generic`, else no.
    allow_delegation: Option<bool>,
    /// Name of the agent that is the resource server: it may introspect tokens for the resource, and
    /// exchange those that it received.
    server: Option<String>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449); left out: no.
    dpop_required: Option<bool>,
}

/// An edit of a resource; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResourceEdit {
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, max_length = 1024)]
    description: Option<String>,
    /// All its scopes.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    scopes: Option<Vec<String>>,
    /// Life of its tokens in seconds; `null`: the default.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<i64>, minimum = 60, maximum = 43_200)]
    lifetime: Option<Option<i64>>,
    /// `ES256` or `RS256`; `null`: the default.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, pattern = "^(ES256|RS256)$")]
    algorithm: Option<Option<String>>,
    /// The `typ` header of its tokens: `at+jwt` (RFC 9068) or `JWT`; `null`: as its profile has it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>, pattern = r"^(at\+jwt|JWT)$")]
    typ: Option<Option<String>>,
    /// Whether its tokens may be made by token exchange; `null`: as its profile has it.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<bool>)]
    allow_delegation: Option<Option<bool>>,
    /// Name of the agent that is the resource server; `null`: none.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    server: Option<Option<String>>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449).
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    dpop_required: Option<bool>,
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
