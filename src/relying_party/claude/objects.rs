//! The objects of Claude's Admin API, as they travel: service accounts, federation issuers, federation
//! rules and their ids. Reading is lenient, since the real API may answer with more than we know; what we
//! send is only what is documented.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::jwks_source::JwksSource;
use super::rule::RuleMatch;
use super::{
    DEFAULT_MAX_JWT_LIFETIME_SECONDS, DEFAULT_TOKEN_LIFETIME_SECONDS, MIN_TOKEN_LIFETIME_SECONDS,
};
use crate::domain::Invalid;

/// Tagged ids seen in the documentation have some 25 characters; anything longer is no id.
const ID_MAX_BYTES: usize = 128;

/// True for `tag` and then letters and digits. Not documented: the length and alphabet of the rest.
fn is_tagged(text: &str, tag: &str) -> bool {
    text.len() <= ID_MAX_BYTES
        && text
            .strip_prefix(tag)
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric()))
}

macro_rules! claude_id {
    ($(#[$doc:meta])* $name:ident, $field:literal, $problem:literal, $test:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses an id.
            ///
            /// # Errors
            /// When it is not of the documented form. The problem is worded to follow the field's name, as
            /// Claude words it.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                let is_good: fn(&str) -> bool = $test;
                if is_good(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(Invalid::new($field, $problem))
                }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
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

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

claude_id!(
    /// The id of a service account: `svac_…`.
    ServiceAccountId,
    "service_account_id",
    "is not a well-formed svac_ tagged ID",
    |text| is_tagged(text, "svac_")
);
claude_id!(
    /// The id of a federation issuer: `fdis_…`.
    IssuerObjectId,
    "issuer_id",
    "is not a well-formed fdis_ tagged ID",
    |text| is_tagged(text, "fdis_")
);
claude_id!(
    /// The id of a federation rule: `fdrl_…`.
    RuleId,
    "federation_rule_id",
    "is not a well-formed fdrl_ tagged ID",
    |text| is_tagged(text, "fdrl_")
);
claude_id!(
    /// The id of a workspace: `wrkspc_…`, or the word `default`.
    WorkspaceId,
    "workspace_id",
    "is not a well-formed wrkspc_ tagged ID",
    |text| text == "default" || is_tagged(text, "wrkspc_")
);
claude_id!(
    /// The id of an organization: a bare UUID, in hyphenated form.
    OrganizationId,
    "organization_id",
    "is not a well-formed UUID",
    |text| text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
);

impl WorkspaceId {
    /// The workspace that every service account is a member of.
    #[must_use]
    pub fn default_workspace() -> Self {
        Self("default".to_owned())
    }

    /// Whether this is that one.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0 == "default"
    }
}

/// That a service account may act in a workspace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceMembership {
    /// Which workspace.
    pub workspace_id: WorkspaceId,
    /// As what.
    #[serde(default)]
    pub workspace_role: Option<String>,
}

/// The identity that a token of Claude's acts as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceAccount {
    /// `svac_…`.
    pub id: ServiceAccountId,
    /// Unique in the organization.
    pub name: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// `developer` or `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The workspaces it is a member of, besides the default one.
    #[serde(default)]
    pub workspaces: Vec<WorkspaceMembership>,
    /// When it was archived, RFC 3339.
    #[serde(default)]
    pub archived_at: Option<String>,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// When it was last changed, RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

impl ServiceAccount {
    /// Whether it may act in `workspace`; in the default one every account may.
    #[must_use]
    pub fn is_member_of(&self, workspace: &WorkspaceId) -> bool {
        let named = |membership: &WorkspaceMembership| membership.workspace_id == *workspace;
        workspace.is_default() || self.workspaces.iter().any(named)
    }
}

/// Whose tokens Claude trusts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FederationIssuer {
    /// `fdis_…`.
    pub id: IssuerObjectId,
    /// Unique in the organization.
    pub name: String,
    /// What `iss` must equal, byte for byte.
    pub issuer_url: String,
    /// Where its keys come from.
    #[serde(default)]
    pub jwks: JwksSource,
    /// Whether a `jti` is taken once only.
    #[serde(default = "yes")]
    pub check_jti: bool,
    /// The longest `exp - iat`.
    #[serde(default = "default_max_jwt_lifetime")]
    pub max_jwt_lifetime_seconds: i64,
    /// Since when its keys are no longer fetched, RFC 3339.
    #[serde(default)]
    pub jwks_polling_disabled_at: Option<String>,
    /// When it was archived, RFC 3339.
    #[serde(default)]
    pub archived_at: Option<String>,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// When it was last changed, RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

fn yes() -> bool {
    true
}

fn default_max_jwt_lifetime() -> i64 {
    DEFAULT_MAX_JWT_LIFETIME_SECONDS
}

fn default_token_lifetime() -> i64 {
    DEFAULT_TOKEN_LIFETIME_SECONDS
}

/// What a rule leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RuleTarget {
    /// A token that acts as a service account.
    ServiceAccount {
        /// Which one.
        service_account_id: ServiceAccountId,
    },
}

