//! What an agent would get, and why.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::agent::Through;
use super::delegation::Delegation;

/// What an agent would get, and why.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Explanation {
    pub agent: String,
    /// Whether it may get tokens at all.
    pub active: bool,
    /// What it may reach, and the resource asked for.
    pub resources: Vec<ExplainedResource>,
    /// The claims of the access token without its times and `jti`; `null` when it is refused.
    pub claims: Option<Value>,
    /// Why no token would be given; `null` when one would.
    pub refusal: Option<Refusal>,
    /// The delegations that hold now: for whom it may act by token exchange.
    pub delegations: Vec<Delegation>,
}

/// One resource as an agent may reach it.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ExplainedResource {
    pub resource: String,
    pub identifier: String,
    /// The ways in which the resource is granted; none: it is not.
    pub through: Vec<Through>,
    pub granted: Vec<ExplainedScope>,
    pub not_granted: Vec<String>,
    /// Why a request that names the resource, with the scopes asked for, gets no token; `null` when it gets
    /// one.
    pub refusal: Option<Refusal>,
}

/// A granted scope.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ExplainedScope {
    pub scope: String,
    pub through: Vec<Through>,
}

/// The error that the token endpoint would give.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    pub error: String,
    pub error_description: String,
    /// One command or one action that helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
