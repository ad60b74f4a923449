//! Agents: the non-human principals of this issuer.

use std::collections::BTreeMap;

use crate::ports::time::UnixTime;

use super::Invalid;
use super::assertion_audience::AssertionAudience;
use super::claims::is_reserved_claim;
use super::id::{AgentId, GroupId, RoleId};
use super::name::Name;
use super::subject::Subject;
use super::text;

/// Most groups and most directly assigned roles of an agent: both are in every token.
pub const MEMBERSHIPS_MAX: usize = 64;
/// Most attributes of an agent: each is a claim in every token.
pub const ATTRIBUTES_MAX: usize = 32;
/// Longest attribute value, in characters.
pub const ATTRIBUTE_VALUE_MAX_CHARS: usize = 256;
/// Longest owner, in characters.
pub const OWNER_MAX_CHARS: usize = 256;
/// Longest description, in characters.
pub const DESCRIPTION_MAX_CHARS: usize = 1024;

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agent {
    /// Stable id.
    pub id: AgentId,
    /// Its `client_id`; unique in the issuer, removed agents included.
    pub name: Name,
    /// Its `sub`; never changes and is never reused.
    pub subject: Subject,
    /// The accountable person or team.
    pub owner: String,
    /// What it does; may be empty.
    pub description: String,
    /// Strings that go into every token as top-level claims.
    pub attributes: BTreeMap<String, String>,
    /// Whether it may get tokens.
    pub status: AgentStatus,
    /// When it expires, if ever: it then gets no token.
    pub expires_at: Option<UnixTime>,
    /// Whether its tokens must be bound to a key (RFC 9449).
    pub dpop_required: bool,
    /// The required `aud` of its assertions; `None`: the issuer's policy.
    pub assertion_audience: Option<AssertionAudience>,
    /// Its groups, sorted by id.
    pub groups: Vec<GroupId>,
    /// Its directly assigned roles, sorted by id.
    pub roles: Vec<RoleId>,
    /// The issuer's registry version at its last change, including changes of its credentials.
    pub version: i64,
    /// When it was registered.
    pub created_at: UnixTime,
    /// When it was last changed.
    pub updated_at: UnixTime,
}

impl Agent {
    /// True while it may get tokens.
    #[must_use]
    pub fn is_active(&self, now: UnixTime) -> bool {
        let unexpired = self.expires_at.is_none_or(|expiry| now < expiry);
        match self.status {
            AgentStatus::Active => unexpired,
            AgentStatus::Suspended { .. } | AgentStatus::Removed { .. } => false,
        }
    }
}

/// Whether an agent may get tokens, and since when not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentStatus {
    /// It may get tokens.
    Active,
    /// Suspended until it is resumed.
    Suspended {
        /// Since when.
        at: UnixTime,
    },
    /// Removed permanently. The row stays so that its name and subject are never reused.
    Removed {
        /// Since when.
        at: UnixTime,
    },
}

impl AgentStatus {
    /// The status's name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended { .. } => "suspended",
            Self::Removed { .. } => "removed",
        }
    }

    /// Since when it has the status, if recorded.
    #[must_use]
    pub fn since(self) -> Option<UnixTime> {
        match self {
            Self::Active => None,
            Self::Suspended { at } | Self::Removed { at } => Some(at),
        }
    }
}

/// Checks the attributes of an agent.
///
/// # Errors
/// When there are more than [`ATTRIBUTES_MAX`], a name is not `[a-z][a-z0-9_]*` of at most 64 characters or is a
/// claim that only the issuer sets, or a value is empty or malformed.
pub fn parse_attributes(
    attributes: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Invalid> {
    if attributes.len() > ATTRIBUTES_MAX {
        return Err(Invalid::new(
            "attributes",
            format!("contains more than {ATTRIBUTES_MAX} attributes"),
        ));
    }
    attributes
        .iter()
        .map(|(name, value)| {
            let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase());
            let holds_well = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
            if !starts_well || !holds_well || name.len() > 64 {
                return Err(Invalid::new(
                    "attributes",
                    "contains a name that is not a letter followed by a-z, 0-9 and `_`, of at most 64 characters",
                ));
            }
            if is_reserved_claim(name) {
                return Err(Invalid::new("attributes", format!("contains `{name}`, a claim that the issuer sets")));
            }
            let value = text::filled_line("attributes", value, ATTRIBUTE_VALUE_MAX_CHARS)
                .map_err(|invalid| Invalid::new("attributes", format!("'{name}' {}", invalid.problem)))?;
            Ok((name.clone(), value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_never_replaces_a_claim_of_the_issuer() {
        for bad in ["sub", "acting_agent", "owner", "Team", "a-b", "1a", ""] {
            let attributes = BTreeMap::from([(bad.to_owned(), "x".to_owned())]);
            assert!(
                parse_attributes(&attributes).is_err(),
                "{bad:?} was accepted"
            );
        }
        assert!(parse_attributes(&BTreeMap::from([("team".to_owned(), String::new())])).is_err());
        assert!(parse_attributes(&BTreeMap::from([("team".to_owned(), "a".to_owned())])).is_ok());
    }
}
