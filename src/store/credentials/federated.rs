//! Federated credentials: which tokens of trusted issuers prove an agent.

use super::ListedCredential;
use crate::domain::credential::{Credential, CredentialKind};
use crate::domain::id::{AgentId, CredentialId, IssuerId, TrustedIssuerId};
use crate::ports::time::UnixTime;
use crate::store::error::StoreError;
use crate::store::key;
use crate::store::transaction::{Tx, execute, on_engine};

#[derive(sqlx::FromRow)]
pub(super) struct FederatedRow {
    id: String,
    agent_id: String,
    trusted_issuer_id: String,
    definition: String,
    not_before: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    created_at: i64,
}

impl FederatedRow {
    pub(super) fn listed(self, agent: String) -> ListedCredential {
        ListedCredential {
            agent,
            id: CredentialId::from_text(self.id.clone()),
            kind: "federated".to_owned(),
            not_before: UnixTime(self.not_before),
            expires_at: self.expires_at.map(UnixTime),
            created_at: UnixTime(self.created_at),
            credential: self.credential(),
        }
    }

    pub(super) fn credential(self) -> Result<Credential, StoreError> {
        let matching = serde_json::from_str(&self.definition).map_err(|_| {
            StoreError::corrupt(format!("credential {}: cannot parse its match", self.id))
        })?;
        Ok(Credential {
            id: CredentialId::from_text(self.id),
            agent: AgentId::from_text(self.agent_id),
            kind: CredentialKind::Federated {
                trusted_issuer: TrustedIssuerId::from_text(self.trusted_issuer_id),
                matching: Box::new(matching),
            },
            not_before: UnixTime(self.not_before),
            expires_at: self.expires_at.map(UnixTime),
            revoked_at: self.revoked_at.map(UnixTime),
            created_at: UnixTime(self.created_at),
        })
    }
}

/// A token of a trusted issuer, as agents are looked for that it could prove.
#[derive(Clone, Copy, Debug)]
pub struct PresentedToken<'t> {
    /// Whose token it is.
    pub trusted: &'t TrustedIssuerId,
    /// About whom.
    pub subject: &'t str,
    /// The present second.
    pub now: UnixTime,
}

macro_rules! select_federated {
    ($rest:literal) => {
        concat!(
            "SELECT id, agent_id, trusted_issuer_id, definition, not_before, expires_at, revoked_at, created_at \
             FROM federated_credentials ",
            $rest
        )
    };
}

const INSERT_FEDERATED: &str = "INSERT INTO federated_credentials (issuer_id, id, agent_id, trusted_issuer_id, subject, definition, \
     not_before, expires_at, revoked_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
     ON CONFLICT DO NOTHING";
pub(super) const UPDATE_FEDERATED: &str = "UPDATE federated_credentials SET expires_at = $4, revoked_at = $5 \
     WHERE issuer_id = $1 AND id = $2 AND agent_id = $3 AND revoked_at IS NULL";
pub(super) const FEDERATED_OF_AGENT: &str =
    select_federated!("WHERE issuer_id = $1 AND agent_id = $2 ORDER BY created_at, id");
pub(super) const FEDERATED_BY_ID: &str = select_federated!("WHERE issuer_id = $1 AND id = $2");
/// The first $5 agents, by id, that hold a federated credential of a kind which is not over at $4. The index has them in
/// that order, each with the end of its credential, so that it is read no further. Not COALESCE: SQLite would read those of
/// the trusted issuer by their end.
macro_rules! select_holders {
    ($subject:literal) => {
        concat!(
            "SELECT DISTINCT held.agent_id FROM federated_credentials AS held \
             WHERE held.issuer_id = $1 AND held.trusted_issuer_id = $2 AND held.revoked_at IS NULL AND ",
            $subject,
            " AND (held.expires_at IS NULL OR held.expires_at > $4) ORDER BY held.agent_id LIMIT $5"
        )
    };
}

