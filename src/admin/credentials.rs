//! `/agents/{name}/credentials`.

use std::sync::Arc;

use axum::extract::State;
use secrecy::ExposeSecret;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::api::credential::{
    AddedCredential as AddedCredentialBody, AgentCredential as AgentCredentialBody,
    Credential as CredentialBody, CredentialRotation as RotationBody, DAMAGED,
    NewCredential as NewCredentialBody,
};
use crate::domain::credential::{Credential, CredentialKind};
use crate::issuer::Issuer;
use crate::issuer::credentials::{
    AddedCredential, DEFAULT_OVERLAP_SECONDS, Rotation, UnverifiedKey,
};
use crate::ports::time::UnixTime;
use crate::store::ListedCredential;

use super::caller::{Operator, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader};
use super::json::{Json, OptionalJson};
use super::openapi::Problems;
use super::page::{List, Params, after_id, limit};
use super::path::Named;
use super::problem::Problem;

impl CredentialBody {
    fn listed(listed: ListedCredential, issuer: &Issuer) -> Self {
        match listed.credential {
            Ok(credential) => Self::of(&credential, issuer),
            Err(_) => Self {
                id: listed.id.to_string(),
                kind: listed.kind,
                kid: None,
                jwk: None,
                thumbprint: None,
                trusted_issuer: None,
                matching: None,
                not_before: listed.not_before.0,
                expires_at: listed.expires_at.map(|at| at.0),
                revoked_at: None,
                status: DAMAGED.to_owned(),
                created_at: listed.created_at.0,
            },
        }
    }

    pub(super) fn of(credential: &Credential, issuer: &Issuer) -> Self {
        let now = issuer.ports().clock.now();
        let (trusted_issuer, matching) = match &credential.kind {
            CredentialKind::ClientSecret { .. } | CredentialKind::PublicKey { .. } => (None, None),
            CredentialKind::Federated {
                trusted_issuer,
                matching,
            } => {
                let policy = issuer.policy();
                let trusted = policy.trusted_issuers.get(trusted_issuer);
                (
                    trusted.map(|trusted| trusted.name.to_string()),
                    Some((**matching).clone().into()),
                )
            }
        };
        let (kid, jwk, thumbprint) = match &credential.kind {
            CredentialKind::ClientSecret { .. } | CredentialKind::Federated { .. } => {
                (None, None, None)
            }
            CredentialKind::PublicKey { jwk } => {
                let kid = jwk.kid().unwrap_or(jwk.thumbprint());
                (
                    Some(kid.to_owned()),
                    Some(jwk.to_value()),
                    Some(jwk.thumbprint().to_owned()),
                )
            }
        };
        Self {
            id: credential.id.to_string(),
            kind: credential.kind.as_str().to_owned(),
            kid,
            jwk,
            thumbprint,
            trusted_issuer,
            matching,
            not_before: credential.not_before.0,
            expires_at: credential.expires_at.map(|at| at.0),
            revoked_at: credential.revoked_at.map(|at| at.0),
            status: status(credential, now).to_owned(),
            created_at: credential.created_at.0,
        }
    }
}

fn status(credential: &Credential, now: UnixTime) -> &'static str {
    if credential.revoked_at.is_some() {
        "revoked"
    } else if credential.is_over(now) {
        "expired"
    } else if credential.is_live(now) {
        "live"
    } else {
        "pending"
    }
}

fn created(added: AddedCredential, issuer: &Issuer) -> Created<AddedCredentialBody> {
    let AddedCredential {
        credential,
        replaced,
        client_id,
        secret,
    } = added;
    Created {
        version: None,
        location: format!("/agents/{client_id}/credentials"),
        body: AddedCredentialBody {
            credential: CredentialBody::of(&credential, issuer),
            replaced: replaced.map(|old| CredentialBody::of(&old, issuer)),
            client_id,
            client_secret: secret.map(|secret| secret.expose_secret().to_owned()),
        },
    }
}

