//! Token exchange (RFC 8693): an agent acts for somebody else. Who that is, a subject token proves; that
//! it may, a delegation says; what it gets is what subject, actor and delegation all allow.
//!
//! Two steps: [`Issuer::exchange`] verifies the tokens and reads the agents concerned, `decide` decides
//! without asking anybody. The chain of actors is only ever extended.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::domain::actor::{ACTORS_MAX, Actor, ActorChain};
use crate::domain::agent::Agent;
use crate::domain::claims::{AI_AGENT, Origin, USER, is_reserved_claim};
use crate::domain::delegation::{Delegation, PresentedSubject};
use crate::domain::id::{DelegationId, TrustedIssuerId};
use crate::domain::resource::{Binding, Resource};
use crate::domain::scope::{Scopes, join_scopes, parse_scopes};
use crate::domain::trusted_issuer::{CLAIM_MAX_BYTES, issuer_of_user, user_subject};
use crate::issuer::Issuer;
use crate::issuer::authenticate::{AuthenticatedClient, Spent, SpentAssertion};
use crate::issuer::cache::Policy;
use crate::issuer::dpop::ProvenKey;
use crate::issuer::external_token::{ExternalToken, ExternalTokenError, TrustedFor};
use crate::issuer::federated::NoAgent;
use crate::issuer::line::{Line, STEPS_MAX, Traced};
use crate::issuer::own_token::OwnToken;
use crate::ports::time::UnixTime;
use crate::store::{AgentAggregate, LineageRow, StoreError};

use super::client_credentials::{default_lifetime, max_lifetime, not_granted, target};
use super::{
    Authorization, AuthorizationError, Basis, ConcernedAgent, GrantType, Target, available, reach,
};

/// A parsed request of this grant (RFC 8693 §2.1).
#[derive(Clone, Debug)]
pub struct TokenExchangeRequest {
    /// `subject_token`: not believed yet.
    pub unverified_subject_token: String,
    /// `subject_token_type`.
    pub subject_token_type: TokenType,
    /// `actor_token`: not believed yet.
    pub unverified_actor_token: Option<String>,
    /// `requested_token_type`.
    pub requested_token_type: TokenType,
    /// `resource` or `audience`, if one was named.
    pub audience: Option<String>,
    /// `scope`; empty: whatever is available.
    pub scopes: Scopes,
    /// `expires_in`, in seconds.
    pub expires_in: Option<i64>,
}

/// Token types (RFC 8693 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// An access token.
    AccessToken,
    /// A JWT, as which our access tokens may be asked for too.
    Jwt,
    /// An ID token.
    IdToken,
}

impl TokenType {
    /// All types that are taken and given.
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

/// What makes a token a delegated one.
#[derive(Clone, Debug)]
pub struct Delegated {
    /// Whom the token is about.
    pub subject: String,
    /// What the subject is: `user` or `ai_agent`.
    pub subject_profile: String,
    /// The subject's agent, when it is one of ours.
    pub subject_agent: Option<Arc<AgentAggregate>>,
    /// Claims about a subject from outside.
    pub attributes: BTreeMap<String, String>,
    /// Who acts, the presenter outermost.
    pub actors: ActorChain,
    /// What it is made from.
    pub parent: ParentToken,
    /// The delegation that permits it.
    pub delegation: DelegationId,
    /// The type that was asked for.
    pub token_type: TokenType,
}

impl Delegated {
    /// Where the token comes from, as it says itself.
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

/// The subject token of a delegated token, as the ledger judges it once more.
#[derive(Clone, Debug)]
pub struct ParentToken {
    /// What can end it.
    pub line: Line,
    /// Its row, when it is a root: recorded with the first token that is made from it.
    pub root: Option<LineageRow>,
    /// Exchanges since its root.
    pub depth: i64,
}

/// Why an exchange is refused, with what the audit should know of it.
#[derive(Debug)]
pub enum ExchangeError {
    /// The client is told why.
    Refused {
        /// Why.
        error: AuthorizationError,
        /// Subject, chain, and the tokens' numbers, as far as they are proven.
        facts: Value,
    },
    /// A fault of ours, or of a trusted issuer that cannot be reached.
    Unavailable(Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for ExchangeError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// A subject token that was verified.
#[derive(Clone, Debug)]
struct VerifiedSubject {
    subject: String,
    profile: String,
    /// The subject's agent, when it is one of ours.
    agent: Option<Arc<AgentAggregate>>,
    /// Every agent of ours that the token is about or that acts in it.
    concerned: Vec<Arc<AgentAggregate>>,
    trusted_issuer: Option<TrustedIssuerId>,
    attributes: BTreeMap<String, String>,
    claims: Map<String, Value>,
    /// The claims that a trusted issuer's signature proved of the subject; those of our own tokens are not
    /// among them.
    proven: Map<String, Value>,
    actors: ActorChain,
    /// Audience and scopes of a token of ours, and of those that it was made from.
    passed_on: Vec<(String, Scopes)>,
    parent: ParentToken,
    expires_at: UnixTime,
    jkt: Option<String>,
    spends: Option<SpentAssertion>,
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
            let error = AuthorizationError::UnauthorizedClient(
                "this agent may not act for anybody: it has no delegation".to_owned(),
            );
            return Err(refused(error, facts(request, None)));
        }
        let subject = self.subject_token(client, request, &policy, now).await?;
        let known = (
            subject.subject.as_str(),
            subject.parent.line.token_id(),
            &subject.actors,
        );
        let facts = facts(request, Some(known));
        let actor_spends = self
            .actor_token(client, request, (proven_jkt, now))
            .await
            .map_err(|error| match error {
                ExchangeError::Refused { error, .. } => refused(error, facts.clone()),
                ExchangeError::Unavailable(source) => ExchangeError::Unavailable(source),
            })?;
        let mut authorization = decide(client, request, &subject, (proven_jkt, now), &policy)
            .and_then(|authorization| authorization.completed(proven, request.expires_in, now))
            .map_err(|error| refused(error, facts))?;
        authorization
            .spends
            .extend(actor_spends.map(|spent| spent.as_of(Spent::ActorToken)));
        Ok(authorization)
    }

