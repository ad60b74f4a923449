//! Authenticates a client by a token of a trusted issuer (RFC 7523 §3, where `iss` need not be the client;
//! draft-ietf-oauth-spiffe-client-auth). `external_token.rs` verifies the token; this file finds the one agent whose
//! live federated credential it matches.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{AuthenticatedClient, AuthenticationError, ClientAuthMethod, Moment, active, refused};
use crate::domain::credential::CredentialKind;
use crate::domain::id::CredentialId;
use crate::issuer::Issuer;
use crate::issuer::external_token::{ExternalToken, ExternalTokenError, TrustedFor};
use crate::ports::time::UnixTime;
use crate::relying_party::cel::{TokenClaims, condition_holds};
use crate::store::{AgentAggregate, PresentedToken, StoreError};

/// Most agents compared with a token that comes without `client_id`.
const CANDIDATES_MAX: usize = 32;
/// Most conditions evaluated for one token, whatever matches: each may cost a few milliseconds.
const CONDITIONS_MAX: usize = 32;

/// An agent's identity at a trusted issuer, for the audit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExternalIdentity {
    /// The trusted issuer's name.
    pub trusted_issuer: String,
    /// The subject of its token.
    pub subject: String,
    /// The name of the token in the audit.
    pub reference: String,
}

impl ExternalIdentity {
    fn of(token: &ExternalToken) -> Self {
        Self {
            trusted_issuer: token.trusted.name.as_str().to_owned(),
            subject: token.subject.clone(),
            reference: token.reference.clone(),
        }
    }
}

/// Why a verified token does not prove an agent.
#[derive(Debug)]
pub(in crate::issuer) enum NoAgent {
    /// The sentence for the client that presented the token.
    Told(String),
    /// The database cannot be read.
    Store(StoreError),
}

impl From<StoreError> for NoAgent {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// A token of a trusted issuer that a client presents to authenticate.
pub(super) struct ExternalProof<'r> {
    pub(super) claimed: Option<&'r str>,
    pub(super) unverified_token: &'r str,
    pub(super) used: TrustedFor,
    pub(super) method: ClientAuthMethod,
}

/// A token under comparison, with the work that it may still cause.
struct Comparison<'t> {
    token: &'t ExternalToken,
    claims: Map<String, Value>,
    /// The claims as conditions see them, made for the first condition.
    condition_claims: Option<Arc<TokenClaims>>,
    /// The results of the conditions so far: several agents may share one.
    verdicts: HashMap<String, bool>,
    conditions_left: usize,
    now: UnixTime,
}

impl Issuer {
    pub(super) async fn authenticate_external(
        &self,
        presented: ExternalProof<'_>,
        moment: Moment,
    ) -> Result<AuthenticatedClient, AuthenticationError> {
        let Moment { basis, now } = moment;
        let ExternalProof {
            claimed,
            unverified_token,
            used,
            method,
        } = presented;
        // CA-046: a token issued here proves what an agent may do, not who presents it.
        if self.claims_to_be_ours(unverified_token) {
            return Err(refused(
                "a token of this issuer is not a client assertion",
                claimed,
                false,
            ));
        }
        let told =
            |problem: String, claimed: String, rests_on_state| AuthenticationError::External {
                problem,
                claimed,
                rests_on_state,
            };
        let verified = self.verify_external(unverified_token, used, now).await;
        let token = verified.map_err(|error| match error {
            ExternalTokenError::Unproven { exact, .. } => refused(exact, claimed, true),
            ExternalTokenError::Fault(problem) => {
                told(problem, claimed.unwrap_or_default().to_owned(), true)
            }
            error @ ExternalTokenError::KeysUnavailable { .. } => {
                AuthenticationError::Unavailable(Box::new(error))
            }
        })?;
        let (aggregate, credential) = match self.federated_agent(&token, claimed, now).await {
            Ok(found) => found,
            Err(NoAgent::Store(error)) => return Err(error.into()),
            Err(NoAgent::Told(problem)) => {
                let claimed = claimed.unwrap_or(&token.subject).to_owned();
                return Err(told(problem, claimed, true));
            }
        };
        let external = ExternalIdentity::of(&token);
        active(
            AuthenticatedClient {
                aggregate,
                method,
                credential,
                spends: token.spends,
                external: Some(Arc::new(external)),
                basis,
            },
            now,
        )
    }

