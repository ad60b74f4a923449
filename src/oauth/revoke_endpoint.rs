//! `POST /oauth2/revoke` (RFC 7009): a client ends a token of its own, with everything made from it. The
//! answer is 200 for every token, also for one that is not ours or not the client's (§2.2).

use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use serde_json::Value;

use crate::issuer::Caller;
use crate::issuer::client_revocation::{ClientRevocation, NotRecorded};
use crate::ports::request::{PeerAddr, RequestId};

use super::authenticated::{ANSWER_WITHIN, authenticate, post_only};
use super::error::OAuthError;
use super::form::Form;
use super::refusal::replayed;
use super::{Shared, client_auth};

/// How long the answer to a client that revokes too often is held back: with its places, it bounds how many of
/// its requests are answered in a second.
const HELD_BACK: Duration = Duration::from_millis(100);

/// The endpoint with its one method.
pub(super) fn route() -> MethodRouter<Shared> {
    post(revoke).fallback(async || post_only("revocation endpoint"))
}

async fn revoke(
    State(shared): State<Shared>,
    Extension(RequestId(request_id)): Extension<RequestId>,
    Extension(PeerAddr(peer)): Extension<PeerAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let caller = Caller {
        actor: String::new(),
        request_id,
        address: peer.ip().to_string(),
        authority: None,
    };
    let answered = tokio::time::timeout(ANSWER_WITHIN, answer(&shared, &caller, &headers, &body));
    match answered
        .await
        .unwrap_or_else(|elapsed| Err(OAuthError::unavailable().because(elapsed)))
    {
        Ok(outcome) => {
            tracing::info!(?outcome, "a client asked to revoke a token");
            (StatusCode::OK, [(header::CACHE_CONTROL, "no-store")]).into_response()
        }
        Err(error) => error
            .challenging(client_auth::uses_authorization_header(&headers))
            .into_response(),
    }
}

async fn answer(
    shared: &Shared,
    caller: &Caller,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<ClientRevocation, OAuthError> {
    let form = Form::parse(headers, body)?;
    // `token_type_hint` is ignored, as §2.1 allows. `unsupported_token_type` (§2.2.1) is for kinds of token
    // that cannot be revoked: every kind that is issued here can, and another is not ours.
    let token = form
        .get("token")
        .ok_or_else(|| OAuthError::invalid_request("token is missing"))?;
    let presented = client_auth::parse(headers, &form)?;
    let mut is_counted = false;
    loop {
        let client = authenticate(shared, &presented, caller).await?;
        let agent = &client.aggregate().agent.id;
        let _place = shared.in_flight.place(agent).await;
        // Before anything is used up: a client that must wait may send the same assertion again.
        if !is_counted && shared.revocations.is_exceeded(agent) {
            // It keeps its place meanwhile, so that a client in a loop asks no faster and delays no other.
            tokio::time::sleep(HELD_BACK).await;
            return Err(OAuthError::too_often(
                "too many revocations by this client; an administrator can end all its tokens at once with: firman token revoke --subject SUBJECT",
            ));
        }
        is_counted = true;
        match shared.issuer.revoke_presented(caller, &client, token).await {
            Ok(outcome) => return Ok(outcome),
            Err(NotRecorded::Stale) => {}
            Err(NotRecorded::Replayed(what)) => {
                let (issuer, agent) = (&shared.issuer, client.aggregate());
                return Err(replayed(issuer, agent, caller, what, Value::Null));
            }
            Err(NotRecorded::Unavailable) => {
                return Err(
                    OAuthError::unavailable().because("the ledger did not record the revocation")
                );
            }
        }
    }
}
