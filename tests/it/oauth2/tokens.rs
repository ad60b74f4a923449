//! TE-045, TE-048 and what an issued token holds.

use std::collections::HashSet;

use firman::domain::audit::AuditEvent;
use firman::domain::signing_key::KeyState;
use firman::issuer::Caller;
use firman::issuer::change::Touches;
use firman::jose::digest::decode_base64url;
use firman::testing::{START, TestKey, decoded_part};
use insta::assert_snapshot;
use reqwest::Method;

use super::*;

#[tokio::test]
async fn te_045_without_a_signing_key_the_answer_is_503_and_no_token() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let settings = issuer.issuer().settings().await.unwrap();
    let mut change = issuer
        .issuer()
        .begin(&Caller::system(), Touches::Policy)
        .await
        .unwrap();
    let at = change.now();
    for key in issuer.issuer().keys().await.unwrap() {
        let record = key.record;
        let retired = KeyState::Retired { at };
        let moved = change
            .tx
            .move_key(
                &settings.id,
                &record.kid,
                record.state,
                retired,
                change.version,
            )
            .await;
        assert!(moved.unwrap());
        change.audit(
            AuditEvent::KeyRetired,
            format!("key:{}", record.kid),
            None,
            &json!({}),
        );
    }
    issuer.issuer().end(change).await.unwrap();

    let answer = by_basic(&issuer, "mailer", agent.secret(), &[]).await;
    assert_endpoint_headers(&answer);
    assert_eq!(answer.header("retry-after"), "30");
    assert_snapshot!(answer, @r#"503 {"error":"server_error","error_description":"the token cannot be issued; see the issuer's log"}"#);
    assert_tokens_issued(&issuer, 0).await;
    let refused = audited_in_time(&issuer, "token.refused", 1).await;
    assert_snapshot!(refused[0].draft.detail, @r#"{"error":"server_error","reason":"no ES256 signing key is active"}"#);
    assert_snapshot!(issuer.get("/oauth2/jwks").await, @r#"200 {"keys":[]}"#);
}

#[tokio::test]
async fn a_database_that_is_away_is_503_with_retry_after_and_no_token() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let _ = by_basic(&issuer, "mailer", agent.secret(), &[])
        .await
        .assert_issued();
    issuer.host().store().close().await;
    let mut seen = Distinct::default();
    for secret in [agent.secret(), "wrong"] {
        let answer = by_basic(&issuer, "mailer", secret, &[]).await;
        assert_endpoint_headers(&answer);
        assert_eq!(answer.header("retry-after"), "1");
        seen.add(&answer);
    }
    assert_snapshot!(seen, @r#"503 {"error":"temporarily_unavailable","error_description":"temporarily unavailable; try again"}"#);
}

#[tokio::test]
async fn te_048_a_hundred_tokens_have_a_hundred_numbers_that_no_one_can_guess() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let (mut ids, mut random_parts) = (HashSet::new(), HashSet::new());
    for _ in 0..100 {
        let claims = by_basic(&issuer, "mailer", agent.secret(), &[])
            .await
            .claims();
        let id = claims["jti"].as_str().unwrap().to_owned();
        let bytes = decode_base64url(&id).unwrap();
        assert_eq!(bytes.len(), 6 + 16);
        random_parts.insert(bytes[6..].to_vec());
        ids.insert(id);
        assert_eq!(
            (&claims["iat"], &claims["nbf"]),
            (&json!(START), &json!(START))
        );
    }
    assert_eq!((ids.len(), random_parts.len()), (100, 100));
}

#[tokio::test]
async fn the_whole_access_token_is_as_documented() {
    let issuer = mail_issuer().await;
    let agent = issuer
        .agent("team-a.mailer")
        .role("mailer")
        .attribute("team", "a")
        .with_public_key(TestKey::EdDsa)
        .await;
    let answer = issuer.token_with(&agent.assertion().build()).await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
    let token = answer.assert_issued();
    let mut header = decoded_part(&token, 0);
    assert_eq!(header["kid"].as_str().unwrap().len(), 43);
    header["kid"] = json!("[kid]");
    assert_snapshot!(header, @r#"{"alg":"ES256","kid":"[kid]","typ":"at+jwt"}"#);
    let mut claims = answer.claims();
    claims["jti"] = json!("[jti]");
    assert_snapshot!(claims.to_string().replace(&issuer.url, "ISSUER"), @r#"{"acting_agent":"agent:team-a.mailer","aud":"https://mail.example","client_id":"team-a.mailer","exp":1800000900,"groups":[],"iat":1800000000,"iss":"ISSUER","jti":"[jti]","nbf":1800000000,"owner":"team-test","roles":["mailer"],"scope":"read send","sub":"agent:team-a.mailer","sub_profile":"ai_agent","team":"a"}"#);
}

#[tokio::test]
async fn openid_adds_an_id_token_for_the_client_with_a_number_and_an_audit_entry_of_its_own() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let answer = by_basic(
        &issuer,
        "mailer",
        agent.secret(),
        &[("scope", "openid read")],
    )
    .await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"id_token":"[token]","scope":"openid read","token_type":"Bearer"}"#);
    let id_token = answer.json()["id_token"].as_str().unwrap().to_owned();
    let (access, id) = (answer.claims(), decoded_part(&id_token, 1));
    assert_eq!(
        (&access["aud"], &id["aud"]),
        (&json!("https://mail.example"), &json!("mailer"))
    );
    assert_ne!(access["jti"], id["jti"]);
    assert_eq!(decoded_part(&id_token, 0)["typ"], "JWT");
    let recorded = |entries: Vec<AuditEntry>| {
        entries
            .into_iter()
            .map(|entry| json!(entry.draft.token_id))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        recorded(audited(&issuer, "token.issued").await),
        [access["jti"].clone()]
    );
    assert_eq!(
        recorded(audited(&issuer, "id_token.issued").await),
        [id["jti"].clone()]
    );
}

#[tokio::test]
async fn a_token_does_not_outlive_the_credential_that_proved_its_agent_nor_the_agent() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let new = json!({ "kind": "client_secret", "expires_in": 300 });
    let added = issuer
        .admin(Method::POST, "/agents/mailer/credentials", Some(&new))
        .await
        .json();
    let short = added["client_secret"].as_str().unwrap();
    let life = |answer: Answer| {
        let claims = answer.claims();
        assert_eq!(
            answer.json()["expires_in"],
            claims["exp"].as_i64().unwrap() - START
        );
        claims["exp"].as_i64().unwrap() - START
    };
    assert_eq!(life(by_basic(&issuer, "mailer", short, &[]).await), 300);
    let asked = [("expires_in", "301")];
    let refused = by_basic(&issuer, "mailer", short, &asked).await;
    assert_snapshot!(refused, @r#"400 {"error":"invalid_request","error_description":"`expires_in` must be at most 300 seconds here: the agent or its credential expires then"}"#);
    // Another credential of the same agent has its own end.
    assert_eq!(
        life(by_basic(&issuer, "mailer", agent.secret(), &[]).await),
        900
    );
    let edit = json!({ "expires_in": 120 });
    let edited = issuer
        .admin(Method::PATCH, "/agents/mailer", Some(&edit))
        .await;
    assert_eq!(edited.status, 200, "{edited}");
    assert_eq!(
        life(by_basic(&issuer, "mailer", agent.secret(), &[]).await),
        120
    );
    assert_eq!(life(by_basic(&issuer, "mailer", short, &[]).await), 120);
}

#[tokio::test]
async fn a_decision_that_goes_stale_again_and_again_is_made_until_it_holds() {
    let issuer = std::sync::Arc::new(mail_issuer().await);
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let changing = {
        let issuer = std::sync::Arc::clone(&issuer);
        tokio::spawn(async move {
            for change in 0..40 {
                let body = json!({ "description": format!("change {change}") });
                let edited = issuer
                    .admin(Method::PATCH, "/roles/mailer", Some(&body))
                    .await;
                assert_eq!(edited.status, 200, "{edited}");
            }
        })
    };
    let mut asked = 0;
    while !changing.is_finished() {
        let answers = (0..4).map(|_| by_basic(&issuer, &agent.name, agent.secret(), &[]));
        for answer in answers {
            let _ = answer.await.assert_issued();
            asked += 1;
        }
    }
    changing.await.unwrap();
    assert!(asked >= 4, "{asked}");
}
