//! The two engines, their pools, and the transaction that every statement runs in. What differs
//! between SQLite and PostgreSQL is in this file and in `rows.rs`, nowhere else.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres, Sqlite, SqlitePool};

use super::error::{StoreError, is_read_only};

/// How long a caller waits for a connection, and a connection for its server.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long SQLite waits for a lock held outside this process, by a backup for instance. Less than a client
/// or a readiness check waits, so that both get an error that names the lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long one statement may take as seen from here: longer than the server's own limits, so that it
/// only ends the wait for a server that does not answer at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// SQLite readers; each is a thread.
const SQLITE_READERS: u32 = 6;
/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 10;
/// Statements that each of them keeps prepared: more than there are, those over many rows in all their sizes.
const POSTGRES_STATEMENTS: usize = 400;

/// Run on each new PostgreSQL connection: limits on a statement (10 s), on waiting for a lock (5 s) and
/// on a transaction that its client forgot (30 s); commits that are durable whatever the server's
/// default; and whether the server takes writes.
const POSTGRES_SESSION: &str = "SELECT current_setting('transaction_read_only') = 'on', \
     set_config('statement_timeout', '10000', false), \
     set_config('lock_timeout', '5000', false), \
     set_config('idle_in_transaction_session_timeout', '30000', false), \
     set_config('synchronous_commit', \
         CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)";

/// Under a lock of its own, because two replicas may start at once: the collation that the schema uses
/// and SQLite has built in.
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
        /// One connection: SQLite has one writer anyway, and those who wait here never meet SQLITE_BUSY.
        writer: SqlitePool,
        readers: SqlitePool,
        /// Held while the file is in use; given back by `close`.
        lock: Mutex<Option<File>>,
    },
    Postgres {
        pool: PgPool,
        failover: Failover,
    },
}

impl Store {
    /// Opens the database at `sqlite:<path>` or `postgres://…` and brings its schema up to date. A SQLite
    /// file that does not exist is made, readable by its owner alone; its directory must exist.
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

    /// What a person calls the database at that URL, without the user and the password in it.
    #[must_use]
    pub fn name_of(database_url: &str) -> String {
        if let Some(path) = database_url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return format!("the database file {path}");
        }
        let Ok(options) = postgres_options(database_url) else {
            return "the database".to_owned();
        };
        let (host, port) = (options.get_host(), options.get_port());
        let database = options.get_database().unwrap_or("of the user's name");
        format!("the PostgreSQL database {database} at {host}:{port}")
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
            // The aggregate of an agent is several statements.
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
                // A plain BEGIN would take the write lock later, and fail when another program has it then.
                Tx::sqlite(connection).begun("BEGIN IMMEDIATE").await
            }
            // A transaction that waited for the head row must then see what its last holder committed.
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

    /// How many connections may be busy with reads that anyone can cause: half of them. Strangers never hold
    /// them all.
    #[must_use]
    pub fn cold_reads(&self) -> usize {
        let connections = match &*self.inner {
            Engine::Sqlite { .. } => SQLITE_READERS,
            Engine::Postgres { .. } => POSTGRES_CONNECTIONS,
        };
        connections as usize / 2
    }

    /// Waits for transactions under way, closes all connections and lets go of the SQLite file.
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

/// The file of a SQLite URL; `None` for one of PostgreSQL.
pub(super) fn sqlite_path(database_url: &str) -> Result<Option<&Path>, StoreError> {
    let Some(path) = database_url.strip_prefix("sqlite:") else {
        let is_postgres = ["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| database_url.starts_with(scheme));
        return if is_postgres {
            Ok(None)
        } else {
            Err(StoreError::bad_url(
                "must start with sqlite: or postgres://",
            ))
        };
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with(":memory:") || path.contains(['?', '\0']) {
        return Err(StoreError::bad_url(
            "must name a file, such as sqlite:data/firman.db, without parameters; a database in memory would forget",
        ));
    }
    Ok(Some(Path::new(path)))
}

async fn open_sqlite(path: &Path) -> Result<Engine, StoreError> {
    let lock = lock_file(path)?;
    // SQLite gives the files beside it the same permissions.
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

/// Takes `<path>.lock`. A second process on the file would have its own caches and its own idea of who
/// writes; the operating system lets go of the lock when the process ends, however it ends.
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

/// Opens a file, making it with access for its owner alone.
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

/// Connections to a database that is there.
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
            "names several hosts; give one name that always leads to the server that takes writes",
        ));
    }
    PgConnectOptions::from_str(url)
        .map(|options| {
            options
                .application_name("firman")
                .statement_cache_capacity(POSTGRES_STATEMENTS)
        })
        .map_err(|_| {
            StoreError::bad_url(
                "is not a PostgreSQL URL such as postgres://user:password@host:5432/database",
            )
        })
}

