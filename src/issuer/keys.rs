//! The administrators' verbs for signing keys: list, rotate, activate, revoke. Their automatic life cycle is in
//! `rotation.rs`.

use std::sync::Arc;

use crate::domain::Invalid;
use crate::domain::audit::{AuditEvent, KeyDetail};
use crate::domain::key_consumer::{KeyConsumer, waiting_for};
use crate::domain::name::{Name, listed};
use crate::domain::remedy::Remedy;
use crate::domain::signing_key::{KeyState, SigningKeyRecord, activates_at};
use crate::domain::text;
use crate::jose::algorithm::SigningAlgorithm;
use crate::jose::key::SigningKey;
use crate::ports::time::UnixTime;
use crate::store::StoredKey;

use super::change::{Change, Touches};
use super::keyring::SIGNED_WITH;
use super::rotation::{PUBLISH_AHEAD_SECONDS, Reason, generate, is_active};
use super::{Caller, Issuer, IssuerError};

/// A key as administrators see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// The key without its private half.
    pub record: SigningKeyRecord,
    /// When a prepared key starts signing unless a consumer delays it.
    pub activates_at: Option<UnixTime>,
    /// The key consumers that a prepared key waits for.
    pub waiting_for: Vec<Name>,
}

impl KeyView {
    fn of(record: SigningKeyRecord, consumers: &[KeyConsumer]) -> Self {
        if !matches!(record.state, KeyState::Prepared) {
            return Self {
                record,
                activates_at: None,
                waiting_for: Vec::new(),
            };
        }
        Self {
            activates_at: Some(activates_at(&record, PUBLISH_AHEAD_SECONDS)),
            waiting_for: waiting_for(&record.kid, consumers),
            record,
        }
    }
}

/// The result of revoking a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedKey {
    /// The revoked key.
    pub revoked: KeyView,
    /// The key that signs now.
    pub active: KeyView,
    /// Key consumers whose copy is outdated: it still has the revoked key, or lacks the one that signs.
    pub stale_consumers: Vec<Name>,
}

impl Issuer {
    /// All keys, retired and revoked ones included, the newest last.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn keys(&self) -> Result<Vec<KeyView>, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let keys = tx.keys(&self.id).await?;
        let consumers = tx.key_consumers(&self.id).await?;
        tx.rollback().await?;
        let views = keys
            .into_iter()
            .map(|key| KeyView::of(key.record, &consumers));
        Ok(views.collect())
    }

    /// Prepares a new key for `algorithm`, or for each algorithm. It is published at once. It starts signing
    /// after [`PUBLISH_AHEAD_SECONDS`], once every key consumer has acknowledged it.
    ///
    /// # Errors
    /// [`IssuerError::Conflict`] when one is already prepared, [`IssuerError::Unavailable`] when the
    /// key cannot be generated or stored.
    pub async fn rotate_keys(
        self: &Arc<Self>,
        caller: &Caller,
        algorithm: Option<SigningAlgorithm>,
    ) -> Result<Vec<KeyView>, IssuerError> {
        let algorithms = match algorithm {
            Some(algorithm) if !SIGNED_WITH.contains(&algorithm) => {
                return Err(Invalid::new("algorithm", "must be `ES256` or `RS256`").into());
            }
            Some(algorithm) => vec![algorithm],
            None => SIGNED_WITH.to_vec(),
        };
        let mut made = Vec::new();
        for algorithm in algorithms {
            // Outside the transaction: generating an RSA key takes a second.
            made.push(generate(algorithm).await?);
        }
        let mut change = self.begin(caller, Touches::Policy).await?;
        let consumers = change.tx.key_consumers(&self.id).await?;
        let mut views = Vec::new();
        for key in made {
            let inserted = self
                .insert_key(&mut change, &key, KeyState::Prepared)
                .await?;
            let Some(record) = inserted else {
                let keys = change.tx.keys(&self.id).await?;
                return Err(already_prepared(key.algorithm(), &keys, &consumers));
            };
            views.push(KeyView::of(record, &consumers));
        }
        self.end(change).await?;
        Ok(views)
    }

    /// Revokes a key at once: it leaves the JWKS and its private half is erased. If it was signing, its
    /// replacement (the prepared key, or a new one) starts signing at once, even where a consumer lacks it.
    /// Tokens that it signed stop verifying.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], [`IssuerError::Conflict`] when it is no longer published, or when the
    /// database cannot be written.
    pub async fn revoke_key(
        self: &Arc<Self>,
        caller: &Caller,
        kid: &str,
        reason: &str,
    ) -> Result<RevokedKey, IssuerError> {
        let reason = text::filled_line("reason", reason, 256)?;
        let known = self
            .keys()
            .await?
            .into_iter()
            .find(|key| key.record.kid == kid)
            .ok_or_else(|| IssuerError::not_found("key", kid))?;
        let spare = generate(known.record.algorithm).await?;
        let mut change = self.begin(caller, Touches::Policy).await?;
        let records = self.records(&mut change).await?;
        let consumers = change.tx.key_consumers(&self.id).await?;
        let record = records
            .iter()
            .find(|record| record.kid == kid && record.state.is_published())
            .ok_or_else(|| {
                IssuerError::conflict(format!("key `{kid}` is already retired from the JWKS"))
            })?;
        let at = change.now();
        let revoked = self
            .move_key(&mut change, record, KeyState::Revoked { at })
            .await?;
        let target = format!("key:{kid}");
        let detail = KeyDetail::revoked(record.algorithm, record.state.as_str(), &reason);
        change.audit(AuditEvent::KeyRevoked, target, None, &detail);
        let peers: Vec<_> = records
            .iter()
            .filter(|peer| peer.algorithm == record.algorithm && peer.kid != record.kid)
            .collect();
        let active = self.successor(&mut change, &peers, &spare).await?;
        self.end(change).await?;
        let is_stale =
            |consumer: &&KeyConsumer| consumer.holds(kid) || !consumer.holds(&active.kid);
        let stale = consumers.iter().filter(is_stale);
        Ok(RevokedKey {
            stale_consumers: stale.map(|consumer| consumer.name.clone()).collect(),
            revoked: KeyView::of(revoked, &consumers),
            active: KeyView::of(active, &consumers),
        })
    }

    /// The key that signs once another is revoked: the active one, the prepared one, or the spare.
    async fn successor(
        &self,
        change: &mut Change,
        peers: &[&SigningKeyRecord],
        spare: &SigningKey,
    ) -> Result<SigningKeyRecord, IssuerError> {
        let active = peers.iter().find(|peer| is_active(peer));
        let prepared = peers
            .iter()
            .find(|peer| matches!(peer.state, KeyState::Prepared));
        match (active, prepared) {
            (Some(active), _) => Ok((*active).clone()),
            (None, Some(prepared)) => {
                let reason = Reason {
                    why: "replaces a revoked key",
                    overridden: &[],
                };
                self.activate(change, prepared, &reason).await
            }
            (None, None) => {
                let since = change.now();
                let inserted = self
                    .insert_key(change, spare, KeyState::Active { since })
                    .await?;
                inserted.ok_or_else(|| {
                    IssuerError::conflict("the keys were changed at the same time")
                        .with_remedy(Remedy::command("key list"))
                })
            }
        }
    }

    /// Lets a prepared key sign now. With `override_consumers` it does not wait for key consumers that have
    /// not acknowledged it: its signatures fail there until they have it. [`PUBLISH_AHEAD_SECONDS`] cannot be
    /// overridden.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], or [`IssuerError::Conflict`] when it is not prepared, was not published
    /// for long enough, or waits for a consumer that is not overridden.
    pub async fn activate_key(
        self: &Arc<Self>,
        caller: &Caller,
        kid: &str,
        override_consumers: bool,
    ) -> Result<KeyView, IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let records = self.records(&mut change).await?;
        let consumers = change.tx.key_consumers(&self.id).await?;
        let record = records
            .iter()
            .find(|record| record.kid == kid)
            .ok_or_else(|| IssuerError::not_found("key", kid))?;
        let waiting = waiting_for(kid, &consumers);
        check_may_sign(record, change.now(), &waiting, override_consumers)?;
        let reason = Reason {
            why: "was activated by an administrator",
            overridden: &waiting,
        };
        let active = self.promote(&mut change, &records, record, &reason).await?;
        self.end(change).await?;
        Ok(KeyView::of(active, &consumers))
    }
}

