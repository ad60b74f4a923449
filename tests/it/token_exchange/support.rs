//! What token exchange needs to be there, made in one place: delegations, trusted issuers, resource
//! servers, revocations, and tokens of every kind.

use std::collections::BTreeMap;

use firman::domain::audit::AuditEvent;
use firman::domain::delegation::{Delegation, DelegationStatus, SubjectPattern};
use firman::domain::id::{AgentId, DelegationId, IssuerId, TrustedIssuerId};
use firman::domain::name::Name;
use firman::domain::resource::Resource;
use firman::domain::role::GrantedScopes;
use firman::domain::scope::Scope;
use firman::domain::trusted_issuer::{JtiPolicy, KeySource, TrustDefinition, TrustedIssuer};
use firman::issuer::Caller;
use firman::issuer::change::Touches;
use firman::jose::SigningAlgorithm;
use firman::ports::time::Clock as _;
use firman::store::{EndKind, EndMark, Exchanged, LineageRow, RevokedToken};
use firman::testing::{Answer, TestAgent, TestIssuer, TestKey};
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

/// A delegation about to be made; the default is all of the resource for a day, two actors deep.
pub(crate) struct Delegate<'d> {
    actor: &'d str,
    subject: &'d str,
    resource: &'d str,
    scopes: &'d [&'d str],
    seconds: i64,
    depth: usize,
    trusted: Option<TrustedIssuerId>,
    claims: BTreeMap<String, String>,
}

/// `actor` may act for `subject` (a trailing `*` makes it a prefix) at `resource`.
pub(crate) fn delegate<'d>(actor: &'d str, subject: &'d str, resource: &'d str) -> Delegate<'d> {
    Delegate {
        actor,
        subject,
        resource,
        scopes: &[],
        seconds: 86_400,
        depth: 4,
        trusted: None,
        claims: BTreeMap::new(),
    }
}

impl<'d> Delegate<'d> {
    /// Only these scopes; none: all of the resource's.
    pub(crate) fn scopes(mut self, scopes: &'d [&'d str]) -> Self {
        self.scopes = scopes;
        self
    }

    pub(crate) fn seconds(mut self, seconds: i64) -> Self {
        self.seconds = seconds;
        self
    }

    pub(crate) fn depth(mut self, depth: usize) -> Self {
        self.depth = depth;
        self
    }

    pub(crate) fn with_claim(mut self, trusted: &str, claim: &str, value: &str) -> Self {
        self.trusted = Some(TrustedIssuerId::from_text(trusted));
        self.claims.insert(claim.to_owned(), value.to_owned());
        self
    }

    pub(crate) async fn add(self, issuer: &TestIssuer) -> Delegation {
        let handle = issuer.issuer();
        let mut change = handle
            .begin(&Caller::system(), Touches::Agent)
            .await
            .unwrap();
        let (now, id) = (change.now(), id(issuer));
        let actor = change.tx.agent_by_name(&id, self.actor).await.unwrap();
        let resource = change
            .tx
            .resource_by_name(&id, self.resource)
            .await
            .unwrap();
        let scopes = self.scopes.iter().map(|scope| Scope::parse(scope).unwrap());
        let delegation = Delegation {
            id: DelegationId::new(change.at, &*handle.ports().random),
            actor: actor.unwrap().id,
            subject: SubjectPattern::parse(self.subject, self.trusted, self.claims).unwrap(),
            resource: resource.unwrap().id,
            scopes: if self.scopes.is_empty() {
                GrantedScopes::All
            } else {
                GrantedScopes::Only(scopes.collect())
            },
            max_depth: self.depth,
            status: DelegationStatus::Active,
            expires_at: now.plus(self.seconds),
            version: change.version,
            created_at: now,
            updated_at: now,
        };
        assert!(change.tx.insert_delegation(&id, &delegation).await.unwrap());
        let version = change.version;
        change
            .tx
            .touch_agent(&id, &delegation.actor, version, now)
            .await
            .unwrap();
        let detail = json!({});
        let target = delegation.id.as_str();
        change.audit(
            AuditEvent::DelegationAdded,
            target,
            Some(&delegation.actor),
            &detail,
        );
        handle.end(change).await.unwrap();
        delegation
    }
}

/// Switches a delegation off, on again, or ends it.
pub(crate) async fn set_delegation(
    issuer: &TestIssuer,
    delegation: &mut Delegation,
    status: DelegationStatus,
) {
    let handle = issuer.issuer();
    let mut change = handle
        .begin(&Caller::system(), Touches::Agent)
        .await
        .unwrap();
    let (now, id, before) = (change.now(), id(issuer), delegation.version);
    delegation.status = status;
    delegation.version = change.version;
    let updated = change.tx.update_delegation(&id, delegation, before).await;
    assert!(updated.unwrap());
    let version = change.version;
    change
        .tx
        .touch_agent(&id, &delegation.actor, version, now)
        .await
        .unwrap();
    let detail = json!({});
    let target = delegation.id.as_str();
    change.audit(
        AuditEvent::DelegationSuspended,
        target,
        Some(&delegation.actor),
        &detail,
    );
    handle.end(change).await.unwrap();
}

