//! Introspection, revocation, the signed list and the trace, over HTTP. Tokens that no grant makes yet are
//! signed here with the issuer's own key, and lineage is written through the store.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod admin;
mod cascade;
mod introspect;
mod list;
mod past;
mod revoke;
mod trace;

use firman::domain::audit::AuditEvent;
use firman::domain::id::{AgentId, DelegationId, IssuerId};
use firman::issuer::Caller;
use firman::issuer::change::Touches;
use firman::jose::SigningAlgorithm;
use firman::ports::time::UnixTime;
use firman::store::{Exchanged, LineageRow};
use firman::testing::{Answer, START, TestAgent, TestIssuer, TestKey, decoded_part};
use reqwest::Method;
use serde_json::{Value, json};

use crate::oauth2::{assert_endpoint_headers, basic, by_basic, mail_issuer};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The answer about a token that is not plainly valid and the caller's.
const INACTIVE: &str = r#"200 {"active":false}"#;

/// An issuer with the agents `mailer` and `printer`, which have secrets and may all of `mail`.
async fn two_agents() -> (TestIssuer, TestAgent, TestAgent) {
    let issuer = mail_issuer().await;
    let mailer = issuer.agent("mailer").role("mailer").with_secret().await;
    let printer = issuer.agent("printer").role("mailer").with_secret().await;
    (issuer, mailer, printer)
}

async fn token_of(issuer: &TestIssuer, agent: &TestAgent) -> String {
    by_basic(issuer, &agent.name, agent.secret(), &[])
        .await
        .assert_issued()
}

/// Posts a form to an endpoint as an agent with a secret.
async fn ask(
    issuer: &TestIssuer,
    endpoint: &str,
    agent: &TestAgent,
    form: &[(&str, &str)],
) -> Answer {
    let authorization = basic(&agent.name, agent.secret());
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(form)
        .finish();
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/x-www-form-urlencoded"),
    ];
    issuer
        .send(Method::POST, &format!("/oauth2/{endpoint}"), &headers, body)
        .await
}

async fn introspect(issuer: &TestIssuer, agent: &TestAgent, token: &str) -> Answer {
    let answer = ask(issuer, "introspect", agent, &[("token", token)]).await;
    assert_endpoint_headers(&answer);
    answer
}

async fn is_active(issuer: &TestIssuer, agent: &TestAgent, token: &str) -> bool {
    let answer = introspect(issuer, agent, token).await;
    assert_eq!(answer.status, 200, "{answer}");
    answer.json()["active"].as_bool().unwrap()
}

/// Posts a form with a client assertion.
async fn ask_with_assertion(
    issuer: &TestIssuer,
    endpoint: &str,
    assertion: &str,
    token: &str,
) -> Answer {
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("token", token),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
        ])
        .finish();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    issuer
        .send(Method::POST, &format!("/oauth2/{endpoint}"), &headers, body)
        .await
}

/// A token with these claims over those of an ordinary one, signed by the issuer itself.
fn signed(issuer: &TestIssuer, typ: &str, changes: Value) -> String {
    let mut claims = json!({
        "iss": issuer.url, "sub": "agent:mailer", "aud": "https://mail.example",
        "exp": START + 900, "iat": START, "nbf": START, "jti": "made-here", "client_id": "mailer",
        "scope": "read", "groups": [], "roles": [], "owner": "team-test",
        "sub_profile": "ai_agent", "acting_agent": "agent:mailer",
    });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    issuer
        .issuer()
        .policy()
        .keyring
        .active(SigningAlgorithm::Es256)
        .unwrap()
        .sign_compact(typ, claims.to_string().as_bytes())
        .unwrap()
}

/// An `act` of the issuer's agents, the newest first.
fn act(issuer: &TestIssuer, subjects: &[&str]) -> Value {
    subjects.iter().rev().fold(Value::Null, |earlier, subject| {
        let mut link = json!({"iss": issuer.url, "sub": subject, "sub_profile": "ai_agent"});
        if earlier.is_object() {
            link["act"] = earlier;
        }
        link
    })
}

fn jti(token: &str) -> String {
    decoded_part(token, 1)["jti"].as_str().unwrap().to_owned()
}

async fn issuer_id(issuer: &TestIssuer) -> IssuerId {
    issuer.issuer().settings().await.unwrap().id
}

async fn agent_id(issuer: &TestIssuer, name: &str) -> AgentId {
    issuer.issuer().agent(name).await.unwrap().view.agent.id
}

/// Notes that a token of an agent was made from another one.
async fn note_parent(issuer: &TestIssuer, child: &str, parent: &str, actor: &str, subject: &str) {
    let root = LineageRow {
        token_id: parent.to_owned(),
        made: None,
        root_id: parent.to_owned(),
        depth: 0,
        subject: subject.to_owned(),
        audience: "https://mail.example".to_owned(),
        scopes: String::new(),
        proven: parent.contains(':').then(std::collections::BTreeMap::new),
        issued_at: UnixTime(START),
        expires_at: UnixTime(START + 900),
    };
    let row = LineageRow {
        token_id: child.to_owned(),
        made: Some(Exchanged {
            parent_id: parent.to_owned(),
            delegation: DelegationId::from_text("delegation-1"),
            actor: agent_id(issuer, actor).await,
        }),
        depth: 1,
        ..root.clone()
    };
    let id = issuer_id(issuer).await;
    let mut tx = issuer.host().store().write().await.unwrap();
    tx.lock_head(&id).await.unwrap();
    tx.insert_lineage(&id, &[root, row]).await.unwrap();
    tx.commit().await.unwrap();
}

/// Makes an agent the server of the resource `mail`.
async fn serve_mail(issuer: &TestIssuer, agent: &str) {
    let (id, server) = (issuer_id(issuer).await, agent_id(issuer, agent).await);
    let mut change = issuer
        .issuer()
        .begin(&Caller::system(), Touches::Policy)
        .await
        .unwrap();
    let before = change.tx.resources(&id).await.unwrap().remove(0);
    let mut after = before.clone();
    after.server = Some(server);
    after.version = change.version;
    assert!(
        change
            .tx
            .update_resource(&id, &after, before.version)
            .await
            .unwrap()
    );
    change.audit(
        AuditEvent::ResourceChanged,
        "resource:mail",
        None,
        &json!({}),
    );
    issuer.issuer().end(change).await.unwrap();
}

/// Trusts `okta` to name subjects.
async fn trust_okta(issuer: &TestIssuer) {
    let jwks = json!({"keys": [TestKey::EdDsa.signing_key().public_jwk().to_value()]});
    let body = json!({
        "name": "okta", "url": "https://okta.example", "trust": ["subject"],
        "keys": {"type": "inline", "jwks": jwks},
    });
    let added = issuer
        .admin(Method::POST, "/trusted-issuers", Some(&body))
        .await;
    assert_eq!(added.status, 201, "{added}");
}

async fn suspend(issuer: &TestIssuer, name: &str) {
    let path = format!("/agents/{name}/suspend");
    assert_eq!(issuer.admin(Method::POST, &path, None).await.status, 200);
}

async fn resume(issuer: &TestIssuer, name: &str) {
    let path = format!("/agents/{name}/resume");
    assert_eq!(issuer.admin(Method::POST, &path, None).await.status, 200);
}
