//! Why an operation of the database failed. Each message is one sentence for the log and names the innermost
//! cause; the layers that drivers put around it remain as the source.

use std::error::Error;
use std::path::PathBuf;

use sqlx::error::ErrorKind;
use sqlx::migrate::MigrateError;

use crate::domain::remedy::Remedy;

/// A failure of the database. Any of them ends the transaction in which it happened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection, a time-out, a full or read-only disk, a lock that was not released in time. The operation
    /// had no effect and can be tried again.
    #[error("cannot use the database: {}", plain(&**.0))]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// A row that violates a constraint which no valid call violates: a fault of the program.
    #[error("the database refused a value: {}", plain(&**.0))]
    Rejected(#[source] Box<dyn Error + Send + Sync>),
    /// A row that does not parse as what was once written.
    #[error("the database is damaged: {what}")]
    Corrupt {
        /// What is wrong.
        what: String,
    },
    /// The schema knows a migration that this program does not.
    #[error("the database belongs to a newer version of firman")]
    NewerSchema,
    /// Another process holds the SQLite file.
    #[error("another firman process uses the database file `{}`", path.display())]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The URL does not name a database that firman can use.
    #[error("the database URL {problem}")]
    BadUrl {
        /// What is wrong with it; never a part of the URL, which may contain a password.
        problem: String,
    },
}

/// PostgreSQL: the server became a read-only standby.
const READ_ONLY_TRANSACTION: &str = "25006";

impl StoreError {
    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(super) fn bad_url(problem: impl Into<String>) -> Self {
        Self::BadUrl {
            problem: problem.into(),
        }
    }

    pub(super) fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    pub(super) fn rejected(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Rejected(source.into())
    }
}

impl StoreError {
    /// What an operator can do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::NewerSchema => Some(Remedy::action(
                "start that version, or restore a backup from before the upgrade",
            )),
            Self::InUse { .. } => Some(Remedy::action(
                "stop that process, or use PostgreSQL to run several",
            )),
            Self::BadUrl { .. } => Some(Remedy::action(
                "use a URL like `sqlite:data/firman.db` or `postgres://user:password@host:5432/database`",
            )),
            Self::Unavailable(_) | Self::Rejected(_) | Self::Corrupt { .. } => None,
        }
    }

    /// The reason in the words of the database or the operating system, for a sentence that names the
    /// operation.
    #[must_use]
    pub fn reason(&self) -> String {
        match self {
            Self::Unavailable(source) | Self::Rejected(source) => plain(source.as_ref()),
            Self::Corrupt { what } => what.clone(),
            Self::NewerSchema | Self::InUse { .. } | Self::BadUrl { .. } => self.to_string(),
        }
    }
}

/// The innermost cause, without the layers that drivers put around it.
fn plain(error: &(dyn Error + 'static)) -> String {
    if let Some(sqlx::Error::Database(database)) = error.downcast_ref() {
        return database.message().to_owned();
    }
    if let Some(cause) = error.source() {
        return plain(cause);
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_lowercase());
    first.into_iter().flatten().chain(letters).collect()
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if matches!(
            error,
            sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnNotFound(_)
                | sqlx::Error::TypeNotFound { .. }
        ) {
            return Self::corrupt(error.to_string());
        }
        if matches!(error, sqlx::Error::RowNotFound) {
            return Self::corrupt("a required row is missing");
        }
        let refused = match error.as_database_error() {
            Some(database) => database.kind() != ErrorKind::Other || is_data_exception(database),
            None => matches!(error, sqlx::Error::Encode(_)),
        };
        if refused {
            return Self::rejected(error);
        }
        match error.as_database_error().and_then(sqlite_result_code) {
            Some(11 | 26) => Self::corrupt(plain(&error)), // SQLITE_CORRUPT, SQLITE_NOTADB
            Some(18 | 20) => Self::rejected(error),        // SQLITE_TOOBIG, SQLITE_MISMATCH
            Some(_) | None => Self::unavailable(error),
        }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        if matches!(error, MigrateError::VersionMissing(_)) {
            Self::NewerSchema
        } else if matches!(error, MigrateError::VersionMismatch(_)) {
            Self::corrupt(error.to_string())
        } else if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) =
            error
        {
            Self::from(error)
        } else {
            Self::unavailable(error)
        }
    }
}

/// True when the server that accepted the connection no longer accepts writes.
pub(super) fn is_read_only(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .and_then(|database| database.code())
        .is_some_and(|code| code == READ_ONLY_TRANSACTION)
}

/// PostgreSQL's class 22, "data exception": a value that it cannot hold.
fn is_data_exception(database: &dyn sqlx::error::DatabaseError) -> bool {
    database
        .code()
        .is_some_and(|code| code.len() == 5 && code.starts_with("22"))
}

/// SQLite's primary result code: the low byte of the extended one. PostgreSQL's codes have five
/// characters, SQLite's are at most four digits long.
fn sqlite_result_code(database: &dyn sqlx::error::DatabaseError) -> Option<i64> {
    let code = database.code()?;
    if code.len() >= 5 {
        return None;
    }
    code.parse::<i64>().ok().map(|extended| extended & 0xff)
}
