//! A chain of three tokens that the issuer really made: user's agent, agent, sub-agent.

use super::*;
use crate::oauth2::{audited_in_time, refusal};

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

async fn post(issuer: &TestIssuer, path: &str, body: Value) -> Value {
    let answer = issuer.admin(Method::POST, path, Some(&body)).await;
    assert!(answer.status < 300, "{path}: {answer}");
    answer.json()
}

/// `asker` gets a token at `desk`, whose server `clerk` may act for it at `shelf`, whose server `runner` may
/// act there and beyond, at `cellar`.
struct Chain {
    issuer: TestIssuer,
    agents: [TestAgent; 3],
    tokens: [String; 3],
    delegations: [String; 2],
}

impl Chain {
    async fn new() -> Self {
        let issuer = TestIssuer::start().await;
        let places = ["desk", "shelf", "cellar"];
        for place in places {
            issuer.resource(place, &["read"]).await;
            issuer.role(place, place, &[]).await;
        }
        let mut agents = Vec::new();
        for name in ["asker", "clerk", "runner"] {
            let agent = issuer.agent(name).role("desk").role("shelf").role("cellar");
            agents.push(agent.with_secret().await);
        }
        let mut delegations = Vec::new();
        for (place, server, next, depth) in [
            ("desk", "clerk", "shelf", 1),
            ("shelf", "runner", "cellar", 2),
        ] {
            let edit = json!({"server": server});
            let edited = issuer
                .admin(Method::PATCH, &format!("/resources/{place}"), Some(&edit))
                .await;
            assert_eq!(edited.status, 200, "{edited}");
            let new = json!({"actor": server, "subject": "agent:asker", "resource": next, "max_depth": depth, "expires_in": 3600});
            let added = post(&issuer, "/delegations", new).await;
            delegations.push(added["id"].as_str().unwrap().to_owned());
        }
        let agents: [TestAgent; 3] = agents.try_into().unwrap();
        let first = by_basic(
            &issuer,
            "asker",
            agents[0].secret(),
            &[("resource", "https://desk.example")],
        )
        .await
        .assert_issued();
        let second = exchange(&issuer, &agents[1], &first, "shelf")
            .await
            .assert_issued();
        let third = exchange(&issuer, &agents[2], &second, "cellar")
            .await
            .assert_issued();
        Self {
            issuer,
            agents,
            tokens: [first, second, third],
            delegations: delegations.try_into().unwrap(),
        }
    }

    /// Whether each token is active, asked by the agent that got it or by the server of its resource.
    async fn alive(&self) -> [bool; 3] {
        let [_, clerk, runner] = &self.agents;
        [
            is_active(&self.issuer, clerk, &self.tokens[0]).await,
            is_active(&self.issuer, runner, &self.tokens[1]).await,
            is_active(&self.issuer, runner, &self.tokens[2]).await,
        ]
    }

