//! Agents: registering, editing, suspending, resuming, removing.

mod list;
mod status;

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::json;

use crate::api::agent::{AgentEdit, NewAgent};
use crate::domain::agent::{Agent, AgentStatus, OWNER_MAX_CHARS, parse_attributes};
use crate::domain::assertion_audience::AssertionAudience;
use crate::domain::audit::AuditEvent;
use crate::domain::credential::Credential;
use crate::domain::id::{AgentId, IssuerId};
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::settings::check_expires_in;
use crate::domain::subject::Subject;
use crate::domain::{Invalid, text};
use crate::ports::time::{UnixMillis, UnixTime};
use crate::store::{StoreError, Tx};

use super::change::{Change, Touches};
use super::credentials::NewCredential;
use super::directory::{Directory, Through};
use super::named::{Facts, Head, Named, description, known_name, name_belonged, name_in_use};
use super::{Caller, Issuer, IssuerError};

pub use list::{AgentOrder, AgentQuery};
pub use status::Suspension;

/// An agent as lists show it.
#[derive(Clone, Debug)]
pub struct AgentView {
    /// The agent.
    pub agent: Agent,
    /// Names of its groups, sorted.
    pub groups: Vec<Name>,
    /// Names of its directly assigned roles, sorted.
    pub roles: Vec<Name>,
    /// Every role that it holds, once for each way it holds it, sorted.
    pub effective: Vec<Through>,
}

/// An agent in full.
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
    /// Its first credential, if one was requested.
    pub credential: Option<Credential>,
    /// The client secret, shown only once.
    pub secret: Option<SecretString>,
}

impl Named for Agent {
    const NOUN: &'static str = "agent";
    const KIND: &'static str = "agent";
    const CHANGED: AuditEvent = AuditEvent::AgentChanged;

    fn head(&self) -> Head<'_> {
        Head {
            name: &self.name,
            version: self.version,
            // A removed agent is still shown, and a change of it is refused with that reason.
            is_removed: false,
        }
    }

    fn stamp(&mut self, version: i64, now: UnixTime) {
        self.version = version;
        self.updated_at = now;
    }

    fn agent(&self) -> Option<&AgentId> {
        Some(&self.id)
    }

    async fn facts(&self, change: &mut Change) -> Result<Facts, StoreError> {
        let directory = change.directory().await?;
        Ok(Facts::of(json!({
            "owner": self.owner,
            "description": self.description,
            "attributes": self.attributes,
            "groups": directory.group_names(&self.groups),
            "roles": directory.role_names(&self.roles),
            "expires_at": self.expires_at.map(|at| at.0),
            "dpop_required": self.dpop_required,
            "assertion_audience": self.assertion_audience,
        })))
    }

    async fn find(tx: &mut Tx, issuer: &IssuerId, name: &str) -> Result<Option<Self>, StoreError> {
        tx.agent_by_name(issuer, name).await
    }

    async fn insert(&self, tx: &mut Tx, issuer: &IssuerId) -> Result<bool, StoreError> {
        tx.insert_agent(issuer, self).await
    }

    async fn update(
        &self,
        tx: &mut Tx,
        issuer: &IssuerId,
        expected: i64,
    ) -> Result<bool, StoreError> {
        tx.update_agent(issuer, self, expected).await
    }
}

