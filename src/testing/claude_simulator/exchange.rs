//! `POST /v1/oauth/token`: the exchange (RFC 7523 §2.1 with a JSON body).

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::Shared;
use super::answer::{ApiError, ok, request_id, respond};
use super::state::{Attempt, Grant, SimulatedExchange, new_token};
use crate::jose::UnverifiedJws;
use crate::ports::request::RequestId;
use crate::ports::time::UnixTime;
use crate::relying_party::claude::{
    ASSERTION_MAX_BYTES, Accepted, Denial, Denied, Evaluation, ExchangeRequest, FederationIssuer,
    FederationRule, SKEW_SECONDS, ServiceAccount, evaluate,
};

pub(super) async fn exchange(
    State(shared): State<Shared>,
    Extension(id): Extension<RequestId>,
    body: Bytes,
) -> Response {
    let now = shared.0.clock.now();
    let parsed = json_object(&body).and_then(|body| Ok(ExchangeRequest::parse(&body)?));
    let outcome = match parsed {
        Ok((assertion, request)) => {
            let asked = Asked {
                assertion: &assertion,
                request: &request,
                now,
            };
            run(&shared, &id, &asked).await
        }
        Err(refused) => {
            // Claude's history has no entry for these either.
            shared.tell(SimulatedExchange {
                at: now,
                request_id: request_id(&id),
                rule_id: None,
                subject: None,
                acting_agent: None,
                outcome: Err(refused.to_string()),
            });
            Err(refused)
        }
    };
    respond(outcome, &id)
}

/// One request to exchange a token.
struct Asked<'a> {
    assertion: &'a str,
    request: &'a ExchangeRequest,
    now: UnixTime,
}

/// A rule with its issuer and its target.
struct Found {
    rule: FederationRule,
    issuer: FederationIssuer,
    account: ServiceAccount,
}

async fn run(shared: &Shared, id: &RequestId, asked: &Asked<'_>) -> Result<Response, ApiError> {
    let Asked {
        assertion,
        request,
        now,
    } = *asked;
    let found = find(shared, request);
    let outcome = match &found {
        Ok(found) => judge(shared, found, asked).await,
        Err(denied) => Err(denied.clone()),
    };
    let attempt = Attempt {
        at: now,
        request_id: request_id(id),
        rule_id: request.federation_rule_id.clone(),
        issuer_id: found.as_ref().ok().map(|found| found.issuer.id.clone()),
        service_account_id: request.service_account_id.clone(),
        claims: unverified_claims(assertion),
        denied: outcome.as_ref().err().cloned(),
    };
    let granted = outcome.as_ref().map(|accepted| accepted.access_lifetime);
    shared.tell(attempt.told(granted.unwrap_or_default()));
    shared.memory().record(attempt);
    match (outcome, found) {
        (Ok(accepted), Ok(found)) => Ok(ok(&issue(shared, &found, accepted, now))),
        (Err(denied), _) | (_, Err(denied)) => Err(ApiError::denied(&denied, shared.0.explain)),
    }
}

/// The body as a JSON object.
pub(super) fn json_object(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    serde_json::from_slice(body)
        .map_err(|_| ApiError::invalid("the request body is not a JSON object"))
}

fn find(shared: &Shared, request: &ExchangeRequest) -> Result<Found, Denied> {
    let rule_id = &request.federation_rule_id;
    if request.organization_id != shared.0.organization_id {
        return Err(Denial::RuleUnknown.because(format!(
            "{} is not this organization, which is {}",
            request.organization_id, shared.0.organization_id
        )));
    }
    let registry = shared.registry();
    let found = registry.rule(rule_id).and_then(|rule| {
        Some(Found {
            rule: rule.clone(),
            issuer: registry.issuer(&rule.issuer_id)?.clone(),
            account: registry.account(rule.service_account_id())?.clone(),
        })
    });
    found.ok_or_else(|| Denial::RuleUnknown.because(format!("the rule {rule_id} does not exist")))
}

async fn judge(shared: &Shared, found: &Found, asked: &Asked<'_>) -> Result<Accepted, Denied> {
    let Asked {
        assertion,
        request,
        now,
    } = *asked;
    // Before the keys are fetched: an archived rule or an oversized token does not justify a fetch.
    if found.rule.archived_at.is_some() {
        return Err(Denial::RuleArchived.because(format!("{} is archived", found.rule.id)));
    }
    if assertion.len() > ASSERTION_MAX_BYTES {
        let size = format!("the token has {} bytes", assertion.len());
        return Err(Denial::TooLarge.because(size));
    }
    let note = |is_good| {
        let mut registry = shared.registry();
        registry.note_fetch(&found.issuer.id, is_good, now);
    };
    let keys = shared.0.keys.keys(&found.issuer, now, note).await?;
    let accepted = evaluate(&Evaluation {
        token: assertion,
        issuer: &found.issuer,
        rule: &found.rule,
        service_account: Some(&found.account),
        keys: &keys,
        now,
        request,
    })?;
    // Not documented: whether a denied attempt consumes its jti, and for how long a jti is remembered. Here
    // only success consumes it, and it is remembered while the token could be accepted.
    let until = accepted.expires_at.plus(SKEW_SECONDS);
    if let Some(jti) = &accepted.jti
        && found.issuer.check_jti
        && !shared
            .memory()
            .consume_jti(&found.issuer.id, jti, until, now)
    {
        return Err(Denial::JtiReused.because(format!("`jti` {jti:?} was exchanged before")));
    }
    Ok(accepted)
}

fn issue(shared: &Shared, found: &Found, accepted: Accepted, now: UnixTime) -> Value {
    let token = new_token(&*shared.0.random);
    let grant = Grant {
        service_account_id: found.account.id.clone(),
        scope: found.rule.oauth_scope.clone(),
        workspace_id: accepted.workspace_id,
        expires_at: now.plus(accepted.access_lifetime),
    };
    let answer = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires_in": accepted.access_lifetime,
        "scope": grant.scope,
    });
    shared.memory().grant(&token, grant, now);
    answer
}

/// The claims for the history, unverified.
fn unverified_claims(assertion: &str) -> Value {
    UnverifiedJws::parse_foreign(assertion, ASSERTION_MAX_BYTES)
        .and_then(|jws| jws.unverified_claims())
        .map_or(Value::Null, Value::Object)
}
