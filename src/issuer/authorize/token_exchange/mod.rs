//! Token exchange (RFC 8693): an agent acts for another subject. A subject token proves the subject, a delegation
//! permits the agent to act for it, and the result is what subject, agent and delegation all allow.
//!
//! Two steps: `tokens.rs` verifies the tokens and reads the agents concerned (`origin.rs`: what they were made
//! from). `decide.rs` decides without reading anything. The chain of actors only grows.

mod decide;
mod origin;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::domain::actor::ActorChain;
use crate::domain::claims::Origin;
use crate::domain::id::DelegationId;
use crate::domain::scope::Scopes;
use crate::issuer::Issuer;
use crate::issuer::authenticate::AuthenticatedClient;
use crate::issuer::dpop::ProvenKey;
use crate::issuer::line::Line;
use crate::issuer::single_use::Spent;
use crate::ports::time::UnixTime;
use crate::store::{AgentAggregate, LineageRow, StoreError};

use super::{Authorization, AuthorizationError, Basis, ConcernedAgent, GrantType};
use decide::{Decision, Exchange};
use tokens::VerifiedSubject;

/// A parsed request of this grant (RFC 8693 §2.1).
#[derive(Clone, Debug)]
pub struct TokenExchangeRequest {
    /// `subject_token`, not verified.
    pub unverified_subject_token: String,
    /// `subject_token_type`.
    pub subject_token_type: TokenType,
    /// `actor_token`, not verified.
    pub unverified_actor_token: Option<String>,
    /// `requested_token_type`.
    pub requested_token_type: TokenType,
    /// `resource` or `audience`, if one was named.
    pub audience: Option<String>,
    /// `scope`; empty: every available scope.
    pub scopes: Scopes,
    /// `expires_in`, in seconds.
    pub expires_in: Option<i64>,
}

/// Token types (RFC 8693 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// An access token.
    AccessToken,
    /// A JWT. An access token can be requested as this type too.
    Jwt,
    /// An ID token.
    IdToken,
}

impl TokenType {
    /// All types that are accepted and issued.
    pub const ALL: [Self; 3] = [Self::AccessToken, Self::Jwt, Self::IdToken];

    /// The registered URN.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
        }
    }

    /// The type of that URN.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What makes a token a delegated token.
#[derive(Clone, Debug)]
pub struct Delegated {
    /// The subject of the token.
    pub subject: String,
    /// What the subject is: `user` or `ai_agent`.
    pub subject_profile: String,
    /// The subject's agent, if the subject is an agent of this issuer.
    pub subject_agent: Option<Arc<AgentAggregate>>,
    /// Claims about a user of a trusted issuer.
    pub attributes: BTreeMap<String, String>,
    /// The actors, the presenter outermost.
    pub actors: ActorChain,
    /// The token that it is made from.
    pub parent: ParentToken,
    /// The delegation that permits it.
    pub delegation: DelegationId,
    /// The requested type.
    pub token_type: TokenType,
}

impl Delegated {
    /// The origin of the token, as its claims state it.
    #[must_use]
    pub fn origin(&self) -> Origin {
        let above = self.parent.line.delegations();
        let above = above.into_iter().filter(|id| *id != self.delegation);
        Origin {
            root_id: self.parent.line.root_id().to_owned(),
            parents: self.parent.line.below_root().to_vec(),
            delegations: std::iter::once(self.delegation.clone())
                .chain(above)
                .collect(),
        }
    }
}

/// The subject token of a delegated token, which the ledger checks again.
#[derive(Clone, Debug)]
pub struct ParentToken {
    /// What can end it.
    pub(crate) line: Line,
    /// Its row, if it is a root: recorded with the first token that is made from it.
    pub root: Option<LineageRow>,
    /// Exchanges since its root.
    pub depth: i64,
}

/// Why an exchange fails, with what the audit shows of it.
#[derive(Debug)]
pub enum ExchangeError {
    /// The response names the fault.
    Refused {
        /// Why.
        error: AuthorizationError,
        /// Subject, chain and token ids, as far as they are proven.
        facts: Value,
    },
    /// A server-side fault, or a trusted issuer that cannot be reached.
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for ExchangeError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

impl Issuer {
    /// Verifies the tokens of an exchange and decides it. `proven` is the key that the request proved to
    /// hold (RFC 9449).
    ///
    /// # Errors
    /// [`ExchangeError`], with the reason.
    pub async fn exchange(
        &self,
        client: &AuthenticatedClient,
        request: &TokenExchangeRequest,
        proven: Option<&ProvenKey>,
        now: UnixTime,
    ) -> Result<Authorization, ExchangeError> {
        let proven_jkt = proven.map(ProvenKey::jkt);
        let refused = |error, facts: Value| ExchangeError::Refused { error, facts };
        let policy = self.policy();
        if !client
            .aggregate()
            .delegations
            .iter()
            .any(|held| held.is_live(now))
        {
            let error =
                AuthorizationError::unauthorized_client("this agent has no delegation".to_owned());
            return Err(refused(error, facts(request, None)));
        }
        let subject = self.subject_token(client, request, &policy, now).await?;
        let known = ProvenSubject {
            subject: &subject.subject,
            token_id: subject.parent.line.token_id(),
            actors: &subject.actors,
        };
        let facts = facts(request, Some(known));
        let actor_spends = self
            .actor_token(client, request, proven_jkt, now)
            .await
            .map_err(|error| match error {
                ExchangeError::Refused { error, .. } => refused(error, facts.clone()),
                ExchangeError::Unavailable(source) => ExchangeError::Unavailable(source),
            })?;
        let exchange = Exchange {
            client: client.aggregate(),
            request,
            subject: &subject,
            proven_jkt,
            policy: &policy,
            now,
        };
        let mut authorization = exchange
            .decide()
            .map(|decision| bind(client, request, &subject, decision))
            .and_then(|authorization| authorization.completed(proven, request.expires_in, now))
            .map_err(|error| refused(error, facts))?;
        authorization
            .spends
            .extend(actor_spends.map(|spent| spent.as_of(Spent::ActorToken)));
        Ok(authorization)
    }
}

/// A subject token whose signature verified, as the audit shows it.
#[derive(Clone, Copy)]
struct ProvenSubject<'t> {
    subject: &'t str,
    token_id: &'t str,
    actors: &'t ActorChain,
}

/// What the audit shows of a rejected exchange: the request and, once proven, the subject token.
fn facts(request: &TokenExchangeRequest, proven: Option<ProvenSubject<'_>>) -> Value {
    match proven {
        None => json!({ "aud": request.audience }),
        Some(proven) => json!({
            "subject": proven.subject,
            "subject_token": proven.token_id,
            "act": proven.actors,
            "aud": request.audience,
        }),
    }
}

/// Binds the decision to the authenticated client.
fn bind(
    client: &AuthenticatedClient,
    request: &TokenExchangeRequest,
    subject: &VerifiedSubject,
    decision: Decision,
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
        target: decision.target,
        scopes: decision.scopes,
        lifetime: decision.lifetime,
        with_id_token: false,
        jkt: None,
        delegated: Some(Box::new(Delegated {
            subject: subject.subject.clone(),
            subject_profile: subject.profile.clone(),
            subject_agent: subject.agent.clone(),
            attributes: subject.attributes.clone(),
            actors: decision.actors,
            parent: subject.parent.clone(),
            delegation: decision.delegation,
            token_type: request.requested_token_type,
        })),
    }
}