/// Migrates on a connection of its own: a migration may take longer than a statement of the pool may,
/// and its advisory lock goes with the connection when it fails.
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
    // `run` borrows its connection in a way that keeps this future from being spawned.
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

/// When a connection last turned out to lead to a server that no longer takes writes. Connections older
/// than that are not used again: their name may lead to another server by now.
#[derive(Clone, Debug, Default)]
pub(super) struct Failover(Arc<Mutex<Option<Instant>>>);

impl Failover {
    fn is_usable(&self, connection_age: Duration) -> bool {
        let noticed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noticed.is_none_or(|noticed| connection_age < noticed.elapsed())
    }

    fn notice(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Begins on a connection that leads somewhere. The server may have ended those that the pool kept: each that
/// fails is closed and the next one tried, until one is new. BEGIN changes nothing, so that it may be repeated.
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
                // No answer at all: what else the pool keeps leads to the same place.
                failover.notice();
                return Err(StoreError::unavailable(elapsed));
            }
        }
    }
}

/// A transaction. Dropped without [`Tx::commit`], it is rolled back.
///
/// It begins and ends by statements of its own, not by the driver's: SQLite rolls back on its own when the disk
/// fails or is full, the driver's ROLLBACK then fails, its depth stays at one, and every later transaction on
/// the connection is a savepoint in one that never ends and sees what it first saw. So a connection goes
/// back to its pool only when its transaction ended as it should. After any fault it is closed. A caller that
/// goes away is not a fault: what it left is rolled back.
#[derive(Debug)]
pub struct Tx {
    pub(super) connection: EngineConnection,
    standing: Standing,
    dialect: Dialect,
    failover: Option<Failover>,
    pub(super) rows_changed: u64,
}

#[derive(Debug)]
pub(super) enum EngineConnection {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
    /// Another task has it, which rolls back.
    Taken,
}

/// What is known of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Under way, and every statement of it succeeded.
    Sound,
    /// From the start of a statement, or of the transaction's end, until it succeeds. A caller that went away in
    /// the middle leaves it so: whether the statement ran is not known.
    Pending,
    /// Something failed. PostgreSQL answers the COMMIT of such a transaction by a ROLLBACK that looks like a
    /// success.
    Failed,
    /// Committed or rolled back: the connection is outside a transaction.
    Ended,
}

/// Which SQL `rows.rs` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

/// Runs one statement on whichever engine the transaction is on:
/// `on_engine!(tx, connection => sqlx::query(SQL).bind(x).execute(connection))?`.
macro_rules! on_engine {
    ($tx:expr, $connection:ident => $statement:expr) => {{
        let standing = $tx.begin_statement();
        let result = match &mut $tx.connection {
            $crate::store::engine::EngineConnection::Sqlite(pooled) => {
                let $connection = &mut **pooled;
                $crate::store::engine::answered($statement).await
            }
            $crate::store::engine::EngineConnection::Postgres(pooled) => {
                let $connection = &mut **pooled;
                $crate::store::engine::answered($statement).await
            }
            $crate::store::engine::EngineConnection::Taken => Err(sqlx::Error::PoolClosed),
        };
        $tx.end_statement(standing, result)
    }};
}
pub(super) use on_engine;

/// Like [`on_engine!`], for a statement without rows: `execute!(tx, sqlx::query(SQL).bind(x))?` is how
/// many rows it changed.
macro_rules! execute {
    ($tx:expr, $query:expr) => {{
        let changed = $crate::store::engine::on_engine!($tx, connection => async {
            Ok::<u64, sqlx::Error>($query.execute(connection).await?.rows_affected())
        });
        changed.inspect(|rows| $tx.rows_changed += rows)
    }};
}
pub(super) use execute;

impl Tx {
    /// How many rows the transaction has added, changed or deleted so far.
    pub(crate) fn rows_changed(&self) -> u64 {
        self.rows_changed
    }

    fn sqlite(connection: PoolConnection<Sqlite>) -> Self {
        Self {
            connection: EngineConnection::Sqlite(connection),
            standing: Standing::Pending,
            dialect: Dialect::Sqlite,
            failover: None,
            rows_changed: 0,
        }
    }

