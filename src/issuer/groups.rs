//! Groups: creating, editing, removing.

use std::sync::Arc;

use serde_json::json;

use crate::api::group::{Group as GroupView, GroupEdit, NewGroup};
use crate::domain::agent::Agent;
use crate::domain::audit::AuditEvent;
use crate::domain::group::Group;
use crate::domain::id::{GroupId, IssuerId};
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::ports::time::UnixTime;
use crate::store::{AgentFilter, Among, StoreError, Tx, Window};

use super::change::{Change, Touches};
use super::directory::Directory;
use super::named::{
    FORCED_REMOVAL_MAX, Facts, Head, Named, Removal, check_extent, description, known_name,
};
use super::page::Page;
use super::{Caller, Issuer, IssuerError};

impl Named for Group {
    const NOUN: &'static str = "group";
    const KIND: &'static str = "group";
    const CHANGED: AuditEvent = AuditEvent::GroupChanged;

    fn head(&self) -> Head<'_> {
        Head {
            name: &self.name,
            version: self.version,
            is_removed: self.removed_at.is_some(),
        }
    }

    fn stamp(&mut self, version: i64, now: UnixTime) {
        self.version = version;
        self.updated_at = now;
    }

    async fn facts(&self, change: &mut Change) -> Result<Facts, StoreError> {
        let roles = change.directory().await?.role_names(&self.roles);
        Ok(Facts::of(
            json!({ "description": self.description, "roles": roles }),
        ))
    }

    async fn find(tx: &mut Tx, issuer: &IssuerId, name: &str) -> Result<Option<Self>, StoreError> {
        tx.group_by_name(issuer, name).await
    }

    async fn insert(&self, tx: &mut Tx, issuer: &IssuerId) -> Result<bool, StoreError> {
        tx.insert_group(issuer, self).await
    }

    async fn update(
        &self,
        tx: &mut Tx,
        issuer: &IssuerId,
        expected: i64,
    ) -> Result<bool, StoreError> {
        tx.update_group(issuer, self, expected).await
    }
}

impl Issuer {
    /// Creates a group.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], or [`IssuerError::Conflict`] for a name that was used before.
    pub async fn create_group(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewGroup,
    ) -> Result<GroupView, IssuerError> {
        let name = Name::parse(&new.name)?;
        let description = description(new.description.as_deref().unwrap_or_default())?;
        let mut change = self.begin(caller, Touches::Policy).await?;
        let directory = change.directory().await?;
        let group = Group {
            id: GroupId::new(change.at, &*self.ports.random),
            name,
            description,
            roles: directory.role_ids(new.roles.as_deref().unwrap_or_default())?,
            version: change.version,
            created_at: change.now(),
            updated_at: change.now(),
            removed_at: None,
        };
        let detail = group.facts(&mut change).await?.into_detail();
        if !change
            .add(&group, AuditEvent::GroupCreated, &detail)
            .await?
        {
            return Err(change.name_taken(&group).await?);
        }
        self.end(change).await?;
        Ok(view(group, &directory, Some(0)))
    }

    /// One group.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`].
    pub async fn group(&self, name: &str) -> Result<GroupView, IssuerError> {
        let name = known_name("group", name)?;
        let (mut tx, _) = self.read().await?;
        let found = tx.group_by_name(&self.id, name.as_str()).await?;
        let group = found
            .filter(|group| group.removed_at.is_none())
            .ok_or_else(|| IssuerError::not_found("group", name.as_str()))?;
        let directory = Directory::load(&mut tx, &self.id).await?;
        let members = tx
            .count_group_members(&self.id, &group.id, i64::MAX)
            .await?;
        tx.rollback().await?;
        Ok(view(group, &directory, Some(members)))
    }

    /// Groups by name, those after `after`; with `role` only those that pass that role on to their members.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for an unknown role.
    pub async fn groups(
        &self,
        role: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<GroupView>, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let directory = Directory::load(&mut tx, &self.id).await?;
        let groups = match role {
            None => tx.groups_page(&self.id, after, limit + 1).await?,
            Some(role) => {
                let role = directory.role_named("role", role)?;
                let passing = directory.groups.iter().filter(|group| {
                    group.roles.contains(&role.id)
                        && after.is_none_or(|after| group.name.as_str() > after)
                });
                let most = usize::try_from(limit + 1).unwrap_or(0);
                passing.take(most).cloned().collect()
            }
        };
        tx.rollback().await?;
        let views = groups
            .into_iter()
            .map(|group| view(group, &directory, None));
        Ok(Page::cut(views.collect(), limit))
    }

