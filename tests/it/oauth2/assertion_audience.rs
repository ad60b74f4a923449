//! The policy for `aud` of client assertions: the issuer's, an agent's own, and what a refusal says about it.

use firman::api::agent::AgentEdit;
use firman::issuer::Caller;
use firman::testing::{TestAgent, TestIssuer};
use insta::assert_snapshot;
use reqwest::Method;

use super::client_assertion::mailer;
use super::*;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn for_audience(agent: &TestAgent, audience: &Value) -> String {
    agent.assertion().claim("aud", audience.clone()).build()
}

/// The values of `aud` that a policy may accept: the issuer and its token endpoint, as strings and alone in an array.
fn audiences(issuer: &TestIssuer) -> [(&'static str, Value); 4] {
    let (url, endpoint) = (&issuer.url, format!("{}/oauth2/token", issuer.url));
    [
        ("issuer", json!(url)),
        ("[issuer]", json!([url])),
        ("endpoint", json!(endpoint)),
        ("[endpoint]", json!([endpoint])),
    ]
}

/// Those of the audiences that are accepted now.
async fn accepted(issuer: &TestIssuer, agent: &TestAgent) -> String {
    let mut accepted = Vec::new();
    for (name, audience) in audiences(issuer) {
        let answer = issuer.token_with(&for_audience(agent, &audience)).await;
        match answer.status {
            200 => accepted.push(name),
            _ => assert!(refusal(&answer).contains("`aud` must be"), "{answer}"),
        }
    }
    accepted.join(" ")
}

async fn set(issuer: &TestIssuer, path: &str, policy: Value) -> Answer {
    let body = json!({ "assertion_audience": policy });
    issuer.admin(Method::PATCH, path, Some(&body)).await
}

async fn set_well(issuer: &TestIssuer, path: &str, policy: Value) {
    let answer = set(issuer, path, policy.clone()).await;
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.json()["assertion_audience"], policy, "{answer}");
}

/// An assertion at one of the endpoints that clients authenticate at.
async fn at(issuer: &TestIssuer, endpoint: &str, assertion: &str) -> Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("token", "none"),
        ("client_assertion_type", JWT_BEARER),
        ("client_assertion", assertion),
    ];
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(&form)
        .finish();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    issuer.send(Method::POST, endpoint, &headers, body).await
}

const ENDPOINTS: [&str; 3] = ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"];

