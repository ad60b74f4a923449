//! Verifies what a client presented and alone makes an [`AuthenticatedClient`]. Nothing here reads
//! HTTP; nothing outside can make one.
//!
//! Order: cheap checks, then the signature or the hash, then the rest of the claims. Faults of an
//! assertion are named only after its signature verified; an unknown client, a wrong secret and an
//! agent that is switched off get the same answer (RFC 6749 §5.2, OWASP ASVS 5.0 6.3.8).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::{Map, Value};

use crate::domain::agent::{Agent, AgentStatus};
use crate::domain::assertion_audience::Expected;
use crate::domain::credential::{CredentialKind, LIVE_SECRETS_MAX};
use crate::domain::id::CredentialId;
use crate::domain::name::NAME_MAX_BYTES;
use crate::domain::settings::{SKEW_SECONDS, token_endpoint};
use crate::jose::compact::UnverifiedJws;
use crate::jose::digest::sha256;
use crate::jose::jwt::Claims;
use crate::ports::time::UnixTime;
use crate::store::AgentAggregate;
use crate::store::StoreError;

use super::Issuer;
use super::assertion_keys::verify_signature;
use super::external_token::{ExternalTokenError, TrustedFor};
use super::federated::{ExternalIdentity, NoAgent};
use super::refusals::fact;
use super::secrets::{SecretsError, malformation};

/// Longest client assertion, in bytes, looked at before anything is parsed.
pub const ASSERTION_MAX_BYTES: usize = 8 * 1024;
/// How far ahead an assertion may expire, in seconds: its jti is remembered that long.
pub const ASSERTION_MAX_AHEAD_SECONDS: i64 = 3600;
/// Longest jti of an assertion, in bytes.
pub const JTI_MAX_BYTES: usize = 256;

/// How a client authenticates at the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuthMethod {
    /// A secret in the `Authorization` header (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// A secret in the form (RFC 6749 §2.3.1).
    ClientSecretPost,
    /// A signed assertion (RFC 7523 §2.2, OpenID Connect Core §9).
    /// An assertion signed by the agent's own key or by a trusted issuer is the same on the wire.
    PrivateKeyJwt,
    /// A JWT-SVID (draft-ietf-oauth-spiffe-client-auth §3.1).
    SpiffeJwt,
}

impl ClientAuthMethod {
    /// All methods, as discovery lists them.
    pub const ALL: [Self; 4] = [
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::PrivateKeyJwt,
        Self::SpiffeJwt,
    ];

    /// The method's registered name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::SpiffeJwt => "spiffe_jwt",
        }
    }
}

/// What a client presented, parsed and not yet believed.
pub enum PresentedCredential {
    /// A client id with a secret.
    Secret {
        /// Where it was presented.
        method: ClientAuthMethod,
        /// Whom it claims to be.
        unverified_client_id: String,
        /// The secret.
        unverified_secret: SecretString,
    },
    /// A client assertion: the client's own, or a token of a trusted issuer.
    Assertion {
        /// The `client_id` parameter, if it was sent.
        unverified_client_id: Option<String>,
        /// The compact JWS.
        unverified_assertion: SecretString,
    },
    /// A JWT-SVID.
    JwtSvid {
        /// The `client_id` parameter, if it was sent.
        unverified_client_id: Option<String>,
        /// The compact JWS.
        unverified_svid: SecretString,
    },
}

impl fmt::Debug for PresentedCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method().as_str())
    }
}

impl PresentedCredential {
    /// How it was presented.
    #[must_use]
    pub fn method(&self) -> ClientAuthMethod {
        match self {
            Self::Secret { method, .. } => *method,
            Self::Assertion { .. } => ClientAuthMethod::PrivateKeyJwt,
            Self::JwtSvid { .. } => ClientAuthMethod::SpiffeJwt,
        }
    }
}

