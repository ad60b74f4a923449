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
    replayed: 400 {"error":"invalid_request","error_description":"subject_token: its jti was used before; each token of its issuer is accepted once"}
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
    assert_snapshot!(super::races::one_wins(&scene).await, @r#"400 {"error":"invalid_request","error_description":"subject_token: its jti was used before; each token of its issuer is accepted once"}"#);
}
