//! TX-006, TX-008 to TX-010, TX-020, TX-023: which of our own tokens may be a subject token, and for whom.

use firman::api::resource::NewResource;
use firman::issuer::Caller;
use firman::testing::{TestKey, decoded_part};
use insta::assert_snapshot;
use serde_json::json;

use super::support::*;
use super::*;
use crate::oauth2::{Answers, Distinct, by_basic, granted, refusal};

/// `mailer` may act for `planner` at `files`; this is a token of `planner` that `mailer` was sent.
async fn sent_to_mailer(scene: &Scene) -> String {
    own_token(&scene.issuer, &scene.planner, &[("resource", MAIL)]).await
}

/// `good` without our signature.
fn unsigned(issuer: &TestIssuer, good: &str) -> Vec<(&'static str, String)> {
    let claims = decoded_part(good, 1);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let flipped = if signature.starts_with('A') { "B" } else { "A" };
    let none = firman::jose::digest::base64url(br#"{"alg":"none","typ":"at+jwt"}"#);
    let payload = good.split('.').nth(1).unwrap();
    let unknown = outside(issuer, "x").signed_by(TestKey::Es256);
    let header = |name: &str, value: &str| unknown.clone().header(name, value);
    let by_stranger = |header: Outside| {
        claims
            .as_object()
            .unwrap()
            .iter()
            .fold(header, |token, (name, value)| {
                token.claim(name, value.clone())
            })
            .build()
    };
    let kid = decoded_part(good, 0)["kid"].as_str().unwrap().to_owned();
    vec![
        (
            "another signature",
            format!("{signed}.{flipped}{}", &signature[1..]),
        ),
        ("no signature", format!("{signed}.")),
        ("alg none", format!("{none}.{payload}.")),
        (
            "alg none with a signature",
            format!("{none}.{payload}.{signature}"),
        ),
        ("an unknown kid", by_stranger(header("typ", "at+jwt"))),
        (
            "our kid and another key",
            by_stranger(header("typ", "at+jwt").header("kid", kid)),
        ),
        ("another typ", forged(issuer, "logout+jwt", &claims)),
    ]
}

/// `good` with claims that no token of ours has, and with our signature.
fn torn(issuer: &TestIssuer, good: &str) -> Vec<(&'static str, String)> {
    let claims = decoded_part(good, 1);
    [
        ("a time in text", json!({"exp": "soon"})),
        ("no exp", json!({"exp": null})),
        ("no jti", json!({"jti": null})),
        ("two audiences", json!({"aud": [MAIL]})),
        ("no sub_profile", json!({"sub_profile": null})),
        ("a torn act", json!({"act": {"sub": "agent:x"}})),
        ("a scope of a wrong type", json!({"scope": ["read"]})),
        ("not yet valid", json!({"nbf": claims["exp"]})),
    ]
    .into_iter()
    .map(|(case, others)| {
        let token = forged(issuer, "at+jwt", &with(claims.clone(), &others));
        (case, token)
    })
    .collect()
}

#[tokio::test]
async fn tx_006_a_subject_token_that_is_expired_or_not_signed_by_us_is_refused() {
    let scene = Scene::new().await;
    let (issuer, mailer) = (&scene.issuer, &scene.mailer);
    let good = sent_to_mailer(&scene).await;
    let mut answers = Answers::default();
    for (case, token) in unsigned(issuer, &good)
        .into_iter()
        .chain(torn(issuer, &good))
    {
        let answer = exchange(issuer, mailer, &token, &[]).await;
        answers.add(case, issuer, &refusal(&answer));
    }
    issuer.clock.advance(900);
    let answer = exchange(issuer, mailer, &good, &[]).await;
    answers.add("expired this second", issuer, &refusal(&answer));
    issuer.clock.advance(-1);
    let answer = exchange(issuer, mailer, &good, &[]).await;
    answers.add("a second before", issuer, &granted(&answer));
    assert_snapshot!(answers, @r#"
    another signature: 400 {"error":"invalid_request","error_description":"subject_token: the signature is not valid"}
    no signature: 400 {"error":"invalid_request","error_description":"subject_token: the signature is not valid"}
    alg none: 400 {"error":"invalid_request","error_description":"subject_token: the header member `alg` must be ES256, ES384, RS256, PS256 or EdDSA"}
    alg none with a signature: 400 {"error":"invalid_request","error_description":"subject_token: the header member `alg` must be ES256, ES384, RS256, PS256 or EdDSA"}
    an unknown kid: 400 {"error":"invalid_request","error_description":"subject_token: its `kid` is not a key that this issuer publishes"}
    our kid and another key: 400 {"error":"invalid_request","error_description":"subject_token: the signature is not valid"}
    another typ: 400 {"error":"invalid_request","error_description":"subject_token: its `typ` is neither `at+jwt` nor `JWT`"}
    a time in text: 400 {"error":"invalid_request","error_description":"subject_token: `exp` must be a JSON number: seconds since 1970, without quotes"}
    no exp: 400 {"error":"invalid_request","error_description":"subject_token: `exp` is missing; state when the token expires"}
    no jti: 400 {"error":"invalid_request","error_description":"subject_token: it lacks a claim that this issuer's tokens have"}
    two audiences: 400 {"error":"invalid_request","error_description":"subject_token: it lacks a claim that this issuer's tokens have"}
    no sub_profile: 400 {"error":"invalid_request","error_description":"subject_token: it lacks a claim that this issuer's tokens have"}
    a torn act: 400 {"error":"invalid_request","error_description":"subject_token: it lacks a claim that this issuer's tokens have"}
    a scope of a wrong type: 400 {"error":"invalid_request","error_description":"subject_token: it lacks a claim that this issuer's tokens have"}
    not yet valid: 400 {"error":"invalid_request","error_description":"subject_token: the token is not valid yet (`nbf`); check the clock of the machine that makes it"}
    expired this second: 400 {"error":"invalid_request","error_description":"subject_token: it has expired"}
    a second before: 200 {"access_token":"[token]","expires_in":1,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read write","token_type":"Bearer"}
    "#);
}

#[tokio::test]
async fn tx_008_a_token_of_another_kind_or_for_another_party_is_refused() {
    let scene = Scene::new().await;
    let (issuer, mailer) = (&scene.issuer, &scene.mailer);
    let signer = issuer.agent("signer").role("mailer");
    let signer = signer.with_public_key(TestKey::Es256).await;
    let asked = by_basic(
        issuer,
        "planner",
        scene.planner.secret(),
        &[("scope", "openid"), ("resource", &issuer.url)],
    )
    .await;
    let id_token = asked.json()["id_token"].as_str().unwrap().to_owned();
    let for_files = own_token(issuer, &scene.planner, &[("resource", FILES)]).await;
    let for_mail = sent_to_mailer(&scene).await;
    let mut answers = Answers::default();
    for (case, token, kind) in [
        ("a client assertion", signer.assertion().build(), JWT),
        ("the ID token of another client", id_token.clone(), ID_TOKEN),
        ("the same as a JWT", id_token.clone(), JWT),
        ("the same as an access token", id_token, ACCESS_TOKEN),
        (
            "a token for a resource of another server",
            for_files,
            ACCESS_TOKEN,
        ),
        ("an access token as an ID token", for_mail, ID_TOKEN),
        (
            "a logout token",
            forged(issuer, "logout+jwt", &own_claims(issuer, "planner")),
            JWT,
        ),
        (
            "one for a client that is no more than named alike",
            forged(
                issuer,
                "JWT",
                &with(own_claims(issuer, "planner"), &json!({"aud": "Mailer"})),
            ),
            JWT,
        ),
    ] {
        let answer = exchange(issuer, mailer, &token, &[("subject_token_type", kind)]).await;
        answers.add(case, issuer, &refusal(&answer));
    }
    assert_snapshot!(answers, @r#"
    a client assertion: 400 {"error":"invalid_request","error_description":"subject_token: the token's issuer is not trusted"}
    the ID token of another client: 400 {"error":"invalid_request","error_description":"subject_token: it is not an ID token for this client"}
    the same as a JWT: 400 {"error":"invalid_request","error_description":"subject_token: it was issued for planner, and this agent is not the server of that resource"}
    the same as an access token: 400 {"error":"invalid_request","error_description":"subject_token: it was issued for planner, and this agent is not the server of that resource"}
    a token for a resource of another server: 400 {"error":"invalid_request","error_description":"subject_token: it was issued for https://files.example, and this agent is not the server of that resource"}
    an access token as an ID token: 400 {"error":"invalid_request","error_description":"subject_token: it is not an ID token for this client"}
    a logout token: 400 {"error":"invalid_request","error_description":"subject_token: its `typ` is neither `at+jwt` nor `JWT`"}
    one for a client that is no more than named alike: 400 {"error":"invalid_request","error_description":"subject_token: it was issued for Mailer, and this agent is not the server of that resource"}
    "#);
}

#[tokio::test]
async fn a_token_for_the_issuer_and_one_for_the_resource_of_the_client_are_accepted() {
    let scene = Scene::new().await;
    let (issuer, mailer) = (&scene.issuer, &scene.mailer);
    let for_issuer = identity_token(issuer, &scene.planner).await;
    let for_mail = sent_to_mailer(&scene).await;
    let mut seen = Distinct::default();
    for (token, kind) in [
        (&for_issuer, ACCESS_TOKEN),
        (&for_issuer, JWT),
        (&for_mail, ACCESS_TOKEN),
        (&for_mail, JWT),
    ] {
        let answer = exchange(issuer, mailer, token, &[("subject_token_type", kind)]).await;
        seen.add(granted(&answer));
    }
    assert_snapshot!(seen, @r#"200 {"access_token":"[token]","expires_in":900,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read write","token_type":"Bearer"}"#);
    // The server may change: then the token was sent to another party.
    serve(issuer, "mail", "filer").await;
    let answer = exchange(issuer, mailer, &for_mail, &[]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"subject_token: it was issued for https://mail.example, and this agent is not the server of that resource"}"#);
}

#[tokio::test]
async fn an_id_token_is_a_subject_token_for_the_client_that_it_was_made_for_and_no_one_else() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let further = [("requested_token_type", ID_TOKEN)];
    let id_token = scene.planner_for_alice(&further).await.assert_issued();
    let as_id = [("subject_token_type", ID_TOKEN)];
    let mut answers = Answers::default();
    let answer = exchange(issuer, &scene.mailer, &id_token, &as_id).await;
    answers.add("another client", issuer, &refusal(&answer));
    let answer = exchange(issuer, &scene.planner, &id_token, &[]).await;
    answers.add("as an access token", issuer, &refusal(&answer));
    let answer = exchange(issuer, &scene.planner, &id_token, &as_id).await;
    answers.add("its client", issuer, &granted(&answer));
    assert_eq!(answer.claims()["act"], scene.actor("planner", None));
    assert_snapshot!(answers, @r#"
    another client: 400 {"error":"invalid_request","error_description":"subject_token: it is not an ID token for this client"}
    as an access token: 400 {"error":"invalid_request","error_description":"subject_token: it is an ID token: set `subject_token_type` accordingly"}
    its client: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    "#);
    // Its own ID token is about no one else.
    delegate("mailer", "agent:*", "mail").add(issuer).await;
    let own = by_basic(
        issuer,
        "mailer",
        scene.mailer.secret(),
        &[("scope", "openid"), ("resource", MAIL)],
    )
    .await;
    let own = own.json()["id_token"].as_str().unwrap().to_owned();
    let answer = exchange(issuer, &scene.mailer, &own, &as_id).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"subject_token: its subject is this agent itself; use grant_type=client_credentials"}"#);
}

#[tokio::test]
async fn a_token_that_was_sent_to_claude_is_not_a_subject_token() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let new = NewResource {
        name: "claude".to_owned(),
        profile: Some("claude".to_owned()),
        ..NewResource::default()
    };
    issuer
        .issuer()
        .create_resource(&Caller::system(), new)
        .await
        .unwrap();
    issuer.role("claude", "claude", &[]).await;
    let subject = issuer.agent("writer").role("claude").role("filing");
    let subject = subject.with_secret().await;
    delegate("mailer", "agent:writer", "files")
        .add(issuer)
        .await;
    let claude = [("resource", "https://api.anthropic.com")];
    let token = own_token(issuer, &subject, &claude).await;
    let mut seen = Distinct::default();
    for kind in [ACCESS_TOKEN, JWT] {
        let answer = exchange(
            issuer,
            &scene.mailer,
            &token,
            &[("subject_token_type", kind)],
        )
        .await;
        seen.add(refusal(&answer));
    }
    assert_snapshot!(seen, @r#"400 {"error":"invalid_request","error_description":"subject_token: it was issued for https://api.anthropic.com, and this agent is not the server of that resource"}"#);
    // The agent's token for the issuer is another matter.
    let token = identity_token(issuer, &subject).await;
    let answer = exchange(issuer, &scene.mailer, &token, &[]).await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read write","token_type":"Bearer"}"#);
}

#[tokio::test]
async fn tx_009_a_token_about_an_agent_or_with_an_actor_that_is_switched_off_is_refused() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let about_planner = sent_to_mailer(&scene).await;
    let by_planner = scene.planner_for_alice(&[]).await.assert_issued();
    let mut answers = Answers::default();
    let system = Caller::system();
    let handle = issuer.issuer();
    handle
        .suspend_agent(&system, "planner", None)
        .await
        .unwrap();
    for (case, token) in [
        ("subject suspended", &about_planner),
        ("actor suspended", &by_planner),
    ] {
        let answer = exchange(issuer, &scene.mailer, token, &[]).await;
        answers.add(case, issuer, &refusal(&answer));
    }
    handle.remove_agent(&system, "planner", None).await.unwrap();
    for (case, token) in [
        ("subject removed", &about_planner),
        ("actor removed", &by_planner),
    ] {
        let answer = exchange(issuer, &scene.mailer, token, &[]).await;
        answers.add(case, issuer, &refusal(&answer));
    }
    let nobody = with(own_claims(issuer, "nobody"), &json!({}));
    let answer = exchange(
        issuer,
        &scene.mailer,
        &forged(issuer, "at+jwt", &nobody),
        &[],
    )
    .await;
    answers.add("an agent that never was", issuer, &refusal(&answer));
    assert_snapshot!(answers, @r#"
    subject suspended: 400 {"error":"invalid_request","error_description":"subject_token: the agent agent:planner is suspended, removed or past its expiry"}
    actor suspended: 400 {"error":"invalid_request","error_description":"subject_token: the agent agent:planner is suspended, removed or past its expiry"}
    subject removed: 400 {"error":"invalid_request","error_description":"subject_token: the agent agent:planner is suspended, removed or past its expiry"}
    actor removed: 400 {"error":"invalid_request","error_description":"subject_token: the agent agent:planner is suspended, removed or past its expiry"}
    an agent that never was: 400 {"error":"invalid_request","error_description":"subject_token: agent:nobody is no longer an agent of this issuer"}
    "#);
}

#[tokio::test]
async fn tx_010_a_revoked_subject_token_is_refused_with_everything_below_it() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let first = scene.planner_for_alice(&[]).await;
    let second = exchange(
        issuer,
        &scene.mailer,
        &first.assert_issued(),
        &[("resource", FILES)],
    )
    .await;
    let second = second.assert_issued();
    revoke(issuer, first.claims()["jti"].as_str().unwrap()).await;
    let mut answers = Answers::default();
    let answer = exchange(
        issuer,
        &scene.mailer,
        &first.assert_issued(),
        &[("resource", FILES)],
    )
    .await;
    answers.add("the token itself", issuer, &refusal(&answer));
    let answer = exchange(issuer, &scene.filer, &second, &[]).await;
    answers.add("one made from it", issuer, &refusal(&answer));
    let answer = scene.planner_for_alice(&[]).await;
    answers.add("another of the same subject", issuer, &granted(&answer));
    assert_snapshot!(answers, @r#"
    the token itself: 400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}
    one made from it: 400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}
    another of the same subject: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    "#);
}

#[tokio::test]
async fn tx_010_a_subject_that_was_revoked_takes_its_earlier_tokens_with_it() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let first = scene.planner_for_alice(&[]).await.assert_issued();
    let about_planner = sent_to_mailer(&scene).await;
    let dated = outside(issuer, "alice");
    let undated = outside(issuer, "alice").without("iat");
    mark(issuer, ALICE).await;
    mark(issuer, "agent:planner").await;
    issuer.clock.advance(1);
    let mut answers = Answers::default();
    for (case, agent, token) in [
        ("our token about the user", &scene.mailer, first),
        ("our token about the agent", &scene.mailer, about_planner),
        (
            "the user's token from outside",
            &scene.planner,
            dated.build(),
        ),
        (
            "one that does not say when it was made",
            &scene.planner,
            undated.build(),
        ),
    ] {
        let resource = if agent.name == "planner" { MAIL } else { FILES };
        let further = [("subject_token_type", JWT), ("resource", resource)];
        let answer = exchange(issuer, agent, &token, &further).await;
        answers.add(case, issuer, &refusal(&answer));
    }
    let answer = scene.planner_for_alice(&[]).await;
    answers.add("a newer one", issuer, &granted(&answer));
    assert_snapshot!(answers, @r#"
    our token about the user: 400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}
    our token about the agent: 400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}
    the user's token from outside: 400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}
    one that does not say when it was made: 400 {"error":"invalid_request","error_description":"subject_token: `iat` is required"}
    a newer one: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    "#);
}

