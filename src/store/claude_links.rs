//! Links of agents to their objects at Claude, at most one for each agent.

use super::error::StoreError;
use super::transaction::{Tx, execute, on_engine};
use super::{cursor, key};
use crate::domain::claude_link::{
    ClaudeLink, ClaudeObjects, IssuerObjectId, OrganizationId, RuleId, ServiceAccountId,
    WorkspaceId,
};
use crate::domain::id::{AgentId, IssuerId};
use crate::domain::name::Name;
use crate::ports::time::UnixTime;

#[derive(sqlx::FromRow)]
struct LinkRow {
    agent_id: String,
    agent_name: String,
    rule_id: String,
    organization_id: String,
    service_account_id: String,
    workspace_id: Option<String>,
    federation_issuer_id: Option<String>,
    token_lifetime: Option<i64>,
    version: i64,
    created_at: i64,
    updated_at: i64,
}

impl LinkRow {
    fn link(self) -> Result<(Name, ClaudeLink), StoreError> {
        let damage = |what: &dyn std::fmt::Display| {
            StoreError::corrupt(format!("Claude link of agent {}: {what}", self.agent_id))
        };
        let name = Name::parse(&self.agent_name).map_err(|invalid| damage(&invalid))?;
        let workspace = self.workspace_id.as_deref().map(WorkspaceId::parse);
        let issuer = self
            .federation_issuer_id
            .as_deref()
            .map(IssuerObjectId::parse);
        let objects = ClaudeObjects {
            rule: RuleId::parse(&self.rule_id).map_err(|invalid| damage(&invalid))?,
            organization: OrganizationId::parse(&self.organization_id)
                .map_err(|invalid| damage(&invalid))?,
            service_account: ServiceAccountId::parse(&self.service_account_id)
                .map_err(|invalid| damage(&invalid))?,
            workspace: workspace.transpose().map_err(|invalid| damage(&invalid))?,
            issuer: issuer.transpose().map_err(|invalid| damage(&invalid))?,
            token_lifetime: self.token_lifetime,
        };
        let link = ClaudeLink {
            objects,
            version: self.version,
            created_at: UnixTime(self.created_at),
            updated_at: UnixTime(self.updated_at),
            agent: AgentId::from_text(self.agent_id),
        };
        Ok((name, link))
    }
}

macro_rules! select_links {
    ($rest:literal) => {
        concat!(
            "SELECT claude_links.agent_id, agents.name AS agent_name, claude_links.rule_id, claude_links.organization_id, \
             claude_links.service_account_id, claude_links.workspace_id, claude_links.federation_issuer_id, \
             claude_links.token_lifetime, claude_links.version, claude_links.created_at, claude_links.updated_at \
             FROM claude_links JOIN agents ON agents.issuer_id = claude_links.issuer_id AND agents.id = claude_links.agent_id \
             WHERE claude_links.issuer_id = $1 ",
            $rest
        )
    };
}

const INSERT: &str = "INSERT INTO claude_links (issuer_id, agent_id, rule_id, organization_id, service_account_id, workspace_id, \
     federation_issuer_id, token_lifetime, version, created_at, updated_at) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING";
const UPDATE: &str = "UPDATE claude_links SET rule_id = $4, organization_id = $5, service_account_id = $6, workspace_id = $7, \
     federation_issuer_id = $8, token_lifetime = $9, version = $10, updated_at = $11 \
     WHERE issuer_id = $1 AND agent_id = $2 AND version = $3";
const DELETE: &str =
    "DELETE FROM claude_links WHERE issuer_id = $1 AND agent_id = $2 AND version = $3";
const OF_AGENT: &str = select_links!("AND claude_links.agent_id = $2");
const PAGE: &str = select_links!("AND agents.name > $2 ORDER BY agents.name LIMIT $3");

impl Tx {
    /// Links an agent. False when it is linked already.
    pub async fn insert_claude_link(
        &mut self,
        issuer: &IssuerId,
        link: &ClaudeLink,
    ) -> Result<bool, StoreError> {
        let inserted = execute!(
            self,
            sqlx::query(INSERT)
                .bind(issuer.as_str())
                .bind(link.agent.as_str())
                .bind(link.objects.rule.as_str())
                .bind(link.objects.organization.as_str())
                .bind(link.objects.service_account.as_str())
                .bind(link.objects.workspace.as_ref().map(WorkspaceId::as_str))
                .bind(link.objects.issuer.as_ref().map(IssuerObjectId::as_str))
                .bind(link.objects.token_lifetime)
                .bind(link.version)
                .bind(link.created_at.0)
                .bind(link.updated_at.0)
        )?;
        Ok(inserted == 1)
    }

    /// Changes a link except its agent, if its version is `expected_version`; else returns false.
    pub async fn update_claude_link(
        &mut self,
        issuer: &IssuerId,
        link: &ClaudeLink,
        expected_version: i64,
    ) -> Result<bool, StoreError> {
        let updated = execute!(
            self,
            sqlx::query(UPDATE)
                .bind(issuer.as_str())
                .bind(link.agent.as_str())
                .bind(expected_version)
                .bind(link.objects.rule.as_str())
                .bind(link.objects.organization.as_str())
                .bind(link.objects.service_account.as_str())
                .bind(link.objects.workspace.as_ref().map(WorkspaceId::as_str))
                .bind(link.objects.issuer.as_ref().map(IssuerObjectId::as_str))
                .bind(link.objects.token_lifetime)
                .bind(link.version)
                .bind(link.updated_at.0)
        )?;
        Ok(updated == 1)
    }

    /// Removes a link, if its version is `expected_version`; else returns false.
    pub async fn delete_claude_link(
        &mut self,
        issuer: &IssuerId,
        agent: &AgentId,
        expected_version: i64,
    ) -> Result<bool, StoreError> {
        let deleted = execute!(
            self,
            sqlx::query(DELETE)
                .bind(issuer.as_str())
                .bind(key(agent.as_str()))
                .bind(expected_version)
        )?;
        Ok(deleted == 1)
    }

    /// The link of an agent.
    pub async fn claude_link(
        &mut self,
        issuer: &IssuerId,
        agent: &AgentId,
    ) -> Result<Option<ClaudeLink>, StoreError> {
        let row = on_engine!(self, connection => sqlx::query_as::<_, LinkRow>(OF_AGENT)
            .bind(issuer.as_str())
            .bind(key(agent.as_str()))
            .fetch_optional(connection))?;
        Ok(row.map(LinkRow::link).transpose()?.map(|(_, link)| link))
    }

    /// The first `limit` links of agents after the name `after`, each with its agent's name, by that name.
    pub async fn claude_links_page(
        &mut self,
        issuer: &IssuerId,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Vec<(Name, ClaudeLink)>, StoreError> {
        on_engine!(self, connection => sqlx::query_as::<_, LinkRow>(PAGE)
            .bind(issuer.as_str())
            .bind(cursor(after))
            .bind(limit)
            .fetch_all(connection))?
        .into_iter()
        .map(LinkRow::link)
        .collect()
    }
}
