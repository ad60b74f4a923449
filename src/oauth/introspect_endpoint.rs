//! `POST /oauth2/introspect` (RFC 7662): whether a token is in force, for clients that it concerns. Every other
//! outcome is the same `{"active":false}` (§2.2, §4).

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json};
use serde_json::{Map, Value, json};

use crate::domain::scope::join_scopes;
use crate::issuer::Caller;
use crate::issuer::own_token::OwnToken;
use crate::ports::request::{PeerAddr, RequestId};

use super::authenticated::{ANSWER_WITHIN, admitted, post_only};
use super::error::OAuthError;
use super::form::Form;
use super::{Shared, client_auth};

/// The endpoint with its only method.
pub(super) fn route() -> MethodRouter<Shared> {
    post(introspect).fallback(async || post_only("introspection endpoint"))
}

async fn introspect(
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
        Ok(answer) => ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response(),
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
) -> Result<Value, OAuthError> {
    let form = Form::parse(headers, body)?;
    // `token_type_hint` only names where to look first (§2.1); here all tokens are looked up in one place.
    let token = form
        .get("token")
        .ok_or_else(|| OAuthError::invalid_request("`token` is required"))?;
    let (client, _place) = admitted(shared, caller, headers, &form).await?;
    let found = shared
        .issuer
        .introspect(&client, token)
        .await
        .map_err(|error| OAuthError::unavailable().because(error))?;
    Ok(found.map_or_else(|| json!({ "active": false }), |token| active(&token)))
}

/// RFC 7662 §2.2, with `act`, `cnf` (RFC 8693 §4.1, RFC 9449 §6.2) and the origin of a delegated token, as in the
/// token.
fn active(token: &OwnToken) -> Value {
    let claims = &token.claims;
    let mut members = Map::from_iter([
        ("active".to_owned(), json!(true)),
        ("token_type".to_owned(), json!(token_type(token))),
        ("iss".to_owned(), json!(claims.issuer)),
        ("sub".to_owned(), json!(token.subject)),
        ("aud".to_owned(), json!(token.audience)),
        ("exp".to_owned(), json!(token.expires_at.0)),
        ("iat".to_owned(), json!(token.issued_at.0)),
        ("jti".to_owned(), json!(token.token_id)),
        ("client_id".to_owned(), json!(token.client_id)),
        ("sub_profile".to_owned(), json!(token.subject_profile)),
        ("acting_agent".to_owned(), json!(token.acting_agent)),
    ]);
    if let Some(not_before) = claims.not_before {
        members.insert("nbf".to_owned(), json!(not_before.0));
    }
    if !token.scopes.is_empty() {
        members.insert("scope".to_owned(), json!(join_scopes(&token.scopes)));
    }
    for name in ["act", "cnf", "txn", "parents", "delegations"] {
        if let Some(value) = claims.other.get(name) {
            members.insert(name.to_owned(), value.clone());
        }
    }
    Value::Object(members)
}

/// How the token is presented (RFC 6749 §7.1). An ID token, whose `aud` is its client, is not an access token: RFC
/// 8693 §2.2.1 defines a value for that.
fn token_type(token: &OwnToken) -> &'static str {
    if token.audience == token.client_id {
        "N_A"
    } else if token.jkt.is_some() {
        "DPoP"
    } else {
        "Bearer"
    }
}
