//! Whether a token could be issued now, proven: the ledger is kept, keys sign, a write is committed and a reader
//! sees it. A rolled back write proves nothing: SQLite does not touch the disk before it commits.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::store::StoreError;

use super::{Issuer, keyring, mint};

/// How long a proof counts. Each is a durable write, and anyone who reaches the private listener may ask.
const COUNTS_FOR: Duration = Duration::from_secs(1);
/// Longest wait for an answer: readiness checks give up soon after.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Why no token could be issued now: one reason in plain words, without secrets.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotReady {
    /// The innermost cause.
    pub reason: String,
}

type Proof = Result<(), NotReady>;

/// How long a failed batch of the ledger counts when none follows it.
const FAILURE_COUNTS_FOR: Duration = Duration::from_secs(5);

/// The last proof and the one under way, shared by all who ask, and what became of the ledger's last batch.
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
    /// Whether a token could be issued now. Writes to the database at most once a second, however many ask, and
    /// answers within two seconds, whether or not the database does.
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

    /// The proof to wait for, begun if there is none; or the last one, while it counts.
    fn proof_under_way(self: &Arc<Self>) -> Result<watch::Receiver<Option<Proof>>, Proof> {
        let mut proofs = self.readiness.lock();
        // One whose task ended without an answer is not waited for.
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
        // Its own task: it goes on, and is shared, when those who asked have gone.
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

    /// Commits a write under the issuer's head row and reads it back as everything else is read.
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

    /// Notes what became of a batch of the ledger: the proof writes a table of its own, and a lock or a fault of
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
