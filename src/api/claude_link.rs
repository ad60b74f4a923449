//! Links of agents to their objects at Claude.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The objects at Claude that belong to an agent.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ClaudeLink {
    /// The agent's name.
    pub agent: String,
    /// The federation rule, `fdrl_…`.
    pub rule_id: String,
    /// The organization, a bare UUID.
    pub organization_id: String,
    /// The service account, `svac_…`.
    pub service_account_id: String,
    /// `wrkspc_…` or `default`; `null`: exchanges do not name one.
    pub workspace_id: Option<String>,
    /// The federation issuer, `fdis_…`; `null`: unknown.
    pub issuer_id: Option<String>,
    /// The rule's token lifetime in seconds; `null`: unknown.
    pub token_lifetime: Option<i64>,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: i64,
}

/// A whole link. Omitted members become unknown.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewClaudeLink {
    #[schema(pattern = "^fdrl_[A-Za-z0-9]+$", max_length = 128)]
    pub rule_id: String,
    #[schema(format = "uuid")]
    pub organization_id: String,
    #[schema(pattern = "^svac_[A-Za-z0-9]+$", max_length = 128)]
    pub service_account_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(default|wrkspc_[A-Za-z0-9]+)$", max_length = 128)]
    pub workspace_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^fdis_[A-Za-z0-9]+$", max_length = 128)]
    pub issuer_id: Option<String>,
    /// The rule's token lifetime in seconds: limits how long access at Claude may outlive a suspension.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 86_400)]
    pub token_lifetime: Option<i64>,
}
