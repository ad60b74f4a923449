//! `POST /oauth2/introspect` (RFC 7662).

use insta::assert_snapshot;

use super::*;
use crate::oauth2::{Answers, Distinct, REFUSED, audited, refusal, told_in_time};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[tokio::test]
async fn a_request_that_is_not_one_is_refused() {
    let (issuer, mailer, _) = two_agents().await;
    let authorization = basic("mailer", mailer.secret());
    let proof = ("authorization", authorization.as_str());
    let mut seen = Answers::default();
    for (case, headers, body) in [
        (
            "no token",
            vec![proof, FORM],
            "token_type_hint=access_token",
        ),
        ("an empty token", vec![proof, FORM], "token="),
        ("two tokens", vec![proof, FORM], "token=a&token=b"),
        ("broken encoding", vec![proof, FORM], "token=%zz"),
        (
            "JSON",
            vec![proof, ("content-type", "application/json")],
            r#"{"token":"a"}"#,
        ),
        ("no type", vec![proof], "token=a"),
        (
            "two proofs",
            vec![proof, FORM],
            "token=a&client_id=mailer&client_secret=x",
        ),
        ("nobody", vec![FORM], "token=a"),
        (
            "a wrong secret",
            vec![FORM],
            "token=a&client_id=mailer&client_secret=wrong",
        ),
        (
            "a stranger",
            vec![FORM],
            "token=a&client_id=nobody&client_secret=wrong",
        ),
        (
            "a bearer token",
            vec![("authorization", "Bearer a"), FORM],
            "token=a",
        ),
    ] {
        let answer = issuer
            .send(Method::POST, "/oauth2/introspect", &headers, body)
            .await;
        seen.add(case, &issuer, &refusal(&answer));
    }
    assert_snapshot!(seen, @r#"
    no token: 400 {"error":"invalid_request","error_description":"`token` is required"}
    an empty token: 400 {"error":"invalid_request","error_description":"`token` is required"}
    two tokens: 400 {"error":"invalid_request","error_description":"a parameter is repeated"}
    broken encoding: 400 {"error":"invalid_request","error_description":"a parameter is not percent-encoded UTF-8"}
    JSON: 400 {"error":"invalid_request","error_description":"`Content-Type` must be `application/x-www-form-urlencoded`"}
    no type: 400 {"error":"invalid_request","error_description":"`Content-Type` must be `application/x-www-form-urlencoded`"}
    two proofs: 400 {"error":"invalid_request","error_description":"the client must authenticate in exactly one way"}
    nobody: 401 {"error":"invalid_client","error_description":"client authentication failed"}
    a wrong secret: 401 {"error":"invalid_client","error_description":"client authentication failed"}
    a stranger: 401 {"error":"invalid_client","error_description":"client authentication failed"}
    a bearer token: 401 {"error":"invalid_client","error_description":"client authentication failed"}
    "#);
}

#[tokio::test]
async fn another_method_and_a_body_that_is_too_large_are_refused() {
    let (issuer, mailer, _) = two_agents().await;
    let authorization = basic("mailer", mailer.secret());
    let proof = ("authorization", authorization.as_str());
    let mut seen = Distinct::default();
    for method in [Method::GET, Method::PUT, Method::DELETE] {
        let answer = issuer
            .send(method, "/oauth2/introspect?token=a", &[proof], "")
            .await;
        assert_eq!(answer.header("allow"), "POST");
        seen.add(refusal(&answer));
    }
    assert_snapshot!(seen, @r#"405 {"error":"invalid_request","error_description":"the introspection endpoint accepts only POST"}"#);
    let huge = format!("token={}", "a".repeat(70_000));
    let answer = issuer
        .send(Method::POST, "/oauth2/introspect", &[proof, FORM], huge)
        .await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn what_is_no_good_token_of_ours_is_inactive_and_nothing_more_is_said() {
    let (issuer, mailer, _) = two_agents().await;
    let other = TestIssuer::start().await;
    let good = token_of(&issuer, &mailer).await;
    let (rest, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = rest.split_once('.').unwrap();
    let none = firman::jose::digest::base64url(br#"{"alg":"none"}"#);
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let list = issuer.get("/oauth2/revocations").await.text();
    let mut seen = Distinct::default();
    for token in [
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        "..".to_owned(),
        "\0".to_owned(),
        "é".to_owned(),
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}.{flipped}{}", &signature[1..]),
        format!("{good}."),
        format!(" {good}"),
        "a".repeat(8 * 1024 + 1),
        format!("{good}{}", "a".repeat(60_000 - good.len())),
        list,
        signed(&other, "at+jwt", json!({})),
        signed(&other, "at+jwt", json!({"iss": issuer.url})),
        signed(&issuer, "at+jwt", json!({"iss": other.url})),
        signed(&issuer, "at+jwt", json!({"exp": START})),
        signed(&issuer, "at+jwt", json!({"nbf": START + 60})),
        signed(&issuer, "at+jwt", json!({"aud": ["https://mail.example"]})),
        signed(&issuer, "at+jwt", json!({"act": {"sub": "agent:printer"}})),
        signed(&issuer, "secevent+jwt", json!({})),
        signed(
            &issuer,
            "at+jwt",
            json!({"client_id": "nobody", "aud": "mailer"}),
        ),
    ] {
        seen.add(introspect(&issuer, &mailer, &token).await);
    }
    assert_snapshot!(seen, @r#"200 {"active":false}"#);
    assert!(is_active(&issuer, &mailer, &good).await);
    issuer.clock.advance(900);
    assert_eq!(
        introspect(&issuer, &mailer, &good).await.to_string(),
        INACTIVE
    );
}

#[tokio::test]
async fn whom_a_token_does_not_concern_learns_nothing_of_it() {
    let (issuer, mailer, printer) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    assert_eq!(
        introspect(&issuer, &printer, &token).await.to_string(),
        INACTIVE
    );
    // Not the subject either, when another agent got it: the token never was in its hands.
    let delegated = signed(
        &issuer,
        "at+jwt",
        json!({"client_id": "mailer", "sub": "agent:printer"}),
    );
    assert_eq!(
        introspect(&issuer, &printer, &delegated).await.to_string(),
        INACTIVE
    );
    serve_mail(&issuer, "printer").await;
    assert!(is_active(&issuer, &printer, &token).await);
    serve_mail(&issuer, "mailer").await;
    assert_eq!(
        introspect(&issuer, &printer, &token).await.to_string(),
        INACTIVE
    );
}

#[tokio::test]
async fn an_assertion_is_good_once_for_all_endpoints_together() {
    let (issuer, mailer, _) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    let signer = issuer
        .agent("signer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    serve_mail(&issuer, "signer").await;
    let assertion = signer.assertion().build();
    let first = ask_with_assertion(&issuer, "introspect", &assertion, &token).await;
    assert_eq!(first.json()["active"], true, "{first}");
    let mut seen = Distinct::default();
    for endpoint in ["introspect", "revoke"] {
        seen.add(refusal(
            &ask_with_assertion(&issuer, endpoint, &assertion, &token).await,
        ));
    }
    seen.add(refusal(&issuer.token_with(&assertion).await));
    let bought = signer.assertion().build();
    let _ = issuer.token_with(&bought).await.assert_issued();
    seen.add(refusal(
        &ask_with_assertion(&issuer, "introspect", &bought, &token).await,
    ));
    assert_snapshot!(seen, @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
    issuer.issuer().flush_refusals();
    let refused = told_in_time(&issuer, "token.refused", 4).await;
    assert_snapshot!(refused[0].draft.detail, @r#"{"error":"invalid_client","reason":"the assertion was used before"}"#);
    assert!(is_active(&issuer, &mailer, &token).await);
}

#[tokio::test]
async fn an_agent_that_is_switched_off_cannot_ask() {
    let (issuer, mailer, printer) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    serve_mail(&issuer, "printer").await;
    assert!(is_active(&issuer, &printer, &token).await);
    suspend(&issuer, "printer").await;
    assert_eq!(
        refusal(&introspect(&issuer, &printer, &token).await),
        REFUSED
    );
    resume(&issuer, "printer").await;
    assert!(is_active(&issuer, &printer, &token).await);
}

#[tokio::test]
async fn tokens_of_a_suspended_agent_are_inactive_at_once_and_stay_so_after_it_is_resumed() {
    let (issuer, mailer, printer) = two_agents().await;
    serve_mail(&issuer, "printer").await;
    let before = token_of(&issuer, &mailer).await;
    assert!(is_active(&issuer, &printer, &before).await);
    suspend(&issuer, "mailer").await;
    assert!(!is_active(&issuer, &printer, &before).await);
    issuer.clock.advance(1);
    resume(&issuer, "mailer").await;
    assert!(!is_active(&issuer, &printer, &before).await);
    let after = token_of(&issuer, &mailer).await;
    assert!(is_active(&issuer, &printer, &after).await);
    assert!(is_active(&issuer, &mailer, &after).await);
    assert!(!is_active(&issuer, &mailer, &before).await);
}

#[tokio::test]
async fn a_token_lives_only_while_every_agent_in_it_does() {
    let (issuer, mailer, printer) = two_agents().await;
    let _sender = issuer.agent("sender").with_secret().await;
    trust_okta(&issuer).await;
    serve_mail(&issuer, "printer").await;
    let chain = act(&issuer, &["agent:mailer", "agent:sender"]);
    let token = signed(
        &issuer,
        "at+jwt",
        json!({"sub": "user:okta:alice", "sub_profile": "user", "act": chain}),
    );
    // An actor of another issuer may have any name; it is not our agent.
    let foreign =
        json!({"iss": "https://other.example", "sub": "agent:sender", "sub_profile": "ai_agent"});
    let mut outer = act(&issuer, &["agent:mailer"]);
    outer["act"] = foreign;
    let beside = signed(
        &issuer,
        "at+jwt",
        json!({"jti": "beside", "sub": "user:okta:alice", "act": outer}),
    );
    for token in [&token, &beside] {
        note_parent(&issuer, &jti(token), "okta:1", "mailer", "user:okta:alice").await;
        assert!(is_active(&issuer, &printer, token).await);
    }
    suspend(&issuer, "sender").await;
    assert!(!is_active(&issuer, &printer, &token).await);
    assert!(is_active(&issuer, &printer, &beside).await);
    resume(&issuer, "sender").await;
    assert!(!is_active(&issuer, &printer, &token).await);
    let removed = issuer.admin(Method::DELETE, "/agents/mailer", None).await;
    assert_eq!(removed.status, 204, "{removed}");
    assert!(!is_active(&issuer, &printer, &beside).await);
    assert_eq!(
        refusal(&introspect(&issuer, &mailer, &beside).await),
        REFUSED
    );
}

#[tokio::test]
async fn a_token_of_an_agent_past_its_expiry_or_of_a_withdrawn_key_is_inactive() {
    let (issuer, mailer, printer) = two_agents().await;
    serve_mail(&issuer, "printer").await;
    let token = token_of(&issuer, &mailer).await;
    let edit = json!({"expires_in": 10});
    let edited = issuer
        .admin(Method::PATCH, "/agents/mailer", Some(&edit))
        .await;
    assert_eq!(edited.status, 200, "{edited}");
    assert!(is_active(&issuer, &printer, &token).await);
    issuer.clock.advance(10);
    assert!(!is_active(&issuer, &printer, &token).await);

    let (issuer, mailer, _) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    assert!(is_active(&issuer, &mailer, &token).await);
    let kid = decoded_part(&token, 0)["kid"].as_str().unwrap().to_owned();
    let reason = json!({"reason": "a test"});
    let revoked = issuer
        .admin(Method::POST, &format!("/keys/{kid}/revoke"), Some(&reason))
        .await;
    assert!(revoked.status < 300, "{revoked}");
    assert!(!is_active(&issuer, &mailer, &token).await);
}

#[tokio::test]
async fn a_good_token_is_shown_in_full_to_its_parties() {
    let (issuer, mailer, printer) = two_agents().await;
    trust_okta(&issuer).await;
    serve_mail(&issuer, "printer").await;
    let token = token_of(&issuer, &mailer).await;
    let answer = introspect(&issuer, &printer, &token).await;
    let shown = |answer: &Answer, token: &str| {
        let text = answer.to_string();
        text.replace(&issuer.url, "ISSUER")
            .replace(&jti(token), "JTI")
    };
    assert_snapshot!(shown(&answer, &token), @r#"200 {"acting_agent":"agent:mailer","active":true,"aud":"https://mail.example","client_id":"mailer","exp":1800000900,"iat":1800000000,"iss":"ISSUER","jti":"JTI","nbf":1800000000,"scope":"read send","sub":"agent:mailer","sub_profile":"ai_agent","token_type":"Bearer"}"#);
    assert_eq!(
        answer.text(),
        introspect(&issuer, &mailer, &token).await.text()
    );
    for hint in ["access_token", "refresh_token", "nonsense"] {
        let form = [("token", token.as_str()), ("token_type_hint", hint)];
        let hinted = ask(&issuer, "introspect", &printer, &form).await;
        assert_eq!(hinted.text(), answer.text());
    }
    // Introspection reads and leaves no trace.
    assert_eq!(audited(&issuer, "token.refused").await.len(), 0);

    let bound = signed(
        &issuer,
        "at+jwt",
        json!({"sub": "user:okta:alice", "sub_profile": "user", "cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},
               "act": act(&issuer, &["agent:mailer", "agent:printer"])}),
    );
    note_parent(&issuer, &jti(&bound), "okta:1", "mailer", "user:okta:alice").await;
    assert_snapshot!(shown(&introspect(&issuer, &printer, &bound).await, &bound), @r#"200 {"act":{"act":{"iss":"ISSUER","sub":"agent:printer","sub_profile":"ai_agent"},"iss":"ISSUER","sub":"agent:mailer","sub_profile":"ai_agent"},"acting_agent":"agent:mailer","active":true,"aud":"https://mail.example","client_id":"mailer","cnf":{"jkt":"0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"},"exp":1800000900,"iat":1800000000,"iss":"ISSUER","jti":"JTI","nbf":1800000000,"scope":"read","sub":"user:okta:alice","sub_profile":"user","token_type":"DPoP"}"#);
    // An ID token is for its client and opens nothing.
    let id_token = signed(&issuer, "JWT", json!({"aud": "mailer", "scope": ""}));
    assert_snapshot!(shown(&introspect(&issuer, &mailer, &id_token).await, &id_token), @r#"200 {"acting_agent":"agent:mailer","active":true,"aud":"mailer","client_id":"mailer","exp":1800000900,"iat":1800000000,"iss":"ISSUER","jti":"JTI","nbf":1800000000,"sub":"agent:mailer","sub_profile":"ai_agent","token_type":"N_A"}"#);
}

#[tokio::test]
async fn an_agent_that_had_expired_and_comes_back_brings_no_token_back() {
    let (issuer, mailer, printer) = two_agents().await;
    serve_mail(&issuer, "printer").await;
    let before = token_of(&issuer, &mailer).await;
    for (seconds, wait) in [(10, 11), (5000, 1)] {
        let edit = json!({"expires_in": seconds});
        let edited = issuer
            .admin(Method::PATCH, "/agents/mailer", Some(&edit))
            .await;
        assert_eq!(edited.status, 200, "{edited}");
        issuer.clock.advance(wait);
        assert!(!is_active(&issuer, &printer, &before).await, "{seconds}");
    }
    let after = token_of(&issuer, &mailer).await;
    assert!(is_active(&issuer, &printer, &after).await);
}
