//! Decides an exchange whose tokens are verified: pure, and the same at every call with the same input.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::domain::actor::{ACTORS_MAX, Actor, ActorChain};
use crate::domain::agent::Agent;
use crate::domain::claims::AI_AGENT;
use crate::domain::delegation::{Delegation, PresentedSubject};
use crate::domain::id::DelegationId;
use crate::domain::resource::{Binding, Resource};
use crate::domain::scope::{Scopes, join_scopes};
use crate::domain::token_typ::TokenTyp;
use crate::issuer::authenticate::AuthenticatedClient;
use crate::issuer::cache::Policy;
use crate::issuer::single_use::Spent;
use crate::ports::time::UnixTime;

use super::super::client_credentials::{identifiers, not_granted, target};
use super::super::{
    Authorization, AuthorizationError, Basis, ConcernedAgent, GrantType, Target, available, reach,
};
use super::tokens::{BOUND, VerifiedSubject, is_held};
use super::{Delegated, TokenExchangeRequest, TokenType};

/// Decides an exchange whose tokens are verified.
pub(super) fn decide(
    client: &AuthenticatedClient,
    request: &TokenExchangeRequest,
    subject: &VerifiedSubject,
    (proven_jkt, now): (Option<&str>, UnixTime),
    policy: &Policy,
) -> Result<Authorization, AuthorizationError> {
    let agent = &client.aggregate().agent;
    if subject.subject == agent.subject.as_str() {
        return Err(AuthorizationError::InvalidRequest(
            "subject_token: it is about this agent itself; an agent that acts for nobody else uses grant_type=client_credentials".to_owned(),
        ));
    }
    if !is_held(subject.jkt.as_deref(), proven_jkt) {
        return Err(AuthorizationError::InvalidRequest(format!(
            "subject_token: {BOUND}"
        )));
    }
    check_may_act(&subject.claims, agent, &policy.settings.url)?;
    let matching: Vec<&Delegation> = client
        .aggregate()
        .delegations
        .iter()
        .filter(|held| held.is_live(now))
        .filter(|held| {
            held.subject.matches(PresentedSubject {
                subject: &subject.subject,
                trusted_issuer: subject.trusted_issuer.as_ref(),
                claims: &subject.proven,
            })
        })
        .collect();
    if matching.is_empty() {
        return Err(AuthorizationError::InvalidTarget(format!(
            "no delegation lets this agent act for {}",
            subject.subject
        )));
    }
    let parts = if request.requested_token_type == TokenType::IdToken {
        identity(agent, request, subject, &matching, (policy, now))?
    } else {
        access(agent, request, subject, &matching, (policy, now))?
    };
    Ok(bind(client, request, subject, parts))
}

/// What an exchange comes to.
struct Parts {
    target: Target,
    scopes: Scopes,
    lifetime: i64,
    actors: ActorChain,
    delegation: DelegationId,
}

fn access(
    agent: &Agent,
    request: &TokenExchangeRequest,
    subject: &VerifiedSubject,
    matching: &[&Delegation],
    (policy, now): (&Policy, UnixTime),
) -> Result<Parts, AuthorizationError> {
    let reach = reach(agent, policy);
    let reachable: Vec<(&Resource, &Scopes)> = reach
        .iter()
        .filter_map(|(id, scopes)| policy.resources.get(id).map(|resource| (resource, scopes)))
        .collect();
    let (resource, granted) = chosen(request, subject, matching, (&reachable, policy))?;
    if !resource.allows_delegation() {
        return Err(AuthorizationError::InvalidTarget(format!(
            "{} takes no delegated tokens; an administrator can allow them with: firman resource edit {} --allow-delegation",
            resource.identifier.as_str(),
            resource.name
        )));
    }
    let ceiling = ceiling(subject, resource, policy)?;
    let mut first_refusal = None;
    let bounds = (
        resource.default_lifetime(&policy.settings),
        resource.max_lifetime(&policy.settings),
    );
    // The oldest delegation that permits all that is asked for, whatever an older one refuses.
    for held in matching.iter().filter(|held| held.resource == resource.id) {
        let permitted =
            under(held, (resource, granted), &ceiling, request, subject).and_then(|scopes| {
                Ok(Parts {
                    target: target(resource, &policy.settings),
                    scopes,
                    lifetime: lifetime(request.expires_in, bounds, (subject, held), now)?,
                    actors: chain(held, agent, subject, policy)?,
                    delegation: held.id.clone(),
                })
            });
        match permitted {
            Ok(parts) => return Ok(parts),
            Err(error) => {
                first_refusal.get_or_insert(error);
            }
        }
    }
    Err(first_refusal
        .unwrap_or_else(|| not_delegated(resource.identifier.as_str(), subject, &reachable)))
}

