//! The life of signing keys: `prepared → active → retiring → retired`, decided from durable times
//! by one pure function and carried out by compare-and-set, so that two replicas rotate once.

use std::sync::Arc;

use serde_json::json;

use crate::domain::audit::AuditEvent;
use crate::domain::settings::{LIFETIME_CEILING_SECONDS, SKEW_SECONDS};
use crate::domain::signing_key::{KeyState, SigningKeyRecord};
use crate::jose::algorithm::SigningAlgorithm;
use crate::jose::key::SigningKey;
use crate::ports::time::UnixTime;
use crate::store::StoredKey;

use super::change::{Change, Touches};
use super::keyring::{SIGNED_WITH, sealed_name};
use super::{Caller, Issuer, IssuerError};

/// How long a key is published before it signs, in seconds: Claude's advice, and three times the
/// `max-age` that the JWKS is served with.
pub const PUBLISH_AHEAD_SECONDS: i64 = 900;
/// How long a key stays published after its last signature, in seconds: no token lives longer than
/// the ceiling, whatever the settings were when it was minted.
pub const RETENTION_SECONDS: i64 = LIFETIME_CEILING_SECONDS + SKEW_SECONDS;

/// A step in a key's life that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationStep {
    /// The prepared key has been published for long enough: it signs from now on, the active one retires.
    Activate {
        /// The prepared key.
        kid: String,
    },
    /// The retiring key's last token has expired: out of the JWKS.
    Retire {
        /// The retiring key.
        kid: String,
    },
}

/// What is due at `now`. Pure: two replicas that ask come to the same answer.
#[must_use]
pub fn plan_rotation(
    now: UnixTime,
    keys: &[SigningKeyRecord],
    publish_ahead: i64,
) -> Vec<RotationStep> {
    let mut steps = Vec::new();
    for key in keys {
        match key.state {
            KeyState::Prepared if activates_at(key, publish_ahead) <= now => {
                steps.push(RotationStep::Activate {
                    kid: key.kid.clone(),
                });
            }
            KeyState::Retiring { until } if until <= now => steps.push(RotationStep::Retire {
                kid: key.kid.clone(),
            }),
            KeyState::Prepared
            | KeyState::Active { .. }
            | KeyState::Retiring { .. }
            | KeyState::Retired { .. }
            | KeyState::Revoked { .. } => {}
        }
    }
    steps
}

fn activates_at(key: &SigningKeyRecord, publish_ahead: i64) -> UnixTime {
    key.created_at.plus(publish_ahead)
}

/// A key as it is told to administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyView {
    /// The key without its private half.
    pub record: SigningKeyRecord,
    /// When a prepared key begins to sign.
    pub activates_at: Option<UnixTime>,
}

impl From<SigningKeyRecord> for KeyView {
    fn from(record: SigningKeyRecord) -> Self {
        let prepared = matches!(record.state, KeyState::Prepared);
        Self {
            activates_at: prepared.then(|| activates_at(&record, PUBLISH_AHEAD_SECONDS)),
            record,
        }
    }
}

