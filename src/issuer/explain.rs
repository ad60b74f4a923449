//! What an agent would get, and why, without minting: the token endpoint's decision.

use serde_json::Value;

use crate::api::delegation::Delegation as DelegationView;
use crate::domain::agent::{Agent, AgentStatus};
use crate::domain::claims::TokenClaims;
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::resource::{Identifier, Resource};
use crate::domain::scope::{Scope, Scopes, parse_scopes};
use crate::ports::time::UnixTime;

use super::authorize::client_credentials::{ClientCredentialsRequest, Decision, decide};
use super::authorize::{AuthorizationError, HeldRole, held_roles, scopes_given};
use super::cache::Policy;
use super::mint::{MintError, check_length};
use super::named::known_name;
use super::token_claims::agent_claims;
use super::{Issuer, IssuerError};

pub use super::directory::Through;

/// The request to explain.
#[derive(Debug, Default)]
pub struct ExplainQuery {
    /// Name or identifier of the resource; `None`: the request names none.
    pub resource: Option<String>,
    /// The `scope` parameter; `None`: the request has none.
    pub scope: Option<String>,
}

/// What an agent would get.
#[derive(Debug)]
pub struct Explanation {
    /// The agent's name.
    pub agent: Name,
    /// False when it cannot get any token now.
    pub is_active: bool,
    /// Every resource that it may reach, and the requested one, by name.
    pub resources: Vec<ExplainedResource>,
    /// The claims of the access token, without its times and `jti`; absent when the request is rejected.
    pub claims: Option<Value>,
    /// Why the request is rejected.
    pub refusal: Option<Refusal>,
    /// The live delegations, which token exchange requires.
    pub delegations: Vec<DelegationView>,
}

/// An error as the token endpoint would return it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// RFC 6749 §5.2 `error`.
    pub error: &'static str,
    /// What is wrong, and what is granted instead.
    pub description: String,
    /// What an administrator can do about it.
    pub remedy: Option<Remedy>,
}

/// One resource, with the agent's scopes there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedResource {
    /// The resource's name.
    pub resource: Name,
    /// The value of `aud`.
    pub identifier: Identifier,
    /// The ways in which it is granted; empty: it is not granted.
    pub through: Vec<Through>,
    /// The granted scopes.
    pub granted: Vec<ExplainedScope>,
    /// The scopes of the resource that are not granted.
    pub not_granted: Vec<Scope>,
    /// Why a request that names the resource, with the requested scopes, gets no token.
    pub refusal: Option<Refusal>,
}

/// One granted scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplainedScope {
    /// The scope.
    pub scope: Scope,
    /// The ways in which it is granted.
    pub through: Vec<Through>,
}

impl Issuer {
    /// The result of this request for the agent, and the roles and groups that it rests on.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`] for an unknown agent or resource, [`IssuerError::Invalid`] for a malformed scope.
    pub async fn explain(
        &self,
        name: &str,
        query: &ExplainQuery,
    ) -> Result<Explanation, IssuerError> {
        let name = known_name("agent", name)?;
        let scopes = query
            .scope
            .as_deref()
            .map_or_else(|| Ok(Scopes::new()), parse_scopes)?;
        self.catch_up().await?;
        let policy = self.registry.policy();
        let now = self.ports.clock.now();
        let (agent, delegations) = self.agent_and_delegations(&name, now).await?;
        let asked = match query.resource.as_deref() {
            // The issuer itself: a request for `openid` alone is for it, and it is not a resource.
            None => None,
            Some(text) if text == policy.settings.url => None,
            Some(text) => Some(asked_resource(text, &policy)?),
        };

        let answer_to = |audience: Option<String>| {
            let request = ClientCredentialsRequest {
                audience,
                scopes: scopes.clone(),
                expires_in: None,
            };
            self.answer(&agent, &request, &policy, now)
        };
        let held = held_roles(&agent, &policy);
        let mut resources: Vec<ExplainedResource> = policy
            .resources
            .values()
            .map(|resource| {
                let named = Some(resource.identifier.as_str().to_owned());
                explain_resource(resource, &held, answer_to(named).err())
            })
            .filter(|explained| {
                !explained.through.is_empty()
                    || asked.is_some_and(|asked| asked.name == explained.resource)
            })
            .collect();
        resources.sort_by(|a, b| a.resource.cmp(&b.resource));

        let minted = answer_to(asked.map_or_else(
            || query.resource.clone(),
            |resource| Some(resource.identifier.as_str().to_owned()),
        ));
        let (claims, refusal) = match minted {
            Ok(claims) => (Some(shown(&claims)?), None),
            Err(refusal) => (None, Some(refusal)),
        };
        Ok(Explanation {
            agent: agent.name.clone(),
            is_active: agent.is_active(now),
            resources,
            claims,
            refusal,
            delegations,
        })
    }

