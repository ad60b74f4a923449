//! Trusted issuers: whose tokens are accepted, for what purpose, and within which bounds. By default nothing is
//! trusted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ports::time::UnixTime;

use super::Invalid;
use super::id::TrustedIssuerId;
use super::name::Name;

/// Upper limit of the longest lifetime of a trusted issuer's tokens, in seconds: a day and an hour. Azure issues
/// tokens of managed identities for a day, dated five minutes back.
pub const MAX_LIFETIME_CEILING_SECONDS: i64 = 90_000;
/// Default of the longest lifetime, in seconds.
pub const DEFAULT_MAX_LIFETIME_SECONDS: i64 = 3600;
/// Most required claims, mapped claims or accepted types.
pub const ENTRIES_MAX: usize = 16;
/// Longest name or value of a claim that is compared, in bytes.
pub const CLAIM_MAX_BYTES: usize = 512;

/// Most trusted issuers that are not removed: all are read with the policy.
pub const TRUSTED_ISSUERS_MAX: usize = 256;
/// Longest URL of a trusted issuer or its key set, in bytes.
pub const URL_MAX_BYTES: usize = 512;
/// Prefix of the URL of a SPIFFE trust domain.
pub const SPIFFE_SCHEME: &str = "spiffe://";

/// An issuer whose tokens are accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct TrustedIssuer {
    /// Stable id.
    pub id: TrustedIssuerId,
    /// A short name; part of the subjects of its users, so never reused.
    pub name: Name,
    /// The exact `iss` of its tokens, byte for byte.
    pub url: String,
    /// What its tokens are accepted for.
    pub definition: TrustDefinition,
    /// The issuer's registry version at its last change.
    pub version: i64,
    /// When it was added.
    pub created_at: UnixTime,
    /// When it was last changed.
    pub updated_at: UnixTime,
    /// When it was removed, if it was.
    pub removed_at: Option<UnixTime>,
}

/// What an issuer's tokens are accepted for. Stored and shown as it serializes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustDefinition {
    /// A description; may be empty.
    pub description: String,
    /// The only accepted `aud`.
    pub audience: String,
    /// The source of its keys.
    pub keys: KeySource,
    /// Its tokens may authenticate agents (federated credentials).
    pub client_auth: bool,
    /// Its tokens may be subject tokens.
    pub subject: bool,
    /// Its tokens may be actor tokens.
    pub actor: bool,
    /// Its subject tokens may name actors (`act`), which are kept as actors of that issuer. Otherwise such a token
    /// is rejected.
    #[serde(default)]
    pub accept_act: bool,
    /// Longest `exp - iat`, in seconds.
    pub max_lifetime: i64,
    /// Accepted `typ` headers, compared without case and without `application/`; the empty text for an absent one.
    pub types: Vec<String>,
    /// Whether a token is accepted once or for its whole lifetime.
    pub jti: JtiPolicy,
    /// Claims that every token must have, with these values.
    pub required_claims: BTreeMap<String, String>,
    /// The claim that names the subject.
    pub subject_claim: String,
    /// Attributes of tokens minted for its subjects: attribute name to claim name.
    pub claims: BTreeMap<String, String>,
}

/// The source of a trusted issuer's keys.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum KeySource {
    /// The `jwks_uri` of its discovery document.
    Discovery,
    /// This URL.
    JwksUri {
        /// The URL.
        url: String,
    },
    /// These keys; nothing is fetched.
    Inline {
        /// A JWKS.
        jwks: Value,
    },
}

/// How often one token is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JtiPolicy {
    /// Once; `jti` is required.
    SingleUse,
    /// Until it expires, because Kubernetes and GitLab return the same token several times.
    Reusable,
}

impl TrustedIssuer {
    /// Whether it is a SPIFFE trust domain, whose tokens are JWT-SVIDs and need no `iss`.
    #[must_use]
    pub fn is_spiffe(&self) -> bool {
        self.url.starts_with(SPIFFE_SCHEME)
    }
}

impl TrustDefinition {
    /// Whether it is trusted for any purpose.
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.client_auth || self.subject || self.actor
    }
}

impl JtiPolicy {
    /// The policy's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SingleUse => "single-use",
            Self::Reusable => "reusable",
        }
    }
}

/// The tokens of a trusted issuer that match. A member that is `None` or empty does not restrict; one restriction
/// is required.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenMatch {
    /// The exact subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The prefix of the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject_prefix: Option<String>,
    /// Top-level string claims with their exact values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
    /// A CEL condition over the claims.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
}