    /// The agent that a verified token proves, and the matching credential: the agent that `claimed` names, or
    /// without a name the only one that matches.
    ///
    /// Without a name the candidates are the agents whose credential has exactly the token's subject, and those
    /// whose credential has no subject. The index finds both, [`CANDIDATES_MAX`] at most. Texts are compared
    /// first. A condition is evaluated only when they match, each distinct condition once, [`CONDITIONS_MAX`] at
    /// most.
    pub(in crate::issuer) async fn federated_agent(
        &self,
        token: &ExternalToken,
        claimed: Option<&str>,
        now: UnixTime,
    ) -> Result<(Arc<AgentAggregate>, CredentialId), NoAgent> {
        let mut comparison = Comparison {
            token,
            claims: token.all_claims(),
            condition_claims: None,
            verdicts: HashMap::new(),
            conditions_left: CONDITIONS_MAX,
            now,
        };
        // The draft on SPIFFE client authentication uses the SPIFFE ID as `client_id`, which repeats `sub`.
        let claimed = claimed.filter(|name| !(token.trusted.is_spiffe() && *name == token.subject));
        if let Some(client_id) = claimed {
            // The response does not show whether the agent exists: anyone can get a token of a public platform.
            let found = match self.known_agent(client_id).await? {
                None => None,
                Some(aggregate) => comparison
                    .credential_of(&aggregate)
                    .await?
                    .map(|credential| (aggregate, credential)),
            };
            return found.ok_or_else(|| {
                told(
                    token,
                    "no live federated credential of the client that `client_id` names matches",
                )
            });
        }
        let names = self
            .federated_candidates(PresentedToken {
                trusted: &token.trusted.id,
                subject: &token.subject,
                now,
            })
            .await?;
        if names.len() > CANDIDATES_MAX {
            return Err(told(
                token,
                "too many agents have federated credentials to compare; send `client_id`. This is",
            ));
        }
        let mut only = None;
        for name in names {
            let Some(aggregate) = self.known_agent(&name).await? else {
                continue;
            };
            let Some(credential) = comparison.credential_of(&aggregate).await? else {
                continue;
            };
            if only.replace((aggregate, credential)).is_some() {
                return Err(told(
                    token,
                    "several agents have a federated credential that matches; send `client_id`. This is",
                ));
            }
        }
        only.ok_or_else(|| {
            told(
                token,
                "no agent has a live federated credential that matches",
            )
        })
    }
}

impl Issuer {
    /// The names of the agents to compare with a token: one more than [`CANDIDATES_MAX`] at most.
    pub(crate) async fn federated_candidates(
        &self,
        token: PresentedToken<'_>,
    ) -> Result<Vec<String>, StoreError> {
        // Anyone can get a token of a public platform.
        let place = self.registry.cold_read().await;
        let (mut tx, _) = self.read().await?;
        let limit = CANDIDATES_MAX as i64 + 1;
        let names = tx
            .agents_of_federated_subject(&self.id, token, limit)
            .await?;
        tx.rollback().await?;
        drop(place);
        Ok(names)
    }
}

/// A rejection that names the subject of the client's own token.
fn told(token: &ExternalToken, problem: &str) -> NoAgent {
    let subject: String = token.subject.chars().take(256).collect();
    NoAgent::Told(format!(
        "{problem} the token of the trusted issuer `{}` with the subject {subject}",
        token.trusted.name
    ))
}

impl Comparison<'_> {
    /// The first live federated credential of an agent that the token matches.
    async fn credential_of(
        &mut self,
        aggregate: &AgentAggregate,
    ) -> Result<Option<CredentialId>, NoAgent> {
        for credential in &aggregate.credentials {
            let CredentialKind::Federated {
                trusted_issuer,
                matching,
            } = &credential.kind
            else {
                continue;
            };
            let is_meant = credential.is_live(self.now)
                && *trusted_issuer == self.token.trusted.id
                && matching.matches(&self.token.subject, &self.claims);
            if !is_meant {
                continue;
            }
            let holds = match &matching.condition {
                None => true,
                Some(condition) => self.holds(condition).await?,
            };
            if holds {
                return Ok(Some(credential.id.clone()));
            }
        }
        Ok(None)
    }

    /// Whether a condition is true; one that cannot be evaluated counts as false.
    async fn holds(&mut self, condition: &str) -> Result<bool, NoAgent> {
        if let Some(verdict) = self.verdicts.get(condition) {
            return Ok(*verdict);
        }
        let Some(left) = self.conditions_left.checked_sub(1) else {
            return Err(told(
                self.token,
                "too many conditions to evaluate; send `client_id`. This is",
            ));
        };
        self.conditions_left = left;
        let claims = self
            .condition_claims
            .get_or_insert_with(|| Arc::new(TokenClaims::of(&self.claims)));
        let verdict = match condition_holds(condition, claims).await {
            Ok(holds) => holds,
            Err(invalid) => {
                tracing::debug!(problem = invalid.problem, "a condition does not hold");
                false
            }
        };
        self.verdicts.insert(condition.to_owned(), verdict);
        Ok(verdict)
    }
}
