//! Signing keys and other secrets at rest, sealed by the caller.

use super::error::StoreError;
use super::key;
use super::transaction::{Tx, execute, on_engine};
use crate::domain::id::IssuerId;
use crate::domain::signing_key::{KeyState, SigningKeyRecord};
use crate::jose::algorithm::SigningAlgorithm;
use crate::ports::time::UnixTime;

/// A signing key as a row.
#[derive(Clone)]
pub struct StoredKey {
    /// Its state.
    pub record: SigningKeyRecord,
    /// The public half, a JWK in JSON.
    pub public_jwk: String,
    /// The private half, sealed; `None` after it was erased.
    pub sealed: Option<Vec<u8>>,
}

impl std::fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredKey")
            .field("record", &self.record)
            .finish_non_exhaustive()
    }
}

#[derive(sqlx::FromRow)]
struct KeyRow {
    kid: String,
    algorithm: String,
    state: String,
    state_at: Option<i64>,
    public_jwk: String,
    sealed: Option<Vec<u8>>,
    created_at: i64,
    version: i64,
}

impl KeyRow {
    fn key(self) -> Result<StoredKey, StoreError> {
        let damage = |what: &str| StoreError::corrupt(format!("signing key {}: {what}", self.kid));
        let algorithm = SigningAlgorithm::parse(&self.algorithm)
            .ok_or_else(|| damage("its algorithm is unknown"))?;
        let state = match (self.state.as_str(), self.state_at.map(UnixTime)) {
            ("prepared", None) => KeyState::Prepared,
            ("active", Some(since)) => KeyState::Active { since },
            ("retiring", Some(until)) => KeyState::Retiring { until },
            ("retired", Some(at)) => KeyState::Retired { at },
            ("revoked", Some(at)) => KeyState::Revoked { at },
            _ => return Err(damage("its state and its time do not match")),
        };
        Ok(StoredKey {
            record: SigningKeyRecord {
                kid: self.kid,
                algorithm,
                state,
                created_at: UnixTime(self.created_at),
                version: self.version,
            },
            public_jwk: self.public_jwk,
            sealed: self.sealed,
        })
    }
}

const INSERT: &str = "INSERT INTO signing_keys (issuer_id, kid, algorithm, state, state_at, public_jwk, sealed, \
     created_at, version) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING";
const ALL: &str = "SELECT kid, algorithm, state, state_at, public_jwk, sealed, created_at, version FROM signing_keys \
     WHERE issuer_id = $1 ORDER BY created_at, algorithm, kid";
// The unique indexes enforce "one active, one prepared". Under the issuer's lock the NOT EXISTS turns a
// violation, which would end the transaction, into an answer.
const MOVE: &str = "UPDATE signing_keys SET state = $5, state_at = $6, version = $7, \
     sealed = CASE WHEN $5 IN ('retired', 'revoked') THEN NULL ELSE sealed END \
     WHERE issuer_id = $1 AND kid = $2 AND state = $3 AND state_at IS NOT DISTINCT FROM $4 \
     AND NOT EXISTS (SELECT 1 FROM signing_keys AS other WHERE other.issuer_id = signing_keys.issuer_id \
         AND other.algorithm = signing_keys.algorithm AND other.kid <> signing_keys.kid \
         AND other.state = $5 AND $5 IN ('active', 'prepared'))";
const INSERT_SECRET: &str = "INSERT INTO sealed_secrets (issuer_id, name, sealed) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
const SECRET: &str = "SELECT sealed FROM sealed_secrets WHERE issuer_id = $1 AND name = $2";

impl Tx {
    /// Stores a signing key. False when its kid exists already, or the issuer already has another active or
    /// prepared key of the algorithm.
    pub async fn insert_key(
        &mut self,
        issuer: &IssuerId,
        stored: &StoredKey,
    ) -> Result<bool, StoreError> {
        let record = &stored.record;
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(&record.kid)
                .bind(record.algorithm.as_str())
                .bind(record.state.as_str())
                .bind(record.state.at().map(|at| at.0))
                .bind(&stored.public_jwk)
                .bind(stored.sealed.as_deref())
                .bind(record.created_at.0)
                .bind(record.version)
        )?;
        Ok(inserted == 1)
    }

    /// All signing keys in all states, newest last.
    pub async fn keys(&mut self, issuer: &IssuerId) -> Result<Vec<StoredKey>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, KeyRow>(ALL).bind(issuer.as_str()).fetch_all(connection))?
            .into_iter()
            .map(KeyRow::key)
            .collect()
    }

    /// Moves a key from one state to the next, and erases its private half when it will not sign again. False
    /// when it is not in the state `from`, or another key is in the state `to` and only one may be.
    #[expect(
        clippy::too_many_arguments,
        reason = "a compare-and-set needs the old and the new state"
    )]
    pub async fn move_key(
        &mut self,
        issuer: &IssuerId,
        kid: &str,
        from: KeyState,
        to: KeyState,
        version: i64,
    ) -> Result<bool, StoreError> {
        let moved = execute!(
            self,
            sqlx::query(MOVE)
                .bind(issuer.as_str())
                .bind(key(kid))
                .bind(from.as_str())
                .bind(from.at().map(|at| at.0))
                .bind(to.as_str())
                .bind(to.at().map(|at| at.0))
                .bind(version)
        )?;
        Ok(moved == 1)
    }

    /// Stores a sealed secret with a name. False when that name has one, which stays.
    pub async fn insert_sealed_secret(
        &mut self,
        issuer: &IssuerId,
        name: &str,
        sealed: &[u8],
    ) -> Result<bool, StoreError> {
        let inserted = execute!(
            self,
            sqlx::query(INSERT_SECRET)
                .bind(issuer.as_str())
                .bind(name)
                .bind(sealed)
        )?;
        Ok(inserted == 1)
    }

    /// The sealed secret with that name.
    pub async fn sealed_secret(
        &mut self,
        issuer: &IssuerId,
        name: &str,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(SECRET)
            .bind(issuer.as_str())
            .bind(key(name))
            .fetch_optional(connection))
    }
}