/// The resource that the token is for: the one that is named, the only one that is delegated, or else the
/// only one where subject, agent and delegation all allow every scope that is asked for.
fn chosen<'p>(
    request: &TokenExchangeRequest,
    subject: &VerifiedSubject,
    matching: &[&Delegation],
    (reachable, policy): (&[(&'p Resource, &'p Scopes)], &Policy),
) -> Result<(&'p Resource, &'p Scopes), AuthorizationError> {
    let candidates: Vec<(&Resource, &Scopes)> = reachable
        .iter()
        .filter(|(resource, _)| matching.iter().any(|held| held.resource == resource.id))
        .copied()
        .collect();
    if let Some(audience) = request.audience.as_deref() {
        return candidates
            .into_iter()
            .find(|(resource, _)| resource.identifier.as_str() == audience)
            .ok_or_else(|| not_delegated(audience, subject, reachable));
    }
    if candidates.is_empty() {
        return Err(AuthorizationError::InvalidTarget(format!(
            "the delegations for {} name no resource that is granted to this agent",
            subject.subject
        )));
    }
    if let [only] = candidates.as_slice() {
        return Ok(*only);
    }
    let is_meant = |(resource, granted): &(&Resource, &Scopes)| {
        !request.scopes.is_empty()
            && resource.allows_delegation()
            && ceiling(subject, resource, policy).is_ok_and(|ceiling| {
                matching
                    .iter()
                    .filter(|held| held.resource == resource.id)
                    .any(|held| {
                        under(held, (resource, granted), &ceiling, request, subject).is_ok()
                    })
            })
    };
    let mut meant = candidates.iter().copied().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(only), None) => Ok(only),
        (None | Some(_), _) => Err(AuthorizationError::InvalidTarget(format!(
            "several resources are delegated; name one with the parameter resource: {}",
            identifiers(&candidates)
        ))),
    }
}

/// An ID token about the subject, for the agent that acts.
fn identity(
    agent: &Agent,
    request: &TokenExchangeRequest,
    subject: &VerifiedSubject,
    matching: &[&Delegation],
    (policy, now): (&Policy, UnixTime),
) -> Result<Parts, AuthorizationError> {
    let name = agent.name.as_str();
    if request
        .audience
        .as_deref()
        .is_some_and(|audience| audience != name)
    {
        return Err(AuthorizationError::InvalidTarget(format!(
            "an ID token is for the client that asks for it: leave resource and audience out, or name {name}"
        )));
    }
    if !request.scopes.is_empty() {
        return Err(AuthorizationError::InvalidScope(
            "an ID token has no scope; leave it out".to_owned(),
        ));
    }
    let settings = &policy.settings;
    let bounds = (settings.default_lifetime, settings.max_lifetime);
    let under = |held: &Delegation| {
        Ok(Parts {
            target: Target {
                audience: name.to_owned(),
                typ: TokenTyp::Jwt,
                algorithm: settings.default_algorithm,
                // It says who somebody is and opens nothing: nobody would ask for the key.
                binding: Binding::None,
            },
            scopes: Scopes::new(),
            lifetime: lifetime(request.expires_in, bounds, (subject, held), now)?,
            actors: chain(held, agent, subject, policy)?,
            delegation: held.id.clone(),
        })
    };
    let first = under(matching[0]);
    matching[1..].iter().fold(first, |found, held| {
        found.or_else(|refusal| under(held).or(Err(refusal)))
    })
}

/// The chain with the presenter at its outside.
fn chain(
    held: &Delegation,
    agent: &Agent,
    subject: &VerifiedSubject,
    policy: &Policy,
) -> Result<ActorChain, AuthorizationError> {
    let actor = Actor {
        issuer: policy.settings.url.clone(),
        subject: agent.subject.as_str().to_owned(),
        profile: AI_AGENT.to_owned(),
    };
    subject
        .actors
        .extended(actor, held.max_depth.min(ACTORS_MAX))
        .map_err(|error| {
            AuthorizationError::InvalidRequest(format!(
                "subject_token: {error}; it is refused, never shortened"
            ))
        })
}

