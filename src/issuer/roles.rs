//! Roles: creating, editing, removing. Scopes and audiences come from roles only.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::api::role::{self as api, NewGrant, NewRole, RoleEdit};
use crate::domain::Invalid;
use crate::domain::audit::AuditEvent;
use crate::domain::id::{IssuerId, ResourceId, RoleId};
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::role::{Grant, GrantedScopes, Role};
use crate::ports::time::UnixTime;
use crate::store::{Among, HeldBy, StoreError, Tx};

use super::change::{Change, Touches};
use super::directory::Directory;
use super::granted::{parse_granted, unknown_resource};
use super::named::{
    FORCED_REMOVAL_MAX, Facts, Head, Named, Removal, check_extent, description, known_name,
};
use super::page::Page;
use super::{Caller, Issuer, IssuerError};

/// Most grants of a role: more is a mistake, and each is examined for every token.
pub(crate) const GRANTS_MAX: usize = 64;

impl Named for Role {
    const NOUN: &'static str = "role";
    const KIND: &'static str = "role";
    const CHANGED: AuditEvent = AuditEvent::RoleChanged;

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
        let grants = grant_facts(&self.grants, &*change.directory().await?);
        Ok(Facts::of(
            json!({ "description": self.description, "grants": grants }),
        ))
    }

    async fn find(tx: &mut Tx, issuer: &IssuerId, name: &str) -> Result<Option<Self>, StoreError> {
        tx.role_by_name(issuer, name).await
    }

    async fn insert(&self, tx: &mut Tx, issuer: &IssuerId) -> Result<bool, StoreError> {
        tx.insert_role(issuer, self).await
    }

    async fn update(
        &self,
        tx: &mut Tx,
        issuer: &IssuerId,
        expected: i64,
    ) -> Result<bool, StoreError> {
        tx.update_role(issuer, self, expected).await
    }
}

impl Issuer {
    /// Creates a role.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], or [`IssuerError::Conflict`] for a name that was used before.
    pub async fn create_role(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewRole,
    ) -> Result<api::Role, IssuerError> {
        let name = Name::parse(&new.name)?;
        let description = description(new.description.as_deref().unwrap_or_default())?;
        let mut change = self.begin(caller, Touches::Policy).await?;
        let directory = change.directory().await?;
        let role = Role {
            id: RoleId::new(change.at, &*self.ports.random),
            name,
            description,
            grants: parse_grants(new.grants.unwrap_or_default(), &directory)?,
            version: change.version,
            created_at: change.now(),
            updated_at: change.now(),
            removed_at: None,
        };
        let detail = role.facts(&mut change).await?.into_detail();
        if !change.add(&role, AuditEvent::RoleCreated, &detail).await? {
            return Err(change.name_taken(&role).await?);
        }
        self.end(change).await?;
        Ok(view(role, &directory))
    }

    /// One role.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`].
    pub async fn role(&self, name: &str) -> Result<api::Role, IssuerError> {
        let name = known_name("role", name)?;
        let (mut tx, _) = self.read().await?;
        let found = tx.role_by_name(&self.id, name.as_str()).await?;
        let role = found
            .filter(|role| role.removed_at.is_none())
            .ok_or_else(|| IssuerError::not_found("role", name.as_str()))?;
        let directory = Directory::load(&mut tx, &self.id).await?;
        tx.rollback().await?;
        Ok(view(role, &directory))
    }

    /// Roles by name, those after `after`; with `resource`, a name or identifier, only those that grant that
    /// resource.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for an unknown resource.
    pub async fn roles(
        &self,
        resource: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<api::Role>, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let directory = Directory::load(&mut tx, &self.id).await?;
        let roles = match resource {
            None => tx.roles_page(&self.id, after, limit + 1).await?,
            Some(text) => {
                let resource = directory
                    .resource(text)
                    .ok_or_else(|| unknown_resource("resource", text))?;
                let granting = directory.roles.iter().filter(|role| {
                    role.grants
                        .iter()
                        .any(|grant| grant.resource == resource.id)
                        && after.is_none_or(|after| role.name.as_str() > after)
                });
                let most = usize::try_from(limit + 1).unwrap_or(0);
                granting.take(most).cloned().collect()
            }
        };
        tx.rollback().await?;
        let views = roles.into_iter().map(|role| view(role, &directory));
        Ok(Page::cut(views.collect(), limit))
    }

