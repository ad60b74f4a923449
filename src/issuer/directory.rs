//! Groups, roles and resources as one change sees them: names to ids and back, and the size of an agent's tokens.
//! Read inside the change's transaction, which holds the issuer's head row, so that nothing named here disappears
//! before the commit.
//!
//! Separate from [`Policy`](super::cache::Policy), which holds the same rows: that copy is in memory and may be
//! older than the change, and rereading it would unseal the signing keys, which no change of the registry needs.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::domain::Invalid;
use crate::domain::agent::{Agent, MEMBERSHIPS_MAX};
use crate::domain::group::Group;
use crate::domain::id::{GroupId, IssuerId, ResourceId, RoleId};
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::resource::Resource;
use crate::domain::role::{GrantedScopes, Role};
use crate::domain::scope::Scope;
use crate::domain::settings::IssuerSettings;
use crate::store::{StoreError, Tx};

use super::IssuerError;
use crate::domain::claims::TOKEN_MAX_BYTES;

/// Header and signature of a token in base64url, and the part of the claims that is the same for every agent
/// (times, `jti`, member names): 342 bytes of RS256 signature and some 350 for the rest.
const TOKEN_FIXED_BYTES: usize = 700;

/// Groups, roles and resources that are not removed.
pub(crate) struct Directory {
    pub(crate) groups: Vec<Group>,
    pub(crate) roles: Vec<Role>,
    pub(crate) resources: Vec<Resource>,
}

/// A way in which something is granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// The role.
    pub role: Name,
    /// The group that passes on the role; `None`: a direct assignment.
    pub group: Option<Name>,
}

impl Directory {
    pub(crate) async fn load(tx: &mut Tx, issuer: &IssuerId) -> Result<Self, StoreError> {
        Ok(Self {
            groups: tx.groups(issuer).await?,
            roles: tx.roles(issuer).await?,
            resources: tx.resources(issuer).await?,
        })
    }

    /// The ids of the named groups, sorted, without duplicates.
    pub(crate) fn group_ids(&self, names: &[String]) -> Result<Vec<GroupId>, Invalid> {
        ids("groups", "group", names, |name| {
            self.groups
                .iter()
                .find(|group| group.name.as_str() == name)
                .map(|group| group.id.clone())
        })
    }

    /// The ids of the named roles, sorted, without duplicates.
    pub(crate) fn role_ids(&self, names: &[String]) -> Result<Vec<RoleId>, Invalid> {
        ids("roles", "role", names, |name| {
            self.roles
                .iter()
                .find(|role| role.name.as_str() == name)
                .map(|role| role.id.clone())
        })
    }

    /// A group by its name; an error names `field`.
    pub(crate) fn group_named(&self, field: &'static str, name: &str) -> Result<&Group, Invalid> {
        let name = Name::parse(name).map_err(|invalid| Invalid::new(field, invalid.problem))?;
        let found = self.groups.iter().find(|group| group.name == name);
        found.ok_or_else(|| unknown(field, "group", &name))
    }

    /// A role by its name; an error names `field`.
    pub(crate) fn role_named(&self, field: &'static str, name: &str) -> Result<&Role, Invalid> {
        let name = Name::parse(name).map_err(|invalid| Invalid::new(field, invalid.problem))?;
        let found = self.roles.iter().find(|role| role.name == name);
        found.ok_or_else(|| unknown(field, "role", &name))
    }

    /// The groups that pass a role on to their members.
    pub(crate) fn groups_passing(&self, role: &Role) -> Vec<GroupId> {
        let passing = self
            .groups
            .iter()
            .filter(|group| group.roles.contains(&role.id));
        passing.map(|group| group.id.clone()).collect()
    }

    /// Every role of an agent, once for each way it holds it, by name; the direct assignment first.
    pub(crate) fn ways(&self, agent: &Agent) -> Vec<Through> {
        let way = |id: &RoleId, group: Option<&Group>| {
            let role = self.roles.iter().find(|role| role.id == *id)?;
            Some(Through {
                role: role.name.clone(),
                group: group.map(|group| group.name.clone()),
            })
        };
        let direct = agent.roles.iter().filter_map(|id| way(id, None));
        let of_agent = self
            .groups
            .iter()
            .filter(|group| agent.groups.contains(&group.id));
        let passed = of_agent.flat_map(|group| {
            group
                .roles
                .iter()
                .filter_map(move |id| way(id, Some(group)))
        });
        let mut ways: Vec<Through> = direct.chain(passed).collect();
        ways.sort_by(|a, b| (&a.role, &a.group).cmp(&(&b.role, &b.group)));
        ways
    }

    pub(crate) fn group_names(&self, ids: &[GroupId]) -> Vec<Name> {
        sorted(
            self.groups
                .iter()
                .filter(|group| ids.contains(&group.id))
                .map(|group| group.name.clone()),
        )
    }

    pub(crate) fn role_names(&self, ids: &[RoleId]) -> Vec<Name> {
        sorted(
            self.roles
                .iter()
                .filter(|role| ids.contains(&role.id))
                .map(|role| role.name.clone()),
        )
    }

