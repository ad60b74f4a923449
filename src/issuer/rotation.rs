//! The life cycle of signing keys: `prepared → active → retiring → retired`. `plan_rotation` decides from durable
//! times what is due. Steps are compare-and-set, so that each is carried out once even with two replicas.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::audit::{AuditEvent, KeyDetail};
use crate::domain::key_consumer::{KeyConsumer, waiting_for};
use crate::domain::name::{Name, listed};
use crate::domain::remedy::Remedy;
use crate::domain::settings::{LIFETIME_CEILING_SECONDS, SKEW_SECONDS};
use crate::domain::signing_key::{
    KeyState, RotationStep, SigningKeyRecord, activates_at, plan_rotation,
};
use crate::jose::algorithm::SigningAlgorithm;
use crate::jose::key::SigningKey;
use crate::ports::time::UnixTime;
use crate::store::StoredKey;

use super::change::{Change, Touches};
use super::keyring::sealed_name;
use super::{Caller, Issuer, IssuerError};

/// How long a key is published before it signs, in seconds: Claude's advice, and three times the
/// `max-age` that the JWKS is served with.
pub const PUBLISH_AHEAD_SECONDS: i64 = 900;
/// How long a key stays published after its last signature, in seconds: no token lives longer than
/// the ceiling, whatever the settings were when it was minted.
pub const RETENTION_SECONDS: i64 = LIFETIME_CEILING_SECONDS + SKEW_SECONDS;
/// How often the log warns about a delayed key, in seconds.
const HELD_UP_WARNED_SECONDS: i64 = 3600;

/// The delayed keys that the log has warned about, and when.
#[derive(Debug, Default)]
pub(crate) struct HeldUp(Mutex<HashMap<String, UnixTime>>);

impl HeldUp {
    /// Warns about keys that could sign but wait for a consumer, at most once an hour each.
    fn warn(&self, now: UnixTime, keys: &[SigningKeyRecord], consumers: &[KeyConsumer]) {
        let held_up = keys.iter().filter(|key| {
            matches!(key.state, KeyState::Prepared)
                && activates_at(key, PUBLISH_AHEAD_SECONDS) <= now
        });
        let mut warned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still = HashMap::new();
        for key in held_up {
            let names = waiting_for(&key.kid, consumers);
            if names.is_empty() {
                continue;
            }
            let last = warned.get(&key.kid).copied();
            let is_due = last.is_none_or(|last| now.since(last) >= HELD_UP_WARNED_SECONDS);
            if is_due {
                let (kid, waiting_for) = (&key.kid, listed(&names));
                tracing::warn!(
                    kid,
                    waiting_for,
                    hint = "publish the key set to each, then run `firman key consumer ack NAME`",
                    "the new signing key does not sign yet: not every key consumer has acknowledged it"
                );
            }
            let at = last.filter(|_| !is_due).unwrap_or(now);
            still.insert(key.kid.clone(), at);
        }
        *warned = still;
    }
}

/// Why a key starts signing, for the audit.
pub(super) struct Reason<'r> {
    pub(super) why: &'static str,
    /// Consumers that had not acknowledged it.
    pub(super) overridden: &'r [Name],
}

impl Issuer {
    /// Carries out the steps that are due. Cheap when none is: it examines the keys in memory.
    ///
    /// # Errors
    /// When the database rejects a step.
    pub async fn rotate_due(self: &Arc<Self>) -> Result<(), IssuerError> {
        let now = self.ports.clock.now();
        let policy = self.registry.policy();
        let (known, consumers) = (policy.keyring.records(), &policy.key_consumers);
        self.held_up.warn(now, known, consumers);
        if plan_rotation(now, known, consumers, PUBLISH_AHEAD_SECONDS).is_empty() {
            return Ok(());
        }
        let mut change = self.begin(&Caller::system(), Touches::Policy).await?;
        let records = self.records(&mut change).await?;
        let consumers = change.tx.key_consumers(&self.id).await?;
        // Decided again on the rows under the lock: another replica may have been first.
        let steps = plan_rotation(now, &records, &consumers, PUBLISH_AHEAD_SECONDS);
        if steps.is_empty() {
            change.tx.rollback().await?;
            return Ok(self.catch_up().await?);
        }
        for step in steps {
            let kid = match &step {
                RotationStep::Activate { kid } | RotationStep::Retire { kid } => kid,
            };
            let Some(record) = records.iter().find(|record| record.kid == *kid) else {
                continue;
            };
            match step {
                RotationStep::Activate { .. } => {
                    let reason = Reason {
                        why: "was published long enough",
                        overridden: &[],
                    };
                    self.promote(&mut change, &records, record, &reason).await?;
                }
                RotationStep::Retire { .. } => {
                    let at = change.now();
                    self.move_key(&mut change, record, KeyState::Retired { at })
                        .await?;
                    change.audit(
                        AuditEvent::KeyRetired,
                        format!("key:{kid}"),
                        None,
                        &KeyDetail::of(record.algorithm),
                    );
                }
            }
        }
        self.end(change).await
    }

    /// Activates a prepared key and retires the active one.
    pub(super) async fn promote(
        &self,
        change: &mut Change,
        records: &[SigningKeyRecord],
        record: &SigningKeyRecord,
        reason: &Reason<'_>,
    ) -> Result<SigningKeyRecord, IssuerError> {
        let active = records
            .iter()
            .find(|peer| peer.algorithm == record.algorithm && is_active(peer));
        if let Some(active) = active {
            let until = change.now().plus(RETENTION_SECONDS);
            self.move_key(change, active, KeyState::Retiring { until })
                .await?;
        }
        self.activate(change, record, reason).await
    }

