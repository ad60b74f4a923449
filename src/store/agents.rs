//! Agents with their groups and roles. Removed agents keep their rows: names and subjects are never reused.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use super::error::StoreError;
use super::rows::RowLists;
use super::transaction::{Tx, execute, on_engine};
use super::{cursor, key};
use crate::domain::agent::{Agent, AgentStatus};
use crate::domain::assertion_audience::AssertionAudience;
use crate::domain::credential::Credential;
use crate::domain::delegation::Delegation;
use crate::domain::id::{AgentId, GroupId, IssuerId, RoleId};
use crate::domain::name::Name;
use crate::domain::subject::Subject;
use crate::ports::time::UnixTime;

/// An agent with all its credentials and what it may do for others, read at one moment.
#[derive(Clone, Debug)]
pub struct AgentAggregate {
    /// The agent.
    pub agent: Agent,
    /// Its credentials, newest last; expired and revoked ones too.
    pub credentials: Vec<Credential>,
    /// Its delegations that are not revoked, oldest first; expired ones too.
    pub delegations: Vec<Delegation>,
}

/// Groups whose members are read one group after the other; of a role that more groups pass on, the
/// holders are looked for among all agents.
const GROUPS_MERGED_MAX: usize = 16;

/// Which agents to list; what is `None` does not narrow.
#[derive(Clone, Debug, Default)]
pub struct AgentFilter<'a> {
    /// Of this status; `None`: all but removed ones.
    pub status: Option<&'a str>,
    /// With this text in its name. Names are lower case, so case does not count.
    pub name_contains: Option<String>,
}

