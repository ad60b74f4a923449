//! `POST /oauth2/revoke` (RFC 7009): a client revokes its own token, with everything made from it. The response is
//! 200 for every token, including one that was not issued here or belongs to another client (§2.2).

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

/// How long the response to a client that revokes too often is delayed. With its places in flight, this bounds how
/// many of its requests are answered per second.
const HELD_BACK: Duration = Duration::from_millis(100);

/// The endpoint with its only method.
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
    // `token_type_hint` is ignored, as §2.1 allows. `unsupported_token_type` (§2.2.1) is for kinds of token that
    // cannot be revoked; every kind issued here can be.
    let token = form
        .get("token")
        .ok_or_else(|| OAuthError::invalid_request("`token` is required"))?;
    let presented = client_auth::parse(headers, &form)?;
    let mut is_counted = false;
    loop {
        let client = authenticate(shared, &presented, caller).await?;
        let agent = &client.aggregate().agent.id;
        let _place = shared.in_flight.place(agent).await;
        // Before the assertion is marked as used: a limited client may send it again.
        if !is_counted && shared.revocations.is_exceeded(agent) {
            // It keeps its place while it waits, so that a client in a loop is slowed down and delays no other.
            tokio::time::sleep(HELD_BACK).await;
            return Err(OAuthError::too_often(
                "too many revocations by this client; an administrator can revoke all its tokens at once",
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
