//! CA-005 and the freshness of two processes on one PostgreSQL database.

use std::sync::Arc;

use firman::api::agent::AgentEdit;
use firman::issuer::Caller;
use firman::issuer::keys::RevokedKey;
use firman::jose::SigningAlgorithm;
use firman::testing::{TestIssuer, TestKey, decoded_part};
use insta::assert_snapshot;

use super::*;

async fn two_replicas() -> (TestIssuer, TestIssuer) {
    let a = mail_issuer_on_postgres().await;
    let b = a.replica().await.unwrap();
    assert_eq!(a.url, b.url);
    (a, b)
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_005_the_same_assertion_at_two_replicas_at_the_same_moment_gets_one_token() {
    let (a, b) = two_replicas().await;
    let agent = a
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    let mut seen = Distinct::default();
    for round in 1..=20 {
        let assertion = agent.assertion().build();
        let (at_a, at_b) = tokio::join!(a.token_with(&assertion), b.token_with(&assertion));
        let (issued, refused) = if at_a.status == 200 {
            (at_a, at_b)
        } else {
            (at_b, at_a)
        };
        let _ = issued.assert_issued();
        seen.add(refusal(&refused));
        assert_tokens_issued(&a, round).await;
    }
    assert_snapshot!(seen, @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn ca_005_fifty_copies_over_two_replicas_get_one_token() {
    let (a, b) = two_replicas().await;
    let agent = a
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    let replicas = [Arc::new(a), Arc::new(b)];
    let assertion = agent.assertion().build();
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..50 {
        let (issuer, assertion) = (Arc::clone(&replicas[number % 2]), assertion.clone());
        requests.spawn(async move { issuer.token_with(&assertion).await.status });
    }
    let statuses = requests.join_all().await;
    assert_eq!(
        statuses.iter().filter(|&&status| status == 200).count(),
        1,
        "{statuses:?}"
    );
    assert_eq!(
        statuses.iter().filter(|&&status| status == 401).count(),
        49,
        "{statuses:?}"
    );
    assert_tokens_issued(&replicas[0], 1).await;
}

#[tokio::test]
async fn ca_004_a_process_that_starts_after_the_first_answer_knows_the_assertion_although_nothing_was_shut_down()
 {
    let a = mail_issuer_on_postgres().await;
    let agent = a
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    let assertion = agent.assertion().build();
    let _ = a.token_with(&assertion).await.assert_issued();
    let b = a.replica().await.unwrap();
    assert_snapshot!(refusal(&b.token_with(&assertion).await), @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
    assert_tokens_issued(&a, 1).await;
}

#[tokio::test]
async fn an_agent_suspended_on_one_replica_is_refused_by_the_next_request_on_the_other() {
    let (a, b) = two_replicas().await;
    let (system, secret) = (
        Caller::system(),
        a.agent("mailer").role("mailer").with_secret().await,
    );
    let signer = a
        .agent("signer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    for round in 0..3 {
        // Both hold the agents in memory.
        for issuer in [&a, &b] {
            let _ = by_basic(issuer, "mailer", secret.secret(), &[])
                .await
                .assert_issued();
            let _ = issuer
                .token_with(&signer.assertion().build())
                .await
                .assert_issued();
        }
        let before = audited(&a, "token.issued").await.len();
        for name in ["mailer", "signer"] {
            a.issuer().suspend_agent(&system, name, None).await.unwrap();
        }
        assert_eq!(
            refusal(&by_basic(&b, "mailer", secret.secret(), &[]).await),
            REFUSED,
            "{round}"
        );
        assert_eq!(
            refusal(&b.token_with(&signer.assertion().build()).await),
            REFUSED,
            "{round}"
        );
        assert_tokens_issued(&a, before).await;
        for name in ["mailer", "signer"] {
            a.issuer().resume_agent(&system, name, None).await.unwrap();
        }
        let _ = by_basic(&b, "mailer", secret.secret(), &[])
            .await
            .assert_issued();
    }
}

#[tokio::test]
async fn a_credential_revoked_on_one_replica_is_dead_on_the_other() {
    let (a, b) = two_replicas().await;
    let agent = a.agent("mailer").role("mailer").with_secret().await;
    let _ = by_basic(&b, "mailer", agent.secret(), &[])
        .await
        .assert_issued();
    let held = a.issuer().credentials("mailer").await.unwrap().remove(0);
    a.issuer()
        .revoke_credential(&Caller::system(), "mailer", held.id.as_str(), None)
        .await
        .unwrap();
    assert_eq!(
        refusal(&by_basic(&b, "mailer", agent.secret(), &[]).await),
        REFUSED
    );
    assert_tokens_issued(&a, 1).await;
}

#[tokio::test]
async fn what_is_granted_on_one_replica_works_at_once_on_the_other() {
    let (a, b) = two_replicas().await;
    // Asked before it exists: the other replica must not remember that it did not.
    assert_eq!(
        refusal(&by_basic(&b, "mailer", "wrong", &[]).await),
        REFUSED
    );
    let agent = a.agent("mailer").with_secret().await;
    assert_snapshot!(refusal(&by_basic(&b, "mailer", agent.secret(), &[]).await), @r#"400 {"error":"invalid_target","error_description":"no resource is granted to this agent"}"#);

    let roles = |names: &[&str]| AgentEdit {
        roles: Some(names.iter().map(|&name| name.to_owned()).collect()),
        ..AgentEdit::default()
    };
    a.issuer()
        .edit_agent(&Caller::system(), "mailer", roles(&["mailer"]), None)
        .await
        .unwrap();
    assert_snapshot!(granted(&by_basic(&b, "mailer", agent.secret(), &[]).await), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);

    // A resource and a role made on the one, asked for on the other.
    a.resource("vault", &["open"]).await;
    a.role("vault-role", "vault", &[]).await;
    a.issuer()
        .edit_agent(
            &Caller::system(),
            "mailer",
            roles(&["mailer", "vault-role"]),
            None,
        )
        .await
        .unwrap();
    let answer = by_basic(
        &b,
        "mailer",
        agent.secret(),
        &[("resource", "https://vault.example")],
    )
    .await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"open","token_type":"Bearer"}"#);

    // And taken away again.
    a.issuer()
        .edit_agent(&Caller::system(), "mailer", roles(&["vault-role"]), None)
        .await
        .unwrap();
    let answer = by_basic(
        &b,
        "mailer",
        agent.secret(),
        &[("resource", "https://mail.example")],
    )
    .await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_target","error_description":"https://mail.example is not granted to this agent; granted: https://vault.example"}"#);
    assert_tokens_issued(&a, 2).await;
}

#[tokio::test]
async fn a_signing_key_revoked_on_one_replica_signs_nothing_on_the_other() {
    let (a, b) = two_replicas().await;
    let agent = a.agent("mailer").role("mailer").with_secret().await;
    let kid_of = |answer: Answer| {
        decoded_part(&answer.assert_issued(), 0)["kid"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for _ in 0..3 {
        let old = kid_of(by_basic(&b, "mailer", agent.secret(), &[]).await);
        let RevokedKey {
            revoked, active, ..
        } = a
            .issuer()
            .revoke_key(&Caller::system(), &old, "leaked")
            .await
            .unwrap();
        assert_eq!(revoked.record.kid, old);
        let new = kid_of(by_basic(&b, "mailer", agent.secret(), &[]).await);
        assert_eq!(new, active.record.kid);
        assert_ne!(new, old);
        let jwks = b.get("/oauth2/jwks").await.text();
        assert!(jwks.contains(&new) && !jwks.contains(&old), "{jwks}");
    }
}

#[tokio::test]
async fn two_replicas_rotate_once() {
    let (a, b) = two_replicas().await;
    let activated_before = audited(&a, "key.activated").await.len();
    let prepared = a
        .issuer()
        .rotate_keys(&Caller::system(), Some(SigningAlgorithm::Es256))
        .await
        .unwrap();
    a.clock.advance(900);
    tokio::join!(a.host().maintain(), b.host().maintain());
    a.host().maintain().await;
    assert_eq!(
        audited(&a, "key.activated").await.len(),
        activated_before + 1
    );
    let agent = a.agent("mailer").role("mailer").with_secret().await;
    for issuer in [&a, &b] {
        let token = by_basic(issuer, "mailer", agent.secret(), &[])
            .await
            .assert_issued();
        assert_eq!(decoded_part(&token, 0)["kid"], prepared[0].record.kid);
    }
    let verdict = b.issuer().verify_audit().await.unwrap();
    assert_eq!(verdict.first_bad, None);
}
