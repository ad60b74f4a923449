//! `/trusted-issuers`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::trusted_issuer::{JtiPolicy, KeySource};
use crate::issuer::Issuer;
use crate::issuer::trusted_issuers::{NewTrustedIssuer, TrustChanges, TrustedIssuerView};

use super::caller::{Owner, Viewer};
use super::etag::{Created, IfMatch, IfMatchHeader, Tagged};
use super::groups::RemovalParams;
use super::json::{Json, present};
use super::openapi::Problems;
use super::page::{List, PageParams, Params, after_name, limit};
use super::path::Named;
use super::problem::Problem;

/// Another issuer whose tokens are believed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TrustedIssuer)]
pub(super) struct TrustedIssuerBody {
    id: String,
    name: String,
    /// What `iss` of its tokens is, byte for byte; or `spiffe://` and a trust domain.
    url: String,
    description: String,
    /// What `aud` of its tokens must be, alone.
    audience: String,
    /// Where its keys come from: `{"type": "discovery"}`, `{"type": "jwks_uri", "url": …}` or
    /// `{"type": "inline", "jwks": …}`.
    #[schema(value_type = Object)]
    keys: KeySource,
    /// What it is trusted with: `client_auth`, `subject`, `actor`.
    trust: Vec<String>,
    /// Whether its subject tokens may hold an `act`, whose actors are then carried on under its `iss`.
    accept_act: bool,
    /// Longest life of its tokens in seconds.
    max_lifetime: i64,
    /// Accepted `typ` headers; the empty text stands for none.
    types: Vec<String>,
    /// `single-use` or `reusable`.
    jti: String,
    /// Claims that every token of it must have, with their values.
    required_claims: BTreeMap<String, String>,
    /// The claim that names the subject.
    subject_claim: String,
    /// Attributes of tokens minted for its subjects, with the claim that each is taken from.
    claims: BTreeMap<String, String>,
    /// What an administrator should know of it.
    warnings: Vec<String>,
    created_at: i64,
    updated_at: i64,
    version: i64,
}

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

/// An issuer to be trusted. What is left out of `trust` it is not trusted with.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewTrustedIssuer)]
pub(super) struct NewTrustedIssuerBody {
    /// A short name; part of the subjects of its users, so never given out twice.
    #[schema(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length = 128)]
    name: String,
    /// What `iss` of its tokens is, byte for byte; or `spiffe://` and a trust domain.
    #[schema(max_length = 512)]
    url: String,
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// What `aud` of its tokens must be, alone; this issuer's URL unless said.
    #[schema(max_length = 512)]
    audience: Option<String>,
    /// `{"type": "discovery"}` (unless said), `{"type": "jwks_uri", "url": …}` or
    /// `{"type": "inline", "jwks": …}`.
    #[schema(value_type = Option<Object>)]
    keys: Option<KeySource>,
    /// Any of `client_auth`, `subject`, `actor`.
    trust: Option<Vec<String>>,
    /// Accept subject tokens that hold an `act`; `false` unless said.
    accept_act: Option<bool>,
    /// Longest life of its tokens in seconds; 3600 unless said.
    #[schema(minimum = 1, maximum = 90_000)]
    max_lifetime: Option<i64>,
    /// Accepted `typ` headers, the empty text for none; `JWT` unless said.
    types: Option<Vec<String>>,
    /// `single-use` (unless said) or `reusable`.
    #[schema(pattern = "^(single-use|reusable)$")]
    jti: Option<String>,
    required_claims: Option<BTreeMap<String, String>>,
    /// `sub` unless said.
    subject_claim: Option<String>,
    /// Attribute name to claim name.
    claims: Option<BTreeMap<String, String>>,
}

/// An edit of a trusted issuer; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TrustedIssuerEdit {
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, max_length = 1024)]
    description: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, max_length = 512)]
    audience: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Object)]
    keys: Option<KeySource>,
    /// All that it is trusted with.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    trust: Option<Vec<String>>,
    /// Accept subject tokens that hold an `act`.
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    accept_act: Option<bool>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, minimum = 1, maximum = 90_000)]
    max_lifetime: Option<i64>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    types: Option<Vec<String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false, pattern = "^(single-use|reusable)$")]
    jti: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    required_claims: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    subject_claim: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(nullable = false)]
    claims: Option<BTreeMap<String, String>>,
}

/// The three flags, each said as soon as the list is there.
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
            "holds something else than client_auth, subject and actor",
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
        Some(_) => Err(Problem::invalid("jti", "must be single-use or reusable")),
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

/// Trusts an issuer, with what is said and nothing else.
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

/// Changes what is believed of a trusted issuer; its name and URL stay.
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

/// Trusts an issuer no longer.
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
