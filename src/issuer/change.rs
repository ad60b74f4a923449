//! A change of the registry: one write transaction that holds the issuer's head row, so that no token is recorded
//! between the decision and the commit. Its audit entries are in the same commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::domain::audit::{AuditDraft, AuditEvent, chain};
use crate::domain::id::{AgentId, IssuerId};
use crate::domain::settings::{LIFETIME_CEILING_SECONDS, SKEW_SECONDS};
use crate::ports::time::{UnixMillis, UnixTime};
use crate::store::{Head, StoreError, Tx};

use super::directory::Directory;
use super::{Caller, Issuer, IssuerError};

/// What a change touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Touches {
    /// One agent, its credentials or its memberships.
    Agent,
    /// Roles, groups, resources, keys or settings: the policy that every decision rests on.
    Policy,
}

/// A change in progress. Dropping it changes nothing.
pub struct Change {
    /// The transaction; it holds the issuer's head row.
    pub tx: Tx,
    /// The registry version of this change: every row that it writes carries it.
    pub version: i64,
    /// The instant of the change.
    pub at: UnixMillis,
    pub(super) issuer: IssuerId,
    head: Head,
    caller: Caller,
    drafts: Vec<AuditDraft>,
    directory: Option<Arc<Directory>>,
    /// How many rows the transaction had changed when the change began.
    rows_before: u64,
}

impl Change {
    /// Groups, roles and resources as they were when the change first read them.
    pub(super) async fn directory(&mut self) -> Result<Arc<Directory>, StoreError> {
        if let Some(directory) = &self.directory {
            return Ok(Arc::clone(directory));
        }
        let directory = Arc::new(Directory::load(&mut self.tx, &self.issuer).await?);
        self.directory = Some(Arc::clone(&directory));
        Ok(directory)
    }

    /// [`Change::directory`], if the change asked.
    pub(super) fn known_directory(&self) -> Option<Arc<Directory>> {
        self.directory.clone()
    }

    /// True when there is something to commit.
    pub(super) fn is_written(&self) -> bool {
        self.tx.rows_changed() > self.rows_before
    }

    /// The second of the change.
    #[must_use]
    pub fn now(&self) -> UnixTime {
        self.at.seconds()
    }

    /// Marks set by this change end tokens issued up to this moment: the current second, or the `iat` of the
    /// newest recorded token, which a replica whose clock is ahead may have issued. Capped at now plus the longest
    /// lifetime: a clock that was once years ahead does not end the tokens of years to come.
    #[must_use]
    pub fn ends_until(&self) -> UnixTime {
        let now = self.now();
        let latest = now.plus(LIFETIME_CEILING_SECONDS);
        if self.head.newest_iat > now.plus(SKEW_SECONDS) {
            tracing::error!(
                now = now.0,
                newest_iat = self.head.newest_iat.0,
                "a token was recorded with a time in the future; compare the clocks of all processes"
            );
        }
        now.max(self.head.newest_iat.min(latest))
    }
    /// Adds an audit entry. `detail` is a JSON object and holds no secret.
    pub fn audit(
        &mut self,
        event: AuditEvent,
        target: impl Into<String>,
        agent: Option<&AgentId>,
        detail: &impl Serialize,
    ) {
        let actor = self.caller.actor.clone();
        self.drafts.push(AuditDraft {
            target: target.into(),
            agent: agent.cloned(),
            ..self.caller.draft(self.at, event, actor, detail)
        });
    }
}

impl Change {
    /// Records the `jti` of the token that the last audit entry is about.
    pub fn about_token(&mut self, token_id: &str) {
        if let Some(last) = self.drafts.last_mut() {
            last.token_id = Some(token_id.to_owned());
        }
    }
}

impl Issuer {
    /// Begins a change: locks the head row, which orders it against every other change and every token, and
    /// allocates the next registry version.
    ///
    /// # Errors
    /// [`IssuerError::NotAdmitted`] when the administrator whose call this is may no longer do it; when the database
    /// cannot be written.
    pub async fn begin(
        self: &Arc<Self>,
        caller: &Caller,
        touches: Touches,
    ) -> Result<Change, IssuerError> {
        let mut tx = self.store.write().await?;
        let head = tx
            .lock_head(&self.id)
            .await?
            .ok_or_else(|| IssuerError::not_found("issuer", &self.url))?;
        // Read under the lock: everything recorded while this change waited is older than the change.
        let at = self.ports.clock.now_millis();
        self.readmit(&mut tx, caller, at).await?;
        let version = tx
            .bump_registry_version(&self.id, touches == Touches::Policy)
            .await?;
        Ok(Change {
            rows_before: tx.rows_changed(),
            tx,
            version,
            at,
            issuer: self.id.clone(),
            head,
            caller: caller.clone(),
            drafts: Vec::new(),
            directory: None,
        })
    }

