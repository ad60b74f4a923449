//! The callers of the admin API and their roles.

use crate::ports::time::UnixTime;

use super::Invalid;
use super::id::AdministratorId;
use super::name::Name;

/// The name of the administrator that the first start creates.
pub const BOOTSTRAP: &str = "bootstrap";

/// The permissions of an administrator; each role includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AdministratorRole {
    /// Reads.
    Viewer,
    /// Reads and changes agents, groups, roles, resources and credentials.
    Operator,
    /// Everything, including keys and administrators.
    Owner,
}

impl AdministratorRole {
    /// All roles, weakest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Owner];

    /// The role's name on the wire and in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Owner => "owner",
        }
    }

    /// The role of that name.
    ///
    /// # Errors
    /// When no role has that name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let mut all = Self::ALL.into_iter();
        all.find(|role| role.as_str() == text)
            .ok_or_else(|| Invalid::new("role", "must be `owner`, `operator` or `viewer`"))
    }
}

/// Why an administrator's call is rejected. The sentence is the response: an unknown, a revoked and an expired token get
/// the same one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// The token does not belong to an administrator: it never did, or it was replaced.
    #[error("{NOT_LIVE}")]
    Unknown,
    /// The administrator was revoked.
    #[error("{NOT_LIVE}")]
    Revoked,
    /// The administrator has expired.
    #[error("{NOT_LIVE}")]
    Expired,
    /// The call requires a stronger role.
    #[error("an administrator with the role `{}` is required; `{name}` is `{}`", .least.as_str(), .role.as_str())]
    RoleTooLow {
        /// The administrator.
        name: Name,
        /// Its role.
        role: AdministratorRole,
        /// The role that the call requires.
        least: AdministratorRole,
    },
}

const NOT_LIVE: &str = "the token is not a valid administrator token";

impl NotAdmitted {
    /// The reason in the audit, which the caller does not learn.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown token",
            Self::Revoked => "revoked token",
            Self::Expired => "expired token",
            Self::RoleTooLow { .. } => "role too low",
        }
    }
}

/// One administrator, with a hashed bearer token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Administrator {
    /// Stable id.
    pub id: AdministratorId,
    /// Unique in the issuer, revoked ones included.
    pub name: Name,
    /// Its permissions.
    pub role: AdministratorRole,
    /// SHA-256 of the token. The token has 256 random bits, so a fast hash is sufficient.
    pub token_digest: [u8; 32],
    /// When it expires, if ever.
    pub expires_at: Option<UnixTime>,
    /// When it was revoked, if it was; this is permanent.
    pub revoked_at: Option<UnixTime>,
    /// The issuer's registry version at its last change; 0 for an administrator from before versions existed.
    pub version: i64,
    /// When it was created.
    pub created_at: UnixTime,
}

impl Administrator {
    /// True while its token is accepted.
    #[must_use]
    pub fn is_live(&self, now: UnixTime) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| now < expiry)
    }

    /// Admits a call that demands the role `least`.
    ///
    /// # Errors
    /// [`NotAdmitted`]: revoked, expired, or with a lower role.
    pub fn admit(&self, least: AdministratorRole, now: UnixTime) -> Result<(), NotAdmitted> {
        if !self.is_live(now) {
            return Err(match self.revoked_at {
                Some(_) => NotAdmitted::Revoked,
                None => NotAdmitted::Expired,
            });
        }
        if self.role < least {
            return Err(NotAdmitted::RoleTooLow {
                name: self.name.clone(),
                role: self.role,
                least,
            });
        }
        Ok(())
    }

    /// True while it is an owner whose token is accepted.
    #[must_use]
    pub fn is_live_owner(&self, now: UnixTime) -> bool {
        self.role == AdministratorRole::Owner && self.is_live(now)
    }
}
