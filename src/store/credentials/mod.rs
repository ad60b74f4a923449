//! Credentials: hashes of client secrets, public keys, and which tokens of trusted issuers prove an agent. No
//! secret or private key is stored. Federated ones have their own table.

mod federated;

use crate::domain::credential::{Credential, CredentialKind};
use crate::domain::id::{AgentId, CredentialId, IssuerId};
use crate::jose::jwk::PublicJwk;
use crate::ports::time::UnixTime;

use super::error::StoreError;
use super::transaction::{Tx, execute, on_engine};
use super::{cursor, key};
pub use federated::PresentedToken;
use federated::{FEDERATED_BY_ID, FEDERATED_OF_AGENT, FederatedRow, UPDATE_FEDERATED};

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
                    .map_err(|_| damage("its public key is not valid"))?;
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

impl CredentialRow {
    fn listed(self, agent: String) -> ListedCredential {
        ListedCredential {
            agent,
            id: CredentialId::from_text(self.id.clone()),
            kind: self.kind.clone(),
            not_before: UnixTime(self.not_before),
            expires_at: self.expires_at.map(UnixTime),
            created_at: UnixTime(self.created_at),
            credential: self.credential(),
        }
    }
}

/// A secret or key with the name of its agent.
#[derive(sqlx::FromRow)]
struct HeldCredential {
    #[sqlx(flatten)]
    row: CredentialRow,
    agent_name: String,
}

/// A federated credential with the name of its agent.
#[derive(sqlx::FromRow)]
struct HeldFederated {
    #[sqlx(flatten)]
    row: FederatedRow,
    agent_name: String,
}

/// A credential in the list of all agents' credentials: one that is damaged does not hide the others.
#[derive(Debug)]
pub struct ListedCredential {
    /// The name of its agent.
    pub agent: String,
    /// Its id.
    pub id: CredentialId,
    /// The name of its kind.
    pub kind: String,
    /// When it begins to be accepted.
    pub not_before: UnixTime,
    /// When it stops being accepted, if ever.
    pub expires_at: Option<UnixTime>,
    /// When it was made.
    pub created_at: UnixTime,
    /// All of it, or what is wrong with its row.
    pub credential: Result<Credential, StoreError>,
}

/// Which credentials of all agents to list: those that are neither revoked nor expired.
#[derive(Clone, Copy, Debug)]
pub struct LiveCredentials<'a> {
    /// The current second.
    pub now: UnixTime,
    /// Only those that expire by then.
    pub expires_by: Option<UnixTime>,
    /// Only those after this id.
    pub after: Option<&'a str>,
}

/// The four columns in which secrets and keys differ.
struct KindColumns<'a> {
    secret_hash: Option<&'a str>,
    jwk: Option<String>,
    thumbprint: Option<&'a str>,
    kid: Option<&'a str>,
}

