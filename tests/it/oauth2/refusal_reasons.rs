//! What the operator sees of a refusal before the signature counts: the exact reason, in the audit, where the client
//! gets the one answer that says nothing.

use firman::jose::{SigningAlgorithm, SigningKey};
use firman::testing::{TestAgent, TestIssuer, TestKey};
use insta::assert_snapshot;
use reqwest::Method;

use super::client_assertion::mailer;
use super::*;

/// The reasons of the refusals so far, with what they are about, in the order of the audit.
async fn reasons(issuer: &TestIssuer, count: usize) -> String {
    issuer.issuer().flush_refusals();
    let entries = audited_in_time(issuer, "client.refused", count).await;
    let mut reasons: Vec<String> = entries
        .iter()
        .map(|entry| {
            assert!(entry.draft.detail.len() <= 256, "{entry:?}");
            let detail: Value = serde_json::from_str(&entry.draft.detail).unwrap();
            format!(
                "{}: {}",
                entry.draft.target,
                detail["reason"].as_str().unwrap()
            )
        })
        .collect();
    reasons.sort();
    reasons.join("\n").replace(&issuer.url, "ISSUER")
}

/// That the client sees the same in each case.
async fn all_refused(issuer: &TestIssuer, assertions: &[String]) {
    for assertion in assertions {
        let answer = issuer.token_with(assertion).await;
        assert_eq!(refusal(&answer), REFUSED);
    }
    assert_tokens_issued(issuer, 0).await;
}

fn with_header(agent: &TestAgent, name: &str, value: Value) -> String {
    agent.assertion().header(name, value).build()
}

