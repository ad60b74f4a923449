//! Groups with their roles. Removed groups stay as rows, so that a name is never reused.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::error::StoreError;
use super::rows::RowLists;
use super::transaction::{Tx, execute, on_engine};
use super::{cursor, key};
use crate::domain::group::Group;
use crate::domain::id::{GroupId, IssuerId, RoleId};
use crate::domain::name::Name;
use crate::ports::time::UnixTime;

#[derive(sqlx::FromRow)]
struct GroupRow {
    id: String,
    name: String,
    description: String,
    version: i64,
    created_at: i64,
    updated_at: i64,
    removed_at: Option<i64>,
}

impl GroupRow {
    fn group(self, roles: Vec<RoleId>) -> Result<Group, StoreError> {
        let name = Name::parse(&self.name)
            .map_err(|invalid| StoreError::corrupt(format!("group {}: {invalid}", self.id)))?;
        Ok(Group {
            id: GroupId::from_text(self.id),
            name,
            description: self.description,
            roles,
            version: self.version,
            created_at: UnixTime(self.created_at),
            updated_at: UnixTime(self.updated_at),
            removed_at: self.removed_at.map(UnixTime),
        })
    }
}

macro_rules! select_groups {
    ($rest:literal) => {
        concat!("SELECT id, name, description, version, created_at, updated_at, removed_at FROM groups ", $rest)
    };
}

const INSERT: &str = "INSERT INTO groups (issuer_id, id, name, description, version, created_at, updated_at, removed_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
// A removed group stays unchanged.
const UPDATE: &str = "UPDATE groups SET description = $4, version = $5, updated_at = $6, removed_at = $7 \
     WHERE issuer_id = $1 AND id = $2 AND version = $3 AND removed_at IS NULL";
const BY_NAME: &str = select_groups!("WHERE issuer_id = $1 AND name = $2");
const LIVE: &str = select_groups!("WHERE issuer_id = $1 AND removed_at IS NULL ORDER BY name");
const PAGE: &str = select_groups!(
    "WHERE issuer_id = $1 AND name > $2 AND removed_at IS NULL ORDER BY name LIMIT $3"
);
const DELETE_ROLES: &str = "DELETE FROM group_roles WHERE issuer_id = $1 AND group_id = $2";

static INSERT_ROLES: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::values(
        "INSERT INTO group_roles (issuer_id, group_id, role_id)",
        3,
        "",
    )
});
static ROLES_OF: LazyLock<RowLists> =
    LazyLock::new(|| RowLists::of_issuer("SELECT group_id, role_id FROM group_roles", "group_id"));

impl Tx {
    /// Makes a group with its roles. False when its name was ever used.
    pub async fn insert_group(
        &mut self,
        issuer: &IssuerId,
        group: &Group,
    ) -> Result<bool, StoreError> {
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(group.id.as_str())
                .bind(group.name.as_str())
                .bind(&group.description)
                .bind(group.version)
                .bind(group.created_at.0)
                .bind(group.updated_at.0)
                .bind(group.removed_at.map(|at| at.0))
        )?;
        if inserted == 0 {
            return Ok(false);
        }
        self.insert_group_roles(issuer, group).await?;
        Ok(true)
    }

    /// Changes a group except its name, if its version is `expected_version` and it is not removed; else
    /// returns false.
    pub async fn update_group(
        &mut self,
        issuer: &IssuerId,
        group: &Group,
        expected_version: i64,
    ) -> Result<bool, StoreError> {
        let updated = execute!(
            self,
            sqlx::query(UPDATE)
                .bind(issuer.as_str())
                .bind(group.id.as_str())
                .bind(expected_version)
                .bind(&group.description)
                .bind(group.version)
                .bind(group.updated_at.0)
                .bind(group.removed_at.map(|at| at.0))
        )?;
        if updated == 0 {
            return Ok(false);
        }
        execute!(
            self,
            sqlx::query(DELETE_ROLES)
                .bind(issuer.as_str())
                .bind(group.id.as_str())
        )?;
        self.insert_group_roles(issuer, group).await?;
        Ok(true)
    }

    async fn insert_group_roles(
        &mut self,
        issuer: &IssuerId,
        group: &Group,
    ) -> Result<(), StoreError> {
        let rows: Vec<_> = group
            .roles
            .iter()
            .map(|role| [issuer.as_str(), group.id.as_str(), role.as_str()])
            .collect();
        self.insert_texts(&INSERT_ROLES, &rows).await
    }

    /// The group with that name, also a removed one.
    pub async fn group_by_name(
        &mut self,
        issuer: &IssuerId,
        name: &str,
    ) -> Result<Option<Group>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, GroupRow>(BY_NAME)
            .bind(issuer.as_str())
            .bind(key(name))
            .fetch_all(connection))?;
        Ok(self.with_group_roles(issuer, rows).await?.pop())
    }

    /// All groups that are not removed, by name.
    pub async fn groups(&mut self, issuer: &IssuerId) -> Result<Vec<Group>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, GroupRow>(LIVE)
            .bind(issuer.as_str())
            .fetch_all(connection))?;
        self.with_group_roles(issuer, rows).await
    }

    /// The first `limit` groups that are not removed after the name `after`, by name.
    pub async fn groups_page(
        &mut self,
        issuer: &IssuerId,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Group>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, GroupRow>(PAGE)
            .bind(issuer.as_str())
            .bind(cursor(after))
            .bind(limit)
            .fetch_all(connection))?;
        self.with_group_roles(issuer, rows).await
    }

    async fn with_group_roles(
        &mut self,
        issuer: &IssuerId,
        rows: Vec<GroupRow>,
    ) -> Result<Vec<Group>, StoreError> {
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let mut roles: HashMap<String, Vec<RoleId>> = HashMap::new();
        for (group, role) in self
            .rows_of::<(String, String)>(&ROLES_OF, issuer, &ids)
            .await?
        {
            roles
                .entry(group)
                .or_default()
                .push(RoleId::from_text(role));
        }
        rows.into_iter()
            .map(|row| {
                let mut roles = roles.remove(&row.id).unwrap_or_default();
                roles.sort_unstable();
                row.group(roles)
            })
            .collect()
    }
}
