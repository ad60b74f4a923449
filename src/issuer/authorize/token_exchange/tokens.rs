//! Verifies the tokens of an exchange, issued here or by a trusted issuer. `decide.rs` decides what may be made
//! from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::domain::actor::ActorChain;
use crate::domain::claims::{USER, is_reserved_claim};
use crate::domain::id::TrustedIssuerId;
use crate::domain::subject::{issuer_of_user, user_subject};
use crate::issuer::Issuer;
use crate::issuer::authenticate::AuthenticatedClient;
use crate::issuer::authenticate::trusted_issuer::NoAgent;
use crate::issuer::cache::Policy;
use crate::issuer::external_token::{ExternalToken, ExternalTokenError, TrustedFor};
use crate::issuer::line::Line;
use crate::issuer::own_token::OwnToken;
use crate::issuer::single_use::SpentAssertion;
use crate::ports::time::UnixTime;
use crate::store::{AgentAggregate, StoreError};

use super::super::AuthorizationError;
use super::origin::{PassedOn, SubjectOrigin, foreign_actors, outside_root, traced_origin};
use super::{ExchangeError, ParentToken, ProvenSubject, TokenExchangeRequest, TokenType, facts};

/// A verified subject token.
#[derive(Clone, Debug)]
pub(super) struct VerifiedSubject {
    pub(super) subject: String,
    pub(super) profile: String,
    /// The subject's agent, if the subject is an agent of this issuer.
    pub(super) agent: Option<Arc<AgentAggregate>>,
    /// Every agent of this issuer that is the token's subject or an actor in it.
    pub(super) concerned: Vec<Arc<AgentAggregate>>,
    pub(super) trusted_issuer: Option<TrustedIssuerId>,
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) claims: Map<String, Value>,
    /// The claims about the subject that a trusted issuer signed. The claims of tokens issued here are not
    /// included.
    pub(super) proven: Map<String, Value>,
    pub(super) actors: ActorChain,
    /// Audience and scopes of a token issued here, and of those that it was made from.
    pub(super) passed_on: Vec<PassedOn>,
    pub(super) parent: ParentToken,
    pub(super) expires_at: UnixTime,
    pub(super) jkt: Option<String>,
    pub(super) spends: Option<SpentAssertion>,
}

impl Issuer {
    /// Verifies the subject token and reads the agents concerned.
    pub(super) async fn subject_token(
        &self,
        client: &AuthenticatedClient,
        request: &TokenExchangeRequest,
        policy: &Policy,
        now: UnixTime,
    ) -> Result<VerifiedSubject, ExchangeError> {
        let unproven = |problem: String| ExchangeError::Refused {
            error: AuthorizationError::invalid_request(problem),
            facts: facts(request, None),
        };
        let unverified = request.unverified_subject_token.as_str();
        if !self.claims_to_be_ours(unverified) {
            let token = self
                .verify_external(unverified, TrustedFor::Subject, now)
                .await
                .map_err(|error| external_fault("subject_token", error, facts(request, None)))?;
            return outside_subject(token).map_err(|error| ExchangeError::Refused {
                error,
                facts: facts(request, None),
            });
        }
        let token = self
            .verify_own(unverified, now)
            .map_err(|error| unproven(format!("subject_token: {error}")))?;
        let proven = ProvenSubject {
            subject: &token.subject,
            token_id: &token.token_id,
            actors: &token.actors,
        };
        let refused = |problem: String| ExchangeError::Refused {
            error: AuthorizationError::invalid_request(problem),
            facts: facts(request, Some(proven)),
        };
        check_presentable(&token, client, request, policy, &self.url).map_err(refused)?;
        if !token.is_vouched_for(policy) {
            return Err(refused(
                "subject_token: its subject's trusted issuer is no longer trusted".to_owned(),
            ));
        }
        let mut concerned = Vec::new();
        let mut subject_agent = None;
        for principal in token.principals(&self.url) {
            // A user of a trusted issuer is never an agent, even if the names are equal.
            if principal == token.subject && token.subject_profile == USER {
                continue;
            }
            let Some(agent) = self.agent_by_subject(&principal).await? else {
                return Err(refused(format!(
                    "subject_token: {principal} is no longer an agent of this issuer"
                )));
            };
            if !agent.agent.is_active(now) {
                return Err(refused(format!(
                    "subject_token: the agent {principal} is suspended, removed or past its expiry"
                )));
            }
            if principal == token.subject {
                subject_agent = Some(Arc::clone(&agent));
            }
            concerned.push(agent);
        }
        let traced = self.traced(&token).await?;
        let origin = traced_origin(&token, traced).map_err(refused)?;
        let trusted_issuer = match token.subject_profile.as_str() {
            USER => trusted_issuer_of(&token.subject, policy),
            _ => None,
        };
        let mut subject = own_subject(token, subject_agent, concerned, origin);
        subject.trusted_issuer = trusted_issuer;
        Ok(subject)
    }

