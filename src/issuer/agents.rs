//! Agents: registering, editing, switching off and on, removing.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::SecretString;
use serde_json::json;

use crate::domain::Invalid;
use crate::domain::agent::{
    Agent, AgentStatus, DESCRIPTION_MAX_CHARS, OWNER_MAX_CHARS, parse_attributes,
};
use crate::domain::assertion_audience::AssertionAudience;
use crate::domain::audit::AuditEvent;
use crate::domain::credential::Credential;
use crate::domain::id::AgentId;
use crate::domain::name::Name;
use crate::domain::settings::check_expires_in;
use crate::domain::subject::Subject;
use crate::domain::text;
use crate::ports::time::{UnixMillis, UnixTime};
use crate::store::{AgentFilter, Among, HeldBy};

use super::change::{Change, Touches};
use super::credentials::NewCredential;
use super::directory::{Difference, Directory, known_name};
use super::explain::Through;
use super::page::Page;
use super::{Caller, Issuer, IssuerError, check_version};

/// An agent to be registered, as it was asked for.
#[derive(Debug, Default)]
pub struct NewAgent {
    /// Its name, which becomes its `client_id`.
    pub name: String,
    /// The accountable person or team.
    pub owner: String,
    /// What it does.
    pub description: String,
    /// A subject taken over from another issuer; `None`: made from the issuer's template.
    pub subject: Option<String>,
    /// Claims of its tokens.
    pub attributes: BTreeMap<String, String>,
    /// Names of groups.
    pub groups: Vec<String>,
    /// Names of roles given directly.
    pub roles: Vec<String>,
    /// Seconds until it stops getting tokens by itself.
    pub expires_in: Option<i64>,
    /// Whether its tokens must be bound to a key (RFC 9449).
    pub dpop_required: bool,
    /// What `aud` of its assertions must be; `None`: what the issuer says.
    pub assertion_audience: Option<AssertionAudience>,
    /// Its first credential.
    pub credential: Option<NewCredential>,
}

/// An edit of an agent; `None` leaves a member as it is.
#[derive(Debug, Default)]
pub struct AgentChanges {
    /// The accountable person or team.
    pub owner: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// All its attributes.
    pub attributes: Option<BTreeMap<String, String>>,
    /// Names of all its groups.
    pub groups: Option<Vec<String>>,
    /// Names of all roles given directly.
    pub roles: Option<Vec<String>>,
    /// Seconds from now until it stops getting tokens; `Some(None)`: never.
    pub expires_in: Option<Option<i64>>,
    /// Whether its tokens must be bound to a key (RFC 9449).
    pub dpop_required: Option<bool>,
    /// What `aud` of its assertions must be; `Some(None)`: what the issuer says.
    pub assertion_audience: Option<Option<AssertionAudience>>,
}

/// Which agents a list shows.
#[derive(Debug, Default)]
pub struct AgentQuery {
    /// `active`, `suspended` or `removed`; `None`: all that are not removed.
    pub status: Option<String>,
    /// Name of a group they are in.
    pub group: Option<String>,
    /// Name of a role that they hold.
    pub role: Option<String>,
    /// Only those that the role was given to directly; else also those that hold it through a group.
    pub direct: bool,
    /// Part of the name.
    pub search: Option<String>,
}

impl AgentQuery {
    /// What the items of its pages are found again by.
    #[must_use]
    pub fn order(&self) -> AgentOrder {
        if self.group.is_some() || self.role.is_some() {
            AgentOrder::Id
        } else {
            AgentOrder::Name
        }
    }
}

/// The order of a list of agents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentOrder {
    /// By name: all agents.
    Name,
    /// By id, which is the order in which they were registered: those of a group or a role, so that a page
    /// costs the same however many other agents there are.
    Id,
}

/// An agent as it is shown.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// The agent.
    pub agent: Agent,
    /// Names of its groups, sorted.
    pub groups: Vec<Name>,
    /// Names of the roles given to it directly, sorted.
    pub roles: Vec<Name>,
    /// Every role that it holds, as often as there are ways to it, sorted.
    pub effective: Vec<Through>,
}

