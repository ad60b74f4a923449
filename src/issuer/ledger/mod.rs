//! The ledger: the only way a token is released, and the only way a client's request commits anything.
//!
//! One task per process gathers the records that queued during the previous commit and writes them in one
//! transaction: checked against the current registry and revocations, their assertions marked as used, their audit
//! entries chained. Checking a batch costs two look-ups. On PostgreSQL a batch is one insert per table, up to 256
//! rows each, so the number of round trips does not depend on its size. Then each waiting request gets its own
//! verdict. A token that is not recorded is dropped and never released.
//!
//! Refusals are written here too, as `refusals/` has counted and folded them. No request waits for them.

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

/// Issuances that may wait: 64 commits of 64 each. More means that the disk is too slow.
const QUEUE: usize = 4096;
/// Most issuances in one commit: a longer transaction saves nothing more.
const BATCH: usize = 256;
/// Refusal entries that may wait. Further entries are lost, and their number is recorded later.
const REFUSAL_QUEUE: usize = 4096;

/// The result of an issuance.
#[derive(Debug)]
pub enum Outcome {
    /// It is durable: the token may be released.
    Recorded(IssuedToken),
    /// What the decision rests on has changed: decide again.
    Stale,
    /// A single-use assertion, token or proof was used before.
    Replayed(Spent),
    /// The subject token was revoked.
    Revoked,
    /// It could not be recorded: no token is released.
    Unavailable,
}

/// The result for a [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is durable.
    Recorded,
    /// It is durable, except that its token had already ended.
    EndedBefore,
    /// What the decision rests on has changed.
    Stale,
    /// A single-use assertion, token or proof was used before.
    Replayed(Spent),
    /// The subject token is ended.
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

/// The receiving side, run by one task.
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

/// A ledger and the task that runs it.
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
    /// Asks the task to write what is queued and then end.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// False once the task has ended: no token can be released.
    pub(super) fn is_kept(&self) -> bool {
        !self.requests.is_closed()
    }

    /// The refusals that are counted and folded.
    pub(super) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Queues a refusal entry; false when too many wait.
    pub(super) fn queue_refusal(&self, refusal: Refusal) -> bool {
        self.refusal_queue.try_send(refusal).is_ok()
    }
}

impl Issuer {
    /// Records minted tokens. They are returned only when their audit entry is durable.
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
        // A full queue is overload: reject at once instead of waiting for a time-out.
        if self.ledger.requests.try_send(request).is_err() {
            return Verdict::Unavailable;
        }
        verdict.await.unwrap_or(Verdict::Unavailable)
    }
}

impl LedgerTask {
    /// Runs the ledger until [`Ledger::stop`], then writes what is queued and ends.
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
            // In its own task, so that a panic in one batch only makes its callers get `Unavailable`.
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
            // A caller that went away gets nothing; its token stays recorded and is never released.
            let _ = request.reply.send(verdict);
        }
    }
}
