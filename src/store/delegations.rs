//! Delegations. Revoked and expired ones stay as rows, as a record, until `ended.rs` deletes them.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::error::StoreError;
use super::rows::RowLists;
use super::transaction::{Tx, execute, on_engine};
use super::{Window, cursor, key};
use crate::domain::actor::ACTORS_MAX;
use crate::domain::delegation::{
    DELEGATIONS_MAX, Delegation, DelegationStatus, SubjectKind, SubjectPattern,
};
use crate::domain::id::{AgentId, DelegationId, IssuerId, ResourceId, TrustedIssuerId};
use crate::domain::name::Name;
use crate::domain::resource::Identifier;
use crate::domain::role::GrantedScopes;
use crate::domain::scope::{join_scopes, parse_scopes};
use crate::ports::time::UnixTime;

/// The names that a delegation refers to, also those of removed things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegationNames {
    /// The actor's.
    pub actor: Name,
    /// The resource's.
    pub resource: Name,
    /// The value of `aud`.
    pub identifier: Identifier,
    /// The trusted issuer's, if one is named.
    pub trusted_issuer: Option<Name>,
}

#[derive(sqlx::FromRow)]
struct NamesRow {
    id: String,
    actor: String,
    resource: String,
    identifier: String,
    trusted_issuer: Option<String>,
}

impl NamesRow {
    fn names(self) -> Result<(DelegationId, DelegationNames), StoreError> {
        let name = |text: &str| {
            Name::parse(text).map_err(|invalid| {
                StoreError::corrupt(format!("delegation {}: {invalid}", self.id))
            })
        };
        let names = DelegationNames {
            actor: name(&self.actor)?,
            resource: name(&self.resource)?,
            trusted_issuer: self.trusted_issuer.as_deref().map(name).transpose()?,
            identifier: Identifier::from_stored(self.identifier),
        };
        Ok((DelegationId::from_text(self.id), names))
    }
}

static NAMES_OF: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::of_issuer(
        "SELECT id, \
         (SELECT name FROM agents WHERE agents.issuer_id = delegations.issuer_id AND agents.id = actor_id) AS actor, \
         (SELECT name FROM resources WHERE resources.issuer_id = delegations.issuer_id AND resources.id = resource_id) AS resource, \
         (SELECT identifier FROM resources WHERE resources.issuer_id = delegations.issuer_id AND resources.id = resource_id) AS identifier, \
         (SELECT name FROM trusted_issuers WHERE trusted_issuers.issuer_id = delegations.issuer_id \
             AND trusted_issuers.id = trusted_issuer_id) AS trusted_issuer \
         FROM delegations",
        "id",
    )
});