/// Which tokens of an issuer lead to which account, with what scope and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FederationRule {
    /// `fdrl_…`.
    pub id: RuleId,
    /// Unique in the organization.
    pub name: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whose tokens. Never changes.
    pub issuer_id: IssuerObjectId,
    /// Which tokens.
    #[serde(rename = "match")]
    pub match_: RuleMatch,
    /// What they lead to.
    pub target: RuleTarget,
    /// The scope of the access token.
    pub oauth_scope: String,
    /// The longest life of the access token.
    #[serde(default = "default_token_lifetime")]
    pub token_lifetime_seconds: i64,
    /// The workspace it was made for.
    #[serde(default)]
    pub workspace_id: Option<WorkspaceId>,
    /// Whether it holds in all workspaces.
    #[serde(default)]
    pub applies_to_all_workspaces: bool,
    /// Workspaces it was enabled in later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workspaces: Vec<WorkspaceId>,
    /// When it was archived, RFC 3339.
    #[serde(default)]
    pub archived_at: Option<String>,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// When it was last changed, RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

impl FederationRule {
    /// The service account that its tokens act as.
    #[must_use]
    pub fn service_account_id(&self) -> &ServiceAccountId {
        match &self.target {
            RuleTarget::ServiceAccount { service_account_id } => service_account_id,
        }
    }

    /// The workspaces it is enabled in by name, each once.
    #[must_use]
    pub fn enabled_workspaces(&self) -> Vec<&WorkspaceId> {
        let mut enabled = Vec::new();
        for workspace in self.workspace_id.iter().chain(&self.workspaces) {
            if !enabled.contains(&workspace) {
                enabled.push(workspace);
            }
        }
        enabled
    }

    /// For how long Claude may still be reached with a token of this rule once its agent was suspended, when
    /// the last identity token has `remaining` seconds to live: such a token can be exchanged until its end,
    /// and Claude's own outlives it.
    #[must_use]
    pub fn longest_access_after(&self, remaining: i64) -> i64 {
        let at_once = super::access_token_lifetime(self.token_lifetime_seconds, remaining);
        // The last moment of the identity token, with the tolerance, still buys the shortest access token.
        let at_the_end = remaining
            .saturating_add(super::SKEW_SECONDS)
            .saturating_add(MIN_TOKEN_LIFETIME_SECONDS);
        at_once.max(at_the_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_another_form_are_refused_in_claudes_words() {
        for bad in [
            "", "fdrl_", "fdrl", "svac_01", "FDRL_01", "fdrl_0 1", "fdrl_0-1", "fdrl_é",
        ] {
            let refused = RuleId::parse(bad).expect_err(bad);
            assert_eq!(
                format!("{} {}", refused.field, refused.problem),
                "federation_rule_id is not a well-formed fdrl_ tagged ID"
            );
        }
        assert!(RuleId::parse(&format!("fdrl_{}", "0".repeat(200))).is_err());
        for bad in ["", "Default", "wrkspc_", "workspace"] {
            assert!(WorkspaceId::parse(bad).is_err(), "{bad}");
        }
        for bad in [
            "",
            "org_01",
            "550e8400e29b41d4a716446655440000",
            "{550e8400-e29b-41d4-a716-446655440000}",
        ] {
            assert!(OrganizationId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_of_the_documented_form_are_taken() {
        assert!(RuleId::parse("fdrl_01AbC").is_ok());
        assert!(ServiceAccountId::parse("svac_01").is_ok());
        assert!(IssuerObjectId::parse("fdis_01").is_ok());
        assert!(WorkspaceId::parse("wrkspc_01").is_ok());
        assert!(WorkspaceId::parse("default").is_ok());
        assert!(OrganizationId::parse("550e8400-e29b-41d4-a716-446655440000").is_ok());
    }
}
