//! Delegations: the permission of an agent to act for others. Token exchange (RFC 8693) requires one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::ports::time::UnixTime;

use super::Invalid;
use super::actor::ACTORS_MAX;
use super::id::{AgentId, DelegationId, ResourceId, TrustedIssuerId};
use super::role::GrantedScopes;
use super::subject::{SUBJECT_MAX_BYTES, USER_PREFIX};
use super::trusted_issuer::{check_claims, has_claims};

/// Most delegations of one agent that are not revoked or expired: each is read with the agent.
pub const DELEGATIONS_MAX: usize = 64;
/// Longest lifetime of a delegation, in seconds: 400 days, so that each is reviewed once a year.
pub const DELEGATION_MAX_SECONDS: i64 = 400 * 86_400;

/// "Agent `actor` may act for subjects that match, on `resource`, until `expires_at`."
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// Stable id.
    pub id: DelegationId,
    /// The agent that may act.
    pub actor: AgentId,
    /// The subjects that it may act for.
    pub subject: SubjectPattern,
    /// The resource.
    pub resource: ResourceId,
    /// The most scopes of the resource.
    pub scopes: GrantedScopes,
    /// Most actors in the chain of a token made under it, 1 to [`ACTORS_MAX`].
    pub max_depth: usize,
    /// Whether it is in force.
    pub status: DelegationStatus,
    /// When it expires.
    pub expires_at: UnixTime,
    /// The issuer's registry version at its last change.
    pub version: i64,
    /// When it was created.
    pub created_at: UnixTime,
    /// When it was last changed.
    pub updated_at: UnixTime,
}

/// Whether a delegation is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelegationStatus {
    /// In force until it expires.
    Active,
    /// Not in force until it is resumed.
    Suspended {
        /// Since when.
        at: UnixTime,
    },
    /// Permanently ended.
    Revoked {
        /// Since when.
        at: UnixTime,
    },
}

impl DelegationStatus {
    /// The status's name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended { .. } => "suspended",
            Self::Revoked { .. } => "revoked",
        }
    }

    /// Since when it has the status, if recorded.
    #[must_use]
    pub fn since(self) -> Option<UnixTime> {
        match self {
            Self::Active => None,
            Self::Suspended { at } | Self::Revoked { at } => Some(at),
        }
    }
}

/// A set of subjects, in the form of this issuer's tokens: `user:<trusted issuer>:<sub>` for users of trusted
/// issuers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectPattern {
    /// How `subject` is compared.
    pub kind: SubjectKind,
    /// The subject, or its prefix.
    pub subject: String,
    /// Only tokens of this trusted issuer match; required when `claims` are compared.
    pub trusted_issuer: Option<TrustedIssuerId>,
    /// Top-level string claims of the trusted issuer's token.
    pub claims: BTreeMap<String, String>,
}

/// How a delegation's subject is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SubjectKind {
    /// Exact match, byte for byte.
    Exact,
    /// Prefix match.
    Prefix,
}

impl SubjectKind {
    /// The kind's name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Prefix => "prefix",
        }
    }
}

/// The subject of a presented subject token.
#[derive(Clone, Copy, Debug)]
pub struct PresentedSubject<'t> {
    /// The subject, in the form of this issuer's tokens.
    pub subject: &'t str,
    /// The trusted issuer of the token; `None`: this issuer.
    pub trusted_issuer: Option<&'t TrustedIssuerId>,
    /// The claims of its token.
    pub claims: &'t Map<String, Value>,
}

impl SubjectPattern {
    /// Parses a subject as people write it: a trailing `*` makes it a prefix.
    ///
    /// # Errors
    /// When it is empty, too long, not printable ASCII, would match everyone, or claims are compared without a
    /// trusted issuer.
    pub fn parse(
        text: &str,
        trusted_issuer: Option<TrustedIssuerId>,
        claims: BTreeMap<String, String>,
    ) -> Result<Self, Invalid> {
        let (kind, subject) = match text.strip_suffix('*') {
            Some(prefix) => (SubjectKind::Prefix, prefix),
            None => (SubjectKind::Exact, text),
        };
        check_claims("subject_claims", &claims)?;
        let problem = if subject.is_empty() {
            "is empty, which would match every subject; name a subject such as `agent:mailer`, or a prefix such as `agent:team-a.*`"
        } else if subject.len() > SUBJECT_MAX_BYTES {
            "is longer than 255 characters"
        } else if !subject.bytes().all(|b| b.is_ascii_graphic()) || subject.contains('*') {
            "contains a character that is not printable ASCII, or a `*` that is not at its end"
        } else if kind == SubjectKind::Prefix && is_cut_off(subject) {
            "begins with `user:` without a trusted issuer's whole name, so it would match users of several issuers; write `user:NAME:*`"
        } else if !claims.is_empty() && trusted_issuer.is_none() {
            "compares claims, which only tokens of a trusted issuer have; name the trusted issuer too"
        } else {
            return Ok(Self {
                kind,
                subject: subject.to_owned(),
                trusted_issuer,
                claims,
            });
        };
        Err(Invalid::new("subject", problem))
    }

