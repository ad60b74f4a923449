//! The registry's whole round on both engines: both accept and refuse the same.

use firman::store::testing::fresh_postgres_database;
use firman::testing::TestOptions;

use super::*;

/// Method, path and body of a call.
type Step = (Method, &'static str, Value);

fn making() -> Vec<Step> {
    let key = json!({ "kind": "client_secret" });
    let api = json!({ "name": "api", "identifier": "https://api.example", "scopes": ["read"] });
    let agent =
        json!({ "name": "a.b", "owner": "Équipe \u{1f600}", "groups": ["ops"], "credential": key });
    let link = json!({
        "rule_id": "fdrl_1", "organization_id": "2f1c0d6e-8f0a-4b7e-9c53-0a1b2c3d4e5f", "service_account_id": "svac_1",
        "workspace_id": "default", "token_lifetime": 600
    });
    let consumer = json!({ "name": "claude", "description": "Équipe \u{1f600}" });
    vec![
        (Method::POST, "/resources", api.clone()),
        (Method::POST, "/resources", api),
        (
            Method::POST,
            "/roles",
            json!({ "name": "reader", "grants": [{ "resource": "api" }] }),
        ),
        (
            Method::POST,
            "/groups",
            json!({ "name": "ops", "roles": ["reader"] }),
        ),
        (Method::POST, "/agents", agent.clone()),
        (Method::POST, "/agents", agent),
        (
            Method::POST,
            "/agents",
            json!({ "name": "x", "owner": "a\0b" }),
        ),
        (
            Method::PATCH,
            "/agents/a.b",
            json!({ "roles": ["reader"], "attributes": { "team": "a" } }),
        ),
        (
            Method::GET,
            "/agents?search=a.b&group=ops&role=reader",
            Value::Null,
        ),
        (Method::GET, "/agents/%00", Value::Null),
        (Method::PUT, "/agents/a.b/claude-link", link.clone()),
        (Method::PUT, "/agents/a.b/claude-link", link),
        (Method::GET, "/claude-links", Value::Null),
        (Method::GET, "/agents/%00/claude-link", Value::Null),
        (Method::POST, "/key-consumers", consumer.clone()),
        (Method::POST, "/key-consumers", consumer),
        (Method::POST, "/key-consumers/%00/ack", json!({})),
        (
            Method::POST,
            "/key-consumers/claude/ack",
            json!({ "kids": ["a\0b"] }),
        ),
        (Method::POST, "/key-consumers/claude/ack", json!({})),
        (Method::GET, "/agents/a.b/explain", Value::Null),
        (Method::POST, "/agents/a.b/suspend", Value::Null),
        (Method::POST, "/agents/a.b/resume", Value::Null),
        (Method::POST, "/agents/a.b/credentials", key.clone()),
        (Method::POST, "/agents/a.b/credentials", key),
        (
            Method::PATCH,
            "/administrators/bootstrap",
            json!({ "role": "viewer" }),
        ),
        (Method::GET, "/administrators/%00", Value::Null),
    ]
}

fn delegating() -> Vec<Step> {
    let delegation =
        json!({ "actor": "a.b", "subject": "agent:x.*", "resource": "api", "expires_in": 3600 });
    vec![
        (Method::PATCH, "/resources/api", json!({ "server": "a.b" })),
        (Method::POST, "/delegations", delegation.clone()),
        (Method::POST, "/delegations", delegation),
        (
            Method::GET,
            "/delegations?actor=a.b&subject=agent:x.y",
            Value::Null,
        ),
        (Method::GET, "/delegations?subject=agent:*", Value::Null),
        (Method::GET, "/delegations/%00", Value::Null),
    ]
}

fn removing() -> Vec<Step> {
    vec![
        (Method::DELETE, "/roles/reader", Value::Null),
        (Method::DELETE, "/roles/reader?force=true", Value::Null),
        (Method::DELETE, "/groups/ops?force=true", Value::Null),
        (Method::DELETE, "/resources/api", Value::Null),
        (Method::DELETE, "/resources/api?force=true", Value::Null),
        (Method::GET, "/delegations?actor=a.b", Value::Null),
        (Method::PATCH, "/issuer", json!({ "default_lifetime": 300 })),
        (
            Method::POST,
            "/keys/rotate",
            json!({ "algorithm": "ES256" }),
        ),
        (Method::DELETE, "/key-consumers/claude", Value::Null),
        (Method::DELETE, "/key-consumers/claude", Value::Null),
        (Method::POST, "/key-consumers", json!({ "name": "claude" })),
        (Method::DELETE, "/agents/a.b", Value::Null),
        (Method::GET, "/claude-links", Value::Null),
        (
            Method::POST,
            "/agents",
            json!({ "name": "a.b", "owner": "x" }),
        ),
        (Method::GET, "/audit?agent=a.b&limit=3", Value::Null),
        (Method::GET, "/audit/verify", Value::Null),
    ]
}

async fn whole_round(issuer: &TestIssuer) -> Vec<String> {
    let mut answers = Vec::new();
    for (method, path, body) in [making(), delegating(), removing()].concat() {
        let body = (!body.is_null()).then_some(&body);
        let answer = issuer.admin(method.clone(), path, body).await;
        // The refusal of a third secret names the ids of this run.
        let names_ids = answer.status == 409 && path.ends_with("/credentials")
            || path.starts_with("/key-consumers") && answer.status != 404;
        let shown = if names_ids {
            Value::Null
        } else {
            without_ids(answer.json())
        };
        answers.push(format!("{method} {path} {} {shown}", answer.status));
    }
    answers
}

fn redacted(answers: Vec<String>, issuer: &TestIssuer) -> Vec<String> {
    let ids = [
        "request_id\":\"",
        "hash\":\"",
        "head_hash\":\"",
        "agent_id\":\"",
        "kid\":\"",
        "replaced\":\"",
        "target\":\"delegation:",
    ];
    answers
        .into_iter()
        .map(|answer| {
            let mut text = answer.replace(&issuer.url, "URL");
            for member in ids {
                let mark = format!("\"{member}");
                let mut from = 0;
                while let Some(at) = text[from..].find(&mark) {
                    let start = from + at + mark.len();
                    let end = start + text[start..].find('"').unwrap_or(0);
                    text.replace_range(start..end, "…");
                    from = start;
                }
            }
            text
        })
        .collect()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the test server's URL is given to tests by scripts/with-postgres"
)]
fn server_url() -> String {
    std::env::var("FIRMAN_TEST_POSTGRES_URL")
        .expect("run the tests through scripts/test or scripts/with-postgres")
}

