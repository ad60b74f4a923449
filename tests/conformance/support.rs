//! Fresh databases, and rows to fill them with.

use std::collections::BTreeMap;

use firman::domain::agent::{Agent, AgentStatus};
use firman::domain::assertion_audience::AssertionAudience;
use firman::domain::audit::{AuditDraft, AuditEvent};
use firman::domain::credential::{Credential, CredentialKind};
use firman::domain::group::Group;
use firman::domain::id::{AgentId, CredentialId, GroupId, IssuerId, ResourceId, RoleId};
use firman::domain::name::Name;
use firman::domain::profile::Profile;
use firman::domain::resource::{Identifier, Resource};
use firman::domain::role::{Grant, GrantedScopes, Role};
use firman::domain::scope::{Scopes, parse_scopes};
use firman::domain::settings::IssuerSettings;
use firman::domain::subject::{Subject, SubjectTemplate};
use firman::jose::algorithm::SigningAlgorithm;
use firman::jose::digest::base64url;
use firman::jose::jwk::PublicJwk;
use firman::ports::time::{UnixMillis, UnixTime};
use firman::store::testing::fresh_postgres_database;
use firman::store::{Store, Tx};
use p256::elliptic_curve::sec1::ToSec1Point as _;

pub(crate) const NOW: UnixTime = UnixTime(1_800_000_000);

/// A database of its own for one case.
pub(crate) struct Database {
    pub(crate) store: Store,
    pub(crate) url: String,
    /// Holds the SQLite file for as long as the case runs.
    pub(crate) directory: Option<tempfile::TempDir>,
}

pub(crate) async fn sqlite() -> Database {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", directory.path().join("firman.db").display());
    let store = Store::open(&url).await.expect("a fresh SQLite file opens");
    Database {
        store,
        url,
        directory: Some(directory),
    }
}

pub(crate) async fn postgres() -> Database {
    let url = postgres_url().await;
    let store = Store::open(&url)
        .await
        .expect("a fresh PostgreSQL database opens");
    Database {
        store,
        url,
        directory: None,
    }
}

pub(crate) async fn postgres_url() -> String {
    fresh_postgres_database(&admin_url())
        .await
        .expect("a fresh PostgreSQL database")
}

#[expect(
    clippy::disallowed_methods,
    reason = "a test has no configuration but its environment"
)]
pub(crate) fn admin_url() -> String {
    std::env::var("FIRMAN_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty()).expect(
        "these tests need a throw-away PostgreSQL: run scripts/test, or scripts/with-postgres cargo test --test conformance",
    )
}

/// A write transaction that holds the lock of the issuer `home`.
pub(crate) async fn write(store: &Store) -> Tx {
    let mut tx = store.write().await.expect("a write transaction");
    tx.lock_head(&home()).await.expect("the head");
    tx
}

pub(crate) async fn read(store: &Store) -> Tx {
    store.read().await.expect("a read transaction")
}

/// Makes the issuers `home` and `other`.
pub(crate) async fn issuers(store: &Store) {
    let mut tx = store.write().await.unwrap();
    assert!(tx.insert_issuer(&settings("home"), NOW).await.unwrap());
    assert!(tx.insert_issuer(&settings("other"), NOW).await.unwrap());
    tx.commit().await.unwrap();
}

pub(crate) fn home() -> IssuerId {
    IssuerId::from_text("issuer-home")
}

pub(crate) fn other() -> IssuerId {
    IssuerId::from_text("issuer-other")
}

pub(crate) fn settings(slug: &str) -> IssuerSettings {
    IssuerSettings {
        id: IssuerId::from_text(format!("issuer-{slug}")),
        slug: slug.to_owned(),
        url: format!("https://{slug}.example"),
        subject_template: SubjectTemplate::parse(SubjectTemplate::DEFAULT).unwrap(),
        default_lifetime: 900,
        max_lifetime: 3600,
        default_algorithm: SigningAlgorithm::Es256,
        assertion_audience: AssertionAudience::Issuer,
        version: 0,
    }
}

pub(crate) fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

pub(crate) fn agent(agent_name: &str) -> Agent {
    Agent {
        id: AgentId::from_text(format!("agent-{agent_name}")),
        name: name(agent_name),
        subject: Subject::from_stored(format!("agent:{agent_name}")),
        owner: "Équipe A".to_owned(),
        description: String::new(),
        attributes: BTreeMap::new(),
        status: AgentStatus::Active,
        expires_at: None,
        dpop_required: false,
        assertion_audience: None,
        groups: Vec::new(),
        roles: Vec::new(),
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    }
}

pub(crate) fn group(group_name: &str) -> Group {
    Group {
        id: GroupId::from_text(format!("group-{group_name}")),
        name: name(group_name),
        description: "a group".to_owned(),
        roles: Vec::new(),
        version: 1,
        created_at: NOW,
        updated_at: NOW,
        removed_at: None,
    }
}

pub(crate) fn role(role_name: &str) -> Role {
    Role {
        id: RoleId::from_text(format!("role-{role_name}")),
        name: name(role_name),
        description: "a role".to_owned(),
        grants: Vec::new(),
        version: 1,
        created_at: NOW,
        updated_at: NOW,
        removed_at: None,
    }
}

pub(crate) fn grant(resource: &Resource, scopes: GrantedScopes) -> Grant {
    Grant {
        resource: resource.id.clone(),
        scopes,
    }
}

pub(crate) fn scopes(text: &str) -> Scopes {
    parse_scopes(text).unwrap()
}

pub(crate) fn resource(resource_name: &str) -> Resource {
    Resource {
        id: ResourceId::from_text(format!("resource-{resource_name}")),
        name: name(resource_name),
        identifier: Identifier::from_stored(format!("https://{resource_name}.example")),
        description: "a resource".to_owned(),
        profile: Profile::Generic,
        scopes: Scopes::new(),
        lifetime: None,
        algorithm: None,
        typ: None,
        allow_delegation: None,
        server: None,
        dpop_required: false,
        version: 1,
        created_at: NOW,
        updated_at: NOW,
        removed_at: None,
    }
}

pub(crate) fn secret(id: &str, of: &Agent) -> Credential {
    credential(
        id,
        of,
        CredentialKind::ClientSecret {
            hash: format!("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ${id}"),
        },
    )
}

/// The public key number `number`, with that `kid` or none.
pub(crate) fn public_key(id: &str, of: &Agent, number: u8, kid: Option<&str>) -> Credential {
    let key = p256::SecretKey::from_slice(&[number; 32])
        .unwrap()
        .public_key();
    let point = key.to_sec1_point(false);
    let mut jwk = serde_json::json!({
        "kty": "EC",
        "crv": "P-256",
        "x": base64url(point.x().unwrap()),
        "y": base64url(point.y().unwrap()),
    });
    if let Some(kid) = kid {
        jwk["kid"] = kid.into();
    }
    credential(
        id,
        of,
        CredentialKind::PublicKey {
            jwk: Box::new(PublicJwk::from_value(&jwk).unwrap()),
        },
    )
}

fn credential(id: &str, of: &Agent, kind: CredentialKind) -> Credential {
    Credential {
        id: CredentialId::from_text(id),
        agent: of.id.clone(),
        kind,
        not_before: NOW,
        expires_at: None,
        revoked_at: None,
        created_at: NOW,
    }
}

pub(crate) fn draft(event: AuditEvent, at: i64) -> AuditDraft {
    AuditDraft::new(UnixMillis(at), event, "system", &serde_json::json!({}))
}
