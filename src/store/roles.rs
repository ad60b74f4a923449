//! Roles with their grants. Removed roles stay as rows, so that a name is never reused.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::error::StoreError;
use super::rows::RowLists;
use super::transaction::{Tx, execute, on_engine};
use super::{cursor, key};
use crate::domain::id::{IssuerId, ResourceId, RoleId};
use crate::domain::name::Name;
use crate::domain::role::{Grant, GrantedScopes, Role};
use crate::domain::scope::{Scope, Scopes};
use crate::ports::time::UnixTime;

/// In the column `scope`: all scopes that the resource has.
const ALL_SCOPES: &str = "*";
/// In the column `scope`: the resource, without any scope.
const NO_SCOPE: &str = "";

#[derive(sqlx::FromRow)]
struct RoleRow {
    id: String,
    name: String,
    description: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
    removed_at: Option<i64>,
}

impl RoleRow {
    /// `grants`: resource id and scope of each of the role's rows, in any order.
    fn role(self, grants: Vec<(String, String)>) -> Result<Role, StoreError> {
        let damage = |what: &str| StoreError::corrupt(format!("role {}: {what}", self.id));
        let name = Name::parse(&self.name).map_err(|invalid| damage(&invalid.to_string()))?;
        let mut by_resource: BTreeMap<String, GrantedScopes> = BTreeMap::new();
        for (resource, scope) in grants {
            let granted = by_resource
                .entry(resource)
                .or_insert_with(|| GrantedScopes::Only(Scopes::new()));
            match (granted, scope.as_str()) {
                (granted, ALL_SCOPES) => *granted = GrantedScopes::All,
                (GrantedScopes::All, _) | (GrantedScopes::Only(_), NO_SCOPE) => {}
                (GrantedScopes::Only(scopes), scope) => {
                    scopes.insert(
                        Scope::parse(scope).map_err(|invalid| damage(&invalid.to_string()))?,
                    );
                }
            }
        }
        let grants = by_resource
            .into_iter()
            .map(|(resource, scopes)| Grant {
                resource: ResourceId::from_text(resource),
                scopes,
            })
            .collect();
        Ok(Role {
            id: RoleId::from_text(self.id),
            name,
            description: self.description,
            grants,
            version: self.version,
            created_at: UnixTime(self.created_at),
            updated_at: UnixTime(self.updated_at),
            removed_at: self.removed_at.map(UnixTime),
        })
    }
}

macro_rules! select_roles {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, description, version, created_at, updated_at, removed_at FROM roles ",
            $rest
        )
    };
}

const INSERT: &str = "INSERT INTO roles (issuer_id, id, name, description, version, created_at, updated_at, removed_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
// A removed role stays unchanged.
const UPDATE: &str = "UPDATE roles SET description = $4, version = $5, updated_at = $6, removed_at = $7 \
     WHERE issuer_id = $1 AND id = $2 AND version = $3 AND removed_at IS NULL";
const BY_NAME: &str = select_roles!("WHERE issuer_id = $1 AND name = $2");
const LIVE: &str = select_roles!("WHERE issuer_id = $1 AND removed_at IS NULL ORDER BY name");
const PAGE: &str = select_roles!(
    "WHERE issuer_id = $1 AND name > $2 AND removed_at IS NULL ORDER BY name LIMIT $3"
);
const GRANTING: &str = "SELECT name FROM roles AS role WHERE issuer_id = $1 AND removed_at IS NULL \
     AND EXISTS (SELECT 1 FROM role_grants AS entry WHERE entry.issuer_id = role.issuer_id \
         AND entry.role_id = role.id AND entry.resource_id = $2) \
     ORDER BY name";
const DELETE_GRANTS: &str = "DELETE FROM role_grants WHERE issuer_id = $1 AND role_id = $2";

static INSERT_GRANTS: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::values(
        "INSERT INTO role_grants (issuer_id, role_id, resource_id, scope)",
        4,
        "",
    )
});
static GRANTS_OF: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::of_issuer(
        "SELECT role_id, resource_id, scope FROM role_grants",
        "role_id",
    )
});

