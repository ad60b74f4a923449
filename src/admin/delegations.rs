//! `/delegations`: which agents may act for whom.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::delegation::{
    AddedDelegation as AddedBody, Delegation as DelegationBody, DelegationEdit as EditBody,
    EndedDelegation as EndedBody, NewDelegation as NewDelegationBody,
};
use crate::domain::delegation::{Delegation, DelegationStatus};
use crate::issuer::Issuer;
use crate::issuer::delegations::{
    AddedDelegation, DelegationEnd, DelegationQuery, DelegationView, EndedDelegation, NewDelegation,
};
use crate::ports::time::UnixTime;

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, Params, after_id, limit};
use super::path::Named;
use super::problem::Problem;
use crate::api::role::GrantedScopes as ScopesBody;

impl DelegationBody {
    pub(super) fn of(view: DelegationView, now: UnixTime) -> Self {
        let DelegationView { delegation, names } = view;
        let (status, since) = status(&delegation, now);
        Self {
            id: delegation.id.to_string(),
            actor: names.actor.to_string(),
            subject: delegation.subject.text(),
            trusted_issuer: names.trusted_issuer.map(|name| name.to_string()),
            subject_claims: delegation.subject.claims,
            resource: names.resource.to_string(),
            identifier: names.identifier.as_str().to_owned(),
            scopes: delegation.scopes.into(),
            max_depth: delegation.max_depth,
            status: status.to_owned(),
            status_since: since.map(|at| at.0),
            expires_at: delegation.expires_at.0,
            created_at: delegation.created_at.0,
            updated_at: delegation.updated_at.0,
            version: delegation.version,
        }
    }
}

fn status(delegation: &Delegation, now: UnixTime) -> (&'static str, Option<UnixTime>) {
    match delegation.status {
        DelegationStatus::Active | DelegationStatus::Suspended { .. }
            if delegation.is_over(now) =>
        {
            ("expired", Some(delegation.expires_at))
        }
        status @ (DelegationStatus::Active
        | DelegationStatus::Suspended { .. }
        | DelegationStatus::Revoked { .. }) => (status.as_str(), status.since()),
    }
}

fn tagged(view: DelegationView, issuer: &Issuer) -> Tagged<DelegationBody> {
    Tagged {
        version: view.delegation.version,
        body: DelegationBody::of(view, issuer.ports().clock.now()),
    }
}

fn ended(ended: EndedDelegation, issuer: &Issuer) -> Tagged<EndedBody> {
    let EndedDelegation {
        view,
        tokens_ended_until,
    } = ended;
    let Tagged { version, body } = tagged(view, issuer);
    Tagged {
        version,
        body: EndedBody {
            delegation: body,
            tokens_ended_until: tokens_ended_until.map(|until| until.0),
        },
    }
}

fn end(expires_at: Option<i64>, expires_in: Option<i64>) -> Result<DelegationEnd, Problem> {
    match (expires_at, expires_in) {
        (Some(at), None) => Ok(DelegationEnd::At(UnixTime(at))),
        (None, Some(seconds)) => Ok(DelegationEnd::In(seconds)),
        (None, None) => Err(Problem::invalid(
            "expires_at",
            "`expires_at` (a time) or `expires_in` (seconds) is required",
        )),
        (Some(_), Some(_)) => Err(Problem::invalid(
            "expires_in",
            "cannot be combined with `expires_at`",
        )),
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
    responses((status = 200, body = List<DelegationBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<ListParams>,
) -> Result<axum::Json<List<DelegationBody>>, Problem> {
    let after = after_id("delegations", params.cursor.as_deref())?;
    let query = DelegationQuery {
        actor: params.actor,
        subject: params.subject,
    };
    let page = issuer
        .delegations(&query, after.as_deref(), limit(params.limit)?)
        .await?;
    let now = issuer.ports().clock.now();
    Ok(axum::Json(List::of(
        "delegations",
        page,
        |view| view.delegation.id.to_string(),
        |view| DelegationBody::of(view, now),
    )))
}

/// Permits an agent to act for others.
#[utoipa::path(post, path = "/delegations", tag = "delegations", request_body = NewDelegationBody, security(("administrator_token" = [])),
    responses((status = 201, body = AddedBody), Problems))]
pub(super) async fn add(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewDelegationBody>,
) -> Result<Created<AddedBody>, Problem> {
    let new = NewDelegation {
        actor: body.actor,
        subject: body.subject,
        trusted_issuer: body.trusted_issuer,
        subject_claims: body.subject_claims.unwrap_or_default(),
        resource: body.resource,
        scopes: ScopesBody::names(body.scopes),
        max_depth: body.max_depth,
        end: end(body.expires_at, body.expires_in)?,
    };
    let AddedDelegation { view, warnings } = issuer.add_delegation(&caller, new).await?;
    let Tagged { version, body } = tagged(view, &issuer);
    Ok(Created {
        version: Some(version),
        location: format!("/delegations/{}", body.id),
        body: AddedBody {
            delegation: body,
            warnings,
        },
    })
}

/// Shows a delegation, also a revoked one.
#[utoipa::path(get, path = "/delegations/{id}", tag = "delegations", params(("id" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = DelegationBody), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
) -> Result<Tagged<DelegationBody>, Problem> {
    Ok(tagged(issuer.delegation(&id).await?, &issuer))
}

/// Moves the end of a delegation. For any other change, make a new one.
#[utoipa::path(patch, path = "/delegations/{id}", tag = "delegations", params(("id" = String, Path), IfMatchHeader), request_body = EditBody,
    security(("administrator_token" = [])), responses((status = 200, body = DelegationBody), Problems))]
pub(super) async fn edit(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<EditBody>,
) -> Result<Tagged<DelegationBody>, Problem> {
    let end = end(body.expires_at, body.expires_in)?;
    let view = issuer.edit_delegation(&caller, &id, end, expected).await?;
    Ok(tagged(view, &issuer))
}

/// Suspends a delegation: the tokens issued under it and those derived from them end.
#[utoipa::path(post, path = "/delegations/{id}/suspend", tag = "delegations", params(("id" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 200, body = EndedBody), Problems))]
pub(super) async fn suspend(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<Tagged<EndedBody>, Problem> {
    let suspended = issuer.suspend_delegation(&caller, &id, expected).await?;
    Ok(ended(suspended, &issuer))
}

/// Resumes a delegation. Tokens that ended stay ended.
#[utoipa::path(post, path = "/delegations/{id}/resume", tag = "delegations", params(("id" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 200, body = DelegationBody), Problems))]
pub(super) async fn resume(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<Tagged<DelegationBody>, Problem> {
    let view = issuer.resume_delegation(&caller, &id, expected).await?;
    Ok(tagged(view, &issuer))
}

/// Revokes a delegation permanently: the tokens issued under it and those derived from them end.
#[utoipa::path(post, path = "/delegations/{id}/revoke", tag = "delegations", params(("id" = String, Path), IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 200, body = EndedBody), Problems))]
pub(super) async fn revoke(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
    IfMatch(expected): IfMatch,
) -> Result<Tagged<EndedBody>, Problem> {
    let revoked = issuer.revoke_delegation(&caller, &id, expected).await?;
    Ok(ended(revoked, &issuer))
}
