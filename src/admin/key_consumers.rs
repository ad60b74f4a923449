//! `/key-consumers`: parties that hold copies of the signing keys.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::key_consumer::{KeyAcknowledgement, KeyConsumer, NewKeyConsumer};
use crate::issuer::Issuer;

use super::caller::{Operator, Owner, Viewer};
use super::etag::Created;
use super::json::{Json, OptionalJson};
use super::openapi::Problems;
use super::page::List;
use super::path::Named;
use super::problem::Problem;

/// Lists key consumers by name.
#[utoipa::path(get, path = "/key-consumers", tag = "key-consumers", security(("administrator_token" = [])),
    responses((status = 200, body = List<KeyConsumer>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
) -> Result<axum::Json<List<KeyConsumer>>, Problem> {
    Ok(axum::Json(List::whole(issuer.key_consumers().await?)))
}

/// Registers a key consumer. From then on a new key signs only after the consumer has acknowledged it.
#[utoipa::path(post, path = "/key-consumers", tag = "key-consumers", request_body = NewKeyConsumer, security(("administrator_token" = [])),
    responses((status = 201, body = KeyConsumer), Problems))]
pub(super) async fn add(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewKeyConsumer>,
) -> Result<Created<KeyConsumer>, Problem> {
    let consumer = issuer.add_key_consumer(&caller, body).await?;
    Ok(Created {
        version: None,
        location: format!("/key-consumers/{}", consumer.name),
        body: consumer,
    })
}

/// Records that a key consumer has keys.
#[utoipa::path(post, path = "/key-consumers/{name}/ack", tag = "key-consumers", params(("name" = String, Path)),
    request_body = Option<KeyAcknowledgement>, security(("administrator_token" = [])),
    responses((status = 200, body = KeyConsumer), Problems))]
pub(super) async fn acknowledge(
    Operator(caller): Operator,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    OptionalJson(body): OptionalJson<KeyAcknowledgement>,
) -> Result<axum::Json<KeyConsumer>, Problem> {
    Ok(axum::Json(
        issuer.acknowledge_keys(&caller, &name, body).await?,
    ))
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
