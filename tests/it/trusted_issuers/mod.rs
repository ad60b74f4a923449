//! `/admin/v1/trusted-issuers`: what may be said of a trusted issuer, and what rests on it.

use firman::testing::{TestIssuer, TestKey};
use insta::assert_snapshot;
use reqwest::Method;
use serde_json::{Value, json};

use crate::federated::{federate, github_issuer, key_set, trust, with};
use crate::oauth2::{Answers, audited, mail_issuer};

const URL: &str = "https://id.example.com/tenant";

async fn shown(issuer: &TestIssuer, name: &str) -> Value {
    let path = format!("/trusted-issuers/{name}");
    issuer.admin(Method::GET, &path, None).await.json()
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn a_definition_that_cannot_be_meant_is_refused_and_says_why() {
    let issuer = mail_issuer().await;
    let own = issuer.url.clone();
    let mut answers = Answers::default();
    for (case, url, further) in [
        ("our own URL", own.as_str(), json!({})),
        ("our own URL with a slash", &format!("{own}/"), json!({})),
        ("no URL", "id.example.com", json!({})),
        ("a query", "https://id.example.com/?a=b", json!({})),
        ("a user", "https://a:b@id.example.com/", json!({})),
        ("http elsewhere", "http://id.example.com/", json!({})),
        (
            "a control character",
            "https://id.example.com/\n",
            json!({}),
        ),
        (
            "a trust domain with a path",
            "spiffe://example.org/a",
            json!({}),
        ),
        (
            "a trust domain for subjects",
            "spiffe://example.org",
            json!({ "trust": ["subject"], "keys": { "type": "jwks_uri", "url": "https://bundle.example.org/" } }),
        ),
        (
            "a trust domain by discovery",
            "spiffe://example.org",
            json!({ "keys": { "type": "discovery" } }),
        ),
        (
            "no keys",
            URL,
            json!({ "keys": { "type": "inline", "jwks": { "keys": [] } } }),
        ),
        (
            "a private key",
            URL,
            json!({ "keys": { "type": "inline", "jwks": { "keys": [{ "kty": "oct", "k": "AA" }] } } }),
        ),
        ("a name that is none", URL, json!({ "name": "A b" })),
        (
            "a use that is none",
            URL,
            json!({ "trust": ["everything"] }),
        ),
        ("a policy that is none", URL, json!({ "jti": "twice" })),
        (
            "a life of two days",
            URL,
            json!({ "max_lifetime": 172_800 }),
        ),
        ("a life of nothing", URL, json!({ "max_lifetime": 0 })),
        ("no type", URL, json!({ "types": [] })),
        (
            "a type with its prefix",
            URL,
            json!({ "types": ["application/jwt"] }),
        ),
        ("an empty audience", URL, json!({ "audience": " " })),
        (
            "an empty claim",
            URL,
            json!({ "required_claims": { "tenant": "" } }),
        ),
        (
            "an attribute that is ours",
            URL,
            json!({ "claims": { "sub": "email" } }),
        ),
        ("an unknown member", URL, json!({ "believe": true })),
    ] {
        let answer = trust(&issuer, "x", url, further).await;
        let said = format!("{} {}", answer.status, answer.json()["detail"]);
        answers.add(case, &issuer, &said);
    }
    assert_snapshot!(answers, @r#"
    our own URL: 400 "url: is this issuer's own; its tokens are known without trust, and prove no client"
    our own URL with a slash: 400 "url: is this issuer's own; its tokens are known without trust, and prove no client"
    no URL: 400 "url: must be an https URL without query, fragment and user, exactly as in `iss`, or spiffe:// and a trust domain"
    a query: 400 "url: must be an https URL without query, fragment and user, exactly as in `iss`, or spiffe:// and a trust domain"
    a user: 400 "url: must be an https URL without query, fragment and user, exactly as in `iss`, or spiffe:// and a trust domain"
    http elsewhere: 400 "url: must begin with https://"
    a control character: 400 "url: is longer than 512 bytes, or holds a character that is not printable ASCII"
    a trust domain with a path: 400 "url: must be spiffe:// and a trust domain alone, such as spiffe://example.org"
    a trust domain for subjects: 400 "trust: a SPIFFE trust domain can only be trusted with client_auth: its tokens are about workloads"
    a trust domain by discovery: 400 "jwks: is missing: a trust domain has no discovery document; give its bundle with --jwks, or the address of its bundle endpoint with --jwks-uri"
    no keys: 400 "jwks: does not do: the key set has no usable key; put at least one public signature key in `keys`"
    a private key: 400 "jwks: does not do: `kty` oct is a shared secret, not a public key; use an EC, RSA or OKP key"
    a name that is none: 400 "name: holds a character outside a-z, 0-9, '-' and '.'; a name is made of labels of a-z, 0-9 and '-' joined by '.', such as team-a.triage-bot"
    a use that is none: 400 "trust: holds something else than client_auth, subject and actor"
    a policy that is none: 400 "jti: must be single-use or reusable"
    a life of two days: 400 "max_lifetime: must be 1 to 90000 seconds"
    a life of nothing: 400 "max_lifetime: must be 1 to 90000 seconds"
    no type: 400 "types: must be 1 to 16 media types without application/, such as JWT; the empty text stands for a token without typ"
    a type with its prefix: 400 "types: must be 1 to 16 media types without application/, such as JWT; the empty text stands for a token without typ"
    an empty audience: 400 "audience: is empty"
    an empty claim: 400 "required_claims: holds a claim whose name or value is empty, longer than 512 bytes, or has control characters"
    an attribute that is ours: 400 "claims: holds 'sub', a claim that the issuer sets itself"
    an unknown member: 400 "believe: unknown field `believe`, expected one of `name`, `url`, `description`, `audience`, `keys`, `trust`, `accept_act`, `max_lifetime`, `types`, `jti`, `required_claims`, `subject_claim`, `claims`"
    "#);
    let list = issuer.admin(Method::GET, "/trusted-issuers", None).await;
    assert_eq!(list.json()["items"], json!([]));
}

#[tokio::test]
async fn an_issuer_is_trusted_with_nothing_unless_it_is_said() {
    let issuer = mail_issuer().await;
    let added = trust(&issuer, "okta", URL, json!({ "trust": null })).await;
    assert_eq!(added.status, 201, "{added}");
    assert_eq!(added.header("location"), "/admin/v1/trusted-issuers/okta");
    let mut body = added.json();
    for name in ["id", "keys"] {
        assert!(!body[name].is_null());
        body[name] = json!(format!("[{name}]"));
    }
    let body = body.to_string().replace(&issuer.url, "ISSUER");
    assert_snapshot!(body, @r#"{"accept_act":false,"audience":"ISSUER","claims":{},"created_at":1800000000,"description":"","id":"[id]","jti":"single-use","keys":"[keys]","max_lifetime":3600,"name":"okta","required_claims":{},"subject_claim":"sub","trust":[],"types":["JWT"],"updated_at":1800000000,"url":"https://id.example.com/tenant","version":4,"warnings":["it is trusted with nothing yet; to say with what: firman trusted-issuer edit okta --trust client_auth"]}"#);
}

#[tokio::test]
async fn a_name_or_url_is_one_issuers_and_a_name_for_ever() {
    let issuer = mail_issuer().await;
    let mut answers = Answers::default();
    assert_eq!(trust(&issuer, "okta", URL, json!({})).await.status, 201);
    for (case, name, url) in [
        ("the same URL", "other", URL),
        ("the same name", "okta", "https://id.example.org"),
    ] {
        let answer = trust(&issuer, name, url, json!({})).await;
        answers.add(
            case,
            &issuer,
            &format!("{} {}", answer.status, answer.json()["detail"]),
        );
    }
    let gone = issuer
        .admin(Method::DELETE, "/trusted-issuers/okta", None)
        .await;
    assert_eq!(gone.status, 204, "{gone}");
    let answer = trust(&issuer, "okta", URL, json!({})).await;
    answers.add(
        "the name of one that was removed",
        &issuer,
        &format!("{} {}", answer.status, answer.json()["detail"]),
    );
    assert_eq!(trust(&issuer, "okta-2", URL, json!({})).await.status, 201);
    let answer = issuer
        .admin(Method::GET, "/trusted-issuers/okta", None)
        .await;
    answers.add(
        "the removed one",
        &issuer,
        &format!("{} {}", answer.status, answer.json()["detail"]),
    );
    assert_snapshot!(answers, @r#"
    the same URL: 409 "`https://id.example.com/tenant` is already trusted, as `okta`"
    the same name: 409 "the name `okta` belongs or belonged to another trusted issuer; subjects are named after it"
    the name of one that was removed: 409 "the name `okta` belongs or belonged to another trusted issuer; subjects are named after it"
    the removed one: 404 "there is no trusted issuer 'okta'"
    "#);
}

#[tokio::test]
async fn an_edit_changes_what_it_names_and_is_audited_with_both_values() {
    let issuer = github_issuer().await;
    let before = shown(&issuer, "github").await;
    let body =
        json!({ "jti": "reusable", "max_lifetime": 600, "trust": ["client_auth", "subject"] });
    let token = issuer.admin_token();
    let authorization = format!("Bearer {token}");
    let headers = |etag: &'static str| {
        [
            ("authorization", authorization.clone()),
            ("content-type", "application/json".to_owned()),
            ("if-match", etag.to_owned()),
        ]
    };
    let stale = headers("\"v1\"");
    let stale: Vec<(&str, &str)> = stale
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answer = issuer
        .admin_raw(
            Method::PATCH,
            "/trusted-issuers/github",
            &stale,
            body.to_string(),
        )
        .await;
    assert_eq!(answer.status, 412, "{answer}");
    let answer = issuer
        .admin(Method::PATCH, "/trusted-issuers/github", Some(&body))
        .await;
    assert_eq!(answer.status, 200, "{answer}");
    let after = answer.json();
    let expected = with(
        &before,
        json!({ "jti": "reusable", "max_lifetime": 600, "trust": ["client_auth", "subject"],
            "version": after["version"], "updated_at": after["updated_at"] }),
    );
    assert_eq!(after, expected);
    let entries = audited(&issuer, "trusted_issuer.changed").await;
    assert_snapshot!(entries[0].draft.detail, @r#"{"jti":{"from":"single-use","to":"reusable"},"max_lifetime":{"from":3600,"to":600},"subject":{"from":false,"to":true}}"#);
    // What is not changed is not audited.
    let again = issuer
        .admin(Method::PATCH, "/trusted-issuers/github", Some(&body))
        .await;
    assert_eq!(again.json()["version"], after["version"]);
    assert_eq!(audited(&issuer, "trusted_issuer.changed").await.len(), 1);
    let bad = json!({ "keys": { "type": "inline", "jwks": {} } });
    let answer = issuer
        .admin(Method::PATCH, "/trusted-issuers/github", Some(&bad))
        .await;
    assert_eq!(answer.status, 400, "{answer}");
    assert_eq!(shown(&issuer, "github").await, after);
}

#[tokio::test]
async fn an_issuer_that_credentials_rest_on_is_removed_by_force_alone() {
    let issuer = github_issuer().await;
    let refused = issuer
        .admin(Method::DELETE, "/trusted-issuers/github", None)
        .await;
    assert_eq!(refused.status, 409, "{refused}");
    assert_snapshot!(refused.json()["detail"], @r#""1 live federated credential and 0 delegations depend on the trusted issuer `github`; a forced removal revokes them""#);
    let gone = issuer
        .admin(Method::DELETE, "/trusted-issuers/github?force=true", None)
        .await;
    assert_eq!(gone.status, 204, "{gone}");
    let list = issuer
        .admin(Method::GET, "/agents/deployer/credentials", None)
        .await
        .json();
    assert_eq!(list["items"][0]["status"], "revoked");
    assert_eq!(audited(&issuer, "credential.revoked").await.len(), 1);
    assert_eq!(audited(&issuer, "trusted_issuer.removed").await.len(), 1);
    let verified = issuer.admin(Method::GET, "/audit/verify", None).await;
    assert_eq!(verified.status, 200, "{verified}");
}

#[tokio::test]
async fn lists_go_by_name_in_pages() {
    let issuer = mail_issuer().await;
    for name in ["c", "a", "b"] {
        let url = format!("https://{name}.example.com");
        assert_eq!(trust(&issuer, name, &url, json!({})).await.status, 201);
    }
    let names = |answer: &Value| -> Vec<String> {
        let items = answer["items"].as_array().cloned().unwrap_or_default();
        items
            .iter()
            .map(|item| item["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let first = issuer
        .admin(Method::GET, "/trusted-issuers?limit=2", None)
        .await
        .json();
    assert_eq!(names(&first), ["a", "b"]);
    let cursor = first["next_cursor"].as_str().expect("a cursor");
    let path = format!("/trusted-issuers?limit=2&cursor={cursor}");
    let second = issuer.admin(Method::GET, &path, None).await.json();
    assert_eq!(names(&second), ["c"]);
    assert!(second["next_cursor"].is_null());
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn a_federated_credential_that_cannot_be_meant_is_refused() {
    let issuer = github_issuer().await;
    let untrusted = trust(&issuer, "okta", URL, json!({ "trust": ["subject"] })).await;
    assert_eq!(untrusted.status, 201);
    let mut answers = Answers::default();
    let subject = json!({ "subject": "x" });
    for (case, body) in [
        (
            "no match",
            json!({ "kind": "federated", "trusted_issuer": "github" }),
        ),
        (
            "no issuer",
            json!({ "kind": "federated", "match": subject }),
        ),
        (
            "an empty match",
            json!({ "kind": "federated", "trusted_issuer": "github", "match": {} }),
        ),
        (
            "an empty prefix",
            json!({ "kind": "federated", "trusted_issuer": "github", "match": { "subject_prefix": "" } }),
        ),
        (
            "a subject and a prefix",
            json!({ "kind": "federated", "trusted_issuer": "github", "match": { "subject": "a", "subject_prefix": "a" } }),
        ),
        (
            "a condition that is none",
            json!({ "kind": "federated", "trusted_issuer": "github", "match": { "condition": "claims." } }),
        ),
        (
            "a condition that is always true",
            json!({ "kind": "federated", "trusted_issuer": "github", "match": { "condition": "true" } }),
        ),
        (
            "a stranger",
            json!({ "kind": "federated", "trusted_issuer": "gitlab", "match": subject }),
        ),
        (
            "one that is not trusted to prove agents",
            json!({ "kind": "federated", "trusted_issuer": "okta", "match": subject }),
        ),
        (
            "a key beside it",
            json!({ "kind": "federated", "trusted_issuer": "github", "match": subject, "pem": "x" }),
        ),
        (
            "a match beside a secret",
            json!({ "kind": "client_secret", "match": subject }),
        ),
    ] {
        let answer = issuer
            .admin(Method::POST, "/agents/deployer/credentials", Some(&body))
            .await;
        answers.add(
            case,
            &issuer,
            &format!("{} {}", answer.status, answer.json()["detail"]),
        );
    }
    let list = issuer
        .admin(Method::GET, "/agents/deployer/credentials", None)
        .await
        .json();
    let id = list["items"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/agents/deployer/credentials/{id}/rotate");
    let answer = issuer.admin(Method::POST, &path, None).await;
    answers.add(
        "a rotation",
        &issuer,
        &format!("{} {}", answer.status, answer.json()["detail"]),
    );
    assert_snapshot!(answers, @r#"
    no match: 400 "kind: is federated, which needs trusted_issuer and match and takes no jwk or pem"
    no issuer: 400 "kind: is federated, which needs trusted_issuer and match and takes no jwk or pem"
    an empty match: 400 "match: takes every token of the issuer; name a subject, a prefix of it, claims or a condition"
    an empty prefix: 400 "match: holds a subject that is empty or longer than 512 bytes"
    a subject and a prefix: 400 "match: names a subject and a prefix of it; give one of them"
    a condition that is none: 400 "match.condition: is not valid CEL: Syntax error: no viable alternative at input '.'"
    a condition that is always true: 400 "match.condition: is always true, so it accepts every token of the issuer"
    a stranger: 404 "there is no trusted issuer 'gitlab'"
    one that is not trusted to prove agents: 409 "the trusted issuer 'okta' is not trusted to prove agents; if it is to be, first: firman trusted-issuer edit okta --trust client_auth"
    a key beside it: 400 "kind: is federated, which needs trusted_issuer and match and takes no jwk or pem"
    a match beside a secret: 400 "kind: is client_secret, which is made here and takes no jwk, pem, trusted_issuer or match"
    a rotation: 409 "a federated credential holds nothing to rotate: its keys are the trusted issuer's; add another and revoke this one"
    "#);
}

#[tokio::test]
async fn a_federated_credential_is_shown_with_what_it_takes() {
    let issuer = mail_issuer().await;
    let further = json!({ "keys": { "type": "inline", "jwks": key_set(&[TestKey::Es256]) } });
    assert_eq!(trust(&issuer, "okta", URL, further).await.status, 201);
    let matching = json!({ "subject_prefix": "svc-", "claims": { "tenant": "t1" }, "condition": "claims.level > 2" });
    federate(&issuer, "worker", "okta", matching).await;
    let mut list = issuer
        .admin(Method::GET, "/agents/worker/credentials", None)
        .await
        .json();
    list["items"][0]["id"] = json!("[id]");
    assert_snapshot!(list["items"][0], @r#"{"created_at":1800000000,"expires_at":null,"id":"[id]","jwk":null,"kid":null,"kind":"federated","match":{"claims":{"tenant":"t1"},"condition":"claims.level > 2","subject_prefix":"svc-"},"not_before":1800000000,"revoked_at":null,"status":"live","thumbprint":null,"trusted_issuer":"okta"}"#);
}
