//! The ledger: the only way a token leaves, and the one way in which a client's request commits anything.
//!
//! One task per process gathers the records that queued while the previous commit ran and writes them in one
//! transaction: judged against the registry and the revocations as they are at that moment, their assertions
//! marked as used, their audit entries chained. A batch is judged with two look-ups, and on
//! PostgreSQL it is one insert a table: the same few ways to the server whatever its size, up to 256 rows.
//! Then each waiting request gets its own verdict. A token that is not recorded is dropped unseen.
//!
//! Refusals are written here too, as `refusals/` has counted and folded them; no request waits for them.

mod batch;
mod record;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::domain::id::IssuerId;

use super::Issuer;
use super::mint::{IssuedToken, Minted};
use super::refusals::{Refusal, Refusals};
use super::single_use::Spent;

pub(super) use record::Record;

/// Issuances that may wait: at 64 a commit, 64 commits' worth; more means the disk is not keeping up.
const QUEUE: usize = 4096;
/// Most issuances in one commit: past it a longer transaction saves nothing more.
const BATCH: usize = 256;
/// Entries of refusals that may wait; further ones are lost, and their number is recorded later.
const REFUSAL_QUEUE: usize = 4096;

/// What became of an issuance.
#[derive(Debug)]
pub enum Outcome {
    /// It is durable: the token may leave.
    Recorded(IssuedToken),
    /// What it was decided on has changed: decide again.
    Stale,
    /// Something that is accepted once was used before.
    Replayed(Spent),
    /// The token that it is made from was revoked.
    Revoked,
    /// It could not be recorded: nothing leaves.
    Unavailable,
}

/// What became of a [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is durable.
    Recorded,
    /// It is durable but for the end of its token, which was ended before.
    EndedBefore,
    /// What it was decided on has changed.
    Stale,
    /// Something that is accepted once was used before.
    Replayed(Spent),
    /// The token that a new one is made from is ended.
    Revoked,
    /// It could not be recorded.
    Unavailable,
}

struct Request {
    issuer: Arc<Issuer>,
    record: Record,
    reply: oneshot::Sender<Verdict>,
}

/// The sending side; cheap to clone.
#[derive(Clone)]
pub struct Ledger {
    requests: mpsc::Sender<Request>,
    refusal_queue: mpsc::Sender<Refusal>,
    refusals: Arc<Refusals>,
    stop: Arc<tokio::sync::Notify>,
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}

/// The receiving side, to be run by one task.
pub struct LedgerTask {
    requests: mpsc::Receiver<Request>,
    refusals: mpsc::Receiver<Refusal>,
    stop: Arc<tokio::sync::Notify>,
}

impl fmt::Debug for LedgerTask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LedgerTask")
    }
}

/// A ledger and the task that keeps it.
#[must_use]
pub fn ledger() -> (Ledger, LedgerTask) {
    let (request_sender, requests) = mpsc::channel(QUEUE);
    let (refusal_sender, refusals) = mpsc::channel(REFUSAL_QUEUE);
    let stop = Arc::new(tokio::sync::Notify::new());
    let ledger = Ledger {
        requests: request_sender,
        refusal_queue: refusal_sender,
        refusals: Arc::default(),
        stop: Arc::clone(&stop),
    };
    (
        ledger,
        LedgerTask {
            requests,
            refusals,
            stop,
        },
    )
}

impl Ledger {
    /// Asks the task to write what is queued and end.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// False once the task that keeps it has ended: no token can leave.
    pub(super) fn is_kept(&self) -> bool {
        !self.requests.is_closed()
    }

    /// The refusals that are counted and folded.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Queues the entry of a refusal; false when too many wait.
    pub(super) fn queue_refusal(&self, refusal: Refusal) -> bool {
        self.refusal_queue.try_send(refusal).is_ok()
    }
}

