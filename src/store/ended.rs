//! Delegations and federated credentials that ended long ago. They are deleted, because nothing bounds how many an
//! agent had; what they permitted is in the audit. Secrets and keys stay: a public key identifies one agent even after
//! it expired.

use super::error::StoreError;
use super::transaction::{Tx, execute, on_engine};
use crate::domain::id::IssuerId;
use crate::ports::time::UnixTime;

const HOLDS_ENDED: &str = "SELECT EXISTS (SELECT 1 FROM delegations WHERE issuer_id = $1 AND expires_at < $2) \
     OR EXISTS (SELECT 1 FROM federated_credentials WHERE issuer_id = $1 AND expires_at < $2) \
     OR EXISTS (SELECT 1 FROM federated_credentials WHERE issuer_id = $1 AND expires_at IS NULL AND revoked_at < $2)";
const PURGE_DELEGATIONS: &str = "DELETE FROM delegations WHERE issuer_id = $1 AND id IN \
     (SELECT id FROM delegations WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";
const PURGE_FEDERATED: &str = "DELETE FROM federated_credentials WHERE issuer_id = $1 AND id IN \
     (SELECT id FROM federated_credentials WHERE issuer_id = $1 AND expires_at < $2 ORDER BY expires_at LIMIT $3)";
// One without an expiry ends by its revocation.
const PURGE_REVOKED: &str = "DELETE FROM federated_credentials WHERE issuer_id = $1 AND id IN \
     (SELECT id FROM federated_credentials WHERE issuer_id = $1 AND expires_at IS NULL AND revoked_at < $2 \
     ORDER BY revoked_at LIMIT $3)";

impl Tx {
    /// Whether a delegation or a federated credential expired before `before`, revoked or not, or such a credential
    /// without an expiry was revoked before it: [`Tx::purge_ended`] would delete it.
    pub async fn holds_ended(
        &mut self,
        issuer: &IssuerId,
        before: UnixTime,
    ) -> Result<bool, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(HOLDS_ENDED)
            .bind(issuer.as_str())
            .bind(before.0)
            .fetch_one(connection))
    }

    /// Deletes what ended before `before`, at most `limit` delegations, expired federated credentials and revoked ones
    /// each; how many.
    pub async fn purge_ended(
        &mut self,
        issuer: &IssuerId,
        before: UnixTime,
        limit: i64,
    ) -> Result<u64, StoreError> {
        let mut purged = 0;
        for purge in [PURGE_DELEGATIONS, PURGE_FEDERATED, PURGE_REVOKED] {
            purged += execute!(
                self,
                sqlx::query(purge)
                    .bind(issuer.as_str())
                    .bind(before.0)
                    .bind(limit)
            )?;
        }
        Ok(purged)
    }
}
