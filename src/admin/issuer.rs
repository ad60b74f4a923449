//! `/issuer`: the settings.

use std::sync::Arc;

use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::assertion_audience::AssertionAudience;
use crate::domain::settings::{IssuerSettings, token_endpoint};
use crate::issuer::Issuer;
use crate::issuer::settings::SettingsChanges;

use super::caller::{Owner, Viewer};
use super::etag::{IfMatch, IfMatchHeader, Tagged};
use super::json::{Json, present};
use super::openapi::Problems;
use super::problem::Problem;

/// The issuer.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Issuer)]
pub(super) struct IssuerBody {
    id: String,
    slug: String,
    /// The issuer identifier: `iss` of every token.
    url: String,
    subject_template: String,
    /// Life of a token in seconds when nobody says otherwise.
    default_lifetime: i64,
    /// Longest life of a token in seconds.
    max_lifetime: i64,
    default_algorithm: String,
    /// What `aud` of client assertions must be: `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`.
    assertion_audience: String,
    version: i64,
    token_endpoint: String,
    jwks_uri: String,
    discovery: String,
}

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

/// An edit of the settings; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuerEdit {
    /// Seconds.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, minimum = 60, maximum = 43_200)]
    default_lifetime: Option<i64>,
    /// Seconds, at most 43200.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, minimum = 60, maximum = 43_200)]
    max_lifetime: Option<i64>,
    /// `ES256` or `RS256`.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, pattern = "^(ES256|RS256)$")]
    default_algorithm: Option<String>,
    /// `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`. With the last one, a server that names this
    /// token endpoint in its metadata can replay the assertions that clients make for it.
    #[serde(default, deserialize_with = "present")]
    #[schema(
        nullable = false,
        pattern = "^(issuer-as-string|issuer|issuer-or-token-endpoint)$"
    )]
    assertion_audience: Option<String>,
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
    let IssuerEdit {
        default_lifetime,
        max_lifetime,
        default_algorithm,
        assertion_audience,
    } = body;
    let changes = SettingsChanges {
        default_lifetime,
        max_lifetime,
        default_algorithm,
        assertion_audience: assertion_audience
            .as_deref()
            .map(AssertionAudience::parse)
            .transpose()?,
    };
    let settings = issuer.edit_settings(&caller, changes, expected).await?;
    Ok(Tagged {
        version: settings.version,
        body: settings.into(),
    })
}
