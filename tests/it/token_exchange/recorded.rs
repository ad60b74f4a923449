//! What a first exchange proved is recorded, and later ones decide by that record alone.

use firman::testing::decoded_part;
use insta::assert_snapshot;
use reqwest::Method;

use super::support::*;
use super::*;
use crate::oauth2::refusal;

/// With a delegation for the second hop alone that demands `client_id=portal` of the outside token.
async fn demanding_scene() -> Scene {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    let partner = issuer.issuer().trusted_issuer("partner").await.unwrap();
    for (actor, resource) in [("planner", "mail"), ("portal", "mail"), ("mailer", "files")] {
        if actor == "portal" {
            let portal = issuer.agent("portal").role("mailer").role("filing");
            portal.with_secret().await;
        }
        let delegate = delegate(actor, "user:partner:*", resource);
        if actor == "mailer" {
            let demanding = delegate.with_claim(&partner.id, "client_id", "portal");
            demanding.add(issuer).await;
        } else {
            delegate.add(issuer).await;
        }
    }
    scene
}

#[tokio::test]
async fn a_claim_of_the_outside_token_is_not_replaced_by_one_of_ours() {
    let scene = demanding_scene().await;
    let issuer = &scene.issuer;
    let secret = issuer
        .admin(
            Method::POST,
            "/agents/portal/credentials",
            Some(&json!({ "kind": "client_secret" })),
        )
        .await
        .json();
    let secret = secret["client_secret"].as_str().unwrap().to_owned();
    let portal = basic_agent("portal", &secret);
    let outside = outside_token(issuer, "alice")
        .claim("client_id", "elsewhere")
        .build();
    let form = [
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", outside.as_str()),
        ("subject_token_type", JWT),
    ];
    let first = issuer
        .token_with_headers(&[("authorization", &portal)], &form)
        .await
        .assert_issued();
    // Our own token has the claim that the delegation demands, of the agent that acts.
    assert_eq!(decoded_part(&first, 1)["client_id"], "portal");
    let answer = exchange(issuer, &scene.mailer, &first, &[]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_target","error_description":"no delegation lets this agent act for user:partner:alice"}"#);
}

#[tokio::test]
async fn a_claim_that_the_first_exchange_proved_counts_in_later_ones() {
    let scene = demanding_scene().await;
    let issuer = &scene.issuer;
    let outside = outside_token(issuer, "alice").claim("client_id", "portal");
    let first = exchange_jwt(issuer, &scene.planner, &outside.build(), &[])
        .await
        .assert_issued();
    assert_eq!(decoded_part(&first, 1)["client_id"], "planner");
    let second = exchange(issuer, &scene.mailer, &first, &[]).await;
    assert_eq!(second.claims()["sub"], ALICE);
    assert_eq!(second.claims()["acting_agent"], "agent:mailer");
}

#[tokio::test]
async fn what_a_subject_token_was_made_from_must_be_known() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let first = scene.planner_for_alice(&[]).await.assert_issued();
    let unknown = with(decoded_part(&first, 1), &json!({ "jti": "unknown" }));
    let token = forged(issuer, "at+jwt", &unknown);
    let answer = exchange(issuer, &scene.mailer, &token, &[]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"subject_token: the record of its origin is missing; get a new token"}"#);
}

#[tokio::test]
async fn trust_that_is_switched_off_and_on_again_revives_no_token() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let first = scene.planner_for_alice(&[]).await.assert_issued();
    let second = exchange(issuer, &scene.mailer, &first, &[])
        .await
        .assert_issued();
    for trust in [json!([]), json!(["subject"])] {
        let body = json!({ "trust": trust });
        let edited = issuer
            .admin(Method::PATCH, "/trusted-issuers/partner", Some(&body))
            .await;
        assert_eq!(edited.status, 200, "{edited}");
    }
    let answer = exchange(issuer, &scene.mailer, &first, &[]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}"#);
    let path = format!(
        "/tokens/{}/trace",
        decoded_part(&second, 1)["jti"].as_str().unwrap()
    );
    let trace = issuer.admin(Method::GET, &path, None).await.json();
    let states: Vec<_> = trace["tokens"].as_array().unwrap()[1..]
        .iter()
        .map(|token| &token["state"])
        .collect();
    assert_eq!(states, ["revoked", "revoked"]);
    let list = issuer.get("/oauth2/revocations").await.text();
    assert_eq!(
        decoded_part(&list, 1)["not_before"],
        json!({ "user:partner:": firman::testing::START })
    );
    // A user who comes with a new token is welcome again.
    issuer.clock.advance(1);
    let _ = scene.planner_for_alice(&[]).await.assert_issued();
}

#[tokio::test]
async fn a_delegated_token_does_not_outlive_the_agent_that_acts() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let body = json!({ "expires_in": 120 });
    let edited = issuer
        .admin(Method::PATCH, "/agents/planner", Some(&body))
        .await;
    assert_eq!(edited.status, 200, "{edited}");
    let claims = scene.planner_for_alice(&[]).await.claims();
    assert_eq!(claims["exp"], firman::testing::START + 120);
    let answer = scene.planner_for_alice(&[("expires_in", "121")]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"`expires_in` must be at most 120 seconds here: the agent or its credential expires then"}"#);
}

fn basic_agent(name: &str, secret: &str) -> String {
    crate::oauth2::basic(name, secret)
}

#[tokio::test]
async fn an_outside_token_stays_revoked_when_its_issuer_may_reuse_tokens_from_now_on() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let token = outside_token(issuer, "alice").build();
    let first = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
    revoke(issuer, first.claims()["txn"].as_str().unwrap()).await;
    let body = json!({ "jti": "reusable" });
    let edited = issuer
        .admin(Method::PATCH, "/trusted-issuers/partner", Some(&body))
        .await;
    assert_eq!(edited.status, 200, "{edited}");
    let again = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
    assert_snapshot!(refusal(&again), @r#"400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}"#);
}
