//! Claude links: which objects at Claude belong to an agent, and how long Claude may honour tokens that the agent
//! already has.

use std::sync::Arc;

use serde_json::json;

use crate::api::claude_link::{ClaudeLink as ClaudeLinkView, NewClaudeLink};
use crate::domain::Invalid;
use crate::domain::agent::Agent;
use crate::domain::audit::{AuditDraft, AuditEvent, TokenDetail};
use crate::domain::claude_link::{
    ClaudeLink, ClaudeObjects, IssuerObjectId, OrganizationId, RuleId, ServiceAccountId,
    WorkspaceId, access_until_at_most, check_token_lifetime,
};
use crate::domain::name::Name;
use crate::domain::profile::Profile;
use crate::domain::remedy::Remedy;
use crate::domain::settings::{LIFETIME_CEILING_SECONDS, SKEW_SECONDS};
use crate::ports::time::UnixTime;
use crate::store::{AuditFilter, AuditSpan, StoreError, Tx};

use super::change::{Change, Touches};
use super::named::{known_name, target};
use super::page::Page;
use super::{Caller, Issuer, IssuerError, check_version};

/// Tokens of an agent that are examined for their remaining use at Claude: more than a well-behaved agent gets
/// while any of them matters. Earlier tokens are assumed to have had the longest lifetime.
const TOKENS_LOOKED_AT: i64 = 256;

/// The remaining access at Claude of an agent that gets no more tokens here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaudeAccess {
    /// The latest time at which it may end; `None`: none of its tokens is usable there.
    pub until_at_most: Option<UnixTime>,
    /// Its objects there, as far as they are known.
    pub link: Option<ClaudeLink>,
}

impl Issuer {
    /// Links an agent, or changes its link; true when the link is new. All members are replaced.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a malformed id, [`IssuerError::NotFound`], [`IssuerError::Stale`] when the
    /// link is not at version `expected`, and [`IssuerError::Conflict`] when the agent was removed.
    pub async fn link_claude(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        new: NewClaudeLink,
        expected: Option<i64>,
    ) -> Result<(ClaudeLinkView, bool), IssuerError> {
        let objects = parse(&new)?;
        let mut change = self.begin(caller, Touches::Agent).await?;
        let agent = self.live_agent(&mut change, name, None).await?;
        let before = change.tx.claude_link(&self.id, &agent.id).await?;
        check_version(
            "Claude link",
            before.as_ref().map_or(0, |link| link.version),
            expected,
        )?;
        let link = ClaudeLink {
            agent: agent.id.clone(),
            objects,
            version: change.version,
            created_at: before
                .as_ref()
                .map_or(change.now(), |before| before.created_at),
            updated_at: change.now(),
        };
        let is_new = before.is_none();
        let written = match &before {
            Some(before) if before.objects == link.objects => {
                self.end(change).await?;
                return Ok((view(&agent.name, before.clone()), false));
            }
            Some(before) => {
                let expected = before.version;
                change
                    .tx
                    .update_claude_link(&self.id, &link, expected)
                    .await?
            }
            None => change.tx.insert_claude_link(&self.id, &link).await?,
        };
        if !written {
            return Err(changed_meanwhile(&agent));
        }
        let mut detail = json!(link.objects);
        if let Some(before) = before {
            detail["before"] = json!(before.objects);
        }
        let event = AuditEvent::ClaudeLinked;
        change.audit(event, target(&agent), Some(&agent.id), &detail);
        self.end(change).await?;
        Ok((view(&agent.name, link), is_new))
    }

    /// The link of an agent.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`] when the agent does not exist or has no link.
    pub async fn claude_link(&self, name: &str) -> Result<ClaudeLinkView, IssuerError> {
        let name = known_name("agent", name)?;
        let (mut tx, _) = self.read().await?;
        let agent = tx
            .agent_by_name(&self.id, name.as_str())
            .await?
            .ok_or_else(|| IssuerError::not_found("agent", name.as_str()))?;
        let link = tx.claude_link(&self.id, &agent.id).await?;
        tx.rollback().await?;
        let link = link.ok_or_else(|| not_linked(&agent))?;
        Ok(view(&name, link))
    }

