//! What the tests of token exchange start from: delegations, trusted issuers, resource servers and revocations, made
//! through the admin API, and tokens of every kind. Only what the API refuses to make is written to the store:
//! [`record`] and [`map_reserved_claims`].

use firman::domain::audit::AuditEvent;
use firman::domain::id::{AgentId, DelegationId, IssuerId};
use firman::issuer::Caller;
use firman::issuer::change::Touches;
use firman::jose::SigningAlgorithm;
use firman::ports::time::Clock as _;
use firman::store::{Exchanged, LineageRow};
use firman::testing::{Answer, TestAgent, TestIssuer, TestKey};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::oauth2::basic;

pub(crate) const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
pub(crate) const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
pub(crate) const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
pub(crate) const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";
/// The `iss` of the trusted issuer that most tests use.
pub(crate) const PARTNER: &str = "https://login.partner.example";

pub(crate) fn id(issuer: &TestIssuer) -> IssuerId {
    issuer.issuer().policy().settings.id.clone()
}

/// A delegation about to be made; the default is all of the resource for a day, four actors deep.
pub(crate) struct Delegate<'d> {
    actor: &'d str,
    body: Value,
}

/// `actor` may act for `subject` (a trailing `*` makes it a prefix) at `resource`.
pub(crate) fn delegate<'d>(actor: &'d str, subject: &str, resource: &str) -> Delegate<'d> {
    Delegate {
        actor,
        body: json!({
            "actor": actor, "subject": subject, "resource": resource, "expires_in": 86_400, "max_depth": 4,
        }),
    }
}

impl Delegate<'_> {
    /// Only these scopes; none: all of the resource's.
    pub(crate) fn scopes(mut self, scopes: &[&str]) -> Self {
        if !scopes.is_empty() {
            self.body["scopes"] = json!(scopes);
        }
        self
    }

    pub(crate) fn seconds(mut self, seconds: i64) -> Self {
        self.body["expires_in"] = json!(seconds);
        self
    }

    pub(crate) fn depth(mut self, depth: usize) -> Self {
        self.body["max_depth"] = json!(depth);
        self
    }

    /// Only tokens of that trusted issuer with that claim.
    pub(crate) fn with_claim(mut self, trusted: &str, claim: &str, value: &str) -> Self {
        self.body["trusted_issuer"] = json!(trusted);
        self.body["subject_claims"][claim] = json!(value);
        self
    }

    /// The id of the new delegation.
    pub(crate) async fn add(self, issuer: &TestIssuer) -> String {
        let added = call(issuer, Method::POST, "/delegations", &self.body).await;
        assert_eq!(added["actor"], self.actor);
        added["id"].as_str().unwrap().to_owned()
    }
}

/// A call of the admin API that succeeds.
async fn call(issuer: &TestIssuer, method: Method, path: &str, body: &Value) -> Value {
    let answer = issuer.admin(method, path, Some(body)).await;
    assert!(answer.status < 300, "{path} {body}: {answer}");
    answer.json()
}

/// `suspend`, `resume` or `revoke`s a delegation.
pub(crate) async fn set_delegation(issuer: &TestIssuer, id: &str, verb: &str) {
    let path = format!("/delegations/{id}/{verb}");
    let answer = issuer.admin(Method::POST, &path, None).await;
    assert_eq!(answer.status, 200, "{path}: {answer}");
}

/// A trusted issuer with that key that may name subjects, and whose tokens are accepted once.
pub(crate) fn trust(key: TestKey) -> Value {
    let jwks = json!({ "keys": [key.signing_key().public_jwk().to_value()] });
    json!({ "keys": { "type": "inline", "jwks": jwks }, "trust": ["subject"] })
}

/// Registers `definition` as the trusted issuer `name`.
pub(crate) async fn add_trusted(issuer: &TestIssuer, name: &str, url: &str, definition: Value) {
    let body = with(definition, &json!({ "name": name, "url": url }));
    call(issuer, Method::POST, "/trusted-issuers", &body).await;
}

