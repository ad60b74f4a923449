//! The same on PostgreSQL, as far as the database has a part in it.

use insta::assert_snapshot;

use super::support::*;
use super::*;
use crate::oauth2::{Answers, granted, mail_issuer_on_postgres, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn exchange_replay_and_revocation_are_the_same_on_postgresql() {
    let scene = Scene::on(mail_issuer_on_postgres().await).await;
    scene.delegations().await;
    let issuer = &scene.issuer;
    let token = outside(issuer, "alice").build();
    let mut answers = Answers::default();
    let first = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
    answers.add("good", issuer, &granted(&first));
    let again = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
    answers.add("replayed", issuer, &refusal(&again));
    let second = exchange(issuer, &scene.mailer, &first.assert_issued(), &[]).await;
    answers.add("second hop", issuer, &granted(&second));
    let mailer = scene.actor("mailer", Some(scene.actor("planner", None)));
    assert_eq!(second.claims()["act"], mailer);
    revoke(issuer, first.claims()["jti"].as_str().unwrap()).await;
    let answer = exchange(issuer, &scene.mailer, &first.assert_issued(), &[]).await;
    answers.add("revoked", issuer, &refusal(&answer));
    let answer = exchange(issuer, &scene.filer, &second.assert_issued(), &[]).await;
    answers.add("below it", issuer, &refusal(&answer));
    assert_snapshot!(answers, @r#"
    good: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    replayed: 400 {"error":"invalid_request","error_description":"subject_token: its `jti` was used before; each token of its issuer is accepted once"}
    second hop: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read write","token_type":"Bearer"}
    revoked: 400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}
    below it: 400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_exchanges_of_one_token_exactly_one_wins_on_postgresql() {
    let scene = Scene::on(mail_issuer_on_postgres().await).await;
    scene.delegations().await;
    delegate("mailer", "user:partner:*", "mail")
        .add(&scene.issuer)
        .await;
    assert_snapshot!(super::races::one_wins(&scene).await, @r#"400 {"error":"invalid_request","error_description":"subject_token: its `jti` was used before; each token of its issuer is accepted once"}"#);
}

thread_local! {
    static STATEMENTS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts the statements that the driver logs, for each thread separately.
struct Statements;

impl tracing::Subscriber for Statements {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "sqlx::query"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        STATEMENTS.set(STATEMENTS.get() + 1);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// On one thread, so that the ledger's task runs where the statements are counted.
#[tokio::test]
async fn a_batch_of_exchanges_costs_a_few_statements_whatever_its_size() {
    let scene = Scene::on(mail_issuer_on_postgres().await).await;
    scene.delegations().await;
    let handle = scene.issuer.issuer();
    tracing::subscriber::set_global_default(Statements).unwrap();
    let mut counts = Vec::new();
    // The first is not counted: the driver's log is on from then on.
    for size in [1, 1, 63, 64, 65] {
        let mut ready = Vec::new();
        for _ in 0..size {
            let token = super::races::fresh(&scene).await;
            ready.push(super::races::minted(&scene, &scene.mailer, &token).await);
        }
        STATEMENTS.set(0);
        let mut all = tokio::task::JoinSet::new();
        for minted in ready {
            let handle = std::sync::Arc::clone(handle);
            all.spawn(async move { handle.record(minted).await });
        }
        for outcome in all.join_all().await {
            assert!(
                matches!(outcome, firman::issuer::ledger::Outcome::Recorded(_)),
                "{outcome:?}"
            );
        }
        counts.push(STATEMENTS.get());
    }
    // BEGIN, the lock, what was revoked, what was marked, the lines, the audit, the head, and COMMIT.
    assert_eq!(counts[1..], [8, 8, 8, 8]);
}
