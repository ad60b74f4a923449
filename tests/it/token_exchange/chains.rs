//! TX-016 to TX-019: chains of actors, and how long what is made at their end may live.

use firman::api::agent::AgentEdit;
use firman::api::group::NewGroup;
use firman::issuer::Caller;
use insta::assert_snapshot;
use serde_json::json;

use super::support::*;
use super::*;
use crate::oauth2::{Answers, Distinct, granted, refusal};

#[tokio::test]
async fn tx_017_a_chain_of_three_names_every_actor_newest_outside_and_keeps_the_subject() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let first = scene.planner_for_alice(&[]).await;
    let planner = scene.actor("planner", None);
    let expected = |client: &str, audience: &str, scope: &str, act: &Value| {
        json!({
            "iss": issuer.url, "sub": ALICE, "aud": audience,
            "exp": 1_800_000_600, "iat": 1_800_000_000, "nbf": 1_800_000_000,
            "client_id": client, "scope": scope, "groups": [], "roles": [], "sub_profile": "user",
            "acting_agent": format!("agent:{client}"), "act": act,
        })
    };
    assert_eq!(
        without_jti(first.claims()),
        expected("planner", MAIL, "read send", &planner)
    );
    let second = exchange(
        issuer,
        &scene.mailer,
        &first.assert_issued(),
        &[("resource", FILES)],
    )
    .await;
    let mailer = scene.actor("mailer", Some(planner));
    assert_eq!(
        without_jti(second.claims()),
        expected("mailer", FILES, "read write", &mailer)
    );
    let third = exchange(
        issuer,
        &scene.filer,
        &second.assert_issued(),
        &[("scope", "send")],
    )
    .await;
    let filer = scene.actor("filer", Some(mailer));
    assert_eq!(
        without_jti(third.claims()),
        expected("filer", MAIL, "send", &filer)
    );
    // What each was made from.
    let mut tx = issuer
        .host()
        .issuer()
        .begin(&Caller::system(), firman::issuer::change::Touches::Agent)
        .await
        .unwrap()
        .tx;
    let id = id(issuer);
    for (child, parent) in [(&third, &second), (&second, &first)] {
        let (child, parent) = (child.claims(), parent.claims());
        let row = tx
            .lineage(&id, child["jti"].as_str().unwrap())
            .await
            .unwrap()
            .unwrap();
        let made = row.made.unwrap();
        assert_eq!(parent["jti"], made.parent_id);
        assert_eq!(child["txn"], row.root_id);
        assert_eq!(child["aud"], row.audience);
        assert_eq!(child["scope"], row.scopes);
        assert_eq!(child["delegations"][0], made.delegation.as_str());
        assert_eq!(row.subject, ALICE);
        assert_eq!(child["exp"], row.expires_at.0);
    }
    tx.rollback().await.unwrap();
}

#[tokio::test]
async fn a_chain_about_an_agent_keeps_its_attributes_and_only_the_roles_and_groups_of_both() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    for group in ["night", "shared", "day"] {
        let new = NewGroup {
            name: group.to_owned(),
            ..NewGroup::default()
        };
        issuer
            .issuer()
            .create_group(&Caller::system(), new)
            .await
            .unwrap();
    }
    issuer.role("reader", "mail", &["read"]).await;
    let subject = issuer
        .agent("subject")
        .role("reader")
        .role("mailer")
        .attribute("region", "north");
    let subject = subject.with_secret().await;
    let actor = issuer
        .agent("actor")
        .role("mailer")
        .role("filing")
        .attribute("region", "south");
    let actor = actor.attribute("tier", "1").with_secret().await;
    for (agent, groups) in [
        ("subject", ["night", "shared"]),
        ("actor", ["day", "shared"]),
    ] {
        let changes = AgentEdit {
            groups: Some(groups.map(str::to_owned).to_vec()),
            ..AgentEdit::default()
        };
        issuer
            .issuer()
            .edit_agent(&Caller::system(), agent, changes, None)
            .await
            .unwrap();
    }
    delegate("actor", "agent:subject", "mail").add(issuer).await;
    let token = identity_token(issuer, &subject).await;
    let answer = exchange(issuer, &actor, &token, &[]).await;
    assert_eq!(
        without_jti(answer.claims()),
        json!({
            "iss": issuer.url, "sub": "agent:subject", "aud": MAIL,
            "exp": 1_800_000_900, "iat": 1_800_000_000, "nbf": 1_800_000_000,
            "client_id": "actor", "scope": "read send", "groups": ["shared"], "roles": ["mailer"],
            "owner": "team-test", "region": "north", "sub_profile": "ai_agent",
            "acting_agent": "agent:actor", "act": scene.actor("actor", None),
        })
    );
    // The same as an ID token, which the actor may exchange in its turn.
    let answer = exchange(
        issuer,
        &actor,
        &token,
        &[("requested_token_type", ID_TOKEN)],
    )
    .await;
    assert_eq!(
        without_jti(answer.claims()),
        json!({
            "iss": issuer.url, "sub": "agent:subject", "aud": "actor",
            "exp": 1_800_000_900, "iat": 1_800_000_000, "nbf": 1_800_000_000,
            "client_id": "actor", "groups": ["shared"], "roles": ["mailer"],
            "owner": "team-test", "region": "north", "sub_profile": "ai_agent",
            "acting_agent": "agent:actor", "act": scene.actor("actor", None),
        })
    );
}

