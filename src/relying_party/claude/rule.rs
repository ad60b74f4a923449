//! What Claude permits in a rule, and names derived from subjects that its name pattern permits.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check_condition;
use super::jwks_source::{JwksSource, check_ca_cert, check_dialled_url};
use super::{
    LONGEST_MAX_JWT_LIFETIME_SECONDS, MAX_TOKEN_LIFETIME_SECONDS, MIN_TOKEN_LIFETIME_SECONDS,
    NAME_MAX_BYTES,
};
use crate::domain::Invalid;
use crate::jose::digest::sha256;

/// The scopes that a rule may grant. OAuth callers may manage only the first two.
pub const OAUTH_SCOPES: [&str; 4] = [
    "workspace:developer",
    "workspace:inference",
    "workspace:manage_tunnels",
    "org:admin",
];
/// The longest readable part of a derived name; the hash after it makes the name unique.
const READABLE_MAX_BYTES: usize = 80;

/// The member `match` of a rule: which tokens it accepts. All members that are set must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleMatch {
    /// What `sub` must equal, or start with if this ends in `*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_prefix: Option<String>,
    /// What one element of `aud` must equal; `None`: Claude's own audience.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
    /// Top-level claims that must be exactly these strings.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// A CEL expression over `claims` that must be true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl RuleMatch {
    /// Whether `subject` matches `subject_prefix`; true when there is none.
    #[must_use]
    pub fn accepts_subject(&self, subject: &str) -> bool {
        match &self.subject_prefix {
            None => true,
            Some(prefix) => match prefix.strip_suffix('*') {
                Some(start) => subject.starts_with(start),
                None => subject == prefix,
            },
        }
    }
}

/// Checks a `match` as Claude's Admin API does.
///
/// # Errors
/// When it would be refused.
pub fn check_rule(rule: &RuleMatch) -> Result<(), Invalid> {
    if let Some(prefix) = &rule.subject_prefix {
        if prefix.is_empty() {
            return Err(Invalid::new("match.subject_prefix", "must not be empty"));
        }
        if prefix == "*" {
            return Err(Invalid::new(
                "match.subject_prefix",
                "must not be `*` alone, which accepts every subject",
            ));
        }
    }
    if rule.subject_prefix.is_none() && rule.claims.is_empty() && rule.condition.is_none() {
        return Err(Invalid::new(
            "match",
            "must have at least one of subject_prefix, claims and condition",
        ));
    }
    if rule.audience.as_deref() == Some("") {
        return Err(Invalid::new("match.audience", "must not be empty"));
    }
    if rule.claims.keys().any(String::is_empty) {
        return Err(Invalid::new("match.claims", "has a claim without a name"));
    }
    rule.condition.as_deref().map_or(Ok(()), check_condition)
}

/// Checks the name of a service account, issuer or rule: `^[a-z0-9-]+$`, 1 to 255.
///
/// # Errors
/// When it is another.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    let is_good = (1..=NAME_MAX_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if is_good {
        Ok(())
    } else {
        Err(Invalid::new(
            "name",
            "must be 1 to 255 characters of a-z, 0-9 and `-`",
        ))
    }
}

/// Checks the lifetime of a rule's access tokens.
///
/// # Errors
/// When it is outside 60 to 86400 seconds.
pub fn check_token_lifetime(seconds: i64) -> Result<(), Invalid> {
    if (MIN_TOKEN_LIFETIME_SECONDS..=MAX_TOKEN_LIFETIME_SECONDS).contains(&seconds) {
        Ok(())
    } else {
        Err(Invalid::new(
            "token_lifetime_seconds",
            format!("must be {MIN_TOKEN_LIFETIME_SECONDS} to {MAX_TOKEN_LIFETIME_SECONDS}"),
        ))
    }
}

/// The life of an access token, in seconds: at least 60, at most the rule's, at most twice what the
/// identity token had left.
#[must_use]
pub fn access_token_lifetime(rule_lifetime: i64, remaining: i64) -> i64 {
    rule_lifetime
        .min(remaining.saturating_mul(2))
        .max(MIN_TOKEN_LIFETIME_SECONDS)
}

/// Checks an issuer as Claude's Admin API does: the URLs it dials, private authorities, inline keys, the maximum
/// lifetime. `loopback_http` is for a simulation; see [`check_dialled_url`].
///
/// # Errors
/// When it would be refused.
pub fn check_issuer(
    issuer_url: &str,
    jwks: &JwksSource,
    max_jwt_lifetime_seconds: i64,
    loopback_http: bool,
) -> Result<(), Invalid> {
    if issuer_url.is_empty() {
        return Err(Invalid::new("issuer_url", "must not be empty"));
    }
    if let Some((field, url)) = jwks.dialled_url(issuer_url) {
        check_dialled_url(field, &url, loopback_http)?;
    }
    jwks.ca_cert_pem().map_or(Ok(()), check_ca_cert)?;
    if let Some(Err(error)) = jwks.inline_set() {
        return Err(Invalid::new("jwks.keys", error.to_string()));
    }
    if !(1..=LONGEST_MAX_JWT_LIFETIME_SECONDS).contains(&max_jwt_lifetime_seconds) {
        return Err(Invalid::new(
            "max_jwt_lifetime_seconds",
            format!("must be 1 to {LONGEST_MAX_JWT_LIFETIME_SECONDS}"),
        ));
    }
    Ok(())
}