    fn postgres(connection: PoolConnection<Postgres>, failover: &Failover) -> Self {
        Self {
            connection: EngineConnection::Postgres(connection),
            standing: Standing::Pending,
            dialect: Dialect::Postgres,
            failover: Some(failover.clone()),
            rows_changed: 0,
        }
    }

    /// SQLite refuses BEGIN inside a transaction: its success proves that the connection was outside one.
    async fn begun(mut self, begin: &'static str) -> Result<Self, StoreError> {
        self.run(begin, Standing::Sound).await?;
        Ok(self)
    }

    /// Makes what was written durable and visible.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it did not happen or it is not known whether it did, and when a
    /// statement before it failed.
    pub async fn commit(mut self) -> Result<(), StoreError> {
        if self.standing != Standing::Sound {
            return Err(StoreError::unavailable(
                "a statement of the transaction failed before its commit",
            ));
        }
        self.run("COMMIT", Standing::Ended).await
    }

    /// Undoes what was written.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it is undone all the same.
    pub async fn rollback(mut self) -> Result<(), StoreError> {
        if self.standing != Standing::Sound {
            // Dropping it undoes it.
            return Ok(());
        }
        self.run("ROLLBACK", Standing::Ended).await
    }

    /// Gives the connection up: what it shows is not what the database holds.
    pub fn distrust(mut self) {
        self.standing = Standing::Failed;
    }

    /// Begins or ends the transaction, which then is `after`.
    async fn run(&mut self, statement: &'static str, after: Standing) -> Result<(), StoreError> {
        self.standing = Standing::Pending;
        let done = self.connection.run(statement).await;
        self.standing = if done.is_ok() {
            after
        } else {
            Standing::Failed
        };
        done
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn begin_statement(&mut self) -> Standing {
        let standing = self.standing;
        if standing != Standing::Failed {
            self.standing = Standing::Pending;
        }
        standing
    }

    pub(super) fn end_statement<T>(
        &mut self,
        standing: Standing,
        result: Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        match result {
            Ok(value) => {
                self.standing = standing;
                Ok(value)
            }
            Err(error) => {
                self.standing = Standing::Failed;
                if let Some(failover) = self.failover.as_ref().filter(|_| is_read_only(&error)) {
                    failover.notice();
                }
                Err(error.into())
            }
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        match self.standing {
            Standing::Ended => {}
            Standing::Failed => self.connection.close_on_drop(),
            Standing::Sound | Standing::Pending => {
                let connection = std::mem::replace(&mut self.connection, EngineConnection::Taken);
                connection.roll_back_and_return();
            }
        }
    }
}

impl EngineConnection {
    /// Runs a statement that begins or ends a transaction.
    async fn run(&mut self, statement: &'static str) -> Result<(), StoreError> {
        let statement = sqlx::raw_sql(statement);
        match self {
            Self::Sqlite(connection) => bounded(statement.execute(&mut **connection))
                .await
                .map(drop),
            Self::Postgres(connection) => bounded(statement.execute(&mut **connection))
                .await
                .map(drop),
            Self::Taken => Err(sqlx::Error::PoolClosed.into()),
        }
    }

    fn close_on_drop(&mut self) {
        match self {
            Self::Sqlite(connection) => connection.close_on_drop(),
            Self::Postgres(connection) => connection.close_on_drop(),
            Self::Taken => {}
        }
    }

    /// For a transaction that was dropped without a fault: by a refusal, or with a caller that went away in the
    /// middle of a statement, whose answer the driver reads first. A ROLLBACK that succeeds leaves either engine
    /// outside a transaction; SQLite refuses it where it rolled back on its own.
    fn roll_back_and_return(mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.close_on_drop();
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = self.run("ROLLBACK").await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "a transaction could not be rolled back; its connection is closed"
                );
                self.close_on_drop();
            }
        });
    }
}

/// A connection of a pool, within the pool's own limit.
async fn acquired<T>(
    connection: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    Ok(connection.await?)
}

/// Ends the wait for an answer that does not come.
pub(super) async fn answered<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(ANSWER_TIMEOUT, statement)
        .await
        .unwrap_or_else(|elapsed| Err(sqlx::Error::Io(std::io::Error::from(elapsed))))
}

async fn bounded<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    Ok(answered(statement).await?)
}
