//! TX-011, TX-012: who may act for whom, under which delegation, and with which actor token.

use firman::api::resource::NewResource;
use firman::issuer::Caller;
use firman::testing::TestKey;
use insta::assert_snapshot;
use serde_json::json;

use super::support::*;
use super::*;
use crate::oauth2::{Answers, Distinct, assert_tokens_issued, granted, refusal};

#[tokio::test]
async fn tx_011_an_agent_without_any_live_delegation_may_not_exchange() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    let mut answers = Answers::default();
    answers.add(
        "none",
        issuer,
        &refusal(&scene.planner_for_alice(&[]).await),
    );
    let answer = exchange(issuer, &scene.planner, "not even a token", &[]).await;
    answers.add("whatever the token", issuer, &refusal(&answer));

    let held = delegate("planner", ALICE, "mail")
        .seconds(600)
        .add(issuer)
        .await;
    set_delegation(issuer, &held, "suspend").await;
    answers.add(
        "suspended",
        issuer,
        &refusal(&scene.planner_for_alice(&[]).await),
    );
    set_delegation(issuer, &held, "resume").await;
    answers.add(
        "resumed",
        issuer,
        &granted(&scene.planner_for_alice(&[]).await),
    );
    issuer.clock.advance(600);
    answers.add(
        "past its end",
        issuer,
        &refusal(&scene.planner_for_alice(&[]).await),
    );
    issuer.clock.advance(-600);
    set_delegation(issuer, &held, "revoke").await;
    answers.add(
        "revoked",
        issuer,
        &refusal(&scene.planner_for_alice(&[]).await),
    );
    assert_tokens_issued(issuer, 1).await;
    assert_snapshot!(answers, @r#"
    none: 400 {"error":"unauthorized_client","error_description":"this agent has no delegation"}
    whatever the token: 400 {"error":"unauthorized_client","error_description":"this agent has no delegation"}
    suspended: 400 {"error":"unauthorized_client","error_description":"this agent has no delegation"}
    resumed: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    past its end: 400 {"error":"unauthorized_client","error_description":"this agent has no delegation"}
    revoked: 400 {"error":"unauthorized_client","error_description":"this agent has no delegation"}
    "#);
}

#[tokio::test]
async fn tx_012_without_a_delegation_from_this_subject_to_this_actor_the_exchange_is_refused() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    let mut answers = Answers::default();
    for subject in [
        "user:partner:bob",
        "user:partner:alic",
        "user:partner:alice2",
        "user:partner:Alice",
        "user:other:*",
        "alice",
        "agent:*",
    ] {
        delegate("planner", subject, "mail").add(issuer).await;
    }
    delegate("planner", "user:partner:*", "mail")
        .with_claim("partner", "department", "sales")
        .add(issuer)
        .await;
    // What others may do is theirs.
    delegate("mailer", ALICE, "mail").add(issuer).await;
    let answer = scene.planner_for_alice(&[]).await;
    answers.add("none that names her", issuer, &refusal(&answer));
    let token = |department| outside(issuer, "alice").claim("department", department);
    for (case, department) in [
        ("another claim", json!("buying")),
        ("a claim of another type", json!(["sales"])),
    ] {
        let answer = exchange_jwt(issuer, &scene.planner, &token(department).build(), &[]).await;
        answers.add(case, issuer, &refusal(&answer));
    }
    let answer = exchange_jwt(issuer, &scene.planner, &token(json!("sales")).build(), &[]).await;
    answers.add("the claim", issuer, &granted(&answer));
    // At another resource there is none, although both could reach it.
    let token = token(json!("sales")).build();
    let answer = exchange_jwt(issuer, &scene.planner, &token, &[("resource", FILES)]).await;
    answers.add("another resource", issuer, &refusal(&answer));
    assert_tokens_issued(issuer, 1).await;
    assert_snapshot!(answers, @r#"
    none that names her: 400 {"error":"invalid_target","error_description":"no delegation lets this agent act for user:partner:alice"}
    another claim: 400 {"error":"invalid_target","error_description":"no delegation lets this agent act for user:partner:alice"}
    a claim of another type: 400 {"error":"invalid_target","error_description":"no delegation lets this agent act for user:partner:alice"}
    the claim: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    another resource: 400 {"error":"invalid_target","error_description":"no delegation lets this agent act for user:partner:alice at https://files.example"}
    "#);
}

#[tokio::test]
async fn a_delegation_for_claims_of_a_trusted_issuer_takes_only_its_tokens() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    let definition = trust(TestKey::Es256);
    add_trusted(issuer, "rival", "https://login.rival.example", definition).await;
    delegate("planner", "user:*", "mail")
        .with_claim("partner", "department", "sales")
        .add(issuer)
        .await;
    let rival = outside(issuer, "alice")
        .claim("iss", "https://login.rival.example")
        .claim("department", "sales")
        .signed_by(TestKey::Es256)
        .build();
    let answer = exchange_jwt(issuer, &scene.planner, &rival, &[]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_target","error_description":"no delegation lets this agent act for user:rival:alice"}"#);
}

