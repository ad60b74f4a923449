//! Credentials: the ways in which an agent proves itself. An agent holds several at once; that is
//! how a rotation overlaps.

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
    /// Whose it is.
    pub agent: AgentId,
    /// How it proves its holder.
    pub kind: CredentialKind,
    /// When it starts to be accepted.
    pub not_before: UnixTime,
    /// When it stops being accepted, if ever.
    pub expires_at: Option<UnixTime>,
    /// When it was revoked, if it was.
    pub revoked_at: Option<UnixTime>,
    /// When it was made.
    pub created_at: UnixTime,
}

/// How a credential proves its holder.
#[derive(Clone)]
pub enum CredentialKind {
    /// A shared secret, kept as an Argon2id PHC string.
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
        /// Whose tokens.
        trusted_issuer: TrustedIssuerId,
        /// Which of them.
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
    /// True while it is to be accepted.
    #[must_use]
    pub fn is_live(&self, now: UnixTime) -> bool {
        self.not_before <= now && !self.is_over(now)
    }

    /// True when it is this public key and still stands.
    #[must_use]
    pub fn is_for(&self, key: &PublicJwk) -> bool {
        match &self.kind {
            CredentialKind::PublicKey { jwk } => {
                self.revoked_at.is_none() && jwk.thumbprint() == key.thumbprint()
            }
            CredentialKind::ClientSecret { .. } | CredentialKind::Federated { .. } => false,
        }
    }

    /// True once it is revoked or expired and can never be accepted again.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        self.revoked_at.is_some() || self.expires_at.is_some_and(|expiry| now >= expiry)
    }
}