impl Issuer {
    /// All keys, retired and revoked ones included, the newest last.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn keys(&self) -> Result<Vec<KeyView>, IssuerError> {
        let mut tx = self.store.read().await?;
        let keys = tx.keys(&self.id).await?;
        tx.rollback().await?;
        Ok(keys.into_iter().map(|key| key.record.into()).collect())
    }

    /// Prepares a new key for `algorithm`, or for each algorithm. It is published at once and signs
    /// after [`PUBLISH_AHEAD_SECONDS`].
    ///
    /// # Errors
    /// [`IssuerError::Conflict`] when one is prepared already, [`IssuerError::Unavailable`] when the
    /// key cannot be made or stored.
    pub async fn rotate_keys(
        self: &Arc<Self>,
        caller: &Caller,
        algorithm: Option<SigningAlgorithm>,
    ) -> Result<Vec<KeyView>, IssuerError> {
        let algorithms = match algorithm {
            Some(algorithm) if !SIGNED_WITH.contains(&algorithm) => {
                return Err(crate::domain::Invalid::new(
                    "algorithm",
                    "must be ES256 or RS256, which this issuer signs with",
                )
                .into());
            }
            Some(algorithm) => vec![algorithm],
            None => SIGNED_WITH.to_vec(),
        };
        let mut made = Vec::new();
        for algorithm in algorithms {
            // Outside the transaction: an RSA key takes a second.
            made.push(generate(algorithm).await?);
        }
        let mut change = self.begin(caller, Touches::Policy).await?;
        let mut views = Vec::new();
        for key in made {
            let inserted = self
                .insert_key(&mut change, &key, KeyState::Prepared)
                .await?;
            let Some(record) = inserted else {
                let keys = change.tx.keys(&self.id).await?;
                return Err(already_prepared(key.algorithm(), &keys));
            };
            views.push(record.into());
        }
        self.finish(change).await?;
        Ok(views)
    }

    /// Withdraws a key at once: out of the JWKS, its private half erased. If it was signing, its
    /// replacement (the prepared key, or a new one) signs at once. Tokens it signed stop verifying.
    ///
    /// # Errors
    /// When there is no such published key, or the database does not take it.
    pub async fn revoke_key(
        self: &Arc<Self>,
        caller: &Caller,
        kid: &str,
        reason: &str,
    ) -> Result<(KeyView, KeyView), IssuerError> {
        let reason = crate::domain::text::filled_line("reason", reason, 256)?;
        let known = self
            .keys()
            .await?
            .into_iter()
            .find(|key| key.record.kid == kid)
            .ok_or_else(|| IssuerError::not_found("key", kid))?;
        let spare = generate(known.record.algorithm).await?;
        let mut change = self.begin(caller, Touches::Policy).await?;
        let keys = change.tx.keys(&self.id).await?;
        let record = keys
            .iter()
            .map(|key| &key.record)
            .find(|record| record.kid == kid && record.state.is_published())
            .ok_or_else(|| {
                IssuerError::Conflict(format!("key {kid} is already out of the JWKS"))
            })?;
        let at = change.now();
        let revoked = self
            .move_key(&mut change, record, KeyState::Revoked { at })
            .await?;
        let target = format!("key:{kid}");
        change.audit(AuditEvent::KeyRevoked, target, None, &json!({ "algorithm": record.algorithm, "was": record.state.as_str(), "reason": reason }));
        let peers = || {
            keys.iter()
                .map(|key| &key.record)
                .filter(|peer| peer.algorithm == record.algorithm && peer.kid != record.kid)
        };
        let active = peers().find(|peer| matches!(peer.state, KeyState::Active { .. }));
        let prepared = peers().find(|peer| matches!(peer.state, KeyState::Prepared));
        let active = match (active, prepared) {
            (Some(active), _) => active.clone(),
            (None, Some(prepared)) => {
                self.activate(&mut change, prepared, "replaces a revoked key")
                    .await?
            }
            (None, None) => {
                let state = KeyState::Active {
                    since: change.now(),
                };
                let inserted = self.insert_key(&mut change, &spare, state).await?;
                inserted.ok_or_else(|| {
                    IssuerError::Conflict(
                        "another administrator is changing the keys; look at them and try again"
                            .to_owned(),
                    )
                })?
            }
        };
        self.finish(change).await?;
        Ok((revoked.into(), active.into()))
    }

    /// Carries out what is due. Cheap when nothing is: it looks at the keys in memory.
    ///
    /// # Errors
    /// When the database does not take a step.
    pub async fn rotate_due(self: &Arc<Self>) -> Result<(), IssuerError> {
        let now = self.ports.clock.now();
        if plan_rotation(
            now,
            self.registry.policy().keyring.records(),
            PUBLISH_AHEAD_SECONDS,
        )
        .is_empty()
        {
            return Ok(());
        }
        let mut change = self.begin(&Caller::system(), Touches::Policy).await?;
        let records: Vec<_> = change
            .tx
            .keys(&self.id)
            .await?
            .into_iter()
            .map(|key| key.record)
            .collect();
        // Decided again on the rows under the lock: another replica may have been first.
        let steps = plan_rotation(now, &records, PUBLISH_AHEAD_SECONDS);
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
                    let active = records.iter().find(|peer| {
                        peer.algorithm == record.algorithm
                            && matches!(peer.state, KeyState::Active { .. })
                    });
                    if let Some(active) = active {
                        let until = change.now().plus(RETENTION_SECONDS);
                        self.move_key(&mut change, active, KeyState::Retiring { until })
                            .await?;
                    }
                    self.activate(&mut change, record, "was published long enough")
                        .await?;
                }
                RotationStep::Retire { .. } => {
                    let at = change.now();
                    self.move_key(&mut change, record, KeyState::Retired { at })
                        .await?;
                    change.audit(
                        AuditEvent::KeyRetired,
                        format!("key:{kid}"),
                        None,
                        &json!({ "algorithm": record.algorithm }),
                    );
                }
            }
        }
        self.finish(change).await
    }

    /// Makes the first key of each algorithm, already signing.
    ///
    /// # Errors
    /// When a key cannot be made or stored.
    pub(crate) async fn insert_first_keys(
        &self,
        change: &mut Change,
        keys: &[SigningKey],
    ) -> Result<(), IssuerError> {
        for key in keys {
            let state = KeyState::Active {
                since: change.now(),
            };
            if self.insert_key(change, key, state).await?.is_none() {
                return Err(IssuerError::Conflict(
                    "the issuer has signing keys already".to_owned(),
                ));
            }
        }
        Ok(())
    }

    async fn insert_key(
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
            &json!({ "algorithm": key.algorithm() }),
        );
        Ok(Some(stored.record))
    }

    async fn activate(
        &self,
        change: &mut Change,
        record: &SigningKeyRecord,
        why: &str,
    ) -> Result<SigningKeyRecord, IssuerError> {
        let since = change.now();
        let active = self
            .move_key(change, record, KeyState::Active { since })
            .await?;
        change.audit(
            AuditEvent::KeyActivated,
            format!("key:{}", record.kid),
            None,
            &json!({ "algorithm": record.algorithm, "why": why }),
        );
        Ok(active)
    }

    async fn move_key(
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
        Err(IssuerError::Conflict(format!(
            "key {} was changed meanwhile; look at the keys and try again",
            record.kid
        )))
    }
}

