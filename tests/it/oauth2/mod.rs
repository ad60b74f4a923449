//! The token endpoint against bad input, over HTTP. A test is named after the case that it covers (`te_…` form,
//! secret and scope; `ca_…` client assertions; see `docs/test-cases.md`) and asserts the whole answer.
//!
//! TE-017 is a unit test of `oauth/client_auth`: the issuer's own secrets hold no such characters. CA-004 restarts
//! in order here; on PostgreSQL a second process runs beside one that never stopped.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod assertion_audience;
mod assertion_kid;
mod assertion_signature;
mod authorization_endpoint;
mod client_assertion;
mod client_secret;
mod key_registration;
mod limits;
mod refusal_reasons;
mod replay;
mod replicas;
mod scope;
mod token_form;
mod tokens;
mod vectors;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use firman::domain::audit::AuditEntry;
use firman::issuer::audit_log::AuditQuery;
use firman::store::testing::fresh_postgres_database;
use firman::testing::{Answer, TestIssuer, TestOptions};
use serde_json::{Value, json};

/// The answer to every client that did not authenticate, whatever the reason.
pub(crate) const REFUSED: &str =
    r#"401 {"error":"invalid_client","error_description":"client authentication failed"}"#;
/// Every wait for a condition ends after this.
const DEADLINE: Duration = Duration::from_secs(20);

/// An issuer with the resource `https://mail.example` (scopes `read` and `send`) and the role
/// `mailer`, which grants all of it.
pub(crate) async fn mail_issuer() -> TestIssuer {
    let issuer = TestIssuer::start().await;
    grant_mail(&issuer).await;
    issuer
}

pub(crate) async fn grant_mail(issuer: &TestIssuer) {
    issuer.resource("mail", &["read", "send"]).await;
    issuer.role("mailer", "mail", &[]).await;
}

/// The same on a fresh PostgreSQL database.
#[expect(
    clippy::disallowed_methods,
    reason = "the test run says where its PostgreSQL is"
)]
pub(crate) async fn mail_issuer_on_postgres() -> TestIssuer {
    let server = std::env::var("FIRMAN_TEST_POSTGRES_URL").expect(
        "FIRMAN_TEST_POSTGRES_URL names no PostgreSQL server; run the tests through scripts/with-postgres",
    );
    let database_url = fresh_postgres_database(&server).await.unwrap();
    let options = TestOptions {
        database_url: Some(database_url),
        ..TestOptions::default()
    };
    let issuer = TestIssuer::start_with(options).await;
    grant_mail(&issuer).await;
    issuer
}

/// A refusal as it is compared, after what every refusal of the token endpoint must be.
#[track_caller]
pub(crate) fn refusal(answer: &Answer) -> String {
    assert!(matches!(answer.status, 400..=499), "{answer}");
    assert_endpoint_headers(answer);
    assert!(
        !answer.text().contains("token\":"),
        "a token left: {answer}"
    );
    assert!(!answer.text().contains("eyJ"), "a token left: {answer}");
    answer.to_string()
}

/// An issued answer as it is compared: the tokens taken out.
#[track_caller]
pub(crate) fn granted(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer}");
    assert_endpoint_headers(answer);
    let mut body = answer.json();
    for token in ["access_token", "id_token"] {
        if let Some(Value::String(text)) = body.get(token) {
            assert_eq!(text.split('.').count(), 3, "{answer}");
            body[token] = json!("[token]");
        }
    }
    format!("200 {body}")
}

/// TE-041: what every answer of the token endpoint carries.
#[track_caller]
pub(crate) fn assert_endpoint_headers(answer: &Answer) {
    let names = ["cache-control", "content-type", "x-content-type-options"];
    assert_eq!(
        names.map(|name| answer.header(name)),
        ["no-store", "application/json", "nosniff"],
        "{answer}"
    );
    assert_eq!(answer.header("access-control-allow-origin"), "", "{answer}");
    assert_eq!(
        answer.header("access-control-allow-credentials"),
        "",
        "{answer}"
    );
}

