//! Agents with their groups and roles. Removed agents keep their rows: names and subjects are never reused.

mod memberships;
mod pages;

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use crate::domain::agent::{Agent, AgentStatus};
use crate::domain::assertion_audience::AssertionAudience;
use crate::domain::credential::Credential;
use crate::domain::delegation::Delegation;
use crate::domain::id::{AgentId, GroupId, IssuerId, RoleId};
use crate::domain::name::Name;
use crate::domain::subject::Subject;
use crate::ports::time::UnixTime;

use super::error::StoreError;
use super::key;
use super::rows::RowLists;
use super::transaction::{Tx, execute, on_engine};

pub use pages::{AgentFilter, Among, HeldBy, RoleHolders};

use memberships::{DELETE_GROUPS, DELETE_ROLES};

/// An agent with all its credentials and delegations, read at one moment.
#[derive(Clone, Debug)]
pub struct AgentAggregate {
    /// The agent.
    pub agent: Agent,
    /// Its credentials, newest last, also expired and revoked ones.
    pub credentials: Vec<Credential>,
    /// Its delegations that are not revoked, oldest first, also expired ones.
    pub delegations: Vec<Delegation>,
}

#[derive(sqlx::FromRow)]
struct AgentRow {
    id: String,
    name: String,
    subject: String,
    owner: String,
    description: String,
    attributes: String,
    status: String,
    status_at: Option<i64>,
    expires_at: Option<i64>,
    dpop_required: bool,
    assertion_audience: Option<String>,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl AgentRow {
    fn agent(self, groups: Vec<GroupId>, roles: Vec<RoleId>) -> Result<Agent, StoreError> {
        let damage = |what: &str| StoreError::corrupt(format!("agent {}: {what}", self.id));
        let name = Name::parse(&self.name).map_err(|invalid| damage(&invalid.to_string()))?;
        let attributes: BTreeMap<String, String> = serde_json::from_str(&self.attributes)
            .map_err(|_| damage("its attributes are not a JSON object of strings"))?;
        let status = match (self.status.as_str(), self.status_at.map(UnixTime)) {
            ("active", None) => AgentStatus::Active,
            ("suspended", Some(at)) => AgentStatus::Suspended { at },
            ("removed", Some(at)) => AgentStatus::Removed { at },
            _ => return Err(damage("its status and its time do not match")),
        };
        let assertion_audience = self
            .assertion_audience
            .as_deref()
            .map(AssertionAudience::parse)
            .transpose()
            .map_err(|invalid| damage(&invalid.to_string()))?;
        Ok(Agent {
            id: AgentId::from_text(self.id),
            name,
            subject: Subject::from_stored(self.subject),
            owner: self.owner,
            description: self.description,
            attributes,
            status,
            expires_at: self.expires_at.map(UnixTime),
            dpop_required: self.dpop_required,
            assertion_audience,
            groups,
            roles,
            version: self.version,
            created_at: UnixTime(self.created_at),
            updated_at: UnixTime(self.updated_at),
        })
    }
}

macro_rules! select_agents {
    ($rest:literal) => {
        concat!(
            "SELECT id, name, subject, owner, description, attributes, status, status_at, expires_at, dpop_required, \
             assertion_audience, version, created_at, updated_at FROM agents AS agent ",
            $rest
        )
    };
}

use select_agents;

const INSERT: &str = "INSERT INTO agents (issuer_id, id, name, subject, owner, description, attributes, status, \
     status_at, expires_at, dpop_required, assertion_audience, version, created_at, updated_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING";
// A removed agent stays unchanged.
const UPDATE: &str = "UPDATE agents SET owner = $4, description = $5, attributes = $6, status = $7, status_at = $8, \
     expires_at = $9, dpop_required = $10, assertion_audience = $11, version = $12, updated_at = $13 \
     WHERE issuer_id = $1 AND id = $2 AND version = $3 AND status <> 'removed'";
const TOUCH: &str =
    "UPDATE agents SET version = $3, updated_at = $4 WHERE issuer_id = $1 AND id = $2";
const BY_NAME: &str = select_agents!("WHERE issuer_id = $1 AND name = $2");
const BY_ID: &str = select_agents!("WHERE issuer_id = $1 AND id = $2");
const NAME_BY_SUBJECT: &str = "SELECT name FROM agents WHERE issuer_id = $1 AND subject = $2";
// With the name: SQLite would read a covering index from end to end.
static VERSIONS: LazyLock<RowLists> =
    LazyLock::new(|| RowLists::of_issuer("SELECT id, name, version FROM agents", "id"));
const VERSION: &str = "SELECT version FROM agents WHERE issuer_id = $1 AND id = $2";
const CHANGED: &str =
    "SELECT id FROM agents WHERE issuer_id = $1 AND version > $2 ORDER BY version, id LIMIT $3";

static NAMES_OF: LazyLock<RowLists> =
    LazyLock::new(|| RowLists::of_issuer("SELECT id, name FROM agents", "id"));

impl Tx {
    /// Registers an agent with its groups and roles. False when its name or subject was ever used.
    pub async fn insert_agent(
        &mut self,
        issuer: &IssuerId,
        agent: &Agent,
    ) -> Result<bool, StoreError> {
        let attributes = serde_json::to_string(&agent.attributes).map_err(StoreError::rejected)?;
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(agent.id.as_str())
                .bind(agent.name.as_str())
                .bind(agent.subject.as_str())
                .bind(&agent.owner)
                .bind(&agent.description)
                .bind(&attributes)
                .bind(agent.status.as_str())
                .bind(agent.status.since().map(|at| at.0))
                .bind(agent.expires_at.map(|at| at.0))
                .bind(agent.dpop_required)
                .bind(agent.assertion_audience.map(AssertionAudience::as_str))
                .bind(agent.version)
                .bind(agent.created_at.0)
                .bind(agent.updated_at.0)
        )?;
        if inserted == 0 {
            return Ok(false);
        }
        self.insert_memberships(issuer, agent).await?;
        Ok(true)
    }

