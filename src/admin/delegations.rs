//! `/delegations`: which agents may act for whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::domain::delegation::{Delegation, DelegationStatus};
use crate::issuer::Issuer;
use crate::issuer::delegations::{
    AddedDelegation, DelegationEnd, DelegationQuery, DelegationView, EndedDelegation, NewDelegation,
};
use crate::ports::time::UnixTime;

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::json::{Json, present};
use super::openapi::Problems;
use super::page::{List, Params, after_id, limit};
use super::path::Named;
use super::problem::Problem;
use super::roles::ScopesBody;

/// The permission of an agent to act for others.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delegation)]
pub(super) struct DelegationBody {
    id: String,
    /// Name of the agent that may act.
    actor: String,
    /// For whom: a subject, or with `*` at its end the beginning of subjects.
    subject: String,
    /// Name of the trusted issuer whose tokens alone count; `null`: any token that may be a subject token.
    trusted_issuer: Option<String>,
    /// Claims that a token of the trusted issuer must have.
    subject_claims: BTreeMap<String, String>,
    /// The resource's name.
    resource: String,
    /// The resource's identifier, which becomes `aud`.
    identifier: String,
    scopes: ScopesBody,
    /// Most actors in the chain of a token, 1 to 4.
    max_depth: usize,
    /// `active`, `suspended`, `revoked` or `expired`.
    status: String,
    /// Since when it is suspended, revoked or expired.
    status_since: Option<i64>,
    /// When it ends by itself.
    expires_at: i64,
    created_at: i64,
    updated_at: i64,
    version: i64,
}

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

/// A delegation to be made. It ends at `expires_at` or after `expires_in`: one of them must be there.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewDelegation)]
pub(super) struct NewDelegationBody {
    /// Name of the agent that may act.
    actor: String,
    /// For whom: a subject such as `agent:mailer` or `user:ISSUER:SUB`, or with `*` at its end the
    /// beginning of subjects.
    #[schema(min_length = 1, max_length = 256)]
    subject: String,
    /// Name of the trusted issuer whose tokens alone count.
    trusted_issuer: Option<String>,
    /// Top-level claims that a token of the trusted issuer must have, with these texts.
    subject_claims: Option<BTreeMap<String, String>>,
    /// Name or identifier of the resource.
    resource: String,
    /// Left out: all scopes, now and later.
    scopes: Option<ScopesBody>,
    /// Most actors in the chain of a token; 1 unless said: the agent acts directly, and for nobody who
    /// acts for somebody else.
    #[schema(minimum = 1, maximum = 4)]
    max_depth: Option<i64>,
    /// When it ends, at most 400 days from now.
    expires_at: Option<i64>,
    /// Seconds until it ends.
    #[schema(minimum = 1, maximum = 34_560_000)]
    expires_in: Option<i64>,
}

/// A delegation that was made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AddedDelegation)]
pub(super) struct AddedBody {
    #[serde(flatten)]
    delegation: DelegationBody,
    /// Why it is of no use as things are, a sentence each.
    warnings: Vec<String>,
}

/// A delegation that was suspended or revoked.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EndedDelegation)]
pub(super) struct EndedBody {
    #[serde(flatten)]
    delegation: DelegationBody,
    /// Tokens made under it up to this second ended with it, and all that was made from them; absent when it was
    /// over before.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tokens_ended_until: Option<i64>,
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

/// An edit of a delegation: when it ends. One of the two must be there.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = DelegationEdit)]
pub(super) struct EditBody {
    /// When it ends, at most 400 days from now.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    expires_at: Option<i64>,
    /// Seconds until it ends.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, minimum = 1, maximum = 34_560_000)]
    expires_in: Option<i64>,
}

fn end(expires_at: Option<i64>, expires_in: Option<i64>) -> Result<DelegationEnd, Problem> {
    match (expires_at, expires_in) {
        (Some(at), None) => Ok(DelegationEnd::At(UnixTime(at))),
        (None, Some(seconds)) => Ok(DelegationEnd::In(seconds)),
        (None, None) => Err(Problem::invalid(
            "expires_at",
            "is missing: a delegation ends at a time (expires_at) or after so many seconds (expires_in)",
        )),
        (Some(_), Some(_)) => Err(Problem::invalid(
            "expires_in",
            "is given beside expires_at; one of them says when it ends",
        )),
    }
}

/// Which delegations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Items of a page, 1 to 200; 50 unless said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Name of the agent that may act.
    actor: Option<String>,
    /// A subject that they take, by itself or by its beginning; with `*` at its end, those that take any
    /// of the subjects that begin so.
    subject: Option<String>,
}

/// Lists delegations, the oldest first; revoked and expired ones too.
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

/// Shows a delegation, a revoked one too.
#[utoipa::path(get, path = "/delegations/{id}", tag = "delegations", params(("id" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = DelegationBody), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
) -> Result<Tagged<DelegationBody>, Problem> {
    Ok(tagged(issuer.delegation(&id).await?, &issuer))
}

/// Moves the end of a delegation; for anything else make a new one.
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

/// Switches a delegation off: the tokens made under it end, and those made from them.
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

/// Switches a delegation on again; tokens that ended stay so.
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

/// Ends a delegation for good: the tokens made under it end, and those made from them.
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
