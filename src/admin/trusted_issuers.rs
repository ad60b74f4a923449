//! `/trusted-issuers`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::trusted_issuer::{NewTrustedIssuer, TrustedIssuer, TrustedIssuerEdit};
use crate::issuer::Issuer;

use super::caller::{Owner, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::groups::RemovalParams;
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, PageParams, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

fn tagged(trusted: TrustedIssuer) -> Tagged<TrustedIssuer> {
    Tagged {
        version: trusted.version,
        body: trusted,
    }
}

/// Lists trusted issuers by name.
#[utoipa::path(get, path = "/trusted-issuers", tag = "trusted-issuers", params(PageParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<TrustedIssuer>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<PageParams>,
) -> Result<axum::Json<List<TrustedIssuer>>, Problem> {
    let after = after_name("trusted-issuers", params.cursor.as_deref())?;
    let page = issuer
        .trusted_issuers(after.as_deref(), limit(params.limit)?)
        .await?;
    Ok(axum::Json(List::page("trusted-issuers", page, |trusted| {
        trusted.name.clone()
    })))
}

/// Trusts an issuer, for the stated purposes only.
#[utoipa::path(post, path = "/trusted-issuers", tag = "trusted-issuers", request_body = NewTrustedIssuer, security(("administrator_token" = [])),
    responses((status = 201, body = TrustedIssuer), Problems))]
pub(super) async fn add(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewTrustedIssuer>,
) -> Result<Created<TrustedIssuer>, Problem> {
    let trusted = issuer.add_trusted_issuer(&caller, body).await?;
    Ok(Created {
        version: Some(trusted.version),
        location: format!("/trusted-issuers/{}", trusted.name),
        body: trusted,
    })
}

/// Shows a trusted issuer.
#[utoipa::path(get, path = "/trusted-issuers/{name}", tag = "trusted-issuers", params(("name" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = TrustedIssuer), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<TrustedIssuer>, Problem> {
    Ok(tagged(issuer.trusted_issuer(&name).await?))
}

/// Changes the settings of a trusted issuer, except its name and URL.
#[utoipa::path(patch, path = "/trusted-issuers/{name}", tag = "trusted-issuers", params(("name" = String, Path), IfMatchHeader), request_body = TrustedIssuerEdit,
    security(("administrator_token" = [])), responses((status = 200, body = TrustedIssuer), Problems))]
pub(super) async fn edit(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<TrustedIssuerEdit>,
) -> Result<Tagged<TrustedIssuer>, Problem> {
    Ok(tagged(
        issuer
            .edit_trusted_issuer(&caller, &name, body, expected)
            .await?,
    ))
}

/// Stops trusting an issuer.
#[utoipa::path(delete, path = "/trusted-issuers/{name}", tag = "trusted-issuers", params(("name" = String, Path), RemovalParams, IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 204), Problems))]
pub(super) async fn remove(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Params(params): Params<RemovalParams>,
) -> Result<StatusCode, Problem> {
    issuer
        .remove_trusted_issuer(&caller, &name, params.removal(expected))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
