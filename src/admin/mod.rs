//! The private JSON API, `/admin/v1`: parse, call the issuer, answer. It decides only who may call what. Errors
//! are RFC 9457 problems; every handler names the required role by its first argument.

mod administrators;
mod agents;
mod audit;
mod caller;
mod claude_links;
mod credentials;
mod delegations;
mod etag;
mod groups;
mod issuer;
mod json;
mod key_consumers;
mod keys;
mod openapi;
mod page;
mod path;
mod problem;
mod readiness;
mod resources;
mod revocations;
mod roles;
mod trace;
mod trusted_issuers;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::issuer::Issuer;

/// The API's path on the private listener.
pub const BASE: &str = "/admin/v1";

/// The routes of the private listener's API, with problems for what is not routed. The layers above
/// give each request its [`crate::ports::request::RequestId`] and [`crate::ports::request::PeerAddr`].
pub fn router(issuer: Arc<Issuer>) -> Router {
    let (routes, document) = OpenApiRouter::with_openapi(openapi::head())
        .nest(BASE, table())
        .split_for_parts();
    let document = openapi::Document::new(document);
    routes
        .route(openapi::PATH, get(move || document.serve()))
        .route("/readyz", get(readiness::readyz))
        .fallback(problem::not_routed)
        .with_state(issuer)
        .layer(middleware::from_fn(problem::finish))
}

/// The table of contents.
fn table() -> OpenApiRouter<Arc<Issuer>> {
    OpenApiRouter::new()
        .routes(routes!(agents::list, agents::create))
        .routes(routes!(agents::show, agents::edit, agents::remove))
        .routes(routes!(agents::suspend))
        .routes(routes!(agents::resume))
        .routes(routes!(agents::explain))
        .routes(routes!(
            claude_links::show,
            claude_links::put,
            claude_links::remove
        ))
        .routes(routes!(claude_links::list))
        .routes(routes!(credentials::all))
        .routes(routes!(credentials::list, credentials::add))
        .routes(routes!(credentials::rotate))
        .routes(routes!(credentials::revoke))
        .routes(routes!(delegations::list, delegations::add))
        .routes(routes!(delegations::show, delegations::edit))
        .routes(routes!(delegations::suspend))
        .routes(routes!(delegations::resume))
        .routes(routes!(delegations::revoke))
        .routes(routes!(groups::list, groups::create))
        .routes(routes!(groups::show, groups::edit, groups::remove))
        .routes(routes!(roles::list, roles::create))
        .routes(routes!(roles::show, roles::edit, roles::remove))
        .routes(routes!(resources::list, resources::create))
        .routes(routes!(resources::show, resources::edit, resources::remove))
        .routes(routes!(trusted_issuers::list, trusted_issuers::add))
        .routes(routes!(
            trusted_issuers::show,
            trusted_issuers::edit,
            trusted_issuers::remove
        ))
        .routes(routes!(keys::list))
        .routes(routes!(keys::rotate))
        .routes(routes!(keys::revoke))
        .routes(routes!(keys::activate))
        .routes(routes!(key_consumers::list, key_consumers::add))
        .routes(routes!(key_consumers::acknowledge))
        .routes(routes!(key_consumers::remove))
        .routes(routes!(revocations::list, revocations::create))
        .routes(routes!(trace::show))
        .routes(routes!(audit::list))
        .routes(routes!(audit::tail))
        .routes(routes!(audit::verify))
        .routes(routes!(issuer::show, issuer::edit))
        .routes(routes!(administrators::list, administrators::create))
        .routes(routes!(administrators::show, administrators::edit))
        .routes(routes!(administrators::rotate))
        .routes(routes!(administrators::revoke))
}
