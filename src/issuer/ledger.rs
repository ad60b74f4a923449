//! The ledger: the only way a token leaves, and the one way in which a client's request commits anything.
//!
//! One task per process gathers the records that queued while the previous commit ran and writes them in one
//! transaction: judged against the registry and the revocations as they are at that moment, their assertions
//! marked as used, their audit entries chained. A batch is judged with two look-ups, and on
//! PostgreSQL it is one insert a table: the same few ways to the server whatever its size, up to 256 rows.
//! Then each waiting request gets its own verdict. A token that is not recorded is dropped unseen.
//!
//! Refusals are written here too, as `refusals.rs` has counted and folded them; no request waits for them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::domain::audit::{AuditDraft, chain};
use crate::domain::id::IssuerId;
use crate::ports::time::UnixTime;
use crate::store::{Head, LineageRow, RevokedToken, StoreError, Tx, UsedAssertion};

use super::Issuer;
use super::authorize::Basis;
use super::line::{Endings, Line};
use super::mint::{IssuedToken, Minted};
use super::refusals::{Refusal, Refusals};
use super::single_use::{Spent, SpentAssertion};

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
    /// Something that is taken once was used before.
    Replayed(Spent),
    /// The token that it is made from was revoked.
    Revoked,
    /// It could not be recorded: nothing leaves.
    Unavailable,
}

/// What one request commits: all of it, or nothing.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// What was decided on.
    pub(super) basis: Basis,
    /// A number that no other record has: the `jti` of the token, if there is one.
    pub(super) id: String,
    /// Marked as used.
    pub(super) spends: Vec<SpentAssertion>,
    /// The token that a new one is made from: nothing on its line may be ended.
    pub(super) made_from: Option<Line>,
    /// What is noted of where a new token comes from.
    pub(super) lineage: Vec<LineageRow>,
    /// The `iat` of a new token.
    pub(super) issued_at: Option<UnixTime>,
    /// A token to end.
    pub(super) ends: Option<RevokedToken>,
    /// The audit entries.
    pub(super) drafts: Vec<AuditDraft>,
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
    /// Something that is taken once was used before.
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

    /// False once the task that keeps it has ended: no token can leave any more.
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

impl Issuer {
    /// One transaction: judge, mark, chain, commit. Verdicts are in the order of the requests.
    async fn record_together(
        &self,
        requests: &mut [Request],
        refusals: Vec<AuditDraft>,
    ) -> Result<Vec<Verdict>, StoreError> {
        let mut tx = self.store.write().await?;
        let head = tx
            .lock_head(&self.id)
            .await?
            .ok_or_else(|| StoreError::corrupt("the issuer's head row is missing"))?;
        self.registry
            .refresh_locked(&mut tx, &self.id, &head, &self.sealing)
            .await?;
        let mut verdicts = self.judge(&mut tx, &head, requests).await?;
        self.mark_assertions(&mut tx, requests, &mut verdicts)
            .await?;
        let ended = self.write_ends(&mut tx, requests, &mut verdicts).await?;
        let mut lineage = Vec::new();
        let mut drafts = Vec::new();
        let mut newest_iat = None;
        for (request, verdict) in requests.iter_mut().zip(&verdicts) {
            if *verdict == Verdict::Recorded {
                lineage.append(&mut request.record.lineage);
                drafts.append(&mut request.record.drafts);
                newest_iat = newest_iat.max(request.record.issued_at);
            }
        }
        tx.insert_lineage(&self.id, &lineage).await?;
        drafts.extend(refusals);
        let entries = chain(self.id.as_str(), head.chain(), drafts);
        if let Some(last) = entries.last() {
            tx.append_audit(&self.id, &entries).await?;
            tx.set_head(&self.id, last.into(), newest_iat).await?;
        }
        tx.commit().await?;
        if ended {
            self.kept_list.is_outdated();
        }
        Ok(verdicts)
    }

    /// Under the head row: is everything that each decision rests on still as it was?
    async fn judge(
        &self,
        tx: &mut Tx,
        head: &Head,
        requests: &[Request],
    ) -> Result<Vec<Verdict>, StoreError> {
        let versions = self.versions(tx, head, requests).await?;
        let mut verdicts: Vec<Verdict> = requests
            .iter()
            .map(|request| {
                if request.reply.is_closed() {
                    // Its caller is gone: a token that cannot leave is not recorded, and its assertion stays
                    // good for the client's next attempt.
                    Verdict::Unavailable
                } else if is_current(head, &request.record.basis, &versions) {
                    Verdict::Recorded
                } else {
                    Verdict::Stale
                }
            })
            .collect();
        let current = || {
            requests
                .iter()
                .zip(&verdicts)
                .filter(|(_, verdict)| **verdict == Verdict::Recorded)
                .map(|(request, _)| &request.record)
        };
        let lines: Vec<&Line> = current()
            .filter_map(|record| record.made_from.as_ref())
            .collect();
        if lines.is_empty() {
            return Ok(verdicts);
        }
        let endings = Endings::read(tx, &self.id, &lines, &[]).await?;
        for (request, verdict) in requests.iter().zip(&mut verdicts) {
            if *verdict == Verdict::Recorded
                && let Some(line) = &request.record.made_from
                && endings.have_ended(line)
            {
                *verdict = Verdict::Revoked;
            }
        }
        Ok(verdicts)
    }

