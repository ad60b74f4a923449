//! `POST /oauth2/token`: parse → authenticate → authorize → mint → record → respond.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json};
use serde_json::{Value, json};

use crate::domain::remedy::Remedy;
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

use super::authenticated::{ANSWER_WITHIN, authenticate, post_only, renewed};
use super::error::OAuthError;
use super::form::Form;
use super::grant::GrantRequest;
use super::refusal::{Refusal, refuse, replayed};
use super::{Shared, client_auth, dpop, grant};

/// The endpoint with its only method.
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
        authority: None,
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
    // A stale decision is made again on fresh rows until the deadline.
    loop {
        let client = authenticate(shared, &presented, caller).await?;
        let _place = shared.in_flight.place(&client.aggregate().agent.id).await;
        let now = issuer.ports().clock.now_millis();
        let mut attempt = Attempt {
            issuer,
            caller,
            request: &request,
            client,
            proven: None,
            now: now.seconds(),
        };
        attempt.proven = attempt.prove(unverified_proof)?;
        let mut decision = attempt.decide().await?;
        if matches!(decision, Decision::Refused { .. })
            && renewed(issuer, attempt.client.basis()).await?
        {
            // A rejection is decided once more on fresh rows before it is returned.
            attempt.client = authenticate(shared, &presented, caller).await?;
            decision = attempt.decide().await?;
        }
        let authorization = match decision {
            Decision::Granted(authorization) => authorization,
            Decision::Refused { error, facts } => {
                let why = Why {
                    reason: error.to_string(),
                    hint: error.remedy.clone(),
                    facts,
                };
                return Err(attempt.refused(error.into(), &why));
            }
        };
        let parent = parent(&authorization);
        let minted = issuer.mint(*authorization, caller, now).map_err(|error| {
            let why = Why::new(error.to_string(), parent.clone());
            attempt.refused(not_minted(error), &why)
        })?;
        match issuer.record(minted).await {
            Outcome::Recorded(issued) => return Ok(issued),
            Outcome::Stale => {}
            Outcome::Replayed(what) => {
                let agent = attempt.client.aggregate();
                return Err(replayed(issuer, agent, caller, what, parent));
            }
            Outcome::Revoked => {
                let answer = OAuthError::invalid_request("subject_token: it was revoked");
                let why = Why::new("the subject token was revoked", parent);
                return Err(attempt.refused(answer, &why));
            }
            Outcome::Unavailable => {
                return Err(
                    OAuthError::unavailable().because("the ledger did not record the token")
                );
            }
        }
    }
}

/// One attempt at a token by an authenticated client.
struct Attempt<'r> {
    issuer: &'r Arc<Issuer>,
    caller: &'r Caller,
    request: &'r GrantRequest,
    client: AuthenticatedClient,
    /// The key that the request proves to hold.
    proven: Option<ProvenKey>,
    now: UnixTime,
}

/// Why a request is rejected, for the audit.
struct Why {
    reason: String,
    hint: Option<Remedy>,
    /// Further facts for the audit.
    facts: Value,
}

impl Why {
    fn new(reason: impl Into<String>, facts: Value) -> Self {
        Self {
            reason: reason.into(),
            hint: None,
            facts,
        }
    }
}

/// The outcome of a decision.
enum Decision {
    Granted(Box<Authorization>),
    Refused {
        error: AuthorizationError,
        /// Further facts for the audit.
        facts: Value,
    },
}

impl Attempt<'_> {
    /// The key that the request proves to hold, if it has a proof. A request for a nonce is not a rejection and is
    /// not audited: every client begins with one.
    fn prove(&self, unverified_proof: Option<&str>) -> Result<Option<ProvenKey>, OAuthError> {
        let Some(unverified_proof) = unverified_proof else {
            return Ok(None);
        };
        let endpoint = token_endpoint(self.issuer.url());
        let proof = self
            .issuer
            .check_proof(unverified_proof, "POST", &endpoint, self.now);
        match proof {
            Ok(proven) => Ok(Some(proven)),
            Err(ProofRefused::Nonce) => Err(OAuthError::use_dpop_nonce()),
            Err(ProofRefused::Fault(problem)) => {
                let answer = OAuthError::invalid_dpop_proof(problem.clone());
                Err(self.refused(answer, &Why::new(problem, Value::Null)))
            }
        }
    }

    /// Decides. An error is a fault that a newer row would not change.
    async fn decide(&self) -> Result<Decision, OAuthError> {
        let Self {
            client,
            proven,
            now,
            ..
        } = self;
        let proven = proven.as_ref();
        match self.request {
            GrantRequest::ClientCredentials(request) => {
                let policy = self.issuer.policy();
                let decided = client_credentials::authorize(client, request, proven, &policy, *now);
                Ok(match decided {
                    Ok(authorization) => Decision::Granted(Box::new(authorization)),
                    Err(error) => Decision::Refused {
                        error,
                        facts: Value::Null,
                    },
                })
            }
            GrantRequest::TokenExchange(request) => {
                match self.issuer.exchange(client, request, proven, *now).await {
                    Ok(authorization) => Ok(Decision::Granted(Box::new(authorization))),
                    Err(ExchangeError::Refused { error, facts }) => {
                        Ok(Decision::Refused { error, facts })
                    }
                    Err(ExchangeError::Unavailable(source)) => {
                        Err(OAuthError::unavailable().because(source))
                    }
                }
            }
        }
    }

    /// The response, audited.
    fn refused(&self, answer: OAuthError, why: &Why) -> OAuthError {
        let refusal = Refusal {
            answer: &answer,
            reason: &why.reason,
            hint: why.hint.as_ref(),
            facts: why.facts.clone(),
        };
        refuse(self.issuer, self.client.aggregate(), self.caller, refusal);
        answer
    }
}

/// What the audit shows of a delegated token that is rejected after the decision.
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

/// The response when minting fails. A token that would be too long is neither a server-side fault nor temporary:
/// the client can request fewer scopes, or an administrator can help.
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
    // RFC 8693 §2.2.1: a token that is not an access token has the type `N_A`.
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
