//! `/issuer`: the settings.

use std::sync::Arc;

use axum::extract::State;

use crate::api::issuer::{Issuer as IssuerBody, IssuerEdit};
use crate::domain::settings::{IssuerSettings, token_endpoint};
use crate::issuer::Issuer;

use super::caller::{Owner, Viewer};
use super::etag::{IfMatch, IfMatchHeader, Tagged};
use super::json::Json;
use super::openapi::Problems;
use super::problem::Problem;

impl From<IssuerSettings> for IssuerBody {
    fn from(settings: IssuerSettings) -> Self {
        let url = settings.url;
        Self {
            id: settings.id.to_string(),
            slug: settings.slug,
            token_endpoint: token_endpoint(&url),
            jwks_uri: format!("{url}/oauth2/jwks"),
            discovery: format!("{url}/.well-known/openid-configuration"),
            url,
            subject_template: settings.subject_template.as_str().to_owned(),
            default_lifetime: settings.default_lifetime,
            max_lifetime: settings.max_lifetime,
            default_algorithm: settings.default_algorithm.as_str().to_owned(),
            assertion_audience: settings.assertion_audience.as_str().to_owned(),
            version: settings.version,
        }
    }
}

/// Shows the issuer.
#[utoipa::path(get, path = "/issuer", tag = "issuer", security(("administrator_token" = [])),
    responses((status = 200, body = IssuerBody), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
) -> Result<Tagged<IssuerBody>, Problem> {
    let settings = issuer.settings().await?;
    Ok(Tagged {
        version: settings.version,
        body: settings.into(),
    })
}

/// Edits the issuer's settings.
#[utoipa::path(patch, path = "/issuer", tag = "issuer", params(IfMatchHeader), request_body = IssuerEdit, security(("administrator_token" = [])),
    responses((status = 200, body = IssuerBody), Problems))]
pub(super) async fn edit(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    IfMatch(expected): IfMatch,
    Json(body): Json<IssuerEdit>,
) -> Result<Tagged<IssuerBody>, Problem> {
    let settings = issuer.edit_settings(&caller, body, expected).await?;
    Ok(Tagged {
        version: settings.version,
        body: settings.into(),
    })
}
