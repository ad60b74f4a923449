//! What an agent may reach: its roles, direct or through groups, and the resources and scopes that they grant.

use std::collections::{BTreeMap, BTreeSet};

use super::{AuthorizationError, shown};
use crate::domain::agent::Agent;
use crate::domain::group::Group;
use crate::domain::id::ResourceId;
use crate::domain::name::Name;
use crate::domain::resource::Resource;
use crate::domain::role::{GrantedScopes, Role};
use crate::domain::scope::Scopes;
use crate::issuer::cache::Policy;

/// One way in which an agent holds a role: directly, or through a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRole<'p> {
    /// The role.
    pub role: &'p Role,
    /// The group that passes it on; `None`: a direct assignment.
    pub through: Option<&'p Group>,
}

/// The groups of an agent, by name.
#[must_use]
pub fn groups<'p>(agent: &Agent, policy: &'p Policy) -> Vec<&'p Group> {
    let mut groups: Vec<_> = agent
        .groups
        .iter()
        .filter_map(|id| policy.groups.get(id))
        .collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

/// Every way in which an agent holds a role, by role name.
#[must_use]
pub fn held_roles<'p>(agent: &Agent, policy: &'p Policy) -> Vec<HeldRole<'p>> {
    let direct = agent
        .roles
        .iter()
        .filter_map(|id| policy.roles.get(id))
        .map(|role| HeldRole {
            role,
            through: None,
        });
    let grouped = groups(agent, policy).into_iter().flat_map(|group| {
        group
            .roles
            .iter()
            .filter_map(|id| policy.roles.get(id))
            .map(move |role| HeldRole {
                role,
                through: Some(group),
            })
    });
    let mut held: Vec<_> = direct.chain(grouped).collect();
    held.sort_by(|a, b| a.role.name.cmp(&b.role.name));
    held
}

/// The names of an agent's roles, each once, sorted.
#[must_use]
pub fn role_names<'p>(agent: &Agent, policy: &'p Policy) -> BTreeSet<&'p Name> {
    held_roles(agent, policy)
        .into_iter()
        .map(|held| &held.role.name)
        .collect()
}

/// The scopes that a role grants on one resource; `None` when it does not grant the resource.
#[must_use]
pub fn scopes_given(role: &Role, resource: &Resource) -> Option<Scopes> {
    role.grants
        .iter()
        .find(|grant| grant.resource == resource.id)
        .map(|grant| available(&grant.scopes, resource))
}

pub(super) fn available(granted: &GrantedScopes, resource: &Resource) -> Scopes {
    match granted {
        GrantedScopes::All => resource.scopes.clone(),
        GrantedScopes::Only(scopes) => scopes.intersection(&resource.scopes).cloned().collect(),
    }
}

/// What an agent may reach: each granted resource, with the granted scopes that the resource still has.
#[must_use]
pub fn reach(agent: &Agent, policy: &Policy) -> BTreeMap<ResourceId, Scopes> {
    let mut reach = BTreeMap::<ResourceId, Scopes>::new();
    for held in held_roles(agent, policy) {
        for grant in &held.role.grants {
            if let Some(resource) = policy.resources.get(&grant.resource) {
                let scopes = available(&grant.scopes, resource);
                reach.entry(resource.id.clone()).or_default().extend(scopes);
            }
        }
    }
    reach
}

/// A resource that an agent may reach, with the granted scopes that the resource still has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reachable<'p> {
    pub(super) resource: &'p Resource,
    pub(super) granted: &'p Scopes,
}

impl Reachable<'_> {
    /// Whether `audience` is this resource.
    pub(super) fn is_named(&self, audience: &str) -> bool {
        self.resource.identifier.as_str() == audience
    }
}

/// The resources of [`reach`], which holds only their ids.
pub(super) fn reachable<'p>(
    reach: &'p BTreeMap<ResourceId, Scopes>,
    policy: &'p Policy,
) -> Vec<Reachable<'p>> {
    reach
        .iter()
        .filter_map(|(id, granted)| {
            let resource = policy.resources.get(id)?;
            Some(Reachable { resource, granted })
        })
        .collect()
}

/// The identifiers of resources, sorted, for an error.
pub(super) fn identifiers(reachable: &[Reachable<'_>]) -> String {
    let mut names: Vec<_> = reachable
        .iter()
        .map(|one| one.resource.identifier.as_str())
        .collect();
    names.sort_unstable();
    names.join(" ")
}

/// The rejection of an audience that the agent cannot reach.
pub(super) fn not_granted(audience: &str, reachable: &[Reachable<'_>]) -> AuthorizationError {
    let shown = shown(audience);
    AuthorizationError::invalid_target(match reachable {
        [] => format!("{shown} is not granted to this agent; no resource is"),
        _ => format!(
            "{shown} is not granted to this agent; granted: {}",
            identifiers(reachable)
        ),
    })
}
