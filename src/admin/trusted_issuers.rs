//! `/trusted-issuers`.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use crate::api::trusted_issuer::{
    NewTrustedIssuer as NewTrustedIssuerBody, TrustedIssuer as TrustedIssuerBody, TrustedIssuerEdit,
};
use crate::domain::trusted_issuer::JtiPolicy;
use crate::issuer::Issuer;
use crate::issuer::trusted_issuers::{NewTrustedIssuer, TrustChanges, TrustedIssuerView};

use super::caller::{Owner, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::groups::RemovalParams;
use super::json::Json;
use super::openapi::Problems;
use super::page::{List, PageParams, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

impl From<TrustedIssuerView> for TrustedIssuerBody {
    fn from(view: TrustedIssuerView) -> Self {
        let TrustedIssuerView { trusted, warnings } = view;
        let definition = trusted.definition;
        let trust = [
            ("client_auth", definition.client_auth),
            ("subject", definition.subject),
            ("actor", definition.actor),
        ];
        Self {
            id: trusted.id.to_string(),
            name: trusted.name.to_string(),
            url: trusted.url,
            description: definition.description,
            audience: definition.audience,
            keys: definition.keys,
            trust: trust
                .into_iter()
                .filter(|(_, is_trusted)| *is_trusted)
                .map(|(name, _)| name.to_owned())
                .collect(),
            accept_act: definition.accept_act,
            max_lifetime: definition.max_lifetime,
            types: definition.types,
            jti: definition.jti.as_str().to_owned(),
            required_claims: definition.required_claims,
            subject_claim: definition.subject_claim,
            claims: definition.claims,
            warnings,
            created_at: trusted.created_at.0,
            updated_at: trusted.updated_at.0,
            version: trusted.version,
        }
    }
}

fn tagged(view: TrustedIssuerView) -> Tagged<TrustedIssuerBody> {
    Tagged {
        version: view.trusted.version,
        body: view.into(),
    }
}

/// The three flags; all are set as soon as the list is present.
struct Trust {
    client_auth: Option<bool>,
    subject: Option<bool>,
    actor: Option<bool>,
}

fn trust(names: Option<Vec<String>>) -> Result<Trust, Problem> {
    let known = ["client_auth", "subject", "actor"];
    if names
        .iter()
        .flatten()
        .any(|name| !known.contains(&name.as_str()))
    {
        return Err(Problem::invalid(
            "trust",
            "must contain only `client_auth`, `subject` and `actor`",
        ));
    }
    let has = |wanted: &str| {
        names
            .as_ref()
            .map(|names| names.iter().any(|name| name == wanted))
    };
    Ok(Trust {
        client_auth: has("client_auth"),
        subject: has("subject"),
        actor: has("actor"),
    })
}

fn jti(text: Option<String>) -> Result<Option<JtiPolicy>, Problem> {
    match text.as_deref() {
        None => Ok(None),
        Some("single-use") => Ok(Some(JtiPolicy::SingleUse)),
        Some("reusable") => Ok(Some(JtiPolicy::Reusable)),
        Some(_) => Err(Problem::invalid(
            "jti",
            "must be `single-use` or `reusable`",
        )),
    }
}

/// Lists trusted issuers by name.
#[utoipa::path(get, path = "/trusted-issuers", tag = "trusted-issuers", params(PageParams), security(("administrator_token" = [])),
    responses((status = 200, body = List<TrustedIssuerBody>), Problems))]
pub(super) async fn list(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Params(params): Params<PageParams>,
) -> Result<axum::Json<List<TrustedIssuerBody>>, Problem> {
    let after = after_name("trusted-issuers", params.cursor.as_deref())?;
    let page = issuer
        .trusted_issuers(after.as_deref(), limit(params.limit)?)
        .await?;
    Ok(axum::Json(List::of(
        "trusted-issuers",
        page,
        |view| view.trusted.name.to_string(),
        TrustedIssuerBody::from,
    )))
}

/// Trusts an issuer, for the stated purposes only.
#[utoipa::path(post, path = "/trusted-issuers", tag = "trusted-issuers", request_body = NewTrustedIssuerBody, security(("administrator_token" = [])),
    responses((status = 201, body = TrustedIssuerBody), Problems))]
pub(super) async fn add(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Json(body): Json<NewTrustedIssuerBody>,
) -> Result<Created<TrustedIssuerBody>, Problem> {
    let trust = trust(body.trust)?;
    let new = NewTrustedIssuer {
        name: body.name,
        url: body.url,
        trust: TrustChanges {
            description: body.description,
            audience: body.audience,
            keys: body.keys,
            client_auth: trust.client_auth,
            subject: trust.subject,
            actor: trust.actor,
            accept_act: body.accept_act,
            max_lifetime: body.max_lifetime,
            types: body.types,
            jti: jti(body.jti)?,
            required_claims: body.required_claims,
            subject_claim: body.subject_claim,
            claims: body.claims,
        },
    };
    let view = issuer.add_trusted_issuer(&caller, new).await?;
    Ok(Created {
        version: Some(view.trusted.version),
        location: format!("/trusted-issuers/{}", view.trusted.name),
        body: view.into(),
    })
}

/// Shows a trusted issuer.
#[utoipa::path(get, path = "/trusted-issuers/{name}", tag = "trusted-issuers", params(("name" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = TrustedIssuerBody), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
) -> Result<Tagged<TrustedIssuerBody>, Problem> {
    Ok(tagged(issuer.trusted_issuer(&name).await?))
}

/// Changes the settings of a trusted issuer, except its name and URL.
#[utoipa::path(patch, path = "/trusted-issuers/{name}", tag = "trusted-issuers", params(("name" = String, Path), IfMatchHeader), request_body = TrustedIssuerEdit,
    security(("administrator_token" = [])), responses((status = 200, body = TrustedIssuerBody), Problems))]
pub(super) async fn edit(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Json(body): Json<TrustedIssuerEdit>,
) -> Result<Tagged<TrustedIssuerBody>, Problem> {
    let trust = trust(body.trust)?;
    let changes = TrustChanges {
        description: body.description,
        audience: body.audience,
        keys: body.keys,
        client_auth: trust.client_auth,
        subject: trust.subject,
        actor: trust.actor,
        accept_act: body.accept_act,
        max_lifetime: body.max_lifetime,
        types: body.types,
        jti: jti(body.jti)?,
        required_claims: body.required_claims,
        subject_claim: body.subject_claim,
        claims: body.claims,
    };
    Ok(tagged(
        issuer
            .edit_trusted_issuer(&caller, &name, changes, expected)
            .await?,
    ))
}

/// Stops trusting an issuer.
#[utoipa::path(delete, path = "/trusted-issuers/{name}", tag = "trusted-issuers", params(("name" = String, Path), RemovalParams, IfMatchHeader),
    security(("administrator_token" = [])), responses((status = 204), Problems))]
pub(super) async fn remove(
    Owner(caller): Owner,
    State(issuer): State<Arc<Issuer>>,
    Named(name): Named<String>,
    IfMatch(expected): IfMatch,
    Params(params): Params<RemovalParams>,
) -> Result<StatusCode, Problem> {
    issuer
        .remove_trusted_issuer(&caller, &name, params.removal(expected))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
