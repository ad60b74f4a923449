//! Agents that prove themselves by tokens of trusted issuers. The issuers here are stand-ins: keys of
//! ours, the claims that each platform documents, and where keys are fetched a server on loopback.

mod kept_keys;
mod keys;
mod odd_keys;
mod platforms;
mod refusals;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firman::testing::{Answer, START, TestIssuer, TestKey};
use reqwest::Method;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::oauth2::{audited, grant_mail, mail_issuer, refusal};

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// A token with these claims.
pub(crate) fn signed(key: TestKey, typ: Option<&str>, claims: &Value) -> String {
    let signing = key.signing_key();
    let mut header = json!({ "alg": signing.algorithm(), "kid": signing.kid() });
    if let Some(typ) = typ {
        header["typ"] = json!(typ);
    }
    signing
        .sign_parts(header.to_string().as_bytes(), claims.to_string().as_bytes())
        .expect("a signature")
}

/// `claims` with some of them changed; `null` leaves one out.
pub(crate) fn with(claims: &Value, changes: Value) -> Value {
    let mut all: Map<String, Value> = claims.as_object().expect("claims").clone();
    for (name, value) in changes.as_object().expect("changes") {
        if value.is_null() {
            all.remove(name);
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
    Value::Object(all)
}

/// The public halves of keys as a key set.
pub(crate) fn key_set(keys: &[TestKey]) -> Value {
    let keys: Vec<Value> = keys
        .iter()
        .map(|key| {
            let signing = key.signing_key();
            let mut jwk = signing.public_jwk().to_value();
            jwk["kid"] = json!(signing.kid());
            jwk
        })
        .collect();
    json!({ "keys": keys })
}

/// Trusts an issuer with inline keys.
pub(crate) async fn trust(issuer: &TestIssuer, name: &str, url: &str, further: Value) -> Answer {
    let body = with(
        &json!({
            "name": name,
            "url": url,
            "trust": ["client_auth"],
            "keys": { "type": "inline", "jwks": key_set(&[TestKey::Rs256]) },
        }),
        further,
    );
    issuer
        .admin(Method::POST, "/trusted-issuers", Some(&body))
        .await
}

/// Registers an agent that tokens of a trusted issuer prove.
pub(crate) async fn federate(issuer: &TestIssuer, agent: &str, trusted: &str, matching: Value) {
    let body = json!({ "name": agent, "owner": "team-test", "roles": ["mailer"] });
    let made = issuer.admin(Method::POST, "/agents", Some(&body)).await;
    assert_eq!(made.status, 201, "{made}");
    let body = json!({ "kind": "federated", "trusted_issuer": trusted, "match": matching });
    let path = format!("/agents/{agent}/credentials");
    let added = issuer.admin(Method::POST, &path, Some(&body)).await;
    assert_eq!(added.status, 201, "{added}");
}

/// Asks for a token with a platform's token.
pub(crate) async fn present(issuer: &TestIssuer, client_id: Option<&str>, token: &str) -> Answer {
    present_as(issuer, JWT_BEARER, client_id, token).await
}

async fn present_as(
    issuer: &TestIssuer,
    assertion_type: &str,
    client_id: Option<&str>,
    token: &str,
) -> Answer {
    let mut form = vec![
        ("grant_type", "client_credentials"),
        ("client_assertion_type", assertion_type),
        ("client_assertion", token),
    ];
    form.extend(client_id.map(|id| ("client_id", id)));
    issuer.token(&form).await
}

/// The issuer of GitHub Actions.
const GITHUB: &str = "https://token.actions.githubusercontent.com";

/// The claims of docs.github.com/en/actions/concepts/security/openid-connect, "Understanding the OIDC
/// token", of a run about to deploy.
pub(crate) fn github_claims(audience: &str) -> Value {
    json!({
        "jti": "example-id-1",
        "sub": "repo:octo-org/octo-repo:environment:prod",
        "environment": "prod",
        "aud": audience,
        "ref": "refs/heads/main",
        "sha": "d6fe7eb3a8a3a5c4e9c8b1a1e2f0b3c4d5e6f708",
        "repository": "octo-org/octo-repo",
        "repository_owner": "octo-org",
        "actor_id": "12",
        "repository_visibility": "private",
        "repository_id": "74",
        "repository_owner_id": "65",
        "run_id": "12345",
        "run_number": "10",
        "run_attempt": "2",
        "runner_environment": "github-hosted",
        "actor": "octocat",
        "workflow": "deploy",
        "head_ref": "",
        "base_ref": "",
        "event_name": "workflow_dispatch",
        "ref_type": "branch",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        "iss": GITHUB,
        "nbf": START - 60,
        "exp": START + 300,
        "iat": START,
    })
}

/// An issuer that trusts GitHub and has an agent for one repository's production.
pub(crate) async fn github_issuer() -> TestIssuer {
    let issuer = mail_issuer().await;
    let added = trust(&issuer, "github", GITHUB, json!({})).await;
    assert_eq!(added.status, 201, "{added}");
    let matching = json!({ "claims": {
        "repository": "octo-org/octo-repo", "environment": "prod", "repository_owner_id": "65",
    }});
    federate(&issuer, "deployer", "github", matching).await;
    issuer
}

/// What one path of a [`StandIn`] answers.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    pub(crate) after: Duration,
}

impl Reply {
    pub(crate) fn json(value: &Value) -> Self {
        Self {
            status: 200,
            head: "content-type: application/json\r\n".to_owned(),
            body: value.to_string().into_bytes(),
            after: Duration::ZERO,
        }
    }
}

/// A server that publishes what an issuer publishes.
pub(crate) struct StandIn {
    pub(crate) url: String,
    replies: Arc<Mutex<HashMap<String, Reply>>>,
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl StandIn {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let replies: Arc<Mutex<HashMap<String, Reply>>> = Arc::default();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let connections: Arc<AtomicUsize> = Arc::default();
        let accepted = Arc::clone(&connections);
        let (known, log) = (Arc::clone(&replies), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                accepted.fetch_add(1, Ordering::SeqCst);
                let (known, log) = (Arc::clone(&known), Arc::clone(&log));
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = stream.read_u8().await else {
                            return;
                        };
                        head.push(byte);
                    }
                    let head = String::from_utf8_lossy(&head).into_owned();
                    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                    log.lock().expect("the log").push(path.clone());
                    let reply = known.lock().expect("the replies").get(&path).cloned();
                    let reply = reply.unwrap_or(Reply {
                        status: 404,
                        ..Reply::json(&json!({}))
                    });
                    tokio::time::sleep(reply.after).await;
                    let answer = format!(
                        "HTTP/1.1 {} X\r\n{}content-length: {}\r\nconnection: close\r\n\r\n",
                        reply.status,
                        reply.head,
                        reply.body.len()
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                    let _ = stream.write_all(&reply.body).await;
                });
            }
        });
        let stand_in = Self {
            url,
            replies,
            seen,
            connections,
            task,
        };
        let discovery = json!({
            "issuer": stand_in.url,
            "jwks_uri": format!("{}/jwks", stand_in.url),
        });
        stand_in.answers("/.well-known/openid-configuration", Reply::json(&discovery));
        stand_in
    }

    pub(crate) fn answers(&self, path: &str, reply: Reply) {
        let mut replies = self.replies.lock().expect("the replies");
        replies.insert(path.to_owned(), reply);
    }

    pub(crate) fn publishes(&self, keys: &[TestKey]) {
        self.answers("/jwks", Reply::json(&key_set(keys)));
    }

    pub(crate) fn is_down(&self) {
        let down = Reply {
            status: 503,
            ..Reply::json(&json!({}))
        };
        self.answers("/jwks", down.clone());
        self.answers("/.well-known/openid-configuration", down);
    }

    /// How often it was connected to, for whatever.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How often the key set was asked for.
    pub(crate) fn key_set_requests(&self) -> usize {
        let seen = self.seen.lock().expect("the log");
        seen.iter().filter(|path| *path == "/jwks").count()
    }

    /// A token of this issuer about `sub`, made now.
    pub(crate) fn token(&self, issuer: &TestIssuer, key: TestKey, now: i64) -> String {
        signed(
            key,
            Some("JWT"),
            &json!({ "iss": self.url, "sub": "worker", "aud": issuer.url, "iat": now, "exp": now + 300 }),
        )
    }
}