/// The most that the subject may pass on for `resource`; `None`: whatever the delegation says.
fn ceiling(
    subject: &VerifiedSubject,
    resource: &Resource,
    policy: &Policy,
) -> Result<Option<Scopes>, AuthorizationError> {
    // A way round over another audience gives back nothing that was once left out.
    let token_scopes = subject
        .passed_on
        .iter()
        .filter(|(audience, _)| audience == resource.identifier.as_str())
        .map(|(_, scopes)| scopes.clone())
        .reduce(|all, scopes| all.intersection(&scopes).cloned().collect());
    let Some(aggregate) = &subject.agent else {
        return Ok(token_scopes);
    };
    let Some(granted) = reach(&aggregate.agent, policy).remove(&resource.id) else {
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
    held: &Delegation,
    (resource, granted): (&Resource, &Scopes),
    ceiling: &Option<Scopes>,
    request: &TokenExchangeRequest,
    subject: &VerifiedSubject,
) -> Result<Scopes, AuthorizationError> {
    let delegated = available(&held.scopes, resource);
    let mut common: Scopes = granted.intersection(&delegated).cloned().collect();
    if let Some(ceiling) = ceiling {
        common = common.intersection(ceiling).cloned().collect();
    }
    let identifier = resource.identifier.as_str();
    if !request.scopes.is_subset(&common) {
        let refused = join_scopes(&request.scopes.difference(&common).cloned().collect());
        let offered = if common.is_empty() {
            "none".to_owned()
        } else {
            join_scopes(&common)
        };
        return Err(AuthorizationError::InvalidScope(format!(
            "not available for {} at {identifier}: {refused}; subject, agent and delegation all allow: {offered}",
            subject.subject
        )));
    }
    if !request.scopes.is_empty() {
        return Ok(request.scopes.clone());
    }
    if common.is_empty() && !resource.scopes.is_empty() {
        return Err(AuthorizationError::InvalidScope(format!(
            "no scope of {identifier} is allowed by subject, agent and delegation together"
        )));
    }
    Ok(common)
}

/// Never past the subject token's end or the delegation's.
fn lifetime(
    asked: Option<i64>,
    (default, cap): (i64, i64),
    (subject, held): (&VerifiedSubject, &Delegation),
    now: UnixTime,
) -> Result<i64, AuthorizationError> {
    let remaining = subject.expires_at.min(held.expires_at).since(now);
    if remaining < 1 {
        return Err(AuthorizationError::InvalidRequest(
            "subject_token: it has expired".to_owned(),
        ));
    }
    let cap = cap.min(remaining);
    match asked {
        None => Ok(default.min(cap)),
        Some(seconds) if (1..=cap).contains(&seconds) => Ok(seconds),
        Some(_) => Err(AuthorizationError::InvalidRequest(format!(
            "expires_in must be 1 to {cap} seconds here: a delegated token never outlives the subject token or the delegation"
        ))),
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

fn not_delegated(
    audience: &str,
    subject: &VerifiedSubject,
    reachable: &[(&Resource, &Scopes)],
) -> AuthorizationError {
    if reachable
        .iter()
        .any(|(resource, _)| resource.identifier.as_str() == audience)
    {
        return AuthorizationError::InvalidTarget(format!(
            "no delegation lets this agent act for {} at {audience}",
            subject.subject
        ));
    }
    not_granted(audience, reachable)
}

fn bind(
    client: &AuthenticatedClient,
    request: &TokenExchangeRequest,
    subject: &VerifiedSubject,
    parts: Parts,
) -> Authorization {
    let agents = std::iter::once(client.aggregate())
        .chain(&subject.concerned)
        .map(|aggregate| ConcernedAgent::of(&aggregate.agent))
        .collect();
    Authorization {
        aggregate: Arc::clone(client.aggregate()),
        basis: Basis {
            version: client.basis(),
            agents,
        },
        grant_type: GrantType::TokenExchange,
        method: client.method(),
        credential: client.credential().clone(),
        external: client.external().cloned(),
        spends: client
            .spends()
            .into_iter()
            .chain(subject.spends.map(|spent| spent.as_of(Spent::SubjectToken)))
            .collect(),
        target: parts.target,
        scopes: parts.scopes,
        lifetime: parts.lifetime,
        with_id_token: false,
        jkt: None,
        delegated: Some(Box::new(Delegated {
            subject: subject.subject.clone(),
            subject_profile: subject.profile.clone(),
            subject_agent: subject.agent.clone(),
            attributes: subject.attributes.clone(),
            actors: parts.actors,
            parent: subject.parent.clone(),
            delegation: parts.delegation,
            token_type: request.requested_token_type,
        })),
    }
}
