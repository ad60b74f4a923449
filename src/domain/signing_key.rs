//! The life cycle of a signing key: its states, and the next step that is due. A prepared key waits for every
//! consumer with a copy of the keys, because consumers without it would reject its signatures.

use crate::jose::algorithm::SigningAlgorithm;
use crate::ports::time::UnixTime;

use super::key_consumer::{KeyConsumer, waiting_for};

/// A signing key without its private half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningKeyRecord {
    /// RFC 7638 thumbprint.
    pub kid: String,
    /// The only algorithm it signs with.
    pub algorithm: SigningAlgorithm,
    /// Its state.
    pub state: KeyState,
    /// When it was created and first published.
    pub created_at: UnixTime,
    /// The issuer's registry version at its last change.
    pub version: i64,
}

/// `prepared → active → retiring → retired`, or `revoked` from any of the first three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// Published, not signing yet.
    Prepared,
    /// Published and signing; exactly one per issuer and algorithm.
    Active {
        /// Since when.
        since: UnixTime,
    },
    /// Published until the last token it signed has expired, skew included.
    Retiring {
        /// When it leaves the JWKS.
        until: UnixTime,
    },
    /// Removed from the JWKS; its private half is erased.
    Retired {
        /// Since when.
        at: UnixTime,
    },
    /// Removed from the JWKS at once; its private half is erased.
    Revoked {
        /// Since when.
        at: UnixTime,
    },
}

impl KeyState {
    /// The state's name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active { .. } => "active",
            Self::Retiring { .. } => "retiring",
            Self::Retired { .. } => "retired",
            Self::Revoked { .. } => "revoked",
        }
    }

    /// The time of the state, if it has one.
    #[must_use]
    pub fn at(self) -> Option<UnixTime> {
        match self {
            Self::Prepared => None,
            Self::Active { since } => Some(since),
            Self::Retiring { until } => Some(until),
            Self::Retired { at } | Self::Revoked { at } => Some(at),
        }
    }

    /// True while the public half belongs in the JWKS.
    #[must_use]
    pub fn is_published(self) -> bool {
        match self {
            Self::Prepared | Self::Active { .. } | Self::Retiring { .. } => true,
            Self::Retired { .. } | Self::Revoked { .. } => false,
        }
    }
}

/// A step that is due in a key's life cycle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationStep {
    /// The prepared key has been published for long enough and every consumer holds it: it starts signing and the
    /// active key starts retiring.
    Activate {
        /// The prepared key.
        kid: String,
    },
    /// The last token of the retiring key has expired: it leaves the JWKS.
    Retire {
        /// The retiring key.
        kid: String,
    },
}

/// The steps that are due at `now`. Pure: two replicas reach the same result.
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

/// When a prepared key starts signing unless a consumer delays it.
#[must_use]
pub fn activates_at(key: &SigningKeyRecord, publish_ahead: i64) -> UnixTime {
    key.created_at.plus(publish_ahead)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::name::{Name, listed};

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
        let waiting = waiting_for("new", &consumers);
        assert_eq!(listed(&waiting), "b, c");
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
}
