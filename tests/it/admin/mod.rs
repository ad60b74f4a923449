//! The admin API, over HTTP against an issuer in this process. The names are those of the catalogue
//! of bad inputs (`ad_…`) where a case is in it.

mod administrators;
mod agents;
mod audit;
mod callers;
mod claude;
mod credentials;
mod edits;
mod engines;
mod groups_and_roles;
mod inputs;
mod key_consumers;
mod keys_and_settings;
mod meanwhile;
mod openapi;
mod readiness;
mod resources;

use firman::domain::administrator::{Administrator, AdministratorRole};
use firman::domain::id::AdministratorId;
use firman::domain::name::Name;
use firman::jose::digest::sha256;
use firman::ports::time::UnixTime;
use firman::testing::{Answer, START, TestIssuer};
use reqwest::Method;
use serde_json::{Value, json};

/// Calls as the bootstrap administrator, without a body.
pub(crate) async fn call(issuer: &TestIssuer, method: Method, path: &str) -> Answer {
    issuer.admin(method, path, None).await
}

pub(crate) async fn get(issuer: &TestIssuer, path: &str) -> Answer {
    call(issuer, Method::GET, path).await
}

pub(crate) async fn post(issuer: &TestIssuer, path: &str, body: Value) -> Answer {
    issuer.admin(Method::POST, path, Some(&body)).await
}

pub(crate) async fn patch(issuer: &TestIssuer, path: &str, body: Value) -> Answer {
    issuer.admin(Method::PATCH, path, Some(&body)).await
}

/// Calls with a token of one's own and an `If-Match`.
pub(crate) async fn call_with(
    issuer: &TestIssuer,
    (method, path): (Method, &str),
    headers: &[(&str, &str)],
    body: Option<&Value>,
) -> Answer {
    let mut all = headers.to_vec();
    if body.is_some() {
        all.push(("content-type", "application/json"));
    }
    issuer
        .admin_raw(
            method,
            path,
            &all,
            body.map(Value::to_string).unwrap_or_default(),
        )
        .await
}

/// Makes a further administrator, who may have expired, and returns its `Authorization`.
pub(crate) async fn administrator(
    issuer: &TestIssuer,
    name: &str,
    role: AdministratorRole,
    expires_at: Option<i64>,
) -> String {
    let token = format!("fma_test-{name}");
    let administrator = Administrator {
        id: AdministratorId::from_text(name),
        name: Name::parse(name).expect("a good name"),
        role,
        token_digest: sha256(token.as_bytes()),
        expires_at: expires_at.map(UnixTime),
        revoked_at: None,
        version: 0,
        created_at: UnixTime(START),
    };
    let store = issuer.host().store();
    let mut tx = store.write().await.expect("a working store");
    let id = tx.issuers().await.expect("a working store")[0].id.clone();
    tx.lock_head(&id).await.expect("a working store");
    assert!(
        tx.insert_administrator(&id, &administrator)
            .await
            .expect("a working store")
    );
    tx.commit().await.expect("a working store");
    format!("Bearer {token}")
}

/// A problem, whole, but for the request's id, which must be there. A hint follows its detail on a line of its own,
/// as the command line prints it.
pub(crate) fn assert_problem(answer: &Answer, status: u16, kind: &str, told: &str) {
    let mut body = answer.json();
    let members = body.as_object_mut().expect("an object");
    let hint = members.remove("hint");
    let field = members.remove("field");
    let request_id = body["request_id"].take();
    assert!(
        request_id.as_str().is_some_and(|id| !id.is_empty()),
        "no request id: {answer}"
    );
    let title = body["title"].take();
    assert!(title.is_string(), "no title: {answer}");
    let detail = body["detail"].take();
    let detail = detail.as_str().expect("a detail is text");
    let said = match &hint {
        Some(hint) => format!("{detail}\nhint: {}", hint.as_str().expect("a hint is text")),
        None => detail.to_owned(),
    };
    assert_eq!(said, told, "{answer}");
    let expected = json!({
        "type": format!("urn:firman:problem:{kind}"),
        "title": null,
        "status": status,
        "detail": null,
        "request_id": null,
    });
    assert_eq!(body, expected, "{answer}");
    assert_eq!(answer.status, status, "{answer}");
    assert_eq!(answer.header("content-type"), "application/problem+json");
    assert_eq!(answer.header("cache-control"), "no-store");
    if let Some(field) = field {
        let field = field.as_str().expect("a field is text").to_owned();
        assert!(detail.starts_with(&format!("{field}: ")), "{answer}");
    }
}

/// A problem with its detail and hint.
pub(crate) fn assert_hinted(answer: &Answer, status: u16, kind: &str, detail: &str, hint: &Value) {
    let hint = hint.as_str().expect("a hint is text");
    assert_problem(answer, status, kind, &format!("{detail}\nhint: {hint}"));
}

/// The status and kind of a problem, for tables whose words are asserted elsewhere.
pub(crate) fn kind_of(answer: &Answer) -> (u16, String) {
    assert_eq!(
        answer.header("content-type"),
        "application/problem+json",
        "{answer}"
    );
    let kind = answer.json()["type"]
        .as_str()
        .unwrap_or_default()
        .trim_start_matches("urn:firman:problem:")
        .to_owned();
    (answer.status, kind)
}

/// An agent as it is answered, with the ids of this run taken out.
pub(crate) fn without_ids(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                let is_id = matches!(name.as_str(), "id" | "version" | "client_secret");
                *member = if is_id && !member.is_null() {
                    json!("…")
                } else {
                    without_ids(member.take())
                };
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = without_ids(item.take());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}

/// Waits until the audit holds an entry that fits; refusals are written behind the answer.
pub(crate) async fn audited(
    issuer: &TestIssuer,
    query: &str,
    fits: impl Fn(&Value) -> bool,
) -> Value {
    for _ in 0..100 {
        let entries = get(issuer, &format!("/audit?limit=200{query}"))
            .await
            .json();
        if let Some(found) = entries["items"]
            .as_array()
            .and_then(|items| items.iter().find(|entry| fits(entry)))
        {
            return found.clone();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!(
        "no such entry came: {}",
        get(issuer, "/audit?limit=200").await
    );
}