    /// An actor token adds nothing to client authentication; it must be the client's own.
    pub(super) async fn actor_token(
        &self,
        client: &AuthenticatedClient,
        request: &TokenExchangeRequest,
        proven_jkt: Option<&str>,
        now: UnixTime,
    ) -> Result<Option<SpentAssertion>, ExchangeError> {
        let refused = |problem: &str| ExchangeError::Refused {
            error: AuthorizationError::invalid_request(format!("actor_token: {problem}")),
            facts: Value::Null,
        };
        let Some(unverified) = request.unverified_actor_token.as_deref() else {
            return Ok(None);
        };
        let agent = &client.aggregate().agent;
        if !self.claims_to_be_ours(unverified) {
            let token = self
                .verify_external(unverified, TrustedFor::Actor, now)
                .await
                .map_err(|error| external_fault("actor_token", error, Value::Null))?;
            let jkt = confirmation(&token.claims.other).map_err(|problem| refused(&problem))?;
            if !is_held(jkt, proven_jkt) {
                return Err(refused(BOUND));
            }
            if token.claims.other.contains_key("act") {
                return Err(refused(
                    "an actor token must not be delegated: it must not have `act`",
                ));
            }
            self.federated_agent(&token, Some(agent.name.as_str()), now)
                .await
                .map_err(|error| match error {
                    NoAgent::Told(problem) => refused(&problem),
                    NoAgent::Store(error) => error.into(),
                })?;
            return Ok(token.spends);
        }
        let token = self
            .verify_own(unverified, now)
            .map_err(|error| refused(&error.to_string()))?;
        if !token.actors.is_empty() {
            return Err(refused(
                "an actor token must not be delegated: it must not have `act`",
            ));
        }
        if token.subject != agent.subject.as_str() || token.client_id != agent.name.as_str() {
            return Err(refused(
                "it was issued to another agent than the authenticated one",
            ));
        }
        if !is_held(token.jkt.as_deref(), proven_jkt) {
            return Err(refused(BOUND));
        }
        if self.is_revoked(&token).await? {
            return Err(refused("it was revoked"));
        }
        Ok(None)
    }

    async fn is_revoked(&self, token: &OwnToken) -> Result<bool, StoreError> {
        let (mut tx, _) = self.read().await?;
        let is_ended = self.is_ended(&mut tx, token).await?;
        tx.rollback().await?;
        Ok(is_ended)
    }

    /// The agent with that subject, removed agents included.
    pub(crate) async fn agent_by_subject(
        &self,
        subject: &str,
    ) -> Result<Option<Arc<AgentAggregate>>, StoreError> {
        let name = match self.registry.name_of(subject) {
            Some(name) => Some(name),
            None => {
                let (mut tx, _) = self.read().await?;
                let name = tx.agent_name_by_subject(&self.id, subject).await?;
                tx.rollback().await?;
                name
            }
        };
        let Some(name) = name else {
            return Ok(None);
        };
        let agent = self.registry.agent(&self.store, &self.id, &name).await?;
        if agent.is_some() {
            self.registry.note_name(subject, &name);
        }
        Ok(agent)
    }
}

/// The fault of a bound token that is presented without a proof of its key.
pub(super) const BOUND: &str =
    "it is bound to a key (`cnf.jkt`): send a DPoP proof made with that key";

/// Whether a token is unbound, or the request proved to hold the key that it is bound to.
pub(super) fn is_held(jkt: Option<&str>, proven_jkt: Option<&str>) -> bool {
    jkt.is_none_or(|jkt| proven_jkt == Some(jkt))
}

/// `cnf.jkt` of a token: the thumbprint of the key that it is bound to (RFC 9449 §6.1).
///
/// # Errors
/// When it is bound in another way: an unsupported binding cannot be checked.
fn confirmation(claims: &Map<String, Value>) -> Result<Option<&str>, String> {
    match claims.get("cnf") {
        None => Ok(None),
        Some(cnf) => match cnf.get("jkt").and_then(Value::as_str) {
            Some(jkt) => Ok(Some(jkt)),
            None => Err("its `cnf` is not supported".to_owned()),
        },
    }
}