/// Makes a key pair off the async threads.
///
/// # Errors
/// When the library cannot make one.
pub async fn generate(algorithm: SigningAlgorithm) -> Result<SigningKey, IssuerError> {
    match tokio::task::spawn_blocking(move || SigningKey::generate(algorithm)).await {
        Ok(Ok(key)) => Ok(key),
        Ok(Err(error)) => Err(IssuerError::Unavailable(Box::new(error))),
        Err(join_error) => Err(IssuerError::Unavailable(Box::new(join_error))),
    }
}

fn already_prepared(algorithm: SigningAlgorithm, keys: &[StoredKey]) -> IssuerError {
    let prepared = keys
        .iter()
        .map(|key| KeyView::from(key.record.clone()))
        .find(|key| key.record.algorithm == algorithm && key.activates_at.is_some());
    let when = prepared
        .and_then(|key| key.activates_at)
        .map_or_else(|| "soon".to_owned(), |at| format!("from {at} on"));
    IssuerError::Conflict(format!(
        "a new {algorithm} key is prepared already and will sign {when}; nothing needs to be done, look at it with: firman key list"
    ))
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
    fn a_key_signs_only_after_it_was_published_long_enough_and_leaves_only_after_its_last_token() {
        let keys = [
            key("new", KeyState::Prepared, 1000),
            key("now", KeyState::Active { since: UnixTime(0) }, 0),
            key(
                "old",
                KeyState::Retiring {
                    until: UnixTime(2000),
                },
                0,
            ),
            key("gone", KeyState::Retired { at: UnixTime(1) }, 0),
            key("bad", KeyState::Revoked { at: UnixTime(1) }, 0),
        ];
        assert_eq!(plan_rotation(UnixTime(1899), &keys, 900), []);
        let activate = RotationStep::Activate {
            kid: "new".to_owned(),
        };
        assert_eq!(
            plan_rotation(UnixTime(1900), &keys, 900),
            std::slice::from_ref(&activate)
        );
        assert_eq!(
            plan_rotation(UnixTime(2000), &keys, 900),
            [
                activate,
                RotationStep::Retire {
                    kid: "old".to_owned()
                }
            ]
        );
    }

    #[test]
    fn a_key_is_known_to_every_verifier_before_it_signs() {
        assert!(i64::from(super::super::keyring::JWKS_MAX_AGE_SECONDS) < PUBLISH_AHEAD_SECONDS);
    }
}
