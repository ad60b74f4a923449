//! The issuer metadata: OpenID Connect Discovery 1.0 §3 and RFC 8414 §2, one document for both. Lists come from
//! the enums that the code matches on, so that nothing unsupported is advertised. Nothing in it comes from the
//! request.

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::issuer::authenticate::ClientAuthMethod;
use crate::issuer::authorize::GrantType;
use crate::issuer::keyring::{JWKS_MAX_AGE_SECONDS, Rendered, SIGNED_WITH};
use crate::jose::algorithm::SigningAlgorithm;

use super::Shared;

/// The path of the issuer URL, without a trailing slash; empty for an issuer at the root.
pub(super) fn issuer_path(issuer: &str) -> String {
    url::Url::parse(issuer)
        .map(|url| url.path().trim_end_matches('/').to_owned())
        .unwrap_or_default()
}

/// The metadata document of an issuer.
pub(super) fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        // Client libraries require it, and some also require PKCE, before they request a token with any grant.
        "authorization_endpoint": format!("{issuer}/oauth2/authorize"),
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint": format!("{issuer}/oauth2/token"),
        "jwks_uri": format!("{issuer}/oauth2/jwks"),
        "grant_types_supported": GrantType::ALL.map(GrantType::as_str),
        "token_endpoint_auth_methods_supported": ClientAuthMethod::ALL.map(ClientAuthMethod::as_str),
        "token_endpoint_auth_signing_alg_values_supported": assertion_algorithms(),
        "dpop_signing_alg_values_supported": assertion_algorithms(),
        "introspection_endpoint": format!("{issuer}/oauth2/introspect"),
        "introspection_endpoint_auth_methods_supported": ClientAuthMethod::ALL.map(ClientAuthMethod::as_str),
        "introspection_endpoint_auth_signing_alg_values_supported": assertion_algorithms(),
        "revocation_endpoint": format!("{issuer}/oauth2/revoke"),
        "revocation_endpoint_auth_methods_supported": ClientAuthMethod::ALL.map(ClientAuthMethod::as_str),
        "revocation_endpoint_auth_signing_alg_values_supported": assertion_algorithms(),
        // Not a registered member, so the name has a prefix.
        "firman_revocation_list_uri": format!("{issuer}/oauth2/revocations"),
        // No `scopes_supported`: MCP clients request exactly what it lists instead of what is granted.
        // Client libraries require the next three; an ID token comes from the token endpoint here.
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": SIGNED_WITH.map(SigningAlgorithm::as_str),
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id", "scope", "groups", "roles", "owner", "sub_profile", "acting_agent",
            "act", "cnf", "txn", "parents", "delegations"
        ],
    })
}

/// The accepted signing algorithms of assertions and DPoP proofs; Ed25519 under both of its names (RFC 9864).
fn assertion_algorithms() -> Vec<&'static str> {
    SigningAlgorithm::ALL
        .iter()
        .map(|algorithm| algorithm.as_str())
        .chain(["Ed25519"])
        .collect()
}

pub(super) async fn discovery(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    public_document(&shared.metadata, JSON, &headers)
}

/// The media type of a public document, and how long a cache may serve it without revalidation, in seconds.
pub(super) type Kind = (&'static str, u32);

/// Discovery and key set.
pub(super) const JSON: Kind = ("application/json", JWKS_MAX_AGE_SECONDS);

/// Returns a public document: cacheable, with an entity tag, readable from any origin, without credentials.
pub(super) fn public_document(
    document: &Rendered,
    (content_type, max_age_seconds): Kind,
    headers: &HeaderMap,
) -> Response {
    let is_known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| matches(value, &document.etag));
    let mut response = if is_known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        (
            [(header::CONTENT_TYPE, content_type)],
            document.body.clone(),
        )
            .into_response()
    };
    let fields = response.headers_mut();
    fields.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    if let Ok(value) = HeaderValue::from_str(&format!("public, max-age={max_age_seconds}")) {
        fields.insert(header::CACHE_CONTROL, value);
    }
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        fields.insert(header::ETAG, etag);
    }
    response
}

/// RFC 9110 §13.1.2: a list of entity tags, or `*`; weak comparison.
fn matches(if_none_match: &str, etag: &str) -> bool {
    if_none_match
        .split(',')
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// Rejects any method but GET and HEAD on a public document.
pub(super) async fn read_only(method: Method) -> Response {
    let status = if method == Method::OPTIONS {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::METHOD_NOT_ALLOWED
    };
    let allow = [
        (header::ALLOW, "GET, HEAD"),
        (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
    ];
    if status == StatusCode::NO_CONTENT {
        return (status, allow).into_response();
    }
    let body =
        json!({ "error": "method_not_allowed", "error_description": "this document is read-only" });
    (status, allow, Json(body)).into_response()
}
