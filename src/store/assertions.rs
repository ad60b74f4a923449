//! Used assertions. The key is a digest over principal and `jti`, so that no byte of a `jti` can break a batch
//! and the index stays small.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::error::StoreError;
use super::rows::RowLists;
use super::transaction::{Tx, execute, on_engine};
use crate::domain::id::IssuerId;
use crate::ports::time::UnixTime;

/// One use of an assertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedAssertion {
    /// Digest over the principal and the assertion's `jti`.
    pub digest: [u8; 16],
    /// The `jti` of the token that was issued for the assertion.
    pub token_id: String,
    /// When the assertion is refused for its age: its `exp`, skew included.
    pub expires_at: UnixTime,
}

static INSERT: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::values(
        "INSERT INTO used_assertions (issuer_id, digest, token_id, expires_at)",
        4,
        "ON CONFLICT DO NOTHING",
    )
});
static TOKENS_OF: LazyLock<RowLists> =
    LazyLock::new(|| RowLists::of_issuer("SELECT digest, token_id FROM used_assertions", "digest"));
const PURGE: &str = "DELETE FROM used_assertions WHERE issuer_id = $1 AND digest IN \
     (SELECT digest FROM used_assertions WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";

impl Tx {
    /// Marks assertions as used; returns how many were not used before. When that is fewer than all,
    /// [`Tx::used_assertion_winners`] names them.
    pub async fn insert_used_assertions(
        &mut self,
        issuer: &IssuerId,
        assertions: &[UsedAssertion],
    ) -> Result<u64, StoreError> {
        let mut inserted = 0;
        for (sql, part) in INSERT.repeating(self.dialect(), assertions) {
            inserted += execute!(self, {
                let mut query = sqlx::query(sql);
                for assertion in part {
                    query = query
                        .bind(issuer.as_str())
                        .bind(&assertion.digest[..])
                        .bind(&assertion.token_id)
                        .bind(assertion.expires_at.0);
                }
                query
            })?;
        }
        Ok(inserted)
    }

    /// The digests whose row has one of `token_ids`: the assertions that were not used before. In no order.
    pub async fn used_assertion_winners(
        &mut self,
        issuer: &IssuerId,
        token_ids: &[String],
        digests: &[[u8; 16]],
    ) -> Result<Vec<[u8; 16]>, StoreError> {
        let ours: HashSet<&str> = token_ids.iter().map(String::as_str).collect();
        let mut winners = Vec::new();
        for (sql, part) in TOKENS_OF.repeating(self.dialect(), digests) {
            let rows: Vec<(Vec<u8>, String)> = on_engine!(self, connection => {
                let mut query = sqlx::query_as(sql).bind(issuer.as_str());
                for digest in part {
                    query = query.bind(&digest[..]);
                }
                query.fetch_all(connection)
            })?;
            for (digest, token_id) in rows {
                if ours.contains(token_id.as_str()) {
                    let digest = digest.try_into();
                    winners.push(
                        digest.map_err(|_| StoreError::corrupt("a digest is not 16 bytes long"))?,
                    );
                }
            }
        }
        Ok(winners)
    }

    /// Deletes at most `limit` assertions that expired before `before`; returns how many.
    pub async fn purge_used_assertions(
        &mut self,
        issuer: &IssuerId,
        before: UnixTime,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let purged = execute!(
            self,
            sqlx::query(PURGE)
                .bind(issuer.as_str())
                .bind(before.0)
                .bind(limit)
        )?;
        Ok(purged)
    }
}
