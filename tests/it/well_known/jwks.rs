//! DJ-004, DJ-007 to DJ-010. Rotation as such is in `rotation.rs`.

use std::collections::HashSet;
use std::sync::Arc;

use firman::issuer::Caller;
use firman::jose::SigningAlgorithm;
use firman::testing::TestIssuer;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::assert_document_headers;

const JWKS: &str = "/oauth2/jwks";

fn keys(document: &Value) -> Vec<Value> {
    document["keys"].as_array().unwrap().clone()
}

#[tokio::test]
async fn dj_004_every_key_is_public_for_signatures_and_named_once() {
    let issuer = TestIssuer::start().await;
    issuer
        .issuer()
        .rotate_keys(&Caller::system(), None)
        .await
        .unwrap();
    let answer = issuer.get(JWKS).await;
    assert_document_headers(&answer);
    let keys = keys(&answer.json());
    let mut kids = HashSet::new();
    let mut kinds = Vec::new();
    for key in &keys {
        let members: Vec<&str> = key
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        match key["kty"].as_str().unwrap() {
            "EC" => assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]),
            "RSA" => assert_eq!(members, ["alg", "e", "kid", "kty", "n", "use"]),
            other => panic!("{other}"),
        }
        assert_eq!(key["use"], "sig");
        assert!(
            kids.insert(key["kid"].as_str().unwrap().to_owned()),
            "{answer}"
        );
        kinds.push(key["alg"].as_str().unwrap().to_owned());
    }
    kinds.sort();
    assert_eq!(kinds, ["ES256", "ES256", "RS256", "RS256"]);
    assert_eq!(answer.json().as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn dj_007_the_entity_tag_changes_with_the_keys_and_the_cache_time_is_below_publish_ahead() {
    let issuer = TestIssuer::start().await;
    let before = issuer.get(JWKS).await;
    let known = [("if-none-match", before.header("etag"))];
    assert_eq!(
        issuer
            .send(reqwest::Method::GET, JWKS, &known, "")
            .await
            .status,
        304
    );
    issuer
        .issuer()
        .rotate_keys(&Caller::system(), Some(SigningAlgorithm::Es256))
        .await
        .unwrap();
    let after = issuer.send(reqwest::Method::GET, JWKS, &known, "").await;
    assert_eq!(after.status, 200);
    assert_ne!(after.header("etag"), before.header("etag"));
    assert_eq!(keys(&after.json()).len(), keys(&before.json()).len() + 1);
    let max_age: i64 = after
        .header("cache-control")
        .strip_prefix("public, max-age=")
        .unwrap()
        .parse()
        .unwrap();
    assert!(max_age < firman::issuer::rotation::PUBLISH_AHEAD_SECONDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn dj_008_and_009_both_documents_are_served_a_thousand_times_without_a_database() {
    let issuer = Arc::new(TestIssuer::start().await);
    let paths = [JWKS, "/.well-known/openid-configuration"];
    let before = [
        issuer.get(paths[0]).await.text(),
        issuer.get(paths[1]).await.text(),
    ];
    issuer.host().store().close().await;
    let mut readers = JoinSet::new();
    for number in 0..20 {
        let (issuer, before) = (Arc::clone(&issuer), before.clone());
        readers.spawn(async move {
            for _ in 0..50 {
                let answer = issuer.get(paths[number % 2]).await;
                assert_eq!((answer.status, &answer.text()), (200, &before[number % 2]));
            }
        });
    }
    readers.join_all().await;
    assert_eq!(issuer.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn dj_010_fifty_rotations_leave_a_bounded_document() {
    let issuer = TestIssuer::start().await;
    let system = Caller::system();
    let rotate = async || {
        issuer
            .issuer()
            .rotate_keys(&system, Some(SigningAlgorithm::Es256))
            .await
            .unwrap();
        issuer.clock.advance(900);
        issuer.host().maintain().await;
    };
    // As often as it can be done: all are still published for their last tokens.
    for _ in 0..50 {
        rotate().await;
    }
    let crowded = issuer.get(JWKS).await;
    assert!(
        crowded.body.len() < 64 * 1024,
        "{} bytes",
        crowded.body.len()
    );
    assert!(keys(&crowded.json()).len() <= 52, "{crowded}");
    // Half a day later all but the signing ones are gone.
    issuer.clock.advance(43_230);
    issuer.host().maintain().await;
    let algorithms: Vec<Value> = keys(&issuer.get(JWKS).await.json())
        .iter()
        .map(|key| key["alg"].clone())
        .collect();
    assert_eq!(algorithms.len(), 2, "{algorithms:?}");
    assert!(algorithms.contains(&json!("ES256")) && algorithms.contains(&json!("RS256")));
}