impl Issuer {
    /// Records what was minted. The token comes back only when its audit entry is durable.
    pub async fn record(self: &Arc<Self>, minted: Minted) -> Outcome {
        let (record, issued) = minted.into_record();
        match self.commit_record(record).await {
            Verdict::Recorded | Verdict::EndedBefore => Outcome::Recorded(issued),
            Verdict::Stale => Outcome::Stale,
            Verdict::Replayed(what) => Outcome::Replayed(what),
            Verdict::Revoked => Outcome::Revoked,
            Verdict::Unavailable => Outcome::Unavailable,
        }
    }

    /// Commits a record, together with those of other requests.
    pub(super) async fn commit_record(self: &Arc<Self>, record: Record) -> Verdict {
        let (reply, verdict) = oneshot::channel();
        let request = Request {
            issuer: Arc::clone(self),
            record,
            reply,
        };
        // A full queue is overload: refused at once instead of waiting for a time-out.
        if self.ledger.requests.try_send(request).is_err() {
            return Verdict::Unavailable;
        }
        verdict.await.unwrap_or(Verdict::Unavailable)
    }
}

impl LedgerTask {
    /// Keeps the ledger until [`Ledger::stop`], then writes what is queued and ends.
    pub async fn run(mut self) {
        let mut requests = Vec::with_capacity(BATCH);
        let mut refusals = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                _ = self.requests.recv_many(&mut requests, BATCH) => {}
                _ = self.refusals.recv_many(&mut refusals, BATCH) => {}
                () = self.stop.notified() => {
                    self.requests.close();
                    self.refusals.close();
                }
            }
            while requests.len() < BATCH
                && let Ok(request) = self.requests.try_recv()
            {
                requests.push(request);
            }
            while refusals.len() < BATCH
                && let Ok(refusal) = self.refusals.try_recv()
            {
                refusals.push(refusal);
            }
            if requests.is_empty() && refusals.is_empty() && self.requests.is_closed() {
                return;
            }
            let batch = (std::mem::take(&mut requests), std::mem::take(&mut refusals));
            // Its own task: a panic in one batch answers its callers with `Unavailable` and no more.
            if let Err(error) = tokio::spawn(record_batch(batch.0, batch.1)).await {
                tracing::error!(%error, "a ledger batch ended abnormally");
            }
        }
    }
}

/// Records a batch, one transaction per issuer, in id order.
async fn record_batch(requests: Vec<Request>, refusals: Vec<Refusal>) {
    let mut by_issuer = BTreeMap::<IssuerId, (Arc<Issuer>, Vec<Request>, Vec<Refusal>)>::new();
    for request in requests {
        let issuer = Arc::clone(&request.issuer);
        by_issuer
            .entry(issuer.id.clone())
            .or_insert_with(|| (issuer, Vec::new(), Vec::new()))
            .1
            .push(request);
    }
    for refusal in refusals {
        let issuer = Arc::clone(&refusal.issuer);
        by_issuer
            .entry(issuer.id.clone())
            .or_insert_with(|| (issuer, Vec::new(), Vec::new()))
            .2
            .push(refusal);
    }
    for (issuer, mut requests, refusals) in by_issuer.into_values() {
        let refused = refusals.iter().map(|refusal| refusal.stands_for).sum();
        let refusals = refusals.into_iter().map(|refusal| refusal.draft).collect();
        let recorded = issuer.record_together(&mut requests, refusals).await;
        issuer.readiness.note_batch(recorded.as_ref().map(|_| ()));
        let verdicts = recorded.unwrap_or_else(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                lost_refusals = refused,
                "the ledger could not be written; nothing was released"
            );
            issuer.lose_refusals(refused);
            vec![Verdict::Unavailable; requests.len()]
        });
        for (request, verdict) in requests.into_iter().zip(verdicts) {
            // A caller that went away meanwhile gets nothing; its token stays recorded and unseen.
            let _ = request.reply.send(verdict);
        }
    }
}