/// The agents that belong to a group, hold a role, or both.
#[derive(Clone, Copy, Debug)]
pub enum Among<'a> {
    /// Those in a group.
    Group(&'a GroupId),
    /// Those that hold a role.
    Role(HeldBy<'a>),
    /// Those in a group that hold a role.
    Both(&'a GroupId, HeldBy<'a>),
}

/// The holders of a role: those it was given to, and the members of groups that pass it on.
#[derive(Clone, Copy, Debug)]
pub struct HeldBy<'a> {
    /// The role.
    pub role: &'a RoleId,
    /// The groups that pass it on; none: only those count that it was given to directly.
    pub groups: &'a [GroupId],
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
            _ => return Err(damage("its status and the time of it do not go together")),
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

/// Agents by a row that each has in another table, in the order of their ids.
macro_rules! select_among {
    ($rows:literal) => {
        concat!(
            "SELECT agent.id, agent.name, agent.subject, agent.owner, agent.description, agent.attributes, agent.status, \
             agent.status_at, agent.expires_at, agent.dpop_required, agent.assertion_audience, agent.version, agent.created_at, agent.updated_at FROM ",
            $rows,
            " AND held.agent_id > $2 AND (agent.status = $3 OR ($3 IS NULL AND agent.status <> 'removed')) \
             AND ($4 IS NULL OR agent.name LIKE $4 ESCAPE '!') ORDER BY held.agent_id LIMIT $5"
        )
    };
}

const INSERT: &str = "INSERT INTO agents (issuer_id, id, name, subject, owner, description, attributes, status, \
     status_at, expires_at, dpop_required, assertion_audience, version, created_at, updated_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) ON CONFLICT DO NOTHING";
// A removed agent stays as it is.
const UPDATE: &str = "UPDATE agents SET owner = $4, description = $5, attributes = $6, status = $7, status_at = $8, \
     expires_at = $9, dpop_required = $10, assertion_audience = $11, version = $12, updated_at = $13 \
     WHERE issuer_id = $1 AND id = $2 AND version = $3 AND status <> 'removed'";
const TOUCH: &str =
    "UPDATE agents SET version = $3, updated_at = $4 WHERE issuer_id = $1 AND id = $2";
const BY_NAME: &str = select_agents!("WHERE issuer_id = $1 AND name = $2");
const BY_ID: &str = select_agents!("WHERE issuer_id = $1 AND id = $2");
const NAME_BY_SUBJECT: &str = "SELECT name FROM agents WHERE issuer_id = $1 AND subject = $2";
// With the name: an index that has all that is asked for would be read whole.
static VERSIONS: LazyLock<RowLists> =
    LazyLock::new(|| RowLists::of_issuer("SELECT id, name, version FROM agents", "id"));
const VERSION: &str = "SELECT version FROM agents WHERE issuer_id = $1 AND id = $2";
const CHANGED: &str =
    "SELECT id FROM agents WHERE issuer_id = $1 AND version > $2 ORDER BY version, id LIMIT $3";
const PAGE: &str = select_agents!(
    "WHERE issuer_id = $1 AND name > $2 \
     AND (status = $3 OR ($3 IS NULL AND status <> 'removed')) \
     AND ($4 IS NULL OR name LIKE $4 ESCAPE '!') \
     ORDER BY name LIMIT $5"
);
const PAGE_OF_GROUP: &str = select_among!(
    "agent_groups AS held JOIN agents AS agent ON agent.issuer_id = held.issuer_id AND agent.id = held.agent_id \
     WHERE held.issuer_id = $1 AND held.group_id = $6 AND ($7 IS NULL \
         OR EXISTS (SELECT 1 FROM agent_roles AS assignment WHERE assignment.issuer_id = held.issuer_id \
             AND assignment.agent_id = held.agent_id AND assignment.role_id = $7) \
         OR ($8 AND EXISTS (SELECT 1 FROM agent_groups AS membership \
             JOIN group_roles AS passed ON passed.issuer_id = membership.issuer_id \
                 AND passed.group_id = membership.group_id AND passed.role_id = $7 \
             WHERE membership.issuer_id = held.issuer_id AND membership.agent_id = held.agent_id)))"
);
const PAGE_OF_ROLE: &str = select_among!(
    "agent_roles AS held JOIN agents AS agent ON agent.issuer_id = held.issuer_id AND agent.id = held.agent_id \
     WHERE held.issuer_id = $1 AND held.role_id = $6"
);
// For a role that many groups pass on: walks all agents, and reads past those that do not hold it. One EXISTS,
// because PostgreSQL would make each of two into a hash of a whole table.
const PAGE_OF_HOLDERS: &str = select_agents!(
    "WHERE issuer_id = $1 AND id > $2 \
     AND (status = $3 OR ($3 IS NULL AND status <> 'removed')) \
     AND ($4 IS NULL OR name LIKE $4 ESCAPE '!') \
     AND EXISTS (SELECT 1 FROM agent_roles AS assignment WHERE assignment.issuer_id = agent.issuer_id \
             AND assignment.agent_id = agent.id AND assignment.role_id = $6 \
         UNION ALL SELECT 1 FROM agent_groups AS membership \
             JOIN group_roles AS passed ON passed.issuer_id = membership.issuer_id \
                 AND passed.group_id = membership.group_id AND passed.role_id = $6 \
             WHERE membership.issuer_id = agent.issuer_id AND membership.agent_id = agent.id) \
     ORDER BY id LIMIT $5"
);
const COUNT_MEMBERS: &str = "SELECT COUNT(*) FROM agent_groups AS membership \
     JOIN agents AS agent ON agent.issuer_id = membership.issuer_id AND agent.id = membership.agent_id \
     WHERE membership.issuer_id = $1 AND membership.group_id = $2 AND agent.status <> 'removed'";
const COUNT_HOLDERS: &str = "SELECT (SELECT COUNT(*) FROM agent_roles AS assignment \
     JOIN agents AS agent ON agent.issuer_id = assignment.issuer_id AND agent.id = assignment.agent_id \
     WHERE assignment.issuer_id = $1 AND assignment.role_id = $2 AND agent.status <> 'removed') \
     + (SELECT COUNT(*) FROM group_roles AS assignment \
     JOIN groups AS team ON team.issuer_id = assignment.issuer_id AND team.id = assignment.group_id \
     WHERE assignment.issuer_id = $1 AND assignment.role_id = $2 AND team.removed_at IS NULL)";
const DELETE_GROUPS: &str = "DELETE FROM agent_groups WHERE issuer_id = $1 AND agent_id = $2";
const DELETE_ROLES: &str = "DELETE FROM agent_roles WHERE issuer_id = $1 AND agent_id = $2";

static INSERT_GROUPS: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::values(
        "INSERT INTO agent_groups (issuer_id, agent_id, group_id)",
        3,
        "",
    )
});
static INSERT_ROLES: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::values(
        "INSERT INTO agent_roles (issuer_id, agent_id, role_id)",
        3,
        "",
    )
});
static GROUPS_OF: LazyLock<RowLists> = LazyLock::new(|| {
    RowLists::of_issuer("SELECT agent_id, group_id FROM agent_groups", "agent_id")
});
static ROLES_OF: LazyLock<RowLists> =
    LazyLock::new(|| RowLists::of_issuer("SELECT agent_id, role_id FROM agent_roles", "agent_id"));
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

    /// Changes everything of an agent but its name and subject, if its version still is
    /// `expected_version` and it is not removed; else false.
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

    async fn insert_memberships(
        &mut self,
        issuer: &IssuerId,
        agent: &Agent,
    ) -> Result<(), StoreError> {
        let (issuer, id) = (issuer.as_str(), agent.id.as_str());
        let groups: Vec<_> = agent
            .groups
            .iter()
            .map(|group| [issuer, id, group.as_str()])
            .collect();
        self.insert_texts(&INSERT_GROUPS, &groups).await?;
        let roles: Vec<_> = agent
            .roles
            .iter()
            .map(|role| [issuer, id, role.as_str()])
            .collect();
        self.insert_texts(&INSERT_ROLES, &roles).await
    }

    /// Marks an agent as changed because its credentials were.
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

    /// The agent of that name, a removed one too.
    pub async fn agent_by_name(
        &mut self,
        issuer: &IssuerId,
        name: &str,
    ) -> Result<Option<Agent>, StoreError> {
        self.agent_where(BY_NAME, issuer, name).await
    }

    /// The agent of that name with its credentials, a removed one too.
    pub async fn aggregate_by_name(
        &mut self,
        issuer: &IssuerId,
        name: &str,
    ) -> Result<Option<AgentAggregate>, StoreError> {
        let agent = self.agent_where(BY_NAME, issuer, name).await?;
        self.aggregated(issuer, agent).await
    }

    /// The agent with that id and its credentials, a removed one too.
    pub async fn aggregate(
        &mut self,
        issuer: &IssuerId,
        agent: &AgentId,
    ) -> Result<Option<AgentAggregate>, StoreError> {
        let agent = self.agent_where(BY_ID, issuer, agent.as_str()).await?;
        self.aggregated(issuer, agent).await
    }

    /// The name of the agent with that subject, a removed one's too.
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

    /// The names of agents, removed ones' too.
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

    /// The versions of agents, those that there are.
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

    /// The first `limit` agents whose version is above `since_version`, removed ones too, by version.
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

    /// The first `limit` agents behind the name `after`, by name.
    pub async fn agents_page(
        &mut self,
        issuer: &IssuerId,
        filter: &AgentFilter<'_>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<Agent>, StoreError> {
        let rows = on_engine!(self, connection => sqlx::query_as::<_, AgentRow>(PAGE)
            .bind(issuer.as_str())
            .bind(cursor(after))
            .bind(filter.status.map(key))
            .bind(filter.name_contains.as_deref().map(containing))
            .bind(limit)
            .fetch_all(connection))?;
        self.with_memberships(issuer, rows).await
    }

    /// The first `limit` agents behind the id `after` that are among those, by id: in the order in which
    /// they were registered.
    pub async fn agents_among(
        &mut self,
        issuer: &IssuerId,
        among: Among<'_>,
        filter: &AgentFilter<'_>,
        (after, limit): (Option<&AgentId>, i64),
    ) -> Result<Vec<Agent>, StoreError> {
        let step = Step {
            issuer,
            filter,
            after: after.map_or("", |after| key(after.as_str())),
            limit,
        };
        let rows = match among {
            Among::Group(group) => self.of_group(&step, group, None).await?,
            // A group that passes the role on: all of its members hold it.
            Among::Both(group, held) if held.groups.contains(group) => {
                self.of_group(&step, group, None).await?
            }
            Among::Both(group, held) => self.of_group(&step, group, Some(held)).await?,
            Among::Role(held) if held.groups.len() > GROUPS_MERGED_MAX => {
                self.of_role(PAGE_OF_HOLDERS, &step, held.role).await?
            }
            Among::Role(held) => {
                let mut rows = self.of_role(PAGE_OF_ROLE, &step, held.role).await?;
                for group in held.groups {
                    rows.append(&mut self.of_group(&step, group, None).await?);
                }
                // Of each group the first are here, so that the first of all are.
                rows.sort_by(|one, other| one.id.cmp(&other.id));
                rows.dedup_by(|one, other| one.id == other.id);
                rows.truncate(usize::try_from(limit).unwrap_or(0));
                rows
            }
        };
        self.with_memberships(issuer, rows).await
    }

    async fn of_group(
        &mut self,
        step: &Step<'_>,
        group: &GroupId,
        held: Option<HeldBy<'_>>,
    ) -> Result<Vec<AgentRow>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, AgentRow>(PAGE_OF_GROUP)
            .bind(step.issuer.as_str())
            .bind(step.after)
            .bind(step.filter.status.map(key))
            .bind(step.filter.name_contains.as_deref().map(containing))
            .bind(step.limit)
            .bind(key(group.as_str()))
            .bind(held.map(|held| key(held.role.as_str())))
            .bind(held.is_some_and(|held| !held.groups.is_empty()))
            .fetch_all(connection))
    }

    async fn of_role(
        &mut self,
        sql: &'static str,
        step: &Step<'_>,
        role: &RoleId,
    ) -> Result<Vec<AgentRow>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, AgentRow>(sql)
            .bind(step.issuer.as_str())
            .bind(step.after)
            .bind(step.filter.status.map(key))
            .bind(step.filter.name_contains.as_deref().map(containing))
            .bind(step.limit)
            .bind(key(role.as_str()))
            .fetch_all(connection))
    }

    async fn with_memberships(
        &mut self,
        issuer: &IssuerId,
        rows: Vec<AgentRow>,
    ) -> Result<Vec<Agent>, StoreError> {
        let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
        let mut groups: HashMap<String, Vec<GroupId>> = HashMap::new();
        for (agent, group) in self
            .rows_of::<(String, String)>(&GROUPS_OF, issuer, &ids)
            .await?
        {
            groups
                .entry(agent)
                .or_default()
                .push(GroupId::from_text(group));
        }
        let mut roles: HashMap<String, Vec<RoleId>> = HashMap::new();
        for (agent, role) in self
            .rows_of::<(String, String)>(&ROLES_OF, issuer, &ids)
            .await?
        {
            roles
                .entry(agent)
                .or_default()
                .push(RoleId::from_text(role));
        }
        rows.into_iter()
            .map(|row| {
                let mut groups = groups.remove(&row.id).unwrap_or_default();
                groups.sort_unstable();
                let mut roles = roles.remove(&row.id).unwrap_or_default();
                roles.sort_unstable();
                row.agent(groups, roles)
            })
            .collect()
    }

    /// How many agents that are not removed are in a group.
    pub async fn count_group_members(
        &mut self,
        issuer: &IssuerId,
        group: &GroupId,
    ) -> Result<i64, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(COUNT_MEMBERS)
            .bind(issuer.as_str())
            .bind(key(group.as_str()))
            .fetch_one(connection))
    }

    /// How many agents and groups that are not removed were given a role directly.
    pub async fn count_role_holders(
        &mut self,
        issuer: &IssuerId,
        role: &RoleId,
    ) -> Result<i64, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(COUNT_HOLDERS)
            .bind(issuer.as_str())
            .bind(key(role.as_str()))
            .fetch_one(connection))
    }
}

/// What every way to a page of agents is bound to.
struct Step<'a> {
    issuer: &'a IssuerId,
    filter: &'a AgentFilter<'a>,
    /// The id of the last agent of the page before; empty: none.
    after: &'a str,
    limit: i64,
}

/// A LIKE pattern for names that contain `text`; `%` and `_` in it stand for themselves. In lower case,
/// because LIKE minds the case on PostgreSQL alone and names have no other.
fn containing(text: &str) -> String {
    if text.contains('\0') {
        return String::new(); // matches no name
    }
    let mut pattern = String::from("%");
    for c in text.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(c);
    }
    pattern.push('%');
    pattern
}
