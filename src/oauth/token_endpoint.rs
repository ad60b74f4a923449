//! `POST /oauth2/token`: parse → authenticate → authorize → mint → record → answer.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use axum::{Extension, Json};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde_json::{Value, json};

use crate::domain::audit::{AuditDraft, AuditEvent};
use crate::issuer::authenticate::{
    AuthenticatedClient, AuthenticationError, PresentedCredential, Spent,
};
use crate::issuer::authorize::token_exchange::{ExchangeError, TokenType};
use crate::issuer::authorize::{Authorization, AuthorizationError, client_credentials};
use crate::issuer::dpop::{ProofRefused, ProvenKey};
use crate::issuer::ledger::Outcome;
use crate::issuer::mint::{IssuedToken, MintError};
use crate::issuer::{Caller, Issuer};
use crate::ports::request::{PeerAddr, RequestId};
use crate::ports::time::UnixTime;
use crate::store::AgentAggregate;

use super::error::OAuthError;
use super::form::Form;
use super::grant::GrantRequest;
use super::{Shared, client_auth, dpop, grant};

/// A decision that went stale is made once more on fresh rows, then given up.
const ATTEMPTS: u32 = 2;
/// Longest wait for an answer: past it the database is away, and clients have better things to do than
/// to wait. What is under way then is dropped: the ledger records nothing nobody waits for.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The endpoint with its one method.
pub(super) fn route() -> MethodRouter<Shared> {
    post(token).fallback(post_only)
}

async fn post_only() -> Response {
    let body =
        json!({ "error": "invalid_request", "error_description": "the token endpoint takes POST" });
    (
        StatusCode::METHOD_NOT_ALLOWED,
        [(header::ALLOW, "POST"), (header::CACHE_CONTROL, "no-store")],
        Json(body),
    )
        .into_response()
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
    for _ in 0..ATTEMPTS {
        let now = issuer.ports().clock.now_millis();
        let mut client = authenticate(shared, &presented, caller).await?;
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
                let (answer, reason) = replayed(what);
                note(&answer, reason, parent);
                return Err(answer);
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
    Err(OAuthError::unavailable().because("the registry changed under the request twice"))
}

/// Authenticates; a refusal that a newer row could change is decided once more on fresh rows.
async fn authenticate(
    shared: &Shared,
    presented: &PresentedCredential,
    caller: &Caller,
) -> Result<AuthenticatedClient, OAuthError> {
    let issuer = &shared.issuer;
    let basis = issuer.registry_version();
    let mut result = issuer
        .authenticate(presented, issuer.ports().clock.now())
        .await;
    if matches!(
        result,
        Err(AuthenticationError::Refused {
            rests_on_state: true,
            ..
        } | AuthenticationError::External {
            rests_on_state: true,
            ..
        })
    ) && renewed(issuer, basis).await?
    {
        result = issuer
            .authenticate(presented, issuer.ports().clock.now())
            .await;
    }
    match result {
        Ok(client) => Ok(client),
        Err(AuthenticationError::Refused {
            reason,
            unverified_client_id,
            ..
        }) => {
            let claimed = unverified_client_id.unwrap_or_default();
            issuer.note_unproven(reason, &claimed, caller);
            if shared.refusals.is_exceeded(&caller.address, &claimed) {
                return Err(OAuthError::slow_down());
            }
            Err(OAuthError::invalid_client().because(reason))
        }
        Err(AuthenticationError::Assertion { problem, client }) => {
            let answer = OAuthError::invalid_assertion(problem.clone());
            refuse(issuer, &client, caller, (&answer, &problem, Value::Null));
            Err(answer)
        }
        Err(AuthenticationError::External {
            problem, claimed, ..
        }) => {
            let reason = "a token of a trusted issuer proves no agent";
            issuer.note_unproven(reason, &claimed, caller);
            if shared.refusals.is_exceeded(&caller.address, &claimed) {
                return Err(OAuthError::slow_down());
            }
            Err(OAuthError::invalid_assertion(problem))
        }
        Err(AuthenticationError::Unavailable(source)) => {
            Err(OAuthError::unavailable().because(source))
        }
    }
}

/// What is said of something that is taken once and was used before; and what the audit says.
fn replayed(what: Spent) -> (OAuthError, &'static str) {
    match what {
        Spent::ClientAssertion => (
            OAuthError::invalid_assertion("jti was used before; each assertion is accepted once"),
            "the assertion was used before",
        ),
        Spent::SubjectToken => (
            OAuthError::invalid_request("subject_token: it was used before and is accepted once"),
            "the subject token was used before",
        ),
        Spent::ActorToken => (
            OAuthError::invalid_request("actor_token: it was used before and is accepted once"),
            "the actor token was used before",
        ),
        Spent::DpopProof => (
            OAuthError::invalid_dpop_proof("jti was used before; each proof is accepted once"),
            "the proof was used before",
        ),
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
    let endpoint = format!("{}/oauth2/token", issuer.url());
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
                client_credentials::authorize(client, request, proven, &issuer.policy()).map_err(
                    |error| Refused {
                        error,
                        facts: Value::Null,
                    },
                ),
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
            "subject_token": delegated.parent.id,
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

/// Brings the cache up to the database; true when it is newer than the refusal's basis.
async fn renewed(issuer: &Issuer, basis: i64) -> Result<bool, OAuthError> {
    issuer
        .renew(basis)
        .await
        .map_err(|error| OAuthError::unavailable().because(error))
}

/// Audits a refusal of an agent that proved itself: the answer, why, and further facts (an object, or
/// null).
fn refuse(
    issuer: &Arc<Issuer>,
    client: &AgentAggregate,
    caller: &Caller,
    (answer, reason, facts): (&OAuthError, &str, Value),
) {
    let mut detail = json!({ "error": answer.code().as_str(), "reason": reason });
    if let (Some(detail), Value::Object(facts)) = (detail.as_object_mut(), facts) {
        detail.extend(facts);
    }
    issuer.note_refusal(AuditDraft {
        at: issuer.ports().clock.now_millis(),
        event: AuditEvent::TokenRefused,
        actor: format!("agent:{}", client.agent.name),
        target: client.agent.subject.as_str().to_owned(),
        agent: Some(client.agent.id.clone()),
        token_id: None,
        request_id: caller.request_id.clone(),
        address: caller.address.clone(),
        detail: detail.to_string(),
    });
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

/// Refusals a second that one address gets for one client before it is told to slow down, after a
/// burst. A right credential is never held back, so that nobody can lock an agent out.
const REFUSALS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("20 is not 0");
const REFUSAL_BURST: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");

/// Counts refusals per address and claimed client, in a fixed number of cells.
pub(crate) struct RefusalLimiter {
    hasher: RandomState,
    cells: DefaultKeyedRateLimiter<u16>,
}

impl std::fmt::Debug for RefusalLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RefusalLimiter")
    }
}

impl RefusalLimiter {
    pub(super) fn new() -> Self {
        let quota = Quota::per_second(REFUSALS_PER_SECOND).allow_burst(REFUSAL_BURST);
        Self {
            hasher: RandomState::new(),
            cells: RateLimiter::keyed(quota),
        }
    }

    /// Counts one refusal; true when there were too many.
    fn is_exceeded(&self, address: &str, claimed: &str) -> bool {
        let [low, high, ..] = self.hasher.hash_one((address, claimed)).to_le_bytes();
        self.cells
            .check_key(&u16::from_le_bytes([low, high]))
            .is_err()
    }
}