    async fn subject_token(
        &self,
        client: &AuthenticatedClient,
        request: &TokenExchangeRequest,
        policy: &Policy,
        now: UnixTime,
    ) -> Result<VerifiedSubject, ExchangeError> {
        let unproven = |problem: String| ExchangeError::Refused {
            error: AuthorizationError::InvalidRequest(problem),
            facts: facts(request, None),
        };
        let unverified = request.unverified_subject_token.as_str();
        if !self.claims_to_be_ours(unverified) {
            let token = self
                .verify_external(unverified, TrustedFor::Subject, now)
                .await
                .map_err(|error| external_fault("subject_token", error, facts(request, None)))?;
            return outside_subject(token).map_err(unproven);
        }
        let token = self
            .verify_own(unverified, now)
            .map_err(|error| unproven(format!("subject_token: {error}")))?;
        let proven = (
            token.subject.as_str(),
            token.token_id.as_str(),
            &token.actors,
        );
        let refused = |problem: String| ExchangeError::Refused {
            error: AuthorizationError::InvalidRequest(problem),
            facts: facts(request, Some(proven)),
        };
        check_presentable(&token, client, request, policy, &self.url).map_err(refused)?;
        if !token.is_vouched_for(policy) {
            return Err(refused(
                "subject_token: no trusted issuer vouches for its subject any more".to_owned(),
            ));
        }
        let mut concerned = Vec::new();
        let mut subject_agent = None;
        for principal in token.principals(&self.url) {
            // Somebody from outside is no agent, whatever agents are called.
            if principal == token.subject && token.subject_profile == USER {
                continue;
            }
            let Some(agent) = self.agent_by_subject(&principal).await? else {
                return Err(refused(format!(
                    "subject_token: {principal} is no agent of this issuer any more"
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
        let mut subject = own_subject(token, subject_agent, (concerned, origin));
        subject.trusted_issuer = trusted_issuer;
        Ok(subject)
    }

    /// An actor token adds nothing that client authentication did not prove; it must be the client's own.
    async fn actor_token(
        &self,
        client: &AuthenticatedClient,
        request: &TokenExchangeRequest,
        (proven_jkt, now): (Option<&str>, UnixTime),
    ) -> Result<Option<SpentAssertion>, ExchangeError> {
        let refused = |problem: &str| ExchangeError::Refused {
            error: AuthorizationError::InvalidRequest(format!("actor_token: {problem}")),
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
                    "an actor token must not be a delegated one: leave out act",
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
                "an actor token must not be a delegated one, with act",
            ));
        }
        if token.subject != agent.subject.as_str() || token.client_id != agent.name.as_str() {
            return Err(refused(
                "it belongs to another agent than the one that presents it",
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

    /// The agent with that subject, removed ones too.
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

/// What a subject token of ours brings along from those that it was made from.
struct SubjectOrigin {
    parent: ParentToken,
    passed_on: Vec<(String, Scopes)>,
    proven: Map<String, Value>,
}

/// What the rows of a token's line say. A token of ours that is a root says it itself.
fn traced_origin(token: &OwnToken, traced: Option<Traced>) -> Result<SubjectOrigin, String> {
    const UNKNOWN: &str =
        "subject_token: the record of what it was made from is missing; get a new token";
    let Traced { line, rows } = traced.ok_or_else(|| UNKNOWN.to_owned())?;
    let mut passed_on = vec![(token.audience.clone(), token.scopes.clone())];
    let mut proven = Map::new();
    for row in &rows {
        if let Some(claims) = &row.proven {
            if row.subject != token.subject {
                return Err(UNKNOWN.to_owned());
            }
            proven = claims
                .iter()
                .map(|(name, value)| (name.clone(), Value::from(value.clone())))
                .collect();
            continue;
        }
        // A row of an older version does not say what may be passed on.
        if row.audience.is_empty() {
            return Err(UNKNOWN.to_owned());
        }
        let scopes = match row.scopes.as_str() {
            "" => Scopes::new(),
            scopes => parse_scopes(scopes).map_err(|_| UNKNOWN.to_owned())?,
        };
        passed_on.push((row.audience.clone(), scopes));
    }
    let depth = rows.first().map_or(0, |row| row.depth);
    if depth >= STEPS_MAX {
        return Err(format!(
            "subject_token: it is the result of {depth} exchanges, and at most {STEPS_MAX} are allowed; exchange an earlier token"
        ));
    }
    let root = rows.is_empty().then(|| LineageRow {
        token_id: token.token_id.clone(),
        made: None,
        root_id: token.token_id.clone(),
        depth: 0,
        subject: token.subject.clone(),
        audience: token.audience.clone(),
        scopes: join_scopes(&token.scopes),
        proven: None,
        issued_at: token.issued_at,
        expires_at: token.expires_at,
    });
    Ok(SubjectOrigin {
        parent: ParentToken { line, root, depth },
        passed_on,
        proven,
    })
}

/// The row of a token from outside, the root of all that is made from it, with the claims that later
/// exchanges may ask for: strings that a delegation can name.
fn outside_root(token: &ExternalToken, subject: &str, issued_at: UnixTime) -> LineageRow {
    let proven = token
        .claims
        .other
        .iter()
        .filter(|(name, _)| name.len() <= CLAIM_MAX_BYTES)
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .filter(|(_, value)| value.len() <= CLAIM_MAX_BYTES)
        .collect();
    LineageRow {
        token_id: token.reference.clone(),
        made: None,
        root_id: token.reference.clone(),
        depth: 0,
        subject: subject.to_owned(),
        audience: String::new(),
        scopes: String::new(),
        proven: Some(proven),
        issued_at,
        expires_at: token.expires_at,
    }
}

/// What is said of a bound token that comes without a proof of its key.
const BOUND: &str = "it is bound to a key (cnf.jkt); send a DPoP proof made with that key";

/// Whether a token is not bound, or the request proved to hold the key that it is bound to.
fn is_held(jkt: Option<&str>, proven_jkt: Option<&str>) -> bool {
    jkt.is_none_or(|jkt| proven_jkt == Some(jkt))
}

/// What the audit should know of a refused exchange: what was asked for and, once the subject token is
/// proven, its subject, its number and its chain.
fn facts(request: &TokenExchangeRequest, proven: Option<(&str, &str, &ActorChain)>) -> Value {
    match proven {
        None => json!({ "aud": request.audience }),
        Some((subject, token_id, actors)) => json!({
            "subject": subject,
            "subject_token": token_id,
            "act": actors,
            "aud": request.audience,
        }),
    }
}

/// `cnf.jkt` of a token: the thumbprint of the key that it is bound to (RFC 9449 §6.1).
///
/// # Errors
/// When it is bound in another way: whoever does not understand a binding cannot say that it holds.
fn confirmation(claims: &Map<String, Value>) -> Result<Option<&str>, String> {
    match claims.get("cnf") {
        None => Ok(None),
        Some(cnf) => match cnf.get("jkt").and_then(Value::as_str) {
            Some(jkt) => Ok(Some(jkt)),
            None => Err("it is bound (cnf) in a way that is not supported".to_owned()),
        },
    }
}

fn external_fault(what: &str, error: ExternalTokenError, facts: Value) -> ExchangeError {
    match error {
        ExternalTokenError::Unproven(reason) => ExchangeError::Refused {
            error: AuthorizationError::InvalidRequest(format!("{what}: {reason}")),
            facts,
        },
        ExternalTokenError::Fault(problem) => ExchangeError::Refused {
            error: AuthorizationError::InvalidRequest(format!("{what}: {problem}")),
            facts,
        },
        ExternalTokenError::KeysUnavailable { .. } => ExchangeError::Unavailable(Box::new(error)),
    }
}

/// The trusted issuer that the user of a token of ours came from.
fn trusted_issuer_of(user: &str, policy: &Policy) -> Option<TrustedIssuerId> {
    let name = issuer_of_user(user)?;
    policy
        .trusted_issuers
        .values()
        .find(|trusted| trusted.name.as_str() == name)
        .map(|trusted| trusted.id.clone())
}

/// A token of ours may be exchanged by those whom it was sent to: an audience of this issuer, of the
/// client, or of a resource whose server the client is. A token for an outside relying party may not:
/// everybody there has seen it.
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
        return Err("subject_token: it is no ID token for this client".to_owned());
    }
    if request.subject_token_type == TokenType::AccessToken && is_id_token {
        return Err(
            "subject_token: it is an ID token; name that as its subject_token_type".to_owned(),
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
        "subject_token: it was issued for {}, and this agent is not the server of that resource; a token for somebody else cannot be exchanged",
        token.audience
    ))
}

fn own_subject(
    token: OwnToken,
    agent: Option<Arc<AgentAggregate>>,
    (concerned, origin): (Vec<Arc<AgentAggregate>>, SubjectOrigin),
) -> VerifiedSubject {
    let attributes = match &agent {
        Some(_) => BTreeMap::new(),
        // What was said of a subject from outside is said on.
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

/// The actors of a token from outside. One that says who acts already is refused unless its issuer is trusted
/// with that: to drop them would hide who acted, and make the chain shorter than it is.
fn foreign_actors(token: &ExternalToken) -> Result<ActorChain, String> {
    let trusted = &token.trusted;
    match token.claims.other.get("act") {
        None => Ok(ActorChain::default()),
        Some(act) if trusted.definition.accept_act => ActorChain::parse_foreign(act, &trusted.url)
            .map_err(|error| format!("subject_token: {error}")),
        Some(_) => Err(format!(
            "subject_token: it says who acts already (act), which is not accepted from the trusted issuer '{}'; an owner can accept it with: firman trusted-issuer edit {0} --accept-act",
            trusted.name
        )),
    }
}

fn outside_subject(token: ExternalToken) -> Result<VerifiedSubject, String> {
    let subject = user_subject(&token.trusted.name, &token.subject)
        .map_err(|invalid| format!("subject_token: {} {}", invalid.field, invalid.problem))?;
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
        .map_err(|problem| format!("subject_token: {problem}"))?
        .map(str::to_owned);
    // One that does not say when it was made cannot be shown to be newer than a revocation, nor how long it lives.
    let Some(issued_at) = token.claims.issued_at else {
        return Err("subject_token: it has no iat, which a subject token must have".to_owned());
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

/// Decides an exchange whose tokens are verified.
fn decide(
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
    let candidates: Vec<&(&Resource, &Scopes)> = reachable
        .iter()
        .filter(|(resource, _)| matching.iter().any(|held| held.resource == resource.id))
        .collect();
    let (resource, granted) = match request.audience.as_deref() {
        Some(audience) => **candidates
            .iter()
            .find(|(resource, _)| resource.identifier.as_str() == audience)
            .ok_or_else(|| not_delegated(audience, subject, &reachable))?,
        None => match candidates.as_slice() {
            [only] => **only,
            [] => {
                return Err(AuthorizationError::InvalidTarget(format!(
                    "the delegations for {} name no resource that is granted to this agent",
                    subject.subject
                )));
            }
            _ => {
                return Err(AuthorizationError::InvalidTarget(
                    "several resources are delegated; name one with the parameter resource"
                        .to_owned(),
                ));
            }
        },
    };
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
        default_lifetime(resource, &policy.settings),
        max_lifetime(resource, &policy.settings),
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
                typ: "JWT",
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
