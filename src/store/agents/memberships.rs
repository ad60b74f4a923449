//! The groups and roles of agents.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::domain::agent::Agent;
use crate::domain::id::{GroupId, IssuerId, RoleId};
use crate::store::error::StoreError;
use crate::store::rows::RowLists;
use crate::store::transaction::Tx;

use super::AgentRow;

pub(super) const DELETE_GROUPS: &str =
    "DELETE FROM agent_groups WHERE issuer_id = $1 AND agent_id = $2";
pub(super) const DELETE_ROLES: &str =
    "DELETE FROM agent_roles WHERE issuer_id = $1 AND agent_id = $2";

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

impl Tx {
    pub(super) async fn insert_memberships(
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

    pub(super) async fn with_memberships(
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
}