    /// Changes an agent except its name and subject, if its version is `expected_version` and it is not
    /// removed; else returns false.
    pub async fn update_agent(
        &mut self,
        issuer: &IssuerId,
        agent: &Agent,
        expected_version: i64,
    ) -> Result<bool, StoreError> {
        let attributes = serde_json::to_string(&agent.attributes).map_err(StoreError::rejected)?;
        let updated = execute!(
            self,
            sqlx::query(UPDATE)
                .bind(issuer.as_str())
                .bind(agent.id.as_str())
                .bind(expected_version)
                .bind(&agent.owner)
                .bind(&agent.description)
                .bind(&attributes)
                .bind(agent.status.as_str())
                .bind(agent.status.since().map(|at| at.0))
                .bind(agent.expires_at.map(|at| at.0))
                .bind(agent.dpop_required)
                .bind(agent.assertion_audience.map(AssertionAudience::as_str))
                .bind(agent.version)
                .bind(agent.updated_at.0)
        )?;
        if updated == 0 {
            return Ok(false);
        }
        for delete in [DELETE_GROUPS, DELETE_ROLES] {
            execute!(
                self,
                sqlx::query(delete)
                    .bind(issuer.as_str())
                    .bind(agent.id.as_str())
            )?;
        }
        self.insert_memberships(issuer, agent).await?;
        Ok(true)
    }

