//! Credentials: hashes of client secrets, and public keys. No secret and no private key is in here.

use super::engine::{Tx, execute, on_engine};
use super::error::StoreError;
use super::key;
use crate::domain::credential::{Credential, CredentialKind};
use crate::domain::id::{AgentId, CredentialId, IssuerId};
use crate::jose::jwk::PublicJwk;
use crate::ports::time::UnixTime;

#[derive(sqlx::FromRow)]
struct CredentialRow {
    id: String,
    agent_id: String,
    kind: String,
    secret_hash: Option<String>,
    jwk: Option<String>,
    not_before: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    created_at: i64,
}

impl CredentialRow {
    fn credential(self) -> Result<Credential, StoreError> {
        let damage = |what: &str| StoreError::corrupt(format!("credential {}: {what}", self.id));
        let kind = match (self.kind.as_str(), self.secret_hash, self.jwk) {
            ("client_secret", Some(hash), None) => CredentialKind::ClientSecret { hash },
            ("public_key", None, Some(jwk)) => {
                let jwk =
                    serde_json::from_str(&jwk).map_err(|_| damage("its public key is not JSON"))?;
                let jwk = PublicJwk::from_value(&jwk)
                    .map_err(|_| damage("its public key is not one that firman takes"))?;
                CredentialKind::PublicKey { jwk: Box::new(jwk) }
            }
            _ => return Err(damage("its kind is unknown")),
        };
        Ok(Credential {
            id: CredentialId::from_text(self.id),
            agent: AgentId::from_text(self.agent_id),
            kind,
            not_before: UnixTime(self.not_before),
            expires_at: self.expires_at.map(UnixTime),
            revoked_at: self.revoked_at.map(UnixTime),
            created_at: UnixTime(self.created_at),
        })
    }
}

/// The four columns in which kinds of credentials differ.
struct KindColumns<'a> {
    secret_hash: Option<&'a str>,
    jwk: Option<String>,
    thumbprint: Option<&'a str>,
    kid: Option<&'a str>,
}

impl<'a> KindColumns<'a> {
    fn of(kind: &'a CredentialKind) -> Self {
        match kind {
            CredentialKind::ClientSecret { hash } => Self {
                secret_hash: Some(hash),
                jwk: None,
                thumbprint: None,
                kid: None,
            },
            CredentialKind::PublicKey { jwk } => Self {
                secret_hash: None,
                jwk: Some(jwk.to_value().to_string()),
                thumbprint: Some(jwk.thumbprint()),
                kid: Some(jwk.kid().unwrap_or(jwk.thumbprint())),
            },
        }
    }
}

macro_rules! select_credentials {
    ($rest:literal) => {
        concat!(
            "SELECT id, agent_id, kind, secret_hash, jwk, not_before, expires_at, revoked_at, created_at FROM credentials ",
            $rest
        )
    };
}

const INSERT: &str = "INSERT INTO credentials (issuer_id, id, agent_id, kind, secret_hash, jwk, thumbprint, kid, \
     not_before, expires_at, revoked_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
     ON CONFLICT DO NOTHING";
// A revoked credential stays as it is.
const UPDATE: &str = "UPDATE credentials SET expires_at = $4, revoked_at = $5 \
     WHERE issuer_id = $1 AND id = $2 AND agent_id = $3 AND revoked_at IS NULL";
const OF_AGENT: &str =
    select_credentials!("WHERE issuer_id = $1 AND agent_id = $2 ORDER BY created_at, id");
const BY_ID: &str = select_credentials!("WHERE issuer_id = $1 AND id = $2");

impl Tx {
    /// Adds a credential to an agent. False when its public key is held by this or another agent of the
    /// issuer, or its `kid` names another key of the agent; revoked credentials do not count.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn insert_credential(
        &mut self,
        issuer: &IssuerId,
        credential: &Credential,
    ) -> Result<bool, StoreError> {
        let columns = KindColumns::of(&credential.kind);
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(credential.id.as_str())
                .bind(credential.agent.as_str())
                .bind(credential.kind.as_str())
                .bind(columns.secret_hash)
                .bind(columns.jwk.as_deref())
                .bind(columns.thumbprint)
                .bind(columns.kid)
                .bind(credential.not_before.0)
                .bind(credential.expires_at.map(|at| at.0))
                .bind(credential.revoked_at.map(|at| at.0))
                .bind(credential.created_at.0)
        )?;
        Ok(inserted == 1)
    }

    /// Changes when a credential expires and was revoked. False when its agent has no such credential or
    /// it is revoked already.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn update_credential(
        &mut self,
        issuer: &IssuerId,
        credential: &Credential,
    ) -> Result<bool, StoreError> {
        let updated = execute!(
            self,
            sqlx::query(UPDATE)
                .bind(issuer.as_str())
                .bind(credential.id.as_str())
                .bind(credential.agent.as_str())
                .bind(credential.expires_at.map(|at| at.0))
                .bind(credential.revoked_at.map(|at| at.0))
        )?;
        Ok(updated == 1)
    }

    /// All credentials of an agent, newest last; expired and revoked ones too.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn credentials_of(
        &mut self,
        issuer: &IssuerId,
        agent: &AgentId,
    ) -> Result<Vec<Credential>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, CredentialRow>(OF_AGENT)
            .bind(issuer.as_str())
            .bind(key(agent.as_str()))
            .fetch_all(connection))?
        .into_iter()
        .map(CredentialRow::credential)
        .collect()
    }

    /// The credential with that id.
    ///
    /// # Errors
    /// Any [`StoreError`]; the transaction is over then.
    pub async fn credential(
        &mut self,
        issuer: &IssuerId,
        credential: &CredentialId,
    ) -> Result<Option<Credential>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, CredentialRow>(BY_ID)
            .bind(issuer.as_str())
            .bind(key(credential.as_str()))
            .fetch_optional(connection))?
        .map(CredentialRow::credential)
        .transpose()
    }
}
