//! A database in its current state: no migration runs, and a server that uses the SQLite file continues. For
//! checks before a start, which change nothing, and for a command that makes a single change. The only file
//! that SQLite may create is the index (`-shm`) of a write-ahead log that a crash left behind.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions, SqliteSynchronous};

use super::engine::{
    ACQUIRE_TIMEOUT, BUSY_TIMEOUT, Engine, MIGRATOR, Store, connect_postgres, postgres_options,
    postgres_pool, sqlite_path,
};
use super::error::StoreError;
use super::transaction::on_engine;

/// A database as it was found.
#[derive(Debug)]
pub struct Found {
    /// To read from.
    pub store: Store,
    /// How many migrations the next start applies.
    pub pending: usize,
    /// Whether that is all of them: the database does not contain anything of firman.
    pub is_empty: bool,
}

const APPLIED: &str = "SELECT version FROM _sqlx_migrations";

impl Store {
    /// Opens the database at `sqlite:<path>` or `postgres://…` for reading; `None` for a SQLite file that does
    /// not exist. Every transaction that writes fails.
    ///
    /// # Errors
    /// As [`Store::open`], but for [`StoreError::InUse`].
    pub async fn open_read_only(database_url: &str) -> Result<Option<Found>, StoreError> {
        Self::open_found(database_url, open_sqlite).await
    }

    /// Opens the database as it is, for writing, beside a server that may be running on it: for a single change by a
    /// command on the same machine. `None` for a SQLite file that does not exist. No migration runs.
    ///
    /// # Errors
    /// As [`Store::open_read_only`].
    pub async fn open_beside(database_url: &str) -> Result<Option<Found>, StoreError> {
        Self::open_found(database_url, open_sqlite_beside).await
    }

    async fn open_found(
        database_url: &str,
        open_sqlite: impl AsyncFnOnce(&Path) -> Result<Engine, StoreError>,
    ) -> Result<Option<Found>, StoreError> {
        let engine = match sqlite_path(database_url)? {
            Some(path) if !is_there(path)? => return Ok(None),
            Some(path) => open_sqlite(path).await?,
            None => {
                let options = postgres_options(database_url)?;
                // A pool tells no more than that its time was up.
                connect_postgres(&options).await?.close().await?;
                postgres_pool(options)
            }
        };
        let store = Self {
            inner: Arc::new(engine),
        };
        match pending(&store).await {
            Ok(pending) => Ok(Some(Found {
                store,
                pending,
                is_empty: pending == MIGRATOR.iter().count(),
            })),
            Err(error) => {
                store.close().await;
                Err(error)
            }
        }
    }
}

/// A folder that cannot be searched is a fault, not an absent file.
fn is_there(path: &Path) -> Result<bool, StoreError> {
    path.try_exists()
        .map_err(|error| StoreError::Unavailable(Box::new(error)))
}

async fn open_sqlite(path: &Path) -> Result<Engine, StoreError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        // Without a write-ahead log no one is writing, and SQLite would make one to read.
        .immutable(!is_there(Path::new(&log))?)
        .busy_timeout(BUSY_TIMEOUT);
    one_connection(options).await
}

/// The lock file stays free: SQLite itself orders the writers of two processes, as PostgreSQL does those of replicas.
async fn open_sqlite_beside(path: &Path) -> Result<Engine, StoreError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .synchronous(SqliteSynchronous::Full);
    one_connection(options).await
}

async fn one_connection(options: SqliteConnectOptions) -> Result<Engine, StoreError> {
    let pool = SqlitePoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .max_connections(1)
        .connect_with(options)
        .await?;
    Ok(Engine::Sqlite {
        writer: pool.clone(),
        readers: pool,
        lock: Mutex::new(None),
    })
}

/// How many of this program's migrations the database lacks.
async fn pending(store: &Store) -> Result<usize, StoreError> {
    let mut tx = store.read().await?;
    let applied: Result<Vec<i64>, StoreError> =
        on_engine!(tx, connection => sqlx::query_scalar(APPLIED).fetch_all(connection));
    let applied: BTreeSet<i64> = match applied {
        Ok(applied) => {
            tx.rollback().await?;
            applied.into_iter().collect()
        }
        // A database without that table was never used by firman.
        Err(error) if lacks_table(&error.reason()) => BTreeSet::new(),
        Err(error) => return Err(error),
    };
    let known: BTreeSet<i64> = MIGRATOR.iter().map(|migration| migration.version).collect();
    if applied.is_subset(&known) {
        Ok(known.difference(&applied).count())
    } else {
        Err(StoreError::NewerSchema)
    }
}

/// In the words of SQLite, and of PostgreSQL.
fn lacks_table(reason: &str) -> bool {
    reason.contains("no such table") || reason.contains("does not exist")
}
