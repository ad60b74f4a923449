//! DJ-005, DJ-006: signing keys change, and every token verifies with the JWKS of its moment until it
//! has expired. The verifier is `jsonwebtoken`, as a relying party would use it.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use firman::issuer::{Caller, IssuerError};
use firman::jose::SigningAlgorithm;
use firman::testing::{TestAgent, TestIssuer, TestKey, decoded_part};
use insta::assert_snapshot;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;

use crate::oauth2::{audited, by_basic, mail_issuer};

const PUBLISH_AHEAD: i64 = 900;
/// Twelve hours, the longest life of a token, and the skew.
const RETENTION: i64 = 43_230;

async fn mailer() -> (TestIssuer, TestAgent) {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    (issuer, agent)
}

async fn token(issuer: &TestIssuer, agent: &TestAgent) -> String {
    by_basic(issuer, "mailer", agent.secret(), &[])
        .await
        .assert_issued()
}

fn kid(token: &str) -> String {
    decoded_part(token, 0)["kid"].as_str().unwrap().to_owned()
}

/// Whether a relying party that reads the JWKS now verifies the signature.
async fn verifies(issuer: &TestIssuer, token: &str) -> bool {
    let set: JwkSet = serde_json::from_slice(&issuer.get("/oauth2/jwks").await.body).unwrap();
    let Some(jwk) = set.find(&kid(token)) else {
        return false;
    };
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&["https://mail.example"]);
    validation.set_issuer(&[&issuer.url]);
    // The clock of these tests is not the machine's.
    validation.validate_exp = false;
    jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(jwk).unwrap(), &validation)
        .unwrap();
    true
}

async fn published(issuer: &TestIssuer) -> Vec<String> {
    let document = issuer.get("/oauth2/jwks").await.json();
    let keys = document["keys"].as_array().unwrap();
    let es256 = keys.iter().filter(|key| key["alg"] == "ES256");
    es256
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

async fn rotate(issuer: &TestIssuer) -> String {
    let made = issuer
        .issuer()
        .rotate_keys(&Caller::system(), Some(SigningAlgorithm::Es256))
        .await
        .unwrap();
    made[0].record.kid.clone()
}

async fn after(issuer: &TestIssuer, seconds: i64) {
    issuer.clock.advance(seconds);
    issuer.host().maintain().await;
}

#[tokio::test]
async fn dj_005_a_new_key_is_published_before_it_signs_and_the_old_stays_for_its_last_token() {
    let (issuer, agent) = mailer().await;
    let before = token(&issuer, &agent).await;
    let old = kid(&before);

    let new = rotate(&issuer).await;
    assert_ne!(new, old);
    assert_eq!(published(&issuer).await.len(), 2);
    assert_eq!(kid(&token(&issuer, &agent).await), old);

    after(&issuer, PUBLISH_AHEAD - 1).await;
    let last = token(&issuer, &agent).await;
    assert_eq!(kid(&last), old);
    after(&issuer, 1).await;
    let first = token(&issuer, &agent).await;
    assert_eq!(kid(&first), new);
    for token in [&before, &last, &first] {
        assert!(verifies(&issuer, token).await);
    }

    after(&issuer, RETENTION - 1).await;
    assert_eq!(published(&issuer).await.len(), 2);
    assert!(verifies(&issuer, &last).await);
    after(&issuer, 1).await;
    assert_eq!(published(&issuer).await.join(" "), new);
    assert!(!verifies(&issuer, &last).await);
    assert!(verifies(&issuer, &first).await);
    assert_eq!(kid(&token(&issuer, &agent).await), new);

    let counts = [
        "key.prepared",
        "key.activated",
        "key.retired",
        "key.revoked",
    ];
    let mut found = Vec::new();
    for event in counts {
        let of_rotation = audited(&issuer, event)
            .await
            .into_iter()
            .filter(|entry| entry.draft.target != format!("key:{old}") || event == "key.retired");
        found.push(
            of_rotation
                .filter(|entry| entry.draft.detail.contains("ES256"))
                .count(),
        );
    }
    assert_eq!(found, [1, 1, 1, 0]);
}

#[tokio::test]
async fn dj_005_a_token_always_verifies_with_the_jwks_of_its_moment_over_ten_rotations() {
    let (issuer, agent) = mailer().await;
    let mut alive: Vec<(i64, String)> = Vec::new();
    let mut now = 0;
    for step in 0..60 {
        if step % 6 == 0 {
            rotate(&issuer).await;
        }
        alive.push((now + 900, token(&issuer, &agent).await));
        after(&issuer, 307).await;
        now += 307;
        alive.retain(|(expires, _)| *expires > now);
        for (_, token) in &alive {
            assert!(verifies(&issuer, token).await, "step {step}");
        }
    }
    assert_eq!(
        audited(&issuer, "key.activated")
            .await
            .into_iter()
            .filter(|entry| entry.draft.actor == "system"
                && entry.draft.detail.contains("published long enough"))
            .count(),
        10
    );
}

#[tokio::test]
async fn dj_005_a_second_rotation_while_one_is_prepared_is_refused() {
    let (issuer, _) = mailer().await;
    rotate(&issuer).await;
    let again = issuer
        .issuer()
        .rotate_keys(&Caller::system(), Some(SigningAlgorithm::Es256))
        .await;
    let Err(IssuerError::Conflict { what: said, .. }) = again else {
        panic!("{again:?}")
    };
    assert_snapshot!(said, @"a new ES256 key is already prepared and will sign at 2027-01-15T08:15:00Z or later");
    assert_eq!(published(&issuer).await.len(), 2);
}

#[tokio::test]
async fn dj_005_a_rotation_goes_on_after_a_restart() {
    let (issuer, agent) = mailer().await;
    let before = token(&issuer, &agent).await;
    let new = rotate(&issuer).await;
    let issuer = issuer.restart().await;
    assert_eq!(kid(&token(&issuer, &agent).await), kid(&before));
    after(&issuer, PUBLISH_AHEAD).await;
    let issuer = issuer.restart().await;
    assert_eq!(kid(&token(&issuer, &agent).await), new);
    assert!(verifies(&issuer, &before).await);
}

#[tokio::test]
async fn dj_006_a_revoked_key_is_out_of_the_jwks_at_once_and_its_tokens_die() {
    let (issuer, agent) = mailer().await;
    let before = token(&issuer, &agent).await;
    let leaked = kid(&before);
    let etag = issuer.get("/oauth2/jwks").await.header("etag").to_owned();

    let active = issuer
        .issuer()
        .revoke_key(&Caller::system(), &leaked, "found in a log")
        .await
        .unwrap()
        .active;

    assert!(!verifies(&issuer, &before).await);
    assert_eq!(published(&issuer).await.join(" "), active.record.kid);
    let fresh = issuer
        .send(
            reqwest::Method::GET,
            "/oauth2/jwks",
            &[("if-none-match", &etag)],
            "",
        )
        .await;
    assert_eq!(fresh.status, 200);
    let next = token(&issuer, &agent).await;
    assert_eq!(kid(&next), active.record.kid);
    assert!(verifies(&issuer, &next).await);
    let entries = audited(&issuer, "key.revoked").await;
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].draft.target, format!("key:{leaked}"));
    assert_snapshot!(entries[0].draft.detail, @r#"{"algorithm":"ES256","reason":"found in a log","was":"active"}"#);

    let again = issuer
        .issuer()
        .revoke_key(&Caller::system(), &leaked, "again")
        .await;
    assert!(
        matches!(again, Err(IssuerError::Conflict { .. })),
        "{again:?}"
    );
    let unknown = issuer
        .issuer()
        .revoke_key(&Caller::system(), "unknown", "x")
        .await;
    assert!(
        matches!(unknown, Err(IssuerError::NotFound { .. })),
        "{unknown:?}"
    );
    let issuer = issuer.restart().await;
    assert!(!published(&issuer).await.contains(&leaked));
}

