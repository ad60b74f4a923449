//! Lists of agents, and how many belong to a group or hold a role.

use crate::domain::agent::Agent;
use crate::domain::id::{GroupId, IssuerId, RoleId};
use crate::store::error::StoreError;
use crate::store::transaction::{Tx, on_engine};
use crate::store::{Window, cursor, key};

use super::{AgentRow, select_agents};

/// Groups whose members are read one group after the other. When more groups have a role, its holders are
/// searched among all agents.
const GROUPS_MERGED_MAX: usize = 16;

/// Which agents to list; a `None` does not narrow.
#[derive(Clone, Debug, Default)]
pub struct AgentFilter<'a> {
    /// With this status; `None`: all but removed ones.
    pub status: Option<&'a str>,
    /// With this text in its name. Names are lower case, so the search is too.
    pub name_contains: Option<String>,
}

/// Agents that belong to a group, hold a role, or both.
#[derive(Clone, Copy, Debug)]
pub enum Among<'a> {
    /// Those in a group.
    Group(&'a GroupId),
    /// Those that hold a role.
    Role(HeldBy<'a>),
    /// Those in a group that hold a role.
    Both(&'a GroupId, HeldBy<'a>),
}

/// The holders of a role: those with a direct assignment, and the members of groups that have it.
#[derive(Clone, Copy, Debug)]
pub struct HeldBy<'a> {
    /// The role.
    pub role: &'a RoleId,
    /// The groups that have it; without any, only direct assignments count.
    pub groups: &'a [GroupId],
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
// For a role of many groups: walks all agents, and skips those that do not hold it. One EXISTS, because
// PostgreSQL would turn each of two into a hash of a whole table.
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
const COUNT_MEMBERS: &str = "SELECT COUNT(*) FROM (SELECT agent.id FROM agent_groups AS membership \
     JOIN agents AS agent ON agent.issuer_id = membership.issuer_id AND agent.id = membership.agent_id \
     WHERE membership.issuer_id = $1 AND membership.group_id = $2 AND agent.status <> 'removed' LIMIT $3) AS counted";
const COUNT_HOLDERS: &str = "SELECT (SELECT COUNT(*) FROM (SELECT agent.id FROM agent_roles AS assignment \
     JOIN agents AS agent ON agent.issuer_id = assignment.issuer_id AND agent.id = assignment.agent_id \
     WHERE assignment.issuer_id = $1 AND assignment.role_id = $2 AND agent.status <> 'removed' LIMIT $3) AS held) AS agents, \
     (SELECT COUNT(*) FROM (SELECT team.id FROM group_roles AS assignment \
     JOIN groups AS team ON team.issuer_id = assignment.issuer_id AND team.id = assignment.group_id \
     WHERE assignment.issuer_id = $1 AND assignment.role_id = $2 AND team.removed_at IS NULL LIMIT $3) AS passed) AS groups";

/// How many were given a role directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct RoleHolders {
    /// Agents that are not removed.
    pub agents: i64,
    /// Groups that are not removed.
    pub groups: i64,
}

impl Tx {
    /// The first `limit` agents after the name `after`, by name.
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

    /// The agents of a window by id that match, in the order of their registration.
    pub async fn agents_among(
        &mut self,
        issuer: &IssuerId,
        among: Among<'_>,
        filter: &AgentFilter<'_>,
        window: Window<'_>,
    ) -> Result<Vec<Agent>, StoreError> {
        let step = Step {
            issuer,
            filter,
            after: window.after.map_or("", key),
            limit: window.limit,
        };
        let rows = match among {
            Among::Group(group) => self.of_group(&step, group, None).await?,
            // A group that has the role: all of its members hold it.
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
                // The result has the first of each group, so the first of all are among them.
                rows.sort_by(|one, other| one.id.cmp(&other.id));
                rows.dedup_by(|one, other| one.id == other.id);
                rows.truncate(usize::try_from(window.limit).unwrap_or(0));
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

    /// How many agents that are not removed are in a group; counts to `limit`.
    pub async fn count_group_members(
        &mut self,
        issuer: &IssuerId,
        group: &GroupId,
        limit: i64,
    ) -> Result<i64, StoreError> {
        on_engine!(self, connection => sqlx::query_scalar(COUNT_MEMBERS)
            .bind(issuer.as_str())
            .bind(key(group.as_str()))
            .bind(limit)
            .fetch_one(connection))
    }

    /// How many agents and groups that are not removed have a role directly, counted up to `limit` of each.
    pub async fn count_role_holders(
        &mut self,
        issuer: &IssuerId,
        role: &RoleId,
        limit: i64,
    ) -> Result<RoleHolders, StoreError> {
        on_engine!(self, connection => sqlx::query_as(COUNT_HOLDERS)
            .bind(issuer.as_str())
            .bind(key(role.as_str()))
            .bind(limit)
            .fetch_one(connection))
    }
}

/// The parameters of every page of agents.
struct Step<'a> {
    issuer: &'a IssuerId,
    filter: &'a AgentFilter<'a>,
    /// The id of the last agent of the previous page; empty: none.
    after: &'a str,
    limit: i64,
}

/// A LIKE pattern for names that contain `text`; `%` and `_` in it are literal. In lower case, because LIKE is
/// case-sensitive only on PostgreSQL and names are lower case.
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
