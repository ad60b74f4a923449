//! `/administrators`.

use std::sync::Arc;

use axum::extract::State;

use crate::api::administrator::Administrator as AdministratorBody;
use crate::domain::administrator::Administrator;
use crate::issuer::Issuer;

use super::caller::{Owner, Viewer};
use super::openapi::Problems;
use super::page::List;
use super::path::Named;
use super::problem::Problem;

impl From<Administrator> for AdministratorBody {
    fn from(administrator: Administrator) -> Self {
        Self {
            id: administrator.id.to_string(),
            name: administrator.name.to_string(),
            role: administrator.role.as_str().to_owned(),
            expires_at: administrator.expires_at.map(|at| at.0),
            revoked_at: administrator.revoked_at.map(|at| at.0),
            created_at: administrator.created_at.0,
        }
    }
}

/// Lists administrators, revoked ones included.
#[utoipa::path(get, path = "/administrators", tag = "administrators", security(("administrator_token" = [])),
    responses((status = 200, body = List<AdministratorBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
) -> Result<axum::Json<List<AdministratorBody>>, Problem> {
    let all = issuer.administrators().await?;
    Ok(axum::Json(List::whole(
        all.into_iter().map(AdministratorBody::from).collect(),
    )))
}

/// Revokes an administrator's token for good; the last owner's stays.
#[utoipa::path(post, path = "/administrators/{name}/revoke", tag = "administrators", params(("name" = String, Path)),
    security(("administrator_token" = [])), responses((status = 200, body = AdministratorBody), Problems))]
pub(super) async fn revoke(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<axum::Json<AdministratorBody>, Problem> {
    Ok(axum::Json(
        issuer.revoke_administrator(&caller, &name).await?.into(),
    ))
}
