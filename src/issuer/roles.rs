//! Roles: making, editing, removing. A role is the only source of scopes and audiences.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::Invalid;
use crate::domain::agent::DESCRIPTION_MAX_CHARS;
use crate::domain::audit::AuditEvent;
use crate::domain::id::{ResourceId, RoleId};
use crate::domain::name::Name;
use crate::domain::resource::{Identifier, Resource};
use crate::domain::role::{Grant, GrantedScopes, Role};
use crate::domain::scope::{SCOPES_MAX, Scope, Scopes, join_scopes};
use crate::domain::text;
use crate::store::{Among, HeldBy};

use super::change::{Change, Touches};
use super::directory::{Difference, Directory, known_name};
use super::groups::{Removal, name_taken, target as group_target};
use super::page::Page;
use super::{Caller, Issuer, IssuerError, check_version};

/// Most grants of a role: more is a mistake, and each is looked at for every token.
pub const GRANTS_MAX: usize = 64;

/// A role to be made.
#[derive(Debug, Default)]
pub struct NewRole {
    /// Its name.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What it grants.
    pub grants: Vec<NewGrant>,
}

/// A grant, as it was asked for.
#[derive(Debug)]
pub struct NewGrant {
    /// Name or identifier of the resource.
    pub resource: String,
    /// Names of scopes; `None`: all, now and later.
    pub scopes: Option<Vec<String>>,
}

/// An edit of a role; `None` leaves a member as it is.
#[derive(Debug, Default)]
pub struct RoleChanges {
    /// What it is for.
    pub description: Option<String>,
    /// All its grants.
    pub grants: Option<Vec<NewGrant>>,
}

/// A role as it is shown.
#[derive(Clone, Debug)]
pub struct RoleView {
    /// The role.
    pub role: Role,
    /// What it grants, sorted by the resource's name.
    pub grants: Vec<GrantView>,
}

/// A grant as it is shown.
#[derive(Clone, Debug)]
pub struct GrantView {
    /// The resource's name.
    pub resource: Name,
    /// What becomes `aud`.
    pub identifier: Identifier,
    /// Which scopes.
    pub scopes: GrantedScopes,
}

impl Issuer {
    /// Makes a role.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], or [`IssuerError::Conflict`] for a name that was given out before.
    pub async fn create_role(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewRole,
    ) -> Result<RoleView, IssuerError> {
        let name = Name::parse(&new.name)?;
        let description = text::line("description", &new.description, DESCRIPTION_MAX_CHARS)?;
        let mut change = self.begin(caller, Touches::Policy).await?;
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        let role = Role {
            id: RoleId::new(change.at, &*self.ports.random),
            name,
            description,
            grants: parse_grants(&new.grants, &directory)?,
            version: change.version,
            created_at: change.now(),
            updated_at: change.now(),
            removed_at: None,
        };
        if !change.tx.insert_role(&self.id, &role).await? {
            let holder = change.tx.role_by_name(&self.id, role.name.as_str()).await?;
            return Err(name_taken(
                "role",
                &role.name,
                holder.is_some_and(|holder| holder.removed_at.is_some()),
            ));
        }
        let view = RoleView::of(role, &directory);
        let detail = json!({ "description": view.role.description, "grants": grant_facts(&view.role.grants, &directory) });
        change.audit(AuditEvent::RoleCreated, target(&view.role), None, &detail);
        self.finish(change).await?;
        Ok(view)
    }

    /// One role.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`].
    pub async fn role(&self, name: &str) -> Result<RoleView, IssuerError> {
        let name = known_name("role", name)?;
        let (mut tx, _) = self.read().await?;
        let found = tx.role_by_name(&self.id, name.as_str()).await?;
        let role = found
            .filter(|role| role.removed_at.is_none())
            .ok_or_else(|| IssuerError::not_found("role", name.as_str()))?;
        let directory = Directory::load(&mut tx, &self.id).await?;
        tx.rollback().await?;
        Ok(RoleView::of(role, &directory))
    }

