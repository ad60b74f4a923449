//! Throw-away PostgreSQL databases for tests: each a clone of one that was migrated once, which takes a tenth
//! of the time of a new migration. Only tests use it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection};

use super::engine::{MIGRATOR, Store, connect_postgres, postgres_options};
use super::error::StoreError;
use crate::jose::digest::sha256;

/// Serialises the creation of the template among processes.
const LOCK: &str = "SELECT pg_advisory_lock(7021736424)";
const EXISTS: &str = "SELECT EXISTS (SELECT 1 FROM pg_database WHERE datname = $1)";
/// PostgreSQL: another clone of the template is being created, or its last connection is still open.
const OBJECT_IN_USE: &str = "55006";
/// PostgreSQL: another run with this process id left a database with that name.
const DUPLICATE_DATABASE: &str = "42P04";
/// Sorts like people do, ignoring punctuation, so that a test shows where the schema does not sort by bytes
/// (PostgreSQL 15).
const LOCALE: &str = "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C' LOCALE_PROVIDER icu ICU_LOCALE 'en-u-ka-shifted'";
/// Attempts at one clone, 20 ms apart.
const ATTEMPTS: u32 = 500;

/// Makes a migrated, empty database on the server of `admin_url`, whose user must have the permission, and
/// returns its URL. Never deletes it: the server itself is disposable.
///
/// # Errors
/// [`StoreError::Unavailable`] when the server cannot be reached or refuses; any other of migrating.
pub async fn fresh_postgres_database(admin_url: &str) -> Result<String, StoreError> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let options = postgres_options(admin_url)?;
    let mut admin = connect_postgres(&options).await?;
    let template = make_template(&mut admin, &options).await?;
    for _ in 0..ATTEMPTS {
        let database = format!(
            "firman_test_{}_{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        match run(
            &mut admin,
            format!("CREATE DATABASE {database} TEMPLATE {template}"),
        )
        .await
        {
            Ok(()) => {
                admin.close().await?;
                return Ok(url_of(&options, &database));
            }
            Err(error) if has_code(&error, DUPLICATE_DATABASE) => {}
            Err(error) if has_code(&error, OBJECT_IN_USE) => {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::unavailable(
        "the template database stayed in use",
    ))
}

/// The name of the migrated database, which the first test that needs it creates. It gets its name when it is
/// complete.
async fn make_template(
    admin: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<String, StoreError> {
    let template = template_name();
    sqlx::query(LOCK).execute(&mut *admin).await?;
    if !sqlx::query_scalar::<_, bool>(EXISTS)
        .bind(&template)
        .fetch_one(&mut *admin)
        .await?
    {
        let unfinished = format!("{template}_unfinished");
        run(
            admin,
            format!("DROP DATABASE IF EXISTS {unfinished} WITH (FORCE)"),
        )
        .await?;
        run(admin, format!("CREATE DATABASE {unfinished} {LOCALE}")).await?;
        Store::open(&url_of(options, &unfinished))
            .await?
            .close()
            .await;
        run(
            admin,
            format!("ALTER DATABASE {unfinished} RENAME TO {template}"),
        )
        .await?;
    }
    sqlx::query("SELECT pg_advisory_unlock_all()")
        .execute(&mut *admin)
        .await?;
    Ok(template)
}

/// Another schema is another template: a server may outlive a change of the migrations. One digest over all of
/// them: PostgreSQL cuts a name after 63 bytes.
fn template_name() -> String {
    let checksums: Vec<u8> = MIGRATOR
        .iter()
        .flat_map(|migration| migration.checksum.iter().copied())
        .collect();
    let digest: String = sha256(&checksums)[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("firman_template_{digest}")
}

fn url_of(options: &PgConnectOptions, database: &str) -> String {
    options
        .clone()
        .database(database)
        .to_url_lossy()
        .to_string()
}

/// `sql` is assembled from the constants and numbers of this file.
async fn run(admin: &mut PgConnection, sql: String) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(AssertSqlSafe(sql))
        .execute(admin)
        .await
        .map(drop)
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error
        .as_database_error()
        .and_then(|database| database.code())
        .is_some_and(|found| found == code)
}