impl TokenMatch {
    /// Checks everything except the condition.
    ///
    /// # Errors
    /// When it has no restriction, a text is empty or too long, or a prefix would match every subject.
    pub fn check(&self) -> Result<(), Invalid> {
        let refused = |problem: &str| Err(Invalid::new("match", problem));
        if self.subject.is_some() && self.subject_prefix.is_some() {
            return refused("contains both a subject and a prefix; use one of them");
        }
        if self.subject.is_none()
            && self.subject_prefix.is_none()
            && self.claims.is_empty()
            && self.condition.is_none()
        {
            return refused(
                "matches every token of the issuer; name a subject, a prefix, claims or a condition",
            );
        }
        for text in self.subject.iter().chain(&self.subject_prefix) {
            if text.is_empty() || text.len() > CLAIM_MAX_BYTES || text.contains('\0') {
                return refused("contains a subject that is empty or longer than 512 bytes");
            }
        }
        check_claims("match", &self.claims)
    }

    /// Whether the token's subject and claims match; the caller evaluates the condition.
    #[must_use]
    pub fn matches(&self, subject: &str, claims: &Map<String, Value>) -> bool {
        self.subject.as_deref().is_none_or(|exact| exact == subject)
            && self
                .subject_prefix
                .as_deref()
                .is_none_or(|prefix| subject.starts_with(prefix))
            && has_claims(claims, &self.claims)
    }
}

/// Whether `claims` has every wanted claim as a top-level string with that value.
#[must_use]
pub fn has_claims(claims: &Map<String, Value>, wanted: &BTreeMap<String, String>) -> bool {
    wanted
        .iter()
        .all(|(name, value)| claims.get(name).and_then(Value::as_str) == Some(value.as_str()))
}

/// Checks names and values of claims to compare.
///
/// # Errors
/// When there are more than [`ENTRIES_MAX`], or a name or value is empty or too long.
pub fn check_claims(field: &'static str, claims: &BTreeMap<String, String>) -> Result<(), Invalid> {
    if claims.len() > ENTRIES_MAX {
        return Err(Invalid::new(
            field,
            format!("contains more than {ENTRIES_MAX} claims"),
        ));
    }
    let is_good = |text: &String| {
        !text.is_empty() && text.len() <= CLAIM_MAX_BYTES && !text.chars().any(char::is_control)
    };
    if claims
        .iter()
        .all(|(name, value)| is_good(name) && is_good(value))
    {
        Ok(())
    } else {
        Err(Invalid::new(
            field,
            "contains a claim whose name or value is empty, longer than 512 bytes, or has control characters",
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_definition_that_was_stored_before_foreign_actors_were_accepted_accepts_none() {
        let stored = json!({
            "description": "", "audience": "a", "keys": {"type": "discovery"}, "client_auth": false,
            "subject": true, "actor": false, "max_lifetime": 3600, "types": ["JWT"], "jti": "reusable",
            "required_claims": {}, "subject_claim": "sub", "claims": {},
        });
        let read: TrustDefinition = serde_json::from_value(stored).unwrap();
        assert!(!read.accept_act);
    }

    #[test]
    fn a_match_that_takes_every_token_is_refused() {
        assert!(TokenMatch::default().check().is_err());
        let prefix = |text: &str| TokenMatch {
            subject_prefix: Some(text.to_owned()),
            ..TokenMatch::default()
        };
        assert!(prefix("").check().is_err());
        assert!(prefix("repo:octo-org/").check().is_ok());
        let both = TokenMatch {
            subject: Some("a".to_owned()),
            ..prefix("a")
        };
        assert!(both.check().is_err());
    }

    #[test]
    fn a_match_compares_strings_only_and_all_of_them() {
        let wanted = TokenMatch {
            subject_prefix: Some("repo:octo-org/octo-repo:".to_owned()),
            claims: BTreeMap::from([("repository_owner_id".to_owned(), "65".to_owned())]),
            ..TokenMatch::default()
        };
        let claims = |value: Value| {
            json!({"repository_owner_id": value})
                .as_object()
                .cloned()
                .unwrap()
        };
        assert!(wanted.matches(
            "repo:octo-org/octo-repo:ref:refs/heads/main",
            &claims(json!("65"))
        ));
        assert!(!wanted.matches(
            "repo:octo-org/octo-repo:ref:refs/heads/main",
            &claims(json!(65))
        ));
        assert!(!wanted.matches("repo:octo-org/octo-repo-2:x", &claims(json!("65"))));
        assert!(!wanted.matches("repo:octo-org/octo-repo:x", &Map::new()));
    }
}