    /// Roles by name, those after `after`; with `resource`, a name or identifier, only those that grant it.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a resource that there is not.
    pub async fn roles(
        &self,
        resource: Option<&str>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<RoleView>, IssuerError> {
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
        Ok(Page::cut(
            roles
                .into_iter()
                .map(|role| RoleView::of(role, &directory))
                .collect(),
            limit,
        ))
    }

    /// Edits a role.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn edit_role(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        changes: RoleChanges,
        expected: Option<i64>,
    ) -> Result<RoleView, IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before = self.live_role(&mut change, name, expected).await?;
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        let mut after = before.clone();
        if let Some(description) = changes.description {
            after.description = text::line("description", &description, DESCRIPTION_MAX_CHARS)?;
        }
        if let Some(grants) = changes.grants {
            after.grants = parse_grants(&grants, &directory)?;
        }
        let mut difference = Difference::default();
        difference.note("description", &before.description, &after.description);
        difference.note(
            "grants",
            &grant_facts(&before.grants, &directory),
            &grant_facts(&after.grants, &directory),
        );
        if !difference.is_empty() {
            self.write_role(&mut change, &before, &mut after).await?;
            change.audit(
                AuditEvent::RoleChanged,
                target(&after),
                None,
                &difference.into_detail(),
            );
            self.finish(change).await?;
        } else {
            self.abandon(change).await;
        }
        self.role(before.name.as_str()).await
    }

    /// Removes a role. Its name is never given out again.
    ///
    /// # Errors
    /// [`IssuerError::Conflict`] when agents or groups hold it and the removal is not forced.
    pub async fn remove_role(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        removal: Removal,
    ) -> Result<(), IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before = self.live_role(&mut change, name, removal.expected).await?;
        let holders = change.tx.count_role_holders(&self.id, &before.id).await?;
        if holders > 0 && !removal.force {
            return Err(IssuerError::conflict(format!(
                "{holders} {} the role '{}': take it from them first, or remove it with --force, which takes it from each of them",
                if holders == 1 {
                    "agent or group holds"
                } else {
                    "agents and groups hold"
                },
                before.name
            )));
        }
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        let given = HeldBy {
            role: &before.id,
            groups: &[],
        };
        self.detach_agents(&mut change, &directory, Among::Role(given), |agent| {
            agent.roles.retain(|id| *id != before.id)
        })
        .await?;
        for group in directory
            .groups
            .iter()
            .filter(|group| group.roles.contains(&before.id))
        {
            let mut without = group.clone();
            without.roles.retain(|id| *id != before.id);
            self.write_group(&mut change, group, &mut without).await?;
            let mut difference = Difference::default();
            difference.note(
                "roles",
                &directory.role_names(&group.roles),
                &directory.role_names(&without.roles),
            );
            change.audit(
                AuditEvent::GroupChanged,
                group_target(group),
                None,
                &difference.into_detail(),
            );
        }
        let mut after = before.clone();
        after.grants = Vec::new();
        after.removed_at = Some(change.now());
        self.write_role(&mut change, &before, &mut after).await?;
        let detail = json!({ "grants": grant_facts(&before.grants, &directory), "holders_taken_from": holders });
        change.audit(AuditEvent::RoleRemoved, target(&before), None, &detail);
        self.finish(change).await
    }

    async fn live_role(
        &self,
        change: &mut Change,
        name: &str,
        expected: Option<i64>,
    ) -> Result<Role, IssuerError> {
        let name = known_name("role", name)?;
        let found = change.tx.role_by_name(&self.id, name.as_str()).await?;
        let role = found
            .filter(|role| role.removed_at.is_none())
            .ok_or_else(|| IssuerError::not_found("role", name.as_str()))?;
        check_version("role", role.version, expected)?;
        Ok(role)
    }

    pub(super) async fn write_role(
        &self,
        change: &mut Change,
        before: &Role,
        after: &mut Role,
    ) -> Result<(), IssuerError> {
        after.version = change.version;
        after.updated_at = change.now();
        if change
            .tx
            .update_role(&self.id, after, before.version)
            .await?
        {
            return Ok(());
        }
        Err(IssuerError::Stale {
            noun: "role",
            present: before.version,
        })
    }
}