    /// Edits a group. Omitted members keep their values.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn edit_group(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        edit: GroupEdit,
        expected: Option<i64>,
    ) -> Result<GroupView, IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before: Group = change.live(name, expected).await?;
        let directory = change.directory().await?;
        let mut after = before.clone();
        if let Some(text) = edit.description {
            after.description = description(&text)?;
        }
        if let Some(roles) = edit.roles {
            after.roles = directory.role_ids(&roles)?;
        }
        change.write(&before, &mut after).await?;
        let is_written = change.is_written();
        self.end(change).await?;
        // Counted after the change: counting a large group is slow, and a change delays tokens. The edit did not
        // write the number.
        match self.count_members(&after).await {
            Ok(members) => Ok(view(after, &directory, Some(members))),
            Err(error) if is_written => {
                Err(error.after_change(format!("group show {}", after.name)))
            }
            Err(error) => Err(error),
        }
    }

    async fn count_members(&self, group: &Group) -> Result<i64, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let members = tx
            .count_group_members(&self.id, &group.id, i64::MAX)
            .await?;
        tx.rollback().await?;
        Ok(members)
    }

    /// Removes a group. Its name is never reused.
    ///
    /// # Errors
    /// [`IssuerError::Conflict`] when it has members and the removal is not forced, or has more than
    /// [`FORCED_REMOVAL_MAX`].
    pub async fn remove_group(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        removal: Removal,
    ) -> Result<(), IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before: Group = change.live(name, removal.expected).await?;
        let members = change
            .tx
            .count_group_members(&self.id, &before.id, FORCED_REMOVAL_MAX + 1)
            .await?;
        let depending = format!("agents are in the group `{}`", before.name);
        check_extent(members, &depending, "edit some of the agents first")?;
        if members > 0 && !removal.force {
            return Err(IssuerError::conflict(format!(
                "the group `{}` has {members} {}; a forced removal removes each from it",
                before.name,
                if members == 1 { "agent" } else { "agents" },
            ))
            .with_remedy(Remedy::command(format!(
                "group remove {} --force",
                before.name
            ))));
        }
        self.detach_agents(&mut change, Among::Group(&before.id), |agent| {
            agent.groups.retain(|id| *id != before.id)
        })
        .await?;
        let roles = change.directory().await?.role_names(&before.roles);
        let detail = json!({ "roles": roles, "members_taken_out": members });
        let mut after = before.clone();
        after.roles = Vec::new();
        after.removed_at = Some(change.now());
        change
            .replace(&before, &mut after, AuditEvent::GroupRemoved, &detail)
            .await?;
        self.end(change).await
    }

    /// Applies `detach` to each of these agents, with one audit entry per agent.
    pub(super) async fn detach_agents(
        &self,
        change: &mut Change,
        among: Among<'_>,
        detach: impl Fn(&mut Agent),
    ) -> Result<(), IssuerError> {
        let all = AgentFilter::default();
        let agents = change
            .tx
            .agents_among(&self.id, among, &all, Window::first(FORCED_REMOVAL_MAX + 1))
            .await?;
        check_extent(
            agents.len() as i64,
            "agents would change",
            "edit some of the agents first",
        )?;
        for before in agents {
            let mut after = before.clone();
            detach(&mut after);
            change.write(&before, &mut after).await?;
        }
        Ok(())
    }
}

fn view(group: Group, directory: &Directory, members: Option<i64>) -> GroupView {
    GroupView {
        roles: directory
            .role_names(&group.roles)
            .iter()
            .map(ToString::to_string)
            .collect(),
        id: group.id.to_string(),
        name: group.name.to_string(),
        description: group.description,
        members,
        created_at: group.created_at.0,
        updated_at: group.updated_at.0,
        version: group.version,
    }
}