fn external_fault(what: &str, error: ExternalTokenError, facts: Value) -> ExchangeError {
    match error {
        ExternalTokenError::Unproven { told, exact } => {
            let mut facts = facts;
            if exact != told
                && let Value::Object(facts) = &mut facts
            {
                facts.insert("cause".to_owned(), exact.into());
            }
            ExchangeError::Refused {
                error: AuthorizationError::invalid_request(format!("{what}: {told}")),
                facts,
            }
        }
        ExternalTokenError::Fault(problem) => ExchangeError::Refused {
            error: AuthorizationError::invalid_request(format!("{what}: {problem}")),
            facts,
        },
        ExternalTokenError::KeysUnavailable { .. } => ExchangeError::Unavailable(Box::new(error)),
    }
}

/// The trusted issuer of a user in a token issued here.
fn trusted_issuer_of(user: &str, policy: &Policy) -> Option<TrustedIssuerId> {
    let name = issuer_of_user(user)?;
    policy
        .trusted_issuers
        .values()
        .find(|trusted| trusted.name.as_str() == name)
        .map(|trusted| trusted.id.clone())
}

/// A token issued here may be exchanged by its recipients: its audience must be this issuer, the client, or a
/// resource whose server the client is. A token for an outside relying party may not be exchanged: anyone there
/// may have seen it.
fn check_presentable(
    token: &OwnToken,
    client: &AuthenticatedClient,
    request: &TokenExchangeRequest,
    policy: &Policy,
    issuer: &str,
) -> Result<(), String> {
    let agent = &client.aggregate().agent;
    let is_id_token = token.audience == agent.name.as_str();
    if request.subject_token_type == TokenType::IdToken && !is_id_token {
        return Err("subject_token: it is not an ID token for this client".to_owned());
    }
    if request.subject_token_type == TokenType::AccessToken && is_id_token {
        return Err(
            "subject_token: it is an ID token: set `subject_token_type` accordingly".to_owned(),
        );
    }
    let serves = policy.resources.values().any(|resource| {
        resource.identifier.as_str() == token.audience
            && resource.server.as_ref() == Some(&agent.id)
    });
    if is_id_token || serves || token.audience == issuer {
        return Ok(());
    }
    Err(format!(
        "subject_token: it was issued for {}, and this agent is not the server of that resource",
        token.audience
    ))
}

fn own_subject(
    token: OwnToken,
    agent: Option<Arc<AgentAggregate>>,
    concerned: Vec<Arc<AgentAggregate>>,
    origin: SubjectOrigin,
) -> VerifiedSubject {
    let attributes = match &agent {
        Some(_) => BTreeMap::new(),
        // Attributes of a trusted issuer's user are passed on.
        None => token
            .claims
            .other
            .iter()
            .filter(|(name, _)| !is_reserved_claim(name))
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect(),
    };
    VerifiedSubject {
        profile: token.subject_profile,
        agent,
        concerned,
        trusted_issuer: None,
        attributes,
        actors: token.actors,
        parent: origin.parent,
        passed_on: origin.passed_on,
        expires_at: token.expires_at,
        jkt: token.jkt,
        spends: None,
        subject: token.subject,
        claims: token.claims.other,
        proven: origin.proven,
    }
}

fn outside_subject(token: ExternalToken) -> Result<VerifiedSubject, AuthorizationError> {
    let fault =
        |problem: String| AuthorizationError::invalid_request(format!("subject_token: {problem}"));
    let subject = user_subject(&token.trusted.name, &token.subject)
        .map_err(|invalid| fault(format!("{} {}", invalid.field, invalid.problem)))?;
    let attributes = token
        .trusted
        .definition
        .claims
        .iter()
        .filter(|(attribute, _)| !is_reserved_claim(attribute))
        .filter_map(|(attribute, claim)| {
            let value = token.claims.other.get(claim)?.as_str()?;
            Some((attribute.clone(), value.to_owned()))
        })
        .collect();
    let jkt = confirmation(&token.claims.other)
        .map_err(fault)?
        .map(str::to_owned);
    // Without `iat` neither its lifetime nor that it is newer than a revocation can be checked.
    let Some(issued_at) = token.claims.issued_at else {
        return Err(fault("`iat` is required".to_owned()));
    };
    let parent = ParentToken {
        line: Line::of_root(token.reference.clone(), vec![subject.clone()], issued_at)
            .also_named(token.other_reference.clone()),
        root: Some(outside_root(&token, &subject, issued_at)),
        depth: 0,
    };
    let actors = foreign_actors(&token)?;
    Ok(VerifiedSubject {
        profile: USER.to_owned(),
        agent: None,
        concerned: Vec::new(),
        trusted_issuer: Some(token.trusted.id.clone()),
        attributes,
        actors,
        passed_on: Vec::new(),
        parent,
        expires_at: token.expires_at,
        jkt,
        spends: token.spends,
        subject,
        proven: token.claims.other.clone(),
        claims: token.claims.other,
    })
}