impl RoleView {
    fn of(role: Role, directory: &Directory) -> Self {
        let mut grants: Vec<GrantView> = role
            .grants
            .iter()
            .filter_map(|grant| {
                let resource = directory.resource_by_id(&grant.resource)?;
                Some(GrantView {
                    resource: resource.name.clone(),
                    identifier: resource.identifier.clone(),
                    scopes: grant.scopes.clone(),
                })
            })
            .collect();
        grants.sort_by(|a, b| a.resource.cmp(&b.resource));
        Self { role, grants }
    }
}

pub(super) fn target(role: &Role) -> String {
    format!("role:{}", role.name)
}

fn parse_grants(grants: &[NewGrant], directory: &Directory) -> Result<Vec<Grant>, Invalid> {
    if grants.len() > GRANTS_MAX {
        return Err(Invalid::new(
            "grants",
            format!("holds more than {GRANTS_MAX} grants"),
        ));
    }
    let mut parsed: BTreeMap<ResourceId, GrantedScopes> = BTreeMap::new();
    for grant in grants {
        let Some(resource) = directory.resource(&grant.resource) else {
            return Err(unknown_resource("grants", &grant.resource));
        };
        let scopes = match &grant.scopes {
            None => GrantedScopes::All,
            Some(names) => GrantedScopes::Only(parse_granted("grants", names, resource)?),
        };
        if parsed.insert(resource.id.clone(), scopes).is_some() {
            return Err(Invalid::new(
                "grants",
                format!(
                    "names the resource '{}' twice; put its scopes into one grant",
                    resource.name
                ),
            ));
        }
    }
    Ok(parsed
        .into_iter()
        .map(|(resource, scopes)| Grant { resource, scopes })
        .collect())
}

/// The refusal of a resource that there is not, given by name or identifier.
pub(super) fn unknown_resource(field: &'static str, text: &str) -> Invalid {
    // Repeated only when it is harmless to show.
    match Name::parse(text) {
        Ok(name) => Invalid::new(
            field,
            format!(
                "there is no resource '{name}'; `firman resource list` shows them, `firman resource add {name} --identifier URI` makes one"
            ),
        ),
        Err(_) => match Identifier::parse(text) {
            Ok(identifier) => {
                let identifier = identifier.as_str();
                Invalid::new(
                    field,
                    format!(
                        "there is no resource '{identifier}'; `firman resource list` shows them, `firman resource add NAME --identifier {identifier}` makes one"
                    ),
                )
            }
            Err(invalid) => Invalid::new(
                field,
                format!(
                    "names a resource that is neither a name nor an identifier: it {}",
                    invalid.problem
                ),
            ),
        },
    }
}

/// Reads the names of scopes that a resource must have; `field` is what a refusal names.
pub(super) fn parse_granted(
    field: &'static str,
    names: &[String],
    resource: &Resource,
) -> Result<Scopes, Invalid> {
    if names.is_empty() {
        return Err(Invalid::new(
            field,
            format!(
                "names no scope of '{}'; leave the scopes out to grant all of them",
                resource.name
            ),
        ));
    }
    let mut scopes = Scopes::new();
    for name in names {
        let scope = Scope::parse(name).map_err(|invalid| {
            Invalid::new(field, format!("holds a scope that {}", invalid.problem))
        })?;
        if !resource.scopes.contains(&scope) {
            let known = if resource.scopes.is_empty() {
                "no scopes".to_owned()
            } else {
                format!("the scopes {}", join_scopes(&resource.scopes))
            };
            return Err(Invalid::new(
                field,
                format!(
                    "the resource '{}' has {known}, not '{scope}'",
                    resource.name
                ),
            ));
        }
        scopes.insert(scope);
    }
    if scopes.len() > SCOPES_MAX {
        return Err(Invalid::new(
            field,
            format!("names more than {SCOPES_MAX} scopes of one resource"),
        ));
    }
    Ok(scopes)
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
