//! The life of signing keys: `prepared → active → retiring → retired`, decided from durable times
//! by one pure function and carried out by compare-and-set, so that two replicas rotate once. A prepared
//! key waits for those who hold copies of the keys: what it signed would fail at each that lacks it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::audit::{AuditEvent, KeyDetail};
use crate::domain::key_consumer::{KeyConsumer, waiting_for};
use crate::domain::name::Name;
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
/// How often the log says that a key is held up, in seconds.
const HELD_UP_SAID_SECONDS: i64 = 3600;

/// A step in a key's life that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationStep {
    /// The prepared key has been published for long enough and every consumer holds it: it signs from now
    /// on, the active one retires.
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
    consumers: &[KeyConsumer],
    publish_ahead: i64,
) -> Vec<RotationStep> {
    let mut steps = Vec::new();
    for key in keys {
        match key.state {
            KeyState::Prepared
                if activates_at(key, publish_ahead) <= now
                    && waiting_for(&key.kid, consumers).is_empty() =>
            {
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
    /// When a prepared key begins to sign, if it waits for nobody.
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

/// A withdrawn key and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The withdrawn key.
    pub revoked: KeyView,
    /// The key that signs now.
    pub active: KeyView,
    /// Key consumers whose copy is wrong now: it still has the withdrawn key, or lacks the one that signs.
    pub stale_consumers: Vec<Name>,
}

/// Which keys the log has said to be held up, and when.
#[derive(Debug, Default)]
pub(crate) struct HeldUp(Mutex<HashMap<String, UnixTime>>);

impl HeldUp {
    /// Says which keys could sign and wait for a consumer, each at most once an hour.
    fn say(&self, now: UnixTime, keys: &[SigningKeyRecord], consumers: &[KeyConsumer]) {
        let held_up = keys.iter().filter(|key| {
            matches!(key.state, KeyState::Prepared)
                && activates_at(key, PUBLISH_AHEAD_SECONDS) <= now
        });
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut still = HashMap::new();
        for key in held_up {
            let names = waiting_for(&key.kid, consumers);
            if names.is_empty() {
                continue;
            }
            let last = said.get(&key.kid).copied();
            let is_due = last.is_none_or(|last| now.since(last) >= HELD_UP_SAID_SECONDS);
            if is_due {
                let (kid, waiting_for) = (&key.kid, listed(&names));
                tracing::warn!(
                    kid,
                    waiting_for,
                    "the new signing key does not sign yet: not every key consumer has acknowledged it; give them the key set, then: firman key consumer ack NAME"
                );
            }
            let at = last.filter(|_| !is_due).unwrap_or(now);
            still.insert(key.kid.clone(), at);
        }
        *said = still;
    }
}

/// Why a key begins to sign, for the audit.
struct Reason<'r> {
    why: &'static str,
    /// Consumers that had not acknowledged it.
    overridden: &'r [Name],
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

    /// Prepares a new key for `algorithm`, or for each algorithm. It is published at once and signs
    /// after [`PUBLISH_AHEAD_SECONDS`], and not before every key consumer has acknowledged it.
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

    /// Withdraws a key at once: out of the JWKS, its private half erased. If it was signing, its
    /// replacement (the prepared key, or a new one) signs at once, whoever lacks it. Tokens it signed stop
    /// verifying.
    ///
    /// # Errors
    /// When there is no such published key, or the database does not take it.
    pub async fn revoke_key(
        self: &Arc<Self>,
        caller: &Caller,
        kid: &str,
        reason: &str,
    ) -> Result<Revocation, IssuerError> {
        let reason = crate::domain::text::filled_line("reason", reason, 256)?;
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
                IssuerError::conflict(format!("key {kid} is already out of the JWKS"))
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
        Ok(Revocation {
            stale_consumers: stale.map(|consumer| consumer.name.clone()).collect(),
            revoked: KeyView::of(revoked, &consumers),
            active: KeyView::of(active, &consumers),
        })
    }

    /// The key that signs once another is withdrawn: the one that does, the prepared one, or the spare.
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
                    IssuerError::conflict(
                        "another administrator is changing the keys; look at them and try again"
                            .to_owned(),
                    )
                })
            }
        }
    }

    /// Lets a prepared key sign now. With `override_consumers` it does not wait for key consumers that have
    /// not acknowledged it: what it signs fails there until they have got it. The time for which a key is
    /// published before it signs holds always.
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

    /// Carries out what is due. Cheap when nothing is: it looks at the keys in memory.
    ///
    /// # Errors
    /// When the database does not take a step.
    pub async fn rotate_due(self: &Arc<Self>) -> Result<(), IssuerError> {
        let now = self.ports.clock.now();
        let policy = self.registry.policy();
        let (known, consumers) = (policy.keyring.records(), &policy.key_consumers);
        self.held_up.say(now, known, consumers);
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

    /// Lets a prepared key sign and the one that does retire.
    async fn promote(
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
    async fn records(&self, change: &mut Change) -> Result<Vec<SigningKeyRecord>, IssuerError> {
        let keys = change.tx.keys(&self.id).await?;
        Ok(keys.into_iter().map(|key| key.record).collect())
    }

    /// Makes the first key of each algorithm, already signing.
    ///
    /// # Errors
    /// When a key cannot be made or stored.
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
                return Err(IssuerError::conflict(
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
            &KeyDetail::of(key.algorithm()),
        );
        Ok(Some(stored.record))
    }

    async fn activate(
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
        Err(IssuerError::conflict(format!(
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

fn is_active(record: &SigningKeyRecord) -> bool {
    matches!(record.state, KeyState::Active { .. })
}

fn listed(names: &[Name]) -> String {
    names
        .iter()
        .map(Name::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

/// Refuses to let a key sign that is not prepared, or before its time.
fn check_may_sign(
    record: &SigningKeyRecord,
    now: UnixTime,
    waiting: &[Name],
    override_consumers: bool,
) -> Result<(), IssuerError> {
    let kid = &record.kid;
    if !matches!(record.state, KeyState::Prepared) {
        return Err(IssuerError::conflict(format!(
            "key {kid} is {}; only a prepared key can be activated",
            record.state.as_str()
        )));
    }
    let from = activates_at(record, PUBLISH_AHEAD_SECONDS);
    if now < from {
        return Err(IssuerError::conflict(format!(
            "key {kid} may sign from {from} on, when whoever fetches the key set can have seen it; that cannot be overridden, so try again then"
        )));
    }
    if waiting.is_empty() || override_consumers {
        return Ok(());
    }
    Err(IssuerError::conflict(format!(
        "key {kid} waits for {}: give them the key set and run 'firman key consumer ack NAME' for each, or override them with: firman key activate {kid} --override-consumers",
        listed(waiting)
    )))
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
        .map_or_else(|| "soon".to_owned(), |at| format!("from {at} on"));
    let what_to_do = if waiting.is_empty() {
        "nothing needs to be done, look at it with: firman key list".to_owned()
    } else {
        format!(
            "it waits for {}: give them the key set, then: firman key consumer ack NAME",
            listed(waiting)
        )
    };
    IssuerError::conflict(format!(
        "a new {algorithm} key is prepared already and will sign {when}; {what_to_do}"
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
        assert_eq!(plan_rotation(UnixTime(1899), &keys, &[], 900), []);
        let activate = RotationStep::Activate {
            kid: "new".to_owned(),
        };
        assert_eq!(
            plan_rotation(UnixTime(1900), &keys, &[], 900),
            std::slice::from_ref(&activate)
        );
        assert_eq!(
            plan_rotation(UnixTime(2000), &keys, &[], 900),
            [
                activate,
                RotationStep::Retire {
                    kid: "old".to_owned()
                }
            ]
        );
    }

    #[test]
    fn a_prepared_key_waits_for_each_consumer_however_long_it_was_published() {
        let consumer = |name: &str, kids: &[&str]| KeyConsumer {
            name: Name::parse(name).expect("a good name"),
            description: String::new(),
            created_at: UnixTime(0),
            acknowledged: kids.iter().map(ToString::to_string).collect(),
        };
        let keys = [
            key("new", KeyState::Prepared, 1000),
            key(
                "old",
                KeyState::Retiring {
                    until: UnixTime(2000),
                },
                0,
            ),
        ];
        let retire = RotationStep::Retire {
            kid: "old".to_owned(),
        };
        let consumers = [
            consumer("a", &["new"]),
            consumer("b", &["now"]),
            consumer("c", &[]),
        ];
        assert_eq!(
            plan_rotation(UnixTime(1_000_000), &keys, &consumers, 900),
            std::slice::from_ref(&retire)
        );
        let view = KeyView::of(keys[0].clone(), &consumers);
        assert_eq!(listed(&view.waiting_for), "b, c");
        let activate = RotationStep::Activate {
            kid: "new".to_owned(),
        };
        assert_eq!(
            plan_rotation(UnixTime(2000), &keys, &consumers[..1], 900),
            [activate, retire]
        );
        assert_eq!(
            plan_rotation(UnixTime(1899), &keys, &consumers[..1], 900),
            []
        );
    }

    #[test]
    fn a_key_that_is_held_up_is_said_once_an_hour_until_it_is_not() {
        let keys = [key("new", KeyState::Prepared, 0)];
        let consumers = [KeyConsumer {
            name: Name::parse("claude").expect("a good name"),
            description: String::new(),
            created_at: UnixTime(0),
            acknowledged: std::collections::BTreeSet::new(),
        }];
        let held_up = HeldUp::default();
        let said_at = |now: i64, consumers: &[KeyConsumer]| {
            held_up.say(UnixTime(now), &keys, consumers);
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
