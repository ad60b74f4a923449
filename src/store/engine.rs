//! The two engines and their pools. The differences between SQLite and PostgreSQL are in this file, in
//! `transaction.rs` and in `rows.rs`, nowhere else.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, PgConnection, PgPool, SqlitePool};

use super::error::StoreError;
use super::transaction::{Failover, Tx, bounded};

/// How long a caller waits for a connection, and a connection for its server.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long SQLite waits for a lock that another process holds, a backup for instance. Less than a client or a
/// readiness check waits, so that both can report the lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(1500);
/// SQLite readers; each is a thread.
const SQLITE_READERS: u32 = 6;
/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 10;
/// Prepared statements of each connection: more than there are, those over many rows in all their sizes.
const POSTGRES_STATEMENTS: usize = 400;

/// Run on each new PostgreSQL connection: limits on a statement (10 s), on waiting for a lock (5 s) and on a
/// transaction that its client abandoned (30 s); durable commits whatever the server's default; and whether the
/// server accepts writes.
const POSTGRES_SESSION: &str = "SELECT current_setting('transaction_read_only') = 'on', \
     set_config('statement_timeout', '10000', false), \
     set_config('lock_timeout', '5000', false), \
     set_config('idle_in_transaction_session_timeout', '30000', false), \
     set_config('synchronous_commit', \
         CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)";

/// Under its own lock, because two replicas may start at once: the collation that the schema uses and that
/// SQLite has built in.
const POSTGRES_LOCK_COLLATION: &str = "SELECT pg_advisory_xact_lock(7021736423)";
const POSTGRES_HAS_COLLATION: &str = "SELECT EXISTS (SELECT 1 FROM pg_collation WHERE collname = 'binary' AND pg_collation_is_visible(oid))";
const POSTGRES_CREATE_COLLATION: &str = "CREATE COLLATION \"binary\" FROM \"C\"";

pub(super) static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// A database, opened and migrated. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) inner: Arc<Engine>,
}

#[derive(Debug)]
pub(super) enum Engine {
    Sqlite {
        /// One connection: SQLite has one writer anyway, and callers that wait here never see SQLITE_BUSY.
        writer: SqlitePool,
        readers: SqlitePool,
        /// Held while the file is in use; `close` releases it.
        lock: Mutex<Option<File>>,
    },
    Postgres {
        pool: PgPool,
        failover: Failover,
    },
}

impl Store {
    /// Opens the database at `sqlite:<path>` or `postgres://…` and brings its schema up to date. A SQLite file
    /// that does not exist is created, readable only by its owner; its directory must exist.
    ///
    /// # Errors
    /// [`StoreError::BadUrl`], [`StoreError::InUse`] when another process has the SQLite file,
    /// [`StoreError::NewerSchema`], [`StoreError::Unavailable`] when it cannot be reached, opened or
    /// written to, [`StoreError::Corrupt`] when it is not a database.
    pub async fn open(database_url: &str) -> Result<Self, StoreError> {
        let engine = match sqlite_path(database_url)? {
            Some(path) => open_sqlite(path).await?,
            None => open_postgres(database_url).await?,
        };
        Ok(Self {
            inner: Arc::new(engine),
        })
    }

