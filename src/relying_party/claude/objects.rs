//! The wire objects of Claude's Admin API: service accounts, federation issuers, federation rules. Parsing is
//! lenient, because Claude may return more than is documented; sent is only what is documented.

use serde::{Deserialize, Serialize};

use super::jwks_source::JwksSource;
use super::rule::RuleMatch;
use super::{
    DEFAULT_MAX_JWT_LIFETIME_SECONDS, DEFAULT_TOKEN_LIFETIME_SECONDS, MIN_TOKEN_LIFETIME_SECONDS,
};
use crate::domain::Invalid;
use crate::domain::claude_link::{IssuerObjectId, RuleId, ServiceAccountId, WorkspaceId};

/// A malformed id in Claude's words: `federation_rule_id is not a well-formed fdrl_ tagged ID`. The problem follows
/// the field's name without a colon. Other problems are unchanged.
#[must_use]
pub fn malformed_id(refused: Invalid) -> Invalid {
    let (field, form) = match refused.field {
        "rule_id" => ("federation_rule_id", "fdrl_ tagged ID"),
        "issuer_id" => ("issuer_id", "fdis_ tagged ID"),
        "service_account_id" => ("service_account_id", "svac_ tagged ID"),
        "workspace_id" => ("workspace_id", "wrkspc_ tagged ID"),
        "organization_id" => ("organization_id", "UUID"),
        _ => return refused,
    };
    Invalid::new(field, format!("is not a well-formed {form}"))
}

/// A workspace in which a service account may act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkspaceMembership {
    /// The workspace.
    pub workspace_id: WorkspaceId,
    /// The role there.
    #[serde(default)]
    pub workspace_role: Option<String>,
}

/// The identity that Claude's tokens act as.
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
    /// Whether it may act in `workspace`; every account may act in the default one.
    #[must_use]
    pub fn is_member_of(&self, workspace: &WorkspaceId) -> bool {
        let named = |membership: &WorkspaceMembership| membership.workspace_id == *workspace;
        workspace.is_default() || self.workspaces.iter().any(named)
    }
}

/// The state of fetching an issuer's keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollStatus {
    /// How many fetches failed since the last success.
    #[serde(default)]
    pub consecutive_failures: u32,
    /// The time of the last fetch, RFC 3339.
    #[serde(default)]
    pub last_fetched_at: Option<String>,
    /// The time of the next fetch, RFC 3339.
    #[serde(default)]
    pub next_poll_at: Option<String>,
}

/// An issuer whose tokens Claude accepts.
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
    /// Whether each `jti` is accepted only once.
    #[serde(default = "yes")]
    pub check_jti: bool,
    /// The longest `exp - iat`.
    #[serde(default = "default_max_jwt_lifetime")]
    pub max_jwt_lifetime_seconds: i64,
    /// The state of fetching its keys; none for inline keys.
    #[serde(default)]
    pub poll_status: Option<PollStatus>,
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

/// The target of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum RuleTarget {
    /// A token that acts as a service account.
    ServiceAccount {
        /// The account.
        service_account_id: ServiceAccountId,
    },
}

/// A rule: which tokens of an issuer grant which account, with what scope and for how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FederationRule {
    /// `fdrl_…`.
    pub id: RuleId,
    /// Unique in the organization.
    pub name: String,
    /// Free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The issuer. Immutable.
    pub issuer_id: IssuerObjectId,
    /// Which tokens it accepts.
    #[serde(rename = "match")]
    pub match_: RuleMatch,
    /// What they grant.
    pub target: RuleTarget,
    /// The scope of the access token.
    pub oauth_scope: String,
    /// The longest life of the access token.
    #[serde(default = "default_token_lifetime")]
    pub token_lifetime_seconds: i64,
    /// The workspace it was created for.
    #[serde(default)]
    pub workspace_id: Option<WorkspaceId>,
    /// Whether it is enabled in all workspaces.
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

    /// How many seconds access to Claude can outlast a suspension of the agent, when its last identity token has
    /// `remaining` seconds left: that token can be exchanged until it expires, and Claude's own outlives it.
    #[must_use]
    pub fn longest_access_after(&self, remaining: i64) -> i64 {
        let at_once = super::access_token_lifetime(self.token_lifetime_seconds, remaining);
        // The last moment of the identity token, with the tolerance, still yields the shortest access token.
        let at_the_end = remaining
            .saturating_add(super::SKEW_SECONDS)
            .saturating_add(MIN_TOKEN_LIFETIME_SECONDS);
        at_once.max(at_the_end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::claude_link::OrganizationId;

    #[test]
    fn an_id_of_another_form_is_refused_in_claudes_words() {
        let told = |refused: Invalid| {
            let refused = malformed_id(refused);
            format!("{} {}", refused.field, refused.problem)
        };
        for (refused, expected) in [
            (
                RuleId::parse("svac_01").expect_err("another kind"),
                "federation_rule_id is not a well-formed fdrl_ tagged ID",
            ),
            (
                IssuerObjectId::parse("fdis_").expect_err("empty"),
                "issuer_id is not a well-formed fdis_ tagged ID",
            ),
            (
                ServiceAccountId::parse("svac_0 1").expect_err("a space"),
                "service_account_id is not a well-formed svac_ tagged ID",
            ),
            (
                WorkspaceId::parse("Default").expect_err("upper case"),
                "workspace_id is not a well-formed wrkspc_ tagged ID",
            ),
            (
                OrganizationId::parse("org_01").expect_err("no UUID"),
                "organization_id is not a well-formed UUID",
            ),
        ] {
            assert_eq!(told(refused), expected);
        }
        let other = Invalid::new("name", "must not be empty");
        assert_eq!(malformed_id(other.clone()), other);
    }
}