/// An agent as it is shown alone.
#[derive(Clone, Debug)]
pub struct AgentDetail {
    /// The agent with its names.
    pub view: AgentView,
    /// Its credentials, the newest last.
    pub credentials: Vec<Credential>,
    /// When it last got a token.
    pub last_token_at: Option<UnixMillis>,
}

/// A registered agent.
#[derive(Debug)]
pub struct CreatedAgent {
    /// The agent.
    pub agent: AgentDetail,
    /// Its first credential, if one was asked for.
    pub credential: Option<Credential>,
    /// The client secret, shown this once.
    pub secret: Option<SecretString>,
}

impl Issuer {
    /// Registers an agent, with its first credential if one is asked for.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a value that is not well-formed or names what does not exist,
    /// [`IssuerError::Conflict`] for a name or subject that was given out before.
    pub async fn create_agent(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewAgent,
    ) -> Result<CreatedAgent, IssuerError> {
        let name = Name::parse(&new.name)?;
        let owner = text::filled_line("owner", &new.owner, OWNER_MAX_CHARS)?;
        let description = text::line("description", &new.description, DESCRIPTION_MAX_CHARS)?;
        let attributes = parse_attributes(&new.attributes)?;
        let expires_in = new.expires_in.map(check_expires_in).transpose()?;
        let foreign_subject = new
            .subject
            .as_deref()
            .map(Subject::parse_foreign)
            .transpose()?;
        let prepared = new
            .credential
            .map(|credential| self.prepare_credential(credential))
            .transpose()?;

        let mut change = self.begin(caller, Touches::Agent).await?;
        let settings = self.settings_in(&mut change.tx).await?;
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        let id = AgentId::new(change.at, &*self.ports.random);
        let subject = match foreign_subject {
            Some(subject) => subject,
            None => settings.subject_template.subject(&name, &id)?,
        };
        let agent = Agent {
            subject,
            owner,
            description,
            attributes,
            status: AgentStatus::Active,
            expires_at: expires_in.map(|seconds| change.now().plus(seconds)),
            dpop_required: new.dpop_required,
            assertion_audience: new.assertion_audience,
            groups: directory.group_ids(&new.groups)?,
            roles: directory.role_ids(&new.roles)?,
            version: change.version,
            created_at: change.now(),
            updated_at: change.now(),
            id,
            name,
        };
        directory.check_token_size(&agent, &settings)?;
        if !change.tx.insert_agent(&self.id, &agent).await? {
            return Err(self.why_not_inserted(&mut change, &agent).await?);
        }
        let view = AgentView::of(agent, &directory);
        audit_created(&mut change, &view);
        let (credential, secret) = match prepared {
            Some(prepared) => {
                let (credential, secret) = self
                    .insert_prepared(&mut change, &view.agent, prepared)
                    .await?;
                (Some(credential), secret)
            }
            None => (None, None),
        };
        self.finish(change).await?;
        let agent = AgentDetail {
            view,
            credentials: credential.iter().cloned().collect(),
            last_token_at: None,
        };
        Ok(CreatedAgent {
            agent,
            credential,
            secret,
        })
    }

    async fn why_not_inserted(
        &self,
        change: &mut Change,
        agent: &Agent,
    ) -> Result<IssuerError, IssuerError> {
        let name = &agent.name;
        let sentence = match change
            .tx
            .agent_by_name(&self.id, name.as_str())
            .await?
            .map(|holder| holder.status)
        {
            Some(AgentStatus::Removed { .. }) => format!(
                "the name '{name}' belonged to an agent that was removed and is never given out again, because relying parties may still trust it; choose another"
            ),
            Some(AgentStatus::Active | AgentStatus::Suspended { .. }) => {
                format!(
                    "there is an agent '{name}' already; choose another name, or change that one with: firman agent edit {name}"
                )
            }
            None => format!(
                "the subject '{}' belongs, or belonged, to another agent and is never given out twice",
                agent.subject
            ),
        };
        Ok(IssuerError::conflict(sentence))
    }

