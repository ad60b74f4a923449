//! TX-001 to TX-005, TX-015, TX-021, TX-024, TX-025: what a request may look like.

use std::time::{Duration, Instant};

use firman::jose::digest::base64url;
use firman::testing::TestKey;
use insta::assert_snapshot;
use serde_json::json;

use super::support::*;
use super::*;
use crate::oauth2::{Answers, Distinct, assert_tokens_issued, audited, basic, granted, refusal};

/// Posts a form of `planner` without a subject token of its own.
async fn ask(scene: &Scene, form: &[(&str, &str)]) -> Answer {
    let authorization = basic("planner", scene.planner.secret());
    let mut all = vec![("grant_type", TOKEN_EXCHANGE)];
    all.extend_from_slice(form);
    scene
        .issuer
        .token_with_headers(&[("authorization", &authorization)], &all)
        .await
}

#[tokio::test]
async fn tx_001_a_request_without_subject_token_or_its_type_is_refused() {
    let scene = Scene::new().await;
    let token = outside(&scene.issuer, "alice").build();
    let mut answers = Answers::default();
    for (case, form) in [
        ("neither", &[][..]),
        ("no token", &[("subject_token_type", JWT)]),
        (
            "an empty token",
            &[("subject_token_type", JWT), ("subject_token", "")],
        ),
        ("no type", &[("subject_token", &token)]),
        (
            "an empty type",
            &[("subject_token", &token), ("subject_token_type", "")],
        ),
    ] {
        answers.add(case, &scene.issuer, &refusal(&ask(&scene, form).await));
    }
    assert_tokens_issued(&scene.issuer, 0).await;
    assert_snapshot!(answers, @r#"
    neither: 400 {"error":"invalid_request","error_description":"`subject_token` is required"}
    no token: 400 {"error":"invalid_request","error_description":"`subject_token` is required"}
    an empty token: 400 {"error":"invalid_request","error_description":"`subject_token` is required"}
    no type: 400 {"error":"invalid_request","error_description":"`subject_token_type` is required"}
    an empty type: 400 {"error":"invalid_request","error_description":"`subject_token_type` is required"}
    "#);
}

#[tokio::test]
async fn tx_002_a_subject_token_of_an_unsupported_type_is_refused() {
    let scene = Scene::new().await;
    let token = outside(&scene.issuer, "alice").build();
    let mut seen = Distinct::default();
    for kind in [
        "urn:ietf:params:oauth:token-type:saml2",
        "urn:ietf:params:oauth:token-type:refresh_token",
        "urn:ietf:params:oauth:token-type:JWT",
        " urn:ietf:params:oauth:token-type:jwt",
        "jwt",
        "*",
    ] {
        let form = [
            ("subject_token", token.as_str()),
            ("subject_token_type", kind),
        ];
        seen.add(refusal(&ask(&scene, &form).await));
    }
    assert_tokens_issued(&scene.issuer, 0).await;
    assert_snapshot!(seen, @r#"400 {"error":"invalid_request","error_description":"`subject_token_type` must be one of: urn:ietf:params:oauth:token-type:access_token urn:ietf:params:oauth:token-type:jwt urn:ietf:params:oauth:token-type:id_token"}"#);
}

#[tokio::test]
async fn tx_003_an_actor_token_and_its_type_go_together() {
    let scene = Scene::new().await;
    let token = outside(&scene.issuer, "alice").build();
    let actor = identity_token(&scene.issuer, &scene.planner).await;
    let mut answers = Answers::default();
    for (case, further) in [
        ("no type", &[("actor_token", actor.as_str())][..]),
        ("no token", &[("actor_token_type", ACCESS_TOKEN)]),
        (
            "an unsupported type",
            &[
                ("actor_token", actor.as_str()),
                ("actor_token_type", "urn:ietf:params:oauth:token-type:saml1"),
            ],
        ),
    ] {
        let answer = exchange_jwt(&scene.issuer, &scene.planner, &token, further).await;
        answers.add(case, &scene.issuer, &refusal(&answer));
    }
    assert_eq!(audited(&scene.issuer, "token.issued").await.len(), 1);
    assert_snapshot!(answers, @r#"
    no type: 400 {"error":"invalid_request","error_description":"`actor_token_type` is required with `actor_token`"}
    no token: 400 {"error":"invalid_request","error_description":"`actor_token` is required with `actor_token_type`"}
    an unsupported type: 400 {"error":"invalid_request","error_description":"`actor_token_type` must be one of: urn:ietf:params:oauth:token-type:access_token urn:ietf:params:oauth:token-type:jwt urn:ietf:params:oauth:token-type:id_token"}
    "#);
}

#[tokio::test]
async fn tx_004_an_unsupported_requested_token_type_is_refused_and_never_replaced() {
    let scene = Scene::new().await;
    let mut seen = Distinct::default();
    for kind in [
        "urn:ietf:params:oauth:token-type:refresh_token",
        "urn:ietf:params:oauth:token-type:saml2",
        "access_token",
    ] {
        let answer = scene
            .planner_for_alice(&[("requested_token_type", kind)])
            .await;
        seen.add(refusal(&answer));
    }
    assert_tokens_issued(&scene.issuer, 0).await;
    assert_snapshot!(seen, @r#"400 {"error":"invalid_request","error_description":"`requested_token_type` must be one of: urn:ietf:params:oauth:token-type:access_token urn:ietf:params:oauth:token-type:jwt urn:ietf:params:oauth:token-type:id_token"}"#);
}

#[tokio::test]
async fn tx_005_a_good_exchange_says_what_was_issued() {
    let scene = Scene::new().await;
    let mut answers = Answers::default();
    for (case, further) in [
        ("by default", &[][..]),
        ("an access token", &[("requested_token_type", ACCESS_TOKEN)]),
        ("a JWT", &[("requested_token_type", JWT)]),
        (
            "narrower",
            &[("scope", "read"), ("resource", MAIL), ("expires_in", "30")],
        ),
        ("an ID token", &[("requested_token_type", ID_TOKEN)]),
    ] {
        let answer = scene.planner_for_alice(further).await;
        answers.add(case, &scene.issuer, &granted(&answer));
    }
    assert_snapshot!(answers, @r#"
    by default: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    an access token: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    a JWT: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:jwt","scope":"read send","token_type":"Bearer"}
    narrower: 200 {"access_token":"[token]","expires_in":30,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read","token_type":"Bearer"}
    an ID token: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:id_token","token_type":"N_A"}
    "#);
}

#[tokio::test]
async fn tx_015_an_audience_that_the_actor_may_not_call_is_refused() {
    let scene = Scene::new().await;
    scene.issuer.resource("vault", &["open"]).await;
    let mut answers = Answers::default();
    for (case, audience) in [
        ("not granted to the actor", "https://vault.example"),
        ("granted, not delegated", FILES),
        ("nowhere registered", "https://nowhere.example"),
        ("by its short name", "mail"),
        ("with a slash", "https://mail.example/"),
        ("in capitals", "HTTPS://MAIL.EXAMPLE"),
        ("the issuer", &scene.issuer.url),
        ("the client itself, for an access token", "planner"),
        ("another client", "mailer"),
        ("odd characters", "\u{202e}\"\\<script>\u{0}"),
    ] {
        let answer = scene.planner_for_alice(&[("audience", audience)]).await;
        answers.add(case, &scene.issuer, &refusal(&answer));
    }
    let token = outside(&scene.issuer, "alice").build();
    let answer = exchange_jwt(
        &scene.issuer,
        &scene.planner,
        &token,
        &[("requested_token_type", ID_TOKEN), ("audience", MAIL)],
    )
    .await;
    answers.add(
        "a resource, for an ID token",
        &scene.issuer,
        &refusal(&answer),
    );
    assert_tokens_issued(&scene.issuer, 0).await;
    assert_snapshot!(answers, @r#"
    not granted to the actor: 400 {"error":"invalid_target","error_description":"https://vault.example is not granted to this agent; granted: https://files.example https://mail.example"}
    granted, not delegated: 400 {"error":"invalid_target","error_description":"no delegation lets this agent act for user:partner:alice at https://files.example"}
    nowhere registered: 400 {"error":"invalid_target","error_description":"https://nowhere.example is not granted to this agent; granted: https://files.example https://mail.example"}
    by its short name: 400 {"error":"invalid_target","error_description":"mail is not granted to this agent; granted: https://files.example https://mail.example"}
    with a slash: 400 {"error":"invalid_target","error_description":"https://mail.example/ is not granted to this agent; granted: https://files.example https://mail.example"}
    in capitals: 400 {"error":"invalid_target","error_description":"HTTPS://MAIL.EXAMPLE is not granted to this agent; granted: https://files.example https://mail.example"}
    the issuer: 400 {"error":"invalid_target","error_description":"ISSUER is not granted to this agent; granted: https://files.example https://mail.example"}
    the client itself, for an access token: 400 {"error":"invalid_target","error_description":"planner is not granted to this agent; granted: https://files.example https://mail.example"}
    another client: 400 {"error":"invalid_target","error_description":"mailer is not granted to this agent; granted: https://files.example https://mail.example"}
    odd characters: 400 {"error":"invalid_target","error_description":"???<script>? is not granted to this agent; granted: https://files.example https://mail.example"}
    a resource, for an ID token: 400 {"error":"invalid_target","error_description":"an ID token is for the client that requests it: leave out `resource` and `audience`, or name planner"}
    "#);
}

#[tokio::test]
async fn tx_025_of_two_targets_the_good_one_is_not_picked() {
    let scene = Scene::new().await;
    let mut answers = Answers::default();
    for (case, further) in [
        (
            "the audience is bad",
            &[("resource", MAIL), ("audience", "https://nowhere.example")],
        ),
        (
            "the resource is bad",
            &[("resource", "https://nowhere.example"), ("audience", MAIL)],
        ),
        ("both are good", &[("resource", MAIL), ("audience", FILES)]),
        ("two resources", &[("resource", MAIL), ("resource", FILES)]),
    ] {
        let answer = scene.planner_for_alice(further).await;
        answers.add(case, &scene.issuer, &refusal(&answer));
    }
    assert_tokens_issued(&scene.issuer, 0).await;
    let both = [("resource", MAIL), ("audience", MAIL)];
    let answer = scene.planner_for_alice(&both).await;
    answers.add("the same", &scene.issuer, &granted(&answer));
    let twice = [("resource", MAIL), ("resource", MAIL)];
    let answer = scene.planner_for_alice(&twice).await;
    answers.add("one twice", &scene.issuer, &granted(&answer));
    assert_snapshot!(answers, @r#"
    the audience is bad: 400 {"error":"invalid_target","error_description":"the request names https://mail.example and https://nowhere.example; a token has one audience: send one request for each"}
    the resource is bad: 400 {"error":"invalid_target","error_description":"the request names https://nowhere.example and https://mail.example; a token has one audience: send one request for each"}
    both are good: 400 {"error":"invalid_target","error_description":"the request names https://mail.example and https://files.example; a token has one audience: send one request for each"}
    two resources: 400 {"error":"invalid_target","error_description":"the request names https://mail.example and https://files.example; a token has one audience: send one request for each"}
    the same: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    one twice: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    "#);
}

#[tokio::test]
async fn tx_021_claims_in_the_form_count_for_nothing() {
    let scene = Scene::new().await;
    let claims = [
        ("act", r#"{"sub":"agent:root"}"#),
        ("sub", "user:partner:root"),
        ("groups", "admins"),
        ("roles", "admin"),
        ("iss", "https://evil.example"),
        ("acting_agent", "agent:root"),
        ("may_act", "{}"),
        ("client_profile", "x"),
        ("delegation", "any"),
    ];
    let with_claims = scene.planner_for_alice(&claims).await;
    let plain = scene.planner_for_alice(&[]).await;
    assert_eq!(granted(&with_claims), granted(&plain));
    assert_eq!(
        without_jti(with_claims.claims()),
        without_jti(plain.claims())
    );
    assert_eq!(plain.claims()["sub"], ALICE);
}

#[tokio::test]
async fn tx_024_an_oversized_or_deeply_nested_subject_token_is_refused_at_once() {
    let scene = Scene::new().await;
    let nested = |levels: usize| {
        format!(
            "{{\"iss\":\"{}\",\"act\":{}{}}}",
            scene.issuer.url,
            "{\"act\":".repeat(levels) + "1",
            "}".repeat(levels)
        )
    };
    let token = |payload: &str| {
        let header = json!({"alg": "ES256", "typ": "at+jwt", "kid": "x"}).to_string();
        format!(
            "{}.{}.c2ln",
            base64url(header.as_bytes()),
            base64url(payload.as_bytes())
        )
    };
    let mut answers = Answers::default();
    for (case, subject_token) in [
        ("1 MB", "a".repeat(1_000_000)),
        ("200 kB of act", token(&nested(20_000))),
        ("40 kB", "a.".repeat(20_000)),
        ("40 kB of act", token(&nested(3_000))),
        ("6 kB of act", token(&nested(500))),
        ("17 levels", token(&nested(17))),
        ("no token", "x".to_owned()),
        ("dots", "..".to_owned()),
        (
            "odd characters",
            "\u{0}\u{202e}\u{1f600}.\u{0}.\u{0}".to_owned(),
        ),
    ] {
        let began = Instant::now();
        let answer = exchange(&scene.issuer, &scene.planner, &subject_token, &[]).await;
        // The client's secret is hashed too: what is refused before that is at once, the rest soon.
        assert!(began.elapsed() < Duration::from_secs(2), "{case}");
        answers.add(case, &scene.issuer, &refusal(&answer));
    }
    assert_tokens_issued(&scene.issuer, 0).await;
    assert_snapshot!(answers, @r#"
    1 MB: 413 {"error":"content_too_large","error_description":"the request body must be at most 65536 bytes long"}
    200 kB of act: 413 {"error":"content_too_large","error_description":"the request body must be at most 65536 bytes long"}
    40 kB: 400 {"error":"invalid_request","error_description":"subject_token: the token is longer than 8192 bytes"}
    40 kB of act: 400 {"error":"invalid_request","error_description":"subject_token: the token is longer than 8192 bytes"}
    6 kB of act: 400 {"error":"invalid_request","error_description":"subject_token: the payload of the token is nested deeper than 16 levels"}
    17 levels: 400 {"error":"invalid_request","error_description":"subject_token: the payload of the token is nested deeper than 16 levels"}
    no token: 400 {"error":"invalid_request","error_description":"subject_token: the token is not a compact JWS: it must have three parts joined by dots"}
    dots: 400 {"error":"invalid_request","error_description":"subject_token: the header of the token is not valid JSON"}
    odd characters: 400 {"error":"invalid_request","error_description":"subject_token: the header of the token is not base64url: only A-Z a-z 0-9 - _ are allowed, without padding or white space"}
    "#);
}

#[tokio::test]
async fn ca_046_an_access_token_proves_no_client_in_any_grant() {
    let scene = Scene::new().await;
    let delegated = scene.planner_for_alice(&[]).await.assert_issued();
    let mut seen = Distinct::default();
    for token in [
        identity_token(&scene.issuer, &scene.planner).await,
        own_token(&scene.issuer, &scene.planner, &[("resource", MAIL)]).await,
        delegated,
        outside(&scene.issuer, "alice").build(),
        outside(&scene.issuer, "planner")
            .claim("iss", "planner")
            .signed_by(TestKey::Es256)
            .build(),
    ] {
        for grant_type in ["client_credentials", TOKEN_EXCHANGE] {
            let answer = scene
                .issuer
                .token(&[
                    ("grant_type", grant_type),
                    (
                        "client_assertion_type",
                        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                    ),
                    ("client_assertion", &token),
                    ("subject_token", &token),
                    ("subject_token_type", ACCESS_TOKEN),
                ])
                .await;
            seen.add(refusal(&answer));
        }
    }
    assert_eq!(seen.to_string(), crate::oauth2::REFUSED);
}
