//! What the audit shows of refusals: each kind soon, a flood as a number, and none passed over.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use firman::domain::administrator::AdministratorRole;
use firman::domain::audit::AuditEntry;
use firman::testing::TestIssuer;
use insta::assert_snapshot;
use reqwest::Method;
use serde_json::Value;
use sqlx::Connection as _;

use crate::admin::{administrator, call_with};
use crate::oauth2::{audited, by_basic, mail_issuer, told_in_time};

/// How long refusals are folded; a process does it by its own clock, also in a test.
const INTERVAL: Duration = Duration::from_secs(10);

/// The different entries, without numbers and times.
fn kinds(entries: &[AuditEntry]) -> String {
    let lines: BTreeSet<String> = entries
        .iter()
        .map(|entry| {
            let draft = &entry.draft;
            let mut detail: Value = serde_json::from_str(&draft.detail).unwrap();
            if let Some(members) = detail.as_object_mut() {
                members
                    .retain(|name, _| !["count", "first_at", "last_at"].contains(&name.as_str()));
            }
            format!("{} {} {detail}", draft.actor, draft.target)
        })
        .collect();
    lines.into_iter().collect::<Vec<_>>().join("\n")
}

/// Intervals that may have ended since `began`, the one that a test ends itself included.
fn intervals(began: Instant) -> usize {
    usize::try_from(began.elapsed().as_secs() / INTERVAL.as_secs()).unwrap() + 2
}

#[tokio::test]
async fn a_flood_of_admin_calls_without_a_credential_is_an_entry_per_kind() {
    let (issuer, began) = (TestIssuer::start().await, Instant::now());
    for number in 0..500 {
        let path = format!("/agents/invented-{number}");
        let answer = call_with(&issuer, (Method::GET, &path), &[], None).await;
        assert_eq!(answer.status, 401);
        let wrong = [("authorization", "Bearer nonsense")];
        let answer = call_with(&issuer, (Method::DELETE, &path), &wrong, None).await;
        assert_eq!(answer.status, 401);
    }
    issuer.issuer().flush_refusals();
    let entries = told_in_time(&issuer, "admin.refused", 1000).await;
    assert!(entries.len() <= 2 * intervals(began), "{entries:#?}");
    assert_snapshot!(kinds(&entries), @r#"
unknown DELETE /admin/v1/agents/{name} {"reason":"unknown token"}
unknown GET /admin/v1/agents/{name} {"reason":"no token"}
"#);
}

#[tokio::test]
async fn a_thousand_equal_refusals_of_an_agent_are_one_entry_at_once_and_one_with_their_number() {
    let (issuer, began) = (mail_issuer().await, Instant::now());
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let refuse = || by_basic(&issuer, "mailer", agent.secret(), &[("scope", "admin")]);
    assert_eq!(refuse().await.status, 400);
    told_in_time(&issuer, "token.refused", 1).await;
    for _ in 1..1000 {
        assert_eq!(refuse().await.status, 400);
    }
    issuer.issuer().flush_refusals();
    let entries = told_in_time(&issuer, "token.refused", 1000).await;
    assert!(entries.len() <= 2 * intervals(began), "{entries:#?}");
    assert_snapshot!(kinds(&entries), @r#"agent:mailer agent:mailer {"error":"invalid_scope","reason":"not granted for https://mail.example: admin; granted: read send"}"#);
    // The next interval begins anew, and one in which nothing is refused adds nothing.
    issuer.issuer().flush_refusals();
    assert_eq!(refuse().await.status, 400);
    told_in_time(&issuer, "token.refused", 1001).await;
}

#[tokio::test]
async fn an_agent_that_invents_refusals_fills_a_bounded_number_of_short_entries() {
    let (issuer, began) = (mail_issuer().await, Instant::now());
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    for number in 0..40 {
        let scopes: Vec<String> = (0..60)
            .map(|scope| format!("invented-{number}-{scope}"))
            .collect();
        let scope = scopes.join(" ");
        by_basic(&issuer, "mailer", agent.secret(), &[("scope", &scope)]).await;
    }
    issuer.issuer().flush_refusals();
    let entries = told_in_time(&issuer, "token.refused", 40).await;
    assert!(entries.len() <= 9 * intervals(began), "{entries:#?}");
    assert_snapshot!(kinds(&entries[..1]), @r#"agent:mailer agent:mailer {"error":"invalid_scope","reason":"not granted for https://mail.example: invented-0-0 invented-0-1 invented-0-10 invented-0-11 invented-0-12 invented-0-13 invented-0-14 invented-0-15 invented-…"}"#);
    assert_snapshot!(kinds(&entries[entries.len() - 1..]), @r#"agent:mailer agent:mailer {"reason":"further refusals"}"#);
}

#[tokio::test]
async fn refused_calls_of_an_administrator_are_folded() {
    let (issuer, began) = (TestIssuer::start().await, Instant::now());
    let viewer = administrator(&issuer, "vera", AdministratorRole::Viewer, None).await;
    let headers = [("authorization", viewer.as_str())];
    for _ in 0..50 {
        for path in ["/agents/mailer", "/agents/printer"] {
            let answer = call_with(&issuer, (Method::DELETE, path), &headers, None).await;
            assert_eq!(answer.status, 403);
        }
    }
    issuer.issuer().flush_refusals();
    let entries = told_in_time(&issuer, "admin.refused", 100).await;
    assert!(entries.len() <= 4 * intervals(began), "{entries:#?}");
    assert_snapshot!(kinds(&entries), @r#"
administrator:vera DELETE /admin/v1/agents/mailer {"reason":"role too low","status":403}
administrator:vera DELETE /admin/v1/agents/printer {"reason":"role too low","status":403}
"#);
}

#[tokio::test]
async fn refusals_that_could_not_be_written_leave_their_number() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let file = format!("sqlite:{}", issuer.folder().join("firman.db").display());
    let mut database = sqlx::SqliteConnection::connect(&file).await.unwrap();
    sqlx::query("ALTER TABLE audit RENAME TO audit_away")
        .execute(&mut database)
        .await
        .unwrap();
    for scope in ["a", "b", "b", "b", "c"] {
        let refused = by_basic(&issuer, "mailer", agent.secret(), &[("scope", scope)]).await;
        assert_eq!(refused.status, 400);
    }
    // What was queued before a token that could not be recorded could not be either. The second time the
    // folded refusals, and then the number itself.
    for _ in 0..3 {
        let token = by_basic(&issuer, "mailer", agent.secret(), &[]).await;
        assert_eq!(token.status, 503, "{token}");
        issuer.issuer().flush_refusals();
    }
    let token = by_basic(&issuer, "mailer", agent.secret(), &[]).await;
    assert_eq!(token.status, 503, "{token}");
    sqlx::query("ALTER TABLE audit_away RENAME TO audit")
        .execute(&mut database)
        .await
        .unwrap();
    issuer.issuer().flush_refusals();
    told_in_time(&issuer, "refusals.lost", 5).await;
    assert_eq!(audited(&issuer, "token.refused").await.len(), 0);
    // It is reported once.
    issuer.issuer().flush_refusals();
    let token = by_basic(&issuer, "mailer", agent.secret(), &[]).await;
    assert_eq!(token.status, 200, "{token}");
    told_in_time(&issuer, "refusals.lost", 5).await;
}
