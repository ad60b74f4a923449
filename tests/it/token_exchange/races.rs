//! What happens between the decision and the commit, and at the same moment.

use firman::domain::scope::Scopes;
use firman::issuer::authenticate::{ClientAuthMethod, PresentedCredential};
use firman::issuer::authorize::token_exchange::{TokenExchangeRequest, TokenType};
use firman::issuer::ledger::Outcome;
use firman::issuer::mint::Minted;
use firman::issuer::{Caller, IssuerError};
use firman::ports::time::Clock as _;
use firman::testing::TestKey;
use insta::assert_snapshot;

use super::support::*;
use super::*;
use crate::oauth2::{Distinct, assert_tokens_issued, audited, granted, refusal};

/// A token of `agent` for whom `token` is about, authorized and signed, and not recorded.
pub(super) async fn minted(scene: &Scene, agent: &TestAgent, token: &str) -> Minted {
    let handle = scene.issuer.issuer();
    let now = scene.issuer.clock.now_millis();
    let presented = PresentedCredential::Secret {
        method: ClientAuthMethod::ClientSecretPost,
        unverified_client_id: agent.name.clone(),
        unverified_secret: agent.secret().into(),
    };
    let client = handle
        .authenticate(&presented, now.seconds())
        .await
        .unwrap();
    let request = TokenExchangeRequest {
        unverified_subject_token: token.to_owned(),
        subject_token_type: TokenType::AccessToken,
        unverified_actor_token: None,
        requested_token_type: TokenType::AccessToken,
        audience: None,
        scopes: Scopes::new(),
        expires_in: None,
    };
    let authorization = handle
        .exchange(&client, &request, None, now.seconds())
        .await
        .unwrap();
    handle.mint(authorization, &Caller::system(), now).unwrap()
}

/// What becomes of a token of `mailer` when `change` comes between its authorization and its commit.
async fn against<T>(
    scene: &Scene,
    token: &str,
    change: impl Future<Output = Result<T, IssuerError>>,
) -> Outcome {
    let minted = minted(scene, &scene.mailer, token).await;
    change.await.unwrap();
    scene.issuer.issuer().record(minted).await
}

#[tokio::test]
async fn nothing_leaves_when_the_subject_an_actor_or_the_delegation_is_switched_off_meanwhile() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let handle = issuer.issuer();
    let system = Caller::system();
    let about_planner = identity_token(issuer, &scene.planner).await;
    let by_planner = scene.planner_for_alice(&[]).await.assert_issued();

    let nothing = async { Ok(()) };
    let outcome = against(&scene, &about_planner, nothing).await;
    assert!(matches!(outcome, Outcome::Recorded(_)), "{outcome:?}");
    for token in [&about_planner, &by_planner] {
        let suspension = handle.suspend_agent(&system, "planner", None);
        let outcome = against(&scene, token, suspension).await;
        assert!(matches!(outcome, Outcome::Stale), "{outcome:?}");
        handle.resume_agent(&system, "planner", None).await.unwrap();
        issuer.clock.advance(1);
    }
    // A change that concerns none of them does not disturb it.
    let other = handle.suspend_agent(&system, "filer", None);
    let outcome = against(&scene, &fresh(&scene).await, other).await;
    assert!(matches!(outcome, Outcome::Recorded(_)), "{outcome:?}");

    let held = delegate("mailer", "agent:mailer2", "mail")
        .add(issuer)
        .await;
    let suspension = async {
        set_delegation(issuer, &held, "suspend").await;
        Ok(())
    };
    let outcome = against(&scene, &fresh(&scene).await, suspension).await;
    assert!(matches!(outcome, Outcome::Stale), "{outcome:?}");

    let token = fresh(&scene).await;
    let number = firman::testing::decoded_part(&token, 1)["jti"]
        .as_str()
        .unwrap()
        .to_owned();
    let revocation = async {
        revoke(issuer, &number).await;
        Ok(())
    };
    let outcome = against(&scene, &token, revocation).await;
    assert!(matches!(outcome, Outcome::Revoked), "{outcome:?}");

    let untrusting = async {
        allow_delegation(issuer, "files", false).await;
        Ok(())
    };
    let outcome = against(&scene, &fresh(&scene).await, untrusting).await;
    assert!(matches!(outcome, Outcome::Stale), "{outcome:?}");
    let verdict = handle.verify_audit().await.unwrap();
    assert_eq!(verdict.first_bad, None);
}

