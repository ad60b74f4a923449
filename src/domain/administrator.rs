//! Who may call the admin API.

use crate::ports::time::UnixTime;

use super::id::AdministratorId;
use super::name::Name;

/// The name of the administrator made at first start.
pub const BOOTSTRAP: &str = "bootstrap";

/// What an administrator may do; each role includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdministratorRole {
    /// Reads.
    Viewer,
    /// Reads and changes agents, groups, roles, resources and credentials.
    Operator,
    /// Everything, keys and administrators included.
    Owner,
}

impl AdministratorRole {
    /// All roles, weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Owner];

    /// The role's name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Owner => "owner",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == text)
    }
}

/// One administrator with a hashed bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administrator {
    /// Stable id.
    pub id: AdministratorId,
    /// Unique in the issuer, revoked ones included.
    pub name: Name,
    /// What it may do.
    pub role: AdministratorRole,
    /// SHA-256 of the token; the token has 256 random bits, so that a fast hash is enough.
    pub token_digest: [u8; 32],
    /// When it stops working, if ever.
    pub expires_at: Option<UnixTime>,
    /// When it was revoked, if it was. A revoked one is never made again.
    pub revoked_at: Option<UnixTime>,
    /// When it was made.
    pub created_at: UnixTime,
}

impl Administrator {
    /// True while its token is to be accepted.
    #[must_use]
    pub fn is_live(&self, now: UnixTime) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| now < expiry)
    }
}
