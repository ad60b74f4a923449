//! `/delegations`: which agents may act for whom.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::delegation::{
    AddedDelegation, Delegation, DelegationEdit, EndedDelegation, NewDelegation,
};
use crate::issuer::Issuer;
use crate::issuer::delegations::DelegationQuery;

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, Params, after_id, limit};
use super::path::Named;
use super::problem::Problem;

fn tagged(delegation: Delegation) -> Tagged<Delegation> {
    Tagged {
        version: delegation.version,
        body: delegation,
    }
}

fn ended(ended: EndedDelegation) -> Tagged<EndedDelegation> {
    Tagged {
        version: ended.delegation.version,
        body: ended,
    }
}

/// Which delegations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Items of a page, 1 to 200; 50 by default.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
    /// Name of the actor.
    actor: Option<String>,
    /// A subject that they accept, exactly or by a prefix. With `*` at its end: those that accept any of the
    /// subjects with that prefix.
    subject: Option<String>,
}

/// Lists delegations, the oldest first, also revoked and expired ones.
#[utoipa::path(get, path = "/delegations", tag = "delegations", params(ListParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<Delegation>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<ListParams>,
) -> Result<axum::Json<List<Delegation>>, Problem> {
    let after = after_id("delegations", params.cursor.as_deref())?;
    let query = DelegationQuery {
        actor: params.actor,
        subject: params.subject,
    };
    let page = issuer
        .delegations(&query, after.as_deref(), limit(params.limit)?)
        .await?;
    Ok(axum::Json(List::page("delegations", page, |delegation| {
        delegation.id.clone()
    })))
}

/// Permits an agent to act for others.
#[utoipa::path(post, path = "/delegations", tag = "delegations", request_body = NewDelegation, security(("administrator_token" = [])),
    responses((status = 201, body = AddedDelegation), Problems))]
pub(super) async fn add(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewDelegation>,
) -> Result<Created<AddedDelegation>, Problem> {
    let added = issuer.add_delegation(&caller, body).await?;
    Ok(Created {
        version: Some(added.delegation.version),
        location: format!("/delegations/{}", added.delegation.id),
        body: added,
    })
}

/// Shows a delegation, also a revoked one.
#[utoipa::path(get, path = "/delegations/{id}", tag = "delegations", params(("id" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = Delegation), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
) -> Result<Tagged<Delegation>, Problem> {
    Ok(tagged(issuer.delegation(&id).await?))
}

/// Moves the end of a delegation. For any other change, make a new one.
#[utoipa::path(patch, path = "/delegations/{id}", tag = "delegations", params(("id" = String, Path), IfMatchHeader), request_body = DelegationEdit,
    security(("administrator_token" = [])), responses((status = 200, body = Delegation), Problems))]
pub(super) async fn edit(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<DelegationEdit>,
) -> Result<Tagged<Delegation>, Problem> {
    Ok(tagged(
        issuer.edit_delegation(&caller, &id, body, expected).await?,
    ))
}

/// Suspends a delegation: the tokens issued under it and those derived from them end.
#[utoipa::path(post, path = "/delegations/{id}/suspend", tag = "delegations", params(("id" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 200, body = EndedDelegation), Problems))]
pub(super) async fn suspend(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<Tagged<EndedDelegation>, Problem> {
    Ok(ended(
        issuer.suspend_delegation(&caller, &id, expected).await?,
    ))
}

/// Resumes a delegation. Tokens that ended stay ended.
#[utoipa::path(post, path = "/delegations/{id}/resume", tag = "delegations", params(("id" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 200, body = Delegation), Problems))]
pub(super) async fn resume(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<Tagged<Delegation>, Problem> {
    Ok(tagged(
        issuer.resume_delegation(&caller, &id, expected).await?,
    ))
}

/// Revokes a delegation permanently: the tokens issued under it and those derived from them end.
#[utoipa::path(post, path = "/delegations/{id}/revoke", tag = "delegations", params(("id" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 200, body = EndedDelegation), Problems))]
pub(super) async fn revoke(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<Tagged<EndedDelegation>, Problem> {
    Ok(ended(
        issuer.revoke_delegation(&caller, &id, expected).await?,
    ))
}
