//! Who calls: authentication of clients as the endpoints for them share it, with the audit of refusals
//! and the limit on them. `issuer/authenticate/` verifies; here is what is done with the answer.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use serde_json::{Value, json};

use crate::domain::audit::{AuditDraft, AuditEvent};
use crate::domain::id::AgentId;
use crate::issuer::admission::Admission;
use crate::issuer::authenticate::{AuthenticatedClient, AuthenticationError, PresentedCredential};
use crate::issuer::single_use::Spent;
use crate::issuer::{Caller, Issuer};
use crate::store::AgentAggregate;

use super::error::OAuthError;
use super::form::Form;
use super::in_flight::Place;
use super::{Shared, client_auth};

/// Longest wait for an answer: past it the database is away, and clients have better things to do than
/// to wait. What is under way then is dropped: the ledger does not record a
/// request that has no waiting caller.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// The client of a request that mints nothing, let in: authenticated as at the token endpoint (RFC 7662
/// §2.1), its assertion used up, with its place among the requests that it may have in flight.
pub(super) async fn admitted(
    shared: &Shared,
    caller: &Caller,
    headers: &HeaderMap,
    form: &Form,
) -> Result<(AuthenticatedClient, Place), OAuthError> {
    let presented = client_auth::parse(headers, form)?;
    // A proof that went stale is looked at again on fresh rows, until the answer is due.
    loop {
        let client = authenticate(shared, &presented, caller).await?;
        let place = shared.in_flight.place(&client.aggregate().agent.id).await;
        let admission = shared.issuer.admit(&client).await;
        match admission.map_err(|error| OAuthError::unavailable().because(error))? {
            Admission::Admitted => return Ok((client, place)),
            Admission::Stale => {}
            Admission::Replayed(what) => {
                let used = (what, Value::Null);
                return Err(replayed(&shared.issuer, client.aggregate(), caller, used));
            }
        }
    }
}

/// The answer to something that is taken once and was used before, audited.
pub(super) fn replayed(
    issuer: &Arc<Issuer>,
    client: &AgentAggregate,
    caller: &Caller,
    (what, facts): (Spent, Value),
) -> OAuthError {
    let (answer, reason) = match what {
        Spent::ClientAssertion => (
            OAuthError::invalid_assertion("jti was used before; each assertion is accepted once"),
            "the assertion was used before",
        ),
        Spent::SubjectToken => (
            OAuthError::invalid_request(
                "subject_token: its jti was used before; each token of its issuer is accepted once",
            ),
            "the subject token was used before",
        ),
        Spent::ActorToken => (
            OAuthError::invalid_request(
                "actor_token: its jti was used before; each token of its issuer is accepted once",
            ),
            "the actor token was used before",
        ),
        Spent::DpopProof => (
            OAuthError::invalid_dpop_proof("jti was used before; each proof is accepted once"),
            "the proof was used before",
        ),
    };
    refuse(issuer, client, caller, (&answer, reason, facts));
    answer
}

/// Another method than POST at an endpoint for clients.
pub(super) fn post_only(endpoint: &str) -> Response {
    let body = json!({ "error": "invalid_request", "error_description": format!("the {endpoint} takes POST") });
    (
        StatusCode::METHOD_NOT_ALLOWED,
        [(header::ALLOW, "POST"), (header::CACHE_CONTROL, "no-store")],
        Json(body),
    )
        .into_response()
}

