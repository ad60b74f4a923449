//! The objects at Claude that belong to an agent: the ids of the federation rule, the organization and the service
//! account in its token exchanges. They are created at Claude and only stored here, so that commands need no
//! flags. Tokens do not depend on them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Invalid;
use super::id::AgentId;
use crate::ports::time::UnixTime;

/// Longest id, in bytes: Claude's have about thirty.
const ID_MAX_BYTES: usize = 128;
/// The name of the workspace that every organization has.
const DEFAULT_WORKSPACE: &str = "default";
/// Shortest lifetime of a Claude token that a rule can set, and the shortest that Claude issues, in seconds.
pub const TOKEN_LIFETIME_MIN_SECONDS: i64 = 60;
/// Longest lifetime of a Claude token that a rule can set, in seconds.
pub const TOKEN_LIFETIME_MAX_SECONDS: i64 = 86_400;

/// The prefixes of Claude's ids and their meaning, to explain a wrong id.
const KINDS: [(&str, &str); 5] = [
    ("fdrl_", "a federation rule"),
    ("fdis_", "a federation issuer"),
    ("svac_", "a service account"),
    ("wrkspc_", "a workspace"),
    ("org_", "an organization in another notation"),
];

macro_rules! claude_id {
    ($(#[$doc:meta])* $name:ident, $field:literal, $parse:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses an id as Claude shows it.
            ///
            /// # Errors
            /// When it is not an id of this kind.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                $parse(text)
                    .map(Self)
                    .map_err(|problem| Invalid::new($field, problem))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    };
}

claude_id!(
    /// A federation rule, `fdrl_…`.
    RuleId, "rule_id", rule
);
claude_id!(
    /// An organization: a bare UUID, in lower case.
    OrganizationId, "organization_id", organization
);
claude_id!(
    /// A service account, `svac_…`.
    ServiceAccountId, "service_account_id", service_account
);
claude_id!(
    /// A workspace, `wrkspc_…` or `default`.
    WorkspaceId, "workspace_id", workspace
);
claude_id!(
    /// A federation issuer, `fdis_…`.
    IssuerObjectId, "issuer_id", issuer
);

impl WorkspaceId {
    /// The workspace that every service account is a member of.
    #[must_use]
    pub fn default_workspace() -> Self {
        Self(DEFAULT_WORKSPACE.to_owned())
    }

    /// Whether this is the default workspace.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == DEFAULT_WORKSPACE
    }
}

fn rule(text: &str) -> Result<String, String> {
    tagged(text, "fdrl_")
}

fn service_account(text: &str) -> Result<String, String> {
    tagged(text, "svac_")
}

fn issuer(text: &str) -> Result<String, String> {
    tagged(text, "fdis_")
}

fn workspace(text: &str) -> Result<String, String> {
    if text == DEFAULT_WORKSPACE {
        return Ok(text.to_owned());
    }
    tagged(text, "wrkspc_").map_err(|problem| format!("{problem}, or `default`"))
}

fn organization(text: &str) -> Result<String, String> {
    let is_uuid = text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        });
    if is_uuid {
        return Ok(text.to_ascii_lowercase());
    }
    Err(format!(
        "must be the bare UUID that Claude's Console shows, such as 00000000-0000-4000-8000-000000000000{}",
        mistaken(text, "")
    ))
}

fn tagged(text: &str, prefix: &str) -> Result<String, String> {
    let is_id = text.len() <= ID_MAX_BYTES
        && text.strip_prefix(prefix).is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric())
        });
    if is_id {
        return Ok(text.to_owned());
    }
    Err(format!(
        "must be an id of letters and digits that starts with `{prefix}`{}",
        mistaken(text, prefix)
    ))
}

/// The kind of id that the text is instead of `wanted`, if it is one.
fn mistaken(text: &str, wanted: &str) -> String {
    KINDS
        .iter()
        .find(|(prefix, _)| text.starts_with(prefix) && *prefix != wanted)
        .map_or_else(String::new, |(prefix, kind)| {
            format!(" (this one starts with `{prefix}`, which is {kind})")
        })
}

/// Checks the lifetime of a rule's tokens, in seconds.
///
/// # Errors
/// When it is not 60 to 86400; Claude rejects any other.
pub fn check_token_lifetime(seconds: i64) -> Result<i64, Invalid> {
    if (TOKEN_LIFETIME_MIN_SECONDS..=TOKEN_LIFETIME_MAX_SECONDS).contains(&seconds) {
        return Ok(seconds);
    }
    Err(Invalid::new(
        "token_lifetime",
        format!(
            "must be {TOKEN_LIFETIME_MIN_SECONDS} to {TOKEN_LIFETIME_MAX_SECONDS} seconds, Claude's limits for a rule"
        ),
    ))
}

/// Objects at Claude, as named in the exchanges of one agent. Serialized as the admin API and the audit show them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaudeObjects {
    /// The federation rule.
    #[serde(rename = "rule_id")]
    pub rule: RuleId,
    /// The organization that owns the rule.
    #[serde(rename = "organization_id")]
    pub organization: OrganizationId,
    /// The service account that Claude's tokens act as.
    #[serde(rename = "service_account_id")]
    pub service_account: ServiceAccountId,
    /// The workspace; `None`: exchanges do not name one.
    #[serde(rename = "workspace_id")]
    pub workspace: Option<WorkspaceId>,
    /// The id of this issuer's registration; `None`: unknown.
    #[serde(rename = "issuer_id")]
    pub issuer: Option<IssuerObjectId>,
    /// The rule's token lifetime in seconds; `None`: unknown.
    pub token_lifetime: Option<i64>,
}