/// Rejects the activation of a key that is not prepared, or before its time.
fn check_may_sign(
    record: &SigningKeyRecord,
    now: UnixTime,
    waiting: &[Name],
    override_consumers: bool,
) -> Result<(), IssuerError> {
    let kid = &record.kid;
    if !matches!(record.state, KeyState::Prepared) {
        return Err(IssuerError::conflict(format!(
            "key `{kid}` is {}; only a prepared key can be activated",
            record.state.as_str()
        )));
    }
    let from = activates_at(record, PUBLISH_AHEAD_SECONDS);
    if now < from {
        // Until then a verifier may hold a key set without it (`max-age`).
        return Err(IssuerError::conflict(format!(
            "key `{kid}` may not sign before {from}, when every verifier can have fetched it; this cannot be overridden"
        )));
    }
    if waiting.is_empty() || override_consumers {
        return Ok(());
    }
    let waiting = listed(waiting);
    Err(
        IssuerError::conflict(format!("key `{kid}` waits for key consumers: {waiting}")).with_remedy(
            Remedy::action(format!(
                "publish the key set to each and run `firman key consumer ack NAME`, or override them with `firman key activate {kid} --override-consumers`"
            )),
        ),
    )
}

fn already_prepared(
    algorithm: SigningAlgorithm,
    keys: &[StoredKey],
    consumers: &[KeyConsumer],
) -> IssuerError {
    let prepared = keys
        .iter()
        .map(|key| KeyView::of(key.record.clone(), consumers))
        .find(|key| key.record.algorithm == algorithm && key.activates_at.is_some());
    let waiting = prepared
        .as_ref()
        .map_or(&[][..], |key| key.waiting_for.as_slice());
    let when = prepared
        .as_ref()
        .and_then(|key| key.activates_at)
        .map_or_else(|| "soon".to_owned(), |at| format!("at {at} or later"));
    let error = |facts: &str| {
        IssuerError::conflict(format!(
            "a new {algorithm} key is already prepared and will sign {when}{facts}"
        ))
    };
    if waiting.is_empty() {
        return error("").with_remedy(Remedy::command("key list"));
    }
    error(&format!(
        "; it waits for key consumers: {}",
        listed(waiting)
    ))
    .with_remedy(Remedy::action(
        "publish the key set to each, then run `firman key consumer ack NAME`",
    ))
}
