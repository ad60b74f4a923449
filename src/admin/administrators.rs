//! `/administrators`.

use std::sync::Arc;

use axum::extract::State;

use crate::api::administrator::{
    Administrator, AdministratorEdit, AdministratorRotation, AdministratorToken, NewAdministrator,
};
use crate::issuer::Issuer;

use super::caller::{Owner, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::json::{Json, OptionalJson};
use super::openapi::Problems;
use super::page::List;
use super::path::Named;
use super::problem::Problem;

fn tagged(administrator: Administrator) -> Tagged<Administrator> {
    Tagged {
        version: administrator.version,
        body: administrator,
    }
}

/// Lists administrators, revoked ones included.
#[utoipa::path(get, path = "/administrators", tag = "administrators", security(("administrator_token" = [])),
    responses((status = 200, body = List<Administrator>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
) -> Result<axum::Json<List<Administrator>>, Problem> {
    Ok(axum::Json(List::whole(issuer.administrators().await?)))
}

/// Makes an administrator. Only this answer contains its token.
#[utoipa::path(post, path = "/administrators", tag = "administrators", request_body = NewAdministrator,
    security(("administrator_token" = [])), responses((status = 201, body = AdministratorToken), Problems))]
pub(super) async fn create(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewAdministrator>,
) -> Result<Created<AdministratorToken>, Problem> {
    let made = issuer.create_administrator(&caller, body).await?;
    Ok(Created {
        version: Some(made.administrator.version),
        location: format!("/administrators/{}", made.administrator.name),
        body: made,
    })
}

/// Shows an administrator, also a revoked one.
#[utoipa::path(get, path = "/administrators/{name}", tag = "administrators", params(("name" = String, Path)),
    security(("administrator_token" = [])), responses((status = 200, body = Administrator), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<Administrator>, Problem> {
    Ok(tagged(issuer.administrator(&name).await?))
}

/// Edits an administrator's role and expiry. Those of the last owner cannot change.
#[utoipa::path(patch, path = "/administrators/{name}", tag = "administrators", params(("name" = String, Path), IfMatchHeader),
    request_body = AdministratorEdit, security(("administrator_token" = [])),
    responses((status = 200, body = Administrator), Problems))]
pub(super) async fn edit(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<AdministratorEdit>,
) -> Result<Tagged<Administrator>, Problem> {
    let edited = issuer.edit_administrator(&caller, &name, body, expected);
    Ok(tagged(edited.await?))
}

/// Replaces an administrator's token. Only this answer contains the new token; the old one ends at once.
#[utoipa::path(post, path = "/administrators/{name}/rotate", tag = "administrators", params(("name" = String, Path), IfMatchHeader),
    request_body = AdministratorRotation, security(("administrator_token" = [])),
    responses((status = 200, body = AdministratorToken), Problems))]
pub(super) async fn rotate(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    OptionalJson(body): OptionalJson<AdministratorRotation>,
) -> Result<Tagged<AdministratorToken>, Problem> {
    let rotated = issuer.rotate_administrator(&caller, &name, body, expected);
    let rotated = rotated.await?;
    Ok(Tagged {
        version: rotated.administrator.version,
        body: rotated,
    })
}

/// Revokes an administrator's token permanently. That of the last owner cannot be revoked.
#[utoipa::path(post, path = "/administrators/{name}/revoke", tag = "administrators", params(("name" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 200, body = Administrator), Problems))]
pub(super) async fn revoke(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<Tagged<Administrator>, Problem> {
    let revoked = issuer.revoke_administrator(&caller, &name, expected);
    Ok(tagged(revoked.await?))
}
