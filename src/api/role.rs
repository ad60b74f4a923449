//! Roles and their grants.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::role as domain;

use super::edit::present;

/// A role.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Role {
    pub id: String,
    pub name: String,
    pub description: String,
    pub grants: Vec<Grant>,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: i64,
}

/// A grant of a role.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Grant {
    /// The resource's name.
    pub resource: String,
    /// The resource's identifier, the value of `aud`.
    pub identifier: String,
    pub scopes: GrantedScopes,
}

/// Scopes of a grant: a list, or `"*"` for all current and future scopes.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(
    untagged,
    expecting = "must be an array of scope names, or \"*\" for all of them"
)]
pub enum GrantedScopes {
    /// `"*"`.
    All(AllScopes),
    /// Names of scopes.
    Only(Vec<String>),
}

/// The text `"*"`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub enum AllScopes {
    /// All current and future scopes.
    #[serde(rename = "*")]
    Star,
}

impl From<domain::GrantedScopes> for GrantedScopes {
    fn from(scopes: domain::GrantedScopes) -> Self {
        match scopes {
            domain::GrantedScopes::All => Self::All(AllScopes::Star),
            domain::GrantedScopes::Only(scopes) => {
                Self::Only(scopes.iter().map(ToString::to_string).collect())
            }
        }
    }
}

impl GrantedScopes {
    /// The names; `None`: all, as when the member is absent.
    pub(crate) fn names(scopes: Option<Self>) -> Option<Vec<String>> {
        match scopes {
            Some(Self::Only(names)) => Some(names),
            Some(Self::All(AllScopes::Star)) | None => None,
        }
    }
}

/// A grant of a new or edited role.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewGrant {
    /// Name or identifier of the resource.
    pub resource: String,
    /// Omitted: all current and future scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<GrantedScopes>,
}

/// A request to create a role.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    #[schema(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length = 128)]
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grants: Option<Vec<NewGrant>>,
}

/// An edit of a role. Omitted members keep their values.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoleEdit {
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, max_length = 1024)]
    pub description: Option<String>,
    /// All its grants; they replace the current ones.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub grants: Option<Vec<NewGrant>>,
}
