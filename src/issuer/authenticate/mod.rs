//! Verifies the credentials that a client presents. An [`AuthenticatedClient`] is made only in this room, one file
//! per method; nothing here reads HTTP.
//!
//! Order: cheap checks, then the signature or the hash, then the remaining claims. Faults of an assertion are
//! named only after its signature verified. An unknown client, a wrong secret and a suspended agent get the same
//! response (RFC 6749 §5.2, OWASP ASVS 5.0 6.3.8).

mod assertion_keys;
mod client_secret;
mod private_key_jwt;
pub mod trusted_issuer;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};

use crate::domain::agent::{Agent, AgentStatus};
use crate::domain::id::CredentialId;
use crate::domain::name::NAME_MAX_BYTES;
use crate::domain::remedy::Remedy;
use crate::ports::time::UnixTime;
use crate::store::AgentAggregate;
use crate::store::StoreError;

use super::Issuer;
use super::external_token::TrustedFor;
use super::single_use::SpentAssertion;
use trusted_issuer::{ExternalIdentity, ExternalProof};

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

/// The credential that a client presented: parsed, not verified.
pub enum PresentedCredential {
    /// A client id with a secret.
    Secret {
        /// How it was presented.
        method: ClientAuthMethod,
        /// The claimed `client_id`.
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

/// Why authentication failed.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// The client did not prove itself. `reason` is for the log and the audit, not for the client.
    #[error("{reason}")]
    Refused {
        /// Why.
        reason: Cow<'static, str>,
        /// The claimed `client_id`, if it was readable.
        unverified_client_id: Option<String>,
        /// True when a newer row of the database could change the result. Not for an unknown client, which was
        /// just looked up there.
        rests_on_state: bool,
    },
    /// The signature of its assertion verified, and the assertion has another fault, which the response names.
    #[error("{problem}")]
    Assertion {
        /// The fault, as a sentence for the client.
        problem: String,
        /// What an administrator can do about it.
        remedy: Option<Remedy>,
        /// The agent that signed it.
        client: Arc<AgentAggregate>,
        /// True when a newer row of the database could change the result.
        rests_on_state: bool,
    },
    /// The signature of a trusted issuer verified, and the token has another fault or matches no agent.
    #[error("{problem}")]
    External {
        /// The fault, as a sentence for the client.
        problem: String,
        /// The claimed `client_id`, or else the subject that the trusted issuer names.
        claimed: String,
        /// True when a newer row of the database could change the result.
        rests_on_state: bool,
    },
    /// A server-side fault, or unavailable keys of a trusted issuer.
    #[error("authentication is temporarily unavailable")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StoreError> for AuthenticationError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// An authenticated client. Made in this room only.
#[derive(Debug)]
pub struct AuthenticatedClient {
    aggregate: Arc<AgentAggregate>,
    method: ClientAuthMethod,
    credential: CredentialId,
    spends: Option<SpentAssertion>,
    external: Option<Arc<ExternalIdentity>>,
    basis: i64,
}

/// The state and the time that a proof is verified against.
#[derive(Clone, Copy)]
struct Moment {
    /// Everything read is at least as new as this registry version.
    basis: i64,
    now: UnixTime,
}

impl AuthenticatedClient {
    /// The agent.
    #[must_use]
    pub fn aggregate(&self) -> &Arc<AgentAggregate> {
        &self.aggregate
    }

    /// The method that it authenticated with.
    #[must_use]
    pub fn method(&self) -> ClientAuthMethod {
        self.method
    }

    /// The credential that it authenticated with.
    #[must_use]
    pub fn credential(&self) -> &CredentialId {
        &self.credential
    }

    /// The mark of the assertion that it used, if it used one.
    #[must_use]
    pub fn spends(&self) -> Option<SpentAssertion> {
        self.spends
    }

    /// Its identity at the trusted issuer that proved it, if one did.
    #[must_use]
    pub fn external(&self) -> Option<&Arc<ExternalIdentity>> {
        self.external.as_ref()
    }

    /// Everything verified here is at least as new as this registry version.
    #[must_use]
    pub fn basis(&self) -> i64 {
        self.basis
    }
}

impl Issuer {
    /// Verifies a presented credential.
    ///
    /// # Errors
    /// [`AuthenticationError`], which separates what the client may see.
    pub async fn authenticate(
        &self,
        presented: &PresentedCredential,
        now: UnixTime,
    ) -> Result<AuthenticatedClient, AuthenticationError> {
        // Before anything is read, so that everything read is at least as new.
        let moment = Moment {
            basis: self.registry.seen(),
            now,
        };
        match presented {
            PresentedCredential::Secret {
                method,
                unverified_client_id,
                unverified_secret,
            } => {
                self.authenticate_secret(*method, unverified_client_id, unverified_secret, moment)
                    .await
            }
            PresentedCredential::Assertion {
                unverified_client_id,
                unverified_assertion,
            } => {
                let claimed = unverified_client_id.as_deref();
                let unverified = unverified_assertion.expose_secret();
                self.authenticate_assertion(claimed, unverified, moment)
                    .await
            }
            PresentedCredential::JwtSvid {
                unverified_client_id,
                unverified_svid,
            } => {
                let presented = ExternalProof {
                    claimed: unverified_client_id.as_deref(),
                    unverified_token: unverified_svid.expose_secret(),
                    used: TrustedFor::SpiffeClientAuth,
                    method: ClientAuthMethod::SpiffeJwt,
                };
                self.authenticate_external(presented, moment).await
            }
        }
    }

    /// The agent of that name. `None` is never cached: it was just read from the database.
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
