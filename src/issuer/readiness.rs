//! Proves whether a token could be issued now: the ledger runs, keys sign, a write is committed and a reader sees
//! it. A write that is rolled back proves nothing: SQLite does not touch the disk before a commit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::store::StoreError;

use super::{Issuer, keyring, mint};

/// How long a proof is reused. Each is a durable write, and anyone who reaches the private listener may request
/// one.
const COUNTS_FOR: Duration = Duration::from_secs(1);
/// Longest wait for the proof: readiness checks time out soon after.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Why no token could be issued now: one reason in plain words, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotReady {
    /// The innermost cause.
    pub reason: String,
}

type Proof = Result<(), NotReady>;

/// How long a failed batch of the ledger counts if no other follows.
const FAILURE_COUNTS_FOR: Duration = Duration::from_secs(5);

/// The last proof and the running one, shared by all callers, and the result of the ledger's last batch.
#[derive(Debug, Default)]
pub(crate) struct Readiness {
    proofs: Mutex<Proofs>,
    failed_batch: Mutex<Option<(Instant, NotReady)>>,
}

#[derive(Debug, Default)]
struct Proofs {
    last: Option<(Instant, Proof)>,
    running: Option<watch::Receiver<Option<Proof>>>,
}

impl Issuer {
    /// Whether a token could be issued now. Writes to the database at most once a second, however many callers
    /// ask, and returns within two seconds, even if the database does not respond.
    ///
    /// # Errors
    /// [`NotReady`] with the reason.
    pub async fn check_ready(self: &Arc<Self>) -> Result<(), NotReady> {
        if !self.ledger.is_kept() {
            return Err(not_ready("the ledger has ended"));
        }
        let policy = self.policy();
        let missing = keyring::SIGNED_WITH
            .into_iter()
            .find(|algorithm| policy.keyring.active(*algorithm).is_none());
        if let Some(algorithm) = missing {
            return Err(not_ready(mint::MintError::NoKey(algorithm)));
        }
        let mut running = match self.proof_under_way() {
            Ok(running) => running,
            Err(last) => return last.and_then(|()| self.readiness.last_batch()),
        };
        let answer = running.wait_for(Option::is_some);
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(proof)) => proof
                .clone()
                .unwrap_or(Ok(()))
                .and_then(|()| self.readiness.last_batch()),
            Ok(Err(_)) => Err(not_ready("the check ended abnormally")),
            Err(_) => Err(not_ready(
                "the database did not answer within 2 seconds; another program may be holding its lock",
            )),
        }
    }

    /// The running proof to wait for, started if none is running; or the last one, while it is reused.
    fn proof_under_way(self: &Arc<Self>) -> Result<watch::Receiver<Option<Proof>>, Proof> {
        let mut proofs = self.readiness.lock();
        // A proof whose task ended without a result is not waited for.
        if let Some(running) = &proofs.running
            && running.has_changed().is_ok()
        {
            return Ok(running.clone());
        }
        if let Some((at, last)) = &proofs.last
            && at.elapsed() < COUNTS_FOR
        {
            return Err(last.clone());
        }
        let (answer, running) = watch::channel(None);
        proofs.running = Some(running.clone());
        let issuer = Arc::clone(self);
        // In its own task, so that it continues and is shared when its callers have gone.
        tokio::spawn(async move {
            let proof = issuer.prove_write().await;
            let proof = proof.map_err(|error| not_ready(error.reason()));
            let mut proofs = issuer.readiness.lock();
            proofs.last = Some((Instant::now(), proof.clone()));
            proofs.running = None;
            answer.send_replace(Some(proof));
        });
        Ok(running)
    }

    /// Commits a write under the issuer's head row and reads it back as every other operation reads.
    async fn prove_write(&self) -> Result<(), StoreError> {
        let missing = || StoreError::corrupt("the issuer's head row is missing");
        let mut tx = self.store.write().await?;
        let head = tx.lock_head(&self.id).await?.ok_or_else(missing)?;
        self.registry
            .refresh_locked(&mut tx, &self.id, &head, &self.sealing)
            .await?;
        let written = tx.prove_write(&self.id).await?;
        tx.commit().await?;
        let (mut tx, _) = self.read().await?;
        let read = tx.write_proof(&self.id).await?;
        if read.is_none_or(|read| read < written) {
            tx.distrust();
            return Err(StoreError::Unavailable(
                "a reader does not see what was just written".into(),
            ));
        }
        tx.rollback().await
    }
}

impl Readiness {
    fn lock(&self) -> std::sync::MutexGuard<'_, Proofs> {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records the result of a batch of the ledger: the proof writes its own table, so a lock or a fault of
    /// another table would not show in it.
    pub(crate) fn note_batch(&self, outcome: Result<(), &StoreError>) {
        let failed = outcome
            .err()
            .map(|error| (Instant::now(), not_ready(error.reason())));
        *self
            .failed_batch
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = failed;
    }

    fn last_batch(&self) -> Proof {
        let failed = self
            .failed_batch
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match failed.as_ref() {
            Some((at, reason)) if at.elapsed() < FAILURE_COUNTS_FOR => Err(reason.clone()),
            Some(_) | None => Ok(()),
        }
    }
}

fn not_ready(reason: impl ToString) -> NotReady {
    NotReady {
        reason: reason.to_string(),
    }
}