    /// Ends a change: commits what it wrote with its audit entries and updates the cache, or rolls back a change
    /// that wrote nothing. Runs to its end even if the caller is dropped.
    ///
    /// # Errors
    /// [`IssuerError::Unconfirmed`] when the commit fails; any other fault before it, and then nothing was changed.
    ///
    /// # Panics
    /// When something was written that is not audited, or audited that was not written.
    pub async fn end(self: &Arc<Self>, change: Change) -> Result<(), IssuerError> {
        let is_written = change.is_written();
        let is_audited = !change.drafts.is_empty();
        assert_eq!(
            is_written, is_audited,
            "what a change writes is audited, and nothing else is"
        );
        if !is_written {
            // Its connection and the issuer's head row are free before the caller continues.
            if let Err(error) = change.tx.rollback().await {
                tracing::debug!(%error, "an empty change could not be rolled back");
            }
            return Ok(());
        }
        let issuer = Arc::clone(self);
        let commit = tokio::spawn(async move {
            let committed = issuer.commit(change).await;
            // Also after a commit that was not confirmed: the database may have it.
            if let Err(error) = issuer.catch_up().await {
                // The change is durable; the ledger notices the newer version before a token leaves.
                tracing::warn!(%error, "the cache could not be brought up to date");
            }
            committed
        });
        match commit.await {
            Ok(result) => result,
            Err(join_error) => Err(IssuerError::Unconfirmed(Box::new(join_error))),
        }
    }

    async fn commit(&self, change: Change) -> Result<(), IssuerError> {
        let Change {
            mut tx,
            head,
            drafts,
            ..
        } = change;
        let entries = chain(self.id.as_str(), head.chain(), drafts);
        if let Some(last) = entries.last() {
            tx.set_head(&self.id, last.into(), None).await?;
        }
        tx.append_audit(&self.id, &entries).await?;
        // A connection that is lost during COMMIT does not tell whether the database committed.
        let committed = tx.commit().await;
        committed.map_err(|error| IssuerError::Unconfirmed(Box::new(error)))
    }

    /// Reads what changed in the database since the last update of the cache.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn catch_up(&self) -> Result<(), StoreError> {
        let known = self.registry.seen();
        // The connection first, then the cache's lock: waiting for a connection while holding the lock could block
        // the pool.
        let mut tx = self.store.read().await?;
        let Some(head) = tx.head(&self.id).await? else {
            return tx.rollback().await;
        };
        if head.registry_version < known {
            // Either this connection shows an old state, or the database was rolled back. Only the lock can tell.
            tx.distrust();
            return self.catch_up_locked().await;
        }
        self.registry
            .refresh(&mut tx, &self.id, &head, &self.sealing)
            .await?;
        tx.rollback().await
    }

    /// [`Issuer::catch_up`] to the newest head, read under the lock.
    async fn catch_up_locked(&self) -> Result<(), StoreError> {
        let mut tx = self.store.write().await?;
        if let Some(head) = tx.lock_head(&self.id).await? {
            self.registry
                .refresh_locked(&mut tx, &self.id, &head, &self.sealing)
                .await?;
        }
        tx.rollback().await
    }

    /// [`Registry::read`](super::cache::Registry::read) of this issuer, used by every operation.
    ///
    /// # Errors
    /// When the database cannot be read, or shows an older state than the cache.
    pub(crate) async fn read(&self) -> Result<(Tx, Head), StoreError> {
        self.registry.read(&self.store, &self.id).await
    }
}

/// Serialises renewals. They are numbered as they start.
#[derive(Debug, Default)]
pub(crate) struct Renewals {
    started: AtomicU64,
    /// The last one that succeeded.
    done: AtomicU64,
    /// The last one that failed.
    failed: AtomicU64,
    running: tokio::sync::Mutex<()>,
}

impl Issuer {
    /// Everything decided from here on is at least as new as this registry version.
    #[must_use]
    pub fn registry_version(&self) -> i64 {
        self.registry.seen()
    }

    /// Updates the cache from the database before a request is rejected, so that a right granted a moment ago on
    /// another replica works at once. One read runs at a time. Requests that arrive while one runs share the next,
    /// including its failure, so that a flood of rejections does not cause a flood of reads. True when the cache
    /// is now newer than `basis`, which the rejection rests on.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn renew(&self, basis: i64) -> Result<bool, StoreError> {
        let renewals = &self.renewals;
        let started_before = renewals.started.load(Ordering::Acquire);
        let _running = renewals.running.lock().await;
        // A renewal that started after this request arrived has ended: it saw everything this request needs. A
        // renewal whose request was dropped set neither number, so another runs.
        if renewals.done.load(Ordering::Acquire) > started_before {
            return Ok(self.registry.seen() > basis);
        }
        if renewals.failed.load(Ordering::Acquire) > started_before {
            return Err(StoreError::Unavailable(
                "the read that was shared with other requests failed".into(),
            ));
        }
        let number = renewals.started.fetch_add(1, Ordering::AcqRel) + 1;
        let outcome = self.catch_up().await;
        let last = if outcome.is_ok() {
            &renewals.done
        } else {
            &renewals.failed
        };
        last.store(number, Ordering::Release);
        outcome?;
        Ok(self.registry.seen() > basis)
    }
}
