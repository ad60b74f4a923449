//! Issuers, and the head row that is each issuer's only lock.

use super::error::StoreError;
use super::key;
use super::transaction::{Tx, execute, on_engine};
use crate::domain::assertion_audience::AssertionAudience;
use crate::domain::audit::{ChainHead, GENESIS};
use crate::domain::id::IssuerId;
use crate::domain::settings::IssuerSettings;
use crate::domain::subject::SubjectTemplate;
use crate::jose::algorithm::SigningAlgorithm;
use crate::ports::time::UnixTime;

/// The end of an issuer's audit chain and the versions of its registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the last audit entry; 0 before the first.
    pub seq: i64,
    /// Hash of the last audit entry.
    pub hash: [u8; 32],
    /// Grows with every change of the issuer.
    pub registry_version: i64,
    /// The registry version of the last change to roles, groups, resources, keys or settings.
    pub policy_version: i64,
    /// The newest `iat` of a recorded token.
    pub newest_iat: UnixTime,
}

impl Head {
    /// The end of the audit chain.
    #[must_use]
    pub fn chain(&self) -> ChainHead {
        ChainHead {
            seq: self.seq,
            hash: self.hash,
        }
    }
}

#[derive(sqlx::FromRow)]
struct HeadRow {
    seq: i64,
    hash: Vec<u8>,
    registry_version: i64,
    policy_version: i64,
    newest_iat: i64,
}

impl HeadRow {
    fn head(self) -> Result<Head, StoreError> {
        let hash = self
            .hash
            .try_into()
            .map_err(|_| StoreError::corrupt("the hash of an audit head is not 32 bytes long"))?;
        Ok(Head {
            seq: self.seq,
            hash,
            registry_version: self.registry_version,
            policy_version: self.policy_version,
            newest_iat: UnixTime(self.newest_iat),
        })
    }
}

#[derive(sqlx::FromRow)]
struct IssuerRow {
    id: String,
    slug: String,
    url: String,
    subject_template: String,
    default_lifetime: i64,
    max_lifetime: i64,
    default_algorithm: String,
    assertion_audience: String,
    version: i64,
}

impl IssuerRow {
    fn settings(self) -> Result<IssuerSettings, StoreError> {
        let subject_template =
            SubjectTemplate::parse(&self.subject_template).map_err(|invalid| {
                StoreError::corrupt(format!("the settings of issuer {}: {invalid}", self.slug))
            })?;
        let default_algorithm =
            SigningAlgorithm::parse(&self.default_algorithm).ok_or_else(|| {
                StoreError::corrupt(format!(
                    "the settings of issuer {} name an unknown algorithm",
                    self.slug
                ))
            })?;
        let assertion_audience =
            AssertionAudience::parse(&self.assertion_audience).map_err(|invalid| {
                StoreError::corrupt(format!("the settings of issuer {}: {invalid}", self.slug))
            })?;
        Ok(IssuerSettings {
            id: IssuerId::from_text(self.id),
            slug: self.slug,
            url: self.url,
            subject_template,
            default_lifetime: self.default_lifetime,
            max_lifetime: self.max_lifetime,
            default_algorithm,
            assertion_audience,
            version: self.version,
        })
    }
}

macro_rules! select_issuers {
    ($rest:literal) => {
        concat!(
            "SELECT id, slug, url, subject_template, default_lifetime, max_lifetime, default_algorithm, \
             assertion_audience, version FROM issuers ",
            $rest
        )
    };
}

const INSERT: &str = "INSERT INTO issuers (id, slug, url, subject_template, default_lifetime, max_lifetime, \
     default_algorithm, assertion_audience, version, created_at, updated_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10) \
     ON CONFLICT DO NOTHING";
const INSERT_HEAD: &str = "INSERT INTO audit_head (issuer_id, seq, hash, registry_version, policy_version) VALUES ($1, 0, $2, 0, 0)";
const BY_SLUG: &str = select_issuers!("WHERE slug = $1");
const ALL: &str = select_issuers!("ORDER BY slug");
// Issuers do not share a lock: when two use one URL at the same moment, the constraint rejects one.
const UPDATE: &str = "UPDATE issuers SET url = $3, subject_template = $4, default_lifetime = $5, max_lifetime = $6, \
     default_algorithm = $7, assertion_audience = $8, version = $9, updated_at = $10 WHERE id = $1 AND slug = $2 \
     AND NOT EXISTS (SELECT 1 FROM issuers AS other WHERE other.url = $3 AND other.id <> $1)";
const NOT_BEFORE: &str = "SELECT assertions_not_before FROM issuers WHERE id = $1";
const SET_NOT_BEFORE: &str =
    "UPDATE issuers SET assertions_not_before = $2 WHERE id = $1 AND assertions_not_before < $2";

const LOCK_HEAD: &str = "UPDATE audit_head SET seq = seq WHERE issuer_id = $1 RETURNING seq, hash, registry_version, policy_version, newest_iat";
const HEAD: &str = "SELECT seq, hash, registry_version, policy_version, newest_iat FROM audit_head WHERE issuer_id = $1";
const SET_HEAD: &str = "UPDATE audit_head SET seq = $2, hash = $3, \
     newest_iat = CASE WHEN newest_iat < $4 THEN $4 ELSE newest_iat END WHERE issuer_id = $1";
const BUMP: &str = "UPDATE audit_head SET registry_version = registry_version + 1, \
     policy_version = CASE WHEN $2 THEN registry_version + 1 ELSE policy_version END \
     WHERE issuer_id = $1 RETURNING registry_version";

// SQLite does not write a row that keeps its value, so the number changes each time.
const PROVE_WRITE: &str = "INSERT INTO write_proofs (issuer_id, number, padding) VALUES ($1, $2, $3) \
     ON CONFLICT (issuer_id) DO UPDATE SET number = $2, padding = $3";
