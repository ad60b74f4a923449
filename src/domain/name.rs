//! Names of agents, groups, roles and resources.

use std::fmt;

use serde::Serialize;

use super::Invalid;

/// Longest name, in bytes (all are ASCII): long enough for `team.product.environment.agent`, short enough for
/// every column and claim that contains it.
pub const NAME_MAX_BYTES: usize = 128;

/// Labels of `[a-z0-9-]` joined by `.`: `team-a.triage-bot`. A label is not empty and does not start or end with
/// `-`, so that `agent:team-a.*` is a safe prefix rule at a relying party.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Name(String);

impl Name {
    /// Parses a name.
    ///
    /// # Errors
    /// When it is empty, longer than [`NAME_MAX_BYTES`] or not made of such labels.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let problem = if text.is_empty() {
            "is empty"
        } else if text.len() > NAME_MAX_BYTES {
            "is longer than 128 characters"
        } else if !text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        {
            "contains a character outside a-z, 0-9, `-` and `.`"
        } else if text
            .split('.')
            .any(|label| label.is_empty() || label.starts_with('-') || label.ends_with('-'))
        {
            "has a label that is empty or starts or ends with `-`"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Invalid::new(
            "name",
            format!(
                "{problem}; a name consists of labels of a-z, 0-9 and `-` joined by `.`, such as `team-a.triage-bot`"
            ),
        ))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `a, b, c`.
#[must_use]
pub fn listed(names: &[Name]) -> String {
    names
        .iter()
        .map(Name::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_labels_joined_by_dots() {
        for bad in [
            "",
            ".",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a.-b",
            "A",
            "é",
            "a b",
            "a_b",
            "a/b",
            "a\0",
            "a\u{202e}",
            &"a".repeat(129),
        ] {
            assert!(Name::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for good in [
            "a",
            "0",
            "mailer",
            "team-a.triage-bot",
            "a--b",
            &"a".repeat(128),
        ] {
            assert_eq!(Name::parse(good).expect("a good name").as_str(), good);
        }
    }
}
