//! The claims of a token: for an agent, and for an agent that acts for a subject.

use std::collections::BTreeMap;

use crate::domain::actor::ActorChain;
use crate::domain::agent::Agent;
use crate::domain::claims::{AI_AGENT, TokenClaims, is_reserved_claim};
use crate::domain::name::Name;
use crate::domain::scope::{Scopes, join_scopes};
use crate::ports::time::{UnixMillis, UnixTime};

use super::authorize::token_exchange::Delegated;
use super::authorize::{self, Authorization};
use super::cache::Policy;

/// The claims of an agent's access token, as `explain` shows them.
#[must_use]
pub(crate) fn agent_claims(
    issuer: &str,
    agent: &Agent,
    policy: &Policy,
    audience: &str,
    scopes: &Scopes,
) -> TokenClaims {
    let names = |names: Vec<&Name>| {
        names
            .into_iter()
            .map(|name| name.as_str().to_owned())
            .collect()
    };
    let mut attributes: BTreeMap<String, String> = agent
        .attributes
        .iter()
        .filter(|(name, _)| !is_reserved_claim(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    attributes.insert("owner".to_owned(), agent.owner.clone());
    TokenClaims {
        issuer: issuer.to_owned(),
        subject: agent.subject.as_str().to_owned(),
        audience: audience.to_owned(),
        expires_at: UnixTime::default(),
        issued_at: UnixTime::default(),
        token_id: String::new(),
        client_id: agent.name.as_str().to_owned(),
        scope: join_scopes(scopes),
        groups: names(
            authorize::groups(agent, policy)
                .into_iter()
                .map(|group| &group.name)
                .collect(),
        ),
        roles: names(authorize::role_names(agent, policy).into_iter().collect()),
        attributes,
        subject_profile: AI_AGENT.to_owned(),
        acting_agent: agent.subject.as_str().to_owned(),
        bound_to: None,
        actors: ActorChain::default(),
        origin: None,
    }
}

/// The claims of an authorized access token.
pub(super) fn access_token_claims(
    issuer: &str,
    authorization: &Authorization,
    policy: &Policy,
    token_id: String,
    now: UnixMillis,
) -> TokenClaims {
    let issued_at = now.seconds();
    let own = agent_claims(
        issuer,
        authorization.agent(),
        policy,
        &authorization.target().audience,
        authorization.scopes(),
    );
    let claims = match authorization.delegated() {
        Some(delegated) => delegated_claims(own, delegated, policy),
        None => own,
    };
    TokenClaims {
        issued_at,
        expires_at: issued_at.plus(authorization.lifetime()),
        token_id,
        bound_to: authorization.jkt().map(str::to_owned),
        ..claims
    }
}

/// The claims of a token that an agent gets for another subject. Of the subject's groups and roles it contains
/// those that the agent has too, so that a service that reads roles grants no more than both may have.
fn delegated_claims(own: TokenClaims, delegated: &Delegated, policy: &Policy) -> TokenClaims {
    let mut claims = TokenClaims {
        subject: delegated.subject.clone(),
        subject_profile: delegated.subject_profile.clone(),
        actors: delegated.actors.clone(),
        attributes: delegated.attributes.clone(),
        origin: Some(delegated.origin()),
        groups: Vec::new(),
        roles: Vec::new(),
        ..own.clone()
    };
    if let Some(aggregate) = &delegated.subject_agent {
        let subject = agent_claims(
            &own.issuer,
            &aggregate.agent,
            policy,
            &own.audience,
            &Scopes::new(),
        );
        let shared = |of_subject: Vec<String>, of_actor: &[String]| {
            of_subject
                .into_iter()
                .filter(|name| of_actor.contains(name))
                .collect()
        };
        claims.groups = shared(subject.groups, &own.groups);
        claims.roles = shared(subject.roles, &own.roles);
        claims.attributes = subject.attributes;
    }
    claims
}