impl Issuer {
    /// Registers an agent, with its first credential if one is requested.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a value that is malformed or names something unknown,
    /// [`IssuerError::Conflict`] for a name or subject that was used before.
    pub async fn create_agent(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewAgent,
    ) -> Result<CreatedAgent, IssuerError> {
        let name = Name::parse(&new.name)?;
        let owner = text::filled_line("owner", &new.owner, OWNER_MAX_CHARS)?;
        let description = description(new.description.as_deref().unwrap_or_default())?;
        let attributes = parse_attributes(&new.attributes.unwrap_or_default())?;
        let expires_in = new.expires_in.map(check_expires_in).transpose()?;
        let foreign_subject = new.subject.as_deref();
        let foreign_subject = foreign_subject.map(Subject::parse_foreign).transpose()?;
        let assertion_audience = parse_audience(new.assertion_audience.as_deref())?;
        let credential = new.credential.map(NewCredential::parse).transpose()?;
        let prepared = credential
            .map(|credential| self.prepare_credential(credential))
            .transpose()?;

        let mut change = self.begin(caller, Touches::Agent).await?;
        let settings = self.settings_in(&mut change.tx).await?;
        let directory = change.directory().await?;
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
            dpop_required: new.dpop_required.unwrap_or(false),
            assertion_audience,
            groups: directory.group_ids(new.groups.as_deref().unwrap_or_default())?,
            roles: directory.role_ids(new.roles.as_deref().unwrap_or_default())?,
            version: change.version,
            created_at: change.now(),
            updated_at: change.now(),
            id,
            name,
        };
        directory.check_token_size(&agent, &settings)?;
        let detail = agent.facts(&mut change).await?.and(json!({
            "subject": agent.subject,
            "dpop_required": agent.dpop_required.then_some(true),
        }));
        let event = AuditEvent::AgentCreated;
        if !change.add(&agent, event, &detail.into_detail()).await? {
            return Err(self.why_not_inserted(&mut change, &agent).await?);
        }
        let view = AgentView::of(agent, &directory);
        let (credential, secret) = match prepared {
            Some(prepared) => {
                let (credential, secret) = self
                    .insert_prepared(&mut change, &view.agent, prepared)
                    .await?;
                (Some(credential), secret)
            }
            None => (None, None),
        };
        self.end(change).await?;
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
        let holder = change.tx.agent_by_name(&self.id, name.as_str()).await?;
        Ok(match holder.map(|holder| holder.status) {
            Some(AgentStatus::Removed { .. }) => name_belonged("agent", name),
            Some(AgentStatus::Active | AgentStatus::Suspended { .. }) => name_in_use("agent", name),
            None => IssuerError::conflict(format!(
                "the subject `{}` belongs or belonged to another agent; a subject is never reused",
                agent.subject
            )),
        })
    }

    /// One agent, removed ones included.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`] when no agent ever had that name.
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

    /// Edits an agent. Omitted members keep their values.
    ///
    /// # Errors
    /// As [`Issuer::create_agent`], [`IssuerError::Stale`] when it is not at version `expected`, and
    /// [`IssuerError::Conflict`] when it was removed.
    pub async fn edit_agent(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        edit: AgentEdit,
        expected: Option<i64>,
    ) -> Result<AgentDetail, IssuerError> {
        let expires_in = edit
            .expires_in
            .map(|seconds| seconds.map(check_expires_in).transpose())
            .transpose()?;
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.live_agent(&mut change, name, expected).await?;
        let directory = change.directory().await?;
        let mut after = before.clone();
        if let Some(seconds) = expires_in {
            after.expires_at = seconds.map(|seconds| change.now().plus(seconds));
        }
        apply(edit, &mut after, &directory)?;
        let settings = self.settings_in(&mut change.tx).await?;
        directory.check_token_size(&after, &settings)?;
        change.write(&before, &mut after).await?;
        // An expired agent is restored; its old tokens are not.
        let now = change.now();
        if before.expires_at.is_some_and(|end| end <= now)
            && after.expires_at.is_none_or(|end| end > now)
        {
            self.end_tokens_of(&mut change, after.subject.as_str())
                .await?;
        }
        self.end_with(change, after).await
    }

    /// Ends a change of an agent and returns the agent as this change left it, regardless of later changes.
    async fn end_with(
        self: &Arc<Self>,
        change: Change,
        agent: Agent,
    ) -> Result<AgentDetail, IssuerError> {
        let (known, is_written) = (change.known_directory(), change.is_written());
        self.end(change).await?;
        // What the change did not write is read after it. A row that cannot be read fails the response, never the
        // change: an agent with a damaged credential can still be suspended. A change delays tokens, so the search
        // in the agent's audit entries comes after it.
        let show = format!("agent list --search {}", agent.name);
        match self.shown_after(agent, known).await {
            Err(error) if is_written => Err(error.after_change(show)),
            shown => shown,
        }
    }

    async fn shown_after(
        &self,
        agent: Agent,
        known: Option<Arc<Directory>>,
    ) -> Result<AgentDetail, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let directory = match known {
            Some(directory) => directory,
            None => Arc::new(Directory::load(&mut tx, &self.id).await?),
        };
        let credentials = tx.credentials_of(&self.id, &agent.id).await?;
        let last_token_at = tx.last_token_at(&self.id, &agent.id).await?;
        tx.rollback().await?;
        Ok(AgentDetail {
            credentials,
            last_token_at,
            view: AgentView::of(agent, &directory),
        })
    }

    /// An agent that is not removed, to be changed.
    pub(super) async fn live_agent(
        &self,
        change: &mut Change,
        name: &str,
        expected: Option<i64>,
    ) -> Result<Agent, IssuerError> {
        let agent: Agent = change.live(name, expected).await?;
        match agent.status {
            AgentStatus::Active | AgentStatus::Suspended { .. } => Ok(agent),
            AgentStatus::Removed { at } => Err(IssuerError::conflict(format!(
                "the agent `{}` was removed at {at} and can no longer be changed",
                agent.name
            ))
            .with_remedy(Remedy::action("register one under another name"))),
        }
    }
}

/// Applies an edit except for the expiry, which is relative to the time of the change.
fn apply(edit: AgentEdit, agent: &mut Agent, directory: &Directory) -> Result<(), Invalid> {
    if let Some(owner) = edit.owner {
        agent.owner = text::filled_line("owner", &owner, OWNER_MAX_CHARS)?;
    }
    if let Some(text) = edit.description {
        agent.description = description(&text)?;
    }
    if let Some(attributes) = edit.attributes {
        agent.attributes = parse_attributes(&attributes)?;
    }
    if let Some(groups) = edit.groups {
        agent.groups = directory.group_ids(&groups)?;
    }
    if let Some(roles) = edit.roles {
        agent.roles = directory.role_ids(&roles)?;
    }
    if let Some(dpop_required) = edit.dpop_required {
        agent.dpop_required = dpop_required;
    }
    if let Some(policy) = edit.assertion_audience {
        agent.assertion_audience = parse_audience(policy.as_deref())?;
    }
    Ok(())
}

fn parse_audience(policy: Option<&str>) -> Result<Option<AssertionAudience>, Invalid> {
    policy.map(AssertionAudience::parse).transpose()
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
