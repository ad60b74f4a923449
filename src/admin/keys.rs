//! `/keys`: the signing keys, never their private halves.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::key::{
    Key as KeyBody, KeyActivation as ActivationBody, KeyRevocation as RevocationBody,
    KeyRotation as RotationBody, RevokedKey as RevokedBody,
};
use crate::domain::name::Name;
use crate::domain::signing_key::KeyState;
use crate::issuer::Issuer;
use crate::issuer::keys::KeyView;
use crate::jose::algorithm::SigningAlgorithm;

use super::caller::{Owner, Viewer};
use super::json::{Json, OptionalJson};
use super::openapi::Problems;
use super::page::List;
use super::path::Named;
use super::problem::Problem;

impl From<KeyView> for KeyBody {
    fn from(view: KeyView) -> Self {
        let record = view.record;
        let (since, until) = match record.state {
            KeyState::Prepared => (None, None),
            KeyState::Active { since } => (Some(since.0), None),
            KeyState::Retiring { until } => (None, Some(until.0)),
            KeyState::Retired { at } | KeyState::Revoked { at } => (Some(at.0), None),
        };
        Self {
            kid: record.kid,
            algorithm: record.algorithm.as_str().to_owned(),
            state: record.state.as_str().to_owned(),
            since,
            until,
            created_at: record.created_at.0,
            activates_at: view.activates_at.map(|at| at.0),
            waiting_for: view.activates_at.map(|_| names(&view.waiting_for)),
        }
    }
}

pub(super) fn names(names: &[Name]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// Lists all signing keys, the newest last.
#[utoipa::path(get, path = "/keys", tag = "keys", security(("administrator_token" = [])),
    responses((status = 200, body = List<KeyBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
) -> Result<axum::Json<List<KeyBody>>, Problem> {
    let keys = issuer.keys().await?;
    Ok(axum::Json(List::whole(
        keys.into_iter().map(KeyBody::from).collect(),
    )))
}

/// Prepares new keys: published at once, signing later.
#[utoipa::path(post, path = "/keys/rotate", tag = "keys", request_body = Option<RotationBody>, security(("administrator_token" = [])),
    responses((status = 201, body = List<KeyBody>), Problems))]
pub(super) async fn rotate(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    OptionalJson(body): OptionalJson<RotationBody>,
) -> Result<(StatusCode, axum::Json<List<KeyBody>>), Problem> {
    let algorithm = body
        .algorithm
        .map(|text| {
            SigningAlgorithm::parse(&text)
                .ok_or_else(|| Problem::invalid("algorithm", "must be `ES256` or `RS256`"))
        })
        .transpose()?;
    let keys = issuer.rotate_keys(&caller, algorithm).await?;
    Ok((
        StatusCode::CREATED,
        axum::Json(List::whole(keys.into_iter().map(KeyBody::from).collect())),
    ))
}

/// Revokes a key at once; its replacement signs at once. Tokens that it signed no longer verify.
#[utoipa::path(post, path = "/keys/{kid}/revoke", tag = "keys", params(("kid" = String, Path)), request_body = RevocationBody,
    security(("administrator_token" = [])), responses((status = 200, body = RevokedBody), Problems))]
pub(super) async fn revoke(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Named(kid): Named<String>,
    Json(body): Json<RevocationBody>,
) -> Result<axum::Json<RevokedBody>, Problem> {
    let revocation = issuer.revoke_key(&caller, &kid, &body.reason).await?;
    Ok(axum::Json(RevokedBody {
        revoked: revocation.revoked.into(),
        active: revocation.active.into(),
        stale_consumers: names(&revocation.stale_consumers),
    }))
}

/// Activates a prepared key, once it has been published long enough. A key activates without this call when
/// every key consumer has acknowledged it; `override_consumers` does not wait for them.
#[utoipa::path(post, path = "/keys/{kid}/activate", tag = "keys", params(("kid" = String, Path)), request_body = Option<ActivationBody>,
    security(("administrator_token" = [])), responses((status = 200, body = KeyBody), Problems))]
pub(super) async fn activate(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Named(kid): Named<String>,
    OptionalJson(body): OptionalJson<ActivationBody>,
) -> Result<axum::Json<KeyBody>, Problem> {
    let override_consumers = body.override_consumers.unwrap_or(false);
    let active = issuer
        .activate_key(&caller, &kid, override_consumers)
        .await?;
    Ok(axum::Json(active.into()))
}
