//! CA-003, CA-004: an assertion is accepted once, whatever happens around it.

use std::sync::Arc;

use firman::testing::{TestIssuer, TestKey};
use insta::assert_snapshot;
use tokio::task::JoinSet;

use super::client_assertion::mailer;
use super::*;

#[tokio::test]
async fn ca_003_an_assertion_is_accepted_once_and_the_second_time_its_jti_is_named() {
    let (issuer, agent) = mailer().await;
    let assertion = agent.assertion().build();
    let _ = issuer.token_with(&assertion).await.assert_issued();
    let mut seen = Distinct::default();
    for _ in 0..2 {
        seen.add(refusal(&issuer.token_with(&assertion).await));
    }
    assert_snapshot!(seen, @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
    assert_tokens_issued(&issuer, 1).await;
    issuer.issuer().flush_refusals();
    let refused = told_in_time(&issuer, "token.refused", 2).await;
    assert_snapshot!(refused[0].draft.detail, @r#"{"error":"invalid_client","reason":"the assertion was used before"}"#);
}

#[tokio::test]
async fn ca_003_an_assertion_stays_used_until_it_expires_and_maintenance_forgets_none_too_early() {
    let (issuer, agent) = mailer().await;
    let assertion = agent
        .assertion()
        .claim("exp", firman::testing::START + 3600)
        .build();
    let _ = issuer.token_with(&assertion).await.assert_issued();
    let mut seen = Distinct::default();
    for _ in 0..3 {
        issuer.clock.advance(1200);
        issuer.host().maintain().await;
        seen.add(refusal(&issuer.token_with(&assertion).await));
    }
    assert_snapshot!(seen, @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
    // Then its expiry refuses it, also once the mark is forgotten.
    let mut seen = Distinct::default();
    for seconds in [30, 86_400, 86_400] {
        issuer.clock.advance(seconds);
        issuer.host().maintain().await;
        seen.add(refusal(&issuer.token_with(&assertion).await));
    }
    assert_snapshot!(seen, @r#"401 {"error":"invalid_client","error_description":"the token has expired (`exp`); make a new one, and check the clock of the machine that makes it"}"#);
    assert_tokens_issued(&issuer, 1).await;
}

#[tokio::test]
async fn ca_003_a_clock_set_back_does_not_open_an_assertion_again() {
    let (issuer, agent) = mailer().await;
    let assertion = agent.assertion().build();
    let _ = issuer.token_with(&assertion).await.assert_issued();
    issuer.clock.advance(80_000);
    issuer.host().maintain().await;
    issuer.clock.advance(-80_000);
    assert_snapshot!(refusal(&issuer.token_with(&assertion).await), @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
    assert_tokens_issued(&issuer, 1).await;
}

#[tokio::test]
async fn ca_004_an_assertion_used_before_a_restart_is_refused_after_it() {
    let (issuer, agent) = mailer().await;
    let (used, unused) = (agent.assertion().build(), agent.assertion().build());
    let _ = issuer.token_with(&used).await.assert_issued();

    let issuer = issuer.restart().await;

    assert_snapshot!(refusal(&issuer.token_with(&used).await), @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
    let _ = issuer.token_with(&unused).await.assert_issued();
    assert_snapshot!(refusal(&issuer.token_with(&unused).await), @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
    assert_tokens_issued(&issuer, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_copies_of_one_assertion_at_the_same_moment_get_one_token() {
    let issuer = Arc::new(mail_issuer().await);
    let agent = issuer
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    let mut seen = Distinct::default();
    for round in 1..=3 {
        let assertion = agent.assertion().build();
        assert_eq!(issued_of_copies(&issuer, &assertion, &mut seen).await, 1);
        assert_tokens_issued(&issuer, round).await;
    }
    assert_snapshot!(seen, @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
}

/// How many of fifty copies, sent at once, got a token; the answers to the others are recorded.
async fn issued_of_copies(issuer: &Arc<TestIssuer>, assertion: &str, seen: &mut Distinct) -> usize {
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let (issuer, assertion) = (Arc::clone(issuer), assertion.to_owned());
        requests.spawn(async move { issuer.token_with(&assertion).await });
    }
    let answers = requests.join_all().await;
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        seen.add(refusal(answer));
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}

#[tokio::test]
async fn fa_028_after_a_restore_an_assertion_that_may_have_been_used_before_is_refused() {
    let (issuer, agent) = mailer().await;
    let mut tx = issuer.host().store().write().await.unwrap();
    let id = tx.issuer_by_slug("default").await.unwrap().unwrap().id;
    tx.lock_head(&id).await.unwrap();
    tx.bump_registry_version(&id, true).await.unwrap();
    let restored_at = firman::ports::time::UnixTime(firman::testing::START);
    assert!(
        tx.set_assertions_not_before(&id, restored_at)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    issuer.host().maintain().await;

    let mut seen = Distinct::default();
    let made_at_the_restore = agent.assertion().build();
    seen.add(refusal(&issuer.token_with(&made_at_the_restore).await));
    issuer.clock.advance(3000);
    let now = firman::testing::START + 3000;
    let undated = agent.assertion_at(now).without("iat");
    seen.add(refusal(&issuer.token_with(&undated.build()).await));
    assert_snapshot!(seen, @r#"401 {"error":"invalid_client","error_description":"`iat` is required and must be later than 2027-01-15T08:00:00Z, when this issuer was restored from a backup; make a new assertion"}"#);

    let later = agent.assertion_at(now).build();
    let _ = issuer.token_with(&later).await.assert_issued();
    issuer.clock.advance(1000);
    let undated = agent.assertion_at(now + 1000).without("iat");
    let _ = issuer.token_with(&undated.build()).await.assert_issued();
}
