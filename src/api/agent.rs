//! Agents.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::credential::{Credential, NewCredential};
use super::edit::present;

/// An agent.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Agent {
    pub id: String,
    /// The name, which is the agent's `client_id`.
    pub name: String,
    /// The `sub` of its tokens.
    pub subject: String,
    /// The accountable person or team.
    pub owner: String,
    pub description: String,
    /// Top-level claims of its tokens.
    pub attributes: BTreeMap<String, String>,
    /// `active`, `suspended` or `removed`.
    pub status: String,
    /// Since when it is suspended or removed.
    pub status_since: Option<i64>,
    /// When it expires: it then gets no token.
    pub expires_at: Option<i64>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449).
    pub dpop_required: bool,
    /// The required `aud` of its assertions: `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`; `null`:
    /// the issuer's setting.
    pub assertion_audience: Option<String>,
    /// Names of its groups.
    pub groups: Vec<String>,
    /// Names of its directly assigned roles.
    pub roles: Vec<String>,
    /// Every role that it holds, directly or through a group: one item for each way.
    pub effective_roles: Vec<Through>,
    /// Its credentials; omitted in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub credentials: Option<Vec<Credential>>,
    /// When it last got a token; omitted in lists.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<i64>)]
    pub last_token_at: Option<Option<i64>>,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: i64,
}

/// A suspended or removed agent, with its remaining access at Claude.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct SuspendedAgent {
    #[serde(flatten)]
    pub agent: Agent,
    /// The latest time until which Claude may honour tokens that it issued, or may still issue, for the agent's
    /// last ones; `null`: none of them is usable there.
    pub claude_access_until_at_most: Option<i64>,
    /// The rule to archive at Claude to end exchanges at once; `null`: the agent is not linked.
    pub claude_rule_id: Option<String>,
}

/// A request to register an agent.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAgent {
    /// Labels of a-z, 0-9 and '-' joined by '.'; becomes the `client_id` and is never reused.
    #[schema(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length = 128)]
    pub name: String,
    /// The accountable person or team.
    #[schema(min_length = 1, max_length = 256)]
    pub owner: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub description: Option<String>,
    /// A subject that another issuer assigned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<BTreeMap<String, String>>,
    /// Names of groups.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    /// Names of roles.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// Seconds until the agent expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 315_360_000)]
    pub expires_in: Option<i64>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449); omitted: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_required: Option<bool>,
    /// The required `aud` of its assertions; omitted: the issuer's setting.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(issuer-as-string|issuer|issuer-or-token-endpoint)$")]
    pub assertion_audience: Option<String>,
    /// Its first credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<NewCredential>,
}

/// A registered agent.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct CreatedAgent {
    pub agent: Agent,
    pub client_id: String,
    /// The client secret, shown only once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub client_secret: Option<String>,
    pub credential: Option<Credential>,
}

/// An edit of an agent. Omitted members keep their values.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AgentEdit {
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, min_length = 1, max_length = 256)]
    pub owner: Option<String>,
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, max_length = 1024)]
    pub description: Option<String>,
    /// All its attributes; they replace the current ones.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub attributes: Option<BTreeMap<String, String>>,
    /// Names of all its groups; they replace the current ones.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub groups: Option<Vec<String>>,
    /// Names of all its directly assigned roles; they replace the current ones.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub roles: Option<Vec<String>>,
    /// Seconds until the agent expires; `null`: never.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 315_360_000)]
    pub expires_in: Option<Option<i64>>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449).
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub dpop_required: Option<bool>,
    /// The required `aud` of its assertions: `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`; `null`:
    /// the issuer's setting. With the last one, a server that names this token endpoint in its metadata can replay
    /// assertions that the agent makes for it.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>, pattern = "^(issuer-as-string|issuer|issuer-or-token-endpoint)$")]
    pub assertion_audience: Option<Option<String>>,
}

/// A way in which a role is held, or in which something is granted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Through {
    pub role: String,
    /// The group that passes on the role; `null`: a direct assignment.
    pub group: Option<String>,
}
