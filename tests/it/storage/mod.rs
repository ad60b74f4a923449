//! What a damaged row, a lock held outside, a race or a database that went back does to the tokens of others: nothing.

mod damaged;
mod faults;
mod races;

use firman::issuer::Caller;
use firman::store::testing::fresh_postgres_database;
use firman::testing::{Answer, TestIssuer, TestOptions};
use sqlx::Connection as _;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteConnectOptions;

/// The issuer's SQLite file by another door, as an administrator with a shell would open it.
pub(crate) async fn database_of(issuer: &TestIssuer) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(issuer.folder().join("firman.db"));
    SqliteConnection::connect_with(&options)
        .await
        .expect("the file opens")
}

pub(crate) async fn execute(issuer: &TestIssuer, sql: &'static str) -> u64 {
    let mut database = database_of(issuer).await;
    sqlx::query(sql)
        .execute(&mut database)
        .await
        .expect("the statement is good")
        .rows_affected()
}

pub(crate) async fn with_resource() -> TestIssuer {
    let issuer = TestIssuer::start().await;
    issuer.resource("files", &["read", "write"]).await;
    issuer.role("reader", "files", &["read"]).await;
    issuer
}

pub(crate) fn assert_issued(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer}");
}

pub(crate) fn secret_form<'f>(client_id: &'f str, secret: &'f str) -> [(&'f str, &'f str); 3] {
    [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_secret", secret),
    ]
}

pub(crate) async fn on_postgres() -> TestIssuer {
    let url = fresh_database().await;
    let issuer = TestIssuer::start_with(TestOptions {
        database_url: Some(url),
        ..TestOptions::default()
    })
    .await;
    issuer.resource("files", &["read", "write"]).await;
    issuer.role("reader", "files", &["read"]).await;
    issuer
}

pub(crate) async fn fresh_database() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no configuration but its environment"
    )]
    let server = std::env::var("FIRMAN_TEST_POSTGRES_URL")
        .expect("FIRMAN_TEST_POSTGRES_URL names a server; scripts/with-postgres starts one");
    fresh_postgres_database(&server)
        .await
        .expect("a fresh database")
}

pub(crate) static CALLER: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(Caller::system);

/// `count` of them at once.
pub(crate) async fn futures<F: Future>(count: usize, make: impl Fn() -> F) -> Vec<F::Output> {
    let mut waiting: Vec<_> = (0..count).map(|_| Box::pin(make())).collect();
    let mut done: Vec<Option<F::Output>> = (0..count).map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in waiting.iter_mut().zip(&mut done) {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}