/// Why a client is not believed.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// It did not prove itself. `reason` is for the log and the audit; the client is told nothing.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: Cow<'static, str>,
        /// Whom it claimed to be, if that much was readable.
        unverified_client_id: Option<String>,
        /// True when a newer row of the database could change the answer: not for a client that is
        /// unknown, which is never believed of memory but was just looked up.
        rests_on_state: bool,
    },
    /// Its signature is good, and the assertion has another fault, which it is told.
    #[error("{problem}")]
    Assertion {
        /// Which, as a sentence for the client.
        problem: String,
        /// The agent that signed it.
        client: Arc<AgentAggregate>,
        /// True when a newer row of the database could change the answer.
        rests_on_state: bool,
    },
    /// A trusted issuer signed the token, which it is told has another fault or proves no agent.
    #[error("{problem}")]
    External {
        /// What, as a sentence for the client.
        problem: String,
        /// Whom it claimed to be, else whom the trusted issuer says it is.
        claimed: String,
        /// True when a newer row of the database could change the answer.
        rests_on_state: bool,
    },
    /// A fault of ours, or keys of a trusted issuer that cannot be had.
    #[error("the service cannot authenticate anyone at present")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for AuthenticationError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// A client that proved itself. Made in this file only.
#[derive(Debug)]
pub struct AuthenticatedClient {
    aggregate: Arc<AgentAggregate>,
    method: ClientAuthMethod,
    credential: CredentialId,
    spends: Option<SpentAssertion>,
    external: Option<Arc<ExternalIdentity>>,
    basis: i64,
}

/// A token of a trusted issuer, as it was presented.
struct ExternalProof<'r> {
    claimed: Option<&'r str>,
    unverified_token: &'r str,
    used: TrustedFor,
    method: ClientAuthMethod,
}

/// The single-use mark of an assertion, set when the token that it pays for is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpentAssertion {
    /// Over the principal and its jti: no byte in a jti can trouble the database.
    pub digest: [u8; 16],
    /// Until when a replay must be recognised.
    pub expires_at: UnixTime,
    /// What it marks.
    pub what: Spent,
}

/// What is taken only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spent {
    /// What a client proved itself with.
    ClientAssertion,
    /// A subject token of a trusted issuer.
    SubjectToken,
    /// An actor token of a trusted issuer.
    ActorToken,
    /// A proof of holding a key (RFC 9449 §11.1).
    DpopProof,
}

impl SpentAssertion {
    /// The mark of what `principal` (a kind and an id, neither with a NUL) numbered `jti`, which expires
    /// at `expires_at`; of a client assertion until [`SpentAssertion::as_of`] says otherwise.
    pub(super) fn of(principal: [&str; 2], jti: &str, expires_at: UnixTime) -> Self {
        let mut marked = Vec::with_capacity(jti.len() + 64);
        for part in principal {
            marked.extend_from_slice(part.as_bytes());
            marked.push(0);
        }
        marked.extend_from_slice(jti.as_bytes());
        let mut digest = [0; 16];
        digest.copy_from_slice(&sha256(&marked)[..16]);
        // Kept past exp by the skew: until then it would still be taken.
        Self {
            digest,
            expires_at: expires_at.plus(SKEW_SECONDS + 1),
            what: Spent::ClientAssertion,
        }
    }

    /// The same mark, of something else.
    pub(super) fn as_of(self, what: Spent) -> Self {
        Self { what, ..self }
    }
}

impl AuthenticatedClient {
    /// The agent.
    #[must_use]
    pub fn aggregate(&self) -> &Arc<AgentAggregate> {
        &self.aggregate
    }

    /// How it proved itself.
    #[must_use]
    pub fn method(&self) -> ClientAuthMethod {
        self.method
    }

    /// With which credential.
    #[must_use]
    pub fn credential(&self) -> &CredentialId {
        &self.credential
    }

    /// The assertion it used up, if it used one.
    #[must_use]
    pub fn spends(&self) -> Option<SpentAssertion> {
        self.spends
    }

    /// Who it is elsewhere, when a trusted issuer's token proved it.
    #[must_use]
    pub fn external(&self) -> Option<&Arc<ExternalIdentity>> {
        self.external.as_ref()
    }

    /// The registry version that everything believed here is at least as new as.
    #[must_use]
    pub fn basis(&self) -> i64 {
        self.basis
    }
}