#[tokio::test]
async fn a_delegation_ends_with_its_resource_and_with_the_grant_of_the_actor() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let bare = issuer.agent("bare").with_secret().await;
    delegate("bare", "user:partner:*", "mail").add(issuer).await;
    let token = outside(issuer, "alice").build();
    let mut answers = Answers::default();
    for further in [&[][..], &[("resource", MAIL)]] {
        let answer = exchange_jwt(issuer, &bare, &token, further).await;
        answers.add("the actor has no role", issuer, &refusal(&answer));
    }
    delegate("planner", "user:partner:*", "files")
        .add(issuer)
        .await;
    let answer = scene.planner_for_alice(&[]).await;
    answers.add("two resources", issuer, &refusal(&answer));
    allow_delegation(issuer, "mail", false).await;
    let answer = scene.planner_for_alice(&[("resource", MAIL)]).await;
    answers.add(
        "a resource that takes no delegated tokens",
        issuer,
        &refusal(&answer),
    );
    assert_tokens_issued(issuer, 0).await;
    assert_snapshot!(answers, @r#"
    the actor has no role: 400 {"error":"invalid_target","error_description":"the delegations for user:partner:alice name no resource that is granted to this agent"}
    the actor has no role: 400 {"error":"invalid_target","error_description":"https://mail.example is not granted to this agent; no resource is"}
    two resources: 400 {"error":"invalid_target","error_description":"several resources are delegated; name one with the parameter `resource`: https://files.example https://mail.example"}
    a resource that takes no delegated tokens: 400 {"error":"invalid_target","error_description":"https://mail.example does not accept delegated tokens"}
    "#);
}