    /// The token endpoint's decision at `now`: the claims, or why it is rejected.
    fn answer(
        &self,
        agent: &Agent,
        request: &ClientCredentialsRequest,
        policy: &Policy,
        now: UnixTime,
    ) -> Result<TokenClaims, Refusal> {
        if let Some(refusal) = inactive(agent, now) {
            return Err(refusal);
        }
        let Decision { target, scopes, .. } = decide(agent, request, policy)?;
        let claims = agent_claims(&self.url, agent, policy, &target.audience, &scopes);
        match check_length(&claims, &target, now) {
            Err(error @ MintError::TooLong(_)) => Err(Refusal {
                error: "invalid_request",
                description: error.to_string(),
                remedy: None,
            }),
            // A missing key, for example, is not a property of the agent: readiness reports it.
            Ok(()) | Err(MintError::NoKey(_) | MintError::Sign(_) | MintError::SelfCheck(_)) => {
                Ok(claims)
            }
        }
    }

    /// An agent and those of its delegations that hold at `now`.
    async fn agent_and_delegations(
        &self,
        name: &Name,
        now: UnixTime,
    ) -> Result<(Agent, Vec<DelegationView>), IssuerError> {
        let (mut tx, _) = self.read().await?;
        let found = tx.aggregate_by_name(&self.id, name.as_str()).await?;
        let found = found.ok_or_else(|| IssuerError::not_found("agent", name.as_str()))?;
        let mut delegations = found.delegations;
        delegations.retain(|delegation| delegation.is_live(now));
        let named = self.named_delegations(&mut tx, delegations).await?;
        tx.rollback().await?;
        let views = named.into_iter().map(|named| named.view(now));
        Ok((found.agent, views.collect()))
    }
}

/// The claims without those that differ from token to token.
fn shown(claims: &TokenClaims) -> Result<Value, IssuerError> {
    let mut value =
        serde_json::to_value(claims).map_err(|error| IssuerError::Unavailable(Box::new(error)))?;
    if let Some(members) = value.as_object_mut() {
        members.retain(|name, _| !["exp", "iat", "nbf", "jti"].contains(&name.as_str()));
    }
    Ok(value)
}

impl From<AuthorizationError> for Refusal {
    fn from(error: AuthorizationError) -> Self {
        Self {
            error: error.rejection.as_str(),
            description: error.problem,
            remedy: error.remedy,
        }
    }
}

fn asked_resource<'p>(text: &str, policy: &'p Policy) -> Result<&'p Resource, IssuerError> {
    let named = |resource: &&Resource| {
        resource.name.as_str() == text || resource.identifier.as_str() == text
    };
    policy
        .resources
        .values()
        .find(named)
        .ok_or_else(|| IssuerError::not_found("resource", text))
}

fn explain_resource(
    resource: &Resource,
    held: &[HeldRole<'_>],
    refusal: Option<Refusal>,
) -> ExplainedResource {
    let given: Vec<(Through, Scopes)> = held
        .iter()
        .filter_map(|held| {
            let through = Through {
                role: held.role.name.clone(),
                group: held.through.map(|group| group.name.clone()),
            };
            Some((through, scopes_given(held.role, resource)?))
        })
        .collect();
    let through_of = |scope: &Scope| {
        given
            .iter()
            .filter(|(_, scopes)| scopes.contains(scope))
            .map(|(through, _)| through.clone())
            .collect::<Vec<_>>()
    };
    let (granted, not_granted): (Vec<_>, Vec<_>) = resource
        .scopes
        .iter()
        .map(|scope| ExplainedScope {
            scope: scope.clone(),
            through: through_of(scope),
        })
        .partition(|explained| !explained.through.is_empty());
    ExplainedResource {
        resource: resource.name.clone(),
        identifier: resource.identifier.clone(),
        through: given.iter().map(|(through, _)| through.clone()).collect(),
        granted,
        not_granted: not_granted
            .into_iter()
            .map(|explained| explained.scope)
            .collect(),
        refusal,
    }
}

/// Why an agent gets no token at all; the token endpoint does not tell the agent which reason applies.
fn inactive(agent: &Agent, now: UnixTime) -> Option<Refusal> {
    let name = &agent.name;
    let (description, remedy) = match agent.status {
        AgentStatus::Suspended { at } => (
            format!("the agent was suspended at {at}"),
            Some(Remedy::command(format!("agent resume {name}"))),
        ),
        AgentStatus::Removed { at } => (format!("the agent was removed at {at}"), None),
        AgentStatus::Active => match agent.expires_at {
            Some(expiry) if now >= expiry => (
                format!("the agent expired at {expiry}"),
                Some(Remedy::command(format!(
                    "agent edit {name} --expires-in DURATION"
                ))),
            ),
            Some(_) | None => return None,
        },
    };
    Some(Refusal {
        error: "invalid_client",
        description,
        remedy,
    })
}
