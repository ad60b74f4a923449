//! Resources with their scopes. Removed resources stay as rows, but their name and identifier are free.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::error::StoreError;
use super::rows::RowLists;
use super::transaction::{Tx, execute, on_engine};
use super::{cursor, key};
use crate::domain::id::{AgentId, IssuerId, ResourceId};
use crate::domain::name::Name;
use crate::domain::profile::Profile;
use crate::domain::resource::{Identifier, Resource};
use crate::domain::scope::{Scope, Scopes};
use crate::domain::token_typ::TokenTyp;
use crate::jose::algorithm::SigningAlgorithm;
use crate::ports::time::UnixTime;

#[derive(sqlx::FromRow)]
struct ResourceRow {
    id: String,
    name: String,
    identifier: String,
    description: String,
    profile: String,
    lifetime: Option<i64>,
    algorithm: Option<String>,
    typ: Option<String>,
    allow_delegation: Option<bool>,
    server_id: Option<String>,
    dpop_required: bool,
    version: i64,
    created_at: i64,
    updated_at: i64,
    removed_at: Option<i64>,
}

impl ResourceRow {
    fn resource(self, scopes: &[String]) -> Result<Resource, StoreError> {
        let damage = |what: &str| StoreError::corrupt(format!("resource {}: {what}", self.id));
        let name = Name::parse(&self.name).map_err(|invalid| damage(&invalid.to_string()))?;
        let profile =
            Profile::parse(&self.profile).ok_or_else(|| damage("its profile is unknown"))?;
        let algorithm = match &self.algorithm {
            Some(algorithm) => Some(
                SigningAlgorithm::parse(algorithm)
                    .ok_or_else(|| damage("its algorithm is unknown"))?,
            ),
            None => None,
        };
        let typ = match &self.typ {
            Some(typ) => {
                Some(TokenTyp::parse(typ).ok_or_else(|| damage("its token typ is unknown"))?)
            }
            None => None,
        };
        let scopes = scopes
            .iter()
            .map(|scope| Scope::parse(scope).map_err(|invalid| damage(&invalid.to_string())))
            .collect::<Result<Scopes, _>>()?;
        Ok(Resource {
            id: ResourceId::from_text(self.id),
            name,
            identifier: Identifier::from_stored(self.identifier),
            description: self.description,
            profile,
            scopes,
            lifetime: self.lifetime,
            algorithm,
            typ,
            allow_delegation: self.allow_delegation,
            server: self.server_id.map(AgentId::from_text),
            dpop_required: self.dpop_required,
            version: self.version,
            created_at: UnixTime(self.created_at),
            updated_at: UnixTime(self.updated_at),
            removed_at: self.removed_at.map(UnixTime),
        })
    }
}

macro_rules! select_resources {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, identifier, description, profile, lifetime, algorithm, typ, allow_delegation, \
             server_id, dpop_required, version, created_at, updated_at, removed_at FROM resources ",
            $rest
        )
    };
}

const INSERT: &str = "INSERT INTO resources (issuer_id, id, name, identifier, description, profile, lifetime, algorithm, \
     typ, allow_delegation, server_id, dpop_required, version, created_at, updated_at, removed_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
     ON CONFLICT DO NOTHING";
// A removed resource stays unchanged.
const UPDATE: &str = "UPDATE resources SET description = $4, profile = $5, lifetime = $6, algorithm = $7, \
     typ = $8, allow_delegation = $9, server_id = $10, dpop_required = $11, version = $12, updated_at = $13, \
     removed_at = $14 WHERE issuer_id = $1 AND id = $2 AND version = $3 AND removed_at IS NULL";
const BY_NAME: &str =
    select_resources!("WHERE issuer_id = $1 AND name = $2 AND removed_at IS NULL");
const BY_IDENTIFIER: &str =
    select_resources!("WHERE issuer_id = $1 AND identifier = $2 AND removed_at IS NULL");
const LIVE: &str = select_resources!("WHERE issuer_id = $1 AND removed_at IS NULL ORDER BY name");
const PAGE: &str = select_resources!(
    "WHERE issuer_id = $1 AND name > $2 AND removed_at IS NULL ORDER BY name LIMIT $3"
);
const DELETE_SCOPES: &str = "DELETE FROM resource_scopes WHERE issuer_id = $1 AND resource_id = $2";

static INSERT_SCOPES: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::values(
        "INSERT INTO resource_scopes (issuer_id, resource_id, scope)",
        3,
        "",
    )
});
static SCOPES_OF: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::of_issuer(
        "SELECT resource_id, scope FROM resource_scopes",
        "resource_id",
    )
});

