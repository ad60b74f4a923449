//! Decides an exchange whose tokens are verified: pure, and the same at every call with the same input.

use serde_json::{Map, Value};

use crate::domain::actor::{ACTORS_MAX, Actor, ActorChain};
use crate::domain::agent::Agent;
use crate::domain::claims::AI_AGENT;
use crate::domain::delegation::{Delegation, PresentedSubject};
use crate::domain::id::DelegationId;
use crate::domain::resource::{Binding, Resource};
use crate::domain::scope::{Scopes, join_scopes};
use crate::domain::token_typ::TokenTyp;
use crate::issuer::cache::Policy;
use crate::ports::time::UnixTime;
use crate::store::AgentAggregate;

use super::super::rights::{Reachable, available, identifiers, not_granted, reachable};
use super::super::{AuthorizationError, Target, reach};
use super::tokens::{BOUND, VerifiedSubject, is_held};
use super::{TokenExchangeRequest, TokenType};

/// An exchange whose tokens are verified: all that is decided on.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'e> {
    /// The agent that asks, with its delegations.
    pub(super) client: &'e AgentAggregate,
    pub(super) request: &'e TokenExchangeRequest,
    pub(super) subject: &'e VerifiedSubject,
    /// The thumbprint of the key that the request proved to hold.
    pub(super) proven_jkt: Option<&'e str>,
    pub(super) policy: &'e Policy,
    pub(super) now: UnixTime,
}

/// What an exchange results in.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) target: Target,
    pub(super) scopes: Scopes,
    /// In seconds.
    pub(super) lifetime: i64,
    pub(super) actors: ActorChain,
    pub(super) delegation: DelegationId,
}

/// Lifetimes of one kind of token, in seconds.
#[derive(Clone, Copy)]
struct Lifetimes {
    default: i64,
    max: i64,
}

