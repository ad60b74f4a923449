//! Claude Workload Identity Federation as its documentation describes it: the objects of its Admin API, the
//! evaluation of a token by a rule, the reasons for a denial, and the setup of one agent. Where the documentation
//! is silent, the code says "not documented" and implements the stricter reading, so that what passes here
//! passes at Claude.

pub mod checks;
mod custom_headers;
mod demands;
mod denial;
pub mod diagnose;
mod exchange;
mod formats;
mod jwks_source;
mod objects;
mod rule;
mod setup;
mod snippets;
mod warnings;

pub use super::cel::{CONDITION_MAX_BYTES, check_condition, evaluate_condition};
pub use custom_headers::CustomHeaders;
pub use denial::{Denial, Denied};
pub use exchange::{Accepted, Evaluation, ExchangeRequest, JWT_BEARER, evaluate};
pub use jwks_source::{JwksSource, check_ca_cert, check_dialled_url};
pub use objects::{
    FederationIssuer, FederationRule, PollStatus, RuleTarget, ServiceAccount, WorkspaceMembership,
    malformed_id,
};
pub use rule::{
    OAUTH_SCOPES, RuleMatch, access_token_lifetime, check_issuer, check_name, check_rule,
    check_token_lifetime, pair_name, rule_name,
};
pub use setup::{LinkedIds, Setup, is_team_rule};
pub use snippets::Snippet;
pub use warnings::{Warning, rule_warnings};

pub use crate::domain::claude_link::{
    IssuerObjectId, OrganizationId, RuleId, ServiceAccountId, WorkspaceId,
};

/// The default base URL of the SDKs and the exchange.
pub const BASE_URL: &str = "https://api.anthropic.com";
/// The audience that Claude expects for a rule without one. Its guides all name this value.
pub const EXPECTED_AUDIENCE: &str = "https://api.anthropic.com";
/// The API version that its examples send in the header `anthropic-version`.
pub const API_VERSION: &str = "2023-06-01";
/// The longest assertion that the exchange and both SDKs accept.
pub const ASSERTION_MAX_BYTES: usize = 16 * 1024;
/// Tolerance on `exp`, `nbf` and `iat`, in seconds.
pub const SKEW_SECONDS: i64 = 30;
/// How long Claude may use cached keys, in seconds: a key published within that time may be unknown.
pub const JWKS_CACHE_SECONDS: i64 = 60;
/// The default for the longest life of an assertion of an issuer, in seconds.
pub const DEFAULT_MAX_JWT_LIFETIME_SECONDS: i64 = 3600;
/// The longest life of an assertion that an issuer may be registered with: 49 hours.
pub const LONGEST_MAX_JWT_LIFETIME_SECONDS: i64 = 176_400;
/// The default lifetime of a rule's access tokens, in seconds.
pub const DEFAULT_TOKEN_LIFETIME_SECONDS: i64 = 3600;
/// The shortest life of an access token, in seconds.
pub const MIN_TOKEN_LIFETIME_SECONDS: i64 = 60;
/// The longest life of an access token, in seconds.
pub const MAX_TOKEN_LIFETIME_SECONDS: i64 = 86_400;
/// The longest name of a service account, issuer or rule.
pub const NAME_MAX_BYTES: usize = 255;
/// The signature algorithms that Claude accepts, which are those of [`crate::jose::ForeignAlgorithm`]. Neither
/// EdDSA nor HMAC is among them.
pub const ALGORITHMS: [&str; 9] = [
    "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
];