// Two look-ups: with an OR, SQLite reads all credentials of the trusted issuer. The first $5 of both are among the first
// $5 of each: the credentials of a removed agent are revoked, so that none of these is one. CROSS JOIN: SQLite joins in
// that order.
const AGENTS_OF_TOKEN: &str = concat!(
    "SELECT agent.name FROM (SELECT agent_id FROM (",
    select_holders!("held.subject = $3"),
    ") AS exact UNION SELECT agent_id FROM (",
    select_holders!("held.subject IS NULL"),
    ") AS broad) AS candidate CROSS JOIN agents AS agent \
     WHERE agent.issuer_id = $1 AND agent.id = candidate.agent_id AND agent.status <> 'removed' \
     ORDER BY agent.name LIMIT $5"
);
const COUNT_OF_TRUSTED_ISSUER: &str = "SELECT COUNT(*) FROM (SELECT held.id FROM federated_credentials AS held \
     CROSS JOIN agents AS agent WHERE held.issuer_id = $1 AND held.trusted_issuer_id = $2 AND held.revoked_at IS NULL \
     AND COALESCE(held.expires_at, 9223372036854775807) > $3 \
     AND agent.issuer_id = held.issuer_id AND agent.id = held.agent_id AND agent.status <> 'removed' LIMIT $4) AS counted";
const OF_TRUSTED_ISSUER: &str = select_federated!(
    "WHERE issuer_id = $1 AND trusted_issuer_id = $2 AND revoked_at IS NULL \
     AND COALESCE(expires_at, 9223372036854775807) > $3 ORDER BY COALESCE(expires_at, 9223372036854775807), id LIMIT $4"
);

impl Tx {
    pub(super) async fn insert_federated(
        &mut self,
        issuer: &IssuerId,
        credential: &Credential,
    ) -> Result<bool, StoreError> {
        let CredentialKind::Federated {
            trusted_issuer,
            matching,
        } = &credential.kind
        else {
            return Ok(false);
        };
        let definition = serde_json::to_string(matching).map_err(StoreError::rejected)?;
        let inserted = execute!(
            self,
            sqlx::query(INSERT_FEDERATED)
                .bind(issuer.as_str())
                .bind(credential.id.as_str())
                .bind(credential.agent.as_str())
                .bind(trusted_issuer.as_str())
                .bind(matching.subject.as_deref())
                .bind(&definition)
                .bind(credential.not_before.0)
                .bind(credential.expires_at.map(|at| at.0))
                .bind(credential.revoked_at.map(|at| at.0))
                .bind(credential.created_at.0)
        )?;
        Ok(inserted == 1)
    }

    /// The names of at most `limit` agents, in order, with a live federated credential that could match a token: one
    /// for exactly its subject, or one without a subject. All of them, if they are fewer than `limit`.
    pub async fn agents_of_federated_subject(
        &mut self,
        issuer: &IssuerId,
        token: PresentedToken<'_>,
        limit: i64,
    ) -> Result<Vec<String>, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(AGENTS_OF_TOKEN)
            .bind(issuer.as_str())
            .bind(key(token.trusted.as_str()))
            .bind(key(token.subject))
            .bind(token.now.0)
            .bind(limit)
            .fetch_all(connection))
    }

    /// How many live federated credentials depend on a trusted issuer, counted up to `limit`.
    pub async fn count_federated_credentials(
        &mut self,
        issuer: &IssuerId,
        trusted: &TrustedIssuerId,
        now: UnixTime,
        limit: i64,
    ) -> Result<i64, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(COUNT_OF_TRUSTED_ISSUER)
            .bind(issuer.as_str())
            .bind(key(trusted.as_str()))
            .bind(now.0)
            .bind(limit)
            .fetch_one(connection))
    }

    /// The first `limit` live federated credentials that depend on a trusted issuer, in the order of their expiry.
    pub async fn credentials_of_trusted_issuer(
        &mut self,
        issuer: &IssuerId,
        trusted: &TrustedIssuerId,
        now: UnixTime,
        limit: i64,
    ) -> Result<Vec<Credential>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, FederatedRow>(OF_TRUSTED_ISSUER)
            .bind(issuer.as_str())
            .bind(key(trusted.as_str()))
            .bind(now.0)
            .bind(limit)
            .fetch_all(connection))?
        .into_iter()
        .map(FederatedRow::credential)
        .collect()
    }
}
