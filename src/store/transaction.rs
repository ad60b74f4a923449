//! The transaction that every statement runs in, on either engine: how it begins, its state after a fault, and
//! when its connection returns to the pool.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{Postgres, Sqlite};

use super::error::{StoreError, is_read_only};

/// How long one statement may last for this process: longer than the server's own limits, so that it only ends
/// the wait for a server that does not answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// A transaction. Dropped without [`Tx::commit`], it is rolled back.
///
/// It begins and ends with its own statements, not the driver's: SQLite rolls back on its own when the disk
/// fails or is full, the driver's ROLLBACK then fails, its depth stays at one, and every later transaction on
/// the connection is a savepoint in a transaction that never ends and keeps its first snapshot. So a connection
/// returns to its pool only when its transaction ended without a fault. After any fault it is closed. A dropped
/// caller is not a fault: its transaction is rolled back.
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
    /// Another task has the connection and rolls it back.
    Taken,
}

/// The state of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Under way, and every statement of it succeeded.
    Sound,
    /// From the start of a statement, or of the transaction's end, until it succeeds. A caller that is dropped
    /// in the middle leaves this state: whether the statement ran is not known.
    Pending,
    /// Something failed. PostgreSQL answers the COMMIT of such a transaction with a ROLLBACK that looks like a
    /// success.
    Failed,
    /// Committed or rolled back: the connection is outside a transaction.
    Ended,
}

/// Which SQL of `rows.rs` it uses.
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
            $crate::store::transaction::EngineConnection::Sqlite(pooled) => {
                let $connection = &mut **pooled;
                $crate::store::transaction::answered($statement).await
            }
            $crate::store::transaction::EngineConnection::Postgres(pooled) => {
                let $connection = &mut **pooled;
                $crate::store::transaction::answered($statement).await
            }
            $crate::store::transaction::EngineConnection::Taken => Err(sqlx::Error::PoolClosed),
        };
        $tx.end_statement(standing, result)
    }};
}
pub(super) use on_engine;

/// Like [`on_engine!`], for a statement without rows: `execute!(tx, sqlx::query(SQL).bind(x))?` is how
/// many rows it changed.
macro_rules! execute {
    ($tx:expr, $query:expr) => {{
        let changed = $crate::store::transaction::on_engine!($tx, connection => async {
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

    pub(super) fn sqlite(connection: PoolConnection<Sqlite>) -> Self {
        Self {
            connection: EngineConnection::Sqlite(connection),
            standing: Standing::Pending,
            dialect: Dialect::Sqlite,
            failover: None,
            rows_changed: 0,
        }
    }

    pub(super) fn postgres(connection: PoolConnection<Postgres>, failover: &Failover) -> Self {
        Self {
            connection: EngineConnection::Postgres(connection),
            standing: Standing::Pending,
            dialect: Dialect::Postgres,
            failover: Some(failover.clone()),
            rows_changed: 0,
        }
    }

    /// SQLite refuses BEGIN inside a transaction: its success proves that the connection was outside one.
    pub(super) async fn begun(mut self, begin: &'static str) -> Result<Self, StoreError> {
        self.run(begin, Standing::Sound).await?;
        Ok(self)
    }

    /// Makes its writes durable and visible.
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

    /// Undoes its writes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]; it is undone anyway.
    pub async fn rollback(mut self) -> Result<(), StoreError> {
        if self.standing != Standing::Sound {
            // Dropping it undoes it.
            return Ok(());
        }
        self.run("ROLLBACK", Standing::Ended).await
    }

    /// Closes the connection: its view may differ from the database.
    pub fn distrust(mut self) {
        self.standing = Standing::Failed;
    }

    /// Begins or ends the transaction, which is then in the state `after`.
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

    /// For a transaction that was dropped without a fault: by a refusal, or by a caller that was dropped in the
    /// middle of a statement, whose answer the driver reads first. A ROLLBACK that succeeds leaves either
    /// engine outside a transaction; SQLite rejects it after it rolled back on its own.
    fn roll_back_and_return(mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            self.close_on_drop();
            return;
        };
        runtime.spawn(async move {
            if let Err(error) = self.run("ROLLBACK").await {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "cannot roll back a transaction: closing its connection"
                );
                self.close_on_drop();
            }
        });
    }
}

/// Ends the wait for an answer that does not arrive.
pub(super) async fn answered<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    tokio::time::timeout(ANSWER_TIMEOUT, statement)
        .await
        .unwrap_or_else(|elapsed| Err(sqlx::Error::Io(std::io::Error::from(elapsed))))
}

pub(super) async fn bounded<T>(
    statement: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, StoreError> {
    Ok(answered(statement).await?)
}

/// When a connection last turned out to lead to a server that no longer accepts writes. Older connections are
/// not used again: their name may lead to another server now.
#[derive(Clone, Debug, Default)]
pub(super) struct Failover(Arc<Mutex<Option<Instant>>>);

impl Failover {
    pub(super) fn is_usable(&self, connection_age: Duration) -> bool {
        let noticed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        noticed.is_none_or(|noticed| connection_age < noticed.elapsed())
    }

    pub(super) fn notice(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}
