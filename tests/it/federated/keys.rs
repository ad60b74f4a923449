//! Where the keys of a trusted issuer come from, and what happens when they cannot be had.

use firman::ports::fetch::{HttpFetcher, Loopback};
use firman::testing::TestOptions;
use insta::assert_snapshot;
use reqwest::Method;

use super::*;
use crate::oauth2::{Answers, REFUSED};

/// An issuer that trusts a stand-in by its discovery document.
async fn discovered() -> (TestIssuer, StandIn) {
    let issuer = mail_issuer().await;
    let stand_in = StandIn::start().await;
    stand_in.publishes(&[TestKey::Es256]);
    let further = json!({ "keys": { "type": "discovery" }, "jti": "reusable" });
    let added = trust(&issuer, "platform", &stand_in.url, further).await;
    assert_eq!(added.status, 201, "{added}");
    federate(
        &issuer,
        "worker",
        "platform",
        json!({ "subject": "worker" }),
    )
    .await;
    (issuer, stand_in)
}

#[tokio::test]
async fn keys_are_fetched_once_and_again_when_the_issuer_has_rotated() {
    let (issuer, stand_in) = discovered().await;
    let asked_at_first = stand_in.key_set_requests();
    for _ in 0..5 {
        let token = stand_in.token(&issuer, TestKey::Es256, START);
        let _ = present(&issuer, None, &token).await.assert_issued();
    }
    assert_eq!(stand_in.key_set_requests() - asked_at_first, 1);
    // A key that is not published makes us ask once a minute, however often it is used.
    issuer.clock.advance(61);
    let now = START + 61;
    let rotated = stand_in.token(&issuer, TestKey::Es256Second, now);
    for _ in 0..5 {
        assert_eq!(refusal(&present(&issuer, None, &rotated).await), REFUSED);
    }
    assert_eq!(stand_in.key_set_requests() - asked_at_first, 2);
    stand_in.publishes(&[TestKey::Es256, TestKey::Es256Second]);
    assert_eq!(refusal(&present(&issuer, None, &rotated).await), REFUSED);
    issuer.clock.advance(60);
    let _ = present(&issuer, None, &rotated).await.assert_issued();
    // A key that is withdrawn is good for ten minutes more.
    stand_in.publishes(&[TestKey::Es256Second]);
    let now = now + 60;
    let old = stand_in.token(&issuer, TestKey::Es256, now);
    let _ = present(&issuer, None, &old).await.assert_issued();
    issuer.clock.advance(600);
    let old = stand_in.token(&issuer, TestKey::Es256, now + 600);
    assert_eq!(refusal(&present(&issuer, None, &old).await), REFUSED);
}

#[tokio::test]
async fn an_issuer_that_is_down_is_trusted_for_a_day() {
    let (issuer, stand_in) = discovered().await;
    let token = stand_in.token(&issuer, TestKey::Es256, START);
    let _ = present(&issuer, None, &token).await.assert_issued();
    stand_in.is_down();
    issuer.clock.advance(86_000);
    let token = stand_in.token(&issuer, TestKey::Es256, START + 86_000);
    let _ = present(&issuer, None, &token).await.assert_issued();
    // Nor does an edit that has nothing to do with the keys lose them.
    let path = "/trusted-issuers/platform";
    let edit = json!({ "description": "the build farm" });
    let edited = issuer.admin(Method::PATCH, path, Some(&edit)).await;
    assert_eq!(edited.status, 200, "{edited}");
    let _ = present(&issuer, None, &token).await.assert_issued();
    // A new key cannot be distinguished from an invented one.
    let unknown = stand_in.token(&issuer, TestKey::Es256Second, START + 86_000);
    assert_eq!(present(&issuer, None, &unknown).await.status, 503);
    issuer.clock.advance(400);
    let token = stand_in.token(&issuer, TestKey::Es256, START + 86_400);
    let answer = present(&issuer, None, &token).await;
    assert_eq!(answer.header("retry-after"), "1");
    assert_snapshot!(answer, @r#"503 {"error":"temporarily_unavailable","error_description":"temporarily unavailable; try again"}"#);
    // It comes back: once the back-off is over all is well.
    stand_in.publishes(&[TestKey::Es256]);
    let discovery = json!({ "issuer": stand_in.url, "jwks_uri": format!("{}/jwks", stand_in.url) });
    stand_in.answers("/.well-known/openid-configuration", Reply::json(&discovery));
    issuer.clock.advance(60);
    let _ = present(&issuer, None, &token).await.assert_issued();
}

#[tokio::test]
async fn many_requests_at_once_share_one_fetch() {
    let (issuer, stand_in) = discovered().await;
    let asked_at_first = stand_in.key_set_requests();
    let slow = Reply {
        after: Duration::from_millis(300),
        ..Reply::json(&key_set(&[TestKey::Es256]))
    };
    stand_in.answers("/jwks", slow);
    let token = stand_in.token(&issuer, TestKey::Es256, START);
    let issuer = Arc::new(issuer);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (issuer, token) = (Arc::clone(&issuer), token.clone());
            tokio::spawn(async move { present(&issuer, None, &token).await.status })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("no panic"), 200);
    }
    assert_eq!(stand_in.key_set_requests() - asked_at_first, 1);
}

