//! `POST /oauth2/token`: parse → authenticate → authorize → mint → record → answer.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json};
use serde_json::json;

use crate::issuer::authenticate::AuthenticatedClient;
use crate::issuer::authorize::{Authorization, AuthorizationError, client_credentials};
use crate::issuer::ledger::Outcome;
use crate::issuer::mint::{IssuedToken, MintError};
use crate::issuer::{Caller, Issuer};
use crate::ports::request::{PeerAddr, RequestId};

use super::authenticated::{ANSWER_WITHIN, authenticate, post_only, refuse, renewed, replayed};
use super::error::OAuthError;
use super::form::Form;
use super::grant::GrantRequest;
use super::{Shared, client_auth, grant};

/// A decision that went stale is made once more on fresh rows, then given up.
const ATTEMPTS: u32 = 2;

/// The endpoint with its one method.
pub(super) fn route() -> MethodRouter<Shared> {
    post(token).fallback(async || post_only("token endpoint"))
}

async fn token(
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
    };
    let answered = tokio::time::timeout(ANSWER_WITHIN, answer(&shared, &caller, &headers, &body));
    match answered
        .await
        .unwrap_or_else(|elapsed| Err(OAuthError::unavailable().because(elapsed)))
    {
        Ok(issued) => issued_response(&issued),
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
) -> Result<IssuedToken, OAuthError> {
    let issuer = &shared.issuer;
    let form = Form::parse(headers, body)?;
    let request = grant::parse(&form)?;
    let presented = client_auth::parse(headers, &form)?;
    for _ in 0..ATTEMPTS {
        let now = issuer.ports().clock.now_millis();
        let mut client = authenticate(shared, &presented, caller).await?;
        let mut decision = decide(issuer, &client, &request);
        if decision.is_err() && renewed(issuer, client.basis()).await? {
            // A refusal is decided once more on fresh rows before it is given.
            client = authenticate(shared, &presented, caller).await?;
            decision = decide(issuer, &client, &request);
        }
        let authorization = decision.map_err(|error| {
            let answer = OAuthError::from(error.clone());
            refuse(
                issuer,
                client.aggregate(),
                caller,
                answer.code().as_str(),
                &error.to_string(),
            );
            answer
        })?;
        let minted = issuer.mint(authorization, caller, now).map_err(|error| {
            let reason = error.to_string();
            let answer = not_minted(error);
            refuse(
                issuer,
                client.aggregate(),
                caller,
                answer.code().as_str(),
                &reason,
            );
            answer
        })?;
        match issuer.record(minted).await {
            Outcome::Recorded(issued) => return Ok(issued),
            Outcome::Stale => {}
            Outcome::Replayed => {
                return Err(replayed(issuer, client.aggregate(), caller));
            }
            Outcome::Unavailable => {
                return Err(
                    OAuthError::unavailable().because("the ledger did not record the token")
                );
            }
        }
    }
    Err(OAuthError::unavailable().because("the registry changed under the request twice"))
}

fn decide(
    issuer: &Issuer,
    client: &AuthenticatedClient,
    request: &GrantRequest,
) -> Result<Authorization, AuthorizationError> {
    match request {
        GrantRequest::ClientCredentials(request) => {
            client_credentials::authorize(client, request, &issuer.policy())
        }
    }
}

/// What the client is told when its token cannot be made. A token that would be too long is no fault of
/// ours and no passing one: fewer scopes may help, or an administrator.
fn not_minted(error: MintError) -> OAuthError {
    match error {
        MintError::TooLong(_) => OAuthError::invalid_request(error.to_string()),
        MintError::NoKey(_) | MintError::Sign(_) | MintError::SelfCheck(_) => {
            OAuthError::server_error().because(error)
        }
    }
}

/// RFC 6749 §5.1.
fn issued_response(issued: &IssuedToken) -> Response {
    let mut body = json!({ "access_token": issued.access_token, "token_type": "Bearer", "expires_in": issued.expires_in });
    if !issued.scope.is_empty() {
        body["scope"] = json!(issued.scope);
    }
    if let Some(id_token) = &issued.id_token {
        body["id_token"] = json!(id_token);
    }
    let no_store = [
        (header::CACHE_CONTROL, "no-store"),
        (header::PRAGMA, "no-cache"),
    ];
    (no_store, Json(body)).into_response()
}