    /// The keys as a change sees them.
    pub(super) async fn records(
        &self,
        change: &mut Change,
    ) -> Result<Vec<SigningKeyRecord>, IssuerError> {
        let keys = change.tx.keys(&self.id).await?;
        Ok(keys.into_iter().map(|key| key.record).collect())
    }

    /// Generates the first key of each algorithm, already active.
    ///
    /// # Errors
    /// When a key cannot be generated or stored.
    pub(crate) async fn insert_first_keys(
        &self,
        change: &mut Change,
        keys: &[Arc<SigningKey>],
    ) -> Result<(), IssuerError> {
        for key in keys {
            let state = KeyState::Active {
                since: change.now(),
            };
            if self.insert_key(change, key, state).await?.is_none() {
                return Err(IssuerError::conflict("the issuer already has signing keys"));
            }
        }
        Ok(())
    }

    pub(super) async fn insert_key(
        &self,
        change: &mut Change,
        key: &SigningKey,
        state: KeyState,
    ) -> Result<Option<SigningKeyRecord>, IssuerError> {
        let der = key
            .to_pkcs8_der()
            .map_err(|error| IssuerError::Unavailable(Box::new(error)))?;
        let sealed = self
            .sealing
            .seal(&self.id, &sealed_name(key.kid()), &der, &*self.ports.random)
            .map_err(|error| IssuerError::Unavailable(Box::new(error)))?;
        let record = SigningKeyRecord {
            kid: key.kid().to_owned(),
            algorithm: key.algorithm(),
            state,
            created_at: change.now(),
            version: change.version,
        };
        let stored = StoredKey {
            record,
            public_jwk: key.public_jwk().to_value().to_string(),
            sealed: Some(sealed),
        };
        if !change.tx.insert_key(&self.id, &stored).await? {
            return Ok(None);
        }
        let event = if state == KeyState::Prepared {
            AuditEvent::KeyPrepared
        } else {
            AuditEvent::KeyActivated
        };
        change.audit(
            event,
            format!("key:{}", key.kid()),
            None,
            &KeyDetail::of(key.algorithm()),
        );
        Ok(Some(stored.record))
    }

    pub(super) async fn activate(
        &self,
        change: &mut Change,
        record: &SigningKeyRecord,
        reason: &Reason<'_>,
    ) -> Result<SigningKeyRecord, IssuerError> {
        let since = change.now();
        let active = self
            .move_key(change, record, KeyState::Active { since })
            .await?;
        let detail = KeyDetail::activated(record.algorithm, reason.why, reason.overridden);
        change.audit(
            AuditEvent::KeyActivated,
            format!("key:{}", record.kid),
            None,
            &detail,
        );
        Ok(active)
    }

    pub(super) async fn move_key(
        &self,
        change: &mut Change,
        record: &SigningKeyRecord,
        to: KeyState,
    ) -> Result<SigningKeyRecord, IssuerError> {
        if change
            .tx
            .move_key(&self.id, &record.kid, record.state, to, change.version)
            .await?
        {
            return Ok(SigningKeyRecord {
                state: to,
                version: change.version,
                ..record.clone()
            });
        }
        let kid = &record.kid;
        Err(
            IssuerError::conflict(format!("key `{kid}` was changed at the same time"))
                .with_remedy(Remedy::command("key list")),
        )
    }
}

/// Generates a key pair off the async threads.
///
/// # Errors
/// When the cryptographic library fails.
pub async fn generate(algorithm: SigningAlgorithm) -> Result<SigningKey, IssuerError> {
    match tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await {
        Ok(Ok(key)) => Ok(key),
        Ok(Err(error)) => Err(IssuerError::Unavailable(Box::new(error))),
        Err(join_error) => Err(IssuerError::Unavailable(Box::new(join_error))),
    }
}

pub(super) fn is_active(record: &SigningKeyRecord) -> bool {
    matches!(record.state, KeyState::Active { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: &str, state: KeyState, created_at: i64) -> SigningKeyRecord {
        SigningKeyRecord {
            kid: kid.to_owned(),
            algorithm: SigningAlgorithm::Es256,
            state,
            created_at: UnixTime(created_at),
            version: 1,
        }
    }

    #[test]
    fn a_key_that_is_held_up_is_warned_about_once_an_hour() {
        let keys = [key("new", KeyState::Prepared, 0)];
        let consumers = [KeyConsumer {
            name: Name::parse("claude").expect("a good name"),
            description: String::new(),
            created_at: UnixTime(0),
            acknowledged: std::collections::BTreeSet::new(),
        }];
        let held_up = HeldUp::default();
        let said_at = |now: i64, consumers: &[KeyConsumer]| {
            held_up.warn(UnixTime(now), &keys, consumers);
            held_up.0.lock().expect("no panic").get("new").copied()
        };
        assert_eq!(said_at(899, &consumers), None, "it may not sign yet");
        assert_eq!(said_at(900, &consumers), Some(UnixTime(900)));
        assert_eq!(said_at(4499, &consumers), Some(UnixTime(900)));
        assert_eq!(said_at(4500, &consumers), Some(UnixTime(4500)));
        assert_eq!(said_at(4501, &[]), None);
    }

    #[test]
    fn a_key_is_known_to_every_verifier_before_it_signs() {
        assert!(i64::from(super::super::keyring::JWKS_MAX_AGE_SECONDS) < PUBLISH_AHEAD_SECONDS);
    }
}