impl<'a> KindColumns<'a> {
    /// `None` for a kind with its own table.
    fn of(kind: &'a CredentialKind) -> Option<Self> {
        Some(match kind {
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
            CredentialKind::Federated { .. } => return None,
        })
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
// A revoked credential stays unchanged.
const UPDATE: &str = "UPDATE credentials SET expires_at = $4, revoked_at = $5 \
     WHERE issuer_id = $1 AND id = $2 AND agent_id = $3 AND revoked_at IS NULL";
const OF_AGENT: &str =
    select_credentials!("WHERE issuer_id = $1 AND agent_id = $2 ORDER BY created_at, id");
const BY_ID: &str = select_credentials!("WHERE issuer_id = $1 AND id = $2");

/// The live credentials of agents that are not removed, after an id. CROSS JOIN: SQLite joins in that order.
macro_rules! select_live {
    ($columns_and_table:literal) => {
        concat!(
            "SELECT held.id, held.agent_id, held.not_before, held.expires_at, held.revoked_at, held.created_at, \
             agent.name AS agent_name, ",
            $columns_and_table,
            " AS held CROSS JOIN agents AS agent WHERE held.issuer_id = $1 AND held.id > $2 AND held.revoked_at IS NULL \
             AND COALESCE(held.expires_at, 9223372036854775807) > $3 AND COALESCE(held.expires_at, 9223372036854775807) <= $4 \
             AND agent.issuer_id = held.issuer_id AND agent.id = held.agent_id AND agent.status <> 'removed' \
             ORDER BY held.id LIMIT $5"
        )
    };
}

const PAGE: &str = select_live!("held.kind, held.secret_hash, held.jwk FROM credentials");
const FEDERATED_PAGE: &str =
    select_live!("held.trusted_issuer_id, held.definition FROM federated_credentials");

impl Tx {
    /// Adds a credential to an agent. False when this or another agent of the issuer has its public key, or its
    /// `kid` names another key of the agent; revoked credentials do not count.
    pub async fn insert_credential(
        &mut self,
        issuer: &IssuerId,
        credential: &Credential,
    ) -> Result<bool, StoreError> {
        let Some(columns) = KindColumns::of(&credential.kind) else {
            return self.insert_federated(issuer, credential).await;
        };
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

    /// Changes when a credential expires and was revoked. False when the agent does not have such a credential
    /// or it is revoked already.
    pub async fn update_credential(
        &mut self,
        issuer: &IssuerId,
        credential: &Credential,
    ) -> Result<bool, StoreError> {
        let update = match credential.kind {
            CredentialKind::ClientSecret { .. } | CredentialKind::PublicKey { .. } => UPDATE,
            CredentialKind::Federated { .. } => UPDATE_FEDERATED,
        };
        let updated = execute!(
            self,
            sqlx::query(update)
                .bind(issuer.as_str())
                .bind(credential.id.as_str())
                .bind(credential.agent.as_str())
                .bind(credential.expires_at.map(|at| at.0))
                .bind(credential.revoked_at.map(|at| at.0))
        )?;
        Ok(updated == 1)
    }

    /// All credentials of an agent, newest last, also expired and revoked ones.
    pub async fn credentials_of(
        &mut self,
        issuer: &IssuerId,
        agent: &AgentId,
    ) -> Result<Vec<Credential>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, CredentialRow>(OF_AGENT)
            .bind(issuer.as_str())
            .bind(key(agent.as_str()))
            .fetch_all(connection))?;
        let federated = on_engine!(self, connection => sqlx::query_as::<_, FederatedRow>(FEDERATED_OF_AGENT)
            .bind(issuer.as_str())
            .bind(key(agent.as_str()))
            .fetch_all(connection))?;
        let mut credentials = rows
            .into_iter()
            .map(CredentialRow::credential)
            .chain(federated.into_iter().map(FederatedRow::credential))
            .collect::<Result<Vec<_>, _>>()?;
        credentials.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(credentials)
    }

    /// The first `limit` live credentials of all agents, oldest first (ids are made in the order of time), each
    /// with its agent's name.
    pub async fn credentials_page(
        &mut self,
        issuer: &IssuerId,
        wanted: LiveCredentials<'_>,
        limit: i64,
    ) -> Result<Vec<ListedCredential>, StoreError> {
        let until = wanted.expires_by.map_or(i64::MAX, |until| until.0);
        let rows = on_engine!(self, connection => sqlx::query_as::<_, HeldCredential>(PAGE)
            .bind(issuer.as_str())
            .bind(cursor(wanted.after))
            .bind(wanted.now.0)
            .bind(until)
            .bind(limit)
            .fetch_all(connection))?;
        let federated = on_engine!(self, connection => sqlx::query_as::<_, HeldFederated>(FEDERATED_PAGE)
            .bind(issuer.as_str())
            .bind(cursor(wanted.after))
            .bind(wanted.now.0)
            .bind(until)
            .bind(limit)
            .fetch_all(connection))?;
        let rows = rows
            .into_iter()
            .map(|held| held.row.listed(held.agent_name));
        let federated = federated
            .into_iter()
            .map(|held| held.row.listed(held.agent_name));
        let mut credentials: Vec<ListedCredential> = rows.chain(federated).collect();
        credentials.sort_by(|a, b| a.id.cmp(&b.id));
        credentials.truncate(usize::try_from(limit).unwrap_or(0));
        Ok(credentials)
    }

    /// The credential with that id.
    pub async fn credential(
        &mut self,
        issuer: &IssuerId,
        credential: &CredentialId,
    ) -> Result<Option<Credential>, StoreError> {
        let found = on_engine!(self, connection => sqlx::query_as::<_, CredentialRow>(BY_ID)
            .bind(issuer.as_str())
            .bind(key(credential.as_str()))
            .fetch_optional(connection))?;
        if let Some(row) = found {
            return row.credential().map(Some);
        }
        on_engine!(self, connection => sqlx::query_as::<_, FederatedRow>(FEDERATED_BY_ID)
            .bind(issuer.as_str())
            .bind(key(credential.as_str()))
            .fetch_optional(connection))?
        .map(FederatedRow::credential)
        .transpose()
    }
}