    /// The states that the trace of the last token shows, from the root on.
    async fn states(&self) -> Vec<String> {
        let path = format!("/tokens/{}/trace", jti(&self.tokens[2]));
        let trace = self.issuer.admin(Method::GET, &path, None).await.json();
        let tokens = trace["tokens"].as_array().unwrap();
        let ids: Vec<&str> = tokens
            .iter()
            .map(|token| token["token_id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, self.tokens.each_ref().map(|token| jti(token)));
        tokens
            .iter()
            .map(|token| token["state"].as_str().unwrap().to_owned())
            .collect()
    }
}

async fn exchange(
    issuer: &TestIssuer,
    actor: &TestAgent,
    subject_token: &str,
    place: &str,
) -> Answer {
    let authorization = basic(&actor.name, actor.secret());
    let form = [
        ("grant_type", EXCHANGE),
        ("subject_token", subject_token),
        ("subject_token_type", ACCESS_TOKEN),
        ("resource", &format!("https://{place}.example")),
    ];
    issuer
        .token_with_headers(&[("authorization", &authorization)], &form)
        .await
}

#[tokio::test]
async fn revoking_the_root_ends_the_chain_and_nothing_more_is_made_from_it() {
    let chain = Chain::new().await;
    assert_eq!(chain.alive().await, [true, true, true]);
    assert_eq!(chain.states().await, ["active", "active", "active"]);
    let answer = ask(
        &chain.issuer,
        "revoke",
        &chain.agents[0],
        &[("token", &chain.tokens[0])],
    )
    .await;
    assert_eq!(answer.status, 200);
    assert_eq!(chain.alive().await, [false, false, false]);
    assert_eq!(chain.states().await, ["revoked", "revoked", "revoked"]);
    let again = exchange(&chain.issuer, &chain.agents[1], &chain.tokens[0], "shelf").await;
    insta::assert_snapshot!(refusal(&again), @r#"400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}"#);
    // One entry covers the tree: each token below names its root.
    let list = decoded_part(&chain.issuer.get("/oauth2/revocations").await.text(), 1);
    let root = decoded_part(&chain.tokens[0], 1);
    assert_eq!(
        list["revoked"],
        json!([{ "jti": root["jti"], "exp": root["exp"] }])
    );
    for below in &chain.tokens[1..] {
        assert_eq!(decoded_part(below, 1)["txn"], root["jti"]);
    }
    let _ = audited_in_time(&chain.issuer, "token.revoked", 1).await;
}

#[tokio::test]
async fn revoking_the_middle_leaves_the_root() {
    let chain = Chain::new().await;
    let body = json!({"token_id": jti(&chain.tokens[1])});
    assert_eq!(
        post(&chain.issuer, "/revocations", body.clone()).await["revoked"],
        true
    );
    assert_eq!(
        post(&chain.issuer, "/revocations", body).await["revoked"],
        false
    );
    assert_eq!(chain.alive().await, [true, false, false]);
    assert_eq!(chain.states().await, ["active", "revoked", "revoked"]);
}

#[tokio::test]
async fn revoking_a_delegation_ends_what_was_made_under_it_and_below() {
    let chain = Chain::new().await;
    let path = format!("/delegations/{}/revoke", chain.delegations[0]);
    let revoked = chain.issuer.admin(Method::POST, &path, None).await;
    assert!(revoked.status < 300, "{revoked}");
    assert_eq!(chain.alive().await, [true, false, false]);
}

#[tokio::test]
async fn suspending_an_agent_in_the_middle_ends_all_in_which_it_acts_and_resuming_revives_none() {
    let chain = Chain::new().await;
    suspend(&chain.issuer, "clerk").await;
    assert_eq!(chain.states().await, ["active", "revoked", "revoked"]);
    resume(&chain.issuer, "clerk").await;
    assert_eq!(chain.alive().await, [true, false, false]);
    let body = json!({"subject": "agent:asker"});
    let _ = post(&chain.issuer, "/revocations", body).await;
    assert_eq!(chain.alive().await, [false, false, false]);
}

#[tokio::test]
async fn a_delegated_token_names_its_root_those_between_and_its_delegations() {
    let chain = Chain::new().await;
    let [first, second, third] = chain.tokens.each_ref().map(|token| decoded_part(token, 1));
    let [to_shelf, to_cellar] = &chain.delegations;
    let origin = |claims: &Value| {
        ["txn", "parents", "delegations"].map(|name| claims.get(name).cloned().unwrap_or_default())
    };
    assert_eq!(origin(&first), [Value::Null, Value::Null, Value::Null]);
    assert_eq!(
        origin(&second),
        [first["jti"].clone(), Value::Null, json!([to_shelf])]
    );
    assert_eq!(
        origin(&third),
        [
            first["jti"].clone(),
            json!([second["jti"]]),
            json!([to_cellar, to_shelf])
        ]
    );
    let answer = introspect(&chain.issuer, &chain.agents[2], &chain.tokens[2]).await;
    assert_eq!(origin(&answer.json()), origin(&third));
}

#[tokio::test]
async fn a_suspended_delegation_is_in_the_list_and_ends_earlier_tokens_only() {
    let chain = Chain::new().await;
    let verbs = ["suspend", "resume"];
    chain.issuer.clock.advance(2);
    for verb in verbs {
        let path = format!("/delegations/{}/{verb}", chain.delegations[0]);
        let answer = chain.issuer.admin(Method::POST, &path, None).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    assert_eq!(chain.alive().await, [true, false, false]);
    assert_eq!(chain.states().await, ["active", "revoked", "revoked"]);
    let list = decoded_part(&chain.issuer.get("/oauth2/revocations").await.text(), 1);
    assert_eq!(
        list["delegations"],
        json!({ &chain.delegations[0]: START + 2 })
    );
    chain.issuer.clock.advance(1);
    let [_, clerk, runner] = &chain.agents;
    let again = exchange(&chain.issuer, clerk, &chain.tokens[0], "shelf")
        .await
        .assert_issued();
    assert!(is_active(&chain.issuer, runner, &again).await);
}

#[tokio::test]
async fn a_delegated_token_without_a_row_of_its_own_is_inactive() {
    let chain = Chain::new().await;
    let claims = decoded_part(&chain.tokens[2], 1);
    let unknown = json!({
        "jti": "unknown", "sub": claims["sub"], "aud": claims["aud"], "act": claims["act"],
        "client_id": "runner", "acting_agent": "agent:runner",
    });
    let token = signed(&chain.issuer, "at+jwt", unknown);
    assert!(!is_active(&chain.issuer, &chain.agents[2], &token).await);
}

#[tokio::test]
async fn a_mark_covers_tokens_of_a_replica_whose_clock_is_ahead() {
    let (issuer, mailer, _) = two_agents().await;
    issuer.clock.advance(20);
    let token = token_of(&issuer, &mailer).await;
    issuer.clock.advance(-20);
    let body = json!({ "subject": "agent:mailer" });
    let ended = post(&issuer, "/revocations", body).await;
    assert_eq!(ended["not_before"], START + 20);
    issuer.clock.advance(20);
    assert!(!is_active(&issuer, &mailer, &token).await);
}

#[tokio::test]
async fn a_change_that_waited_for_the_lock_is_dated_when_it_had_it() {
    let (issuer, mailer, _) = two_agents().await;
    let mut other = issuer.host().store().write().await.unwrap();
    other.lock_head(&issuer_id(&issuer).await).await.unwrap();
    let handle = std::sync::Arc::clone(issuer.issuer());
    let mut suspension = Box::pin(async move {
        handle
            .suspend_agent(&Caller::system(), "mailer", None)
            .await
    });
    // Under way, and waiting for the one that has the lock.
    for _ in 0..100 {
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(suspension.as_mut().poll(context))
        })
        .await;
        assert!(polled.is_pending());
        tokio::task::yield_now().await;
    }
    issuer.clock.advance(3);
    other.rollback().await.unwrap();
    suspension.await.unwrap();
    let shown = issuer
        .admin(Method::GET, &format!("/agents/{}", mailer.name), None)
        .await
        .json();
    assert_eq!(shown["status_since"], START + 3, "{shown}");
}
