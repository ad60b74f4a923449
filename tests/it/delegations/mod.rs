//! Delegations as administrators make and end them, over HTTP. Tokens made under one are put into the
//! database by hand: how they are made is the business of the token exchange.

mod ends;
mod refusals;
mod resources;
mod shown;

use std::collections::BTreeMap;

use firman::domain::id::{IssuerId, TrustedIssuerId};
use firman::domain::name::Name;
use firman::domain::trusted_issuer::{JtiPolicy, KeySource, TrustDefinition, TrustedIssuer};
use firman::ports::time::UnixTime;
use firman::store::Tx;
use firman::testing::{START, TestIssuer};
use reqwest::Method;
use serde_json::{Value, json};

use crate::admin::{
    administrator, assert_problem, audited, call, call_with, get, kind_of, patch, post, without_ids,
};

/// One with the agents `mailer`, which may reach the resource `api`, and `triage`.
async fn with_agents() -> TestIssuer {
    let issuer = TestIssuer::start().await;
    issuer.resource("api", &["read", "write"]).await;
    issuer.role("reader", "api", &["read"]).await;
    for (name, roles) in [("mailer", json!(["reader"])), ("triage", json!([]))] {
        let new = json!({ "name": name, "owner": "ops", "roles": roles });
        assert_eq!(post(&issuer, "/agents", new).await.status, 201);
    }
    issuer
}

/// What `mailer` may do for `triage` at `api` for an hour.
fn new() -> Value {
    json!({ "actor": "mailer", "subject": "agent:triage", "resource": "api", "expires_in": 3600 })
}

/// [`new`] with other members; `null` leaves one out.
fn new_but(members: Value) -> Value {
    let mut body = new();
    let object = body.as_object_mut().expect("an object");
    for (name, value) in members.as_object().expect("an object") {
        if value.is_null() {
            object.remove(name);
        } else {
            object.insert(name.clone(), value.clone());
        }
    }
    body
}

/// Makes a delegation and returns its path.
async fn added(issuer: &TestIssuer, body: Value) -> String {
    let answer = post(issuer, "/delegations", body).await;
    assert_eq!(answer.status, 201, "{answer}");
    let id = answer.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(
        answer.header("location"),
        format!("/admin/v1/delegations/{id}")
    );
    format!("/delegations/{id}")
}

/// A write transaction of the issuer's database, and the issuer's id.
pub(crate) async fn write(issuer: &TestIssuer) -> (Tx, IssuerId) {
    let mut tx = issuer.host().store().write().await.expect("a store");
    let id = tx.issuers().await.expect("a store")[0].id.clone();
    tx.lock_head(&id).await.expect("a store");
    (tx, id)
}

/// The mark that ends the tokens made under a delegation: up to which second after the start.
async fn ended_until(issuer: &TestIssuer, path: &str) -> Option<i64> {
    let list = get(issuer, "/revocations").await.json();
    let id = path.trim_start_matches("/delegations/");
    let items = list["items"].as_array().expect("a list");
    let mark = items.iter().find(|item| item["delegation"] == id)?;
    assert_eq!(mark["kind"], "delegation");
    Some(mark["revoked_at"].as_i64().expect("a time") - START)
}

/// Makes an issuer known, trusted with subjects or with nothing.
async fn trust(issuer: &TestIssuer, name: &str, subject: bool) {
    let (mut tx, id) = write(issuer).await;
    let trusted = TrustedIssuer {
        id: TrustedIssuerId::from_text(name),
        name: Name::parse(name).expect("a name"),
        url: format!("https://{name}.example"),
        definition: TrustDefinition {
            description: String::new(),
            audience: issuer.issuer().url().to_owned(),
            keys: KeySource::Discovery,
            client_auth: false,
            subject,
            actor: false,
            accept_act: false,
            max_lifetime: 3600,
            types: vec!["JWT".to_owned()],
            jti: JtiPolicy::Reusable,
            required_claims: BTreeMap::new(),
            subject_claim: "sub".to_owned(),
            claims: BTreeMap::new(),
        },
        version: 1,
        created_at: UnixTime(START),
        updated_at: UnixTime(START),
        removed_at: None,
    };
    assert!(
        tx.insert_trusted_issuer(&id, &trusted)
            .await
            .expect("a store")
    );
    tx.commit().await.expect("a store");
}

async fn version(issuer: &TestIssuer, path: &str) -> i64 {
    let answer = get(issuer, path).await;
    answer.json()["version"].as_i64().expect("a version")
}