impl Issuer {
    /// Verifies a presented credential.
    ///
    /// # Errors
    /// [`AuthenticationError`]; see there for what the client may be told.
    pub async fn authenticate(
        &self,
        presented: &PresentedCredential,
        now: UnixTime,
    ) -> Result<AuthenticatedClient, AuthenticationError> {
        // Before anything is read: what is read after it is at least as new.
        let basis = self.registry.seen();
        match presented {
            PresentedCredential::Secret {
                method,
                unverified_client_id,
                unverified_secret,
            } => {
                self.authenticate_secret(
                    *method,
                    (unverified_client_id, unverified_secret),
                    basis,
                    now,
                )
                .await
            }
            PresentedCredential::Assertion {
                unverified_client_id,
                unverified_assertion,
            } => {
                use secrecy::ExposeSecret as _;
                let claimed = unverified_client_id.as_deref();
                self.authenticate_assertion(
                    claimed,
                    unverified_assertion.expose_secret(),
                    basis,
                    now,
                )
                .await
            }
            PresentedCredential::JwtSvid {
                unverified_client_id,
                unverified_svid,
            } => {
                use secrecy::ExposeSecret as _;
                let presented = ExternalProof {
                    claimed: unverified_client_id.as_deref(),
                    unverified_token: unverified_svid.expose_secret(),
                    used: TrustedFor::SpiffeClientAuth,
                    method: ClientAuthMethod::SpiffeJwt,
                };
                self.authenticate_external(presented, basis, now).await
            }
        }
    }

    async fn authenticate_secret(
        &self,
        method: ClientAuthMethod,
        (unverified_client_id, unverified_secret): (&str, &SecretString),
        basis: i64,
        now: UnixTime,
    ) -> Result<AuthenticatedClient, AuthenticationError> {
        let fault = |error| AuthenticationError::Unavailable(Box::new(error));
        let Some(aggregate) = self.known_agent(unverified_client_id).await? else {
            self.verify_decoys(unverified_secret, LIVE_SECRETS_MAX)?;
            return Err(refused("no such client", Some(unverified_client_id), false));
        };
        let mut tried = 0;
        for credential in aggregate
            .credentials
            .iter()
            .filter(|credential| credential.is_live(now))
        {
            let CredentialKind::ClientSecret { hash } = &credential.kind else {
                continue;
            };
            tried += 1;
            let verified = match self.secrets.verify(&credential.id, unverified_secret, hash) {
                // A damaged row matches nothing; the agent's other secret is still good.
                Err(error @ SecretsError::StoredHash) => {
                    tracing::error!(credential = credential.id.as_str(), %error, "a client secret cannot be verified");
                    false
                }
                verified => verified.map_err(fault)?,
            };
            if verified {
                let id = credential.id.clone();
                return active(
                    AuthenticatedClient {
                        aggregate,
                        method,
                        credential: id,
                        spends: None,
                        external: None,
                        basis,
                    },
                    now,
                );
            }
        }
        self.verify_decoys(unverified_secret, LIVE_SECRETS_MAX.saturating_sub(tried))?;
        let reason = why_inactive(&aggregate.agent, now)
            .unwrap_or_else(|| why_no_secret(&aggregate, unverified_secret, tried));
        Err(refused(reason, Some(unverified_client_id), true))
    }

    /// Makes every refusal of a secret cost as many hashes, so that its time does not tell whether
    /// there is such a client or how many secrets it has.
    fn verify_decoys(
        &self,
        unverified_secret: &SecretString,
        count: usize,
    ) -> Result<(), AuthenticationError> {
        for _ in 0..count {
            self.secrets
                .verify_decoy(unverified_secret)
                .map_err(|error| AuthenticationError::Unavailable(Box::new(error)))?;
        }
        Ok(())
    }