/// The answers of a family of requests, one a line; the issuer's URL as `ISSUER`.
#[derive(Default)]
pub(crate) struct Answers(String);

impl Answers {
    pub(crate) fn add(&mut self, case: &str, issuer: &TestIssuer, answer: &str) {
        let answer = answer.replace(&issuer.url, "ISSUER");
        self.0.push_str(&format!("{case}: {answer}\n"));
    }
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.trim_end())
    }
}

/// The different answers of a family of requests, one a line: one line says that all were the same.
#[derive(Default)]
pub(crate) struct Distinct(BTreeSet<String>);

impl Distinct {
    pub(crate) fn add(&mut self, answer: impl std::fmt::Display) {
        self.0.insert(answer.to_string());
    }
}

impl std::fmt::Display for Distinct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, answer) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{answer}")?;
        }
        Ok(())
    }
}

/// The value of an Authorization header (RFC 7617), for halves that need no form-encoding.
pub(crate) fn basic(client_id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{client_id}:{secret}")))
}

/// Asks for a token with a secret in the Authorization header.
pub(crate) async fn by_basic(
    issuer: &TestIssuer,
    client_id: &str,
    secret: &str,
    further: &[(&str, &str)],
) -> Answer {
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend_from_slice(further);
    let authorization = basic(client_id, secret);
    issuer
        .token_with_headers(&[("authorization", &authorization)], &form)
        .await
}

/// Asks for a token with a secret in the form.
pub(crate) async fn by_post(issuer: &TestIssuer, client_id: &str, secret: &str) -> Answer {
    issuer
        .token(&[
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            ("client_secret", secret),
        ])
        .await
}

/// Posts exactly these bytes to the token endpoint.
pub(crate) async fn post_raw(issuer: &TestIssuer, headers: &[(&str, &str)], body: &str) -> Answer {
    issuer
        .send(reqwest::Method::POST, "/oauth2/token", headers, body)
        .await
}

/// The newest audit entries of an event, the oldest first.
pub(crate) async fn audited(issuer: &TestIssuer, event: &str) -> Vec<AuditEntry> {
    let query = AuditQuery {
        event: Some(event.to_owned()),
        ..AuditQuery::default()
    };
    let mut entries = issuer
        .issuer()
        .audit(&query, None, 10_000)
        .await
        .unwrap()
        .entries;
    entries.reverse();
    entries
}

/// The entries of refusals, once they stand for `refusals`: equal ones are folded until the interval ends.
/// Each is short.
pub(crate) async fn told_in_time(
    issuer: &TestIssuer,
    event: &str,
    refusals: u64,
) -> Vec<AuditEntry> {
    let began = Instant::now();
    loop {
        let entries = audited(issuer, event).await;
        let mut told = 0;
        for entry in &entries {
            assert!(entry.draft.detail.len() <= 256, "{entry:?}");
            let detail: Value = serde_json::from_str(&entry.draft.detail).unwrap();
            told += detail["count"].as_u64().unwrap_or(1);
        }
        if told >= refusals {
            assert_eq!(told, refusals, "{entries:#?}");
            return entries;
        }
        assert!(began.elapsed() < DEADLINE, "{event}: only {entries:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until there are `count` audit entries of an event: refusals are written behind the answer.
pub(crate) async fn audited_in_time(
    issuer: &TestIssuer,
    event: &str,
    count: usize,
) -> Vec<AuditEntry> {
    let began = Instant::now();
    loop {
        let entries = audited(issuer, event).await;
        if entries.len() >= count {
            assert_eq!(entries.len(), count, "{entries:#?}");
            return entries;
        }
        assert!(began.elapsed() < DEADLINE, "{event}: only {entries:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// That so many access tokens were issued since the issuer was made, and no ID token.
pub(crate) async fn assert_tokens_issued(issuer: &TestIssuer, count: usize) {
    assert_eq!(audited(issuer, "token.issued").await.len(), count);
    assert_eq!(audited(issuer, "id_token.issued").await.len(), 0);
}