#[tokio::test]
async fn an_array_of_the_issuer_alone_says_the_same_as_the_string_at_every_endpoint() {
    let (issuer, agent) = mailer().await;
    for endpoint in ENDPOINTS {
        let array = for_audience(&agent, &json!([issuer.url]));
        let answer = at(&issuer, endpoint, &array).await;
        assert_eq!(answer.status, 200, "{endpoint}: {answer}");
        let mut refused = Distinct::default();
        for several in [
            json!([issuer.url, issuer.url]),
            json!([issuer.url, "https://other.example"]),
        ] {
            let answer = at(&issuer, endpoint, &for_audience(&agent, &several)).await;
            refused.add(answer.to_string().replace(&issuer.url, "ISSUER"));
        }
        insta::allow_duplicates! {
            assert_snapshot!(refused, @r#"401 {"error":"invalid_client","error_description":"`aud` must be ISSUER alone; it names 2 audiences"}"#);
        }
    }
}

#[tokio::test]
async fn each_policy_of_the_issuer_accepts_what_it_says() {
    let (issuer, agent) = mailer().await;
    assert_eq!(accepted(&issuer, &agent).await, "issuer [issuer]");
    for (policy, expected) in [
        ("issuer-as-string", "issuer"),
        (
            "issuer-or-token-endpoint",
            "issuer [issuer] endpoint [endpoint]",
        ),
        ("issuer", "issuer [issuer]"),
    ] {
        set_well(&issuer, "/issuer", json!(policy)).await;
        assert_eq!(accepted(&issuer, &agent).await, expected, "{policy}");
    }
}

#[tokio::test]
async fn an_agents_policy_replaces_the_issuers_until_it_inherits_again() {
    let (issuer, agent) = mailer().await;
    set_well(&issuer, "/issuer", json!("issuer-as-string")).await;
    let mailer = "/agents/mailer";
    set_well(&issuer, mailer, json!("issuer-or-token-endpoint")).await;
    let all = "issuer [issuer] endpoint [endpoint]";
    assert_eq!(accepted(&issuer, &agent).await, all);
    set_well(&issuer, "/issuer", json!("issuer-or-token-endpoint")).await;
    set_well(&issuer, mailer, json!("issuer-as-string")).await;
    assert_eq!(accepted(&issuer, &agent).await, "issuer");
    set_well(&issuer, mailer, Value::Null).await;
    assert_eq!(accepted(&issuer, &agent).await, all);
}

#[tokio::test]
async fn with_the_token_endpoint_accepted_another_endpoint_and_a_mixed_array_are_refused() {
    let (issuer, agent) = mailer().await;
    set_well(&issuer, "/issuer", json!("issuer-or-token-endpoint")).await;
    let (url, mut answers) = (&issuer.url, Answers::default());
    let endpoint = format!("{url}/oauth2/token");
    for (case, audience) in [
        ("introspection", json!(format!("{url}/oauth2/introspect"))),
        ("a slash behind", json!(format!("{endpoint}/"))),
        ("a query", json!(format!("{endpoint}?a=b"))),
        ("both", json!([url, endpoint])),
        ("a stranger", json!(["https://other.example"])),
    ] {
        let answer = issuer.token_with(&for_audience(&agent, &audience)).await;
        answers.add(case, &issuer, &refusal(&answer));
    }
    assert_snapshot!(answers, @r#"
    introspection: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER or ISSUER/oauth2/token; it names another audience"}
    a slash behind: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER or ISSUER/oauth2/token; it names another audience"}
    a query: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER or ISSUER/oauth2/token; it names another audience"}
    both: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER or ISSUER/oauth2/token alone; it names 2 audiences"}
    a stranger: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER or ISSUER/oauth2/token; it names another audience"}
    "#);
    // At the other endpoints too, it is the token endpoint that an assertion may name.
    for at_endpoint in ENDPOINTS {
        let assertion = for_audience(&agent, &json!(endpoint));
        assert_eq!(at(&issuer, at_endpoint, &assertion).await.status, 200);
    }
}

#[tokio::test]
async fn the_refusal_names_the_setting_and_the_clients_cure_and_the_audit_holds_it_whole() {
    let (issuer, agent) = mailer().await;
    let endpoint = json!(format!("{}/oauth2/token", issuer.url));
    let answer = issuer.token_with(&for_audience(&agent, &endpoint)).await;
    let mut answers = Answers::default();
    answers.add("issuer", &issuer, &refusal(&answer));
    set_well(&issuer, "/issuer", json!("issuer-as-string")).await;
    let array = for_audience(&agent, &json!([issuer.url]));
    answers.add(
        "issuer-as-string",
        &issuer,
        &refusal(&issuer.token_with(&array).await),
    );
    assert_snapshot!(answers, @r#"
    issuer: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER, not the token endpoint"}
    issuer-as-string: 401 {"error":"invalid_client","error_description":"`aud` must be the string ISSUER, not an array"}
    "#);
    for entry in audited_in_time(&issuer, "token.refused", 2).await {
        let detail: Value = serde_json::from_str(&entry.draft.detail).unwrap();
        assert!(
            answers.to_string().contains(
                &detail["reason"]
                    .as_str()
                    .unwrap()
                    .replace(&issuer.url, "ISSUER")
            ),
            "{detail}"
        );
    }
}

#[tokio::test]
async fn a_policy_that_does_not_exist_is_refused_and_a_change_is_audited() {
    let (issuer, _) = mailer().await;
    let mut answers = Answers::default();
    for (path, policy) in [
        ("/issuer", json!("token-endpoint")),
        ("/issuer", json!("")),
        ("/issuer", json!("Issuer")),
        ("/agents/mailer", json!("any")),
    ] {
        let answer = set(&issuer, path, policy.clone()).await;
        assert_eq!(answer.status, 400, "{answer}");
        answers.add(
            &format!("{path} {policy}"),
            &issuer,
            &answer.json()["detail"].to_string(),
        );
    }
    assert_snapshot!(answers, @r#"
    /issuer "token-endpoint": "assertion_audience: must be `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`"
    /issuer "": "assertion_audience: must be `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`"
    /issuer "Issuer": "assertion_audience: must be `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`"
    /agents/mailer "any": "assertion_audience: must be `issuer-as-string`, `issuer` or `issuer-or-token-endpoint`"
    "#);
    for bad in [Value::Null, json!(7), json!(["issuer"])] {
        assert_eq!(set(&issuer, "/issuer", bad).await.status, 400);
    }
    set_well(&issuer, "/issuer", json!("issuer-as-string")).await;
    set_well(&issuer, "/issuer", json!("issuer-as-string")).await;
    set_well(&issuer, "/agents/mailer", json!("issuer")).await;
    let details: Vec<String> = audited(&issuer, "issuer.changed")
        .await
        .into_iter()
        .chain(audited(&issuer, "agent.changed").await)
        .map(|entry| format!("{} {}", entry.draft.target, entry.draft.detail))
        .collect();
    assert_snapshot!(details.join("\n"), @r#"
    issuer:default {"assertion_audience":{"from":"issuer","to":"issuer-as-string"}}
    agent:mailer {"assertion_audience":{"from":null,"to":"issuer"}}
    "#);
    let made = json!({
        "name": "legacy", "owner": "ops", "assertion_audience": "issuer-or-token-endpoint",
    });
    let made = issuer.admin(Method::POST, "/agents", Some(&made)).await;
    assert_eq!(
        made.json()["agent"]["assertion_audience"],
        "issuer-or-token-endpoint"
    );
}

#[tokio::test]
async fn a_policy_set_on_one_replica_holds_at_once_on_the_other() {
    let a = mail_issuer_on_postgres().await;
    let b = a.replica().await.unwrap();
    let agent = a
        .agent("mailer")
        .role("mailer")
        .with_public_key(firman::testing::TestKey::Es256)
        .await;
    let endpoint = json!(format!("{}/oauth2/token", a.url));
    // The other replica knows the agent, and that it may not.
    let answer = b.token_with(&for_audience(&agent, &endpoint)).await;
    assert_eq!(answer.status, 401, "{answer}");
    let policy = |name: &str| AgentEdit {
        assertion_audience: Some(Some(name.to_owned())),
        ..AgentEdit::default()
    };
    for (name, status) in [("issuer-or-token-endpoint", 200), ("issuer", 401)] {
        a.issuer()
            .edit_agent(&Caller::system(), "mailer", policy(name), None)
            .await
            .unwrap();
        let answer = b.token_with(&for_audience(&agent, &endpoint)).await;
        assert_eq!(answer.status, status, "{name}: {answer}");
    }
}