    /// A name for people of the database at that URL, without its user and password.
    #[must_use]
    pub fn name_of(database_url: &str) -> String {
        if let Some(path) = database_url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return format!("the database file `{path}`");
        }
        let Ok(options) = postgres_options(database_url) else {
            return "the database".to_owned();
        };
        let (host, port) = (options.get_host(), options.get_port());
        match options.get_database() {
            Some(database) => format!("the PostgreSQL database `{database}` at `{host}:{port}`"),
            None => format!("the user's PostgreSQL database at `{host}:{port}`"),
        }
    }

    /// Begins a read-only transaction: all its statements see the database at one moment.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn read(&self) -> Result<Tx, StoreError> {
        match &*self.inner {
            Engine::Sqlite { readers, .. } => {
                let connection = acquired(readers.acquire()).await?;
                Tx::sqlite(connection).begun("BEGIN DEFERRED").await
            }
            // An agent's aggregate is several statements.
            Engine::Postgres { pool, failover } => {
                begin_postgres(
                    pool,
                    failover,
                    "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                )
                .await
            }
        }
    }

    /// Begins a transaction that writes. Its first statement is [`Tx::lock_head`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also when the wait for other writers took too long.
    pub async fn write(&self) -> Result<Tx, StoreError> {
        match &*self.inner {
            Engine::Sqlite { writer, .. } => {
                let connection = acquired(writer.acquire()).await?;
                // A plain BEGIN would acquire the write lock later, and fail when another program holds it
                // then.
                Tx::sqlite(connection).begun("BEGIN IMMEDIATE").await
            }
            // A transaction that waited for the head row must then see the commit of the previous holder.
            Engine::Postgres { pool, failover } => {
                begin_postgres(
                    pool,
                    failover,
                    "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
                )
                .await
            }
        }
    }

    /// How many connections may be busy with reads that anyone can cause: half of them, so that strangers never
    /// occupy all.
    #[must_use]
    pub fn cold_reads(&self) -> usize {
        let connections = match &*self.inner {
            Engine::Sqlite { .. } => SQLITE_READERS,
            Engine::Postgres { .. } => POSTGRES_CONNECTIONS,
        };
        connections as usize / 2
    }

    /// Waits for running transactions, closes all connections and releases the SQLite file.
    pub async fn close(&self) {
        match &*self.inner {
            Engine::Sqlite {
                writer,
                readers,
                lock,
            } => {
                readers.close().await;
                writer.close().await;
                lock.lock().unwrap_or_else(PoisonError::into_inner).take();
            }
            Engine::Postgres { pool, .. } => pool.close().await,
        }
    }

    /// `sqlite` or `postgresql`.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        match &*self.inner {
            Engine::Sqlite { .. } => "sqlite",
            Engine::Postgres { .. } => "postgresql",
        }
    }
}

/// The file of a SQLite URL; `None` for a PostgreSQL URL.
pub(super) fn sqlite_path(database_url: &str) -> Result<Option<&Path>, StoreError> {
    let Some(path) = database_url.strip_prefix("sqlite:") else {
        let is_postgres = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| database_url.starts_with(scheme));
        return if is_postgres {
            Ok(None)
        } else {
            Err(StoreError::bad_url(
                "must start with `sqlite:` or `postgres://`",
            ))
        };
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with(":memory:") || path.contains(['?', '\0']) {
        return Err(StoreError::bad_url(
            "must name a file, without parameters: a database in memory does not survive a restart",
        ));
    }
    Ok(Some(Path::new(path)))
}

async fn open_sqlite(path: &Path) -> Result<Engine, StoreError> {
    let lock = lock_file(path)?;
    // SQLite creates the files beside it with the same permissions.
    private_file(path).map_err(StoreError::unavailable)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full);
    let pool = || {
        SqlitePoolOptions::new()
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .max_lifetime(None)
            .idle_timeout(None)
    };
    let writer = pool()
        .max_connections(1)
        .connect_with(options.clone().journal_mode(SqliteJournalMode::Wal))
        .await?;
    MIGRATOR.run(&writer).await?;
    let readers = pool()
        .max_connections(SQLITE_READERS)
        .connect_with(options.read_only(true))
        .await?;
    Ok(Engine::Sqlite {
        writer,
        readers,
        lock: Mutex::new(Some(lock)),
    })
}

/// Locks `<path>.lock`. A second process on the file would have its own caches and its own view of the writer;
/// the operating system releases the lock when the process ends, however it ends.
fn lock_file(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = private_file(&PathBuf::from(name)).map_err(StoreError::unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(StoreError::unavailable(error)),
    }
}

/// Opens a file, or creates it with access for its owner only.
fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

async fn open_postgres(url: &str) -> Result<Engine, StoreError> {
    let options = postgres_options(url)?;
    migrate_postgres(&options).await?;
    Ok(postgres_pool(options))
}