/// The trusted issuer `partner` with the key [`TestKey::EdDsa`].
pub(crate) async fn partner(issuer: &TestIssuer) {
    add_trusted(issuer, "partner", PARTNER, trust(TestKey::EdDsa)).await;
}

/// Maps claims to attributes that the admin API reserves, as a database of an older version may have them.
pub(crate) async fn map_reserved_claims(issuer: &TestIssuer, name: &str, claims: &[(&str, &str)]) {
    let handle = issuer.issuer();
    let mut change = handle
        .begin(&Caller::system(), Touches::Policy)
        .await
        .unwrap();
    let found = change.tx.trusted_issuer_by_name(&id(issuer), name).await;
    let mut trusted = found.unwrap().unwrap();
    let before = trusted.version;
    for (attribute, claim) in claims {
        let claims = &mut trusted.definition.claims;
        claims.insert((*attribute).to_owned(), (*claim).to_owned());
    }
    trusted.version = change.version;
    let updated = change
        .tx
        .update_trusted_issuer(&id(issuer), &trusted, before)
        .await;
    assert!(updated.unwrap());
    change.audit(AuditEvent::TrustedIssuerChanged, name, None, &json!({}));
    handle.end(change).await.unwrap();
}

pub(crate) async fn allow_delegation(issuer: &TestIssuer, resource: &str, is_allowed: bool) {
    let edit = json!({ "allow_delegation": is_allowed });
    let path = format!("/resources/{resource}");
    call(issuer, Method::PATCH, &path, &edit).await;
}

/// Replaces the scopes of a resource.
pub(crate) async fn set_scopes(issuer: &TestIssuer, resource: &str, scopes: &[&str]) {
    let edit = json!({ "scopes": scopes });
    let path = format!("/resources/{resource}");
    call(issuer, Method::PATCH, &path, &edit).await;
}

/// Makes an agent the server of a resource.
pub(crate) async fn serve(issuer: &TestIssuer, resource: &str, agent: &str) {
    let edit = json!({ "server": agent });
    let path = format!("/resources/{resource}");
    call(issuer, Method::PATCH, &path, &edit).await;
}

/// Revokes a token by its id, with everything made from it.
pub(crate) async fn revoke(issuer: &TestIssuer, token_id: &str) {
    let body = json!({ "token_id": token_id });
    call(issuer, Method::POST, "/revocations", &body).await;
}

/// Revokes all tokens of a subject so far.
pub(crate) async fn mark(issuer: &TestIssuer, subject: &str) {
    let body = json!({ "subject": subject });
    call(issuer, Method::POST, "/revocations", &body).await;
}

/// A token of another issuer, to be changed as the test wants.
#[derive(Clone)]
pub(crate) struct Outside {
    key: TestKey,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

/// A good token of [`partner`] about `sub`, each with another `jti`.
pub(crate) fn outside(issuer: &TestIssuer, sub: &str) -> Outside {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let now = issuer.clock.now().0;
    let object = |value: Value| value.as_object().cloned().unwrap();
    let key = TestKey::EdDsa;
    Outside {
        key,
        header: object(json!({ "alg": "EdDSA", "kid": key.signing_key().kid(), "typ": "JWT" })),
        claims: object(json!({
            "iss": PARTNER, "sub": sub, "aud": issuer.url, "iat": now, "exp": now + 600,
            "jti": format!("outside-{number}"),
        })),
    }
}

impl Outside {
    pub(crate) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn signed_by(mut self, key: TestKey) -> Self {
        self.key = key;
        self.header("alg", json!(key.signing_key().algorithm()))
            .header("kid", key.signing_key().kid())
    }

