//! Agents: the non-human principals that tokens are about.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::ports::time::UnixTime;

use super::Invalid;
use super::assertion_audience::AssertionAudience;
use super::claims::is_reserved_claim;
use super::id::{AgentId, GroupId, RoleId};
use super::name::Name;
use super::text;
use super::trusted_issuer::USER_PREFIX;

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
/// Longest subject, in bytes: OpenID Connect Core §2 allows 255 ASCII characters.
pub const SUBJECT_MAX_BYTES: usize = 255;

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
    /// When it stops getting tokens by itself, if ever.
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

/// A `sub` value (RFC 7519 §4.1.2): printable ASCII without spaces that never ends in `*`, because
/// relying parties read a trailing `*` in a rule as a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Subject(String);

/// Prefixes that only the issuer itself gives out: whoever reads `sub` must be able to tell agents from
/// subjects of trusted issuers.
const RESERVED_PREFIXES: [&str; 2] = ["agent:", USER_PREFIX];

impl Subject {
    /// A subject taken over from another issuer.
    ///
    /// # Errors
    /// When it is not well-formed or starts with a prefix that the issuer keeps for itself.
    pub fn parse_foreign(text: &str) -> Result<Self, Invalid> {
        if let Some(prefix) = RESERVED_PREFIXES
            .into_iter()
            .find(|prefix| text.starts_with(prefix))
        {
            return Err(Invalid::new(
                "subject",
                format!(
                    "starts with '{prefix}', which is kept for subjects that this issuer makes; leave the subject out to get one"
                ),
            ));
        }
        Self::well_formed(text)
    }

    /// A subject read back from the database.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    fn well_formed(text: &str) -> Result<Self, Invalid> {
        let problem = if text.is_empty() {
            "is empty"
        } else if text.len() > SUBJECT_MAX_BYTES {
            "is longer than 255 characters"
        } else if text.ends_with('*') {
            "ends in '*', which relying parties read as a prefix rule"
        } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
            "holds a character that is not printable ASCII"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Invalid::new("subject", problem))
    }

    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How an issuer makes subjects: text with `{name}` or `{id}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectTemplate(String);

impl SubjectTemplate {
    /// `agent:{name}`.
    pub const DEFAULT: &str = "agent:{name}";

    /// Parses a template.
    ///
    /// # Errors
    /// When it holds neither `{name}` nor `{id}`, another placeholder, or what a subject cannot hold.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if !text.contains("{name}") && !text.contains("{id}") {
            return Err(Invalid::new(
                "subject_template",
                "must contain {name} or {id}",
            ));
        }
        let plain = text.replace("{name}", "n").replace("{id}", "i");
        if plain.contains(['{', '}']) {
            return Err(Invalid::new(
                "subject_template",
                "may hold no placeholder but {name} and {id}",
            ));
        }
        if text.starts_with(USER_PREFIX) {
            return Err(Invalid::new(
                "subject_template",
                "starts with 'user:', which is kept for subjects of trusted issuers",
            ));
        }
        Subject::well_formed(&plain)
            .map_err(|invalid| Invalid::new("subject_template", invalid.problem))?;
        Ok(Self(text.to_owned()))
    }

    /// The subject of an agent.
    ///
    /// # Errors
    /// When the template makes it longer than [`SUBJECT_MAX_BYTES`], or look like one from outside.
    pub fn subject(&self, name: &Name, id: &AgentId) -> Result<Subject, Invalid> {
        let made = self
            .0
            .replace("{name}", name.as_str())
            .replace("{id}", id.as_str());
        if made.starts_with(USER_PREFIX) {
            return Err(Invalid::new(
                "subject",
                "starts with 'user:', which is kept for subjects of trusted issuers; give the agent another name",
            ));
        }
        Subject::well_formed(&made)
    }

    /// The template as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
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
            format!("holds more than {ATTRIBUTES_MAX} attributes"),
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
                    "holds a name that is not made of a-z, 0-9 and '_', starting with a letter, of at most 64 characters",
                ));
            }
            if is_reserved_claim(name) {
                return Err(Invalid::new("attributes", format!("holds '{name}', a claim that the issuer sets itself")));
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
    fn subjects_from_outside_never_look_like_ours() {
        for bad in [
            "agent:mailer",
            "user:x",
            "",
            "a b",
            "spiffe://x/*",
            "é",
            &"s".repeat(256),
        ] {
            assert!(Subject::parse_foreign(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(
            Subject::parse_foreign("spiffe://example.org/mailer")
                .expect("good")
                .as_str(),
            "spiffe://example.org/mailer"
        );
    }

    #[test]
    fn a_template_makes_different_subjects_for_different_agents() {
        for bad in ["agent", "agent:{nam}", "{name}{x}", "{name} ", "{name}*"] {
            assert!(SubjectTemplate::parse(bad).is_err(), "{bad:?} was accepted");
        }
        let template = SubjectTemplate::parse(SubjectTemplate::DEFAULT).expect("good");
        let subject = template
            .subject(
                &Name::parse("team-a.mailer").expect("good"),
                &AgentId::from_text("1"),
            )
            .expect("good");
        assert_eq!(subject.as_str(), "agent:team-a.mailer");
    }

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