    /// One agent, removed ones included.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`] when there never was one of that name.
    pub async fn agent(&self, name: &str) -> Result<AgentDetail, IssuerError> {
        let name = known_name("agent", name)?;
        let (mut tx, _) = self.read().await?;
        let aggregate = tx
            .aggregate_by_name(&self.id, name.as_str())
            .await?
            .ok_or_else(|| IssuerError::not_found("agent", name.as_str()))?;
        let directory = Directory::load(&mut tx, &self.id).await?;
        let last_token_at = tx.last_token_at(&self.id, &aggregate.agent.id).await?;
        tx.rollback().await?;
        Ok(AgentDetail {
            view: AgentView::of(aggregate.agent, &directory),
            credentials: aggregate.credentials,
            last_token_at,
        })
    }

    /// Agents in the order of the query, those after `after`: a name or an id, as
    /// [`AgentQuery::order`] says.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a filter that no agent can match.
    pub async fn agents(
        &self,
        query: &AgentQuery,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<AgentView>, IssuerError> {
        let filter = AgentFilter {
            status: query.status.as_deref().map(known_status).transpose()?,
            name_contains: query.search.as_deref().map(parse_search).transpose()?,
        };
        if query.direct && query.role.is_none() {
            return Err(Invalid::new("direct", "narrows `role`; name a role with it").into());
        }
        let (mut tx, _) = self.read().await?;
        let directory = Directory::load(&mut tx, &self.id).await?;
        let group = query
            .group
            .as_deref()
            .map(|name| directory.group_named("group", name))
            .transpose()?;
        let role = query
            .role
            .as_deref()
            .map(|name| directory.role_named("role", name))
            .transpose()?;
        let passing = match role {
            Some(role) if !query.direct => directory.groups_passing(role),
            Some(_) | None => Vec::new(),
        };
        let held = role.map(|role| HeldBy {
            role: &role.id,
            groups: &passing,
        });
        let among = match (group, held) {
            (None, None) => None,
            (Some(group), None) => Some(Among::Group(&group.id)),
            (None, Some(held)) => Some(Among::Role(held)),
            (Some(group), Some(held)) => Some(Among::Both(&group.id, held)),
        };
        let agents = match among {
            None => tx.agents_page(&self.id, &filter, after, limit + 1).await?,
            Some(among) => {
                let after = after.map(AgentId::from_text);
                tx.agents_among(&self.id, among, &filter, (after.as_ref(), limit + 1))
                    .await?
            }
        };
        tx.rollback().await?;
        Ok(Page::cut(
            agents
                .into_iter()
                .map(|agent| AgentView::of(agent, &directory))
                .collect(),
            limit,
        ))
    }

    /// Edits an agent.
    ///
    /// # Errors
    /// As [`Issuer::create_agent`], [`IssuerError::Stale`] when it is not at version `expected`, and
    /// [`IssuerError::Conflict`] when it was removed.
    pub async fn edit_agent(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        changes: AgentChanges,
        expected: Option<i64>,
    ) -> Result<AgentDetail, IssuerError> {
        let expires_in = changes
            .expires_in
            .map(|seconds| seconds.map(check_expires_in).transpose())
            .transpose()?;
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.live_agent(&mut change, name, expected).await?;
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        let mut after = before.clone();
        if let Some(seconds) = expires_in {
            after.expires_at = seconds.map(|seconds| change.now().plus(seconds));
        }
        changes.apply(&mut after, &directory)?;
        let settings = self.settings_in(&mut change.tx).await?;
        directory.check_token_size(&after, &settings)?;

        let difference = difference(&before, &after, &directory);
        if !difference.is_empty() {
            self.write_agent(&mut change, &before, &mut after).await?;
            // One that was over comes back, its tokens do not.
            let now = change.now();
            if before.expires_at.is_some_and(|end| end <= now)
                && after.expires_at.is_none_or(|end| end > now)
            {
                self.end_tokens_of(&mut change, after.subject.as_str())
                    .await?;
            }
            change.audit(
                AuditEvent::AgentChanged,
                target(&after),
                Some(&after.id),
                &difference.into_detail(),
            );
            self.finish(change).await?;
        } else {
            self.abandon(change).await;
        }
        self.agent(after.name.as_str()).await
    }

    /// Switches an agent off; it gets no token from the commit on, and those that it has, or acts in,
    /// are good no longer. Does nothing to one that is.
    ///
    /// # Errors
    /// As [`Issuer::edit_agent`].
    pub async fn suspend_agent(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        expected: Option<i64>,
    ) -> Result<AgentDetail, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.live_agent(&mut change, name, expected).await?;
        if before.status == AgentStatus::Active {
            let mut after = before.clone();
            after.status = AgentStatus::Suspended { at: change.now() };
            self.write_agent(&mut change, &before, &mut after).await?;
            self.end_tokens_of(&mut change, after.subject.as_str())
                .await?;
            change.audit(
                AuditEvent::AgentSuspended,
                target(&after),
                Some(&after.id),
                &json!({}),
            );
            self.finish(change).await?;
        } else {
            self.abandon(change).await;
        }
        self.agent(before.name.as_str()).await
    }

