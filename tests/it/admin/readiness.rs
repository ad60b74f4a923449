//! `GET /readyz`.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use sqlx::{Connection as _, SqliteConnection};

use super::*;

pub(super) async fn readyz(issuer: &TestIssuer) -> String {
    let url = format!("{}/readyz", issuer.admin_url);
    let answer = reqwest::get(url).await.unwrap();
    let status = answer.status().as_u16();
    format!("{status} {}", answer.text().await.unwrap())
}

/// How many writes have proven that the database accepts them.
async fn proofs(issuer: &TestIssuer) -> i64 {
    let file = issuer.folder().join("firman.db");
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", file.display()))
        .await
        .unwrap();
    let number = sqlx::query_scalar("SELECT coalesce(sum(number), 0) FROM write_proofs")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    number
}

#[tokio::test]
async fn many_who_ask_share_one_write_a_second() {
    let issuer = TestIssuer::start().await;
    let asked = std::time::Instant::now();
    let mut calls = tokio::task::JoinSet::new();
    let issuer = std::sync::Arc::new(issuer);
    for _ in 0..50 {
        let issuer = std::sync::Arc::clone(&issuer);
        calls.spawn(async move { readyz(&issuer).await });
    }
    while let Some(answer) = calls.join_next().await {
        assert_eq!(answer.unwrap(), r#"200 {"status":"ready"}"#);
    }
    let at_most = 1 + i64::try_from(asked.elapsed().as_secs()).unwrap();
    let written = proofs(&issuer).await;
    assert!(
        (1..=at_most).contains(&written),
        "{written} writes, at most {at_most}"
    );
}

#[tokio::test]
async fn an_issuer_without_its_ledger_is_not_ready() {
    let issuer = TestIssuer::start().await;
    issuer.host().stop().await;
    assert_eq!(
        readyz(&issuer).await,
        r#"503 {"reason":"the ledger has ended","status":"not ready"}"#
    );
}