    /// Marks an agent as changed because its credentials changed.
    pub async fn touch_agent(
        &mut self,
        issuer: &IssuerId,
        agent: &AgentId,
        version: i64,
        now: UnixTime,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            sqlx::query(TOUCH)
                .bind(issuer.as_str())
                .bind(agent.as_str())
                .bind(version)
                .bind(now.0)
        )?;
        Ok(())
    }

    /// The agent with that name, also a removed one.
    pub async fn agent_by_name(
        &mut self,
        issuer: &IssuerId,
        name: &str,
    ) -> Result<Option<Agent>, StoreError> {
        self.agent_where(BY_NAME, issuer, name).await
    }

    /// The agent with that name and its credentials, also a removed one.
    pub async fn aggregate_by_name(
        &mut self,
        issuer: &IssuerId,
        name: &str,
    ) -> Result<Option<AgentAggregate>, StoreError> {
        let agent = self.agent_where(BY_NAME, issuer, name).await?;
        self.aggregated(issuer, agent).await
    }

    /// The agent with that id and its credentials, also a removed one.
    pub async fn aggregate(
        &mut self,
        issuer: &IssuerId,
        agent: &AgentId,
    ) -> Result<Option<AgentAggregate>, StoreError> {
        let agent = self.agent_where(BY_ID, issuer, agent.as_str()).await?;
        self.aggregated(issuer, agent).await
    }

    /// The name of the agent with that subject, also a removed one's.
    pub async fn agent_name_by_subject(
        &mut self,
        issuer: &IssuerId,
        subject: &str,
    ) -> Result<Option<String>, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(NAME_BY_SUBJECT)
            .bind(issuer.as_str())
            .bind(key(subject))
            .fetch_optional(connection))
    }

    /// The names of agents, also removed ones'.
    pub async fn agent_names(
        &mut self,
        issuer: &IssuerId,
        ids: &[&str],
    ) -> Result<HashMap<AgentId, Name>, StoreError> {
        self.rows_of::<(String, String)>(&NAMES_OF, issuer, ids)
            .await?
            .into_iter()
            .map(|(id, name)| {
                let name = Name::parse(&name)
                    .map_err(|invalid| StoreError::corrupt(format!("agent {id}: {invalid}")))?;
                Ok((AgentId::from_text(id), name))
            })
            .collect()
    }

    async fn agent_where(
        &mut self,
        sql: &'static str,
        issuer: &IssuerId,
        id: &str,
    ) -> Result<Option<Agent>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, AgentRow>(sql)
            .bind(issuer.as_str())
            .bind(key(id))
            .fetch_all(connection))?;
        Ok(self.with_memberships(issuer, rows).await?.pop())
    }

    async fn aggregated(
        &mut self,
        issuer: &IssuerId,
        agent: Option<Agent>,
    ) -> Result<Option<AgentAggregate>, StoreError> {
        let Some(agent) = agent else { return Ok(None) };
        let credentials = self.credentials_of(issuer, &agent.id).await?;
        let delegations = self.delegations_of(issuer, &agent.id).await?;
        Ok(Some(AgentAggregate {
            agent,
            credentials,
            delegations,
        }))
    }

    /// The version of an agent.
    pub async fn agent_version(
        &mut self,
        issuer: &IssuerId,
        agent: &AgentId,
    ) -> Result<Option<i64>, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(VERSION)
            .bind(issuer.as_str())
            .bind(key(agent.as_str()))
            .fetch_optional(connection))
    }

    /// The versions of those agents that exist.
    pub async fn agent_versions(
        &mut self,
        issuer: &IssuerId,
        agents: &[&str],
    ) -> Result<HashMap<AgentId, i64>, StoreError> {
        let ids: Vec<&str> = agents.iter().map(|id| key(id)).collect();
        let rows: Vec<(String, String, i64)> = self.rows_of(&VERSIONS, issuer, &ids).await?;
        Ok(rows
            .into_iter()
            .map(|(id, _, version)| (AgentId::from_text(id), version))
            .collect())
    }

    /// The first `limit` agents with a version above `since_version`, also removed ones, by version.
    pub async fn changed_agents(
        &mut self,
        issuer: &IssuerId,
        since_version: i64,
        limit: i64,
    ) -> Result<Vec<AgentId>, StoreError> {
        let ids: Vec<String> = on_engine!(self, connection => sqlx::query_scalar(CHANGED)
            .bind(issuer.as_str())
            .bind(since_version)
            .bind(limit)
            .fetch_all(connection))?;
        Ok(ids.into_iter().map(AgentId::from_text).collect())
    }
}
