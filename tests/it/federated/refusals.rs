//! Tokens that do not authenticate any agent. A fault is named once the signature is valid; a client that
//! cannot sign gets the general answer.

use insta::assert_snapshot;

use super::*;
use crate::oauth2::{Answers, REFUSED, assert_tokens_issued, audited_in_time};

/// Presents a token of GitHub with these claims changed.
async fn refused(issuer: &TestIssuer, answers: &mut Answers, case: &str, changes: Value) {
    let claims = with(&github_claims(&issuer.url), changes);
    let token = signed(TestKey::Rs256, Some("JWT"), &claims);
    let answer = present(issuer, None, &token).await;
    answers.add(case, issuer, &refusal(&answer));
}

#[tokio::test]
async fn a_token_for_another_party_is_refused() {
    let issuer = github_issuer().await;
    let mut answers = Answers::default();
    let own = issuer.url.clone();
    for (case, aud) in [
        ("another audience", json!("https://github.com/octo-org")),
        ("ours with a slash", json!(format!("{own}/"))),
        ("the token endpoint", json!(format!("{own}/oauth2/token"))),
        (
            "an array with a stranger",
            json!([own, "https://other.example"]),
        ),
        ("an array of a stranger", json!(["https://other.example"])),
        ("none", Value::Null),
    ] {
        refused(&issuer, &mut answers, case, json!({ "aud": aud })).await;
    }
    assert_snapshot!(answers, @r#"
    another audience: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER alone"}
    ours with a slash: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER alone"}
    the token endpoint: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER alone"}
    an array with a stranger: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER alone"}
    an array of a stranger: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER alone"}
    none: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER alone"}
    "#);
    assert_tokens_issued(&issuer, 0).await;
    let alone = with(&github_claims(&own), json!({ "aud": [own] }));
    let token = signed(TestKey::Rs256, Some("JWT"), &alone);
    let _ = present(&issuer, None, &token).await.assert_issued();
}

#[tokio::test]
async fn another_repository_a_fork_and_a_renamed_owner_are_refused() {
    let issuer = github_issuer().await;
    let mut answers = Answers::default();
    for (case, changes) in [
        (
            "another repository",
            json!({ "repository": "octo-org/other", "repository_id": "75", "sub": "repo:octo-org/other:environment:prod" }),
        ),
        (
            "a fork",
            json!({ "repository": "mallory/octo-repo", "repository_owner": "mallory", "repository_owner_id": "99",
                "sub": "repo:mallory/octo-repo:environment:prod" }),
        ),
        (
            "the name of an owner that was given up, taken by another",
            json!({ "repository_owner_id": "99" }),
        ),
        (
            "another environment",
            json!({ "environment": "staging", "sub": "repo:octo-org/octo-repo:environment:staging" }),
        ),
        (
            "no environment, a pull request",
            json!({ "environment": null, "sub": "repo:octo-org/octo-repo:pull_request", "event_name": "pull_request" }),
        ),
        (
            "an owner's number that is a number",
            json!({ "repository_owner_id": 65 }),
        ),
    ] {
        refused(&issuer, &mut answers, case, changes).await;
    }
    assert_snapshot!(answers, @r#"
    another repository: 401 {"error":"invalid_client","error_description":"no agent has a live federated credential that matches the token of the trusted issuer `github` with the subject repo:octo-org/other:environment:prod"}
    a fork: 401 {"error":"invalid_client","error_description":"no agent has a live federated credential that matches the token of the trusted issuer `github` with the subject repo:mallory/octo-repo:environment:prod"}
    the name of an owner that was given up, taken by another: 401 {"error":"invalid_client","error_description":"no agent has a live federated credential that matches the token of the trusted issuer `github` with the subject repo:octo-org/octo-repo:environment:prod"}
    another environment: 401 {"error":"invalid_client","error_description":"no agent has a live federated credential that matches the token of the trusted issuer `github` with the subject repo:octo-org/octo-repo:environment:staging"}
    no environment, a pull request: 401 {"error":"invalid_client","error_description":"no agent has a live federated credential that matches the token of the trusted issuer `github` with the subject repo:octo-org/octo-repo:pull_request"}
    an owner's number that is a number: 401 {"error":"invalid_client","error_description":"no agent has a live federated credential that matches the token of the trusted issuer `github` with the subject repo:octo-org/octo-repo:environment:prod"}
    "#);
    assert_tokens_issued(&issuer, 0).await;
}

#[tokio::test]
async fn a_run_is_accepted_once() {
    let issuer = github_issuer().await;
    let token = signed(TestKey::Rs256, Some("JWT"), &github_claims(&issuer.url));
    let _ = present(&issuer, None, &token).await.assert_issued();
    assert_snapshot!(refusal(&present(&issuer, None, &token).await), @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
    let mut answers = Answers::default();
    refused(&issuer, &mut answers, "no jti", json!({ "jti": null })).await;
    assert_snapshot!(answers, @r#"no jti: 401 {"error":"invalid_client","error_description":"`jti` is required, with 1 to 256 bytes: each token of the trusted issuer `github` is accepted once"}"#);
    assert_tokens_issued(&issuer, 1).await;
}

#[tokio::test]
async fn times_and_types_that_are_not_agreed_are_refused() {
    let issuer = github_issuer().await;
    let mut answers = Answers::default();
    for (case, changes) in [
        ("expired", json!({ "exp": START - 60 })),
        ("not yet valid", json!({ "nbf": START + 120 })),
        ("made in the future", json!({ "iat": START + 120 })),
        ("an hour and a second", json!({ "exp": START + 3601 })),
        ("without exp", json!({ "exp": null })),
    ] {
        refused(&issuer, &mut answers, case, changes).await;
    }
    for typ in [None, Some("at+jwt"), Some("logout+jwt")] {
        let token = signed(TestKey::Rs256, typ, &github_claims(&issuer.url));
        let answer = present(&issuer, None, &token).await;
        answers.add(&format!("typ {typ:?}"), &issuer, &refusal(&answer));
    }
    assert_snapshot!(answers, @r#"
    expired: 401 {"error":"invalid_client","error_description":"the token has expired (`exp`); make a new one, and check the clock of the machine that makes it"}
    not yet valid: 401 {"error":"invalid_client","error_description":"the token is not valid yet (`nbf`); check the clock of the machine that makes it"}
    made in the future: 401 {"error":"invalid_client","error_description":"the token was issued in the future (`iat`); check the clock of the machine that makes it"}
    an hour and a second: 401 {"error":"invalid_client","error_description":"the token's lifetime exceeds the 3600 seconds that the trusted issuer `github` is allowed"}
    without exp: 401 {"error":"invalid_client","error_description":"`exp` is missing; state when the token expires"}
    typ None: 401 {"error":"invalid_client","error_description":"`typ` must be JWT for tokens of the trusted issuer `github`"}
    typ Some("at+jwt"): 401 {"error":"invalid_client","error_description":"`typ` must be JWT for tokens of the trusted issuer `github`"}
    typ Some("logout+jwt"): 401 {"error":"invalid_client","error_description":"`typ` must be JWT for tokens of the trusted issuer `github`"}
    "#);
    assert_tokens_issued(&issuer, 0).await;
}

#[tokio::test]
async fn a_claim_that_every_token_must_have_is_asked_for() {
    let issuer = github_issuer().await;
    let body = json!({ "required_claims": { "repository_owner_id": "65", "runner_environment": "github-hosted" } });
    let edited = issuer
        .admin(Method::PATCH, "/trusted-issuers/github", Some(&body))
        .await;
    assert_eq!(edited.status, 200, "{edited}");
    let mut answers = Answers::default();
    for (case, changes) in [
        ("another", json!({ "runner_environment": "self-hosted" })),
        ("none", json!({ "runner_environment": null })),
    ] {
        refused(&issuer, &mut answers, case, changes).await;
    }
    assert_snapshot!(answers, @r#"
    another: 401 {"error":"invalid_client","error_description":"the token does not have the claims that are required of the trusted issuer `github`: runner_environment"}
    none: 401 {"error":"invalid_client","error_description":"the token does not have the claims that are required of the trusted issuer `github`: runner_environment"}
    "#);
    let token = signed(TestKey::Rs256, Some("JWT"), &github_claims(&issuer.url));
    let _ = present(&issuer, None, &token).await.assert_issued();
}

#[tokio::test]
async fn a_client_that_cannot_sign_for_a_trusted_issuer_learns_nothing() {
    let issuer = github_issuer().await;
    let good = github_claims(&issuer.url);
    let stranger = with(&good, json!({ "iss": "https://issuer.evil.example" }));
    let similar = with(&good, json!({ "iss": format!("{GITHUB}/") }));
    let nameless = with(&good, json!({ "iss": null }));
    for (case, token) in [
        ("another key", signed(TestKey::Es256, Some("JWT"), &good)),
        (
            "an issuer that is not trusted",
            signed(TestKey::Rs256, Some("JWT"), &stranger),
        ),
        (
            "an issuer that is spelled alike",
            signed(TestKey::Rs256, Some("JWT"), &similar),
        ),
        ("no issuer", signed(TestKey::Rs256, Some("JWT"), &nameless)),
    ] {
        let answer = present(&issuer, None, &token).await;
        assert_eq!(refusal(&answer), REFUSED, "{case}");
        let answer = present(&issuer, Some("deployer"), &token).await;
        assert_eq!(refusal(&answer), REFUSED, "{case}");
    }
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(reasons(&issuer, 8).await, @r#"
    "" {"count":1,"reason":"`iss` of the assertion is missing"}
    "" {"count":1,"reason":"no key of the token's issuer verifies it: `github`, `alg` ES256, `kid` `f_ZFPp0YAqjqxTXuerjX3YIwoBDgueJDadHZlvUH4O4`"}
    "" {"count":1,"reason":"the token's issuer is not trusted: `iss` is `https://issuer.evil.example`"}
    "" {"count":1,"reason":"the token's issuer is not trusted: `iss` is `https://token.actions.githubusercontent.com/`"}
    "deployer" {"count":1,"reason":"`iss` of the assertion is missing"}
    "deployer" {"count":1,"reason":"no key of the token's issuer verifies it: `github`, `alg` ES256, `kid` `f_ZFPp0YAqjqxTXuerjX3YIwoBDgueJDadHZlvUH4O4`"}
    "deployer" {"count":1,"reason":"the token's issuer is not trusted: `iss` is `https://issuer.evil.example`"}
    "deployer" {"count":1,"reason":"the token's issuer is not trusted: `iss` is `https://token.actions.githubusercontent.com/`"}
    "#);
}

#[tokio::test]
async fn the_operator_sees_what_a_client_with_a_good_token_was_told() {
    let issuer = github_issuer().await;
    let mut answers = Answers::default();
    let other = json!({ "aud": "https://other.example" });
    refused(&issuer, &mut answers, "audience", other).await;
    let other = json!({ "repository": "octo-org/other", "sub": "repo:octo-org/other:x" });
    refused(&issuer, &mut answers, "repository", other).await;
    assert_snapshot!(reasons(&issuer, 2).await, @r#"
    "" {"count":1,"reason":"`aud` must be ISSUER alone"}
    "repo:octo-org/other:x" {"count":1,"reason":"no agent has a live federated credential that matches the token of the trusted issuer `github` with the subject repo:octo-org/other:x"}
    "#);
}

/// The reasons of refusals in the audit, with what they are about.
async fn reasons(issuer: &TestIssuer, count: usize) -> String {
    issuer.issuer().flush_refusals();
    let entries = audited_in_time(issuer, "client.refused", count).await;
    let mut reasons: Vec<String> = entries
        .iter()
        .map(|entry| format!("{:?} {}", entry.draft.target, entry.draft.detail))
        .collect();
    reasons.sort();
    reasons.join("\n").replace(&issuer.url, "ISSUER")
}

#[tokio::test]
async fn an_issuer_that_is_not_trusted_to_prove_agents_proves_none() {
    let issuer = github_issuer().await;
    let body = json!({ "trust": ["subject", "actor"] });
    let edited = issuer
        .admin(Method::PATCH, "/trusted-issuers/github", Some(&body))
        .await;
    assert_eq!(edited.status, 200, "{edited}");
    let token = signed(TestKey::Rs256, Some("JWT"), &github_claims(&issuer.url));
    assert_eq!(refusal(&present(&issuer, None, &token).await), REFUSED);
}

#[tokio::test]
async fn two_agents_for_one_workload_make_it_say_which() {
    let issuer = github_issuer().await;
    let matching = json!({ "subject_prefix": "repo:octo-org/octo-repo:" });
    federate(&issuer, "auditor", "github", matching).await;
    let token = |jti: &str| {
        let claims = with(&github_claims(&issuer.url), json!({ "jti": jti }));
        signed(TestKey::Rs256, Some("JWT"), &claims)
    };
    assert_snapshot!(refusal(&present(&issuer, None, &token("1")).await), @r#"401 {"error":"invalid_client","error_description":"several agents have a federated credential that matches; send `client_id`. This is the token of the trusted issuer `github` with the subject repo:octo-org/octo-repo:environment:prod"}"#);
    for (jti, name) in [("1", "deployer"), ("2", "auditor")] {
        let answer = present(&issuer, Some(name), &token(jti)).await;
        assert_eq!(answer.claims()["sub"], format!("agent:{name}"));
    }
    // A switched-off agent does not hand its workload to the other one.
    let suspended = issuer
        .admin(Method::POST, "/agents/deployer/suspend", None)
        .await;
    assert_eq!(suspended.status, 200, "{suspended}");
    let answer = present(&issuer, None, &token("3")).await;
    assert!(refusal(&answer).contains("send `client_id`"));
}

#[tokio::test]
async fn a_client_id_that_the_token_is_not_for_and_one_that_is_not_registered_get_the_same_answer()
{
    let issuer = github_issuer().await;
    let other = json!({ "claims": { "repository": "octo-org/other" } });
    federate(&issuer, "other", "github", other).await;
    let token = signed(TestKey::Rs256, Some("JWT"), &github_claims(&issuer.url));
    let known = refusal(&present(&issuer, Some("other"), &token).await);
    let unknown = refusal(&present(&issuer, Some("nobody"), &token).await);
    assert_eq!(known, unknown);
    assert_snapshot!(known, @r#"401 {"error":"invalid_client","error_description":"no live federated credential of the client that `client_id` names matches the token of the trusted issuer `github` with the subject repo:octo-org/octo-repo:environment:prod"}"#);
    let entries = {
        issuer.issuer().flush_refusals();
        audited_in_time(&issuer, "client.refused", 2).await
    };
    let targets: Vec<&str> = entries
        .iter()
        .map(|entry| entry.draft.target.as_str())
        .collect();
    assert_eq!(targets, ["nobody", "other"]);
}

#[tokio::test]
async fn a_suspended_agent_and_a_revoked_credential_get_nothing() {
    let issuer = github_issuer().await;
    let token = signed(TestKey::Rs256, Some("JWT"), &github_claims(&issuer.url));
    let done = issuer
        .admin(Method::POST, "/agents/deployer/suspend", None)
        .await;
    assert_eq!(done.status, 200, "{done}");
    assert_eq!(refusal(&present(&issuer, None, &token).await), REFUSED);
    let done = issuer
        .admin(Method::POST, "/agents/deployer/resume", None)
        .await;
    assert_eq!(done.status, 200, "{done}");
    let list = issuer
        .admin(Method::GET, "/agents/deployer/credentials", None)
        .await
        .json();
    let id = list["items"][0]["id"].as_str().expect("an id").to_owned();
    let path = format!("/agents/deployer/credentials/{id}/revoke");
    let done = issuer.admin(Method::POST, &path, None).await;
    assert_eq!(done.status, 200, "{done}");
    assert_snapshot!(refusal(&present(&issuer, None, &token).await), @r#"401 {"error":"invalid_client","error_description":"no agent has a live federated credential that matches the token of the trusted issuer `github` with the subject repo:octo-org/octo-repo:environment:prod"}"#);
    assert_tokens_issued(&issuer, 0).await;
}

#[tokio::test]
async fn a_condition_is_asked_and_one_that_fails_does_not_hold() {
    let issuer = github_issuer().await;
    let matching = json!({
        "condition": "claims.repository == 'octo-org/nightly' && claims.run_number.startsWith('1')",
    });
    federate(&issuer, "nightly", "github", matching).await;
    let token = |changes: Value| {
        let claims = with(&github_claims(&issuer.url), changes);
        signed(TestKey::Rs256, Some("JWT"), &claims)
    };
    let good = token(json!({ "repository": "octo-org/nightly" }));
    let answer = present(&issuer, None, &good).await;
    assert_eq!(answer.claims()["sub"], "agent:nightly");
    for changes in [
        json!({ "repository": "octo-org/nightly", "run_number": "20", "jti": "b" }),
        json!({ "repository": "octo-org/nightly", "run_number": null, "jti": "c" }),
        json!({ "repository": "octo-org/nightly", "run_number": 10, "jti": "d" }),
    ] {
        let answer = present(&issuer, Some("nightly"), &token(changes)).await;
        assert!(refusal(&answer).contains("no live federated credential"));
    }
}

#[tokio::test]
async fn ca_046_an_access_token_of_this_issuer_is_not_a_client_assertion() {
    let issuer = mail_issuer().await;
    // One whose URL looks like ours is trusted, with our very keys.
    let jwks = issuer.get("/oauth2/jwks").await.json();
    let similar = issuer.url.replace("http://", "https://");
    let further = json!({ "keys": { "type": "inline", "jwks": jwks }, "types": ["at+jwt", "JWT"] });
    let added = trust(&issuer, "similar", &similar, further).await;
    assert_eq!(added.status, 201, "{added}");
    federate(
        &issuer,
        "twin",
        "similar",
        json!({ "subject": "agent:mailer" }),
    )
    .await;
    let agent = issuer
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    for scope in ["read", "openid"] {
        let answer = issuer
            .token(&[
                ("grant_type", "client_credentials"),
                ("client_assertion_type", JWT_BEARER),
                ("client_assertion", &agent.assertion().build()),
                ("scope", scope),
                (
                    "resource",
                    if scope == "openid" {
                        &issuer.url
                    } else {
                        "https://mail.example"
                    },
                ),
            ])
            .await;
        let own = answer.assert_issued();
        for client_id in [None, Some("mailer"), Some("twin")] {
            assert_eq!(refusal(&present(&issuer, client_id, &own).await), REFUSED);
            let answer = present_as(&issuer, JWT_SPIFFE, client_id, &own).await;
            assert_eq!(refusal(&answer), REFUSED);
        }
    }
}