#[tokio::test]
async fn a_malformed_assertion_is_refused_with_the_part_that_is_wrong() {
    let (issuer, agent) = mailer().await;
    let good = agent.assertion().build();
    let (signed, _) = good.rsplit_once('.').unwrap();
    let header = agent.assertion().header_text();
    let payload = |claims: &str| agent.assertion().build_from(&header, claims);
    let cases = [
        "a.b".to_owned(),
        "a.b.c".to_owned(),
        format!("{signed}."),
        format!("{good}="),
        with_header(&agent, "crit", json!(["exp"])),
        with_header(&agent, "b64", json!(false)),
        with_header(&agent, "jwk", json!({})),
        with_header(&agent, "alg", json!("HS256")),
        with_header(&agent, "kid", json!(7)),
        with_header(&agent, "typ", json!(7)),
        agent
            .assertion()
            .build_from(r#"{"alg":"ES256","alg":"ES256"}"#, "{}"),
        payload("[]"),
        payload("{"),
        payload(r#"{"iss":"mailer","iss":"mailer"}"#),
        payload(r#"{"iat":1e400}"#),
        payload(&format!("{}1{}", r#"{"a":"#.repeat(20), "}".repeat(20))),
        agent.assertion().claim("pad", "x".repeat(9000)).build(),
    ];
    all_refused(&issuer, &cases).await;
    let held = issuer.issuer().credentials("mailer").await.unwrap();
    let reasons = reasons(&issuer, 16).await;
    assert_snapshot!(reasons.replace(held[0].id.as_str(), "[id]"), @r"
    : the header member `alg` must be ES256, ES384, RS256, PS256 or EdDSA
    : the header member `b64` is not supported; leave it out
    : the header member `crit` is not supported; leave it out
    : the header member `jwk` is not supported; leave it out
    : the header member `kid` must be a string of 1 to 256 bytes without control characters
    : the header member `typ` must be a string
    : the header of the token has a member twice
    : the header of the token is not base64url: the text is cut short
    : the payload of the token has a member twice
    : the payload of the token is nested deeper than 16 levels
    : the payload of the token is not a JSON object
    : the payload of the token is not valid JSON
    : the signature of the token is not base64url: only A-Z a-z 0-9 - _ are allowed, without padding or white space
    : the token is longer than 8192 bytes
    : the token is not a compact JWS: it must have three parts joined by dots
    mailer: the key that `kid` names (credential [id]) does not verify the signature
    ");
}

#[tokio::test]
async fn an_assertion_that_names_no_client_is_refused_with_what_it_names() {
    let (issuer, agent) = mailer().await;
    let claim = |name: &str, value: Value| agent.assertion().claim(name, value).build();
    let nobody = agent.assertion().claim("iss", "nobody");
    let secret = format!("fmn_{}", "a".repeat(300));
    let cases = [
        agent.assertion().without("iss").build(),
        agent.assertion().without("sub").build(),
        claim("iss", json!(["mailer"])),
        claim("sub", json!(null)),
        claim("sub", json!("agent:mailer")),
        claim("sub", json!("a\nb\u{202e}")),
        claim("sub", json!(secret)),
        nobody.claim("sub", "nobody").build(),
        claim("iss", json!("https://issuer.example")),
    ];
    all_refused(&issuer, &cases).await;
    assert_snapshot!(reasons(&issuer, 9).await, @r"
    : `iss` and `sub` of the assertion are not the same string: `mailer` and `a\u{a}b\u{202e}`
    : `iss` and `sub` of the assertion are not the same string: `mailer` and `agent:mailer`
    : `iss` and `sub` of the assertion are not the same string: `mailer` and `fmn_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…`
    : `iss` of the assertion is missing
    : `iss` of the assertion is not a string
    : `sub` of the assertion is missing
    : `sub` of the assertion is not a string
    : the token's issuer is not trusted: `iss` is `https://issuer.example`
    nobody: no such client
    ");
}

#[tokio::test]
async fn a_signature_that_no_key_verifies_is_refused_with_the_keys_that_were_tried() {
    let (issuer, agent) = mailer().await;
    issuer.agent("secretive").with_secret().await;
    let by = |key: TestKey| {
        let algorithm = key.signing_key().algorithm().as_str();
        let signed = agent.assertion().signed_by(key);
        signed.header("alg", algorithm).without_header("kid")
    };
    let as_secretive = by(TestKey::Es256).claim("iss", "secretive");
    let cases = [
        agent.assertion().signed_by(TestKey::Es256Second).build(),
        by(TestKey::Es256Second).build(),
        by(TestKey::Es256Second).header("kid", "own").build(),
        by(TestKey::Es256Second)
            .header("kid", "k".repeat(256))
            .build(),
        by(TestKey::Rs256).build(),
        by(TestKey::Rs256)
            .header("kid", TestKey::Es256.signing_key().kid())
            .build(),
        as_secretive.claim("sub", "secretive").build(),
    ];
    all_refused(&issuer, &cases).await;
    let held = issuer.issuer().credentials("mailer").await.unwrap();
    let id = held[0].id.as_str();
    assert_snapshot!(reasons(&issuer, 7).await.replace(id, "[id]"), @r"
    mailer: `alg` is RS256 and no live key of the client is for it
    mailer: `alg` is RS256 and the key that `kid` names (credential [id]) is for ES256
    mailer: the client's live ES256 key does not verify the signature
    mailer: the client's live ES256 key does not verify the signature; `kid` is `kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk…`
    mailer: the client's live ES256 key does not verify the signature; `kid` is `own`
    mailer: the key that `kid` names (credential [id]) does not verify the signature
    secretive: the client has no live public key
    ");

    let path = format!("/agents/mailer/credentials/{id}/revoke");
    assert_eq!(issuer.admin(Method::POST, &path, None).await.status, 200);
    all_refused(&issuer, &[agent.assertion().build()]).await;
    let reasons = reasons(&issuer, 8).await.replace(id, "[id]");
    assert!(
        reasons.contains("mailer: the client has no live public key; `kid` names the credential [id], which is revoked"),
        "{reasons}"
    );
}

#[tokio::test]
async fn an_agent_that_is_switched_off_is_refused_with_the_state_that_it_is_in() {
    let issuer = mail_issuer().await;
    let secret = |name: &'static str| async { issuer.agent(name).with_secret().await };
    let (off, gone, over) = (
        secret("off").await,
        secret("gone").await,
        secret("over").await,
    );
    let path = |name: &str| format!("/agents/{name}");
    issuer
        .admin(Method::POST, "/agents/off/suspend", None)
        .await;
    let expiring = json!({ "expires_in": 10 });
    issuer
        .admin(Method::PATCH, &path("over"), Some(&expiring))
        .await;
    issuer.clock.advance(20);
    for agent in [&off, &over] {
        let answer = by_basic(&issuer, &agent.name, agent.secret(), &[]).await;
        assert_eq!(refusal(&answer), REFUSED);
    }
    issuer.admin(Method::DELETE, &path("gone"), None).await;
    let answer = by_basic(&issuer, "gone", gone.secret(), &[]).await;
    assert_eq!(refusal(&answer), REFUSED);
    assert_snapshot!(reasons(&issuer, 3).await, @r"
    gone: the agent was removed at 2027-01-15T08:00:20Z
    off: the agent is suspended since 2027-01-15T08:00:00Z
    over: the agent expired at 2027-01-15T08:00:10Z
    ");
}

#[tokio::test]
async fn a_client_secret_is_refused_with_what_is_wrong_with_it() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").with_secret().await;
    let _ = issuer.agent("signer").with_public_key(TestKey::Es256).await;
    let other = issuer.agent("other").with_secret().await;
    let own = agent.secret();
    let last = if own.ends_with('A') { "B" } else { "A" };
    let cut = own.len() - 1;
    for (client, secret) in [
        ("mailer", "hunter2".to_owned()),
        ("mailer", format!("\"{own}\"")),
        ("mailer", own[..cut].to_owned()),
        ("mailer", format!("{}{last}", &own[..cut])),
        ("mailer", other.secret().to_owned()),
        ("signer", own.to_owned()),
        ("nobody", own.to_owned()),
    ] {
        let answer = by_post(&issuer, client, &secret).await;
        assert_eq!(refusal(&answer), REFUSED);
    }
    let reasons = reasons(&issuer, 7).await;
    assert!(!reasons.contains(&own[4..20]), "{reasons}");
    assert_snapshot!(reasons, @r"
    mailer: not a client secret of this issuer: it does not begin with `fmn_`
    mailer: not a client secret of this issuer: it has white space or quotes around it
    mailer: not a client secret of this issuer: it is shorter than a client secret
    mailer: not a client secret of this issuer: its checksum does not match: a character is wrong
    mailer: the secret does not match the client's live secret
    nobody: no such client
    signer: the client has no client secret
    ");
}

#[tokio::test]
async fn what_a_stranger_writes_is_short_and_escaped_in_a_reason() {
    let (issuer, agent) = mailer().await;
    let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    for number in 0..400 {
        let kid = format!("{number}\u{202e}{}", "é".repeat(100));
        let header = json!({ "alg": "ES256", "kid": kid });
        let assertion = key
            .sign_parts(
                header.to_string().as_bytes(),
                agent.assertion().claims_text().as_bytes(),
            )
            .unwrap();
        let answer = issuer.token_with(&assertion).await;
        assert!(matches!(answer.status, 401 | 429), "{answer}");
    }
    issuer.issuer().flush_refusals();
    let entries = told_in_time(&issuer, "client.refused", 400).await;
    assert!(entries.len() <= 2 * 129, "{}", entries.len());
    for entry in entries {
        let detail = &entry.draft.detail;
        assert!(!detail.contains('\u{202e}'), "{detail}");
    }
}
