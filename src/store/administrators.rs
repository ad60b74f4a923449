//! Administrators with their hashed tokens. Revoked ones stay, with their names.

use super::error::StoreError;
use super::key;
use super::transaction::{Tx, execute, on_engine};
use crate::domain::administrator::{Administrator, AdministratorRole};
use crate::domain::id::{AdministratorId, IssuerId};
use crate::domain::name::Name;
use crate::ports::time::UnixTime;

#[derive(sqlx::FromRow)]
struct AdministratorRow {
    id: String,
    name: String,
    role: String,
    token_digest: Vec<u8>,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    version: i64,
    created_at: i64,
}

impl AdministratorRow {
    fn administrator(self) -> Result<Administrator, StoreError> {
        let damage = |what: &str| StoreError::corrupt(format!("administrator {}: {what}", self.id));
        let name = Name::parse(&self.name).map_err(|invalid| damage(&invalid.to_string()))?;
        let role =
            AdministratorRole::parse(&self.role).map_err(|_| damage("its role is unknown"))?;
        let token_digest = self
            .token_digest
            .as_slice()
            .try_into()
            .map_err(|_| damage("the digest of its token is not 32 bytes long"))?;
        Ok(Administrator {
            id: AdministratorId::from_text(self.id),
            name,
            role,
            token_digest,
            expires_at: self.expires_at.map(UnixTime),
            revoked_at: self.revoked_at.map(UnixTime),
            version: self.version,
            created_at: UnixTime(self.created_at),
        })
    }
}

macro_rules! select_administrators {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, role, token_digest, expires_at, revoked_at, version, created_at FROM administrators ",
            $rest
        )
    };
}

const INSERT: &str = "INSERT INTO administrators (issuer_id, id, name, role, token_digest, expires_at, revoked_at, \
     version, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
const BY_DIGEST: &str = select_administrators!("WHERE issuer_id = $1 AND token_digest = $2");
const ALL: &str = select_administrators!("WHERE issuer_id = $1 ORDER BY name");
const BY_NAME: &str = select_administrators!("WHERE issuer_id = $1 AND name = $2");
const HOLDS_ANY: &str = "SELECT EXISTS (SELECT 1 FROM administrators WHERE issuer_id = $1)";
// A revoked administrator stays unchanged.
const UPDATE: &str = "UPDATE administrators SET role = $4, token_digest = $5, expires_at = $6, revoked_at = $7, version = $8 \
     WHERE issuer_id = $1 AND id = $2 AND version = $3 AND revoked_at IS NULL";

impl Tx {
    /// Adds an administrator. False when the name or the token was ever used.
    pub async fn insert_administrator(
        &mut self,
        issuer: &IssuerId,
        administrator: &Administrator,
    ) -> Result<bool, StoreError> {
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(administrator.id.as_str())
                .bind(administrator.name.as_str())
                .bind(administrator.role.as_str())
                .bind(&administrator.token_digest[..])
                .bind(administrator.expires_at.map(|at| at.0))
                .bind(administrator.revoked_at.map(|at| at.0))
                .bind(administrator.version)
                .bind(administrator.created_at.0)
        )?;
        Ok(inserted == 1)
    }

    /// The administrator whose token has that SHA-256, also a revoked or expired one.
    pub async fn administrator_by_digest(
        &mut self,
        issuer: &IssuerId,
        token_digest: &[u8; 32],
    ) -> Result<Option<Administrator>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, AdministratorRow>(BY_DIGEST)
            .bind(issuer.as_str())
            .bind(&token_digest[..])
            .fetch_optional(connection))?
        .map(AdministratorRow::administrator)
        .transpose()
    }

    /// The administrator with that name, also a revoked or expired one.
    pub async fn administrator_by_name(
        &mut self,
        issuer: &IssuerId,
        name: &str,
    ) -> Result<Option<Administrator>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, AdministratorRow>(BY_NAME)
            .bind(issuer.as_str())
            .bind(key(name))
            .fetch_optional(connection))?
        .map(AdministratorRow::administrator)
        .transpose()
    }

    /// Whether an administrator exists, revoked and expired ones included.
    pub async fn holds_administrators(&mut self, issuer: &IssuerId) -> Result<bool, StoreError> {
        let holds = on_engine!(self, connection => sqlx::query_scalar(HOLDS_ANY)
            .bind(issuer.as_str())
            .fetch_one(connection))?;
        Ok(holds)
    }

    /// All administrators by name, also revoked and expired ones.
    pub async fn administrators(
        &mut self,
        issuer: &IssuerId,
    ) -> Result<Vec<Administrator>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, AdministratorRow>(ALL)
            .bind(issuer.as_str())
            .fetch_all(connection))?
        .into_iter()
        .map(AdministratorRow::administrator)
        .collect()
    }

    /// Changes an administrator except its name, if its version is `expected_version` and it is not revoked;
    /// else returns false.
    pub async fn update_administrator(
        &mut self,
        issuer: &IssuerId,
        administrator: &Administrator,
        expected_version: i64,
    ) -> Result<bool, StoreError> {
        let updated = execute!(
            self,
            sqlx::query(UPDATE)
                .bind(issuer.as_str())
                .bind(key(administrator.id.as_str()))
                .bind(expected_version)
                .bind(administrator.role.as_str())
                .bind(&administrator.token_digest[..])
                .bind(administrator.expires_at.map(|at| at.0))
                .bind(administrator.revoked_at.map(|at| at.0))
                .bind(administrator.version)
        )?;
        Ok(updated == 1)
    }
}
