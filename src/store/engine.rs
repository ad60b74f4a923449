//! The two engines, their pools, and the transaction that every statement runs in. What differs
//! between SQLite and PostgreSQL is in this file and in `rows.rs`, nowhere else.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Connection as _, PgConnection, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

use super::error::{StoreError, is_read_only};

/// How long a caller waits for a connection, and a connection for its server.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long SQLite waits for a lock held outside this process, by a backup for instance.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one statement may take as seen from here: longer than the server's own limits, so that it
/// only ends the wait for a server that does not answer at all.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// SQLite readers; each is a thread.
const SQLITE_READERS: u32 = 4;
/// Connections to PostgreSQL.
const POSTGRES_CONNECTIONS: u32 = 10;

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
    inner: Arc<Engine>,
}

#[derive(Debug)]
enum Engine {
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
        let engine = if let Some(path) = database_url.strip_prefix("sqlite:") {
            open_sqlite(path.strip_prefix("//").unwrap_or(path)).await?
        } else if database_url.starts_with("postgres://")
            || database_url.starts_with("postgresql://")
        {
            open_postgres(database_url).await?
        } else {
            return Err(StoreError::bad_url(
                "must start with sqlite: or postgres://",
            ));
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
            Engine::Sqlite { readers, .. } => Ok(Tx::sqlite(bounded(readers.begin()).await?)),
            Engine::Postgres { pool, failover } => {
                // The aggregate of an agent is several statements.
                let begin = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
                Ok(Tx::postgres(bounded(begin).await?, failover))
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
                // A plain BEGIN would take the write lock later, and fail when somebody else has it then.
                Ok(Tx::sqlite(
                    bounded(writer.begin_with("BEGIN IMMEDIATE")).await?,
                ))
            }
            Engine::Postgres { pool, failover } => {
                // Whoever waited for the head row must then see what its last holder committed.
                let begin = pool.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE");
                Ok(Tx::postgres(bounded(begin).await?, failover))
            }
        }
    }

    /// Asks the database for an answer, for readiness checks.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn ping(&self) -> Result<(), StoreError> {
        const PING: &str = "SELECT 1";
        match &*self.inner {
            Engine::Sqlite { readers, .. } => {
                bounded(sqlx::query(PING).execute(readers)).await.map(drop)
            }
            Engine::Postgres { pool, .. } => {
                bounded(sqlx::query(PING).execute(pool)).await.map(drop)
            }
        }
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

async fn open_sqlite(path: &str) -> Result<Engine, StoreError> {
    if path.is_empty() || path.starts_with(":memory:") || path.contains(['?', '\0']) {
        return Err(StoreError::bad_url(
            "must name a file, such as sqlite:data/firman.db, without parameters; a database in memory would forget",
        ));
    }
    let path = Path::new(path);
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
    Ok(Engine::Postgres { pool, failover })
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
        .map(|options| options.application_name("firman"))
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
struct Failover(Arc<Mutex<Option<Instant>>>);

impl Failover {
    fn is_usable(&self, connection_age: Duration) -> bool {
        let noticed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noticed.is_none_or(|noticed| connection_age < noticed.elapsed())
    }

    fn notice(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// A transaction. Dropped without [`Tx::commit`], it is rolled back.
#[derive(Debug)]
pub struct Tx {
    pub(super) transaction: EngineTransaction,
    /// False from the start of a statement until it succeeds. PostgreSQL answers the COMMIT of a
    /// transaction with a failed statement by a ROLLBACK that looks like a success, and a statement whose
    /// future was dropped may or may not have run.
    is_sound: bool,
    failover: Option<Failover>,
}

#[derive(Debug)]
pub(super) enum EngineTransaction {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
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
        let was_sound = $tx.begin_statement();
        let result = match &mut $tx.transaction {
            $crate::store::engine::EngineTransaction::Sqlite(transaction) => {
                let $connection = &mut **transaction;
                $crate::store::engine::answered($statement).await
            }
            $crate::store::engine::EngineTransaction::Postgres(transaction) => {
                let $connection = &mut **transaction;
                $crate::store::engine::answered($statement).await
            }
        };
        $tx.end_statement(was_sound, result)
    }};
}
pub(super) use on_engine;

/// Like [`on_engine!`], for a statement without rows: `execute!(tx, sqlx::query(SQL).bind(x))?` is how
/// many rows it changed.
macro_rules! execute {
    ($tx:expr, $query:expr) => {
        $crate::store::engine::on_engine!($tx, connection => async {
            Ok::<u64, sqlx::Error>($query.execute(connection).await?.rows_affected())
        })
    };
}
pub(super) use execute;

impl Tx {
    fn sqlite(transaction: Transaction<'static, Sqlite>) -> Self {
        Self {
            transaction: EngineTransaction::Sqlite(transaction),
            is_sound: true,
            failover: None,
        }
    }

    fn postgres(transaction: Transaction<'static, Postgres>, failover: &Failover) -> Self {
        Self {
            transaction: EngineTransaction::Postgres(transaction),
            is_sound: true,
            failover: Some(failover.clone()),
        }
    }

    /// Makes what was written durable and visible.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it did not happen or nobody knows whether it did, and when a
    /// statement before it failed.
    pub async fn commit(self) -> Result<(), StoreError> {
        if !self.is_sound {
            return Err(StoreError::unavailable(
                "a statement of the transaction failed before its commit",
            ));
        }
        match self.transaction {
            EngineTransaction::Sqlite(transaction) => bounded(transaction.commit()).await,
            EngineTransaction::Postgres(transaction) => bounded(transaction.commit()).await,
        }
    }

    /// Undoes what was written.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it is undone all the same.
    pub async fn rollback(self) -> Result<(), StoreError> {
        match self.transaction {
            EngineTransaction::Sqlite(transaction) => bounded(transaction.rollback()).await,
            EngineTransaction::Postgres(transaction) => bounded(transaction.rollback()).await,
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        match &self.transaction {
            EngineTransaction::Sqlite(_) => Dialect::Sqlite,
            EngineTransaction::Postgres(_) => Dialect::Postgres,
        }
    }

    pub(super) fn begin_statement(&mut self) -> bool {
        std::mem::replace(&mut self.is_sound, false)
    }

    pub(super) fn end_statement<T>(
        &mut self,
        was_sound: bool,
        result: Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        match result {
            Ok(value) => {
                self.is_sound = was_sound;
                Ok(value)
            }
            Err(error) => {
                if let Some(failover) = self.failover.as_ref().filter(|_| is_read_only(&error)) {
                    failover.notice();
                }
                Err(error.into())
            }
        }
    }
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