    async fn authenticate_assertion(
        &self,
        claimed: Option<&str>,
        unverified_assertion: &str,
        basis: i64,
        now: UnixTime,
    ) -> Result<AuthenticatedClient, AuthenticationError> {
        let unverified = UnverifiedJws::parse(unverified_assertion, ASSERTION_MAX_BYTES)
            .map_err(|error| refused(error.to_string(), claimed, false))?;
        let unverified_claims = unverified
            .unverified_claims()
            .map_err(|error| refused(error.to_string(), claimed, false))?;
        // RFC 7523 §3 items 1 and 2: both name the client.
        let issuer = unverified_claims
            .get("iss")
            .and_then(|value| value.as_str());
        let subject = unverified_claims
            .get("sub")
            .and_then(|value| value.as_str());
        let (Some(client_id), true) = (issuer, issuer == subject) else {
            // Whose iss is no URL is no trusted issuer.
            if !issuer.is_some_and(|issuer| issuer.contains("://")) {
                return Err(refused(why_no_client(&unverified_claims), claimed, false));
            }
            let presented = ExternalProof {
                claimed,
                unverified_token: unverified_assertion,
                used: TrustedFor::ClientAuth,
                method: ClientAuthMethod::PrivateKeyJwt,
            };
            return self.authenticate_external(presented, basis, now).await;
        };
        if claimed.is_some_and(|claimed| claimed != client_id) {
            let reason = format!(
                "client_id and the assertion name different clients; `iss` is {}",
                fact(client_id)
            );
            return Err(refused(reason, claimed, false));
        }
        let Some(aggregate) = self.known_agent(client_id).await? else {
            return Err(refused("no such client", Some(client_id), false));
        };
        let (credential, verified) = verify_signature(&unverified, &aggregate.credentials, now)
            .map_err(|reason| {
                let reason = why_inactive(&aggregate.agent, now).unwrap_or(reason);
                refused(reason, Some(client_id), true)
            })?;
        let fault = |problem, rests_on_state| AuthenticationError::Assertion {
            problem,
            client: Arc::clone(&aggregate),
            rests_on_state,
        };
        let named = |problem: String| fault(problem, false);
        if !is_assertion_type(unverified.unverified_typ()) {
            return Err(named(
                "typ of the assertion must be absent, JWT or client-authentication+jwt".to_owned(),
            ));
        }
        let claims = Claims::parse(&verified).map_err(|error| named(error.to_string()))?;
        self.check_audience(&aggregate, &claims)
            .map_err(|problem| fault(problem, true))?;
        let spends = self.check_claims(&aggregate, &claims, now).map_err(named)?;
        let (method, id) = (ClientAuthMethod::PrivateKeyJwt, credential.id.clone());
        active(
            AuthenticatedClient {
                aggregate: Arc::clone(&aggregate),
                method,
                credential: id,
                spends: Some(spends),
                external: None,
                basis,
            },
            now,
        )
    }