#[tokio::test]
async fn tx_020_a_subject_token_that_says_who_may_act_is_for_no_one_else() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let mut seen = Distinct::default();
    for may_act in [
        json!({"sub": "agent:mailer"}),
        json!({"sub": "agent:planner", "iss": "https://evil.example"}),
        json!({"client_id": "mailer"}),
        json!({"sub": "agent:planner", "client_id": "mailer"}),
        json!({"sub": "agent:planner", "email": "x@example.com"}),
        json!({"sub": "agent:planner", "act": {"sub": "agent:x"}}),
        json!({"sub": ["agent:planner"]}),
        json!({"sub": "AGENT:PLANNER"}),
        json!({"iss": issuer.url}),
        json!({"sub_profile": "ai_agent"}),
        json!({}),
        json!([]),
        json!([{"sub": "agent:planner"}]),
        json!("agent:planner"),
        json!(null),
        json!(true),
    ] {
        let token = outside(issuer, "alice").claim("may_act", may_act).build();
        let answer = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
        seen.add(refusal(&answer));
    }
    assert_snapshot!(seen, @r#"400 {"error":"invalid_request","error_description":"subject_token: its `may_act` names another actor"}"#);
    let mut seen = Distinct::default();
    for may_act in [
        json!({"sub": "agent:planner"}),
        json!({"sub": "agent:planner", "iss": issuer.url, "sub_profile": "ai_agent"}),
        json!({"client_id": "planner"}),
    ] {
        let token = outside(issuer, "alice").claim("may_act", may_act).build();
        let answer = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
        seen.add(granted(&answer));
    }
    assert_snapshot!(seen, @r#"200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}"#);
    // The same of a token of ours.
    let claims = with(
        own_claims(issuer, "planner"),
        &json!({"may_act": {"sub": "agent:filer"}}),
    );
    let answer = exchange(
        issuer,
        &scene.mailer,
        &forged(issuer, "at+jwt", &claims),
        &[],
    )
    .await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"subject_token: its `may_act` names another actor"}"#);
}