impl Tx {
    /// Makes a role with its grants. False when its name was ever used.
    pub async fn insert_role(
        &mut self,
        issuer: &IssuerId,
        role: &Role,
    ) -> Result<bool, StoreError> {
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(role.id.as_str())
                .bind(role.name.as_str())
                .bind(&role.description)
                .bind(role.version)
                .bind(role.created_at.0)
                .bind(role.updated_at.0)
                .bind(role.removed_at.map(|at| at.0))
        )?;
        if inserted == 0 {
            return Ok(false);
        }
        self.insert_grants(issuer, role).await?;
        Ok(true)
    }

    /// Changes a role except its name, if its version is `expected_version` and it is not removed; else returns
    /// false.
    pub async fn update_role(
        &mut self,
        issuer: &IssuerId,
        role: &Role,
        expected_version: i64,
    ) -> Result<bool, StoreError> {
        let updated = execute!(
            self,
            sqlx::query(UPDATE)
                .bind(issuer.as_str())
                .bind(role.id.as_str())
                .bind(expected_version)
                .bind(&role.description)
                .bind(role.version)
                .bind(role.updated_at.0)
                .bind(role.removed_at.map(|at| at.0))
        )?;
        if updated == 0 {
            return Ok(false);
        }
        execute!(
            self,
            sqlx::query(DELETE_GRANTS)
                .bind(issuer.as_str())
                .bind(role.id.as_str())
        )?;
        self.insert_grants(issuer, role).await?;
        Ok(true)
    }

    async fn insert_grants(&mut self, issuer: &IssuerId, role: &Role) -> Result<(), StoreError> {
        let mut rows = Vec::new();
        for grant in &role.grants {
            let row = |scope| {
                [
                    issuer.as_str(),
                    role.id.as_str(),
                    grant.resource.as_str(),
                    scope,
                ]
            };
            match &grant.scopes {
                GrantedScopes::All => rows.push(row(ALL_SCOPES)),
                GrantedScopes::Only(scopes) if scopes.is_empty() => rows.push(row(NO_SCOPE)),
                GrantedScopes::Only(scopes) => {
                    rows.extend(scopes.iter().map(|scope| row(scope.as_str())))
                }
            }
        }
        self.insert_texts(&INSERT_GRANTS, &rows).await
    }

    /// The role with that name, also a removed one.
    pub async fn role_by_name(
        &mut self,
        issuer: &IssuerId,
        name: &str,
    ) -> Result<Option<Role>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, RoleRow>(BY_NAME)
            .bind(issuer.as_str())
            .bind(key(name))
            .fetch_all(connection))?;
        Ok(self.with_grants(issuer, rows).await?.pop())
    }

    /// All roles that are not removed, by name.
    pub async fn roles(&mut self, issuer: &IssuerId) -> Result<Vec<Role>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, RoleRow>(LIVE)
            .bind(issuer.as_str())
            .fetch_all(connection))?;
        self.with_grants(issuer, rows).await
    }

    /// The first `limit` roles that are not removed after the name `after`, by name.
    pub async fn roles_page(
        &mut self,
        issuer: &IssuerId,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Role>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, RoleRow>(PAGE)
            .bind(issuer.as_str())
            .bind(cursor(after))
            .bind(limit)
            .fetch_all(connection))?;
        self.with_grants(issuer, rows).await
    }

    async fn with_grants(
        &mut self,
        issuer: &IssuerId,
        rows: Vec<RoleRow>,
    ) -> Result<Vec<Role>, StoreError> {
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let mut grants: HashMap<String, Vec<(String, String)>> = HashMap::new();
        for (role, resource, scope) in self
            .rows_of::<(String, String, String)>(&GRANTS_OF, issuer, &ids)
            .await?
        {
            grants.entry(role).or_default().push((resource, scope));
        }
        rows.into_iter()
            .map(|row| {
                let grants = grants.remove(&row.id).unwrap_or_default();
                row.role(grants)
            })
            .collect()
    }

    /// The names of the roles, not removed, that grant a resource, sorted.
    pub async fn roles_granting(
        &mut self,
        issuer: &IssuerId,
        resource: &ResourceId,
    ) -> Result<Vec<Name>, StoreError> {
        let names: Vec<String> = on_engine!(self, connection => sqlx::query_scalar(GRANTING)
            .bind(issuer.as_str())
            .bind(key(resource.as_str()))
            .fetch_all(connection))?;
        names
            .iter()
            .map(|name| {
                Name::parse(name)
                    .map_err(|invalid| StoreError::corrupt(format!("a role: {invalid}")))
            })
            .collect()
    }
}
