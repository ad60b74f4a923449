//! Groups: making, editing, removing.

use std::sync::Arc;

use serde_json::json;

use crate::domain::agent::{Agent, DESCRIPTION_MAX_CHARS};
use crate::domain::audit::AuditEvent;
use crate::domain::group::Group;
use crate::domain::id::GroupId;
use crate::domain::name::Name;
use crate::domain::text;
use crate::store::{AgentFilter, Among};

use super::agents::target as agent_target;
use super::change::{Change, Touches};
use super::directory::{Difference, Directory, known_name};
use super::page::Page;
use super::{Caller, Issuer, IssuerError, check_version};

/// Most agents whose membership or role a forced removal takes away: all of them are written in one
/// transaction, during which nobody gets a token.
pub const FORCED_REMOVAL_MAX: i64 = 500;

/// A group to be made.
#[derive(Debug, Default)]
pub struct NewGroup {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// Names of the roles every member has.
    pub roles: Vec<String>,
}

/// An edit of a group; `None` leaves a member as it is.
#[derive(Debug, Default)]
pub struct GroupChanges {
    /// What it is for.
    pub description: Option<String>,
    /// Names of all its roles.
    pub roles: Option<Vec<String>>,
}

/// A group as it is shown.
#[derive(Clone, Debug)]
pub struct GroupView {
    /// The group.
    pub group: Group,
    /// Names of its roles, sorted.
    pub roles: Vec<Name>,
    /// How many agents are in it; only told of a group shown alone.
    pub members: Option<i64>,
}

/// How an object with dependents is to be removed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Removal {
    /// Take the dependents' references away too, each with its audit entry.
    pub force: bool,
    /// The version the caller saw.
    pub expected: Option<i64>,
}

impl Issuer {
    /// Makes a group.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], or [`IssuerError::Conflict`] for a name that was given out before.
    pub async fn create_group(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewGroup,
    ) -> Result<GroupView, IssuerError> {
        let name = Name::parse(&new.name)?;
        let description = text::line("description", &new.description, DESCRIPTION_MAX_CHARS)?;
        let mut change = self.begin(caller, Touches::Policy).await?;
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        let group = Group {
            id: GroupId::new(change.at, &*self.ports.random),
            name,
            description,
            roles: directory.role_ids(&new.roles)?,
            version: change.version,
            created_at: change.now(),
            updated_at: change.now(),
            removed_at: None,
        };
        if !change.tx.insert_group(&self.id, &group).await? {
            let holder = change
                .tx
                .group_by_name(&self.id, group.name.as_str())
                .await?;
            return Err(name_taken(
                "group",
                &group.name,
                holder.is_some_and(|holder| holder.removed_at.is_some()),
            ));
        }
        let view = GroupView {
            roles: directory.role_names(&group.roles),
            group,
            members: Some(0),
        };
        let detail = json!({ "description": view.group.description, "roles": view.roles });
        change.audit(AuditEvent::GroupCreated, target(&view.group), None, &detail);
        self.finish(change).await?;
        Ok(view)
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
        let members = tx.count_group_members(&self.id, &group.id).await?;
        tx.rollback().await?;
        Ok(GroupView {
            roles: directory.role_names(&group.roles),
            group,
            members: Some(members),
        })
    }