#[derive(sqlx::FromRow)]
struct DelegationRow {
    id: String,
    actor_id: String,
    subject_kind: String,
    subject: String,
    trusted_issuer_id: Option<String>,
    claims: String,
    resource_id: String,
    scopes: String,
    max_depth: i64,
    status: String,
    status_at: Option<i64>,
    expires_at: i64,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

/// The column's value for "all scopes".
const ALL_SCOPES: &str = "*";

impl DelegationRow {
    fn delegation(self) -> Result<Delegation, StoreError> {
        let damage = |what: &str| StoreError::corrupt(format!("delegation {}: {what}", self.id));
        let kind = match self.subject_kind.as_str() {
            "exact" => SubjectKind::Exact,
            "prefix" => SubjectKind::Prefix,
            _ => return Err(damage("its kind of subject is unknown")),
        };
        let claims: BTreeMap<String, String> = serde_json::from_str(&self.claims)
            .map_err(|_| damage("its claims are not a JSON object of strings"))?;
        let scopes = if self.scopes == ALL_SCOPES {
            GrantedScopes::All
        } else {
            let scopes =
                parse_scopes(&self.scopes).map_err(|invalid| damage(&invalid.to_string()))?;
            GrantedScopes::Only(scopes)
        };
        let status = match (self.status.as_str(), self.status_at.map(UnixTime)) {
            ("active", None) => DelegationStatus::Active,
            ("suspended", Some(at)) => DelegationStatus::Suspended { at },
            ("revoked", Some(at)) => DelegationStatus::Revoked { at },
            _ => return Err(damage("its status and its time do not match")),
        };
        let max_depth = usize::try_from(self.max_depth)
            .ok()
            .filter(|depth| (1..=ACTORS_MAX).contains(depth))
            .ok_or_else(|| damage("its depth is out of range"))?;
        Ok(Delegation {
            id: DelegationId::from_text(self.id),
            actor: AgentId::from_text(self.actor_id),
            subject: SubjectPattern {
                kind,
                subject: self.subject,
                trusted_issuer: self.trusted_issuer_id.map(TrustedIssuerId::from_text),
                claims,
            },
            resource: ResourceId::from_text(self.resource_id),
            scopes,
            max_depth,
            status,
            expires_at: UnixTime(self.expires_at),
            version: self.version,
            created_at: UnixTime(self.created_at),
            updated_at: UnixTime(self.updated_at),
        })
    }
}

macro_rules! select_delegations {
    ($rest:expr) => {
        concat!(
            "SELECT id, actor_id, subject_kind, subject, trusted_issuer_id, claims, resource_id, scopes, max_depth, \
             status, status_at, expires_at, version, created_at, updated_at FROM delegations ",
            $rest
        )
    };
}

const INSERT: &str = "INSERT INTO delegations (issuer_id, id, actor_id, subject_kind, subject, trusted_issuer_id, claims, \
     resource_id, scopes, max_depth, status, status_at, expires_at, version, created_at, updated_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT DO NOTHING";
// A revoked delegation stays unchanged.
const UPDATE: &str = "UPDATE delegations SET status = $4, status_at = $5, expires_at = $6, version = $7, updated_at = $8 \
     WHERE issuer_id = $1 AND id = $2 AND version = $3 AND status <> 'revoked'";
const BY_ID: &str = select_delegations!("WHERE issuer_id = $1 AND id = $2");
const OF_ACTOR: &str = select_delegations!(
    "WHERE issuer_id = $1 AND actor_id = $2 AND status <> 'revoked' ORDER BY expires_at DESC, id DESC LIMIT $3"
);
// $4, a subject or a prefix, is compared with subjects and prefixes; $5: it is itself a prefix.
macro_rules! select_page {
    ($actor:literal) => {
        select_delegations!(concat!(
            "WHERE issuer_id = $1 AND id > $2 AND ",
            $actor,
            " AND ($4 IS NULL OR subject = $4 OR (subject_kind = 'prefix' AND substr($4, 1, length(subject)) = subject) \
                 OR ($5 AND substr(subject, 1, length($4)) = $4)) \
             ORDER BY id LIMIT $6"
        ))
    };
}
const PAGE: &str = select_page!("$3 IS NULL");
const PAGE_OF_ACTOR: &str = select_page!("actor_id = $3");
const OF_RESOURCE: &str = select_delegations!(
    "WHERE issuer_id = $1 AND resource_id = $2 AND status <> 'revoked' AND expires_at > $3 \
     ORDER BY expires_at, id LIMIT $4"
);
const COUNT_OF_TRUSTED_ISSUER: &str = "SELECT COUNT(*) FROM (SELECT id FROM delegations WHERE issuer_id = $1 \
     AND trusted_issuer_id = $2 AND status <> 'revoked' AND expires_at > $3 LIMIT $4) AS counted";
const OF_TRUSTED_ISSUER: &str = select_delegations!(
    "WHERE issuer_id = $1 AND trusted_issuer_id = $2 AND status <> 'revoked' AND expires_at > $3 \
     ORDER BY expires_at, id LIMIT $4"
);

impl Tx {
    /// Makes a delegation. False when its id is in use.
    ///
    /// # Errors
    /// [`StoreError::Rejected`] when its actor, resource or trusted issuer does not exist; any other. The
    /// transaction is over then.
    pub async fn insert_delegation(
        &mut self,
        issuer: &IssuerId,
        delegation: &Delegation,
    ) -> Result<bool, StoreError> {
        let claims =
            serde_json::to_string(&delegation.subject.claims).map_err(StoreError::rejected)?;
        let scopes = match &delegation.scopes {
            GrantedScopes::All => ALL_SCOPES.to_owned(),
            GrantedScopes::Only(scopes) => join_scopes(scopes),
        };
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(delegation.id.as_str())
                .bind(delegation.actor.as_str())
                .bind(delegation.subject.kind.as_str())
                .bind(&delegation.subject.subject)
                .bind(
                    delegation
                        .subject
                        .trusted_issuer
                        .as_ref()
                        .map(TrustedIssuerId::as_str)
                )
                .bind(&claims)
                .bind(delegation.resource.as_str())
                .bind(&scopes)
                .bind(delegation.max_depth as i64)
                .bind(delegation.status.as_str())
                .bind(delegation.status.since().map(|at| at.0))
                .bind(delegation.expires_at.0)
                .bind(delegation.version)
                .bind(delegation.created_at.0)
                .bind(delegation.updated_at.0)
        )?;
        Ok(inserted == 1)
    }

