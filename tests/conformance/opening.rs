//! Opening, migrating and damage: what only one engine can do wrong, or what needs more than a `Store`.

use std::time::{Duration, Instant};

use firman::domain::audit::{AuditEvent, ChainHead, chain};
use firman::store::{Store, StoreError};
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use crate::support::{self, Database, draft, home, issuers, read, write};

const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
     VALUES (9999, 'from the future', TRUE, '', 0)";
const UNKNOWN_EVENT: &str = "UPDATE audit SET event = 'agent.teleported'";

/// Runs a statement that no method of the store would.
async fn tamper(database: &Database, sql: &'static str) {
    if database.store.engine_name() == "sqlite" {
        let mut connection = SqliteConnection::connect(&database.url).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    } else {
        let mut connection = PgConnection::connect(&database.url).await.unwrap();
        sqlx::query(sql).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

#[test]
fn a_database_is_called_by_a_name_without_user_and_password() {
    for (url, name) in [
        ("hunter2", "the database"),
        (
            "sqlite:data/firman.db",
            "the database file `data/firman.db`",
        ),
        (
            "sqlite:///srv/firman.db",
            "the database file `/srv/firman.db`",
        ),
        (
            "postgres://user:hunter2@db.example.com:6432/firman",
            "the PostgreSQL database `firman` at `db.example.com:6432`",
        ),
    ] {
        assert_eq!(Store::name_of(url), name);
    }
}

#[tokio::test]
async fn a_url_of_no_database_is_refused_without_repeating_it() {
    for bad in [
        "",
        "firman.db",
        "mysql://root:hunter2@host/db",
        "sqlite:",
        "sqlite://",
        "sqlite::memory:",
        "sqlite:a.db?mode=memory",
        "postgres://user:hunter2@host:port/db",
        "postgres://user:hunter2@one:5432,two:5432/db",
    ] {
        let error = Store::open(bad).await.expect_err("refused");
        assert!(
            matches!(error, StoreError::BadUrl { .. }),
            "{bad:?}: {error:?}"
        );
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_second_store_on_one_sqlite_file_is_refused() {
    let database = support::sqlite().await;
    let second = Store::open(&database.url).await.expect_err("refused");
    let file = database
        .directory
        .as_ref()
        .unwrap()
        .path()
        .join("firman.db");
    assert!(
        matches!(&second, StoreError::InUse { path } if *path == file),
        "{second:?}"
    );
    database.store.close().await;
    let third = Store::open(&database.url)
        .await
        .expect("the file is free again");
    assert_eq!(third.engine_name(), "sqlite");
    third.close().await;
}

#[tokio::test]
async fn a_sqlite_file_in_no_directory_is_unavailable() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!(
        "sqlite:{}",
        directory.path().join("nowhere/firman.db").display()
    );
    let error = Store::open(&url).await.expect_err("refused");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[tokio::test]
async fn a_file_that_is_not_a_database_is_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("firman.db");
    std::fs::write(
        &path,
        "a shopping list, which is much longer than the header of a database would be ".repeat(9),
    )
    .unwrap();
    let error = Store::open(&format!("sqlite:{}", path.display()))
        .await
        .expect_err("refused");
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn no_one_else_may_read_the_sqlite_files() {
    use std::os::unix::fs::PermissionsExt as _;
    let database = support::sqlite().await;
    issuers(&database.store).await;
    let mut files = 0;
    for entry in std::fs::read_dir(database.directory.as_ref().unwrap().path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(
            entry.metadata().unwrap().permissions().mode() & 0o777,
            0o600,
            "{:?}",
            entry.file_name()
        );
        files += 1;
    }
    assert_eq!(files, 4, "the database, its log, its index and the lock");
}

#[tokio::test]
async fn a_postgresql_that_nobody_answers_for_is_unavailable_at_once() {
    // A port from which nobody answers: it is bound here, and closed.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let start = Instant::now();
    let error = Store::open(&format!(
        "postgres://firman:hunter2@127.0.0.1:{port}/firman"
    ))
    .await
    .expect_err("refused");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
    assert!(
        start.elapsed() < Duration::from_secs(2),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_postgresql_that_takes_calls_but_never_answers_is_unavailable_soon() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let start = Instant::now();
    let error = Store::open(&format!("postgres://firman@127.0.0.1:{port}/firman"))
        .await
        .expect_err("refused");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn a_postgresql_that_goes_away_is_unavailable_and_comes_back() {
    let database = support::postgres().await;
    issuers(&database.store).await;
    let mut tx = write(&database.store).await;
    let mut admin = PgConnection::connect(&support::admin_url()).await.unwrap();
    sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1")
        .bind(name_of(&database))
        .execute(&mut admin)
        .await
        .unwrap();
    let error = tx
        .bump_registry_version(&home(), false)
        .await
        .expect_err("the connection is gone");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    let error = tx.commit().await.expect_err("and so is the transaction");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");

    // Connections that died unused are replaced before their callers notice.
    for _ in 0..3 {
        read(&database.store).await.rollback().await.unwrap();
    }
    let mut tx = write(&database.store).await;
    assert_eq!(tx.bump_registry_version(&home(), false).await.unwrap(), 1);
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_away_in_a_statement_costs_no_postgresql_connection() {
    let database = support::postgres().await;
    issuers(&database.store).await;
    let before = backends(&database).await;
    assert!(!before.is_empty());
    let issuer = home();
    let mut interrupted = 0;
    for _ in 0..20 {
        let mut tx = read(&database.store).await;
        let mut asked = Box::pin(tx.head(&issuer));
        let polled =
            std::future::poll_fn(|context| std::task::Poll::Ready(asked.as_mut().poll(context)))
                .await;
        // The server may have answered within the poll.
        interrupted += usize::from(polled.is_pending());
    }
    assert!(interrupted > 0);
    let mut tx = write(&database.store).await;
    assert_eq!(tx.bump_registry_version(&home(), false).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let after = backends(&database).await;
    assert!(
        before.iter().all(|backend| after.contains(backend)),
        "{before:?} {after:?}"
    );
}

#[tokio::test]
async fn a_postgresql_server_that_turns_read_only_is_left() {
    let database = support::postgres().await;
    issuers(&database.store).await;
    let before = backends(&database).await;
    assert!(!before.is_empty());
    // A write inside a read-only transaction fails as it does on a server that became a standby.
    let refused = read(&database.store)
        .await
        .bump_registry_version(&home(), false)
        .await
        .expect_err("refused");
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");

    tamper_with_default(&database, "on").await;
    let pool = database
        .store
        .write()
        .await
        .expect_err("no connection that takes writes is to be had");
    assert!(matches!(pool, StoreError::Unavailable(_)), "{pool:?}");
    let fresh = Store::open(&database.url)
        .await
        .expect_err("a standby cannot be migrated");
    assert!(matches!(fresh, StoreError::Unavailable(_)), "{fresh:?}");

    tamper_with_default(&database, "off").await;
    let mut tx = write(&database.store).await;
    assert_eq!(tx.bump_registry_version(&home(), false).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let after = backends(&database).await;
    assert!(
        after.iter().all(|pid| !before.contains(pid)),
        "{before:?} {after:?}"
    );
}

/// The server's processes that serve the store.
async fn backends(database: &Database) -> Vec<i32> {
    let mut admin = PgConnection::connect(&support::admin_url()).await.unwrap();
    sqlx::query_scalar(
        "SELECT pid FROM pg_stat_activity WHERE datname = $1 AND application_name = 'firman'",
    )
    .bind(name_of(database))
    .fetch_all(&mut admin)
    .await
    .unwrap()
}

fn name_of(database: &Database) -> &str {
    database
        .url
        .split('?')
        .next()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
}

/// `ALTER DATABASE` takes no parameters; the name was made by `fresh_postgres_database`.
async fn tamper_with_default(database: &Database, value: &str) {
    let name = name_of(database);
    let mut admin = PgConnection::connect(&support::admin_url()).await.unwrap();
    let sql = format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&mut admin)
        .await
        .unwrap();
}

async fn opening_again_keeps_everything(database: Database) {
    issuers(&database.store).await;
    database.store.close().await;
    let again = Store::open(&database.url)
        .await
        .expect("an up-to-date database opens");
    assert_eq!(read(&again).await.issuers().await.unwrap().len(), 2);
    again.close().await;
}

#[tokio::test]
async fn opening_sqlite_again_keeps_everything() {
    opening_again_keeps_everything(support::sqlite().await).await;
}

#[tokio::test]
async fn opening_postgresql_again_keeps_everything() {
    opening_again_keeps_everything(support::postgres().await).await;
}

#[tokio::test]
async fn two_replicas_migrate_one_postgresql_at_the_same_time() {
    let template = support::postgres_url().await;
    let mut admin = PgConnection::connect(&support::admin_url()).await.unwrap();
    let (base, parameters) = template.split_once('?').unwrap();
    let (server, name) = base.rsplit_once('/').unwrap();
    let empty = format!("{name}_empty");
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {empty}")))
        .execute(&mut admin)
        .await
        .unwrap();
    let url = format!("{server}/{empty}?{parameters}");
    let (one, two, three) = tokio::join!(Store::open(&url), Store::open(&url), Store::open(&url));
    issuers(&one.expect("the first opens")).await;
    assert_eq!(
        read(&two.expect("the second opens"))
            .await
            .issuers()
            .await
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        read(&three.expect("the third opens"))
            .await
            .issuers()
            .await
            .unwrap()
            .len(),
        2
    );
}

async fn a_newer_schema_is_refused(database: Database) {
    tamper(&database, NEWER).await;
    database.store.close().await;
    let error = Store::open(&database.url).await.expect_err("refused");
    assert!(matches!(error, StoreError::NewerSchema), "{error:?}");
}

#[tokio::test]
async fn a_newer_sqlite_schema_is_refused() {
    a_newer_schema_is_refused(support::sqlite().await).await;
}

#[tokio::test]
async fn a_newer_postgresql_schema_is_refused() {
    a_newer_schema_is_refused(support::postgres().await).await;
}

async fn an_entry_with_an_unknown_event_is_corrupt(database: Database) {
    issuers(&database.store).await;
    let mut tx = write(&database.store).await;
    let entries = chain(
        home().as_str(),
        ChainHead::START,
        vec![draft(AuditEvent::IssuerCreated, 1)],
    );
    tx.append_audit(&home(), &entries).await.unwrap();
    tx.commit().await.unwrap();
    tamper(&database, UNKNOWN_EVENT).await;
    let error = read(&database.store)
        .await
        .audit_from(&home(), 0, 10)
        .await
        .expect_err("it cannot be read");
    assert_eq!(
        error.to_string(),
        "the database is damaged: audit entry 1: its event is unknown"
    );
}

#[tokio::test]
async fn a_sqlite_entry_with_an_unknown_event_is_corrupt() {
    an_entry_with_an_unknown_event_is_corrupt(support::sqlite().await).await;
}

#[tokio::test]
async fn a_postgresql_entry_with_an_unknown_event_is_corrupt() {
    an_entry_with_an_unknown_event_is_corrupt(support::postgres().await).await;
}

#[tokio::test]
async fn a_database_is_looked_at_without_making_or_changing_anything() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("firman.db").display());
    assert!(Store::open_read_only(&url).await.unwrap().is_none());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    for database in [support::sqlite().await, support::postgres().await] {
        let found = Store::open_read_only(&database.url).await.unwrap().unwrap();
        assert_eq!((found.pending, found.is_empty), (0, false));
        assert!(found.store.read().await.is_ok());
        found.store.close().await;
        tamper(&database, NEWER).await;
        let newer = Store::open_read_only(&database.url).await;
        assert!(matches!(newer, Err(StoreError::NewerSchema)), "{newer:?}");
        tamper(
            &database,
            "ALTER TABLE _sqlx_migrations RENAME TO elsewhere",
        )
        .await;
        let found = Store::open_read_only(&database.url).await.unwrap().unwrap();
        assert!(found.is_empty && found.pending > 0);
        found.store.close().await;
    }
}

#[tokio::test]
async fn a_database_is_written_to_beside_the_process_that_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", directory.path().join("firman.db").display());
    assert!(Store::open_beside(&url).await.unwrap().is_none());
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    for database in [support::sqlite().await, support::postgres().await] {
        issuers(&database.store).await;
        let beside = Store::open_beside(&database.url).await.unwrap().unwrap();
        assert_eq!((beside.pending, beside.is_empty), (0, false));
        let mut waiting = write(&database.store).await;
        waiting.bump_registry_version(&home(), true).await.unwrap();
        let other = tokio::spawn(async move {
            let mut tx = write(&beside.store).await;
            let version = tx.bump_registry_version(&home(), true).await;
            tx.commit().await.unwrap();
            beside.store.close().await;
            version.unwrap()
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        waiting.commit().await.unwrap();
        assert_eq!(other.await.unwrap(), 2, "each saw what the other wrote");
        let mut tx = read(&database.store).await;
        assert_eq!(tx.head(&home()).await.unwrap().unwrap().registry_version, 2);
        tx.rollback().await.unwrap();
        database.store.close().await;
    }
}