/// What is believed of a trusted issuer that may name subjects, and whose tokens are taken once.
pub(crate) fn trust(issuer: &TestIssuer, key: TestKey) -> TrustDefinition {
    TrustDefinition {
        description: String::new(),
        audience: issuer.url.clone(),
        keys: KeySource::Inline {
            jwks: json!({ "keys": [key.signing_key().public_jwk().to_value()] }),
        },
        client_auth: false,
        subject: true,
        actor: false,
        accept_act: false,
        max_lifetime: 3600,
        types: vec!["JWT".to_owned()],
        jti: JtiPolicy::SingleUse,
        required_claims: BTreeMap::new(),
        subject_claim: "sub".to_owned(),
        claims: BTreeMap::new(),
    }
}

/// Makes an issuer trusted.
pub(crate) async fn add_trusted(
    issuer: &TestIssuer,
    (name, url): (&str, &str),
    definition: TrustDefinition,
) -> TrustedIssuer {
    let handle = issuer.issuer();
    let mut change = handle
        .begin(&Caller::system(), Touches::Policy)
        .await
        .unwrap();
    let now = change.now();
    let trusted = TrustedIssuer {
        id: TrustedIssuerId::new(change.at, &*handle.ports().random),
        name: Name::parse(name).unwrap(),
        url: url.to_owned(),
        definition,
        version: change.version,
        created_at: now,
        updated_at: now,
        removed_at: None,
    };
    let id = id(issuer);
    assert!(
        change
            .tx
            .insert_trusted_issuer(&id, &trusted)
            .await
            .unwrap()
    );
    let detail = json!({});
    change.audit(AuditEvent::TrustedIssuerAdded, name, None, &detail);
    handle.end(change).await.unwrap();
    trusted
}

/// The trusted issuer `partner` with the key [`TestKey::EdDsa`].
pub(crate) async fn partner(issuer: &TestIssuer) -> TrustedIssuer {
    let definition = trust(issuer, TestKey::EdDsa);
    add_trusted(issuer, ("partner", PARTNER), definition).await
}

/// Changes what has no place in the embedding API: a resource's server and whether it may be delegated.
pub(crate) async fn edit_resource(
    issuer: &TestIssuer,
    name: &str,
    edit: impl FnOnce(&mut Resource),
) {
    let handle = issuer.issuer();
    let mut change = handle
        .begin(&Caller::system(), Touches::Policy)
        .await
        .unwrap();
    let id = id(issuer);
    let found = change.tx.resource_by_name(&id, name).await.unwrap();
    let mut resource = found.unwrap();
    let before = resource.version;
    edit(&mut resource);
    resource.version = change.version;
    let updated = change.tx.update_resource(&id, &resource, before).await;
    assert!(updated.unwrap());
    change.audit(AuditEvent::ResourceChanged, name, None, &json!({}));
    handle.end(change).await.unwrap();
}

/// Makes an agent the server of a resource.
pub(crate) async fn serve(issuer: &TestIssuer, resource: &str, agent: &str) {
    let handle = issuer.issuer();
    let change = handle
        .begin(&Caller::system(), Touches::Agent)
        .await
        .unwrap();
    let mut tx = change.tx;
    let found = tx.agent_by_name(&id(issuer), agent).await.unwrap();
    let agent = found.unwrap().id;
    tx.rollback().await.unwrap();
    edit_resource(issuer, resource, |resource| resource.server = Some(agent)).await;
}

/// Revokes a token by its number, with everything below it.
pub(crate) async fn revoke(issuer: &TestIssuer, token_id: &str) {
    let handle = issuer.issuer();
    let mut change = handle
        .begin(&Caller::system(), Touches::Agent)
        .await
        .unwrap();
    let now = change.now();
    let token = RevokedToken {
        token_id: token_id.to_owned(),
        revoked_at: now,
        expires_at: now.plus(3600),
    };
    assert!(change.tx.revoke_token(&id(issuer), &token).await.unwrap());
    change.audit(AuditEvent::TokenRevoked, token_id, None, &json!({}));
    handle.end(change).await.unwrap();
}

/// Ends all tokens of a subject so far.
pub(crate) async fn mark(issuer: &TestIssuer, subject: &str) {
    let handle = issuer.issuer();
    let mut change = handle
        .begin(&Caller::system(), Touches::Agent)
        .await
        .unwrap();
    let now = change.now();
    let mark = EndMark {
        kind: EndKind::Subject,
        key: subject.to_owned(),
        not_before: now,
        expires_at: now.plus(86_400),
    };
    change.tx.mark_ended(&id(issuer), &mark).await.unwrap();
    change.audit(AuditEvent::SubjectRevoked, subject, None, &json!({}));
    handle.end(change).await.unwrap();
}

/// A token of somebody else, to be changed as the test wants.
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

/// A token with the issuer's own signature and any claims: what nobody but the issuer can make, to see
/// what it would do with one.
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