#[tokio::test]
async fn tx_016_what_is_made_never_outlives_the_subject_token_or_the_delegation() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let mut answers = Answers::default();
    for expires_in in [
        "601",
        "3600",
        "999999999999",
        "0",
        "-1",
        "1.5",
        "ten",
        "9223372036854775808",
        " 30",
    ] {
        let answer = scene.planner_for_alice(&[("expires_in", expires_in)]).await;
        answers.add(expires_in, issuer, &refusal(&answer));
    }
    for expires_in in ["600", "1", ""] {
        let answer = scene.planner_for_alice(&[("expires_in", expires_in)]).await;
        answers.add(expires_in, issuer, &granted(&answer));
    }
    // Again and again: the end stays where it was.
    let mut token = scene.planner_for_alice(&[]).await.assert_issued();
    issuer.clock.advance(500);
    for (agent, resource) in [(&scene.mailer, FILES), (&scene.filer, MAIL)] {
        let answer = exchange(issuer, agent, &token, &[("resource", resource)]).await;
        answers.add("500 seconds later", issuer, &granted(&answer));
        assert_eq!(answer.claims()["exp"], 1_800_000_600);
        token = answer.assert_issued();
    }
    delegate("planner", "user:partner:bob", "files")
        .seconds(20)
        .add(issuer)
        .await;
    let bob = outside(issuer, "bob").build();
    let answer = exchange_jwt(issuer, &scene.planner, &bob, &[("resource", FILES)]).await;
    answers.add("a delegation of 20 seconds", issuer, &granted(&answer));
    // A token from outside that has just expired is within the skew of its issuer's clock, and has
    // nothing to pass on.
    let expired = outside(issuer, "alice").claim("exp", issuer_second(issuer));
    let answer = exchange_jwt(issuer, &scene.planner, &expired.build(), &[]).await;
    answers.add("within the skew", issuer, &refusal(&answer));
    assert_snapshot!(answers, @r#"
    601: 400 {"error":"invalid_request","error_description":"`expires_in` must be 1 to 600 seconds here: a delegated token never outlives the subject token or the delegation"}
    3600: 400 {"error":"invalid_request","error_description":"`expires_in` must be 1 to 600 seconds here: a delegated token never outlives the subject token or the delegation"}
    999999999999: 400 {"error":"invalid_request","error_description":"`expires_in` must be 1 to 600 seconds here: a delegated token never outlives the subject token or the delegation"}
    0: 400 {"error":"invalid_request","error_description":"`expires_in` must be 1 to 600 seconds here: a delegated token never outlives the subject token or the delegation"}
    -1: 400 {"error":"invalid_request","error_description":"`expires_in` must be 1 to 600 seconds here: a delegated token never outlives the subject token or the delegation"}
    1.5: 400 {"error":"invalid_request","error_description":"`expires_in` must be a whole number of seconds"}
    ten: 400 {"error":"invalid_request","error_description":"`expires_in` must be a whole number of seconds"}
    9223372036854775808: 400 {"error":"invalid_request","error_description":"`expires_in` must be a whole number of seconds"}
     30: 400 {"error":"invalid_request","error_description":"`expires_in` must be a whole number of seconds"}
    600: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    1: 200 {"access_token":"[token]","expires_in":1,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    : 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    500 seconds later: 200 {"access_token":"[token]","expires_in":100,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read write","token_type":"Bearer"}
    500 seconds later: 200 {"access_token":"[token]","expires_in":100,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    a delegation of 20 seconds: 200 {"access_token":"[token]","expires_in":20,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read write","token_type":"Bearer"}
    within the skew: 400 {"error":"invalid_request","error_description":"subject_token: it has expired"}
    "#);
}

fn issuer_second(issuer: &TestIssuer) -> i64 {
    use firman::ports::time::Clock as _;
    issuer.clock.now().0
}

#[tokio::test]
async fn tx_018_a_chain_deeper_than_four_or_than_the_delegation_says_is_refused_and_not_cut() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    let names = ["a", "b", "c", "d", "e"];
    let mut agents = Vec::new();
    for name in names {
        issuer.resource(name, &["use"]).await;
        issuer.role(name, name, &[]).await;
    }
    for name in names {
        let builder = names
            .iter()
            .fold(issuer.agent(name), |agent, role| agent.role(role));
        agents.push(builder.with_secret().await);
        serve(issuer, name, name).await;
    }
    // Each sends what it gets to the resource of the next one.
    for (actor, resource) in [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "a")] {
        delegate(actor, ALICE, resource).add(issuer).await;
    }
    let user = outside(issuer, "alice").build();
    let mut token = exchange_jwt(issuer, &agents[0], &user, &[])
        .await
        .assert_issued();
    for agent in &agents[1..4] {
        token = exchange(issuer, agent, &token, &[]).await.assert_issued();
    }
    let claims = firman::testing::decoded_part(&token, 1);
    let chain = scene.actor("c", Some(scene.actor("b", Some(scene.actor("a", None)))));
    assert_eq!(claims["act"], scene.actor("d", Some(chain)));
    let mut answers = Answers::default();
    let answer = exchange(issuer, &agents[4], &token, &[]).await;
    answers.add("a fifth", issuer, &refusal(&answer));
    // Two actors are more than a delegation of depth one lets through.
    let shallow = issuer.agent("shallow").role("mailer").with_secret().await;
    delegate("shallow", ALICE, "mail")
        .depth(1)
        .add(issuer)
        .await;
    serve(issuer, "b", "shallow").await;
    let user = outside(issuer, "alice").build();
    let first = exchange_jwt(issuer, &agents[0], &user, &[])
        .await
        .assert_issued();
    let answer = exchange(issuer, &shallow, &first, &[]).await;
    answers.add("a second, of one", issuer, &refusal(&answer));
    let user = outside(issuer, "alice").build();
    let answer = exchange_jwt(issuer, &shallow, &user, &[]).await;
    answers.add("a first, of one", issuer, &granted(&answer));
    assert_snapshot!(answers, @r#"
    a fifth: 400 {"error":"invalid_request","error_description":"subject_token: the chain of actors would have more than 4 links; chains are rejected, never shortened"}
    a second, of one: 400 {"error":"invalid_request","error_description":"subject_token: the chain of actors would have more than 1 links; chains are rejected, never shortened"}
    a first, of one: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    "#);
}

#[tokio::test]
async fn tx_019_an_agent_that_exchanges_its_own_token_a_hundred_times_grows_no_chain_and_ends_at_sixteen()
 {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    delegate("planner", "agent:*", "mail").add(issuer).await;
    serve(issuer, "mail", "planner").await;
    // About itself it needs no exchange.
    let own = identity_token(issuer, &scene.planner).await;
    let answer = exchange(issuer, &scene.planner, &own, &[("resource", MAIL)]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"subject_token: its subject is this agent itself; use grant_type=client_credentials"}"#);
    // For another subject it gets its own rights, with itself in the chain once.
    let mut token = scene.planner_for_alice(&[]).await.assert_issued();
    let mut seen = Distinct::default();
    for _ in 0..100 {
        let answer = exchange(issuer, &scene.planner, &token, &[]).await;
        if answer.status == 200 {
            seen.add(without_jti(answer.claims())["act"].clone());
            token = answer.assert_issued();
        } else {
            seen.add(refusal(&answer));
        }
    }
    let parents = firman::testing::decoded_part(&token, 1)["parents"].clone();
    assert_eq!(parents.as_array().unwrap().len(), 15);
    let refused = r#"400 {"error":"invalid_request","error_description":"subject_token: it is the result of 16 exchanges, and at most 16 are allowed; exchange an earlier token"}"#;
    assert_eq!(
        seen.to_string(),
        format!("{refused}\n{}", scene.actor("planner", None))
    );
}

#[tokio::test]
async fn two_agents_that_hand_one_token_to_and_fro_end_at_four() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let mut token = scene.planner_for_alice(&[]).await.assert_issued();
    let mut statuses = Vec::new();
    for _ in 0..3 {
        for (agent, resource) in [(&scene.mailer, FILES), (&scene.filer, MAIL)] {
            let answer = exchange(issuer, agent, &token, &[("resource", resource)]).await;
            statuses.push(answer.status);
            if answer.status == 200 {
                token = answer.assert_issued();
            }
        }
    }
    assert_eq!(statuses, [200, 200, 200, 400, 400, 400]);
}
