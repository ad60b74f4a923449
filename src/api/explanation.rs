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
    /// False when it cannot get any token now.
    pub active: bool,
    /// Every resource that it may reach, and the requested one.
    pub resources: Vec<ExplainedResource>,
    /// The claims of the access token without its times and `jti`; `null` when the request is rejected.
    pub claims: Option<Value>,
    /// Why the request is rejected; `null` when it is not.
    pub refusal: Option<Refusal>,
    /// The live delegations: the subjects that it may act for by token exchange.
    pub delegations: Vec<Delegation>,
}

/// One resource, with the agent's scopes there.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ExplainedResource {
    pub resource: String,
    pub identifier: String,
    /// The ways in which the resource is granted; empty: it is not granted.
    pub through: Vec<Through>,
    pub granted: Vec<ExplainedScope>,
    pub not_granted: Vec<String>,
    /// Why a request that names the resource, with the requested scopes, gets no token; `null` when it gets one.
    pub refusal: Option<Refusal>,
}

/// A granted scope.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct ExplainedScope {
    pub scope: String,
    pub through: Vec<Through>,
}

/// The error that the token endpoint would return.
#[derive(Serialize, Deserialize, ToSchema)]
pub struct Refusal {
    pub error: String,
    pub error_description: String,
    /// The remedy: one command or one action.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}
