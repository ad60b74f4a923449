//! Agents: the non-human principals that tokens are about.

use std::collections::BTreeMap;

use crate::ports::time::UnixTime;

use super::Invalid;
use super::assertion_audience::AssertionAudience;
use super::claims::is_reserved_claim;
use super::id::{AgentId, GroupId, RoleId};
use super::name::Name;
use super::subject::Subject;
use super::text;

/// Most groups an agent may be in, and most roles it may be given: both end up in every token.
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
    /// Its `sub`; never changes and is never given out twice.
    pub subject: Subject,
    /// The accountable person or team.
    pub owner: String,
    /// What it does; may be empty.
    pub description: String,
    /// Strings that go into every token as top-level claims.
    pub attributes: BTreeMap<String, String>,
    /// Whether it may get tokens.
    pub status: AgentStatus,
    /// When it stops getting tokens, if ever.
    pub expires_at: Option<UnixTime>,
    /// Whether its tokens must be bound to a key (RFC 9449).
    pub dpop_required: bool,
    /// What `aud` of its assertions must be; `None`: what the issuer says.
    pub assertion_audience: Option<AssertionAudience>,
    /// The groups it is in, sorted by id.
    pub groups: Vec<GroupId>,
    /// The roles given to it directly, sorted by id.
    pub roles: Vec<RoleId>,
    /// The issuer's registry version at its last change, its credentials' included.
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

/// Whether an agent may get tokens, with the fact that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentStatus {
    /// It may.
    Active,
    /// Switched off until it is resumed.
    Suspended {
        /// Since when.
        at: UnixTime,
    },
    /// Gone for good; the row stays so that its name and subject are never given out again.
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

    /// Since when, for those that say.
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
/// When there are more than [`ATTRIBUTES_MAX`], a name is not `[a-z][a-z0-9_]*` of at most 64
/// characters or is a claim that the issuer sets itself, or a value is empty or not well-formed.
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