impl Exchange<'_> {
    /// The decision.
    pub(super) fn decide(&self) -> Result<Decision, AuthorizationError> {
        let (agent, subject) = (&self.client.agent, self.subject);
        if subject.subject == agent.subject.as_str() {
            return Err(AuthorizationError::InvalidRequest(
                "subject_token: it is about this agent itself; an agent that acts for nobody else uses grant_type=client_credentials".to_owned(),
            ));
        }
        if !is_held(subject.jkt.as_deref(), self.proven_jkt) {
            return Err(AuthorizationError::InvalidRequest(format!(
                "subject_token: {BOUND}"
            )));
        }
        check_may_act(&subject.claims, agent, &self.policy.settings.url)?;
        let matching = self.matching();
        if matching.is_empty() {
            return Err(AuthorizationError::InvalidTarget(format!(
                "no delegation lets this agent act for {}",
                subject.subject
            )));
        }
        if self.request.requested_token_type == TokenType::IdToken {
            self.identity(&matching)
        } else {
            self.access(&matching)
        }
    }

    /// The live delegations for the subject, oldest first.
    fn matching(&self) -> Vec<&Delegation> {
        let subject = self.subject;
        self.client
            .delegations
            .iter()
            .filter(|held| held.is_live(self.now))
            .filter(|held| {
                held.subject.matches(PresentedSubject {
                    subject: &subject.subject,
                    trusted_issuer: subject.trusted_issuer.as_ref(),
                    claims: &subject.proven,
                })
            })
            .collect()
    }

    fn access(&self, matching: &[&Delegation]) -> Result<Decision, AuthorizationError> {
        let settings = &self.policy.settings;
        let reach = reach(&self.client.agent, self.policy);
        let reachable = reachable(&reach, self.policy);
        let chosen = self.chosen(matching, &reachable)?;
        let resource = chosen.resource;
        if !resource.allows_delegation() {
            return Err(AuthorizationError::InvalidTarget(format!(
                "{} takes no delegated tokens; an administrator can allow them with: firman resource edit {} --allow-delegation",
                resource.identifier.as_str(),
                resource.name
            )));
        }
        let ceiling = self.ceiling(resource)?;
        let lifetimes = Lifetimes {
            default: resource.default_lifetime(settings),
            max: resource.max_lifetime(settings),
        };
        let mut first_refusal = None;
        // The oldest delegation that permits all that is asked for, whatever an older one refuses.
        for held in matching.iter().filter(|held| held.resource == resource.id) {
            let permitted = self.under(held, chosen, &ceiling).and_then(|scopes| {
                Ok(Decision {
                    target: Target::of(resource, settings),
                    scopes,
                    lifetime: self.lifetime(held, lifetimes)?,
                    actors: self.chain(held)?,
                    delegation: held.id.clone(),
                })
            });
            match permitted {
                Ok(decision) => return Ok(decision),
                Err(error) => {
                    first_refusal.get_or_insert(error);
                }
            }
        }
        Err(first_refusal
            .unwrap_or_else(|| self.not_delegated(resource.identifier.as_str(), &reachable)))
    }

    /// The resource that the token is for: the one that is named, the only one that is delegated, or else the
    /// only one where subject, agent and delegation all allow every scope that is asked for.
    fn chosen<'p>(
        &self,
        matching: &[&Delegation],
        reachable: &[Reachable<'p>],
    ) -> Result<Reachable<'p>, AuthorizationError> {
        let candidates: Vec<Reachable<'p>> = reachable
            .iter()
            .filter(|one| matching.iter().any(|held| held.resource == one.resource.id))
            .copied()
            .collect();
        if let Some(audience) = self.request.audience.as_deref() {
            return candidates
                .into_iter()
                .find(|one| one.is_named(audience))
                .ok_or_else(|| self.not_delegated(audience, reachable));
        }
        if candidates.is_empty() {
            return Err(AuthorizationError::InvalidTarget(format!(
                "the delegations for {} name no resource that is granted to this agent",
                self.subject.subject
            )));
        }
        if let [only] = candidates.as_slice() {
            return Ok(*only);
        }
        let mut meant = candidates
            .iter()
            .filter(|one| self.is_meant(**one, matching));
        match (meant.next(), meant.next()) {
            (Some(only), None) => Ok(*only),
            (None | Some(_), _) => Err(AuthorizationError::InvalidTarget(format!(
                "several resources are delegated; name one with the parameter resource: {}",
                identifiers(&candidates)
            ))),
        }
    }

    /// Whether a request that names no resource can mean this one.
    fn is_meant(&self, candidate: Reachable<'_>, matching: &[&Delegation]) -> bool {
        let resource = candidate.resource;
        !self.request.scopes.is_empty()
            && resource.allows_delegation()
            && self.ceiling(resource).is_ok_and(|ceiling| {
                matching
                    .iter()
                    .filter(|held| held.resource == resource.id)
                    .any(|held| self.under(held, candidate, &ceiling).is_ok())
            })
    }

    /// An ID token about the subject, for the agent that acts.
    fn identity(&self, matching: &[&Delegation]) -> Result<Decision, AuthorizationError> {
        let name = self.client.agent.name.as_str();
        if self
            .request
            .audience
            .as_deref()
            .is_some_and(|audience| audience != name)
        {
            return Err(AuthorizationError::InvalidTarget(format!(
                "an ID token is for the client that asks for it: leave resource and audience out, or name {name}"
            )));
        }
        if !self.request.scopes.is_empty() {
            return Err(AuthorizationError::InvalidScope(
                "an ID token has no scope; leave it out".to_owned(),
            ));
        }
        let settings = &self.policy.settings;
        let lifetimes = Lifetimes {
            default: settings.default_lifetime,
            max: settings.max_lifetime,
        };
        let under = |held: &Delegation| {
            Ok(Decision {
                target: Target {
                    audience: name.to_owned(),
                    typ: TokenTyp::Jwt,
                    algorithm: settings.default_algorithm,
                    // It identifies the subject and opens nothing: no service would ask for the key.
                    binding: Binding::None,
                },
                scopes: Scopes::new(),
                lifetime: self.lifetime(held, lifetimes)?,
                actors: self.chain(held)?,
                delegation: held.id.clone(),
            })
        };
        let first = under(matching[0]);
        matching[1..].iter().fold(first, |found, held| {
            found.or_else(|refusal| under(held).or(Err(refusal)))
        })
    }

    /// The chain with the presenter at its outside.
    fn chain(&self, held: &Delegation) -> Result<ActorChain, AuthorizationError> {
        let actor = Actor {
            issuer: self.policy.settings.url.clone(),
            subject: self.client.agent.subject.as_str().to_owned(),
            profile: AI_AGENT.to_owned(),
        };
        self.subject
            .actors
            .extended(actor, held.max_depth.min(ACTORS_MAX))
            .map_err(|error| {
                AuthorizationError::InvalidRequest(format!(
                    "subject_token: {error}; it is refused, never shortened"
                ))
            })
    }

    /// The most that the subject may pass on for `resource`; `None`: whatever the delegation says.
    fn ceiling(&self, resource: &Resource) -> Result<Option<Scopes>, AuthorizationError> {
        let subject = self.subject;
        // A detour over another audience does not restore a scope that was left out once.
        let token_scopes = subject
            .passed_on
            .iter()
            .filter(|passed| passed.audience == resource.identifier.as_str())
            .map(|passed| passed.scopes.clone())
            .reduce(|all, scopes| all.intersection(&scopes).cloned().collect());
        let Some(aggregate) = &subject.agent else {
            return Ok(token_scopes);
        };
        let Some(granted) = reach(&aggregate.agent, self.policy).remove(&resource.id) else {
            return Err(AuthorizationError::InvalidTarget(format!(
                "{} is not granted to {}, so nobody can get it for that agent",
                resource.identifier.as_str(),
                subject.subject
            )));
        };
        Ok(Some(match token_scopes {
            Some(scopes) => scopes.intersection(&granted).cloned().collect(),
            None => granted,
        }))
    }

    /// The scopes under one delegation.
    fn under(
        &self,
        held: &Delegation,
        chosen: Reachable<'_>,
        ceiling: &Option<Scopes>,
    ) -> Result<Scopes, AuthorizationError> {
        let Reachable { resource, granted } = chosen;
        let wanted = &self.request.scopes;
        let delegated = available(&held.scopes, resource);
        let mut common: Scopes = granted.intersection(&delegated).cloned().collect();
        if let Some(ceiling) = ceiling {
            common = common.intersection(ceiling).cloned().collect();
        }
        let identifier = resource.identifier.as_str();
        if !wanted.is_subset(&common) {
            let refused = join_scopes(&wanted.difference(&common).cloned().collect());
            let offered = if common.is_empty() {
                "none".to_owned()
            } else {
                join_scopes(&common)
            };
            return Err(AuthorizationError::InvalidScope(format!(
                "not available for {} at {identifier}: {refused}; subject, agent and delegation all allow: {offered}",
                self.subject.subject
            )));
        }
        if !wanted.is_empty() {
            return Ok(wanted.clone());
        }
        if common.is_empty() && !resource.scopes.is_empty() {
            return Err(AuthorizationError::InvalidScope(format!(
                "no scope of {identifier} is allowed by subject, agent and delegation together"
            )));
        }
        Ok(common)
    }

    /// Never past the subject token's end or the delegation's.
    fn lifetime(&self, held: &Delegation, lifetimes: Lifetimes) -> Result<i64, AuthorizationError> {
        let end = self.subject.expires_at.min(held.expires_at);
        let remaining = end.since(self.now);
        if remaining < 1 {
            return Err(AuthorizationError::InvalidRequest(
                "subject_token: it has expired".to_owned(),
            ));
        }
        let cap = lifetimes.max.min(remaining);
        match self.request.expires_in {
            None => Ok(lifetimes.default.min(cap)),
            Some(seconds) if (1..=cap).contains(&seconds) => Ok(seconds),
            Some(_) => Err(AuthorizationError::InvalidRequest(format!(
                "expires_in must be 1 to {cap} seconds here: a delegated token never outlives the subject token or the delegation"
            ))),
        }
    }

    fn not_delegated(&self, audience: &str, reachable: &[Reachable<'_>]) -> AuthorizationError {
        if reachable.iter().any(|one| one.is_named(audience)) {
            return AuthorizationError::InvalidTarget(format!(
                "no delegation lets this agent act for {} at {audience}",
                self.subject.subject
            ));
        }
        not_granted(audience, reachable)
    }
}

/// RFC 8693 §4.4: a subject token that says who may act is for nobody else.
fn check_may_act(
    claims: &Map<String, Value>,
    agent: &Agent,
    issuer: &str,
) -> Result<(), AuthorizationError> {
    let Some(may_act) = claims.get("may_act") else {
        return Ok(());
    };
    let is_this_agent = may_act.as_object().is_some_and(|members| {
        let names = members.contains_key("sub") || members.contains_key("client_id");
        names
            && members.iter().all(|(name, value)| match name.as_str() {
                "iss" => value == issuer,
                "sub" => value == agent.subject.as_str(),
                "client_id" => value == agent.name.as_str(),
                "sub_profile" => value == AI_AGENT,
                // A condition that we do not understand is one that we cannot say is met.
                _ => false,
            })
    });
    if is_this_agent {
        return Ok(());
    }
    Err(AuthorizationError::InvalidRequest(
        "subject_token: its may_act names another actor".to_owned(),
    ))
}
