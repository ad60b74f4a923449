//! The fetched key set of each trusted issuer. It saves a fetch and does not decide anything: the reader judges
//! its age and source.

use super::error::StoreError;
use super::transaction::{Tx, execute, on_engine};
use crate::domain::id::{IssuerId, TrustedIssuerId};
use crate::ports::time::UnixTime;

/// A fetched key set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedKeys {
    /// Its source, as in the trusted issuer's definition.
    pub source: String,
    /// The usable keys, a JWK Set.
    pub keys: String,
    /// When the fetch began.
    pub fetched_at: UnixTime,
}

#[derive(sqlx::FromRow)]
struct FetchedKeysRow {
    source: String,
    keys: String,
    fetched_at: i64,
}

// An issuer that was removed or edited during the fetch does not get its result.
const PUT: &str = "INSERT INTO trusted_issuer_keys (issuer_id, trusted_issuer_id, source, keys, fetched_at) \
     SELECT issuer_id, id, $4, $5, $6 FROM trusted_issuers \
     WHERE issuer_id = $1 AND id = $2 AND version = $3 AND removed_at IS NULL \
     ON CONFLICT (issuer_id, trusted_issuer_id) \
     DO UPDATE SET source = excluded.source, keys = excluded.keys, fetched_at = excluded.fetched_at";
const GET: &str = "SELECT source, keys, fetched_at FROM trusted_issuer_keys WHERE issuer_id = $1 AND trusted_issuer_id = $2";
const DELETE: &str =
    "DELETE FROM trusted_issuer_keys WHERE issuer_id = $1 AND trusted_issuer_id = $2";

impl Tx {
    /// Stores the keys of a trusted issuer and replaces earlier ones. False, and nothing is stored, when the
    /// trusted issuer is not at `version`, or removed.
    pub async fn put_trusted_issuer_keys(
        &mut self,
        issuer: &IssuerId,
        trusted: &TrustedIssuerId,
        version: i64,
        fetched: &FetchedKeys,
    ) -> Result<bool, StoreError> {
        let put = execute!(
            self,
            sqlx::query(PUT)
                .bind(issuer.as_str())
                .bind(trusted.as_str())
                .bind(version)
                .bind(&fetched.source)
                .bind(&fetched.keys)
                .bind(fetched.fetched_at.0)
        )?;
        Ok(put == 1)
    }

    /// The stored keys of a trusted issuer.
    pub async fn trusted_issuer_keys(
        &mut self,
        issuer: &IssuerId,
        trusted: &TrustedIssuerId,
    ) -> Result<Option<FetchedKeys>, StoreError> {
        let row = on_engine!(self, connection => sqlx::query_as::<_, FetchedKeysRow>(GET)
            .bind(issuer.as_str())
            .bind(trusted.as_str())
            .fetch_optional(connection))?;
        Ok(row.map(|row| FetchedKeys {
            source: row.source,
            keys: row.keys,
            fetched_at: UnixTime(row.fetched_at),
        }))
    }

    /// Deletes the stored keys of a trusted issuer.
    pub async fn delete_trusted_issuer_keys(
        &mut self,
        issuer: &IssuerId,
        trusted: &TrustedIssuerId,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            sqlx::query(DELETE)
                .bind(issuer.as_str())
                .bind(trusted.as_str())
        )
        .map(drop)
    }
}
