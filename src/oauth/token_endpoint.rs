//! `POST /oauth2/token`: parse → authenticate → authorize → mint → record → answer.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::domain::settings::token_endpoint;
use crate::issuer::authenticate::AuthenticatedClient;
use crate::issuer::authorize::token_exchange::{ExchangeError, TokenType};
use crate::issuer::authorize::{Authorization, AuthorizationError, client_credentials};
use crate::issuer::dpop::{ProofRefused, ProvenKey};
use crate::issuer::ledger::Outcome;
use crate::issuer::mint::{IssuedToken, MintError};
use crate::issuer::{Caller, Issuer};
use crate::ports::request::{PeerAddr, RequestId};
use crate::ports::time::UnixTime;

use super::authenticated::{ANSWER_WITHIN, authenticate, post_only, refuse, renewed, replayed};
use super::error::OAuthError;
use super::form::Form;
use super::grant::GrantRequest;
use super::{Shared, client_auth, dpop, grant};

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
    let answer = match answered
        .await
        .unwrap_or_else(|elapsed| Err(OAuthError::unavailable().because(elapsed)))
    {
        Ok(issued) => issued_response(&issued),
        Err(error) => error
            .challenging(client_auth::uses_authorization_header(&headers))
            .into_response(),
    };
    dpop::with_nonce(answer, &headers, &shared.issuer)
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
    let unverified_proof = dpop::unverified_proof(headers)?;
    // A decision that went stale is made again on fresh rows, until the answer is due.
    loop {
        let mut client = authenticate(shared, &presented, caller).await?;
        let _place = shared.in_flight.place(&client.aggregate().agent.id).await;
        let now = issuer.ports().clock.now_millis();
        let proven = prove(issuer, &client, unverified_proof, caller, now.seconds())?;
        let asked = (&request, proven.as_ref());
        let mut decision = decide(issuer, &client, asked, now.seconds()).await?;
        if decision.is_err() && renewed(issuer, client.basis()).await? {
            // A refusal is decided once more on fresh rows before it is given.
            client = authenticate(shared, &presented, caller).await?;
            decision = decide(issuer, &client, asked, now.seconds()).await?;
        }
        let note = |answer: &OAuthError, reason: &str, facts: Value| {
            refuse(issuer, client.aggregate(), caller, (answer, reason, facts));
        };
        let authorization = decision.map_err(|refused| {
            let reason = refused.error.to_string();
            let answer = OAuthError::from(refused.error);
            note(&answer, &reason, refused.facts);
            answer
        })?;
        let parent = parent(&authorization);
        let minted = issuer.mint(authorization, caller, now).map_err(|error| {
            let reason = error.to_string();
            let answer = not_minted(error);
            note(&answer, &reason, parent.clone());
            answer
        })?;
        match issuer.record(minted).await {
            Outcome::Recorded(issued) => return Ok(issued),
            Outcome::Stale => {}
            Outcome::Replayed(what) => {
                return Err(replayed(issuer, client.aggregate(), caller, (what, parent)));
            }
            Outcome::Revoked => {
                let answer = OAuthError::invalid_request("subject_token: it was revoked");
                note(&answer, "the subject token was revoked", parent);
                return Err(answer);
            }
            Outcome::Unavailable => {
                return Err(
                    OAuthError::unavailable().because("the ledger did not record the token")
                );
            }
        }
    }
}

/// The key that the request proves to hold, if it brings a proof. That a nonce is asked for is no
/// refusal, and no entry of the audit: every client begins with that.
fn prove(
    issuer: &Arc<Issuer>,
    client: &AuthenticatedClient,
    unverified_proof: Option<&str>,
    caller: &Caller,
    now: UnixTime,
) -> Result<Option<ProvenKey>, OAuthError> {
    let Some(unverified_proof) = unverified_proof else {
        return Ok(None);
    };
    let endpoint = token_endpoint(issuer.url());
    match issuer.check_proof(unverified_proof, ("POST", &endpoint), now) {
        Ok(proven) => Ok(Some(proven)),
        Err(ProofRefused::Nonce) => Err(OAuthError::use_dpop_nonce()),
        Err(ProofRefused::Fault(problem)) => {
            let answer = OAuthError::invalid_dpop_proof(problem.clone());
            refuse(
                issuer,
                client.aggregate(),
                caller,
                (&answer, &problem, Value::Null),
            );
            Err(answer)
        }
    }
}

/// A refusal, with what the audit should know besides.
struct Refused {
    error: AuthorizationError,
    facts: Value,
}

/// Decides; the outer error is a fault that no newer row would change.
async fn decide(
    issuer: &Issuer,
    client: &AuthenticatedClient,
    (request, proven): (&GrantRequest, Option<&ProvenKey>),
    now: UnixTime,
) -> Result<Result<Authorization, Refused>, OAuthError> {
    match request {
        GrantRequest::ClientCredentials(request) => {
            Ok(
                client_credentials::authorize(client, request, proven, &issuer.policy(), now)
                    .map_err(|error| Refused {
                        error,
                        facts: Value::Null,
                    }),
            )
        }
        GrantRequest::TokenExchange(request) => {
            match issuer.exchange(client, request, proven, now).await {
                Ok(authorization) => Ok(Ok(authorization)),
                Err(ExchangeError::Refused { error, facts }) => Ok(Err(Refused { error, facts })),
                Err(ExchangeError::Unavailable(source)) => {
                    Err(OAuthError::unavailable().because(source))
                }
            }
        }
    }
}

/// What the audit should know of a delegated token that is refused after all.
fn parent(authorization: &Authorization) -> Value {
    match authorization.delegated() {
        None => Value::Null,
        Some(delegated) => json!({
            "subject": delegated.subject,
            "subject_token": delegated.parent.line.token_id(),
            "act": delegated.actors,
            "aud": authorization.target().audience,
        }),
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

/// RFC 6749 §5.1, RFC 8693 §2.2.1, RFC 9449 §5.
fn issued_response(issued: &IssuedToken) -> Response {
    // RFC 8693 §2.2.1: what is no access token is used in no such way.
    let token_type = match issued.issued_token_type {
        Some(TokenType::IdToken) => "N_A",
        Some(TokenType::AccessToken | TokenType::Jwt) | None if issued.is_bound => "DPoP",
        Some(TokenType::AccessToken | TokenType::Jwt) | None => "Bearer",
    };
    let mut body = json!({ "access_token": issued.access_token, "token_type": token_type, "expires_in": issued.expires_in });
    if let Some(issued_token_type) = issued.issued_token_type {
        body["issued_token_type"] = json!(issued_token_type.as_str());
    }
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
