//! Administrators.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::edit::present;

/// An administrator, without the token or its digest.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Administrator {
    pub id: String,
    pub name: String,
    /// `viewer`, `operator` or `owner`.
    pub role: String,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub created_at: i64,
    #[serde(default)]
    pub version: i64,
}

/// A request to create an administrator.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAdministrator {
    #[schema(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length = 128)]
    pub name: String,
    /// `viewer`, `operator` or `owner`.
    #[schema(pattern = "^(viewer|operator|owner)$")]
    pub role: String,
    /// Seconds until its token expires.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 315_360_000)]
    pub expires_in: Option<i64>,
}

/// An edit of an administrator. Omitted members keep their values.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdministratorEdit {
    /// `viewer`, `operator` or `owner`.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, pattern = "^(viewer|operator|owner)$")]
    pub role: Option<String>,
    /// Seconds until its token expires; `null`: never.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 315_360_000)]
    pub expires_in: Option<Option<i64>>,
}

/// A request for a new token. The old one is revoked at once.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AdministratorRotation {
    /// Seconds until the new token expires; omitted: the expiry does not change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 315_360_000)]
    pub expires_in: Option<i64>,
}

/// An administrator with its new token.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct AdministratorToken {
    pub administrator: Administrator,
    /// The bearer token, shown only once.
    pub token: String,
}
