//! Trusted issuers. Removed ones stay as rows, so that a name, which is part of subjects, is never reused.

use super::error::StoreError;
use super::key;
use super::transaction::{Tx, execute, on_engine};
use crate::domain::id::{IssuerId, TrustedIssuerId};
use crate::domain::name::Name;
use crate::domain::trusted_issuer::TrustedIssuer;
use crate::ports::time::UnixTime;

#[derive(sqlx::FromRow)]
struct TrustedIssuerRow {
    id: String,
    name: String,
    url: String,
    definition: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
    removed_at: Option<i64>,
}

impl TrustedIssuerRow {
    fn trusted_issuer(self) -> Result<TrustedIssuer, StoreError> {
        let damage =
            |what: &str| StoreError::corrupt(format!("trusted issuer {}: {what}", self.id));
        let name = Name::parse(&self.name).map_err(|invalid| damage(&invalid.to_string()))?;
        let definition = serde_json::from_str(&self.definition)
            .map_err(|_| damage("cannot parse its definition"))?;
        Ok(TrustedIssuer {
            id: TrustedIssuerId::from_text(self.id),
            name,
            url: self.url,
            definition,
            version: self.version,
            created_at: UnixTime(self.created_at),
            updated_at: UnixTime(self.updated_at),
            removed_at: self.removed_at.map(UnixTime),
        })
    }
}

macro_rules! select_trusted_issuers {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, url, definition, version, created_at, updated_at, removed_at FROM trusted_issuers ",
            $rest
        )
    };
}

const INSERT: &str = "INSERT INTO trusted_issuers (issuer_id, id, name, url, definition, version, created_at, updated_at, \
     removed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
const UPDATE: &str = "UPDATE trusted_issuers SET definition = $4, version = $5, updated_at = $6, removed_at = $7 \
     WHERE issuer_id = $1 AND id = $2 AND version = $3 AND removed_at IS NULL";
const LIVE: &str =
    select_trusted_issuers!("WHERE issuer_id = $1 AND removed_at IS NULL ORDER BY name");
const BY_NAME: &str =
    select_trusted_issuers!("WHERE issuer_id = $1 AND name = $2 AND removed_at IS NULL");

impl Tx {
    /// Adds a trusted issuer. False when its name was ever used, or one that is not removed has its URL.
    pub async fn insert_trusted_issuer(
        &mut self,
        issuer: &IssuerId,
        trusted: &TrustedIssuer,
    ) -> Result<bool, StoreError> {
        let definition =
            serde_json::to_string(&trusted.definition).map_err(StoreError::rejected)?;
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(trusted.id.as_str())
                .bind(trusted.name.as_str())
                .bind(&trusted.url)
                .bind(&definition)
                .bind(trusted.version)
                .bind(trusted.created_at.0)
                .bind(trusted.updated_at.0)
                .bind(trusted.removed_at.map(|at| at.0))
        )?;
        Ok(inserted == 1)
    }

    /// Changes a trusted issuer except its name and URL, if its version is `expected_version` and it is not
    /// removed; else returns false.
    pub async fn update_trusted_issuer(
        &mut self,
        issuer: &IssuerId,
        trusted: &TrustedIssuer,
        expected_version: i64,
    ) -> Result<bool, StoreError> {
        let definition =
            serde_json::to_string(&trusted.definition).map_err(StoreError::rejected)?;
        let updated = execute!(
            self,
            sqlx::query(UPDATE)
                .bind(issuer.as_str())
                .bind(trusted.id.as_str())
                .bind(expected_version)
                .bind(&definition)
                .bind(trusted.version)
                .bind(trusted.updated_at.0)
                .bind(trusted.removed_at.map(|at| at.0))
        )?;
        Ok(updated == 1)
    }

    /// The trusted issuer with that name that is not removed.
    pub async fn trusted_issuer_by_name(
        &mut self,
        issuer: &IssuerId,
        name: &str,
    ) -> Result<Option<TrustedIssuer>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, TrustedIssuerRow>(BY_NAME)
            .bind(issuer.as_str())
            .bind(key(name))
            .fetch_optional(connection))?
        .map(TrustedIssuerRow::trusted_issuer)
        .transpose()
    }

    /// All trusted issuers that are not removed, by name.
    pub async fn trusted_issuers(
        &mut self,
        issuer: &IssuerId,
    ) -> Result<Vec<TrustedIssuer>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, TrustedIssuerRow>(LIVE)
            .bind(issuer.as_str())
            .fetch_all(connection))?
        .into_iter()
        .map(TrustedIssuerRow::trusted_issuer)
        .collect()
    }
}