    pub(crate) fn build(&self) -> String {
        let (header, claims) = (&self.header, &self.claims);
        self.key
            .signing_key()
            .sign_parts(
                json!(header).to_string().as_bytes(),
                json!(claims).to_string().as_bytes(),
            )
            .unwrap()
    }
}

/// A token with the issuer's own signature and any claims: only the issuer can make such a token, so this shows what
/// it would do with one.
pub(crate) fn forged(issuer: &TestIssuer, typ: &str, claims: &Value) -> String {
    let policy = issuer.issuer().policy();
    let key = policy.keyring.active(SigningAlgorithm::Es256).unwrap();
    key.sign_compact(typ, claims.to_string().as_bytes())
        .unwrap()
}

/// Records a forged token as made by exchange from a root of its own.
pub(crate) async fn record(issuer: &TestIssuer, claims: &Value) {
    let text = |name: &str| claims[name].as_str().unwrap_or_default().to_owned();
    let root = LineageRow {
        token_id: format!("root-of-{}", text("jti")),
        made: None,
        root_id: format!("root-of-{}", text("jti")),
        depth: 0,
        subject: text("sub"),
        audience: issuer.url.clone(),
        scopes: String::new(),
        proven: None,
        issued_at: issuer.clock.now(),
        expires_at: issuer.clock.now().plus(600),
    };
    let own = LineageRow {
        token_id: text("jti"),
        made: Some(Exchanged {
            parent_id: root.token_id.clone(),
            delegation: DelegationId::from_text("delegation-1"),
            actor: AgentId::from_text("agent-1"),
        }),
        depth: 1,
        audience: text("aud"),
        scopes: text("scope"),
        ..root.clone()
    };
    let mut tx = issuer.host().store().write().await.unwrap();
    tx.lock_head(&id(issuer)).await.unwrap();
    tx.insert_lineage(&id(issuer), &[root, own]).await.unwrap();
    tx.commit().await.unwrap();
}

/// The claims of a good access token of the agent `client` for the issuer itself.
pub(crate) fn own_claims(issuer: &TestIssuer, client: &str) -> Value {
    let now = issuer.clock.now().0;
    let subject = format!("agent:{client}");
    json!({
        "iss": issuer.url, "sub": subject, "aud": issuer.url, "exp": now + 600, "iat": now, "nbf": now,
        "jti": format!("forged-{client}"), "client_id": client, "groups": [], "roles": [],
        "owner": "team-test", "sub_profile": "ai_agent", "acting_agent": subject,
    })
}

/// `claims` with some of them set to others; null leaves one out.
pub(crate) fn with(mut claims: Value, others: &Value) -> Value {
    let members = claims.as_object_mut().unwrap();
    for (name, value) in others.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    claims
}

/// Exchanges `subject_token`, an access token unless `further` says otherwise.
pub(crate) async fn exchange(
    issuer: &TestIssuer,
    agent: &TestAgent,
    subject_token: &str,
    further: &[(&str, &str)],
) -> Answer {
    let mut form = vec![
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", subject_token),
    ];
    if !further
        .iter()
        .any(|(name, _)| *name == "subject_token_type")
    {
        form.push(("subject_token_type", ACCESS_TOKEN));
    }
    form.extend_from_slice(further);
    let authorization = basic(&agent.name, agent.secret());
    issuer
        .token_with_headers(&[("authorization", &authorization)], &form)
        .await
}

/// Exchanges a token from outside.
pub(crate) async fn exchange_jwt(
    issuer: &TestIssuer,
    agent: &TestAgent,
    subject_token: &str,
    further: &[(&str, &str)],
) -> Answer {
    let mut all = vec![("subject_token_type", JWT)];
    all.extend_from_slice(further);
    exchange(issuer, agent, subject_token, &all).await
}

/// An access token of the agent itself for the named resource.
pub(crate) async fn own_token(
    issuer: &TestIssuer,
    agent: &TestAgent,
    further: &[(&str, &str)],
) -> String {
    crate::oauth2::by_basic(issuer, &agent.name, agent.secret(), further)
        .await
        .assert_issued()
}

/// An access token of the agent for the issuer itself.
pub(crate) async fn identity_token(issuer: &TestIssuer, agent: &TestAgent) -> String {
    let further = [("scope", "openid"), ("resource", issuer.url.as_str())];
    own_token(issuer, agent, &further).await
}
