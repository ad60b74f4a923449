//! A database that shows less than was read from it before: a connection with an old snapshot, a standby that
//! lags, a backup put in its place.

use insta::assert_snapshot;
use sqlx::{Connection as _, SqliteConnection};

use super::*;

/// The registry `changes` changes ago, according to its version.
async fn set_back(issuer: &TestIssuer, changes: i64) {
    let file = issuer.folder().join("firman.db");
    let url = format!("sqlite:{}", file.display());
    let mut connection = SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("UPDATE audit_head SET registry_version = registry_version - $1")
        .bind(changes)
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

#[tokio::test]
async fn what_was_read_before_the_newest_that_is_known_is_unavailable_and_never_an_answer() {
    let (issuer, mailer, printer) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    set_back(&issuer, 1).await;

    // The printer is not in a cache: the database has another state than before.
    let cold = by_basic(&issuer, "printer", printer.secret(), &[]).await;
    assert_snapshot!(cold, @r#"503 {"error":"temporarily_unavailable","error_description":"temporarily unavailable; try again"}"#);
    let unknown = by_basic(&issuer, "newcomer", printer.secret(), &[]).await;
    assert_snapshot!(unknown, @r#"503 {"error":"temporarily_unavailable","error_description":"temporarily unavailable; try again"}"#);
    let introspected = introspect(&issuer, &mailer, &token).await;
    assert_snapshot!(introspected, @r#"503 {"error":"temporarily_unavailable","error_description":"temporarily unavailable; try again"}"#);
    let shown = issuer
        .admin(reqwest::Method::GET, "/agents/printer", None)
        .await;
    assert_eq!(shown.status, 503, "{shown}");

    // Under the lock it turns out that the database went back: from then on it is what counts.
    issuer.host().maintain().await;
    token_of(&issuer, &printer).await;
    assert!(is_active(&issuer, &mailer, &token).await);
}
