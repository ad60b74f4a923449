//! Decides which subject, audience, scope and lifetime a client's token gets. An [`Authorization`] is made only in
//! this room; it carries the basis of its decision and cannot sign. One file per grant.

pub mod client_credentials;
mod error;
mod rights;
pub mod token_exchange;

use std::sync::Arc;

use crate::domain::agent::Agent;
use crate::domain::id::{AgentId, CredentialId};
use crate::domain::resource::{Binding, Resource};
use crate::domain::scope::Scopes;
use crate::domain::settings::IssuerSettings;
use crate::domain::token_typ::TokenTyp;
use crate::jose::algorithm::SigningAlgorithm;
use crate::ports::time::UnixTime;
use crate::store::AgentAggregate;

use super::authenticate::ClientAuthMethod;
use super::authenticate::trusted_issuer::ExternalIdentity;
use super::dpop::ProvenKey;
use super::single_use::SpentAssertion;
pub use error::{AuthorizationError, Rejection};
pub use rights::{HeldRole, groups, held_roles, reach, role_names, scopes_given};
use token_exchange::Delegated;

/// The `grant_type` values of the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantType {
    /// RFC 6749 §4.4.
    ClientCredentials,
    /// RFC 8693.
    TokenExchange,
}

impl GrantType {
    /// All grant types, as discovery lists them.
    pub const ALL: [Self; 2] = [Self::ClientCredentials, Self::TokenExchange];

    /// The registered value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }

    /// The grant type of that value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|grant_type| grant_type.as_str() == text)
    }
}

/// What a decision rests on: the registry version at which it was made, and the agents concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Basis {
    /// Everything the decision read is at least as new as this registry version.
    pub version: i64,
    /// The agents whose change makes the decision stale, the one that gets the token first.
    pub agents: Vec<ConcernedAgent>,
}

/// An agent that a decision rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcernedAgent {
    /// Its id.
    pub id: AgentId,
    /// Its `client_id`.
    pub name: String,
}

impl ConcernedAgent {
    pub(super) fn of(agent: &Agent) -> Self {
        Self {
            id: agent.id.clone(),
            name: agent.name.as_str().to_owned(),
        }
    }
}

/// A decision to issue, complete except for time, `jti` and signature. Made in this room only.
#[derive(Clone, Debug)]
pub struct Authorization {
    aggregate: Arc<AgentAggregate>,
    basis: Basis,
    grant_type: GrantType,
    method: ClientAuthMethod,
    credential: CredentialId,
    external: Option<Arc<ExternalIdentity>>,
    spends: Vec<SpentAssertion>,
    target: Target,
    scopes: Scopes,
    lifetime: i64,
    with_id_token: bool,
    jkt: Option<String>,
    delegated: Option<Box<Delegated>>,
}

/// What the token is for, and the form that this requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `aud`.
    pub audience: String,
    /// The `typ` header.
    pub typ: TokenTyp,
    /// The algorithm that signs.
    pub algorithm: SigningAlgorithm,
    /// Whether the token is bound to a key.
    pub binding: Binding,
}

impl Target {
    /// The target of a token for `resource`.
    fn of(resource: &Resource, settings: &IssuerSettings) -> Self {
        Self {
            audience: resource.identifier.as_str().to_owned(),
            typ: resource.token_typ(),
            algorithm: resource.signing_algorithm(settings),
            binding: resource.binding(),
        }
    }
}

impl Authorization {
    /// The agent that gets the token.
    #[must_use]
    pub fn agent(&self) -> &Agent {
        &self.aggregate.agent
    }

    /// What the decision rests on.
    #[must_use]
    pub fn basis(&self) -> &Basis {
        &self.basis
    }

    /// The grant of the request.
    #[must_use]
    pub fn grant_type(&self) -> GrantType {
        self.grant_type
    }

    /// The method that the client authenticated with.
    #[must_use]
    pub fn method(&self) -> ClientAuthMethod {
        self.method
    }

    /// The credential that the client authenticated with.
    #[must_use]
    pub fn credential(&self) -> &CredentialId {
        &self.credential
    }

    /// The client's identity at the trusted issuer that proved it, if one did.
    #[must_use]
    pub fn external(&self) -> Option<&ExternalIdentity> {
        self.external.as_deref()
    }

    /// The thumbprint of the key that the access token is bound to, if it is bound.
    #[must_use]
    pub fn jkt(&self) -> Option<&str> {
        self.jkt.as_deref()
    }