/// A new token about alice in which `planner` acts.
pub(super) async fn fresh(scene: &Scene) -> String {
    scene.planner_for_alice(&[]).await.assert_issued()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_exchanges_of_one_single_use_token_at_the_same_moment_exactly_one_wins() {
    let scene = Scene::new().await;
    delegate("mailer", "user:partner:*", "mail")
        .add(&scene.issuer)
        .await;
    assert_snapshot!(one_wins(&scene).await, @r#"400 {"error":"invalid_request","error_description":"subject_token: its `jti` was used before; each token of its issuer is accepted once"}"#);
}

/// Twenty rounds, by one client and by two, with the answers to those that do not win.
pub(super) async fn one_wins(scene: &Scene) -> Distinct {
    let issuer = &scene.issuer;
    let mut seen = Distinct::default();
    for round in 1..=20 {
        let token = outside(issuer, "alice").build();
        let other = if round % 2 == 0 {
            &scene.planner
        } else {
            &scene.mailer
        };
        let mail = [("resource", MAIL)];
        let (one, two) = tokio::join!(
            exchange_jwt(issuer, &scene.planner, &token, &mail),
            exchange_jwt(issuer, other, &token, &mail),
        );
        let (issued, refused) = if one.status == 200 {
            (one, two)
        } else {
            (two, one)
        };
        let _ = granted(&issued);
        seen.add(refusal(&refused));
        assert_tokens_issued(issuer, round).await;
    }
    seen
}

/// Exchanges a token from outside, authenticated by an assertion.
async fn by_assertion(issuer: &TestIssuer, assertion: &str, token: &str, scope: &str) -> Answer {
    issuer
        .token(&[
            ("grant_type", TOKEN_EXCHANGE),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", assertion),
            ("subject_token", token),
            ("subject_token_type", JWT),
            ("scope", scope),
        ])
        .await
}

#[tokio::test]
async fn a_client_assertion_and_a_single_use_token_are_both_used_up_and_the_replayed_one_is_named()
{
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let signer = issuer.agent("signer").role("mailer");
    let signer = signer.with_public_key(TestKey::Es256).await;
    delegate("signer", "user:partner:*", "mail")
        .add(issuer)
        .await;
    let assertion = signer.assertion().build();
    let token = outside(issuer, "alice").build();
    let mut answers = crate::oauth2::Answers::default();
    // A refusal uses neither up.
    answers.add(
        "refused",
        issuer,
        &refusal(&by_assertion(issuer, &assertion, &token, "admin").await),
    );
    answers.add(
        "both new",
        issuer,
        &granted(&by_assertion(issuer, &assertion, &token, "").await),
    );
    answers.add(
        "both used",
        issuer,
        &refusal(&by_assertion(issuer, &assertion, &token, "").await),
    );
    let new_token = outside(issuer, "alice").build();
    answers.add(
        "the assertion used",
        issuer,
        &refusal(&by_assertion(issuer, &assertion, &new_token, "").await),
    );
    let new_assertion = signer.assertion().build();
    answers.add(
        "the token used",
        issuer,
        &refusal(&by_assertion(issuer, &new_assertion, &token, "").await),
    );
    // Each was shown in a request that came as far as the record: it is used.
    let newest = signer.assertion().build();
    answers.add(
        "that token afterwards",
        issuer,
        &refusal(&by_assertion(issuer, &newest, &new_token, "").await),
    );
    answers.add(
        "that assertion afterwards",
        issuer,
        &refusal(
            &by_assertion(
                issuer,
                &new_assertion,
                &outside(issuer, "alice").build(),
                "",
            )
            .await,
        ),
    );
    assert_snapshot!(answers, @r#"
    refused: 400 {"error":"invalid_scope","error_description":"not available for user:partner:alice at https://mail.example: admin; subject, agent and delegation all allow: read send"}
    both new: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    both used: 401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}
    the assertion used: 401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}
    the token used: 400 {"error":"invalid_request","error_description":"subject_token: its `jti` was used before; each token of its issuer is accepted once"}
    that token afterwards: 400 {"error":"invalid_request","error_description":"subject_token: its `jti` was used before; each token of its issuer is accepted once"}
    that assertion afterwards: 401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}
    "#);
    assert_eq!(audited(issuer, "token.issued").await.len(), 1);
}