#[tokio::test]
async fn claude_accepts_delegated_tokens_only_when_an_administrator_says_so() {
    let scene = Scene::bare().await;
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
    let writer = issuer.agent("writer").role("claude").with_secret().await;
    allow_delegation(issuer, "claude", true).await;
    delegate("writer", "user:partner:*", "claude")
        .add(issuer)
        .await;
    allow_delegation(issuer, "claude", false).await;
    let ask = async || {
        let token = outside(issuer, "alice").build();
        exchange_jwt(issuer, &writer, &token, &[]).await
    };
    assert_snapshot!(refusal(&ask().await), @r#"400 {"error":"invalid_target","error_description":"https://api.anthropic.com does not accept delegated tokens"}"#);
    allow_delegation(issuer, "claude", true).await;
    let answer = ask().await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer"}"#);
    let header = firman::testing::decoded_part(&answer.assert_issued(), 0);
    assert_eq!(header["typ"], "JWT");
    assert_eq!(
        without_jti(answer.claims()),
        json!({
            "iss": issuer.url, "sub": ALICE, "aud": "https://api.anthropic.com",
            "exp": 1_800_000_600, "iat": 1_800_000_000, "nbf": 1_800_000_000,
            "client_id": "writer", "groups": [], "roles": [], "sub_profile": "user",
            "acting_agent": "agent:writer", "act": scene.actor("writer", None),
        })
    );
}

#[tokio::test]
async fn an_older_delegation_that_does_not_suffice_does_not_hide_one_that_does() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    delegate("planner", "user:partner:*", "mail")
        .add(issuer)
        .await;
    for delegation in [
        delegate("mailer", ALICE, "files").depth(1),
        delegate("mailer", ALICE, "files").scopes(&["read"]),
        delegate("mailer", ALICE, "files").seconds(60),
        delegate("mailer", "user:*", "files").depth(2),
    ] {
        delegation.add(issuer).await;
        // Which is the older one is a matter of milliseconds, and this clock does not move.
        issuer.clock.advance(1);
    }
    let token = scene.planner_for_alice(&[]).await.assert_issued();
    let mut answers = Answers::default();
    for (case, further) in [
        ("too shallow", &[][..]),
        ("too narrow", &[("scope", "write")]),
        ("too short", &[("scope", "write"), ("expires_in", "300")]),
        ("an ID token", &[("requested_token_type", ID_TOKEN)]),
    ] {
        let answer = exchange(issuer, &scene.mailer, &token, further).await;
        answers.add(case, issuer, &granted(&answer));
    }
    assert_snapshot!(answers, @r#"
    too shallow: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read","token_type":"Bearer"}
    too narrow: 200 {"access_token":"[token]","expires_in":58,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"write","token_type":"Bearer"}
    too short: 200 {"access_token":"[token]","expires_in":300,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"write","token_type":"Bearer"}
    an ID token: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:id_token","token_type":"N_A"}
    "#);
}

#[tokio::test]
async fn an_actor_token_that_is_not_the_clients_own_is_refused() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let delegated = scene.planner_for_alice(&[]).await.assert_issued();
    let revoked = own_token(issuer, &scene.planner, &[("resource", MAIL)]).await;
    let number = firman::testing::decoded_part(&revoked, 1)["jti"].clone();
    revoke(issuer, number.as_str().unwrap()).await;
    let bound = with(own_claims(issuer, "planner"), &json!({"cnf": {"jkt": "x"}}));
    let definition = with(
        trust(TestKey::Es384),
        &json!({ "trust": ["subject", "actor"] }),
    );
    add_trusted(issuer, "actors", "https://actors.example", definition).await;
    let from_actors = outside(issuer, "planner")
        .claim("iss", "https://actors.example")
        .signed_by(TestKey::Es384);
    let mut answers = Answers::default();
    for (case, actor_token) in [
        (
            "another agent's",
            identity_token(issuer, &scene.mailer).await,
        ),
        ("a delegated one", delegated),
        ("a revoked one", revoked),
        (
            "a bound one without proof",
            forged(issuer, "at+jwt", &bound),
        ),
        ("no token", "x".to_owned()),
        (
            "one of an issuer that is trusted for subjects only",
            outside(issuer, "planner").build(),
        ),
        (
            "one that no credential of the agent matches",
            from_actors.build(),
        ),
        (
            "a delegated one from outside",
            from_actors
                .clone()
                .claim("act", json!({"sub": "x"}))
                .build(),
        ),
        (
            "a bound one from outside",
            from_actors.claim("cnf", json!({"jkt": "x"})).build(),
        ),
    ] {
        let token = outside(issuer, "alice").build();
        let further = [
            ("actor_token", actor_token.as_str()),
            ("actor_token_type", JWT),
        ];
        let answer = exchange_jwt(issuer, &scene.planner, &token, &further).await;
        answers.add(case, issuer, &refusal(&answer));
    }
    assert_snapshot!(answers, @r#"
    another agent's: 400 {"error":"invalid_request","error_description":"actor_token: it was issued to another agent than the authenticated one"}
    a delegated one: 400 {"error":"invalid_request","error_description":"actor_token: an actor token must not be delegated: it must not have `act`"}
    a revoked one: 400 {"error":"invalid_request","error_description":"actor_token: it was revoked"}
    a bound one without proof: 400 {"error":"invalid_request","error_description":"actor_token: it is bound to a key (`cnf.jkt`): send a DPoP proof made with that key"}
    no token: 400 {"error":"invalid_request","error_description":"actor_token: the token is not a compact JWS: it must have three parts joined by dots"}
    one of an issuer that is trusted for subjects only: 400 {"error":"invalid_request","error_description":"actor_token: the token's issuer is not trusted for this"}
    one that no credential of the agent matches: 400 {"error":"invalid_request","error_description":"actor_token: no live federated credential of the client that `client_id` names matches the token of the trusted issuer `actors` with the subject planner"}
    a delegated one from outside: 400 {"error":"invalid_request","error_description":"actor_token: an actor token must not be delegated: it must not have `act`"}
    a bound one from outside: 400 {"error":"invalid_request","error_description":"actor_token: it is bound to a key (`cnf.jkt`): send a DPoP proof made with that key"}
    "#);
}

#[tokio::test]
async fn an_actor_token_of_the_clients_own_adds_nothing() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let mut seen = Distinct::default();
    for actor_token in [
        identity_token(issuer, &scene.planner).await,
        own_token(issuer, &scene.planner, &[("resource", MAIL)]).await,
    ] {
        let further = [
            ("actor_token", actor_token.as_str()),
            ("actor_token_type", ACCESS_TOKEN),
        ];
        let answer = scene.planner_for_alice(&further).await;
        seen.add(granted(&answer));
        assert_eq!(answer.claims()["act"], scene.actor("planner", None));
    }
    assert_eq!(
        seen.to_string(),
        granted(&scene.planner_for_alice(&[]).await)
    );
}

#[tokio::test]
async fn no_agent_is_called_like_a_user_from_outside() {
    use firman::domain::id::AgentId;
    use firman::domain::name::Name;
    use firman::domain::subject::SubjectTemplate;
    for template in ["user:partner:{name}", "user:{id}", "user:{name}:x"] {
        assert!(SubjectTemplate::parse(template).is_err(), "{template}");
    }
    let template = SubjectTemplate::parse("{name}:partner:x").unwrap();
    let id = AgentId::from_text("x");
    assert!(
        template
            .subject(&Name::parse("user").unwrap(), &id)
            .is_err()
    );
    assert!(
        template
            .subject(&Name::parse("users").unwrap(), &id)
            .is_ok()
    );

    // And if one were, a token about the user would still not be about the agent.
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let claims = with(
        own_claims(issuer, "planner"),
        &json!({
            "sub": "agent:filer", "sub_profile": "user", "act": scene.actor("planner", None),
        }),
    );
    record(issuer, &claims).await;
    delegate("mailer", "agent:filer", "mail").add(issuer).await;
    let answer = exchange(
        issuer,
        &scene.mailer,
        &forged(issuer, "at+jwt", &claims),
        &[],
    )
    .await;
    assert_eq!(answer.claims()["roles"], json!([]));
    assert_eq!(answer.claims()["sub_profile"], "user");
    assert_eq!(answer.claims().get("owner"), None);
}
