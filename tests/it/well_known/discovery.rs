//! DJ-001 to DJ-003, DJ-008, DJ-011 to DJ-014.

use firman::testing::{TestIssuer, TestKey, TestOptions};
use insta::assert_snapshot;
use reqwest::Method;

use super::assert_document_headers;
use crate::oauth2::{Distinct, grant_mail};

const DISCOVERY: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

async fn tenant() -> TestIssuer {
    let options = TestOptions {
        issuer_path: "/tenant".to_owned(),
        ..TestOptions::default()
    };
    TestIssuer::start_with(options).await
}

#[tokio::test]
async fn dj_001_an_issuer_with_a_path_is_itself_byte_for_byte_wherever_it_is_asked() {
    let issuer = tenant().await;
    grant_mail(&issuer).await;
    let whole = issuer.get("/tenant/.well-known/openid-configuration").await;
    assert_eq!(whole.status, 200);
    assert_document_headers(&whole);
    assert_eq!(whole.json()["issuer"], issuer.url);
    for path in [
        "/tenant//.well-known/openid-configuration",
        "/tenant/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/tenant",
    ] {
        let answer = issuer.get(path).await;
        assert_eq!(
            (answer.status, answer.text()),
            (200, whole.text()),
            "{path}"
        );
    }
    let mut seen = Distinct::default();
    for path in [
        DISCOVERY,
        OAUTH,
        "/tenant/.well-known/openid-configuration/",
        "/tenant",
        "/oauth2/jwks",
        "/tenant/tenant/oauth2/jwks",
    ] {
        seen.add(issuer.get(path).await);
    }
    assert_snapshot!(seen, @r#"404 {"error":"not_found","error_description":"there is nothing at this path"}"#);
    let agent = issuer
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    let answer = issuer.token_with(&agent.assertion().build()).await;
    assert_eq!(answer.claims()["iss"], issuer.url);
    let endpoints =
        ["token_endpoint", "jwks_uri"].map(|name| whole.json()[name].as_str().unwrap().to_owned());
    assert_eq!(
        endpoints,
        [
            format!("{}/oauth2/token", issuer.url),
            format!("{}/oauth2/jwks", issuer.url)
        ]
    );
}

#[tokio::test]
async fn dj_001_an_issuer_at_the_root_is_asked_with_one_slash_or_two() {
    let issuer = TestIssuer::start().await;
    let one = issuer.get(DISCOVERY).await;
    let two = issuer.get("//.well-known/openid-configuration").await;
    assert_eq!((one.status, one.text()), (two.status, two.text()));
    assert!(!issuer.url.ends_with('/'));
    assert_eq!(one.json()["issuer"], issuer.url);
}

#[tokio::test]
async fn dj_002_no_header_of_the_request_changes_the_document() {
    let issuer = TestIssuer::start().await;
    let plain = issuer.get(DISCOVERY).await;
    for headers in [
        [
            ("host", "evil.example"),
            ("x-forwarded-host", "evil.example"),
        ],
        [
            ("host", "evil.example:443"),
            ("forwarded", "host=evil.example;proto=https"),
        ],
        [
            ("x-forwarded-proto", "https"),
            ("x-forwarded-prefix", "/evil"),
        ],
        [("x-original-url", "/evil"), ("x-rewrite-url", "/evil")],
    ] {
        let answer = issuer.send(Method::GET, DISCOVERY, &headers, "").await;
        assert_eq!(answer.text(), plain.text(), "{headers:?}");
        assert_eq!(answer.header("etag"), plain.header("etag"));
    }
}

#[tokio::test]
async fn dj_003_the_document_advertises_what_works_and_nothing_else() {
    let issuer = TestIssuer::start().await;
    let answer = issuer.get(DISCOVERY).await;
    assert_document_headers(&answer);
    assert_snapshot!(answer.to_string().replace(&issuer.url, "ISSUER"), @r#"200 {"authorization_endpoint":"ISSUER/oauth2/authorize","claims_supported":["iss","sub","aud","exp","iat","nbf","jti","client_id","scope","groups","roles","owner","sub_profile","acting_agent","act","cnf","txn","parents","delegations"],"code_challenge_methods_supported":["S256"],"dpop_signing_alg_values_supported":["ES256","ES384","RS256","PS256","EdDSA","Ed25519"],"firman_revocation_list_uri":"ISSUER/oauth2/revocations","grant_types_supported":["client_credentials","urn:ietf:params:oauth:grant-type:token-exchange"],"id_token_signing_alg_values_supported":["ES256","RS256"],"introspection_endpoint":"ISSUER/oauth2/introspect","introspection_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt","spiffe_jwt"],"introspection_endpoint_auth_signing_alg_values_supported":["ES256","ES384","RS256","PS256","EdDSA","Ed25519"],"issuer":"ISSUER","jwks_uri":"ISSUER/oauth2/jwks","response_types_supported":["id_token"],"revocation_endpoint":"ISSUER/oauth2/revoke","revocation_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt","spiffe_jwt"],"revocation_endpoint_auth_signing_alg_values_supported":["ES256","ES384","RS256","PS256","EdDSA","Ed25519"],"subject_types_supported":["public"],"token_endpoint":"ISSUER/oauth2/token","token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post","private_key_jwt","spiffe_jwt"],"token_endpoint_auth_signing_alg_values_supported":["ES256","ES384","RS256","PS256","EdDSA","Ed25519"]}"#);
}

#[tokio::test]
async fn dj_011_a_browser_of_another_origin_may_read_it_without_credentials() {
    let issuer = TestIssuer::start().await;
    let origin = [("origin", "https://app.example"), ("cookie", "session=1")];
    for path in [DISCOVERY, OAUTH, "/oauth2/jwks"] {
        let answer = issuer.send(Method::GET, path, &origin, "").await;
        assert_document_headers(&answer);
        let preflight = [
            ("origin", "https://app.example"),
            ("access-control-request-method", "GET"),
        ];
        let answer = issuer.send(Method::OPTIONS, path, &preflight, "").await;
        assert_eq!((answer.status, answer.text().as_str()), (204, ""));
        let names = [
            "access-control-allow-origin",
            "access-control-allow-methods",
            "access-control-allow-credentials",
            "access-control-allow-headers",
        ];
        assert_eq!(
            names.map(|name| answer.header(name)),
            ["*", "GET, HEAD", "", ""]
        );
    }
}

#[tokio::test]
async fn dj_012_head_conditional_range_and_query_are_answered_in_order() {
    let issuer = TestIssuer::start().await;
    let mut seen = Distinct::default();
    for path in [DISCOVERY, OAUTH, "/oauth2/jwks"] {
        let whole = issuer.get(path).await;
        let etag = whole.header("etag").to_owned();
        let head = issuer.send(Method::HEAD, path, &[], "").await;
        assert_document_headers(&head);
        assert_eq!(
            (head.status, head.text().as_str(), head.header("etag")),
            (200, "", etag.as_str())
        );
        assert_eq!(head.header("content-length"), whole.body.len().to_string());

        for known in [
            etag.clone(),
            format!("W/{etag}"),
            format!("\"x\", {etag}"),
            "*".to_owned(),
        ] {
            let answer = issuer
                .send(Method::GET, path, &[("if-none-match", &known)], "")
                .await;
            assert_eq!(
                (answer.status, answer.text().as_str(), answer.header("etag")),
                (304, "", etag.as_str()),
                "{known}"
            );
            assert_eq!(answer.header("cache-control"), "public, max-age=300");
        }
        for other in ["\"x\"", "x", "\"", ""] {
            let answer = issuer
                .send(Method::GET, path, &[("if-none-match", other)], "")
                .await;
            assert_eq!(
                (answer.status, answer.text()),
                (200, whole.text()),
                "{other}"
            );
        }
        for range in ["bytes=0-9", "bytes=5-1", "bytes=999999999-", "lines=1"] {
            let answer = issuer
                .send(Method::GET, path, &[("range", range)], "")
                .await;
            assert_eq!(
                (answer.status, answer.text()),
                (200, whole.text()),
                "{range}"
            );
        }
        for query in ["?x=1", "?%zz", "?resource=https://evil.example", "?"] {
            let answer = issuer.get(&format!("{path}{query}")).await;
            assert_eq!(
                (answer.status, answer.text()),
                (200, whole.text()),
                "{query}"
            );
        }
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            let answer = issuer.send(method, path, &[], "").await;
            assert_eq!(answer.header("allow"), "GET, HEAD");
            seen.add(&answer);
        }
    }
    assert_snapshot!(seen, @r#"405 {"error":"method_not_allowed","error_description":"this document is read-only"}"#);
}

#[tokio::test]
async fn dj_013_the_oauth_metadata_is_the_same_document() {
    let issuer = TestIssuer::start().await;
    let (openid, oauth) = (issuer.get(DISCOVERY).await, issuer.get(OAUTH).await);
    assert_eq!((oauth.status, oauth.text()), (200, openid.text()));
    assert_eq!(oauth.header("etag"), openid.header("etag"));
}

#[tokio::test]
async fn dj_014_an_unknown_path_is_a_plain_404_that_says_nothing_of_the_program() {
    let issuer = TestIssuer::start().await;
    let mut seen = Distinct::default();
    for path in [
        "/.well-known/unknown",
        "/.well-known/",
        "/.well-known/openid-configuration/x",
        "/.well-known/OPENID-CONFIGURATION",
        "/.well-known/..%2f..%2fetc%2fpasswd",
        "/",
        "/oauth2",
        "/oauth2/token/",
        "/oauth2/authorize/",
        "/admin/v1/agents",
        "/%00",
        "/%ff",
        "/.env",
    ] {
        let answer = issuer.get(path).await;
        seen.add(&answer);
        assert_eq!(
            [
                answer.header("cache-control"),
                answer.header("content-type"),
                answer.header("server")
            ],
            ["no-store", "application/json", ""]
        );
    }
    assert_snapshot!(seen, @r#"404 {"error":"not_found","error_description":"there is nothing at this path"}"#);
}

#[tokio::test]
async fn the_process_says_that_it_is_up() {
    let issuer = TestIssuer::start().await;
    let answer = issuer.get("/healthz").await;
    assert_snapshot!(answer, @r#"200 {"status":"ok"}"#);
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// What each library requires of the document before it is of use, by its source: those members that are
/// missing stop the library, whichever grant is used.
const REQUIRED: &[(&str, &[&str])] = &[
    (
        "OpenID Connect Discovery 1.0 section 3",
        &[
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "response_types_supported",
            "subject_types_supported",
            "id_token_signing_alg_values_supported",
        ],
    ),
    (
        "MCP TypeScript SDK",
        &[
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "response_types_supported",
        ],
    ),
    (
        "MCP Python SDK",
        &["issuer", "authorization_endpoint", "token_endpoint"],
    ),
    (
        "MCP Go SDK",
        &[
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "code_challenge_methods_supported",
        ],
    ),
    (
        "openidconnect (Rust)",
        &[
            "issuer",
            "authorization_endpoint",
            "jwks_uri",
            "response_types_supported",
            "subject_types_supported",
            "id_token_signing_alg_values_supported",
        ],
    ),
    (
        "Spring Security, Nimbus",
        &[
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "subject_types_supported",
            "id_token_signing_alg_values_supported",
            "token_endpoint_auth_methods_supported",
        ],
    ),
    (
        "AWS IAM",
        &[
            "issuer",
            "jwks_uri",
            "claims_supported",
            "response_types_supported",
            "subject_types_supported",
            "id_token_signing_alg_values_supported",
        ],
    ),
    ("go-oidc, zitadel/oidc, Kubernetes", &["issuer", "jwks_uri"]),
    ("openid-client", &["issuer", "token_endpoint"]),
];

#[tokio::test]
async fn client_libraries_find_every_member_that_they_require() {
    let issuer = tenant().await;
    for path in [
        "/tenant/.well-known/openid-configuration",
        "/tenant/.well-known/oauth-authorization-server",
    ] {
        let document = issuer.get(path).await.json();
        // The MCP SDK for Python requests all scopes that are listed here when a server names none: the
        // scopes of resources are for those who hold them to know.
        assert_eq!(document["scopes_supported"], serde_json::Value::Null);
        for (library, members) in REQUIRED {
            for member in *members {
                let value = &document[member];
                let is_said = value.as_array().map_or_else(
                    || {
                        let text = value.as_str().unwrap_or_default();
                        text == issuer.url || text.starts_with(&format!("{}/", issuer.url))
                    },
                    |values| !values.is_empty(),
                );
                assert!(is_said, "{library} requires {member}: {value}");
            }
        }
    }
}