    /// A token of a trusted issuer, and which agent it proves (RFC 7523 §3: `iss` need not be the client).
    async fn authenticate_external(
        &self,
        presented: ExternalProof<'_>,
        basis: i64,
        now: UnixTime,
    ) -> Result<AuthenticatedClient, AuthenticationError> {
        let ExternalProof {
            claimed,
            unverified_token,
            used,
            method,
        } = presented;
        // CA-046: what we issued proves what an agent may do, not who presents it.
        if self.claims_to_be_ours(unverified_token) {
            return Err(refused(
                "a token of this issuer is no client assertion",
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

    /// RFC 7523 §3 item 3, by the agent's policy or else the issuer's.
    fn check_audience(&self, aggregate: &AgentAggregate, claims: &Claims) -> Result<(), String> {
        let agent = &aggregate.agent;
        let policy = agent
            .assertion_audience
            .unwrap_or_else(|| self.policy().settings.assertion_audience);
        let expected = Expected {
            issuer: &self.url,
            token_endpoint: &token_endpoint(&self.url),
            agent: agent.name.as_str(),
        };
        policy.check(claims.audience.as_ref(), expected)
    }

    /// RFC 7523 §3 and the issuer's own, stricter rules, on claims whose signature verified.
    fn check_claims(
        &self,
        aggregate: &AgentAggregate,
        claims: &Claims,
        now: UnixTime,
    ) -> Result<SpentAssertion, String> {
        let expires_at = claims
            .check_times(now, SKEW_SECONDS)
            .map_err(|error| error.to_string())?;
        if expires_at > now.plus(ASSERTION_MAX_AHEAD_SECONDS + SKEW_SECONDS) {
            return Err(format!(
                "exp must be at most {ASSERTION_MAX_AHEAD_SECONDS} seconds ahead"
            ));
        }
        self.check_age(claims, now)?;
        let jti = claims.jwt_id.as_deref().unwrap_or_default();
        if jti.is_empty() || jti.len() > JTI_MAX_BYTES {
            return Err(format!(
                "jti must be there, with 1 to {JTI_MAX_BYTES} bytes, and new in each assertion"
            ));
        }
        let principal = ["private_key_jwt", aggregate.agent.id.as_str()];
        Ok(SpentAssertion::of(principal, jti, expires_at))
    }

    /// After a restore: an assertion that may have been used already is refused, also one that does not
    /// say when it was made, for as long as one made before could still be good.
    fn check_age(&self, claims: &Claims, now: UnixTime) -> Result<(), String> {
        let not_before = self.policy().assertions_not_before;
        let made_before = match claims.issued_at {
            Some(issued_at) => issued_at <= not_before,
            None => now <= not_before.plus(ASSERTION_MAX_AHEAD_SECONDS + SKEW_SECONDS),
        };
        if !made_before {
            return Ok(());
        }
        Err(format!(
            "iat must be there and later than {not_before}, when this issuer was restored from a backup; make a new assertion"
        ))
    }

    /// The agent of that name. `None` is never remembered: it comes from the database, just now.
    pub(super) async fn known_agent(
        &self,
        client_id: &str,
    ) -> Result<Option<Arc<AgentAggregate>>, StoreError> {
        let is_name = client_id.len() <= NAME_MAX_BYTES
            && crate::domain::name::Name::parse(client_id).is_ok();
        if is_name {
            self.registry.agent(&self.store, &self.id, client_id).await
        } else {
            Ok(None)
        }
    }
}

/// Why no secret of an agent matched, for the operator: its form, or the secrets that it was compared with.
fn why_no_secret(aggregate: &AgentAggregate, unverified: &SecretString, live: usize) -> String {
    use secrecy::ExposeSecret as _;
    if let Some(fault) = malformation(unverified.expose_secret()) {
        return format!("the secret is not one of this issuer: {fault}");
    }
    let all = aggregate
        .credentials
        .iter()
        .filter(|credential| matches!(credential.kind, CredentialKind::ClientSecret { .. }))
        .count();
    let over = all.saturating_sub(live);
    match (live, over) {
        (0, 0) => "the client has no client secret".to_owned(),
        (0, over) => {
            format!("the client has no live client secret; {over} are revoked, expired or pending")
        }
        (1, 0) => "the client's live secret is another".to_owned(),
        (1, over) => {
            format!("the client's live secret is another; {over} are revoked, expired or pending")
        }
        (live, 0) => format!("none of the client's {live} live secrets matches"),
        (live, over) => format!(
            "none of the client's {live} live secrets matches; {over} are revoked, expired or pending"
        ),
    }
}

/// Why the claims of an assertion name no client (RFC 7523 §3 items 1 and 2), for the operator.
fn why_no_client(unverified_claims: &Map<String, Value>) -> String {
    let mut names = Vec::new();
    for name in ["iss", "sub"] {
        match unverified_claims.get(name) {
            None => return format!("`{name}` of the assertion is missing"),
            Some(Value::String(text)) => names.push(fact(text)),
            Some(
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_),
            ) => return format!("`{name}` of the assertion is not a string"),
        }
    }
    format!(
        "`iss` and `sub` of the assertion are not the same string: {}",
        names.join(" and ")
    )
}

/// `typ` is not enforced when absent; another kind of JWT is refused (RFC 8725 §3.11, 3.12).
fn is_assertion_type(typ: Option<&str>) -> bool {
    typ.is_none_or(|typ| {
        let typ = typ.strip_prefix("application/").unwrap_or(typ);
        typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("client-authentication+jwt")
    })
}

fn active(
    client: AuthenticatedClient,
    now: UnixTime,
) -> Result<AuthenticatedClient, AuthenticationError> {
    let agent = &client.aggregate.agent;
    match why_inactive(agent, now) {
        None => Ok(client),
        Some(reason) => Err(refused(reason, Some(agent.name.as_str()), true)),
    }
}

/// Why an agent gets no token, for the operator.
fn why_inactive(agent: &Agent, now: UnixTime) -> Option<String> {
    if agent.is_active(now) {
        return None;
    }
    Some(match (agent.status, agent.expires_at) {
        (AgentStatus::Suspended { at }, _) => format!("the agent is suspended since {at}"),
        (AgentStatus::Removed { at }, _) => format!("the agent was removed at {at}"),
        (AgentStatus::Active, Some(at)) => format!("the agent expired at {at}"),
        (AgentStatus::Active, None) => "the agent is not active".to_owned(),
    })
}

fn refused(
    reason: impl Into<Cow<'static, str>>,
    unverified_client_id: Option<&str>,
    rests_on_state: bool,
) -> AuthenticationError {
    AuthenticationError::Refused {
        reason: reason.into(),
        unverified_client_id: unverified_client_id.map(str::to_owned),
        rests_on_state,
    }
}
