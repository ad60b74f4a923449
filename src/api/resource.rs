//! Resources.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::edit::present;

/// An audience of access tokens.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Resource {
    pub id: String,
    pub name: String,
    /// The value of `aud`.
    pub identifier: String,
    pub description: String,
    /// `generic` or `claude`.
    pub profile: String,
    pub scopes: Vec<String>,
    /// Its own default lifetime of tokens in seconds; `null`: the profile's or issuer's default.
    pub lifetime: Option<i64>,
    /// Its own algorithm; `null`: the default.
    pub algorithm: Option<String>,
    /// Its own `typ` header of tokens; `null`: the profile's default.
    pub typ: Option<String>,
    /// The lifetime in seconds of a token without `expires_in` in the request.
    pub token_lifetime: i64,
    /// The algorithm that signs its tokens.
    pub token_algorithm: String,
    /// The `typ` header of its tokens: `at+jwt` (RFC 9068) or `JWT`.
    pub token_typ: String,
    /// Whether its tokens may be made by token exchange, as set; `null`: the profile's default.
    pub allow_delegation: Option<bool>,
    /// Whether its tokens may be made by token exchange.
    pub delegation_allowed: bool,
    /// Name of the agent that is the resource server; `null`: none.
    pub server: Option<String>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449).
    pub dpop_required: bool,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: i64,
}

/// A request to create a resource.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewResource {
    #[schema(pattern = "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length = 128)]
    pub name: String,
    /// An absolute URI; optional with profile `claude`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identifier: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 1024)]
    pub description: Option<String>,
    /// `generic` (the default) or `claude`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(generic|claude)$")]
    pub profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Lifetime of its tokens in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 60, maximum = 43_200)]
    pub lifetime: Option<i64>,
    /// `ES256` or `RS256`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^(ES256|RS256)$")]
    pub algorithm: Option<String>,
    /// The `typ` header of its tokens: `at+jwt` (RFC 9068) or `JWT`; omitted: `at+jwt` with profile `generic`,
    /// `JWT` with profile `claude`, which accepts no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(pattern = r"^(at\+jwt|JWT)$")]
    pub typ: Option<String>,
    /// Whether its tokens may be made by token exchange; omitted: yes with profile `generic`, otherwise no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow_delegation: Option<bool>,
    /// Name of the agent that is the resource server: it may introspect tokens for the resource, and exchange
    /// tokens that it received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449); omitted: no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dpop_required: Option<bool>,
}

/// An edit of a resource. Omitted members keep their values.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResourceEdit {
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false, max_length = 1024)]
    pub description: Option<String>,
    /// All its scopes; they replace the current ones.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub scopes: Option<Vec<String>>,
    /// Lifetime of its tokens in seconds; `null`: the default.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<i64>, minimum = 60, maximum = 43_200)]
    pub lifetime: Option<Option<i64>>,
    /// `ES256` or `RS256`; `null`: the default.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>, pattern = "^(ES256|RS256)$")]
    pub algorithm: Option<Option<String>>,
    /// The `typ` header of its tokens: `at+jwt` (RFC 9068) or `JWT`; `null`: the profile's default.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>, pattern = r"^(at\+jwt|JWT)$")]
    pub typ: Option<Option<String>>,
    /// Whether its tokens may be made by token exchange; `null`: the profile's default.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<bool>)]
    pub allow_delegation: Option<Option<bool>>,
    /// Name of the agent that is the resource server; `null`: none.
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(value_type = Option<String>)]
    pub server: Option<Option<String>>,
    /// Whether its tokens must be bound to a key (DPoP, RFC 9449).
    #[serde(
        default,
        deserialize_with = "present",
        skip_serializing_if = "Option::is_none"
    )]
    #[schema(nullable = false)]
    pub dpop_required: Option<bool>,
}