impl Tx {
    /// Makes a resource with its scopes. False when a resource that is not removed has its name or
    /// identifier.
    pub async fn insert_resource(
        &mut self,
        issuer: &IssuerId,
        resource: &Resource,
    ) -> Result<bool, StoreError> {
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(resource.id.as_str())
                .bind(resource.name.as_str())
                .bind(resource.identifier.as_str())
                .bind(&resource.description)
                .bind(resource.profile.as_str())
                .bind(resource.lifetime)
                .bind(resource.algorithm.map(SigningAlgorithm::as_str))
                .bind(resource.typ.map(TokenTyp::as_str))
                .bind(resource.allow_delegation)
                .bind(resource.server.as_ref().map(AgentId::as_str))
                .bind(resource.dpop_required)
                .bind(resource.version)
                .bind(resource.created_at.0)
                .bind(resource.updated_at.0)
                .bind(resource.removed_at.map(|at| at.0))
        )?;
        if inserted == 0 {
            return Ok(false);
        }
        self.insert_scopes(issuer, resource).await?;
        Ok(true)
    }

    /// Changes a resource except its name and identifier, if its version is `expected_version` and it is not
    /// removed; else returns false.
    pub async fn update_resource(
        &mut self,
        issuer: &IssuerId,
        resource: &Resource,
        expected_version: i64,
    ) -> Result<bool, StoreError> {
        let updated = execute!(
            self,
            sqlx::query(UPDATE)
                .bind(issuer.as_str())
                .bind(resource.id.as_str())
                .bind(expected_version)
                .bind(&resource.description)
                .bind(resource.profile.as_str())
                .bind(resource.lifetime)
                .bind(resource.algorithm.map(SigningAlgorithm::as_str))
                .bind(resource.typ.map(TokenTyp::as_str))
                .bind(resource.allow_delegation)
                .bind(resource.server.as_ref().map(AgentId::as_str))
                .bind(resource.dpop_required)
                .bind(resource.version)
                .bind(resource.updated_at.0)
                .bind(resource.removed_at.map(|at| at.0))
        )?;
        if updated == 0 {
            return Ok(false);
        }
        execute!(
            self,
            sqlx::query(DELETE_SCOPES)
                .bind(issuer.as_str())
                .bind(resource.id.as_str())
        )?;
        self.insert_scopes(issuer, resource).await?;
        Ok(true)
    }

    async fn insert_scopes(
        &mut self,
        issuer: &IssuerId,
        resource: &Resource,
    ) -> Result<(), StoreError> {
        let rows: Vec<_> = resource
            .scopes
            .iter()
            .map(|scope| [issuer.as_str(), resource.id.as_str(), scope.as_str()])
            .collect();
        self.insert_texts(&INSERT_SCOPES, &rows).await
    }

    /// The resource with that name that is not removed.
    pub async fn resource_by_name(
        &mut self,
        issuer: &IssuerId,
        name: &str,
    ) -> Result<Option<Resource>, StoreError> {
        self.resource_where(BY_NAME, issuer, name).await
    }

    /// The resource with that identifier that is not removed.
    pub async fn resource_by_identifier(
        &mut self,
        issuer: &IssuerId,
        identifier: &str,
    ) -> Result<Option<Resource>, StoreError> {
        self.resource_where(BY_IDENTIFIER, issuer, identifier).await
    }

    async fn resource_where(
        &mut self,
        sql: &'static str,
        issuer: &IssuerId,
        id: &str,
    ) -> Result<Option<Resource>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, ResourceRow>(sql)
            .bind(issuer.as_str())
            .bind(key(id))
            .fetch_all(connection))?;
        Ok(self.with_scopes(issuer, rows).await?.pop())
    }

    /// All resources that are not removed, by name.
    pub async fn resources(&mut self, issuer: &IssuerId) -> Result<Vec<Resource>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, ResourceRow>(LIVE)
            .bind(issuer.as_str())
            .fetch_all(connection))?;
        self.with_scopes(issuer, rows).await
    }

    /// The first `limit` resources that are not removed after the name `after`, by name.
    pub async fn resources_page(
        &mut self,
        issuer: &IssuerId,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Resource>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, ResourceRow>(PAGE)
            .bind(issuer.as_str())
            .bind(cursor(after))
            .bind(limit)
            .fetch_all(connection))?;
        self.with_scopes(issuer, rows).await
    }

    async fn with_scopes(
        &mut self,
        issuer: &IssuerId,
        rows: Vec<ResourceRow>,
    ) -> Result<Vec<Resource>, StoreError> {
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let mut scopes: HashMap<String, Vec<String>> = HashMap::new();
        for (resource, scope) in self
            .rows_of::<(String, String)>(&SCOPES_OF, issuer, &ids)
            .await?
        {
            scopes.entry(resource).or_default().push(scope);
        }
        rows.into_iter()
            .map(|row| {
                let scopes = scopes.remove(&row.id).unwrap_or_default();
                row.resource(&scopes)
            })
            .collect()
    }
}