    /// Switches an agent on again; tokens from before its suspension stay ended. Does nothing to one that is.
    ///
    /// # Errors
    /// As [`Issuer::edit_agent`].
    pub async fn resume_agent(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        expected: Option<i64>,
    ) -> Result<AgentDetail, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.live_agent(&mut change, name, expected).await?;
        if let AgentStatus::Suspended { at } = before.status {
            let mut after = before.clone();
            after.status = AgentStatus::Active;
            self.write_agent(&mut change, &before, &mut after).await?;
            change.audit(
                AuditEvent::AgentResumed,
                target(&after),
                Some(&after.id),
                &json!({ "suspended_at": at.0 }),
            );
            self.finish(change).await?;
        } else {
            self.abandon(change).await;
        }
        self.agent(before.name.as_str()).await
    }

    /// Removes an agent for good: its credentials, delegations and tokens are revoked, it leaves its groups
    /// and roles, and its name and subject are never given out again. Does nothing to one that is removed.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn remove_agent(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        expected: Option<i64>,
    ) -> Result<(), IssuerError> {
        let name = known_name("agent", name)?;
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = change
            .tx
            .agent_by_name(&self.id, name.as_str())
            .await?
            .ok_or_else(|| IssuerError::not_found("agent", name.as_str()))?;
        check_version("agent", before.version, expected)?;
        if matches!(before.status, AgentStatus::Removed { .. }) {
            return Ok(());
        }
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        let mut revoked = 0;
        for mut credential in change.tx.credentials_of(&self.id, &before.id).await? {
            if credential.revoked_at.is_none() {
                credential.revoked_at = Some(change.now());
                change.tx.update_credential(&self.id, &credential).await?;
                revoked += 1;
            }
        }
        let mut after = before.clone();
        after.status = AgentStatus::Removed { at: change.now() };
        after.groups = Vec::new();
        after.roles = Vec::new();
        self.write_agent(&mut change, &before, &mut after).await?;
        self.end_tokens_of(&mut change, after.subject.as_str())
            .await?;
        self.drop_claude_link(&mut change, &before).await?;
        self.revoke_delegations_of(&mut change, &before).await?;
        let detail = json!({
            "subject": before.subject,
            "owner": before.owner,
            "groups": directory.group_names(&before.groups),
            "roles": directory.role_names(&before.roles),
            "credentials_revoked": revoked,
        });
        change.audit(
            AuditEvent::AgentRemoved,
            target(&after),
            Some(&after.id),
            &detail,
        );
        self.finish(change).await
    }

    /// An agent that is not removed, for a change of it.
    pub(super) async fn live_agent(
        &self,
        change: &mut Change,
        name: &str,
        expected: Option<i64>,
    ) -> Result<Agent, IssuerError> {
        let name = known_name("agent", name)?;
        let agent = change
            .tx
            .agent_by_name(&self.id, name.as_str())
            .await?
            .ok_or_else(|| IssuerError::not_found("agent", name.as_str()))?;
        check_version("agent", agent.version, expected)?;
        match agent.status {
            AgentStatus::Active | AgentStatus::Suspended { .. } => Ok(agent),
            AgentStatus::Removed { at } => Err(IssuerError::conflict(format!(
                "the agent '{name}' was removed at {at} and cannot be changed any more; register one under another name"
            ))),
        }
    }

    /// Writes an agent over the version it was read at.
    pub(super) async fn write_agent(
        &self,
        change: &mut Change,
        before: &Agent,
        after: &mut Agent,
    ) -> Result<(), IssuerError> {
        after.version = change.version;
        after.updated_at = change.now();
        if change
            .tx
            .update_agent(&self.id, after, before.version)
            .await?
        {
            return Ok(());
        }
        let present = change
            .tx
            .agent_version(&self.id, &before.id)
            .await?
            .unwrap_or_default();
        Err(IssuerError::Stale {
            noun: "agent",
            present,
        })
    }
}