/// An agent and its objects at Claude.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaudeLink {
    /// The agent.
    pub agent: AgentId,
    /// Its objects.
    pub objects: ClaudeObjects,
    /// The issuer's registry version at its last change.
    pub version: i64,
    /// When it was created.
    pub created_at: UnixTime,
    /// When it was last changed.
    pub updated_at: UnixTime,
}

/// The latest time until which Claude may honour a token that it issued, or may still issue, for one identity
/// token.
///
/// A Claude token lives `max(60, min(rule, 2 × what is left of the identity token))` from its exchange. The
/// exchange may happen at any time in the identity token's lifetime. The latest end results from an exchange half
/// the rule's lifetime before `expires_at`, or from one at `issued_at` if the rule allows more than twice the
/// identity token's lifetime or is unknown. Claude grants 60 seconds even at the last moment, which is `skew`
/// after `expires_at`.
#[must_use]
pub fn access_until_at_most(
    issued_at: UnixTime,
    expires_at: UnixTime,
    token_lifetime: Option<i64>,
    skew: i64,
) -> UnixTime {
    let life = expires_at.since(issued_at).max(0);
    let beyond = token_lifetime.map_or(life, |rule| life.min((rule + 1) / 2));
    expires_at.plus(beyond.max(skew + TOKEN_LIFETIME_MIN_SECONDS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "2F1c0d6e-8f0a-4b7e-9c53-0a1b2c3d4e5f";

    #[test]
    fn an_id_of_another_kind_is_refused_and_named() {
        assert_eq!(
            RuleId::parse("svac_01AbC")
                .expect_err("refused")
                .to_string(),
            "rule_id: must be an id of letters and digits that starts with `fdrl_` (this one starts with `svac_`, which is a service account)"
        );
        assert_eq!(
            OrganizationId::parse("org_01AbC")
                .expect_err("refused")
                .to_string(),
            "organization_id: must be the bare UUID that Claude's Console shows, such as 00000000-0000-4000-8000-000000000000 (this one starts with `org_`, which is an organization in another notation)"
        );
        assert_eq!(
            WorkspaceId::parse("Default")
                .expect_err("refused")
                .to_string(),
            "workspace_id: must be an id of letters and digits that starts with `wrkspc_`, or `default`"
        );
        for bad in [
            "",
            "fdrl_",
            "fdrl_a b",
            "FDRL_a",
            "fdrl_a\0",
            "fdrl_é",
            " fdrl_a",
            &format!("fdrl_{}", "a".repeat(124)),
        ] {
            assert!(RuleId::parse(bad).is_err(), "{bad:?} was accepted");
        }
        let urn = format!("urn:uuid:{UUID}");
        let plain = UUID.replace('-', "");
        for bad in [
            "",
            &urn,
            &plain,
            &UUID.replace('c', "g"),
            &format!("{UUID}0"),
        ] {
            assert!(OrganizationId::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for bad in ["fdrl_a", "wrkspc_", "svac_a"] {
            assert!(WorkspaceId::parse(bad).is_err(), "{bad:?} was accepted");
            assert!(IssuerObjectId::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn ids_are_kept_as_claude_shows_them() {
        assert_eq!(
            RuleId::parse("fdrl_01AbC").expect("good").as_str(),
            "fdrl_01AbC"
        );
        assert_eq!(
            ServiceAccountId::parse("svac_01").expect("good").as_str(),
            "svac_01"
        );
        assert_eq!(
            IssuerObjectId::parse("fdis_01").expect("good").as_str(),
            "fdis_01"
        );
        for good in ["default", "wrkspc_01AbC"] {
            assert_eq!(WorkspaceId::parse(good).expect("good").as_str(), good);
        }
        let organization = OrganizationId::parse(UUID).expect("good");
        assert_eq!(organization.as_str(), UUID.to_ascii_lowercase());
    }

    /// Tries every moment of exchange with the formula that Claude documents.
    #[test]
    fn claude_access_never_outlives_what_is_told() {
        let skew = 30;
        for (life, rule) in [
            (600, Some(600)),
            (600, Some(86_400)),
            (600, None),
            (60, Some(60)),
            (3600, Some(61)),
            (90, Some(3600)),
        ] {
            let exp = 10_000 + life;
            let latest = (10_000..=exp + skew)
                .map(|at| {
                    let twice = 2 * (exp - at);
                    at + rule.map_or(twice, |rule: i64| rule.min(twice)).max(60)
                })
                .max();
            let told = access_until_at_most(UnixTime(10_000), UnixTime(exp), rule, skew).0;
            let latest = latest.expect("some moment");
            assert!(
                told >= latest,
                "life {life}, rule {rule:?}: {told} < {latest}"
            );
            assert!(
                told - latest <= 1,
                "life {life}, rule {rule:?}: {told} is more than {latest}"
            );
        }
    }
}
