//! `/tokens/{id}/trace`: what a token was derived from, and what was derived from it.

use std::sync::Arc;

use axum::extract::State;

use crate::api::trace::{Trace as TraceBody, TracedToken as TracedTokenBody};
use crate::issuer::Issuer;
use crate::issuer::trace::{TokenState, Trace, TracedToken};

use super::caller::Viewer;
use super::openapi::Problems;
use super::path::Named;
use super::problem::Problem;

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