    pub(crate) fn resource_by_id(&self, id: &ResourceId) -> Option<&Resource> {
        self.resources.iter().find(|resource| resource.id == *id)
    }

    /// A resource by its name or its identifier.
    pub(crate) fn resource(&self, name_or_identifier: &str) -> Option<&Resource> {
        self.resources.iter().find(|resource| {
            resource.name.as_str() == name_or_identifier
                || resource.identifier.as_str() == name_or_identifier
        })
    }

    /// All roles of an agent: directly assigned ones and those of its groups.
    fn all_roles<'a>(&'a self, agent: &'a Agent) -> impl Iterator<Item = &'a Role> {
        let through_groups = self
            .groups
            .iter()
            .filter(|group| agent.groups.contains(&group.id))
            .flat_map(|group| &group.roles);
        let ids: BTreeSet<&RoleId> = agent.roles.iter().chain(through_groups).collect();
        self.roles.iter().filter(move |role| ids.contains(&role.id))
    }

    /// Whether a role of an agent grants a resource.
    pub(crate) fn grants(&self, agent: &Agent, resource: &ResourceId) -> bool {
        self.all_roles(agent)
            .any(|role| role.grants.iter().any(|grant| grant.resource == *resource))
    }

    /// Refuses an agent whose largest token would exceed what every hop on its way accepts. The administrator who
    /// assigns the roles can fix that; the agent could not.
    ///
    /// An estimate: the exact length depends on the scopes of a request and the signing key, and is measured when a
    /// token is minted (`mint.rs`).
    pub(crate) fn check_token_size(
        &self,
        agent: &Agent,
        settings: &IssuerSettings,
    ) -> Result<(), IssuerError> {
        let mut roles = 0;
        let mut reach: BTreeMap<&ResourceId, BTreeSet<&Scope>> = BTreeMap::new();
        for role in self.all_roles(agent) {
            roles += role.name.as_str().len() + 3;
            for grant in &role.grants {
                let Some(resource) = self.resource_by_id(&grant.resource) else {
                    continue;
                };
                let scopes = reach.entry(&resource.id).or_default();
                match &grant.scopes {
                    GrantedScopes::All => scopes.extend(&resource.scopes),
                    GrantedScopes::Only(some) => scopes.extend(resource.scopes.intersection(some)),
                }
            }
        }
        let audience_and_scope = reach
            .iter()
            .filter_map(|(id, scopes)| {
                let audience = self.resource_by_id(id)?.identifier.as_str().len();
                Some(
                    audience
                        + scopes
                            .iter()
                            .map(|scope| scope.as_str().len() + 1)
                            .sum::<usize>(),
                )
            })
            .max()
            .unwrap_or(0);
        let groups: usize = self
            .groups
            .iter()
            .filter(|group| agent.groups.contains(&group.id))
            .map(|group| group.name.as_str().len() + 3)
            .sum();
        let attributes: usize = agent
            .attributes
            .iter()
            .map(|(name, value)| json!({ name: value }).to_string().len())
            .sum();
        let people = 2 * agent.subject.as_str().len()
            + agent.name.as_str().len()
            + json!(agent.owner).to_string().len();
        let claims = settings.url.len() + people + audience_and_scope + groups + roles + attributes;
        let token = TOKEN_FIXED_BYTES + claims.div_ceil(3) * 4;
        if token <= TOKEN_MAX_BYTES {
            return Ok(());
        }
        Err(IssuerError::conflict(format!(
            "a token of the agent `{}` would have about {token} bytes, more than the {TOKEN_MAX_BYTES} that proxies and servers commonly accept \
             (attributes {attributes}, groups {groups}, roles {roles}, audience and scopes {audience_and_scope} bytes)",
            agent.name
        ))
        .with_remedy(Remedy::action(
            "give the agent fewer or shorter attributes, groups, roles or scopes",
        )))
    }
}

fn ids<T: Ord>(
    field: &'static str,
    noun: &str,
    names: &[String],
    find: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Invalid> {
    if names.len() > MEMBERSHIPS_MAX {
        return Err(Invalid::new(
            field,
            format!("contains more than {MEMBERSHIPS_MAX} {noun}s"),
        ));
    }
    let mut found = BTreeSet::new();
    for name in names {
        let name = Name::parse(name).map_err(|invalid| {
            Invalid::new(field, format!("contains a name that {}", invalid.problem))
        })?;
        let Some(id) = find(name.as_str()) else {
            return Err(unknown(field, noun, &name));
        };
        found.insert(id);
    }
    Ok(found.into_iter().collect())
}

fn unknown(field: &'static str, noun: &str, name: &Name) -> Invalid {
    Invalid::new(field, format!("{noun} `{name}` not found"))
        .with_remedy(Remedy::command(format!("{noun} list")))
}

fn sorted(names: impl Iterator<Item = Name>) -> Vec<Name> {
    let mut names: Vec<Name> = names.collect();
    names.sort();
    names
}