    /// The subject as people write it.
    #[must_use]
    pub fn text(&self) -> String {
        match self.kind {
            SubjectKind::Exact => self.subject.clone(),
            SubjectKind::Prefix => format!("{}*", self.subject),
        }
    }

    /// Whether it matches a presented subject.
    #[must_use]
    pub fn matches(&self, presented: PresentedSubject<'_>) -> bool {
        let is_named = match self.kind {
            SubjectKind::Exact => presented.subject == self.subject,
            SubjectKind::Prefix => presented.subject.starts_with(&self.subject),
        };
        is_named
            && self
                .trusted_issuer
                .as_ref()
                .is_none_or(|wanted| presented.trusted_issuer == Some(wanted))
            && has_claims(presented.claims, &self.claims)
    }
}

/// Whether a prefix ends inside a trusted issuer's name: `user:okta*` would also match `user:okta2:…`.
fn is_cut_off(prefix: &str) -> bool {
    prefix
        .strip_prefix(USER_PREFIX)
        .is_some_and(|rest| !rest.is_empty() && !rest.contains(':'))
}

impl Delegation {
    /// True while it is in force.
    #[must_use]
    pub fn is_live(&self, now: UnixTime) -> bool {
        match self.status {
            DelegationStatus::Active => now < self.expires_at,
            DelegationStatus::Suspended { .. } | DelegationStatus::Revoked { .. } => false,
        }
    }

    /// True once it is revoked or has expired.
    #[must_use]
    pub fn is_over(&self, now: UnixTime) -> bool {
        match self.status {
            DelegationStatus::Active | DelegationStatus::Suspended { .. } => now >= self.expires_at,
            DelegationStatus::Revoked { .. } => true,
        }
    }
}

/// Checks the depth of a delegation.
///
/// # Errors
/// When it is not 1 to [`ACTORS_MAX`].
pub fn check_depth(depth: i64) -> Result<usize, Invalid> {
    usize::try_from(depth)
        .ok()
        .filter(|depth| (1..=ACTORS_MAX).contains(depth))
        .ok_or_else(|| Invalid::new("max_depth", format!("must be 1 to {ACTORS_MAX}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<SubjectPattern, Invalid> {
        SubjectPattern::parse(text, None, BTreeMap::new())
    }

    #[test]
    fn a_subject_that_takes_everybody_is_refused() {
        for bad in [
            "",
            "*",
            "a*b",
            "**",
            "user:okta:é",
            "user okta",
            "user:okta*",
            &"s".repeat(256),
        ] {
            assert!(pattern(bad).is_err(), "{bad:?} was accepted");
        }
        let claims = BTreeMap::from([("department".to_owned(), "sales".to_owned())]);
        assert!(SubjectPattern::parse("user:okta:*", None, claims).is_err());
    }

    #[test]
    fn a_pattern_matches_whole_subjects_prefixes_and_the_trusted_issuer() {
        let none = Map::new();
        let presented = |subject, trusted_issuer| PresentedSubject {
            subject,
            trusted_issuer,
            claims: &none,
        };
        assert!(
            pattern("agent:a")
                .unwrap()
                .matches(presented("agent:a", None))
        );
        assert!(
            !pattern("agent:a")
                .unwrap()
                .matches(presented("agent:ab", None))
        );
        assert!(
            pattern("agent:a.*")
                .unwrap()
                .matches(presented("agent:a.b", None))
        );
        assert!(
            !pattern("agent:a.*")
                .unwrap()
                .matches(presented("agent:ab", None))
        );
        let okta = TrustedIssuerId::from_text("okta-id");
        let other = TrustedIssuerId::from_text("other-id");
        let claims = BTreeMap::from([("department".to_owned(), "sales".to_owned())]);
        let of_okta = SubjectPattern::parse("user:okta:*", Some(okta.clone()), claims).unwrap();
        let sales = serde_json::json!({"department": "sales"})
            .as_object()
            .cloned()
            .unwrap();
        let from = |trusted_issuer, claims| PresentedSubject {
            subject: "user:okta:alice",
            trusted_issuer,
            claims,
        };
        assert!(of_okta.matches(from(Some(&okta), &sales)));
        assert!(!of_okta.matches(from(Some(&okta), &none)));
        assert!(!of_okta.matches(from(Some(&other), &sales)));
        assert!(!of_okta.matches(from(None, &sales)));
        assert_eq!(of_okta.text(), "user:okta:*");
    }
}
