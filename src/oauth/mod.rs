//! The public protocol endpoints: parse requests, call the issuer, render responses. Nothing is decided here. The
//! routes of the public listener are in [`router`].

mod authenticated;
mod authorize_endpoint;
mod client_auth;
mod discovery;
mod dpop;
mod error;
mod form;
mod grant;
mod health;
mod in_flight;
mod introspect_endpoint;
mod jwks;
mod limits;
mod refusal;
mod revocations;
mod revoke_endpoint;
mod token_endpoint;

pub use error::{ErrorCode, OAuthError};

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::issuer::Issuer;
use crate::issuer::keyring::Rendered;

/// The state that the handlers share.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    issuer: Arc<Issuer>,
    refusals: Arc<limits::Limiter>,
    revocations: Arc<limits::RevocationLimiter>,
    in_flight: Arc<in_flight::InFlight>,
    /// The discovery document: constant while the process runs.
    metadata: Arc<Rendered>,
}

/// Every route of the public listener, under the issuer's path.
pub fn router(issuer: &Arc<Issuer>) -> Router {
    let shared = Shared {
        issuer: Arc::clone(issuer),
        refusals: Arc::new(limits::Limiter::of_refusals()),
        revocations: Arc::new(limits::RevocationLimiter::new()),
        in_flight: Arc::default(),
        metadata: Arc::new(Rendered::json(&discovery::metadata(issuer.url()))),
    };
    let path = discovery::issuer_path(issuer.url());
    let openid = get(discovery::discovery).fallback(discovery::read_only);
    let oauth = get(discovery::discovery).fallback(discovery::read_only);
    let mut router = Router::new()
        .route(
            "/healthz",
            get(health::healthz).fallback(discovery::read_only),
        )
        .route(
            &format!("{path}/.well-known/openid-configuration"),
            openid.clone(),
        )
        // Two slashes, for relying parties that append the path to the issuer URL with a trailing slash.
        .route(&format!("{path}//.well-known/openid-configuration"), openid)
        .route(
            &format!("{path}/.well-known/oauth-authorization-server"),
            oauth.clone(),
        )
        .route(
            &format!("{path}/oauth2/jwks"),
            get(jwks::jwks).fallback(discovery::read_only),
        )
        .route(
            &format!("{path}/oauth2/revocations"),
            get(revocations::revocations).fallback(discovery::read_only),
        )
        .route(
            &format!("{path}/oauth2/introspect"),
            introspect_endpoint::route(),
        )
        .route(
            &format!("{path}/oauth2/authorize"),
            authorize_endpoint::route(),
        )
        .route(&format!("{path}/oauth2/revoke"), revoke_endpoint::route())
        .route(&format!("{path}/oauth2/token"), token_endpoint::route());
    if !path.is_empty() {
        // RFC 8414 §3.1 inserts the well-known part between host and path.
        router = router.route(
            &format!("/.well-known/oauth-authorization-server{path}"),
            oauth,
        );
    }
    router.fallback(health::anywhere_else).with_state(shared)
}
