//! Admits an authenticated client to an endpoint that issues no token: checks in the database that what its proof
//! rests on is unchanged, and marks its assertion as used. The mark is set in the ledger's batch, as for token
//! requests. A client without an assertion causes reads only.

use std::sync::Arc;

use crate::store::{Head, StoreError, Tx};

use super::Issuer;
use super::authenticate::AuthenticatedClient;
use super::authorize::{Basis, ConcernedAgent};
use super::ledger::{Record, Verdict};
use super::mint::token_id;
use super::single_use::Spent;

/// Whether a client is admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is. Its assertion, if it used one, is marked as used.
    Admitted,
    /// What its proof rests on has changed: authenticate it again.
    Stale,
    /// Its assertion or proof was used before.
    Replayed(Spent),
}

impl Issuer {
    /// Admits a client. Its assertion is marked as used under the issuer's head row, so that all processes and
    /// endpoints together accept it once (RFC 7523 §3 item 7).
    ///
    /// # Errors
    /// When the database cannot be read, or an assertion's mark cannot be written.
    pub(crate) async fn admit(
        self: &Arc<Self>,
        client: &AuthenticatedClient,
    ) -> Result<Admission, StoreError> {
        if client.spends().is_some() {
            return match self.commit_record(self.record_of(client)).await {
                Verdict::Recorded | Verdict::EndedBefore => Ok(Admission::Admitted),
                Verdict::Stale => Ok(Admission::Stale),
                Verdict::Replayed(what) => Ok(Admission::Replayed(what)),
                Verdict::Revoked | Verdict::Unavailable => Err(StoreError::Unavailable(
                    "the ledger did not record the assertion".into(),
                )),
            };
        }
        let (mut tx, head) = self.read().await?;
        self.registry
            .refresh(&mut tx, &self.id, &head, &self.sealing)
            .await?;
        let is_stale = self.is_stale(&mut tx, &head, client).await?;
        tx.rollback().await?;
        Ok(if is_stale {
            Admission::Stale
        } else {
            Admission::Admitted
        })
    }

    /// What the ledger records for authentication alone: the assertion, if one was used.
    pub(super) fn record_of(&self, client: &AuthenticatedClient) -> Record {
        Record {
            basis: Basis {
                version: client.basis(),
                agents: vec![ConcernedAgent::of(&client.aggregate().agent)],
            },
            id: token_id(self.ports.clock.now_millis(), &*self.ports.random),
            spends: client.spends().into_iter().collect(),
            ..Record::default()
        }
    }

    /// Whether the agent, or the policy that its proof may rest on, has changed since it was verified.
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
        // A basis newer than the head means that the database was rolled back.
        if basis > head.registry_version || head.policy_version > basis {
            return Ok(true);
        }
        let version = tx
            .agent_version(&self.id, &client.aggregate().agent.id)
            .await?;
        Ok(version.is_none_or(|version| version > basis))
    }
}