/// A name for the rule of `subject` that Claude's pattern permits: its readable part, then a short hash, so that
/// `agent:a.b` and `agent:a-b` get different names.
#[must_use]
pub fn rule_name(subject: &str) -> String {
    derived_name(subject, subject)
}

/// A name for the rule of `actor` acting for `subject`.
#[must_use]
pub fn pair_name(actor: &str, subject: &str) -> String {
    // U+0000 occurs in neither, so no other pair has the same text.
    derived_name(
        &format!("{actor} for {subject}"),
        &format!("{actor}\0{subject}"),
    )
}

fn derived_name(readable: &str, hashed: &str) -> String {
    let mut name = String::new();
    for c in readable.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
        if name.len() >= READABLE_MAX_BYTES {
            break;
        }
    }
    if !name.is_empty() && !name.ends_with('-') {
        name.push('-');
    }
    for byte in &sha256(hashed.as_bytes())[..4] {
        name.push_str(&format!("{byte:02x}"));
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn subject(prefix: &str) -> RuleMatch {
        RuleMatch {
            subject_prefix: Some(prefix.to_owned()),
            ..RuleMatch::default()
        }
    }

    #[test]
    fn rules_that_claude_refuses_are_refused() {
        let condition = |text: &str| RuleMatch {
            condition: Some(text.to_owned()),
            ..RuleMatch::default()
        };
        for (rule, expected) in [
            (RuleMatch::default(), "match: must have at least one"),
            (
                RuleMatch {
                    audience: Some("https://api.anthropic.com".to_owned()),
                    ..RuleMatch::default()
                },
                "match: must have at least one",
            ),
            (subject("*"), "match.subject_prefix: must not be `*` alone"),
            (subject(""), "match.subject_prefix: must not be empty"),
            (condition("true"), "match.condition: is always true"),
            (condition("1 == 1"), "match.condition: is always true"),
            (condition("'a'"), "match.condition: must yield a boolean"),
            (
                condition("claims.sub =="),
                "match.condition: is not valid CEL",
            ),
            (condition(""), "match.condition: is not valid CEL"),
        ] {
            let refused = check_rule(&rule).expect_err(expected).to_string();
            assert!(refused.starts_with(expected), "{refused}");
        }
    }

    #[test]
    fn a_rule_with_something_to_match_is_taken() {
        for rule in [
            subject("agent:mailer"),
            subject("agent:team-a.*"),
            RuleMatch {
                claims: BTreeMap::from([("team".to_owned(), "a".to_owned())]),
                ..RuleMatch::default()
            },
            RuleMatch {
                condition: Some("'deployers' in claims.groups".to_owned()),
                ..RuleMatch::default()
            },
        ] {
            assert_eq!(check_rule(&rule), Ok(()), "{rule:?}");
        }
    }

    #[test]
    fn only_a_trailing_star_makes_a_prefix() {
        for (pattern, subject, takes) in [
            ("agent:a", "agent:ab", false),
            ("agent:a", "Agent:a", false),
            ("agent:a", "agent:a", true),
            ("agent:a*", "agent:ab", true),
            ("agent:*a", "agent:ba", false),
            ("agent:*a", "agent:*a", true),
            ("agent:a**", "agent:a*", true),
        ] {
            assert_eq!(
                self::subject(pattern).accepts_subject(subject),
                takes,
                "{pattern} {subject}"
            );
        }
    }

    #[test]
    fn a_name_outside_the_pattern_is_refused() {
        for bad in ["", "A", "a_b", "a b", "a.b", "é", &"a".repeat(256)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert_eq!(check_name(&"a".repeat(255)), Ok(()));
    }

    #[test]
    fn subjects_that_differ_only_in_their_signs_get_different_names() {
        let names = ["agent:a.b", "agent:a-b", "agent:A.b", "agent/a.b"].map(rule_name);
        for (index, name) in names.iter().enumerate() {
            assert!(name.starts_with("agent-a-b-"), "{name}");
            assert!(!names[..index].contains(name), "{name}");
        }
        assert_ne!(pair_name("a", "b"), pair_name("b", "a"));
        assert_ne!(pair_name("a", "b"), rule_name("a for b"));
    }

    proptest! {
        #[test]
        fn every_subject_gives_a_name_that_claude_takes(subject in ".{0,300}") {
            prop_assert_eq!(check_name(&rule_name(&subject)), Ok(()));
        }
    }
}