#[tokio::test]
async fn both_engines_give_the_same_answers() {
    let sqlite = TestIssuer::start().await;
    let on_sqlite = redacted(whole_round(&sqlite).await, &sqlite);
    assert!(
        on_sqlite
            .last()
            .is_some_and(|verdict| verdict.contains("\"ok\":true")),
        "{on_sqlite:#?}"
    );
    let postgres = on_postgres().await;
    let on_postgres = redacted(whole_round(&postgres).await, &postgres);
    assert_eq!(on_sqlite, on_postgres);
}

/// The URL of an empty database on PostgreSQL.
pub(super) async fn database_url() -> String {
    fresh_postgres_database(&server_url())
        .await
        .expect("a database")
}

pub(super) async fn on_postgres() -> TestIssuer {
    TestIssuer::start_with(TestOptions {
        database_url: Some(database_url().await),
        ..TestOptions::default()
    })
    .await
}

#[tokio::test]
async fn ad_009_two_replicas_give_one_name_out_once() {
    let first = on_postgres().await;
    let second = first.replica().await.unwrap();
    let new = json!({ "name": "mailer", "owner": "x" });
    let headers = format!("Bearer {}", first.admin_token());
    let headers = [("authorization", headers.as_str())];
    let (a, b) = tokio::join!(
        call_with(&first, (Method::POST, "/agents"), &headers, Some(&new)),
        call_with(&second, (Method::POST, "/agents"), &headers, Some(&new)),
    );
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "{a} {b}");
}

#[tokio::test]
async fn ad_028_a_suspension_holds_at_once_on_the_other_replica() {
    let first = on_postgres().await;
    let second = first.replica().await.unwrap();
    first.resource("api", &["read"]).await;
    first.role("reader", "api", &[]).await;
    let agent = first.agent("mailer").role("reader").with_secret().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "mailer"),
        ("client_secret", agent.secret()),
    ];
    assert_eq!(
        second.token(&form).await.status,
        200,
        "what was granted here works there"
    );
    assert_eq!(
        call(&first, Method::POST, "/agents/mailer/suspend")
            .await
            .status,
        200
    );
    assert_eq!(second.token(&form).await.status, 401);
    assert_eq!(
        call(&first, Method::POST, "/agents/mailer/resume")
            .await
            .status,
        200
    );
    assert_eq!(second.token(&form).await.status, 200);
}

#[tokio::test]
async fn many_calls_at_once_that_change_nothing_do_not_wait_for_each_other_in_a_ring() {
    for issuer in [TestIssuer::start().await, on_postgres().await] {
        let _agent = issuer.agent("mailer").with_secret().await;
        assert_eq!(
            call(&issuer, Method::POST, "/agents/mailer/suspend")
                .await
                .status,
            200
        );
        let issuer = std::sync::Arc::new(issuer);
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let issuer = std::sync::Arc::clone(&issuer);
            calls.spawn(async move {
                call(&issuer, Method::POST, "/agents/mailer/suspend")
                    .await
                    .status
            });
        }
        assert_eq!(calls.join_all().await, [200; 40]);
    }
}
