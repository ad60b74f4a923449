//! Tokens that are bound to a key (RFC 9449), over HTTP: bad proofs first, then replays and nonces, then
//! what is owed and what a bound token looks like. A good proof is changed as each test wants.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod exchange;
mod owed;
mod proofs;
mod replay;

use std::sync::atomic::{AtomicU64, Ordering};

use firman::domain::audit::AuditEvent;
use firman::issuer::Caller;
use firman::issuer::change::Touches;
use firman::ports::time::Clock as _;
use firman::testing::{Answer, START, TestAgent, TestIssuer, TestKey};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::oauth2::{
    Answers, Distinct, assert_endpoint_headers, assert_tokens_issued, audited, audited_in_time,
    basic, by_basic, granted, mail_issuer, mail_issuer_on_postgres, refusal, told_in_time,
};

/// The key that most proofs are made with.
const HOLDER: TestKey = TestKey::Es256Second;

/// A good proof, to be changed.
#[derive(Clone)]
struct Proof {
    key: TestKey,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

/// A good proof of holding `key`, made now, with the present nonce and a number of its own.
fn proof_of(issuer: &TestIssuer, key: TestKey) -> Proof {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let now = issuer.clock.now();
    let signing_key = key.signing_key();
    let object = |value: Value| value.as_object().unwrap().clone();
    Proof {
        key,
        header: object(json!({
            "typ": "dpop+jwt",
            "alg": signing_key.algorithm(),
            "jwk": signing_key.public_jwk().to_value(),
        })),
        claims: object(json!({
            "jti": format!("proof-{number}"),
            "htm": "POST",
            "htu": format!("{}/oauth2/token", issuer.url),
            "iat": now.0,
            "nonce": issuer.issuer().dpop_nonce(now),
        })),
    }
}

impl Proof {
    fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.header.remove(name);
        self.claims.remove(name);
        self
    }

    fn signed_by(mut self, key: TestKey) -> Self {
        self.key = key;
        self
    }

    fn build(&self) -> String {
        let header = Value::from(self.header.clone()).to_string();
        let claims = Value::from(self.claims.clone()).to_string();
        let key = self.key.signing_key();
        key.sign_parts(header.as_bytes(), claims.as_bytes())
            .unwrap()
    }
}

/// The thumbprint of a key.
fn jkt(key: TestKey) -> String {
    let key = key.signing_key();
    key.public_jwk().thumbprint().to_owned()
}

/// An issuer with the resource `mail` and an agent with a secret that may read and send.
async fn mailer() -> (TestIssuer, TestAgent) {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    (issuer, agent)
}

/// Asks for a token with a secret and a proof.
async fn with_proof(issuer: &TestIssuer, agent: &TestAgent, proof: &str) -> Answer {
    ask(issuer, agent, &[proof], &[]).await
}

/// Asks with any number of proofs and further parameters; an answer to a proof brings the present nonce,
/// whatever else it says.
async fn ask(
    issuer: &TestIssuer,
    agent: &TestAgent,
    proofs: &[&str],
    further: &[(&str, &str)],
) -> Answer {
    let authorization = basic(&agent.name, agent.secret());
    let mut headers = vec![("authorization", authorization.as_str())];
    headers.extend(proofs.iter().map(|proof| ("DPoP", *proof)));
    let mut form = vec![("grant_type", "client_credentials")];
    if further.iter().any(|(name, _)| *name == "grant_type") {
        form.clear();
    }
    form.extend_from_slice(further);
    let answer = issuer.token_with_headers(&headers, &form).await;
    let nonce = issuer.issuer().dpop_nonce(issuer.clock.now());
    let expected = if proofs.is_empty() { "" } else { &nonce };
    assert_eq!(answer.header("dpop-nonce"), expected, "{answer}");
    answer
}

/// Makes a proof owed for a resource.
async fn demand_for_resource(issuer: &TestIssuer, name: &str) {
    let handle = issuer.issuer();
    let mut change = handle
        .begin(&Caller::system(), Touches::Policy)
        .await
        .unwrap();
    let id = handle.policy().settings.id.clone();
    let found = change.tx.resource_by_name(&id, name).await.unwrap();
    let mut resource = found.unwrap();
    let before = resource.version;
    (resource.dpop_required, resource.version) = (true, change.version);
    let updated = change.tx.update_resource(&id, &resource, before).await;
    assert!(updated.unwrap());
    change.audit(AuditEvent::ResourceChanged, name, None, &json!({}));
    handle.end(change).await.unwrap();
}

/// Makes a proof owed by an agent.
async fn demand_of_agent(issuer: &TestIssuer, name: &str) {
    let handle = issuer.issuer();
    let mut change = handle
        .begin(&Caller::system(), Touches::Agent)
        .await
        .unwrap();
    let id = handle.policy().settings.id.clone();
    let found = change.tx.agent_by_name(&id, name).await.unwrap();
    let mut agent = found.unwrap();
    let before = agent.version;
    (agent.dpop_required, agent.version) = (true, change.version);
    let updated = change.tx.update_agent(&id, &agent, before).await;
    assert!(updated.unwrap());
    change.audit(AuditEvent::AgentChanged, name, Some(&agent.id), &json!({}));
    handle.end(change).await.unwrap();
}
