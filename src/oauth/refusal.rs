//! Audits the rejected requests of authenticated agents.

use std::sync::Arc;

use serde_json::Value;

use crate::domain::audit::{Answer, AuditDraft, AuditEvent, RefusalDetail};
use crate::domain::remedy::Remedy;
use crate::issuer::single_use::Spent;
use crate::issuer::{Caller, Issuer};
use crate::store::AgentAggregate;

use super::error::OAuthError;

/// A rejection, with what the audit shows of it.
pub(super) struct Refusal<'r> {
    /// The response to the client.
    pub(super) answer: &'r OAuthError,
    /// Why, for the operator.
    pub(super) reason: &'r str,
    /// What an administrator can do about it.
    pub(super) hint: Option<&'r Remedy>,
    /// Further members of the audit entry's detail: an object, or null.
    pub(super) facts: Value,
}

/// Audits the rejection of an authenticated agent's request.
pub(super) fn refuse(
    issuer: &Arc<Issuer>,
    client: &AgentAggregate,
    caller: &Caller,
    refusal: Refusal<'_>,
) {
    let mut detail = RefusalDetail::new(
        Answer::Error(refusal.answer.code().as_str()),
        refusal.reason,
    );
    detail.hint = refusal.hint;
    if let Value::Object(facts) = refusal.facts {
        detail.facts = facts;
    }
    let at = issuer.ports().clock.now_millis();
    let actor = format!("agent:{}", client.agent.name);
    issuer.note_refusal(AuditDraft {
        target: client.agent.subject.as_str().to_owned(),
        agent: Some(client.agent.id.clone()),
        ..caller.draft(at, AuditEvent::TokenRefused, actor, &detail)
    });
}

/// The response to a replay of a single-use assertion, token or proof, audited.
pub(super) fn replayed(
    issuer: &Arc<Issuer>,
    client: &AgentAggregate,
    caller: &Caller,
    what: Spent,
    facts: Value,
) -> OAuthError {
    let (answer, reason) = match what {
        Spent::ClientAssertion => (
            OAuthError::invalid_assertion("`jti` was used before; each assertion is accepted once"),
            "the assertion was used before",
        ),
        Spent::SubjectToken => (
            OAuthError::invalid_request(
                "subject_token: its `jti` was used before; each token of its issuer is accepted once",
            ),
            "the subject token was used before",
        ),
        Spent::ActorToken => (
            OAuthError::invalid_request(
                "actor_token: its `jti` was used before; each token of its issuer is accepted once",
            ),
            "the actor token was used before",
        ),
        Spent::DpopProof => (
            OAuthError::invalid_dpop_proof("`jti` was used before; each proof is accepted once"),
            "the proof was used before",
        ),
    };
    let refusal = Refusal {
        answer: &answer,
        reason,
        hint: None,
        facts,
    };
    refuse(issuer, client, caller, refusal);
    answer
}