    /// Edits a role. Omitted members keep their values.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn edit_role(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        edit: RoleEdit,
        expected: Option<i64>,
    ) -> Result<api::Role, IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before: Role = change.live(name, expected).await?;
        let directory = change.directory().await?;
        let mut after = before.clone();
        if let Some(text) = edit.description {
            after.description = description(&text)?;
        }
        if let Some(grants) = edit.grants {
            after.grants = parse_grants(grants, &directory)?;
        }
        change.write(&before, &mut after).await?;
        self.end(change).await?;
        Ok(view(after, &directory))
    }

    /// Removes a role. Its name is never reused.
    ///
    /// # Errors
    /// [`IssuerError::Conflict`] when agents or groups hold it and the removal is not forced; forced, when more than
    /// [`FORCED_REMOVAL_MAX`] agents or groups do.
    pub async fn remove_role(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        removal: Removal,
    ) -> Result<(), IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before: Role = change.live(name, removal.expected).await?;
        let holders = change
            .tx
            .count_role_holders(&self.id, &before.id, FORCED_REMOVAL_MAX + 1)
            .await?;
        for (count, noun) in [(holders.agents, "agents"), (holders.groups, "groups")] {
            let depending = format!("{noun} hold the role `{}`", before.name);
            check_extent(count, &depending, &format!("edit some of the {noun} first"))?;
        }
        let holders = holders.agents + holders.groups;
        if holders > 0 && !removal.force {
            return Err(IssuerError::conflict(format!(
                "{holders} {} the role `{}`; a forced removal removes the role from each",
                if holders == 1 {
                    "agent or group holds"
                } else {
                    "agents and groups hold"
                },
                before.name
            ))
            .with_remedy(Remedy::command(format!(
                "role remove {} --force",
                before.name
            ))));
        }
        let given = HeldBy {
            role: &before.id,
            groups: &[],
        };
        self.detach_agents(&mut change, Among::Role(given), |agent| {
            agent.roles.retain(|id| *id != before.id)
        })
        .await?;
        let directory = change.directory().await?;
        for group in &directory.groups {
            let mut without = group.clone();
            without.roles.retain(|id| *id != before.id);
            change.write(group, &mut without).await?;
        }
        let detail = json!({ "grants": grant_facts(&before.grants, &directory), "holders_taken_from": holders });
        let mut after = before.clone();
        after.grants = Vec::new();
        after.removed_at = Some(change.now());
        change
            .replace(&before, &mut after, AuditEvent::RoleRemoved, &detail)
            .await?;
        self.end(change).await
    }
}

fn view(role: Role, directory: &Directory) -> api::Role {
    let mut grants: Vec<api::Grant> = role
        .grants
        .into_iter()
        .filter_map(|grant| {
            let resource = directory.resource_by_id(&grant.resource)?;
            Some(api::Grant {
                resource: resource.name.to_string(),
                identifier: resource.identifier.as_str().to_owned(),
                scopes: grant.scopes.into(),
            })
        })
        .collect();
    grants.sort_by(|a, b| a.resource.cmp(&b.resource));
    api::Role {
        id: role.id.to_string(),
        name: role.name.to_string(),
        description: role.description,
        grants,
        created_at: role.created_at.0,
        updated_at: role.updated_at.0,
        version: role.version,
    }
}

fn parse_grants(grants: Vec<NewGrant>, directory: &Directory) -> Result<Vec<Grant>, Invalid> {
    if grants.len() > GRANTS_MAX {
        return Err(Invalid::new(
            "grants",
            format!("contains more than {GRANTS_MAX} grants"),
        ));
    }
    let mut parsed: BTreeMap<ResourceId, GrantedScopes> = BTreeMap::new();
    for grant in grants {
        let Some(resource) = directory.resource(&grant.resource) else {
            return Err(unknown_resource("grants", &grant.resource));
        };
        let scopes = match api::GrantedScopes::names(grant.scopes) {
            None => GrantedScopes::All,
            Some(names) => GrantedScopes::Only(parse_granted("grants", &names, resource)?),
        };
        if parsed.insert(resource.id.clone(), scopes).is_some() {
            return Err(Invalid::new(
                "grants",
                format!("names the resource `{}` twice", resource.name),
            )
            .with_remedy(Remedy::action("put its scopes into one grant")));
        }
    }
    Ok(parsed
        .into_iter()
        .map(|(resource, scopes)| Grant { resource, scopes })
        .collect())
}

/// A grant in an audit entry.
#[derive(PartialEq, Serialize)]
struct GrantFact(BTreeMap<String, Value>);

fn grant_facts(grants: &[Grant], directory: &Directory) -> GrantFact {
    let facts = grants.iter().map(|grant| {
        let name = directory.resource_by_id(&grant.resource).map_or_else(
            || grant.resource.to_string(),
            |resource| resource.name.to_string(),
        );
        let scopes = match &grant.scopes {
            GrantedScopes::All => json!("*"),
            GrantedScopes::Only(scopes) => json!(scopes),
        };
        (name, scopes)
    });
    GrantFact(facts.collect())
}
