//! Administrators.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An administrator: never the token or its digest.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Administrator {
    pub id: String,
    pub name: String,
    /// `viewer`, `operator` or `owner`.
    pub role: String,
    pub expires_at: Option<i64>,
    pub revoked_at: Option<i64>,
    pub created_at: i64,
}
