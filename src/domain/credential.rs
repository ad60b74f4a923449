//! Credentials: how an agent authenticates. An agent can have several at once, so that a rotation can overlap.

use crate::jose::jwk::PublicJwk;
use crate::ports::time::UnixTime;

use super::id::{AgentId, CredentialId, TrustedIssuerId};
use super::trusted_issuer::TokenMatch;

/// Most credentials of an agent that are not revoked or expired.
pub const CREDENTIALS_MAX: usize = 16;
/// Most live client secrets of an agent: one in use and one to rotate to.
pub const LIVE_SECRETS_MAX: usize = 2;

/// One credential of an agent.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Stable id.
    pub id: CredentialId,
    /// Its agent.
    pub agent: AgentId,
    /// The kind, with what verifies it.
    pub kind: CredentialKind,
    /// When it becomes valid.
    pub not_before: UnixTime,
    /// When it expires, if ever.
    pub expires_at: Option<UnixTime>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<UnixTime>,
    /// When it was created.
    pub created_at: UnixTime,
}

/// The kind of a credential, with what verifies it.
#[derive(Clone)]
pub enum CredentialKind {
    /// A shared secret, stored as an Argon2id PHC string.
    ClientSecret {
        /// `$argon2id$…`.
        hash: String,
    },
    /// A public key whose private half signs `private_key_jwt` assertions (RFC 7523).
    PublicKey {
        /// The parsed key.
        jwk: Box<PublicJwk>,
    },
    /// Tokens of a trusted issuer (RFC 7523 §2.2, RFC 8693).
    Federated {
        /// The trusted issuer.
        trusted_issuer: TrustedIssuerId,
        /// Which of its tokens match.
        matching: Box<TokenMatch>,
    },
}

impl CredentialKind {
    /// The kind's name on the wire and in the database.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::ClientSecret { .. } => "client_secret",
            Self::PublicKey { .. } => "public_key",
            Self::Federated { .. } => "federated",
        }
    }
}

impl std::fmt::Debug for CredentialKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Credential {
    /// True while it is accepted.
    #[must_use]
    pub fn is_live(&self, now: UnixTime) -> bool {
        self.not_before <= now && !self.is_over(now)
    }

    /// True when it is this public key and is not revoked.
    #[must_use]
    pub fn is_for(&self, key: &PublicJwk) -> bool {
        match &self.kind {
            CredentialKind::PublicKey { jwk } => {
                self.revoked_at.is_none() && jwk.thumbprint() == key.thumbprint()
            }
            CredentialKind::ClientSecret { .. } | CredentialKind::Federated { .. } => false,
        }
    }

    /// True once it is revoked or has expired.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        self.revoked_at.is_some() || self.expires_at.is_some_and(|expiry| now >= expiry)
    }
}
