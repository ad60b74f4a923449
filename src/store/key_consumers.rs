//! Parties that hold copies of the keys, and which keys each has acknowledged.

use std::collections::{BTreeSet, HashMap};

use super::error::StoreError;
use super::key;
use super::transaction::{Tx, execute, on_engine};
use crate::domain::id::IssuerId;
use crate::domain::key_consumer::KeyConsumer;
use crate::domain::name::Name;
use crate::ports::time::UnixTime;

#[derive(sqlx::FromRow)]
struct ConsumerRow {
    name: String,
    description: String,
    created_at: i64,
}

impl ConsumerRow {
    fn consumer(self, acknowledged: BTreeSet<String>) -> Result<KeyConsumer, StoreError> {
        let name = Name::parse(&self.name)
            .map_err(|invalid| StoreError::corrupt(format!("key consumer: {invalid}")))?;
        Ok(KeyConsumer {
            name,
            description: self.description,
            created_at: UnixTime(self.created_at),
            acknowledged,
        })
    }
}

// A removed one frees its name; a new consumer with that name starts again.
const INSERT: &str = "INSERT INTO key_consumers (issuer_id, name, description, created_at, removed_at) \
     VALUES ($1, $2, $3, $4, NULL) ON CONFLICT (issuer_id, name) DO UPDATE \
     SET description = excluded.description, created_at = excluded.created_at, removed_at = NULL \
     WHERE key_consumers.removed_at IS NOT NULL";
const REMOVE: &str = "UPDATE key_consumers SET removed_at = $3 WHERE issuer_id = $1 AND name = $2 AND removed_at IS NULL";
const FORGET: &str = "DELETE FROM key_acknowledgements WHERE issuer_id = $1 AND consumer = $2";
const FORGET_ONE: &str =
    "DELETE FROM key_acknowledgements WHERE issuer_id = $1 AND consumer = $2 AND kid = $3";
const LIVE: &str = "SELECT name, description, created_at FROM key_consumers \
     WHERE issuer_id = $1 AND removed_at IS NULL ORDER BY name";
const ACKNOWLEDGED: &str = "SELECT consumer, kid FROM key_acknowledgements WHERE issuer_id = $1";
const ACKNOWLEDGE: &str = "INSERT INTO key_acknowledgements (issuer_id, consumer, kid, acknowledged_at) \
     SELECT issuer_id, name, $3, $4 FROM key_consumers \
     WHERE issuer_id = $1 AND name = $2 AND removed_at IS NULL ON CONFLICT DO NOTHING";

impl Tx {
    /// Creates a key consumer that has not acknowledged any key. False when one with that name exists.
    pub async fn insert_key_consumer(
        &mut self,
        issuer: &IssuerId,
        consumer: &KeyConsumer,
    ) -> Result<bool, StoreError> {
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(consumer.name.as_str())
                .bind(&consumer.description)
                .bind(consumer.created_at.0)
        )?;
        Ok(inserted == 1)
    }

    /// Removes a key consumer with its acknowledgements. False when none with that name exists.
    pub async fn remove_key_consumer(
        &mut self,
        issuer: &IssuerId,
        name: &str,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let removed = execute!(
            self,
            sqlx::query(REMOVE)
                .bind(issuer.as_str())
                .bind(key(name))
                .bind(now.0)
        )?;
        if removed == 0 {
            return Ok(false);
        }
        execute!(
            self,
            sqlx::query(FORGET).bind(issuer.as_str()).bind(key(name))
        )?;
        Ok(true)
    }

    /// Records that a consumer has a key. False when that was recorded before, or the consumer does not exist.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] when the key does not exist; any other. The transaction is over then.
    pub async fn acknowledge_key(
        &mut self,
        issuer: &IssuerId,
        consumer: &str,
        kid: &str,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let inserted = execute!(
            self,
            sqlx::query(ACKNOWLEDGE)
                .bind(issuer.as_str())
                .bind(key(consumer))
                .bind(key(kid))
                .bind(now.0)
        )?;
        Ok(inserted == 1)
    }

    /// Records that a consumer no longer has a key. False when it was not recorded to have it.
    pub async fn forget_acknowledgement(
        &mut self,
        issuer: &IssuerId,
        consumer: &str,
        kid: &str,
    ) -> Result<bool, StoreError> {
        let deleted = execute!(
            self,
            sqlx::query(FORGET_ONE)
                .bind(issuer.as_str())
                .bind(key(consumer))
                .bind(key(kid))
        )?;
        Ok(deleted == 1)
    }

    /// All key consumers by name, with the keys that each has acknowledged.
    pub async fn key_consumers(
        &mut self,
        issuer: &IssuerId,
    ) -> Result<Vec<KeyConsumer>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, ConsumerRow>(LIVE)
            .bind(issuer.as_str())
            .fetch_all(connection))?;
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let pairs = on_engine!(self, connection => sqlx::query_as::<_, (String, String)>(ACKNOWLEDGED)
            .bind(issuer.as_str())
            .fetch_all(connection))?;
        let mut acknowledged: HashMap<String, BTreeSet<String>> = HashMap::new();
        for (consumer, kid) in pairs {
            acknowledged.entry(consumer).or_default().insert(kid);
        }
        rows.into_iter()
            .map(|row| {
                let kids = acknowledged.remove(&row.name).unwrap_or_default();
                row.consumer(kids)
            })
            .collect()
    }
}
