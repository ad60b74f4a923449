//! `POST /oauth2/revoke` (RFC 7009).

use insta::assert_snapshot;

use super::*;
use crate::oauth2::{Answers, audited, audited_in_time, refusal};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn revoke(issuer: &TestIssuer, agent: &TestAgent, token: &str) {
    let answer = ask(issuer, "revoke", agent, &[("token", token)]).await;
    assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn a_request_that_is_not_one_is_refused() {
    let (issuer, mailer, _) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    let authorization = basic("mailer", mailer.secret());
    let proof = ("authorization", authorization.as_str());
    let with_token = format!("token={token}");
    let wrong_secret = format!("token={token}&client_id=mailer&client_secret=wrong");
    let mut seen = Answers::default();
    for (case, headers, body) in [
        (
            "no token",
            vec![proof, FORM],
            "token_type_hint=access_token",
        ),
        (
            "JSON",
            vec![proof, ("content-type", "application/json")],
            with_token.as_str(),
        ),
        ("nobody", vec![FORM], &with_token),
        ("a wrong secret", vec![FORM], &wrong_secret),
    ] {
        let answer = issuer
            .send(Method::POST, "/oauth2/revoke", &headers, body)
            .await;
        seen.add(case, &issuer, &refusal(&answer));
    }
    let answer = issuer
        .send(
            Method::GET,
            &format!("/oauth2/revoke?{with_token}"),
            &[proof],
            "",
        )
        .await;
    assert_eq!(answer.header("allow"), "POST");
    seen.add("GET", &issuer, &refusal(&answer));
    assert_snapshot!(seen, @r#"
    no token: 400 {"error":"invalid_request","error_description":"`token` is required"}
    JSON: 400 {"error":"invalid_request","error_description":"`Content-Type` must be `application/x-www-form-urlencoded`"}
    nobody: 401 {"error":"invalid_client","error_description":"client authentication failed"}
    a wrong secret: 401 {"error":"invalid_client","error_description":"client authentication failed"}
    GET: 405 {"error":"invalid_request","error_description":"the revocation endpoint accepts only POST"}
    "#);
    assert!(is_active(&issuer, &mailer, &token).await);
}

#[tokio::test]
async fn what_cannot_be_revoked_is_answered_as_if_it_were() {
    let (issuer, mailer, printer) = two_agents().await;
    let other = TestIssuer::start().await;
    for token in [
        "garbage".to_owned(),
        "a".repeat(8 * 1024 + 1),
        "a".repeat(60_000),
        signed(&other, "at+jwt", json!({})),
        signed(&issuer, "at+jwt", json!({"exp": START})),
        issuer.get("/oauth2/revocations").await.text(),
    ] {
        revoke(&issuer, &mailer, &token).await;
    }
    assert_eq!(audited(&issuer, "token.refused").await.len(), 0);
    let token = token_of(&issuer, &mailer).await;
    serve_mail(&issuer, "printer").await;
    // The resource server may look at it, and not end it.
    revoke(&issuer, &printer, &token).await;
    assert!(is_active(&issuer, &mailer, &token).await);
    let refused = audited_in_time(&issuer, "token.refused", 1).await;
    let draft = &refused[0].draft;
    assert_eq!(
        (
            draft.actor.as_str(),
            draft.target.as_str(),
            draft.token_id.clone()
        ),
        ("agent:printer", "agent:mailer", Some(jti(&token)))
    );
    assert_snapshot!(draft.detail, @r#"{"error":"not_allowed","reason":"asked to revoke another client's token"}"#);
    assert_eq!(audited(&issuer, "token.revoked").await.len(), 0);
}

#[tokio::test]
async fn a_client_ends_its_own_token_once_and_no_other() {
    let (issuer, mailer, _) = two_agents().await;
    let (token, kept) = (
        token_of(&issuer, &mailer).await,
        token_of(&issuer, &mailer).await,
    );
    for hint in ["access_token", "refresh_token", "nonsense"] {
        let form = [("token", token.as_str()), ("token_type_hint", hint)];
        assert_eq!(ask(&issuer, "revoke", &mailer, &form).await.status, 200);
    }
    assert!(!is_active(&issuer, &mailer, &token).await);
    assert!(is_active(&issuer, &mailer, &kept).await);
    let revoked = audited(&issuer, "token.revoked").await;
    assert_eq!(revoked.len(), 1);
    let draft = &revoked[0].draft;
    assert_eq!(
        (
            draft.actor.as_str(),
            draft.target.as_str(),
            draft.token_id.clone()
        ),
        ("agent:mailer", "agent:mailer", Some(jti(&token)))
    );
    assert_snapshot!(draft.detail, @r#"{"exp":1800000900}"#);
}

#[tokio::test]
async fn the_subject_of_a_token_may_end_what_another_got_for_it() {
    let (issuer, mailer, printer) = two_agents().await;
    let token = signed(
        &issuer,
        "at+jwt",
        json!({"sub": "agent:printer", "act": act(&issuer, &["agent:mailer"])}),
    );
    note_parent(&issuer, &jti(&token), "root", "mailer", "agent:printer").await;
    assert!(is_active(&issuer, &mailer, &token).await);
    revoke(&issuer, &printer, &token).await;
    assert!(!is_active(&issuer, &mailer, &token).await);
}

#[tokio::test]
async fn what_was_made_from_a_revoked_token_ends_with_it_and_what_it_was_made_from_does_not() {
    let (issuer, mailer, printer) = two_agents().await;
    let root = token_of(&issuer, &mailer).await;
    let mut chain = vec![jti(&root)];
    let mut below = Vec::new();
    let delegated = |jti: &str| {
        let claims = json!({"jti": jti, "sub": "agent:mailer", "client_id": "printer",
            "acting_agent": "agent:printer", "act": act(&issuer, &["agent:printer"])});
        signed(&issuer, "at+jwt", claims)
    };
    for name in ["one", "two", "three"] {
        let token = delegated(name);
        note_parent(
            &issuer,
            &jti(&token),
            chain.last().unwrap(),
            "printer",
            "agent:mailer",
        )
        .await;
        chain.push(jti(&token));
        below.push(token);
    }
    let beside = delegated("beside");
    note_parent(&issuer, &jti(&beside), &chain[0], "printer", "agent:mailer").await;
    revoke(&issuer, &printer, &below[1]).await;
    let mut alive = Vec::new();
    for token in [&below[0], &below[1], &below[2], &beside] {
        alive.push(is_active(&issuer, &printer, token).await);
    }
    assert_eq!(alive, [true, false, false, true]);
    revoke(&issuer, &mailer, &root).await;
    for token in [&below[0], &beside] {
        assert!(!is_active(&issuer, &printer, token).await);
    }
    assert!(!is_active(&issuer, &mailer, &root).await);
    let details: Vec<String> = audited(&issuer, "token.revoked")
        .await
        .into_iter()
        .map(|entry| entry.draft.detail)
        .collect();
    assert_snapshot!(details.join("\n"), @r#"
    {"exp":1800000900}
    {"exp":1800000900}
    "#);
}

#[tokio::test]
async fn one_client_cannot_fill_the_revocation_list_for_everybody() {
    let (issuer, mailer, printer) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    let mut limited = None;
    for _ in 0..200 {
        let answer = ask(&issuer, "revoke", &mailer, &[("token", &token)]).await;
        if answer.status != 200 {
            limited = Some(answer);
            break;
        }
    }
    let answer = limited.expect("a limit");
    assert_eq!(answer.header("retry-after"), "1");
    assert_snapshot!(answer, @r#"429 {"error":"temporarily_unavailable","error_description":"too many revocations by this client; an administrator can revoke all its tokens at once"}"#);
    let token = token_of(&issuer, &printer).await;
    revoke(&issuer, &printer, &token).await;
    assert!(!is_active(&issuer, &printer, &token).await);
}

#[tokio::test]
async fn a_client_that_must_wait_may_send_the_same_assertion_again() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer");
    let agent = agent.with_public_key(TestKey::Es256).await;
    let token = issuer
        .token_with(&agent.assertion().build())
        .await
        .assert_issued();
    let mut limited = None;
    for _ in 0..200 {
        let assertion = agent.assertion().build();
        let answer = ask_with_assertion(&issuer, "revoke", &assertion, &token).await;
        if answer.status == 429 {
            limited = Some(assertion);
            break;
        }
        assert_eq!(answer.status, 200, "{answer}");
    }
    let assertion = limited.expect("a limit");
    // Nothing of it was used up: it still buys a token, once.
    let _ = issuer.token_with(&assertion).await.assert_issued();
    let again = issuer.token_with(&assertion).await;
    assert_snapshot!(again, @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
}
