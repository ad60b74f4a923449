//! Errors, as RFC 9457 problem details.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A problem (RFC 9457 §3).
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// The kind of problem: `urn:firman:problem:` and its name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened and why.
    pub detail: String,
    /// The id of the request in the logs and in the audit.
    pub request_id: String,
    /// The member or parameter concerned, if one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The remedy, if there is one: a command line of firman or one action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