#[tokio::test]
async fn an_issuer_that_is_slow_does_not_hold_up_those_whose_keys_are_at_hand() {
    let (issuer, stand_in) = discovered().await;
    let token = stand_in.token(&issuer, TestKey::Es256, START);
    let _ = present(&issuer, None, &token).await.assert_issued();
    let slow = Reply {
        after: Duration::from_secs(20),
        ..Reply::json(&key_set(&[TestKey::Es256]))
    };
    stand_in.answers("/jwks", slow);
    issuer.clock.advance(700);
    let token = stand_in.token(&issuer, TestKey::Es256, START + 700);
    let began = std::time::Instant::now();
    let _ = present(&issuer, None, &token).await.assert_issued();
    let _ = present(&issuer, None, &token).await.assert_issued();
    assert!(began.elapsed() < Duration::from_millis(2500));
}

#[tokio::test]
async fn an_edit_of_the_keys_takes_effect_at_once() {
    let (issuer, stand_in) = discovered().await;
    let token = stand_in.token(&issuer, TestKey::Es256, START);
    let _ = present(&issuer, None, &token).await.assert_issued();
    let body = json!({ "keys": { "type": "inline", "jwks": key_set(&[TestKey::Es256Second]) } });
    let edited = issuer
        .admin(Method::PATCH, "/trusted-issuers/platform", Some(&body))
        .await;
    assert_eq!(edited.status, 200, "{edited}");
    assert_eq!(refusal(&present(&issuer, None, &token).await), REFUSED);
    let token = stand_in.token(&issuer, TestKey::Es256Second, START);
    let _ = present(&issuer, None, &token).await.assert_issued();
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn documents_that_are_not_what_they_must_be_are_refused_when_the_issuer_is_added() {
    let issuer = mail_issuer().await;
    let mut answers = Answers::default();
    let discovery = "/.well-known/openid-configuration";
    let other =
        json!({ "issuer": "https://other.example", "jwks_uri": "https://other.example/jwks" });
    let huge = Reply {
        body: vec![b' '; 64 * 1024 + 1],
        ..Reply::json(&json!({}))
    };
    let redirect = Reply {
        status: 302,
        head: "location: http://127.0.0.1:1/\r\n".to_owned(),
        ..Reply::json(&json!({}))
    };
    for (case, path, reply) in [
        ("another issuer's", discovery, Reply::json(&other)),
        (
            "no JSON",
            discovery,
            Reply {
                body: b"<html>".to_vec(),
                ..Reply::json(&json!({}))
            },
        ),
        ("a redirect", discovery, redirect),
        (
            "a key set without keys",
            "/jwks",
            Reply::json(&json!({ "keys": [] })),
        ),
        ("a huge key set", "/jwks", huge),
        (
            "a key set that is not there",
            "/jwks",
            Reply {
                status: 404,
                ..Reply::json(&json!({}))
            },
        ),
    ] {
        let stand_in = StandIn::start().await;
        stand_in.publishes(&[TestKey::Es256]);
        stand_in.answers(path, reply);
        let name = case.replace([' ', '\''], "-");
        let further = json!({ "keys": { "type": "discovery" } });
        let name = name.to_ascii_lowercase();
        let answer = trust(&issuer, &name, &stand_in.url, further).await;
        let said = match answer.status {
            201 => format!("201 {}", answer.json()["warnings"]),
            status => format!("{status} {}", answer.json()["detail"]),
        };
        let said = said.replace(&stand_in.url, "PLATFORM");
        answers.add(case, &issuer, &said);
    }
    for (case, jwks_uri) in [
        ("a key set on a private address", "https://10.0.0.1/jwks"),
        (
            "a key set of the machine's own cloud",
            "https://169.254.169.254/latest/meta-data/",
        ),
        (
            "a key set over http elsewhere",
            "http://keys.example.com/jwks",
        ),
    ] {
        let stand_in = StandIn::start().await;
        let document = json!({ "issuer": stand_in.url, "jwks_uri": jwks_uri });
        stand_in.answers(discovery, Reply::json(&document));
        let further = json!({ "keys": { "type": "discovery" } });
        let answer = trust(&issuer, "x", &stand_in.url, further).await;
        let said = format!("{} {}", answer.status, answer.json()["detail"]);
        answers.add(case, &issuer, &said.replace(&stand_in.url, "PLATFORM"));
    }
    assert_snapshot!(answers, @r#"
    another issuer's: 400 "url: cannot be used: the discovery document PLATFORM/.well-known/openid-configuration does not name the issuer PLATFORM, byte for byte"
    no JSON: 400 "url: cannot be used: the discovery document PLATFORM/.well-known/openid-configuration is not valid JSON"
    a redirect: 400 "url: cannot be used: the discovery document PLATFORM/.well-known/openid-configuration answers with a redirect (302), which is not followed; register the final address"
    a key set without keys: 400 "url: cannot be used: the key set PLATFORM/jwks: the key set does not have a usable key"
    a huge key set: 201 [{"text":"the key set PLATFORM/jwks cannot be fetched: the answer is longer than 65536 bytes; firman fetches again when a token arrives"}]
    a key set that is not there: 201 [{"text":"the key set PLATFORM/jwks cannot be fetched: the answer has the status 404; firman fetches again when a token arrives"}]
    a key set on a private address: 400 "url: cannot be used: the key set https://10.0.0.1/jwks must not be fetched: its host is not a public address"
    a key set of the machine's own cloud: 400 "url: cannot be used: the key set https://169.254.169.254/latest/meta-data/ must not be fetched: its host is not a public address"
    a key set over http elsewhere: 400 "url: cannot be used: the key set http://keys.example.com/jwks must not be fetched: it is not an https URL"
    "#);
}

#[tokio::test]
async fn without_the_switch_for_laboratories_nothing_on_this_machine_is_fetched() {
    let options = TestOptions {
        fetcher: Some(Arc::new(HttpFetcher::new(Loopback::Refused))),
        ..TestOptions::default()
    };
    let issuer = TestIssuer::start_with(options).await;
    grant_mail(&issuer).await;
    let stand_in = StandIn::start().await;
    let mut answers = Answers::default();
    for (url, keys) in [
        (stand_in.url.as_str(), json!({ "type": "discovery" })),
        ("https://127.0.0.1", json!({ "type": "discovery" })),
        ("https://localhost", json!({ "type": "discovery" })),
        ("https://169.254.169.254", json!({ "type": "discovery" })),
        ("https://[fd00::1]", json!({ "type": "discovery" })),
        (
            "https://id.example.com",
            json!({ "type": "jwks_uri", "url": "https://192.168.0.1/jwks" }),
        ),
        (
            "https://id.example.com",
            json!({ "type": "jwks_uri", "url": "http://keys.example.com/jwks" }),
        ),
    ] {
        let answer = trust(&issuer, "x", url, json!({ "keys": keys })).await;
        let said = format!("{} {}", answer.status, answer.json()["detail"]);
        let case = format!("{url} {keys}").replace(&stand_in.url, "PLATFORM");
        answers.add(&case, &issuer, &said);
    }
    assert_eq!(stand_in.key_set_requests(), 0);
    assert_snapshot!(answers, @r#"
    PLATFORM {"type":"discovery"}: 400 "url: must not be fetched: it is not an https URL; keys are fetched from public `https` addresses only"
    https://127.0.0.1 {"type":"discovery"}: 400 "url: must not be fetched: its host is not a public address; keys are fetched from public `https` addresses only"
    https://localhost {"type":"discovery"}: 400 "url: must not be fetched: its host is not a public address; keys are fetched from public `https` addresses only"
    https://169.254.169.254 {"type":"discovery"}: 400 "url: must not be fetched: its host is not a public address; keys are fetched from public `https` addresses only"
    https://[fd00::1] {"type":"discovery"}: 400 "url: must not be fetched: its host is not a public address; keys are fetched from public `https` addresses only"
    https://id.example.com {"type":"jwks_uri","url":"https://192.168.0.1/jwks"}: 400 "jwks_uri: must not be fetched: its host is not a public address; keys are fetched from public `https` addresses only"
    https://id.example.com {"type":"jwks_uri","url":"http://keys.example.com/jwks"}: 400 "jwks_uri: must not be fetched: it is not an https URL; keys are fetched from public `https` addresses only"
    "#);
}

#[tokio::test]
async fn a_token_of_a_stranger_makes_no_one_fetch_anything() {
    let issuer = mail_issuer().await;
    let stand_in = StandIn::start().await;
    stand_in.publishes(&[TestKey::Es256]);
    let token = stand_in.token(&issuer, TestKey::Es256, START);
    assert_eq!(refusal(&present(&issuer, None, &token).await), REFUSED);
    assert!(stand_in.seen.lock().expect("the log").is_empty());
}