/// Authenticates; a refusal that a newer row could change is decided once more on fresh rows.
pub(super) async fn authenticate(
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
        } | AuthenticationError::Assertion {
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
            issuer.note_unproven(&reason, &claimed, caller);
            if shared.refusals.is_exceeded(&caller.address, &claimed) {
                return Err(OAuthError::slow_down());
            }
            Err(OAuthError::invalid_client().because(reason))
        }
        Err(AuthenticationError::Assertion {
            problem, client, ..
        }) => {
            let answer = OAuthError::invalid_assertion(problem.clone());
            refuse(issuer, &client, caller, (&answer, &problem, Value::Null));
            Err(answer)
        }
        Err(AuthenticationError::External {
            problem, claimed, ..
        }) => {
            issuer.note_unproven(&problem, &claimed, caller);
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

/// Brings the cache up to the database; true when it is newer than the refusal's basis.
pub(super) async fn renewed(issuer: &Issuer, basis: i64) -> Result<bool, OAuthError> {
    issuer
        .renew(basis)
        .await
        .map_err(|error| OAuthError::unavailable().because(error))
}

/// Audits a refusal of an agent that proved itself: the answer, why, and further facts (an object, or
/// null).
pub(super) fn refuse(
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

/// Refusals a second that one address gets for one client before it is told to slow down, after a
/// burst. A right credential is never held back, so that nobody can lock an agent out.
const REFUSALS_PER_SECOND: NonZeroU32 = NonZeroU32::new(20).expect("20 is not 0");
const REFUSAL_BURST: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");

/// Revocations a second that one client gets, after a burst: each stands in the revocation list until its
/// token would have expired, and one client must not fill the list for everybody.
const REVOCATIONS_PER_SECOND: NonZeroU32 = NonZeroU32::new(1).expect("1 is not 0");
const REVOCATION_BURST: NonZeroU32 = NonZeroU32::new(60).expect("60 is not 0");

/// Agents whose revocations are counted before the cells of those that may do as they like again are dropped.
const COUNTED_AGENTS: usize = 1024;

/// Counts the revocations of each agent for itself: one that is told to wait makes no other wait. It has as
/// many cells as agents revoked something in the last minute, and some more.
pub(crate) struct RevocationLimiter {
    cells: DefaultKeyedRateLimiter<AgentId>,
    swept_at: AtomicUsize,
}

impl std::fmt::Debug for RevocationLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RevocationLimiter")
    }
}

impl RevocationLimiter {
    pub(super) fn new() -> Self {
        let quota = Quota::per_second(REVOCATIONS_PER_SECOND).allow_burst(REVOCATION_BURST);
        Self {
            cells: RateLimiter::keyed(quota),
            swept_at: AtomicUsize::new(COUNTED_AGENTS),
        }
    }

    /// Counts one more of an agent that proved itself; true when there were too many.
    pub(super) fn is_exceeded(&self, agent: &AgentId) -> bool {
        if self.cells.len() >= self.swept_at.load(Ordering::Relaxed) {
            self.cells.retain_recent();
            // Twice what is left, so that a sweep is paid for by as many new cells.
            let next = COUNTED_AGENTS.max(2 * self.cells.len());
            self.swept_at.store(next, Ordering::Relaxed);
        }
        self.cells.check_key(agent).is_err()
    }
}

/// Counts refusals of strangers, in a fixed number of cells. Two that share one by chance share its limit, and
/// only for what is wrong anyway.
pub(crate) struct Limiter {
    hasher: RandomState,
    cells: DefaultKeyedRateLimiter<u16>,
}

impl std::fmt::Debug for Limiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Limiter")
    }
}

impl Limiter {
    /// By address and claimed client.
    pub(super) fn of_refusals() -> Self {
        let quota = Quota::per_second(REFUSALS_PER_SECOND).allow_burst(REFUSAL_BURST);
        Self {
            hasher: RandomState::new(),
            cells: RateLimiter::keyed(quota),
        }
    }

    /// Counts one more; true when there were too many.
    pub(super) fn is_exceeded(&self, address: &str, client: &str) -> bool {
        let [low, high, ..] = self.hasher.hash_one((address, client)).to_le_bytes();
        self.cells
            .check_key(&u16::from_le_bytes([low, high]))
            .is_err()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_that_revokes_too_often_slows_no_other_down() {
        let limiter = RevocationLimiter::new();
        let busy = AgentId::from_text("busy");
        let allowed = (0..1000).filter(|_| !limiter.is_exceeded(&busy)).count();
        assert!((60..110).contains(&allowed), "{allowed}");
        // With 65,536 shared cells some of so many would have met the busy one's.
        for number in 0..200_000 {
            let agent = AgentId::from_text(format!("agent-{number}"));
            assert!(!limiter.is_exceeded(&agent), "{number}");
        }
        // One a second comes back; a sweep that forgave would give the whole burst.
        let allowed = (0..100).filter(|_| !limiter.is_exceeded(&busy)).count();
        assert!(allowed < 50, "{allowed}");
    }
}