/// Connections to an existing database.
pub(super) fn postgres_pool(options: PgConnectOptions) -> Engine {
    let failover = Failover::default();
    let usable = failover.clone();
    let pool = PgPoolOptions::new()
        .max_connections(POSTGRES_CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(|connection, _| Box::pin(prepare_session(connection)))
        .before_acquire(move |_, connection| {
            let is_usable = usable.is_usable(connection.age);
            Box::pin(async move { Ok(is_usable) })
        })
        .connect_lazy_with(options);
    Engine::Postgres { pool, failover }
}

pub(super) fn postgres_options(url: &str) -> Result<PgConnectOptions, StoreError> {
    let authority = url
        .split_once("://")
        .map_or("", |(_, rest)| rest)
        .split(['/', '?'])
        .next()
        .unwrap_or("");
    if authority.rsplit('@').next().unwrap_or("").contains(',') {
        return Err(StoreError::bad_url(
            "names several hosts: it must name one host, which leads to the server that accepts writes",
        ));
    }
    PgConnectOptions::from_str(url)
        .map(|options| {
            options
                .application_name("firman")
                .statement_cache_capacity(POSTGRES_STATEMENTS)
        })
        .map_err(|_| StoreError::bad_url("is not a PostgreSQL URL"))
}

/// Migrates on its own connection: a migration may last longer than a statement of the pool may, and its
/// advisory lock ends with the connection when it fails.
async fn migrate_postgres(options: &PgConnectOptions) -> Result<(), StoreError> {
    let mut connection = connect_postgres(options).await?;
    if bounded(
        sqlx::query_scalar("SELECT current_setting('transaction_read_only') = 'on'")
            .fetch_one(&mut connection),
    )
    .await?
    {
        return Err(StoreError::unavailable("the server is a read-only standby"));
    }
    let mut transaction = connection.begin().await?;
    sqlx::query(POSTGRES_LOCK_COLLATION)
        .execute(&mut *transaction)
        .await?;
    if !sqlx::query_scalar::<_, bool>(POSTGRES_HAS_COLLATION)
        .fetch_one(&mut *transaction)
        .await?
    {
        sqlx::query(POSTGRES_CREATE_COLLATION)
            .execute(&mut *transaction)
            .await?;
    }
    transaction.commit().await?;
    // `run` borrows its connection in a way that prevents spawning this future.
    MIGRATOR.run_direct(None, &mut connection, false).await?;
    connection.close().await?;
    Ok(())
}

pub(super) async fn connect_postgres(
    options: &PgConnectOptions,
) -> Result<PgConnection, StoreError> {
    match tokio::time::timeout(ACQUIRE_TIMEOUT, PgConnection::connect_with(options)).await {
        Ok(connection) => Ok(connection?),
        Err(elapsed) => Err(StoreError::unavailable(elapsed)),
    }
}

async fn prepare_session(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let (is_read_only, ..): (bool, String, String, String, String) =
        sqlx::query_as(POSTGRES_SESSION)
            .fetch_one(connection)
            .await?;
    if is_read_only {
        return Err(sqlx::Error::Configuration(
            "the server is a read-only standby".into(),
        ));
    }
    Ok(())
}

/// Begins on a working connection. The server may have ended those in the pool: each that fails is closed and
/// the next one tried, until one is new. BEGIN changes nothing, so it may be repeated.
async fn begin_postgres(
    pool: &PgPool,
    failover: &Failover,
    begin: &'static str,
) -> Result<Tx, StoreError> {
    let mut kept = POSTGRES_CONNECTIONS;
    loop {
        let connection = acquired(pool.acquire()).await?;
        let begun = Tx::postgres(connection, failover).begun(begin);
        match tokio::time::timeout(ACQUIRE_TIMEOUT, begun).await {
            Ok(Err(_)) if kept > 0 => kept -= 1,
            Ok(begun) => return begun,
            Err(elapsed) => {
                // No answer at all: the other connections in the pool lead to the same place.
                failover.notice();
                return Err(StoreError::unavailable(elapsed));
            }
        }
    }
}

/// A connection of a pool, within the pool's own limit.
async fn acquired<T>(
    connection: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    Ok(connection.await?)
}