    /// The parts that the ledger needs, without a copy: its basis, what it marks as used, and the delegated
    /// subject.
    pub(super) fn into_parts(self) -> (Basis, Vec<SpentAssertion>, Option<Box<Delegated>>) {
        (self.basis, self.spends, self.delegated)
    }

    /// Completes the decision: bound to the proven key, with a lifetime that ends no later than the agent and the
    /// credential that proved it. Every grant ends here. `expires_in`: the requested lifetime, in seconds.
    fn completed(
        self,
        proven: Option<&ProvenKey>,
        expires_in: Option<i64>,
        now: UnixTime,
    ) -> Result<Self, AuthorizationError> {
        self.ending_with_its_agent(expires_in, now)?
            .bound_to(proven)
    }

    /// A token does not outlive its agent or the credential that proved that agent.
    fn ending_with_its_agent(
        mut self,
        expires_in: Option<i64>,
        now: UnixTime,
    ) -> Result<Self, AuthorizationError> {
        let aggregate = &self.aggregate;
        let credential = aggregate
            .credentials
            .iter()
            .find(|credential| credential.id == self.credential)
            .and_then(|credential| credential.expires_at);
        let Some(end) = aggregate
            .agent
            .expires_at
            .into_iter()
            .chain(credential)
            .min()
        else {
            return Ok(self);
        };
        let remaining = end.since(now);
        if self.lifetime <= remaining {
            return Ok(self);
        }
        if remaining < 1 || expires_in.is_some() {
            return Err(AuthorizationError::invalid_request(format!(
                "`expires_in` must be at most {} seconds here: the agent or its credential expires then",
                remaining.max(0)
            )));
        }
        self.lifetime = remaining;
        Ok(self)
    }

    /// Binds the decision to the proven key. Rejects a request without a proof where a key is required, and a
    /// request with one where the audience accepts bearer tokens only.
    fn bound_to(mut self, proven: Option<&ProvenKey>) -> Result<Self, AuthorizationError> {
        const OWED: &str = "must be bound to a key: send a proof in the `DPoP` header (RFC 9449)";
        let audience = &self.target.audience;
        let is_owed_by_agent = self.agent().dpop_required;
        self.jkt = match (self.target.binding, proven) {
            (Binding::Impossible, _) if is_owed_by_agent => {
                return Err(AuthorizationError::invalid_target(format!(
                    "{audience} accepts bearer tokens only, and tokens of this agent must be bound to a key"
                )));
            }
            (Binding::Impossible, Some(_)) => {
                return Err(AuthorizationError::invalid_target(format!(
                    "{audience} accepts bearer tokens only: leave out the `DPoP` header"
                )));
            }
            (Binding::Required, None) => {
                return Err(AuthorizationError::no_proof(format!(
                    "tokens for {audience} {OWED}"
                )));
            }
            (Binding::Offered | Binding::None, None) if is_owed_by_agent => {
                return Err(AuthorizationError::no_proof(format!(
                    "tokens of this agent {OWED}"
                )));
            }
            (Binding::Offered | Binding::Required, Some(proven)) => Some(proven.jkt().to_owned()),
            (Binding::None, Some(_))
            | (Binding::Offered | Binding::None | Binding::Impossible, None) => None,
        };
        self.spends.extend(proven.map(ProvenKey::spends));
        Ok(self)
    }

    /// The subject that the agent acts for, unless it acts for itself.
    #[must_use]
    pub fn delegated(&self) -> Option<&Delegated> {
        self.delegated.as_deref()
    }

    /// The subject of the token.
    #[must_use]
    pub fn subject(&self) -> &str {
        match &self.delegated {
            Some(delegated) => &delegated.subject,
            None => self.aggregate.agent.subject.as_str(),
        }
    }

    /// What the token is for.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The granted scopes, including `openid` and `profile` if they were requested.
    #[must_use]
    pub fn scopes(&self) -> &Scopes {
        &self.scopes
    }

    /// The token's lifetime, in seconds.
    #[must_use]
    pub fn lifetime(&self) -> i64 {
        self.lifetime
    }

    /// True when an ID token is issued with it.
    #[must_use]
    pub fn with_id_token(&self) -> bool {
        self.with_id_token
    }
}

/// A value from outside in the form that `error_description` allows (RFC 6749 §5.2), at most 200 characters. Other
/// characters are replaced, not removed: the rest could read like a granted value.
#[must_use]
pub fn shown(unverified_text: &str) -> String {
    unverified_text
        .chars()
        .map(|c| match c {
            '"' | '\\' => '?',
            '!'..='~' => c,
            _ => '?',
        })
        .take(200)
        .collect()
}
