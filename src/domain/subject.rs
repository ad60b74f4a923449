//! Subjects: the `sub` values of tokens issued here (RFC 7519 §4.1.2). This file defines their forms, so that a
//! reader of `sub` can distinguish agents from users of a trusted issuer.

use std::fmt;

use serde::Serialize;

use super::Invalid;
use super::id::AgentId;
use super::name::Name;

/// Longest subject, in bytes: OpenID Connect Core §2 allows 255 ASCII characters.
pub const SUBJECT_MAX_BYTES: usize = 255;
/// The prefix of trusted issuers' users.
pub const USER_PREFIX: &str = "user:";

/// A `sub` value (RFC 7519 §4.1.2): printable ASCII without spaces that never ends in `*`, because
/// relying parties read a trailing `*` in a rule as a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Subject(String);

/// Reserved prefixes: a reader of `sub` must be able to distinguish agents from users of trusted issuers.
const RESERVED_PREFIXES: [&str; 2] = ["agent:", USER_PREFIX];

impl Subject {
    /// Parses an agent's subject that another issuer assigned.
    ///
    /// # Errors
    /// When it is malformed or starts with a reserved prefix.
    pub fn parse_foreign(text: &str) -> Result<Self, Invalid> {
        if let Some(prefix) = RESERVED_PREFIXES
            .into_iter()
            .find(|prefix| text.starts_with(prefix))
        {
            return Err(Invalid::new(
                "subject",
                format!(
                    "starts with `{prefix}`, which is reserved for subjects that this issuer makes; leave out the subject to get one"
                ),
            ));
        }
        Self::well_formed(text)
    }

    /// A subject from the database.
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
            "ends in `*`, which relying parties read as a prefix rule"
        } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
            "contains a character that is not printable ASCII"
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

/// The template of an issuer's subjects: text with `{name}` or `{id}` in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubjectTemplate(String);

impl SubjectTemplate {
    /// `agent:{name}`.
    pub const DEFAULT: &str = "agent:{name}";

