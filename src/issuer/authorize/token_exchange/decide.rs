//! Decides an exchange whose tokens are verified. Pure: the same input gives the same result.

use serde_json::{Map, Value};

use crate::domain::actor::{ACTORS_MAX, Actor, ActorChain};
use crate::domain::agent::Agent;
use crate::domain::claims::AI_AGENT;
use crate::domain::delegation::{Delegation, PresentedSubject};
use crate::domain::id::DelegationId;
use crate::domain::remedy::Remedy;
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

/// An exchange whose tokens are verified: the complete input of the decision.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'e> {
    /// The agent that requests it, with its delegations.
    pub(super) client: &'e AgentAggregate,
    pub(super) request: &'e TokenExchangeRequest,
    pub(super) subject: &'e VerifiedSubject,
    /// The thumbprint of the key that the request proved to hold.
    pub(super) proven_jkt: Option<&'e str>,
    pub(super) policy: &'e Policy,
    pub(super) now: UnixTime,
}

/// The result of an exchange.
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
    /// Decides the exchange.
    pub(super) fn decide(&self) -> Result<Decision, AuthorizationError> {
        let (agent, subject) = (&self.client.agent, self.subject);
        if subject.subject == agent.subject.as_str() {
            return Err(AuthorizationError::invalid_request(
                "subject_token: its subject is this agent itself; use grant_type=client_credentials".to_owned(),
            ));
        }
        if !is_held(subject.jkt.as_deref(), self.proven_jkt) {
            return Err(AuthorizationError::invalid_request(format!(
                "subject_token: {BOUND}"
            )));
        }
        check_may_act(&subject.claims, agent, &self.policy.settings.url)?;
        let matching = self.matching();
        if matching.is_empty() {
            return Err(AuthorizationError::invalid_target(format!(
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
            return Err(AuthorizationError::invalid_target(format!(
                "{} does not accept delegated tokens",
                resource.identifier.as_str()
            ))
            .with_remedy(Remedy::command(format!(
                "resource edit {} --allow-delegation",
                resource.name
            ))));
        }
        let ceiling = self.ceiling(resource)?;
        let lifetimes = Lifetimes {
            default: resource.default_lifetime(settings),
            max: resource.max_lifetime(settings),
        };
        let mut first_refusal = None;
        // The oldest delegation that permits everything requested, even if an older one does not.
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

    /// The resource that the token is for: the named one, the only delegated one, or else the only one where
    /// subject, agent and delegation all allow every requested scope.
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
            return Err(AuthorizationError::invalid_target(format!(
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
            (None | Some(_), _) => Err(AuthorizationError::invalid_target(format!(
                "several resources are delegated; name one with the parameter `resource`: {}",
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

    /// An ID token about the subject, issued to the acting agent.
    fn identity(&self, matching: &[&Delegation]) -> Result<Decision, AuthorizationError> {
        let name = self.client.agent.name.as_str();
        if self
            .request
            .audience
            .as_deref()
            .is_some_and(|audience| audience != name)
        {
            return Err(AuthorizationError::invalid_target(format!(
                "an ID token is for the client that requests it: leave out `resource` and `audience`, or name {name}"
            )));
        }
        if !self.request.scopes.is_empty() {
            return Err(AuthorizationError::invalid_scope(
                "an ID token has no scope: leave out `scope`".to_owned(),
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
                    // It identifies the subject and grants no access, so no service would require the key.
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

    /// The chain with the presenter outermost.
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
                AuthorizationError::invalid_request(format!(
                    "subject_token: {error}; chains are rejected, never shortened"
                ))
            })
    }

    /// The most that the subject may pass on for `resource`; `None`: the delegation alone decides.
    fn ceiling(&self, resource: &Resource) -> Result<Option<Scopes>, AuthorizationError> {
        let subject = self.subject;
        // A detour through another audience does not restore a scope that an earlier token lacked.
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
            return Err(AuthorizationError::invalid_target(format!(
                "{} is not granted to {}, so no agent can request it for that subject",
                resource.identifier.as_str(),
                subject.subject
            )));
        };
        Ok(Some(match token_scopes {
            Some(scopes) => scopes.intersection(&granted).cloned().collect(),
            None => granted,
        }))
    }

    /// The scopes that one delegation permits.
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
            return Err(AuthorizationError::invalid_scope(format!(
                "not available for {} at {identifier}: {refused}; subject, agent and delegation all allow: {offered}",
                self.subject.subject
            )));
        }
        if !wanted.is_empty() {
            return Ok(wanted.clone());
        }
        if common.is_empty() && !resource.scopes.is_empty() {
            return Err(AuthorizationError::invalid_scope(format!(
                "no scope of {identifier} is allowed by subject, agent and delegation together"
            )));
        }
        Ok(common)
    }

    /// The lifetime; it never passes the end of the subject token or of the delegation.
    fn lifetime(&self, held: &Delegation, lifetimes: Lifetimes) -> Result<i64, AuthorizationError> {
        let end = self.subject.expires_at.min(held.expires_at);
        let remaining = end.since(self.now);
        if remaining < 1 {
            return Err(AuthorizationError::invalid_request(
                "subject_token: it has expired".to_owned(),
            ));
        }
        let cap = lifetimes.max.min(remaining);
        match self.request.expires_in {
            None => Ok(lifetimes.default.min(cap)),
            Some(seconds) if (1..=cap).contains(&seconds) => Ok(seconds),
            Some(_) => Err(AuthorizationError::invalid_request(format!(
                "`expires_in` must be 1 to {cap} seconds here: a delegated token never outlives the subject token or the delegation"
            ))),
        }
    }

    fn not_delegated(&self, audience: &str, reachable: &[Reachable<'_>]) -> AuthorizationError {
        if reachable.iter().any(|one| one.is_named(audience)) {
            return AuthorizationError::invalid_target(format!(
                "no delegation lets this agent act for {} at {audience}",
                self.subject.subject
            ));
        }
        not_granted(audience, reachable)
    }
}

/// RFC 8693 §4.4: a subject token with `may_act` is for that actor only.
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
                // An unknown condition cannot be checked, so it is not met.
                _ => false,
            })
    });
    if is_this_agent {
        return Ok(());
    }
    Err(AuthorizationError::invalid_request(
        "subject_token: its `may_act` names another actor".to_owned(),
    ))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use serde_json::json;

    use super::super::ParentToken;
    use super::super::origin::PassedOn;
    use super::*;
    use crate::domain::agent::AgentStatus;
    use crate::domain::assertion_audience::AssertionAudience;
    use crate::domain::claims::USER;
    use crate::domain::delegation::{DelegationStatus, SubjectPattern};
    use crate::domain::id::{AgentId, IssuerId, ResourceId, RoleId, TrustedIssuerId};
    use crate::domain::name::Name;
    use crate::domain::profile::Profile;
    use crate::domain::resource::Identifier;
    use crate::domain::role::{Grant, GrantedScopes, Role};
    use crate::domain::scope::parse_scopes;
    use crate::domain::settings::IssuerSettings;
    use crate::domain::subject::{Subject, SubjectTemplate};
    use crate::issuer::keyring::Keyring;
    use crate::issuer::line::Line;
    use crate::issuer::sealing::Sealing;
    use crate::jose::algorithm::SigningAlgorithm;
    use crate::jose::digest::base64url;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn scopes(text: &str) -> Scopes {
        match text {
            "" => Scopes::new(),
            text => parse_scopes(text).unwrap(),
        }
    }

    fn agent(name: &str, roles: &[&str]) -> Agent {
        Agent {
            id: AgentId::from_text(name),
            name: Name::parse(name).unwrap(),
            subject: Subject::from_stored(format!("agent:{name}")),
            owner: "ops".to_owned(),
            description: String::new(),
            attributes: BTreeMap::new(),
            status: AgentStatus::Active,
            expires_at: None,
            dpop_required: false,
            assertion_audience: None,
            groups: Vec::new(),
            roles: roles.iter().map(|role| RoleId::from_text(*role)).collect(),
            version: 1,
            created_at: NOW,
            updated_at: NOW,
        }
    }

    fn aggregate(agent: Agent) -> AgentAggregate {
        AgentAggregate {
            agent,
            credentials: Vec::new(),
            delegations: Vec::new(),
        }
    }

    /// A resource of that name with the scopes `read` and `write`.
    fn resource(name: &str) -> Resource {
        Resource {
            id: ResourceId::from_text(name),
            name: Name::parse(name).unwrap(),
            identifier: Identifier::parse(&format!("https://{name}.example")).unwrap(),
            description: String::new(),
            profile: Profile::Generic,
            scopes: scopes("read write"),
            lifetime: None,
            algorithm: None,
            typ: None,
            allow_delegation: Some(true),
            server: None,
            dpop_required: false,
            version: 1,
            created_at: NOW,
            updated_at: NOW,
            removed_at: None,
        }
    }

    /// A role that grants the resource of its own name.
    fn role(name: &str) -> Role {
        Role {
            id: RoleId::from_text(name),
            name: Name::parse(name).unwrap(),
            description: String::new(),
            grants: vec![Grant {
                resource: ResourceId::from_text(name),
                scopes: GrantedScopes::All,
            }],
            version: 1,
            created_at: NOW,
            updated_at: NOW,
            removed_at: None,
        }
    }

    /// A delegation for all users of `okta`, which ends in 1000 seconds.
    fn delegation(id: &str, resource: &str) -> Delegation {
        Delegation {
            id: DelegationId::from_text(id),
            actor: AgentId::from_text("mailer"),
            subject: SubjectPattern::parse("user:okta:*", None, BTreeMap::new()).unwrap(),
            resource: ResourceId::from_text(resource),
            scopes: GrantedScopes::All,
            max_depth: 1,
            status: DelegationStatus::Active,
            expires_at: NOW.plus(1000),
            version: 1,
            created_at: NOW,
            updated_at: NOW,
        }
    }

    fn policy() -> Policy {
        let sealing = Sealing::from_text(&base64url(&[0; 32]), "a test").unwrap();
        let issuer = IssuerId::from_text("issuer");
        Policy {
            settings: IssuerSettings {
                id: issuer.clone(),
                slug: "default".to_owned(),
                url: "https://id.example".to_owned(),
                subject_template: SubjectTemplate::parse(SubjectTemplate::DEFAULT).unwrap(),
                default_lifetime: 900,
                max_lifetime: 3600,
                default_algorithm: SigningAlgorithm::Es256,
                assertion_audience: AssertionAudience::Issuer,
                version: 1,
            },
            groups: HashMap::new(),
            roles: ["crm", "mail"]
                .map(|name| (RoleId::from_text(name), role(name)))
                .into(),
            resources: ["crm", "mail"]
                .map(|name| (ResourceId::from_text(name), resource(name)))
                .into(),
            assertions_not_before: UnixTime(0),
            key_consumers: Vec::new(),
            trusted_issuers: BTreeMap::new(),
            keyring: Keyring::open(&issuer, Vec::new(), &sealing, None).unwrap(),
        }
    }

    /// The input of a decision. By default everything is granted: `mailer` acts for Ada of `okta` at `crm`.
    struct World {
        client: AgentAggregate,
        request: TokenExchangeRequest,
        subject: VerifiedSubject,
        proven_jkt: Option<&'static str>,
        policy: Policy,
    }

    impl World {
        fn new() -> Self {
            let subject = "user:okta:ada".to_owned();
            Self {
                client: AgentAggregate {
                    delegations: vec![delegation("first", "crm")],
                    ..aggregate(agent("mailer", &["crm"]))
                },
                request: TokenExchangeRequest {
                    unverified_subject_token: String::new(),
                    subject_token_type: TokenType::Jwt,
                    unverified_actor_token: None,
                    requested_token_type: TokenType::AccessToken,
                    audience: None,
                    scopes: Scopes::new(),
                    expires_in: None,
                },
                subject: VerifiedSubject {
                    profile: USER.to_owned(),
                    agent: None,
                    concerned: Vec::new(),
                    trusted_issuer: Some(TrustedIssuerId::from_text("okta")),
                    attributes: BTreeMap::new(),
                    claims: Map::new(),
                    proven: Map::new(),
                    actors: ActorChain::default(),
                    passed_on: Vec::new(),
                    parent: ParentToken {
                        line: Line::of_root("root".to_owned(), vec![subject.clone()], NOW),
                        root: None,
                        depth: 0,
                    },
                    expires_at: NOW.plus(500),
                    jkt: None,
                    spends: None,
                    subject,
                },
                proven_jkt: None,
                policy: policy(),
            }
        }

        /// Makes the subject an agent of this issuer with these roles, for which `mailer` may act.
        fn about_agent(&mut self, name: &str, roles: &[&str]) {
            let about = agent(name, roles);
            self.subject.subject = about.subject.as_str().to_owned();
            self.subject.trusted_issuer = None;
            self.subject.agent = Some(aggregate(about).into());
            for held in &mut self.client.delegations {
                held.subject = SubjectPattern::parse("agent:*", None, BTreeMap::new()).unwrap();
            }
        }

        fn resource(&mut self, name: &str) -> &mut Resource {
            let id = ResourceId::from_text(name);
            self.policy.resources.get_mut(&id).unwrap()
        }

        fn passed_on(&mut self, audience: &str, text: &str) {
            self.subject.passed_on.push(PassedOn {
                audience: audience.to_owned(),
                scopes: scopes(text),
            });
        }

        /// Grants and delegates `mail` too.
        fn with_mail(&mut self) {
            self.client.agent.roles.push(RoleId::from_text("mail"));
            self.client.delegations.push(delegation("second", "mail"));
        }

        fn outcome(&self) -> String {
            let exchange = Exchange {
                client: &self.client,
                request: &self.request,
                subject: &self.subject,
                proven_jkt: self.proven_jkt,
                policy: &self.policy,
                now: NOW,
            };
            let (code, problem) = match exchange.decide() {
                Ok(granted) => {
                    let actors: Vec<&str> = granted
                        .actors
                        .actors()
                        .iter()
                        .map(|actor| actor.subject.as_str())
                        .collect();
                    return format!(
                        "{} [{}] {} s by {} under {}",
                        granted.target.audience,
                        join_scopes(&granted.scopes),
                        granted.lifetime,
                        actors.join(" "),
                        granted.delegation
                    );
                }
                Err(error) => (error.rejection.as_str(), error.problem),
            };
            format!("{code}: {problem}")
        }
    }

    type Case = (&'static str, fn(&mut World), &'static str);

    fn check(cases: &[Case]) {
        for (name, change, expected) in cases {
            let mut world = World::new();
            change(&mut world);
            let outcome = world.outcome();
            assert!(
                outcome.starts_with(expected),
                "{name}\n  expected {expected}\n  found    {outcome}"
            );
        }
    }

    const WITHOUT_A_RIGHT: &[Case] = &[
        (
            "itself",
            |w| w.about_agent("mailer", &["crm"]),
            "invalid_request: subject_token: its subject is this agent itself",
        ),
        (
            "a bound token without a proof",
            |w| w.subject.jkt = Some("k".to_owned()),
            "invalid_request: subject_token: it is bound to a key",
        ),
        (
            "a bound token with another key",
            |w| {
                w.subject.jkt = Some("k".to_owned());
                w.proven_jkt = Some("l");
            },
            "invalid_request: subject_token: it is bound to a key",
        ),
        (
            "no delegation",
            |w| w.client.delegations.clear(),
            "invalid_target: no delegation lets this agent act for user:okta:ada",
        ),
        (
            "a delegation that is over",
            |w| w.client.delegations[0].expires_at = NOW,
            "invalid_target: no delegation lets this agent act for",
        ),
        (
            "a suspended delegation",
            |w| w.client.delegations[0].status = DelegationStatus::Suspended { at: NOW },
            "invalid_target: no delegation lets this agent act for",
        ),
        (
            "a revoked delegation",
            |w| w.client.delegations[0].status = DelegationStatus::Revoked { at: NOW },
            "invalid_target: no delegation lets this agent act for",
        ),
        (
            "another subject",
            |w| w.subject.subject = "user:okta2:ada".to_owned(),
            "invalid_target: no delegation lets this agent act for user:okta2:ada",
        ),
        (
            "another trusted issuer",
            |w| {
                w.client.delegations[0].subject.trusted_issuer =
                    Some(TrustedIssuerId::from_text("azure"))
            },
            "invalid_target: no delegation lets this agent act for",
        ),
        (
            "claims that are not proven",
            |w| {
                w.subject.claims.insert("team".to_owned(), json!("sales"));
                let claims = BTreeMap::from([("team".to_owned(), "sales".to_owned())]);
                let okta = Some(TrustedIssuerId::from_text("okta"));
                w.client.delegations[0].subject =
                    SubjectPattern::parse("user:okta:*", okta, claims).unwrap();
            },
            "invalid_target: no delegation lets this agent act for",
        ),
    ];

    #[test]
    fn an_exchange_without_a_right_to_it_is_refused() {
        check(WITHOUT_A_RIGHT);
    }

    #[test]
    fn a_may_act_that_does_not_name_this_agent_is_a_refusal() {
        for bad in [
            json!({}),
            json!("agent:mailer"),
            json!({"iss": "https://id.example"}),
            json!({"sub": "agent:other"}),
            json!({"client_id": "other"}),
            json!({"sub": "agent:mailer", "iss": "https://other.example"}),
            json!({"sub": "agent:mailer", "sub_profile": "user"}),
            json!({"sub": "agent:mailer", "email": "m@example.com"}),
        ] {
            let mut world = World::new();
            world
                .subject
                .claims
                .insert("may_act".to_owned(), bad.clone());
            assert_eq!(
                world.outcome(),
                "invalid_request: subject_token: its `may_act` names another actor",
                "{bad}"
            );
        }
        let good = json!({"sub": "agent:mailer", "client_id": "mailer", "iss": "https://id.example", "sub_profile": "ai_agent"});
        let mut world = World::new();
        world.subject.claims.insert("may_act".to_owned(), good);
        assert!(world.outcome().starts_with("https://crm.example"));
    }

    const WRONG_TARGETS: &[Case] = &[
        (
            "granted, not delegated",
            |w| {
                w.with_mail();
                w.client.delegations.pop();
                w.request.audience = Some("https://mail.example".to_owned());
            },
            "invalid_target: no delegation lets this agent act for user:okta:ada at https://mail.example",
        ),
        (
            "delegated, not granted",
            |w| {
                w.with_mail();
                w.client.agent.roles.pop();
                w.request.audience = Some("https://mail.example".to_owned());
            },
            "invalid_target: https://mail.example is not granted to this agent; granted: https://crm.example",
        ),
        (
            "unknown",
            |w| w.request.audience = Some("https://x.example".to_owned()),
            "invalid_target: https://x.example is not granted to this agent; granted: https://crm.example",
        ),
        (
            "nothing is granted",
            |w| {
                w.client.agent.roles.clear();
                w.request.audience = Some("https://crm.example".to_owned());
            },
            "invalid_target: https://crm.example is not granted to this agent; no resource is",
        ),
        (
            "none named, none granted",
            |w| w.client.agent.roles.clear(),
            "invalid_target: the delegations for user:okta:ada name no resource that is granted",
        ),
        (
            "several",
            World::with_mail,
            "invalid_target: several resources are delegated; name one with the parameter `resource`: https://crm.example https://mail.example",
        ),
        (
            "several with those scopes",
            |w| {
                w.with_mail();
                w.request.scopes = scopes("read");
            },
            "invalid_target: several resources are delegated",
        ),
        (
            "no delegated tokens",
            |w| w.resource("crm").allow_delegation = Some(false),
            "invalid_target: https://crm.example does not accept delegated tokens",
        ),
        (
            "not granted to the subject",
            |w| w.about_agent("other", &["mail"]),
            "invalid_target: https://crm.example is not granted to agent:other",
        ),
    ];

    #[test]
    fn a_target_that_is_not_granted_and_delegated_is_refused() {
        check(WRONG_TARGETS);
    }

    const WRONG_SCOPES: &[Case] = &[
        (
            "unknown",
            |w| w.request.scopes = scopes("admin"),
            "invalid_scope: not available for user:okta:ada at https://crm.example: admin; subject, agent and delegation all allow: read write",
        ),
        (
            "not delegated",
            |w| {
                w.request.scopes = scopes("read write");
                w.client.delegations[0].scopes = GrantedScopes::Only(scopes("read"));
            },
            "invalid_scope: not available for user:okta:ada at https://crm.example: write; subject, agent and delegation all allow: read",
        ),
        (
            "not passed on",
            |w| {
                w.request.scopes = scopes("write");
                w.passed_on("https://crm.example", "read");
            },
            "invalid_scope: not available for user:okta:ada at https://crm.example: write; subject, agent and delegation all allow: read",
        ),
        (
            "left out once on the way",
            |w| {
                w.request.scopes = scopes("write");
                w.passed_on("https://crm.example", "read write");
                w.passed_on("https://crm.example", "read");
            },
            "invalid_scope: not available",
        ),
        (
            "nothing in common",
            |w| {
                w.client.delegations[0].scopes = GrantedScopes::Only(scopes("read"));
                w.passed_on("https://crm.example", "write");
            },
            "invalid_scope: no scope of https://crm.example is allowed by subject, agent and delegation together",
        ),
        (
            "of an ID token",
            |w| {
                w.request.requested_token_type = TokenType::IdToken;
                w.request.scopes = scopes("read");
            },
            "invalid_scope: an ID token has no scope",
        ),
    ];

    #[test]
    fn scopes_beyond_what_all_three_allow_are_refused() {
        check(WRONG_SCOPES);
    }

    const TOO_LONG: &[Case] = &[
        (
            "a subject token that is over",
            |w| w.subject.expires_at = NOW,
            "invalid_request: subject_token: it has expired",
        ),
        (
            "no life",
            |w| w.request.expires_in = Some(0),
            "invalid_request: `expires_in` must be 1 to 500 seconds here",
        ),
        (
            "past the subject token",
            |w| w.request.expires_in = Some(501),
            "invalid_request: `expires_in` must be 1 to 500 seconds here",
        ),
        (
            "past the delegation",
            |w| {
                w.client.delegations[0].expires_at = NOW.plus(400);
                w.request.expires_in = Some(401);
            },
            "invalid_request: `expires_in` must be 1 to 400 seconds here",
        ),
        (
            "past the issuer's maximum",
            |w| {
                w.policy.settings.max_lifetime = 300;
                w.request.expires_in = Some(301);
            },
            "invalid_request: `expires_in` must be 1 to 300 seconds here",
        ),
        (
            "one actor too many",
            |w| w.subject.actors = acting("agent:other"),
            "invalid_request: subject_token: the chain of actors would have more than 1 links",
        ),
        (
            "an ID token for another",
            |w| {
                w.request.requested_token_type = TokenType::IdToken;
                w.request.audience = Some("other".to_owned());
            },
            "invalid_target: an ID token is for the client that requests it",
        ),
        (
            "an ID token past the subject token",
            |w| {
                w.request.requested_token_type = TokenType::IdToken;
                w.request.expires_in = Some(501);
            },
            "invalid_request: `expires_in` must be 1 to 500 seconds here",
        ),
    ];

    #[test]
    fn a_life_or_a_chain_that_is_too_long_is_refused() {
        check(TOO_LONG);
    }

    fn acting(subject: &str) -> ActorChain {
        let actor = Actor {
            issuer: "https://id.example".to_owned(),
            subject: subject.to_owned(),
            profile: AI_AGENT.to_owned(),
        };
        ActorChain::default().extended(actor, ACTORS_MAX).unwrap()
    }

    const GRANTED: &[Case] = &[
        (
            "all of it",
            |_| (),
            "https://crm.example [read write] 500 s by agent:mailer under first",
        ),
        (
            "what is asked for",
            |w| {
                w.request.scopes = scopes("read");
                w.request.expires_in = Some(1);
            },
            "https://crm.example [read] 1 s by agent:mailer under first",
        ),
        (
            "what is passed on",
            |w| w.passed_on("https://crm.example", "read"),
            "https://crm.example [read] 500 s",
        ),
        (
            "another audience restricts nothing",
            |w| w.passed_on("https://mail.example", "read"),
            "https://crm.example [read write] 500 s",
        ),
        (
            "for an agent",
            |w| w.about_agent("other", &["crm"]),
            "https://crm.example [read write] 500 s by agent:mailer under first",
        ),
        (
            "with its key",
            |w| {
                w.subject.jkt = Some("k".to_owned());
                w.proven_jkt = Some("k");
            },
            "https://crm.example [read write]",
        ),
        (
            "the named one",
            |w| {
                w.with_mail();
                w.request.audience = Some("https://mail.example".to_owned());
            },
            "https://mail.example [read write] 500 s by agent:mailer under second",
        ),
        (
            "the meant one",
            |w| {
                w.with_mail();
                w.resource("mail").scopes = scopes("send");
                w.request.scopes = scopes("send");
            },
            "https://mail.example [send] 500 s by agent:mailer under second",
        ),
        (
            "one that accepts no delegated tokens is not meant",
            |w| {
                w.with_mail();
                w.resource("mail").allow_delegation = Some(false);
                w.request.scopes = scopes("read");
            },
            "https://crm.example [read]",
        ),
        (
            "a resource without scopes",
            |w| w.resource("crm").scopes.clear(),
            "https://crm.example [] 500 s",
        ),
        (
            "the oldest that permits it",
            |w| {
                w.client.delegations[0].scopes = GrantedScopes::Only(scopes("read"));
                w.client.delegations.push(delegation("second", "crm"));
                w.client.delegations.push(delegation("third", "crm"));
                w.request.scopes = scopes("write");
            },
            "https://crm.example [write] 500 s by agent:mailer under second",
        ),
        (
            "a longer chain under a deeper delegation",
            |w| {
                w.subject.actors = acting("agent:other");
                w.client.delegations[0].max_depth = 2;
            },
            "https://crm.example [read write] 500 s by agent:mailer agent:other under first",
        ),
        (
            "the same actor again adds no link",
            |w| w.subject.actors = acting("agent:mailer"),
            "https://crm.example [read write] 500 s by agent:mailer under first",
        ),
        (
            "an ID token",
            |w| w.request.requested_token_type = TokenType::IdToken,
            "mailer [] 500 s by agent:mailer under first",
        ),
    ];

    #[test]
    fn what_subject_agent_and_delegation_allow_is_granted() {
        check(GRANTED);
    }

    #[test]
    fn the_first_refusal_is_the_oldest_delegations() {
        let mut world = World::new();
        world.client.delegations[0].scopes = GrantedScopes::Only(scopes("read"));
        let mut second = delegation("second", "crm");
        second.scopes = GrantedScopes::Only(Scopes::new());
        world.client.delegations.push(second);
        world.request.scopes = scopes("write");
        assert!(
            world.outcome().ends_with("all allow: read"),
            "{}",
            world.outcome()
        );
    }
}