    /// Groups by name, those after `after`; with `role` only those that pass the role of that name on.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a role that there is not.
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
        let views = groups.into_iter().map(|group| GroupView {
            roles: directory.role_names(&group.roles),
            group,
            members: None,
        });
        Ok(Page::cut(views.collect(), limit))
    }

    /// Edits a group.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn edit_group(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        changes: GroupChanges,
        expected: Option<i64>,
    ) -> Result<GroupView, IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before = self.live_group(&mut change, name, expected).await?;
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        let mut after = before.clone();
        if let Some(description) = changes.description {
            after.description = text::line("description", &description, DESCRIPTION_MAX_CHARS)?;
        }
        if let Some(roles) = changes.roles {
            after.roles = directory.role_ids(&roles)?;
        }
        let mut difference = Difference::default();
        difference.note("description", &before.description, &after.description);
        difference.note(
            "roles",
            &directory.role_names(&before.roles),
            &directory.role_names(&after.roles),
        );
        if !difference.is_empty() {
            self.write_group(&mut change, &before, &mut after).await?;
            change.audit(
                AuditEvent::GroupChanged,
                target(&after),
                None,
                &difference.into_detail(),
            );
            self.finish(change).await?;
        } else {
            self.abandon(change).await;
        }
        self.group(before.name.as_str()).await
    }

    /// Removes a group. Its name is never given out again.
    ///
    /// # Errors
    /// [`IssuerError::Conflict`] when agents are in it and the removal is not forced.
    pub async fn remove_group(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        removal: Removal,
    ) -> Result<(), IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before = self.live_group(&mut change, name, removal.expected).await?;
        let members = change.tx.count_group_members(&self.id, &before.id).await?;
        if members > 0 && !removal.force {
            return Err(IssuerError::conflict(format!(
                "{members} {} in the group '{}': take them out first (firman agent list --group {1} shows them), or remove it with --force, which takes each of them out",
                if members == 1 {
                    "agent is"
                } else {
                    "agents are"
                },
                before.name
            )));
        }
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        self.detach_agents(&mut change, &directory, Among::Group(&before.id), |agent| {
            agent.groups.retain(|id| *id != before.id)
        })
        .await?;
        let mut after = before.clone();
        after.roles = Vec::new();
        after.removed_at = Some(change.now());
        self.write_group(&mut change, &before, &mut after).await?;
        let detail =
            json!({ "roles": directory.role_names(&before.roles), "members_taken_out": members });
        change.audit(AuditEvent::GroupRemoved, target(&before), None, &detail);
        self.finish(change).await
    }

    /// Applies `detach` to each of those agents, each with its audit entry.
    pub(super) async fn detach_agents(
        &self,
        change: &mut Change,
        directory: &Directory,
        among: Among<'_>,
        detach: impl Fn(&mut Agent),
    ) -> Result<(), IssuerError> {
        let all = AgentFilter::default();
        let agents = change
            .tx
            .agents_among(&self.id, among, &all, (None, FORCED_REMOVAL_MAX + 1))
            .await?;
        if agents.len() as i64 > FORCED_REMOVAL_MAX {
            return Err(IssuerError::conflict(format!(
                "more than {FORCED_REMOVAL_MAX} agents are concerned, too many for one step; edit some of them first"
            )));
        }
        for before in agents {
            let mut after = before.clone();
            detach(&mut after);
            self.write_agent(change, &before, &mut after).await?;
            let mut difference = Difference::default();
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
            change.audit(
                AuditEvent::AgentChanged,
                agent_target(&after),
                Some(&after.id),
                &difference.into_detail(),
            );
        }
        Ok(())
    }

    async fn live_group(
        &self,
        change: &mut Change,
        name: &str,
        expected: Option<i64>,
    ) -> Result<Group, IssuerError> {
        let name = known_name("group", name)?;
        let found = change.tx.group_by_name(&self.id, name.as_str()).await?;
        let group = found
            .filter(|group| group.removed_at.is_none())
            .ok_or_else(|| IssuerError::not_found("group", name.as_str()))?;
        check_version("group", group.version, expected)?;
        Ok(group)
    }

    pub(super) async fn write_group(
        &self,
        change: &mut Change,
        before: &Group,
        after: &mut Group,
    ) -> Result<(), IssuerError> {
        after.version = change.version;
        after.updated_at = change.now();
        if change
            .tx
            .update_group(&self.id, after, before.version)
            .await?
        {
            return Ok(());
        }
        Err(IssuerError::Stale {
            noun: "group",
            present: before.version,
        })
    }
}

pub(super) fn target(group: &Group) -> String {
    format!("group:{}", group.name)
}

/// The answer to a name that was given out before.
pub(super) fn name_taken(noun: &'static str, name: &Name, removed: bool) -> IssuerError {
    IssuerError::conflict(if removed {
        format!(
            "the name '{name}' belonged to a {noun} that was removed and is never given out again, because relying parties may still trust it; choose another"
        )
    } else {
        format!(
            "there is a {noun} '{name}' already; choose another name, or change that one with: firman {noun} edit {name}"
        )
    })
}
