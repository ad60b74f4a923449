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
    let list = chain.issuer.get("/oauth2/revocations").await.text();
    assert_eq!(
        decoded_part(&list, 1)["revoked"].as_array().unwrap().len(),
        3
    );
    let _ = audited_in_time(&chain.issuer, "token.revoked", 1).await;
}

#[tokio::test]
async fn revoking_the_middle_leaves_the_root() {
    let chain = Chain::new().await;
    let body = json!({"token_id": jti(&chain.tokens[1])});
    assert_eq!(
        post(&chain.issuer, "/revocations", body).await["revoked"],
        2
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
