//! `/key-consumers`: parties that hold copies of the signing keys.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::key_consumer::{
    KeyAcknowledgement as AcknowledgementBody, KeyConsumer as KeyConsumerBody,
    NewKeyConsumer as NewKeyConsumerBody,
};
use crate::issuer::Issuer;
use crate::issuer::key_consumers::KeyConsumerView;

use super::caller::{Operator, Owner, Viewer};
use super::etag::Created;
use super::json::{Json, OptionalJson};
use super::openapi::Problems;
use super::page::List;
use super::path::Named;
use super::problem::Problem;

impl From<KeyConsumerView> for KeyConsumerBody {
    fn from(view: KeyConsumerView) -> Self {
        Self {
            name: view.consumer.name.to_string(),
            description: view.consumer.description,
            created_at: view.consumer.created_at.0,
            acknowledged: view.acknowledged,
            missing: view.missing,
            revoked: view.revoked,
        }
    }
}

/// Lists key consumers by name.
#[utoipa::path(get, path = "/key-consumers", tag = "key-consumers", security(("administrator_token" = [])),
    responses((status = 200, body = List<KeyConsumerBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
) -> Result<axum::Json<List<KeyConsumerBody>>, Problem> {
    let all = issuer.key_consumers().await?;
    Ok(axum::Json(List::whole(
        all.into_iter().map(KeyConsumerBody::from).collect(),
    )))
}

/// Registers a key consumer. From then on a new key signs only after the consumer has acknowledged it.
#[utoipa::path(post, path = "/key-consumers", tag = "key-consumers", request_body = NewKeyConsumerBody, security(("administrator_token" = [])),
    responses((status = 201, body = KeyConsumerBody), Problems))]
pub(super) async fn add(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewKeyConsumerBody>,
) -> Result<Created<KeyConsumerBody>, Problem> {
    let description = body.description.unwrap_or_default();
    let view = issuer
        .add_key_consumer(&caller, &body.name, &description)
        .await?;
    Ok(Created {
        version: None,
        location: format!("/key-consumers/{}", view.consumer.name),
        body: view.into(),
    })
}

/// Records that a key consumer has keys.
#[utoipa::path(post, path = "/key-consumers/{name}/ack", tag = "key-consumers", params(("name" = String, Path)),
    request_body = Option<AcknowledgementBody>, security(("administrator_token" = [])),
    responses((status = 200, body = KeyConsumerBody), Problems))]
pub(super) async fn acknowledge(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    OptionalJson(body): OptionalJson<AcknowledgementBody>,
) -> Result<axum::Json<KeyConsumerBody>, Problem> {
    let view = issuer.acknowledge_keys(&caller, &name, body.kids).await?;
    Ok(axum::Json(view.into()))
}

/// Removes a key consumer: new keys no longer wait for it.
#[utoipa::path(delete, path = "/key-consumers/{name}", tag = "key-consumers", params(("name" = String, Path)),
    security(("administrator_token" = [])), responses((status = 204), Problems))]
pub(super) async fn remove(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<StatusCode, Problem> {
    issuer.remove_key_consumer(&caller, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
