//! `/tokens/{id}/trace`: where a token comes from and what was made from it.

use std::sync::Arc;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::issuer::Issuer;
use crate::issuer::trace::{TokenState, Trace, TracedToken};

use super::caller::Viewer;
use super::openapi::Problems;
use super::path::Named;
use super::problem::Problem;

/// A tree of tokens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Trace)]
pub(super) struct TraceBody {
    /// The `jti` that was asked for.
    token_id: String,
    /// False when the tree has more than 1000 tokens; the way from the root to the asked one is shown then too.
    complete: bool,
    /// The root, then depth first what was made from it.
    tokens: Vec<TracedTokenBody>,
}

/// A token of a tree. What is not known is `null`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TracedToken)]
pub(super) struct TracedTokenBody {
    /// Its `jti`; for a token from outside the trusted issuer's name, `:` and a digest.
    token_id: String,
    /// What it was made from; `null` for the root.
    parent_id: Option<String>,
    /// Steps from the root.
    depth: usize,
    /// The trusted issuer, for a token from outside.
    trusted_issuer: Option<String>,
    /// `access_token` or `id_token`.
    kind: Option<String>,
    /// For whom: its `sub`.
    subject: Option<String>,
    /// The agent that asked for it.
    agent: Option<String>,
    audience: Option<String>,
    scope: Option<String>,
    delegation_id: Option<String>,
    issued_at: Option<i64>,
    expires_at: Option<i64>,
    /// `active`, `revoked`, `expired` or `switched_off`: an agent in it is; `null` for a token from outside
    /// that was not revoked here.
    state: Option<String>,
    request_id: Option<String>,
    address: Option<String>,
}

impl From<TracedToken> for TracedTokenBody {
    fn from(token: TracedToken) -> Self {
        Self {
            token_id: token.token_id,
            parent_id: token.parent_id,
            depth: token.depth,
            trusted_issuer: token.trusted_issuer,
            kind: token.kind.map(str::to_owned),
            subject: token.subject,
            agent: token.agent.map(|name| name.to_string()),
            audience: token.audience,
            scope: token.scope,
            delegation_id: token.delegation.map(|id| id.to_string()),
            issued_at: token.issued_at.map(|at| at.0),
            expires_at: token.expires_at.map(|at| at.0),
            state: token.state.map(TokenState::as_str).map(str::to_owned),
            request_id: token.request_id,
            address: token.address,
        }
    }
}

/// Shows the tree that a token belongs to, by its `jti`.
#[utoipa::path(get, path = "/tokens/{id}/trace", tag = "tokens", params(("id" = String, Path)), security(("administrator_token" = [])),
    responses((status = 200, body = TraceBody), Problems))]
pub(super) async fn show(
    _: Viewer,
    State(issuer): State<Arc<Issuer>>,
    Named(id): Named<String>,
) -> Result<axum::Json<TraceBody>, Problem> {
    let Trace {
        asked,
        is_whole,
        tokens,
    } = issuer.trace(&id).await?;
    Ok(axum::Json(TraceBody {
        token_id: asked,
        complete: is_whole,
        tokens: tokens.into_iter().map(Into::into).collect(),
    }))
}
