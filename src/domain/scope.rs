//! Scope names and sets (RFC 6749 §3.3).

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;

use super::Invalid;

/// Most scopes in one request, role grant or resource: more is a mistake, and each is checked.
pub const SCOPES_MAX: usize = 64;
/// Longest scope name, in bytes.
pub const SCOPE_MAX_BYTES: usize = 128;
/// The scope that requests an `id_token` (OpenID Connect Core §3.1.2.1). Needs no grant.
pub const OPENID: &str = "openid";
/// The other scope that needs no grant (OpenID Connect Core §5.4).
pub const PROFILE: &str = "profile";

/// One `scope-token` of RFC 6749 §3.3. `*` alone is reserved for "all scopes" in role grants.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Scope(String);

/// A set of scopes, sorted.
pub type Scopes = BTreeSet<Scope>;

impl Scope {
    /// Parses one scope name.
    ///
    /// # Errors
    /// When it is empty, longer than [`SCOPE_MAX_BYTES`], `*`, or contains a character outside `%x21 / %x23-5B /
    /// %x5D-7E`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let problem = if text.is_empty() {
            "is empty"
        } else if text.len() > SCOPE_MAX_BYTES {
            "is longer than 128 characters"
        } else if text == "*" {
            "is `*`, which stands for all scopes in role grants"
        } else if !text
            .bytes()
            .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
        {
            "contains a character that a scope name cannot have (RFC 6749 section 3.3: printable ASCII without space, double quote and backslash)"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(Invalid::new("scope", problem))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for the two scopes that OpenID Connect defines and that need no grant.
    #[must_use]
    pub fn is_openid(&self) -> bool {
        self.0 == OPENID || self.0 == PROFILE
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Parses the `scope` parameter: names separated by one or more spaces. A repeated name counts once. An empty or
/// blank text is the empty set.
///
/// # Errors
/// When a name is malformed or there are more than [`SCOPES_MAX`].
pub fn parse_scopes(parameter: &str) -> Result<Scopes, Invalid> {
    let mut scopes = Scopes::new();
    for name in parameter.split(' ').filter(|name| !name.is_empty()) {
        scopes.insert(Scope::parse(name)?);
        if scopes.len() > SCOPES_MAX {
            return Err(Invalid::new(
                "scope",
                format!("contains more than {SCOPES_MAX} scopes"),
            ));
        }
    }
    Ok(scopes)
}

/// The space-separated form of a set, sorted.
#[must_use]
pub fn join_scopes(scopes: &Scopes) -> String {
    scopes
        .iter()
        .map(Scope::as_str)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_parameter_is_a_set() {
        assert_eq!(
            join_scopes(&parse_scopes("write  read   read").expect("good")),
            "read write"
        );
        assert!(parse_scopes("").expect("good").is_empty());
        for bad in ["a\"b", "a\\b", "é", "a\tb", "*"] {
            assert!(parse_scopes(bad).is_err(), "{bad:?} was accepted");
        }
        let many = (0..65)
            .map(|n| format!("s{n}"))
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(
            parse_scopes(&many).expect_err("refused").to_string(),
            "scope: contains more than 64 scopes"
        );
    }
}