    /// Changes status and end of a delegation, if its version is `expected_version` and it is not revoked; else
    /// returns false.
    pub async fn update_delegation(
        &mut self,
        issuer: &IssuerId,
        delegation: &Delegation,
        expected_version: i64,
    ) -> Result<bool, StoreError> {
        let updated = execute!(
            self,
            sqlx::query(UPDATE)
                .bind(issuer.as_str())
                .bind(delegation.id.as_str())
                .bind(expected_version)
                .bind(delegation.status.as_str())
                .bind(delegation.status.since().map(|at| at.0))
                .bind(delegation.expires_at.0)
                .bind(delegation.version)
                .bind(delegation.updated_at.0)
        )?;
        Ok(updated == 1)
    }

    /// The delegation with that id, also a revoked one.
    pub async fn delegation(
        &mut self,
        issuer: &IssuerId,
        id: &str,
    ) -> Result<Option<Delegation>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, DelegationRow>(BY_ID)
            .bind(issuer.as_str())
            .bind(key(id))
            .fetch_optional(connection))?
        .map(DelegationRow::delegation)
        .transpose()
    }

    /// The delegations of an actor that are not revoked, oldest first: the [`DELEGATIONS_MAX`] that end last. An
    /// agent has no more that are not over, so that those which expired are read only while there is room.
    pub async fn delegations_of(
        &mut self,
        issuer: &IssuerId,
        actor: &AgentId,
    ) -> Result<Vec<Delegation>, StoreError> {
        let mut rows = on_engine!(self, connection => sqlx::query_as::<_, DelegationRow>(OF_ACTOR)
            .bind(issuer.as_str())
            .bind(key(actor.as_str()))
            .bind(DELEGATIONS_MAX as i64)
            .fetch_all(connection))?;
        rows.sort_by(|one, other| one.id.cmp(&other.id));
        rows.into_iter().map(DelegationRow::delegation).collect()
    }

    /// The delegations of a window by id, oldest first, also revoked ones; narrowed to an actor, and to those
    /// whose subjects overlap with `subject`. The claims and the trusted issuer of a pattern are not compared.
    pub async fn delegations_page(
        &mut self,
        issuer: &IssuerId,
        actor: Option<&AgentId>,
        subject: Option<&SubjectPattern>,
        window: Window<'_>,
    ) -> Result<Vec<Delegation>, StoreError> {
        let is_prefix = subject.is_some_and(|subject| subject.kind == SubjectKind::Prefix);
        let sql = if actor.is_some() { PAGE_OF_ACTOR } else { PAGE };
        on_engine!(self, connection => sqlx::query_as::<_, DelegationRow>(sql)
            .bind(issuer.as_str())
            .bind(cursor(window.after))
            .bind(actor.map(|actor| key(actor.as_str())))
            .bind(subject.map(|subject| key(&subject.subject)))
            .bind(is_prefix)
            .bind(window.limit)
            .fetch_all(connection))?
        .into_iter()
        .map(DelegationRow::delegation)
        .collect()
    }

    /// The names that delegations refer to.
    pub async fn delegation_names(
        &mut self,
        issuer: &IssuerId,
        ids: &[&str],
    ) -> Result<HashMap<DelegationId, DelegationNames>, StoreError> {
        self.rows_of::<NamesRow>(&NAMES_OF, issuer, ids)
            .await?
            .into_iter()
            .map(NamesRow::names)
            .collect()
    }

    /// The first `limit` delegations that are not over and name a resource, those that end first in front.
    pub async fn delegations_of_resource(
        &mut self,
        issuer: &IssuerId,
        resource: &ResourceId,
        now: UnixTime,
        limit: i64,
    ) -> Result<Vec<Delegation>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, DelegationRow>(OF_RESOURCE)
            .bind(issuer.as_str())
            .bind(key(resource.as_str()))
            .bind(now.0)
            .bind(limit)
            .fetch_all(connection))?
        .into_iter()
        .map(DelegationRow::delegation)
        .collect()
    }

    /// The first `limit` delegations that name a trusted issuer and are not over, those that end first in front.
    pub async fn delegations_of_trusted_issuer(
        &mut self,
        issuer: &IssuerId,
        trusted: &TrustedIssuerId,
        now: UnixTime,
        limit: i64,
    ) -> Result<Vec<Delegation>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, DelegationRow>(OF_TRUSTED_ISSUER)
            .bind(issuer.as_str())
            .bind(key(trusted.as_str()))
            .bind(now.0)
            .bind(limit)
            .fetch_all(connection))?
        .into_iter()
        .map(DelegationRow::delegation)
        .collect()
    }

    /// How many delegations that are not over name a trusted issuer; counts to `limit`.
    pub async fn count_delegations_of_trusted_issuer(
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
}
