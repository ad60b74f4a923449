//! Key consumers: relying parties with a copy of the keys. Adding and removing them, and recording which keys each
//! has confirmed. `rotation.rs` decides what that means for rotation.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use crate::api::key_consumer::{
    KeyAcknowledgement, KeyConsumer as KeyConsumerView, NewKeyConsumer,
};
use crate::domain::Invalid;
use crate::domain::audit::AuditEvent;
use crate::domain::key_consumer::{ACKNOWLEDGED_MAX, KEY_CONSUMERS_MAX, KeyConsumer};
use crate::domain::name::Name;
use crate::domain::signing_key::KeyState;
use crate::store::{StoreError, StoredKey, Tx};

use super::change::{Change, Touches};
use super::named::{description, known_name};
use super::{Caller, Issuer, IssuerError};

impl Issuer {
    /// All key consumers, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn key_consumers(&self) -> Result<Vec<KeyConsumerView>, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let consumers = tx.key_consumers(&self.id).await?;
        let keys = tx.keys(&self.id).await?;
        tx.rollback().await?;
        let views = consumers.iter().map(|consumer| view(consumer, &keys));
        Ok(views.collect())
    }

    /// Registers a key consumer. It has confirmed nothing yet, so no new key signs until it has.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], or [`IssuerError::Conflict`] when the name exists or there are too many
    /// consumers.
    pub async fn add_key_consumer(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewKeyConsumer,
    ) -> Result<KeyConsumerView, IssuerError> {
        let name = Name::parse(&new.name)?;
        let description = description(new.description.as_deref().unwrap_or_default())?;
        let mut change = self.begin(caller, Touches::Policy).await?;
        let consumer = KeyConsumer {
            name,
            description,
            created_at: change.now(),
            acknowledged: BTreeSet::new(),
        };
        if change.tx.key_consumers(&self.id).await?.len() >= KEY_CONSUMERS_MAX {
            return Err(IssuerError::conflict(format!(
                "there are already {KEY_CONSUMERS_MAX} key consumers, the most there can be; remove one that is no longer used"
            )));
        }
        if !change.tx.insert_key_consumer(&self.id, &consumer).await? {
            return Err(IssuerError::conflict(format!(
                "a key consumer named `{}` exists; choose another name",
                consumer.name
            )));
        }
        let keys = change.tx.keys(&self.id).await?;
        change.audit(
            AuditEvent::KeyConsumerAdded,
            target(&consumer),
            None,
            &json!({ "description": consumer.description }),
        );
        self.end(change).await?;
        Ok(view(&consumer, &keys))
    }

    /// Records that a consumer holds keys: the named ones in addition to those it holds. Without names, its copy
    /// is the key set as published now, without revoked keys.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], or [`IssuerError::Invalid`] for a key that is not published.
    pub async fn acknowledge_keys(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        acknowledgement: KeyAcknowledgement,
    ) -> Result<KeyConsumerView, IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let mut consumer = self.known_consumer(&mut change.tx, name).await?;
        let keys = change.tx.keys(&self.id).await?;
        let (added, lost) = match acknowledgement.kids {
            Some(kids) => (check_published(kids, &keys)?, Vec::new()),
            None => {
                let before = view(&consumer, &keys);
                (before.missing, before.revoked)
            }
        };
        let added = self
            .note_acknowledged(&mut change, &mut consumer, added)
            .await?;
        for kid in &lost {
            let name = consumer.name.as_str();
            change
                .tx
                .forget_acknowledgement(&self.id, name, kid)
                .await?;
            consumer.acknowledged.remove(kid);
        }
        if added.is_empty() && lost.is_empty() {
            self.end(change).await?;
        } else {
            change.audit(
                AuditEvent::KeyAcknowledged,
                target(&consumer),
                None,
                &json!({ "kids": added, "lost": lost }),
            );
            self.end(change).await?;
        }
        Ok(view(&consumer, &keys))
    }

    async fn note_acknowledged(
        &self,
        change: &mut Change,
        consumer: &mut KeyConsumer,
        kids: Vec<String>,
    ) -> Result<Vec<String>, StoreError> {
        let now = change.now();
        let mut added = Vec::new();
        for kid in kids {
            let name = consumer.name.as_str();
            if change.tx.acknowledge_key(&self.id, name, &kid, now).await? {
                consumer.acknowledged.insert(kid.clone());
                added.push(kid);
            }
        }
        Ok(added)
    }

    /// Removes a key consumer: rotation no longer waits for it.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`].
    pub async fn remove_key_consumer(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
    ) -> Result<(), IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let consumer = self.known_consumer(&mut change.tx, name).await?;
        let now = change.now();
        change
            .tx
            .remove_key_consumer(&self.id, consumer.name.as_str(), now)
            .await?;
        let keys = change.tx.keys(&self.id).await?;
        let shown = view(&consumer, &keys);
        change.audit(
            AuditEvent::KeyConsumerRemoved,
            target(&consumer),
            None,
            &json!({ "acknowledged": shown.acknowledged, "missing": shown.missing }),
        );
        self.end(change).await
    }

    async fn known_consumer(&self, tx: &mut Tx, name: &str) -> Result<KeyConsumer, IssuerError> {
        let name = known_name("key consumer", name)?;
        let consumers = tx.key_consumers(&self.id).await?;
        consumers
            .into_iter()
            .find(|consumer| consumer.name == name)
            .ok_or_else(|| IssuerError::not_found("key consumer", name.as_str()))
    }
}

fn target(consumer: &KeyConsumer) -> String {
    format!("key-consumer:{}", consumer.name)
}

fn published(keys: &[StoredKey]) -> impl Iterator<Item = &str> {
    keys.iter()
        .filter(|key| key.record.state.is_published())
        .map(|key| key.record.kid.as_str())
}

fn view(consumer: &KeyConsumer, keys: &[StoredKey]) -> KeyConsumerView {
    let (acknowledged, missing) = published(keys)
        .map(str::to_owned)
        .partition(|kid| consumer.holds(kid));
    let revoked = keys
        .iter()
        .map(|key| &key.record)
        .filter(|record| matches!(record.state, KeyState::Revoked { .. }))
        .filter(|record| consumer.holds(&record.kid))
        .map(|record| record.kid.clone())
        .collect();
    KeyConsumerView {
        name: consumer.name.to_string(),
        description: consumer.description.clone(),
        created_at: consumer.created_at.0,
        acknowledged,
        missing,
        revoked,
    }
}

fn check_published(kids: Vec<String>, keys: &[StoredKey]) -> Result<Vec<String>, Invalid> {
    if kids.is_empty() {
        return Err(Invalid::new(
            "kids",
            "is empty; leave it out to acknowledge all keys that are published now",
        ));
    }
    if kids.len() > ACKNOWLEDGED_MAX {
        return Err(Invalid::new(
            "kids",
            format!("contains more than {ACKNOWLEDGED_MAX} ids"),
        ));
    }
    let unknown = kids
        .iter()
        .find(|kid| !published(keys).any(|known| known == *kid));
    match unknown {
        None => Ok(kids),
        Some(kid) => {
            let shown: String = kid
                .chars()
                .filter(char::is_ascii_graphic)
                .take(64)
                .collect();
            let known = published(keys).collect::<Vec<_>>().join(", ");
            Err(Invalid::new(
                "kids",
                format!("contains `{shown}`, which is not a published key; published: {known}"),
            ))
        }
    }
}