#[tokio::test]
async fn tx_023_a_bound_subject_token_without_the_proof_is_refused() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let jkt = TestKey::Es256.signing_key().kid().to_owned();
    let mut answers = Answers::default();
    for (case, cnf) in [
        ("a key", json!({"jkt": jkt})),
        ("a certificate", json!({"x5t#S256": jkt})),
        ("a key in place", json!({"jwk": {}})),
        ("null", json!(null)),
        ("text", json!("jkt")),
        ("an empty object", json!({})),
        ("an array of jkt", json!({"jkt": [jkt]})),
    ] {
        let token = outside(issuer, "alice").claim("cnf", cnf.clone()).build();
        let answer = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
        answers.add(case, issuer, &refusal(&answer));
        let claims = with(own_claims(issuer, "planner"), &json!({"cnf": cnf}));
        if !cnf.is_null() {
            let token = forged(issuer, "at+jwt", &claims);
            let answer = exchange(issuer, &scene.mailer, &token, &[]).await;
            answers.add(
                &format!("{case}, in a token of ours"),
                issuer,
                &refusal(&answer),
            );
        }
    }
    assert_snapshot!(answers, @r#"
    a key: 400 {"error":"invalid_request","error_description":"subject_token: it is bound to a key (`cnf.jkt`): send a DPoP proof made with that key"}
    a key, in a token of ours: 400 {"error":"invalid_request","error_description":"subject_token: it is bound to a key (`cnf.jkt`): send a DPoP proof made with that key"}
    a certificate: 400 {"error":"invalid_request","error_description":"subject_token: its `cnf` is not supported"}
    a certificate, in a token of ours: 400 {"error":"invalid_request","error_description":"subject_token: it lacks a claim that this issuer's tokens have"}
    a key in place: 400 {"error":"invalid_request","error_description":"subject_token: its `cnf` is not supported"}
    a key in place, in a token of ours: 400 {"error":"invalid_request","error_description":"subject_token: it lacks a claim that this issuer's tokens have"}
    null: 400 {"error":"invalid_request","error_description":"subject_token: its `cnf` is not supported"}
    text: 400 {"error":"invalid_request","error_description":"subject_token: its `cnf` is not supported"}
    text, in a token of ours: 400 {"error":"invalid_request","error_description":"subject_token: it lacks a claim that this issuer's tokens have"}
    an empty object: 400 {"error":"invalid_request","error_description":"subject_token: its `cnf` is not supported"}
    an empty object, in a token of ours: 400 {"error":"invalid_request","error_description":"subject_token: it lacks a claim that this issuer's tokens have"}
    an array of jkt: 400 {"error":"invalid_request","error_description":"subject_token: its `cnf` is not supported"}
    an array of jkt, in a token of ours: 400 {"error":"invalid_request","error_description":"subject_token: it lacks a claim that this issuer's tokens have"}
    "#);
}