impl AgentChanges {
    /// All but the expiry, which counts from the moment of the change.
    fn apply(self, agent: &mut Agent, directory: &Directory) -> Result<(), Invalid> {
        if let Some(owner) = self.owner {
            agent.owner = text::filled_line("owner", &owner, OWNER_MAX_CHARS)?;
        }
        if let Some(description) = self.description {
            agent.description = text::line("description", &description, DESCRIPTION_MAX_CHARS)?;
        }
        if let Some(attributes) = self.attributes {
            agent.attributes = parse_attributes(&attributes)?;
        }
        if let Some(groups) = self.groups {
            agent.groups = directory.group_ids(&groups)?;
        }
        if let Some(roles) = self.roles {
            agent.roles = directory.role_ids(&roles)?;
        }
        if let Some(dpop_required) = self.dpop_required {
            agent.dpop_required = dpop_required;
        }
        if let Some(assertion_audience) = self.assertion_audience {
            agent.assertion_audience = assertion_audience;
        }
        Ok(())
    }
}

impl AgentView {
    pub(super) fn of(agent: Agent, directory: &Directory) -> Self {
        Self {
            groups: directory.group_names(&agent.groups),
            roles: directory.role_names(&agent.roles),
            effective: directory.ways(&agent),
            agent,
        }
    }
}

pub(super) fn target(agent: &Agent) -> String {
    format!("agent:{}", agent.name)
}

fn audit_created(change: &mut Change, view: &AgentView) {
    let agent = &view.agent;
    let detail = json!({
        "subject": agent.subject,
        "owner": agent.owner,
        "description": agent.description,
        "attributes": agent.attributes,
        "groups": view.groups,
        "roles": view.roles,
        "expires_at": agent.expires_at.map(|at| at.0),
        "dpop_required": agent.dpop_required.then_some(true),
        "assertion_audience": agent.assertion_audience,
    });
    change.audit(
        AuditEvent::AgentCreated,
        target(agent),
        Some(&agent.id),
        &detail,
    );
}

fn difference(before: &Agent, after: &Agent, directory: &Directory) -> Difference {
    let mut difference = Difference::default();
    difference.note("owner", &before.owner, &after.owner);
    difference.note("description", &before.description, &after.description);
    difference.note("attributes", &before.attributes, &after.attributes);
    difference.note(
        "groups",
        &directory.group_names(&before.groups),
        &directory.group_names(&after.groups),
    );
    difference.note(
        "roles",
        &directory.role_names(&before.roles),
        &directory.role_names(&after.roles),
    );
    difference.note(
        "expires_at",
        &before.expires_at.map(|at| at.0),
        &after.expires_at.map(|at| at.0),
    );
    difference.note("dpop_required", &before.dpop_required, &after.dpop_required);
    difference.note(
        "assertion_audience",
        &before.assertion_audience,
        &after.assertion_audience,
    );
    difference
}

fn known_status(text: &str) -> Result<&'static str, Invalid> {
    let at = UnixTime(0);
    [
        AgentStatus::Active,
        AgentStatus::Suspended { at },
        AgentStatus::Removed { at },
    ]
    .into_iter()
    .map(AgentStatus::as_str)
    .find(|status| *status == text)
    .ok_or_else(|| Invalid::new("status", "must be active, suspended or removed"))
}

fn parse_search(text: &str) -> Result<String, Invalid> {
    let text = text.trim().to_ascii_lowercase();
    let fits = text
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.');
    if fits && text.len() <= crate::domain::name::NAME_MAX_BYTES {
        return Ok(text);
    }
    Err(Invalid::new(
        "search",
        "is looked for in names, which are made of a-z, 0-9, '-' and '.'",
    ))
}