    /// The versions of the agents that a decision older than the registry rests on, in one statement.
    async fn versions(
        &self,
        tx: &mut Tx,
        head: &Head,
        requests: &[Request],
    ) -> Result<HashMap<String, i64>, StoreError> {
        let mut versions = HashMap::new();
        let mut unknown = BTreeSet::new();
        let older = requests
            .iter()
            .map(|request| &request.record.basis)
            .filter(|basis| basis.version < head.registry_version);
        for agent in older.flat_map(|basis| &basis.agents) {
            match self.registry.cached_version(&agent.name) {
                Some(version) => {
                    versions.insert(agent.id.as_str().to_owned(), version);
                }
                None => {
                    unknown.insert(agent.id.as_str());
                }
            }
        }
        let unknown: Vec<&str> = unknown.into_iter().collect();
        let read = tx.agent_versions(&self.id, &unknown).await?;
        versions.extend(
            read.into_iter()
                .map(|(id, version)| (id.as_str().to_owned(), version)),
        );
        Ok(versions)
    }

    /// Writes the ends of tokens; whether there was one that had not ended before.
    async fn write_ends(
        &self,
        tx: &mut Tx,
        requests: &[Request],
        verdicts: &mut [Verdict],
    ) -> Result<bool, StoreError> {
        let wanted: Vec<&str> = requests
            .iter()
            .filter_map(|request| Some(request.record.ends.as_ref()?.token_id.as_str()))
            .collect();
        if wanted.is_empty() {
            return Ok(false);
        }
        let endings = Endings::read(tx, &self.id, &[], &wanted).await?;
        let mut in_batch = HashSet::new();
        let mut ends = Vec::new();
        for (request, verdict) in requests.iter().zip(verdicts) {
            if *verdict == Verdict::Recorded
                && let Some(token) = &request.record.ends
            {
                if !endings.is_revoked(&token.token_id) && in_batch.insert(&token.token_id) {
                    ends.push(token.clone());
                } else {
                    *verdict = Verdict::EndedBefore;
                }
            }
        }
        tx.revoke_tokens(&self.id, &ends).await?;
        Ok(!ends.is_empty())
    }

    /// Marks the assertions of what is to be recorded; those that were used before are replays.
    async fn mark_assertions(
        &self,
        tx: &mut Tx,
        requests: &[Request],
        verdicts: &mut [Verdict],
    ) -> Result<(), StoreError> {
        let mut in_batch = HashSet::new();
        let mut marks = Vec::new();
        for (request, verdict) in requests.iter().zip(verdicts.iter_mut()) {
            if *verdict != Verdict::Recorded {
                continue;
            }
            let spends = &request.record.spends;
            if let Some(spent) = spends.iter().find(|spent| in_batch.contains(&spent.digest)) {
                *verdict = Verdict::Replayed(spent.what);
                continue;
            }
            for spent in spends {
                if in_batch.insert(spent.digest) {
                    marks.push(UsedAssertion {
                        digest: spent.digest,
                        token_id: request.record.id.clone(),
                        expires_at: spent.expires_at,
                    });
                }
            }
        }
        if marks.is_empty() {
            return Ok(());
        }
        let marked = tx.insert_used_assertions(&self.id, &marks).await?;
        if marked == marks.len() as u64 {
            return Ok(());
        }
        let digests: Vec<[u8; 16]> = marks.iter().map(|mark| mark.digest).collect();
        let token_ids: Vec<String> = marks.into_iter().map(|mark| mark.token_id).collect();
        let won: HashSet<[u8; 16]> = tx
            .used_assertion_winners(&self.id, &token_ids, &digests)
            .await?
            .into_iter()
            .collect();
        for (request, verdict) in requests.iter().zip(verdicts.iter_mut()) {
            // One that won a mark and lost another leaves the first used: its bearer showed it.
            if *verdict == Verdict::Recorded
                && let Some(lost) = request
                    .record
                    .spends
                    .iter()
                    .find(|spent| !won.contains(&spent.digest))
            {
                *verdict = Verdict::Replayed(lost.what);
            }
        }
        Ok(())
    }
}

fn is_current(head: &Head, basis: &Basis, versions: &HashMap<String, i64>) -> bool {
    if basis.version == head.registry_version {
        return true;
    }
    // A basis newer than the head is one that the database lost.
    if basis.version > head.registry_version || head.policy_version > basis.version {
        return false;
    }
    basis.agents.iter().all(|agent| {
        versions
            .get(agent.id.as_str())
            .is_some_and(|version| *version <= basis.version)
    })
}
