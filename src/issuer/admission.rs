//! Lets a client that proved itself ask for something other than a token: judges, by the database, what its
//! proof rests on, and uses up its assertion. An assertion is used up in the ledger's batch, as those of
//! token requests are; what leaves no mark is only read.

use std::sync::Arc;

use crate::store::{Head, StoreError, Tx};

use super::Issuer;
use super::authenticate::AuthenticatedClient;
use super::authorize::{Basis, ConcernedAgent};
use super::ledger::{Record, Verdict};
use super::mint::token_id;
use super::single_use::Spent;

/// Whether a client is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is; its assertion, if it used one, is used up.
    Admitted,
    /// What its proof rests on has changed: authenticate it again.
    Stale,
    /// What it proved itself with was used before.
    Replayed(Spent),
}

impl Issuer {
    /// Lets a client in. An assertion is marked as used under the issuer's head row, so that it is good
    /// once on all processes and at all endpoints together (RFC 7523 §3 item 7).
    ///
    /// # Errors
    /// When the database cannot be read, or for an assertion written.
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

    /// What the ledger records of a client's proof alone: its assertion, if it used one.
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