    /// Parses a template.
    ///
    /// # Errors
    /// When it has neither `{name}` nor `{id}`, has another placeholder, or contains a character that subjects
    /// cannot contain.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if !text.contains("{name}") && !text.contains("{id}") {
            return Err(Invalid::new(
                "subject_template",
                "must contain `{name}` or `{id}`",
            ));
        }
        let plain = text.replace("{name}", "n").replace("{id}", "i");
        if plain.contains(['{', '}']) {
            return Err(Invalid::new(
                "subject_template",
                "may contain no placeholder except `{name}` and `{id}`",
            ));
        }
        if is_user(text) {
            return Err(Invalid::new(
                "subject_template",
                "starts with `user:`, which is reserved for subjects of trusted issuers",
            ));
        }
        Subject::well_formed(&plain)
            .map_err(|invalid| Invalid::new("subject_template", invalid.problem))?;
        Ok(Self(text.to_owned()))
    }

    /// The subject of an agent.
    ///
    /// # Errors
    /// When the result is longer than [`SUBJECT_MAX_BYTES`], or has the form of a trusted issuer's user.
    pub fn subject(&self, name: &Name, id: &AgentId) -> Result<Subject, Invalid> {
        let made = self
            .0
            .replace("{name}", name.as_str())
            .replace("{id}", id.as_str());
        if is_user(&made) {
            return Err(Invalid::new(
                "subject",
                "starts with `user:`, which is reserved for subjects of trusted issuers; choose another name for the agent",
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

/// The subject of a trusted issuer's user in tokens issued here: `user:<issuer's name>:<subject>`, where
/// everything but letters, digits, `-`, `.`, `_` and `~` is percent-encoded, so that it never looks like an
/// agent's.
///
/// # Errors
/// When it would be longer than [`SUBJECT_MAX_BYTES`].
pub fn user_subject(issuer: &Name, subject: &str) -> Result<String, Invalid> {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    // RFC 3986 §2.3: unreserved.
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    let made = format!(
        "{}{}",
        users_of(issuer),
        utf8_percent_encode(subject, ENCODED)
    );
    if subject.is_empty() || made.len() > SUBJECT_MAX_BYTES {
        return Err(Invalid::new(
            "sub",
            "is empty, or too long: the subject made from it would have more than 255 characters",
        ));
    }
    Ok(made)
}

/// Whether a subject belongs to a user of a trusted issuer.
#[must_use]
pub fn is_user(subject: &str) -> bool {
    subject.starts_with(USER_PREFIX)
}

/// The trusted issuer's name and the percent-encoded rest of a user's subject; `None` for an agent's.
#[must_use]
pub fn split_user(subject: &str) -> Option<(&str, &str)> {
    subject.strip_prefix(USER_PREFIX)?.split_once(':')
}

/// The trusted issuer's name in a user's subject; `None` for an agent's.
#[must_use]
pub fn issuer_of_user(subject: &str) -> Option<&str> {
    split_user(subject).map(|(issuer, _)| issuer)
}

/// The prefix of all subjects of one trusted issuer: `user:NAME:`.
#[must_use]
pub fn users_of(issuer: &Name) -> String {
    format!("{USER_PREFIX}{issuer}:")
}

/// The prefix of all subjects of a user's trusted issuer, `user:NAME:`; `None` for an agent's subject. A mark on
/// it ends the tokens of all its users.
#[must_use]
pub fn trust_of_user(subject: &str) -> Option<&str> {
    let name = issuer_of_user(subject)?;
    subject.get(..USER_PREFIX.len() + name.len() + 1)
}

/// Checks a user's subject that a person wrote: another encoding of it would match no user.
///
/// # Errors
/// When it differs from the form that [`user_subject`] writes.
pub fn check_user_subject(subject: &str) -> Result<(), Invalid> {
    let meant = split_user(subject).and_then(|(issuer, user)| {
        let user = percent_encoding::percent_decode_str(user)
            .decode_utf8()
            .ok()?;
        user_subject(&Name::parse(issuer).ok()?, &user).ok()
    });
    match meant {
        Some(meant) if meant == subject => Ok(()),
        Some(meant) => Err(Invalid::new(
            "subject",
            format!(
                "matches no user: the part after the second `:` must be percent-encoded, as in `{meant}`"
            ),
        )),
        None => Err(Invalid::new(
            "subject",
            "matches no user: it must be `user:`, a trusted issuer's name, `:` and the percent-encoded subject",
        )),
    }
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
    fn a_subject_from_outside_that_is_spelled_otherwise_is_refused_with_the_right_spelling() {
        for good in ["user:okta:alice", "user:okta:alice%40example.com"] {
            assert_eq!(check_user_subject(good), Ok(()));
        }
        for bad in [
            "user:okta:alice@example.com",
            "user:okta:%61lice%40example.com",
        ] {
            let problem = check_user_subject(bad).unwrap_err().problem;
            assert!(
                problem.ends_with("as in `user:okta:alice%40example.com`"),
                "{problem}"
            );
        }
        for bad in [
            "user:",
            "user:okta",
            "user:okta:",
            "user:O K:x",
            "user:okta:%ff",
        ] {
            assert!(check_user_subject(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_subject_from_outside_never_looks_like_one_of_ours() {
        let okta = Name::parse("okta").unwrap();
        assert_eq!(
            user_subject(&okta, "agent:mailer/é*").unwrap(),
            "user:okta:agent%3Amailer%2F%C3%A9%2A"
        );
        assert_eq!(
            user_subject(&okta, "alice@example.com").unwrap(),
            "user:okta:alice%40example.com"
        );
        assert!(user_subject(&okta, "").is_err());
        assert!(user_subject(&okta, &"é".repeat(60)).is_err());
    }
}