/// Lists an agent's credentials, the newest last.
#[utoipa::path(get, path = "/agents/{name}/credentials", tag = "credentials", params(("name" = String, Path)),
    security(("administrator_token" = [])), responses((status = 200, body = List<CredentialBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<axum::Json<List<CredentialBody>>, Problem> {
    let credentials = issuer.credentials(&name).await?;
    Ok(axum::Json(List::whole(
        credentials
            .iter()
            .map(|credential| CredentialBody::of(credential, &issuer))
            .collect(),
    )))
}

/// The parameters of the list over all agents.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct AllParams {
    /// Only credentials that expire within so many seconds.
    #[param(minimum = 0, maximum = 315_360_000)]
    expires_within: Option<i64>,
    /// Items of a page, 1 to 200; 50 by default.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<i64>,
    /// `next_cursor` of the previous page.
    cursor: Option<String>,
}

/// The name of the list over all agents, in its cursors.
const ALL: &str = "credentials";

/// Lists the live credentials of all agents, the oldest first.
#[utoipa::path(get, path = "/credentials", tag = "credentials", params(AllParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<AgentCredentialBody>), Problems))]
pub(super) async fn all(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<AllParams>,
) -> Result<axum::Json<List<AgentCredentialBody>>, Problem> {
    let after = after_id(ALL, params.cursor.as_deref())?;
    let limit = limit(params.limit)?;
    let page = issuer
        .live_credentials(params.expires_within, after.as_deref(), limit)
        .await?;
    Ok(axum::Json(List::of(
        ALL,
        page,
        |listed| listed.id.to_string(),
        |listed| AgentCredentialBody {
            agent: listed.agent.clone(),
            credential: CredentialBody::listed(listed, &issuer),
        },
    )))
}

/// Adds a credential to an agent.
#[utoipa::path(post, path = "/agents/{name}/credentials", tag = "credentials", params(("name" = String, Path), IfMatchHeader), request_body = NewCredentialBody,
    security(("administrator_token" = [])), responses((status = 201, body = AddedCredentialBody, description = "The secret is shown this once."), Problems))]
pub(super) async fn add(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<NewCredentialBody>,
) -> Result<Created<AddedCredentialBody>, Problem> {
    let added = issuer
        .add_credential(&caller, &name, body, expected)
        .await?;
    Ok(created(added, &issuer))
}

/// Replaces a credential by a new one of its kind. The old one stays valid for the overlap.
#[utoipa::path(post, path = "/agents/{name}/credentials/{id}/rotate", tag = "credentials",
    params(("name" = String, Path), ("id" = String, Path), IfMatchHeader), request_body = Option<RotationBody>, security(("administrator_token" = [])),
    responses((status = 201, body = AddedCredentialBody, description = "The secret is shown this once."), Problems))]
pub(super) async fn rotate(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named((name, id)): Named<(String, String)>,
    IfMatch(expected): IfMatch,
    OptionalJson(body): OptionalJson<RotationBody>,
) -> Result<Created<AddedCredentialBody>, Problem> {
    let rotation = Rotation {
        credential: id,
        overlap: body.overlap.unwrap_or(DEFAULT_OVERLAP_SECONDS),
        key: UnverifiedKey::parse(body.jwk, body.pem, body.kid)?,
        expires_in: body.expires_in,
    };
    let added = issuer
        .rotate_credential(&caller, &name, rotation, expected)
        .await?;
    Ok(created(added, &issuer))
}

/// Revokes a credential.
#[utoipa::path(post, path = "/agents/{name}/credentials/{id}/revoke", tag = "credentials",
    params(("name" = String, Path), ("id" = String, Path), IfMatchHeader), security(("administrator_token" = [])),
    responses((status = 200, body = CredentialBody), Problems))]
pub(super) async fn revoke(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named((name, id)): Named<(String, String)>,
    IfMatch(expected): IfMatch,
) -> Result<axum::Json<CredentialBody>, Problem> {
    let credential = issuer
        .revoke_credential(&caller, &name, &id, expected)
        .await?;
    Ok(axum::Json(CredentialBody::of(&credential, &issuer)))
}