#[tokio::test]
async fn dj_006_a_prepared_key_takes_over_at_once_when_the_signing_one_is_revoked() {
    let (issuer, agent) = mailer().await;
    let leaked = kid(&token(&issuer, &agent).await);
    let prepared = rotate(&issuer).await;
    issuer
        .issuer()
        .revoke_key(&Caller::system(), &leaked, "leaked")
        .await
        .unwrap();
    assert_eq!(kid(&token(&issuer, &agent).await), prepared);
    assert_eq!(published(&issuer).await.join(" "), prepared);
    // Its own activation, due later, is not done twice.
    after(&issuer, PUBLISH_AHEAD).await;
    assert_eq!(kid(&token(&issuer, &agent).await), prepared);
}

#[tokio::test]
async fn a_retiring_key_can_be_revoked_and_the_signing_one_signs_on() {
    let (issuer, agent) = mailer().await;
    let before = token(&issuer, &agent).await;
    let new = rotate(&issuer).await;
    after(&issuer, PUBLISH_AHEAD).await;
    issuer
        .issuer()
        .revoke_key(&Caller::system(), &kid(&before), "leaked late")
        .await
        .unwrap();
    assert_eq!(published(&issuer).await.join(" "), new);
    assert_eq!(kid(&token(&issuer, &agent).await), new);
}

#[tokio::test]
async fn an_rs256_resource_is_signed_by_the_rsa_key_whose_rotation_is_its_own() {
    let issuer = mail_issuer().await;
    let changes = firman::api::resource::ResourceEdit {
        algorithm: Some(Some("RS256".to_owned())),
        ..Default::default()
    };
    issuer
        .issuer()
        .edit_resource(&Caller::system(), "mail", changes, None)
        .await
        .unwrap();
    let agent = issuer
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    let answer = issuer.token_with(&agent.assertion().build()).await;
    let header = decoded_part(&answer.assert_issued(), 0);
    assert_eq!(header["alg"], "RS256");
    rotate(&issuer).await;
    after(&issuer, PUBLISH_AHEAD).await;
    let assertion = agent
        .assertion()
        .claim("exp", firman::testing::START + 1800)
        .build();
    let answer = issuer.token_with(&assertion).await;
    assert_eq!(decoded_part(&answer.assert_issued(), 0), header);
}