    /// Links ordered by agent name, those after `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn claude_links(
        &self,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<ClaudeLinkView>, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let links = tx.claude_links_page(&self.id, after, limit + 1).await?;
        tx.rollback().await?;
        let views = links.into_iter().map(|(agent, link)| view(&agent, link));
        Ok(Page::cut(views.collect(), limit))
    }

    /// Removes the link of an agent. The objects at Claude stay as they are.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`] when the agent does not exist or has no link, [`IssuerError::Stale`].
    pub async fn unlink_claude(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        expected: Option<i64>,
    ) -> Result<(), IssuerError> {
        let name = known_name("agent", name)?;
        let mut change = self.begin(caller, Touches::Agent).await?;
        let agent = change
            .tx
            .agent_by_name(&self.id, name.as_str())
            .await?
            .ok_or_else(|| IssuerError::not_found("agent", name.as_str()))?;
        let link = change
            .tx
            .claude_link(&self.id, &agent.id)
            .await?
            .ok_or_else(|| not_linked(&agent))?;
        check_version("Claude link", link.version, expected)?;
        self.drop_claude_link(&mut change, &agent).await?;
        self.end(change).await
    }

    /// Removes the link of an agent, with its audit entry. Does nothing if it has none.
    pub(super) async fn drop_claude_link(
        &self,
        change: &mut Change,
        agent: &Agent,
    ) -> Result<(), IssuerError> {
        let Some(link) = change.tx.claude_link(&self.id, &agent.id).await? else {
            return Ok(());
        };
        if !change
            .tx
            .delete_claude_link(&self.id, &agent.id, link.version)
            .await?
        {
            return Err(changed_meanwhile(agent));
        }
        change.audit(
            AuditEvent::ClaudeUnlinked,
            target(agent),
            Some(&agent.id),
            &json!(link.objects),
        );
        Ok(())
    }

    /// How long Claude may still honour tokens that an agent got so far, for an agent that was suspended or
    /// removed.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], or when the database cannot be read.
    pub async fn claude_access(&self, name: &str) -> Result<ClaudeAccess, IssuerError> {
        let now = self.ports.clock.now();
        let name = known_name("agent", name)?;
        let (mut tx, _) = self.read().await?;
        let agent = tx
            .agent_by_name(&self.id, name.as_str())
            .await?
            .ok_or_else(|| IssuerError::not_found("agent", name.as_str()))?;
        let link = tx.claude_link(&self.id, &agent.id).await?;
        let rule = link.as_ref().and_then(|link| link.objects.token_lifetime);
        let until = self.claude_tokens_end(&mut tx, &agent, rule).await?;
        tx.rollback().await?;
        Ok(ClaudeAccess {
            until_at_most: until.filter(|until| *until > now),
            link,
        })
    }

    /// The latest end of access that Claude may grant for the tokens that the agent got, according to the audit.
    /// The last token alone is not enough: an earlier one may have had a longer lifetime.
    async fn claude_tokens_end(
        &self,
        tx: &mut Tx,
        agent: &Agent,
        rule: Option<i64>,
    ) -> Result<Option<UnixTime>, StoreError> {
        let demands = Profile::Claude.demands();
        let mut audiences: Vec<String> = tx
            .resources(&self.id)
            .await?
            .into_iter()
            .filter(|resource| resource.profile == Profile::Claude)
            .map(|resource| resource.identifier.as_str().to_owned())
            .collect();
        // For a resource that was removed since: the audit does not record its profile.
        audiences.extend(demands.default_identifier.map(str::to_owned));
        let filter = AuditFilter {
            event: Some(AuditEvent::TokenIssued),
            agent: Some(agent.id.clone()),
            ..AuditFilter::default()
        };
        let entries = tx
            .audit_page(&self.id, &filter, AuditSpan::ALL, TOKENS_LOOKED_AT)
            .await?;
        let mut ends: Vec<UnixTime> = entries
            .iter()
            .filter_map(|entry| end_of(&entry.draft, &audiences, rule))
            .collect();
        if let Some(oldest) = entries
            .last()
            .filter(|_| entries.len() as i64 >= TOKENS_LOOKED_AT)
        {
            let at = oldest.draft.at.seconds();
            let expires_at = at.plus(demands.max_lifetime.unwrap_or(LIFETIME_CEILING_SECONDS));
            ends.push(access_until_at_most(at, expires_at, rule, SKEW_SECONDS));
        }
        Ok(ends.into_iter().max())
    }
}

/// When the latest Claude token for an identity token ends; `None` when that was not issued for Claude.
fn end_of(draft: &AuditDraft, audiences: &[String], rule: Option<i64>) -> Option<UnixTime> {
    let detail = TokenDetail::read(draft)?;
    if !audiences.iter().any(|known| *known == detail.aud) {
        return None;
    }
    let expires_at = UnixTime(detail.exp);
    let issued_at = draft.at.seconds();
    Some(access_until_at_most(
        issued_at,
        expires_at,
        rule,
        SKEW_SECONDS,
    ))
}

fn parse(new: &NewClaudeLink) -> Result<ClaudeObjects, Invalid> {
    let workspace = new.workspace_id.as_deref().map(WorkspaceId::parse);
    let issuer = new.issuer_id.as_deref().map(IssuerObjectId::parse);
    Ok(ClaudeObjects {
        rule: RuleId::parse(&new.rule_id)?,
        organization: OrganizationId::parse(&new.organization_id)?,
        service_account: ServiceAccountId::parse(&new.service_account_id)?,
        workspace: workspace.transpose()?,
        issuer: issuer.transpose()?,
        token_lifetime: new.token_lifetime.map(check_token_lifetime).transpose()?,
    })
}

fn view(agent: &Name, link: ClaudeLink) -> ClaudeLinkView {
    let objects = link.objects;
    ClaudeLinkView {
        agent: agent.to_string(),
        rule_id: objects.rule.into(),
        organization_id: objects.organization.into(),
        service_account_id: objects.service_account.into(),
        workspace_id: objects.workspace.map(Into::into),
        issuer_id: objects.issuer.map(Into::into),
        token_lifetime: objects.token_lifetime,
        created_at: link.created_at.0,
        updated_at: link.updated_at.0,
        version: link.version,
    }
}

fn not_linked(agent: &Agent) -> IssuerError {
    IssuerError::not_found("Claude link of agent", agent.name.as_str())
}

fn changed_meanwhile(agent: &Agent) -> IssuerError {
    IssuerError::conflict(format!(
        "the Claude link of the agent `{}` was changed by another request",
        agent.name
    ))
    .with_remedy(Remedy::action("read it again and repeat the change"))
}
