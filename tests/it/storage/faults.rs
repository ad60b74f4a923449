//! Locks held outside, callers that go away, a database that went back.

use std::time::Duration;

use firman::api::agent::AgentEdit;
use firman::domain::agent::AgentStatus;
use firman::ports::time::UnixTime;
use firman::store::UsedAssertion;
use firman::testing::{START, TestIssuer, TestKey};
use reqwest::Method;
use serde_json::json;

use crate::admin::assert_problem;

use super::{CALLER, assert_issued, database_of, execute, futures, on_postgres, with_resource};

#[tokio::test]
async fn fa_007_a_lock_held_outside_ends_in_503_within_three_seconds() {
    let issuer = with_resource().await;
    let agent = issuer
        .agent("mailer")
        .role("reader")
        .with_public_key(TestKey::Es256)
        .await;
    let mut outside = database_of(&issuer).await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut outside)
        .await
        .expect("the lock");
    let assertion = agent.assertion().build();
    let answer = tokio::time::timeout(Duration::from_secs(4), issuer.token_with(&assertion))
        .await
        .expect("an answer in time");
    assert_eq!(answer.status, 503, "{answer}");
    assert_eq!(answer.header("retry-after"), "1");
    sqlx::query("ROLLBACK")
        .execute(&mut outside)
        .await
        .expect("the lock is given back");
    // The client had gone: the token was not recorded and its assertion is not used.
    assert_issued(&issuer.token_with(&assertion).await);
}

#[tokio::test]
async fn used_assertions_are_forgotten_as_fast_as_they_come() {
    let issuer = TestIssuer::start().await;
    let id = issuer.issuer().policy().settings.id.clone();
    let long_gone: Vec<UsedAssertion> = (0..12_000_u128)
        .map(|number| UsedAssertion {
            digest: number.to_be_bytes(),
            token_id: number.to_string(),
            expires_at: UnixTime(START - 200_000),
        })
        .collect();
    let insert = async || {
        let mut tx = issuer.host().store().write().await.expect("a transaction");
        tx.lock_head(&id).await.expect("the lock");
        let inserted = tx
            .insert_used_assertions(&id, &long_gone)
            .await
            .expect("marks");
        tx.commit().await.expect("a commit");
        inserted
    };
    assert_eq!(insert().await, 12_000);
    issuer.host().maintain().await;
    assert_eq!(insert().await, 12_000, "some were still there");
}

#[tokio::test]
async fn fa_017_changes_that_change_nothing_hold_no_connection_while_they_wait_for_another() {
    let issuer = on_postgres().await;
    issuer.agent("mailer").with_public_key(TestKey::Es256).await;
    let suspend = || issuer.issuer().suspend_agent(&CALLER, "mailer", None);
    suspend().await.expect("suspended");
    let answers = futures(60, suspend).await;
    for answer in answers {
        let status = answer.expect("suspended already").agent.view.agent.status;
        assert!(matches!(status, AgentStatus::Suspended { .. }));
    }
}

/// Callers that go away at every possible moment, of tokens and of changes.
async fn survives_those_who_go_away(issuer: &TestIssuer) {
    let agent = issuer
        .agent("mailer")
        .role("reader")
        .with_public_key(TestKey::Es256)
        .await;
    for round in 0..150_u64 {
        let patience = Duration::from_micros(round * 97 % 6000);
        let assertion = agent.assertion().build();
        let changes = AgentEdit {
            description: Some(format!("round {round}")),
            ..AgentEdit::default()
        };
        let change = async {
            let edit = issuer.issuer().edit_agent(&CALLER, "mailer", changes, None);
            let _ = tokio::time::timeout(patience, edit).await;
        };
        let tokens = async {
            let _ = tokio::time::timeout(patience, issuer.token_with(&assertion)).await;
        };
        let refusals = async {
            let unknown = issuer.token(&[
                ("grant_type", "client_credentials"),
                ("client_id", "nobody"),
                ("client_secret", "x"),
            ]);
            let _ = tokio::time::timeout(patience, unknown).await;
            let _ = tokio::time::timeout(patience, issuer.issuer().renew(i64::MAX)).await;
        };
        tokio::join!(change, tokens, refusals);
    }
    let changes = AgentEdit {
        description: Some("the end".to_owned()),
        ..AgentEdit::default()
    };
    let edited = issuer
        .issuer()
        .edit_agent(&CALLER, "mailer", changes, None)
        .await
        .expect("still works");
    assert_eq!(edited.view.agent.description, "the end");
    assert_issued(&issuer.token_with(&agent.assertion().build()).await);
    let verdict = issuer.issuer().verify_audit().await.expect("a verdict");
    assert_eq!(verdict.first_bad, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_go_away_leave_nothing_locked_on_either_engine() {
    survives_those_who_go_away(&with_resource().await).await;
    survives_those_who_go_away(&on_postgres().await).await;
}

#[tokio::test]
async fn fa_015_a_database_that_went_back_counts_for_more_than_what_was_known_of_it() {
    let issuer = with_resource().await;
    let agent = issuer
        .agent("mailer")
        .role("reader")
        .with_public_key(TestKey::Es256)
        .await;
    assert_issued(&issuer.token_with(&agent.assertion().build()).await);
    // As a standby that lags two changes behind, on which the agent is suspended.
    for sql in [
        "UPDATE agents SET status = 'suspended', status_at = 1",
        "UPDATE audit_head SET registry_version = registry_version - 2, policy_version = policy_version - 2",
    ] {
        assert_eq!(execute(&issuer, sql).await, 1);
    }
    let refused = issuer.token_with(&agent.assertion().build()).await;
    assert_eq!(refused.status, 401, "{refused}");
}

#[tokio::test]
async fn a_commit_that_fails_is_not_called_an_unchanged_registry_and_the_next_change_succeeds() {
    let issuer = with_resource().await;
    for statement in [
        "CREATE TABLE owners (id INTEGER PRIMARY KEY)",
        "CREATE TABLE owned (owner INTEGER REFERENCES owners (id) DEFERRABLE INITIALLY DEFERRED)",
        // SQLite checks a deferred reference at COMMIT.
        "CREATE TRIGGER fails_at_commit AFTER INSERT ON agents BEGIN INSERT INTO owned VALUES (1); END",
    ] {
        execute(&issuer, statement).await;
    }
    let new = json!({ "name": "mailer", "owner": "ops" });
    let failed = issuer.admin(Method::POST, "/agents", Some(&new)).await;
    assert_problem(
        &failed,
        500,
        "unconfirmed",
        "the database did not confirm the change, so it may have been made\nhint: check whether the change was made before you repeat it",
    );
    assert_eq!(failed.header("retry-after"), "");
    execute(&issuer, "DROP TRIGGER fails_at_commit").await;
    let shown = issuer.admin(Method::GET, "/agents/mailer", None).await;
    assert_eq!(shown.status, 404, "{shown}");
    let added = issuer.admin(Method::POST, "/agents", Some(&new)).await;
    assert_eq!(added.status, 201, "{added}");
    let verdict = issuer.issuer().verify_audit().await.expect("a verdict");
    assert_eq!(verdict.first_bad, None);
}