const WRITE_PROOF: &str = "SELECT number FROM write_proofs WHERE issuer_id = $1";
/// What recording a token writes on SQLite: eight pages, one for its row and one for each index.
const PROOF_BYTES: usize = 8 * 4096;

impl Tx {
    /// Writes about as much as recording a token, with other bytes than the last time: its commit proves that a
    /// token could be recorded. Returns the number of the proof.
    pub async fn prove_write(&mut self, issuer: &IssuerId) -> Result<i64, StoreError> {
        let number = self.write_proof(issuer).await?.unwrap_or(0).wrapping_add(1);
        let padding = number.to_be_bytes().repeat(PROOF_BYTES / 8);
        execute!(
            self,
            sqlx::query(PROVE_WRITE)
                .bind(issuer.as_str())
                .bind(number)
                .bind(&padding[..])
        )?;
        Ok(number)
    }

    /// The number of the last proof.
    pub async fn write_proof(&mut self, issuer: &IssuerId) -> Result<Option<i64>, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(WRITE_PROOF).bind(issuer.as_str()).fetch_optional(connection))
    }

    /// Makes an issuer with its head row. False when its id, slug or URL exists already.
    pub async fn insert_issuer(
        &mut self,
        settings: &IssuerSettings,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(settings.id.as_str())
                .bind(&settings.slug)
                .bind(&settings.url)
                .bind(settings.subject_template.as_str())
                .bind(settings.default_lifetime)
                .bind(settings.max_lifetime)
                .bind(settings.default_algorithm.as_str())
                .bind(settings.assertion_audience.as_str())
                .bind(settings.version)
                .bind(now.0)
        )?;
        if inserted == 0 {
            return Ok(false);
        }
        execute!(
            self,
            sqlx::query(INSERT_HEAD)
                .bind(settings.id.as_str())
                .bind(&GENESIS[..])
        )?;
        Ok(true)
    }

    /// The issuer with that slug.
    pub async fn issuer_by_slug(
        &mut self,
        slug: &str,
    ) -> Result<Option<IssuerSettings>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, IssuerRow>(BY_SLUG).bind(key(slug)).fetch_optional(connection))?
            .map(IssuerRow::settings)
            .transpose()
    }

    /// All issuers, by slug.
    pub async fn issuers(&mut self) -> Result<Vec<IssuerSettings>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, IssuerRow>(ALL).fetch_all(connection))?
            .into_iter()
            .map(IssuerRow::settings)
            .collect()
    }

    /// Changes an issuer's settings. False when no issuer has that id and slug, or another one has the URL.
    pub async fn update_issuer(
        &mut self,
        settings: &IssuerSettings,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        let updated = execute!(
            self,
            sqlx::query(UPDATE)
                .bind(settings.id.as_str())
                .bind(&settings.slug)
                .bind(&settings.url)
                .bind(settings.subject_template.as_str())
                .bind(settings.default_lifetime)
                .bind(settings.max_lifetime)
                .bind(settings.default_algorithm.as_str())
                .bind(settings.assertion_audience.as_str())
                .bind(settings.version)
                .bind(now.0)
        )?;
        Ok(updated == 1)
    }

    /// Assertions issued at or before this time are refused; 0 unless the database was restored.
    pub async fn assertions_not_before(
        &mut self,
        issuer: &IssuerId,
    ) -> Result<UnixTime, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(NOT_BEFORE).bind(issuer.as_str()).fetch_one(connection)).map(UnixTime)
    }

    /// Moves [`Tx::assertions_not_before`] forward. False when it is there already.
    pub async fn set_assertions_not_before(
        &mut self,
        issuer: &IssuerId,
        time: UnixTime,
    ) -> Result<bool, StoreError> {
        let updated = execute!(
            self,
            sqlx::query(SET_NOT_BEFORE)
                .bind(issuer.as_str())
                .bind(time.0)
        )?;
        Ok(updated == 1)
    }

    /// Locks the issuer until the transaction ends. Waits for the current holder, and then sees its commit.
    /// Every write transaction calls it first; several issuers in id order. `None`: the issuer does not exist.
    pub async fn lock_head(&mut self, issuer: &IssuerId) -> Result<Option<Head>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, HeadRow>(LOCK_HEAD).bind(issuer.as_str()).fetch_optional(connection))?
            .map(HeadRow::head)
            .transpose()
    }

    /// The issuer's head, without its lock.
    pub async fn head(&mut self, issuer: &IssuerId) -> Result<Option<Head>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, HeadRow>(HEAD).bind(issuer.as_str()).fetch_optional(connection))?
            .map(HeadRow::head)
            .transpose()
    }

    /// Records the number and hash of the last audit entry, and the newest `iat` among the tokens that were
    /// recorded with it; `None`: without a token.
    pub async fn set_head(
        &mut self,
        issuer: &IssuerId,
        last: ChainHead,
        newest_iat: Option<UnixTime>,
    ) -> Result<(), StoreError> {
        let updated = execute!(
            self,
            sqlx::query(SET_HEAD)
                .bind(issuer.as_str())
                .bind(last.seq)
                .bind(&last.hash[..])
                .bind(newest_iat.unwrap_or_default().0)
        )?;
        if updated == 1 {
            Ok(())
        } else {
            Err(StoreError::corrupt("an issuer has no audit head"))
        }
    }

    /// The issuer's next registry version, which the transaction's changes carry. `policy`: they touch
    /// roles, groups, resources, keys or settings.
    pub async fn bump_registry_version(
        &mut self,
        issuer: &IssuerId,
        policy: bool,
    ) -> Result<i64, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(BUMP).bind(issuer.as_str()).bind(policy).fetch_one(connection))
    }
}
