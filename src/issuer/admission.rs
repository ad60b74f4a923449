//! Lets a client that proved itself ask for something other than a token: judges, in the database, what
//! its proof rests on, and uses up its assertion. The ledger does the same for those who ask for tokens.

use crate::store::{Head, StoreError, Tx, UsedAssertion};

use super::Issuer;
use super::authenticate::AuthenticatedClient;

/// Whether a client is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is; its assertion, if it used one, is used up.
    Admitted,
    /// What its proof rests on has changed: authenticate it again.
    Stale,
    /// Its assertion was used before.
    Replayed,
}

impl Issuer {
    /// Lets a client in. An assertion is marked as used under the issuer's head row, so that it is good
    /// once on all processes and at all endpoints together (RFC 7523 §3 item 7).
    ///
    /// # Errors
    /// When the database cannot be read, or for an assertion written.
    pub async fn admit(&self, client: &AuthenticatedClient) -> Result<Admission, StoreError> {
        let Some(spent) = client.spends() else {
            let (mut tx, head) = self.read().await?;
            self.registry
                .refresh(&mut tx, &self.id, &head, &self.sealing)
                .await?;
            let is_stale = self.is_stale(&mut tx, &head, client).await?;
            tx.rollback().await?;
            return Ok(if is_stale {
                Admission::Stale
            } else {
                Admission::Admitted
            });
        };
        let mut tx = self.store.write().await?;
        let head = tx
            .lock_head(&self.id)
            .await?
            .ok_or_else(|| StoreError::corrupt("the issuer's head row is missing"))?;
        self.registry
            .refresh_locked(&mut tx, &self.id, &head, &self.sealing)
            .await?;
        if self.is_stale(&mut tx, &head, client).await? {
            tx.rollback().await?;
            return Ok(Admission::Stale);
        }
        let mark = UsedAssertion {
            digest: spent.digest,
            token_id: String::new(),
            expires_at: spent.expires_at,
        };
        if tx.insert_used_assertions(&self.id, &[mark]).await? == 0 {
            tx.rollback().await?;
            return Ok(Admission::Replayed);
        }
        tx.commit().await?;
        Ok(Admission::Admitted)
    }

    /// Whether the agent, or the policy that its proof may rest on, has changed since it was believed.
    async fn is_stale(
        &self,
        tx: &mut Tx,
        head: &Head,
        client: &AuthenticatedClient,
    ) -> Result<bool, StoreError> {
        let basis = client.basis();
        if basis == head.registry_version {
            return Ok(false);
        }
        // A basis newer than the head is one that the database lost.
        if basis > head.registry_version || head.policy_version > basis {
            return Ok(true);
        }
        let version = tx
            .agent_version(&self.id, &client.aggregate().agent.id)
            .await?;
        Ok(version.is_none_or(|version| version > basis))
    }
}
