//! What ends with the trust in an issuer, and that a revoked token from outside has no second name.

use firman::jose::digest::{base64url, sha256};
use firman::testing::{TestKey, decoded_part};
use insta::assert_snapshot;
use reqwest::Method;
use serde_json::json;

use super::support::*;
use super::*;
use crate::oauth2::{audited, refusal};

async fn introspected(scene: &Scene, server: &TestAgent, token: &str) -> bool {
    let authorization = crate::oauth2::basic(&server.name, server.secret());
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    let answer = scene
        .issuer
        .send(
            Method::POST,
            "/oauth2/introspect",
            &headers,
            format!("token={token}"),
        )
        .await;
    answer.json()["active"].as_bool().unwrap()
}

#[tokio::test]
async fn tokens_about_subjects_of_an_issuer_end_with_the_trust_in_it_whatever_permitted_them() {
    for is_removed in [true, false] {
        let scene = Scene::new().await;
        let issuer = &scene.issuer;
        let first = scene.planner_for_alice(&[]).await.assert_issued();
        let second = exchange(issuer, &scene.mailer, &first, &[])
            .await
            .assert_issued();
        assert!(introspected(&scene, &scene.mailer, &first).await);
        assert!(introspected(&scene, &scene.filer, &second).await);
        // No delegation names the issuer, so that nothing prevents its removal.
        let path = "/trusted-issuers/partner";
        let answer = if is_removed {
            issuer.admin(Method::DELETE, path, None).await
        } else {
            let edit = json!({ "trust": ["actor"] });
            issuer.admin(Method::PATCH, path, Some(&edit)).await
        };
        assert!(answer.status < 300, "{answer}");
        let answer = exchange(issuer, &scene.mailer, &first, &[]).await;
        assert_eq!(
            refusal(&answer),
            r#"400 {"error":"invalid_request","error_description":"subject_token: its subject's trusted issuer is no longer trusted"}"#
        );
        assert!(!introspected(&scene, &scene.mailer, &first).await);
        assert!(!introspected(&scene, &scene.filer, &second).await);
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
    }
}

#[tokio::test]
async fn an_issuer_removed_by_force_takes_the_tokens_of_its_delegations_along() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    delegate("planner", "user:partner:*", "mail")
        .with_claim("partner", "department", "sales")
        .add(issuer)
        .await;
    let token = outside(issuer, "alice").claim("department", "sales");
    let first = exchange_jwt(issuer, &scene.planner, &token.build(), &[]).await;
    let refused = issuer
        .admin(Method::DELETE, "/trusted-issuers/partner", None)
        .await;
    assert_eq!(refused.status, 409, "{refused}");
    let removed = issuer
        .admin(Method::DELETE, "/trusted-issuers/partner?force=true", None)
        .await;
    assert_eq!(removed.status, 204, "{removed}");
    let ended = issuer.admin(Method::GET, "/revocations", None).await.json();
    // One mark for all its users, and one for each delegation.
    assert_eq!(ended["items"][0]["subject"], "user:partner:");
    assert_eq!(
        ended["items"][1]["delegation"],
        first.claims()["delegations"][0]
    );
    assert_eq!(ended["items"].as_array().unwrap().len(), 2);
    let entries = audited(issuer, "delegation.revoked").await;
    assert_snapshot!(entries[0].draft.detail, @r#"{"actor":"planner","resource":"mail","subject":"user:partner:*","tokens_ended_until":1800000000,"why":"its trusted issuer was removed"}"#);
}

/// The other signature that ES256 has for the same message and key: `s` is the order of the curve less `s`.
fn other_signature(token: &str) -> String {
    use base64::Engine as _;
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let order: Vec<u8> = (0..32)
        .map(|i| u8::from_str_radix(&ORDER[2 * i..2 * i + 2], 16).unwrap())
        .collect();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut signature = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(signature)
        .unwrap();
    let mut borrow = 0;
    for i in (0..32).rev() {
        let digit = i16::from(order[i]) - i16::from(signature[32 + i]) - borrow;
        borrow = i16::from(digit < 0);
        signature[32 + i] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    format!("{signed}.{}", base64url(&signature))
}

#[tokio::test]
async fn a_revoked_token_without_jti_is_revoked_under_its_other_signature_too() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    let definition = with(trust(TestKey::Es256), &json!({ "jti": "reusable" }));
    add_trusted(issuer, "reused", "https://reused.example", definition).await;
    delegate("planner", "user:reused:*", "mail")
        .add(issuer)
        .await;
    let token = outside(issuer, "alice")
        .claim("iss", "https://reused.example")
        .without("jti")
        .signed_by(TestKey::Es256)
        .build();
    let other = other_signature(&token);
    assert_ne!(token, other);
    for good in [&token, &other] {
        let answer = exchange_jwt(issuer, &scene.planner, good, &[]).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    let (signed, _) = token.rsplit_once('.').unwrap();
    let digest = base64url(&sha256(signed.as_bytes())[..16]);
    revoke(issuer, &format!("reused:{digest}")).await;
    for ended in [&token, &other] {
        let answer = exchange_jwt(issuer, &scene.planner, ended, &[]).await;
        assert_eq!(
            refusal(&answer),
            r#"400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}"#
        );
    }
}

#[tokio::test]
async fn a_scope_that_was_left_out_does_not_come_back_by_a_way_round() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    delegate("mailer", "user:partner:*", "mail")
        .add(issuer)
        .await;
    let first = scene
        .planner_for_alice(&[("scope", "read")])
        .await
        .assert_issued();
    let to_id = [("requested_token_type", ID_TOKEN)];
    let mut token = exchange(issuer, &scene.mailer, &first, &to_id)
        .await
        .assert_issued();
    let at_mail = [("subject_token_type", ID_TOKEN), ("resource", MAIL)];
    let answer = exchange(issuer, &scene.mailer, &token, &at_mail).await;
    assert_eq!(answer.claims()["scope"], "read");
    // Nor by a circle.
    let again = [
        ("subject_token_type", ID_TOKEN),
        ("requested_token_type", ID_TOKEN),
    ];
    for _ in 0..14 {
        token = exchange(issuer, &scene.mailer, &token, &again)
            .await
            .assert_issued();
    }
    let answer = exchange(issuer, &scene.mailer, &token, &again).await;
    assert_eq!(
        refusal(&answer),
        r#"400 {"error":"invalid_request","error_description":"subject_token: it is the result of 16 exchanges, and at most 16 are allowed; exchange an earlier token"}"#
    );
}
