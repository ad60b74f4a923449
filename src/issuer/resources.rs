//! Resources: making, editing, removing.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use crate::domain::Invalid;
use crate::domain::agent::{Agent, DESCRIPTION_MAX_CHARS};
use crate::domain::audit::AuditEvent;
use crate::domain::delegation::Delegation;
use crate::domain::id::{AgentId, ResourceId};
use crate::domain::name::Name;
use crate::domain::profile::Profile;
use crate::domain::resource::{
    Identifier, Resource, check_algorithm, check_audience, check_dpop_required, check_lifetime,
    check_server, check_typ,
};
use crate::domain::role::Role;
use crate::domain::scope::{SCOPES_MAX, Scope, Scopes};
use crate::domain::settings::IssuerSettings;
use crate::domain::text;
use crate::jose::algorithm::SigningAlgorithm;
use crate::store::{StoreError, Tx};

use super::change::{Change, Touches};
use super::directory::{Difference, Directory, known_name};
use super::groups::Removal;
use super::page::Page;
use super::roles::target as role_target;
use super::{Caller, Issuer, IssuerError, check_version};

/// A resource to be made.
#[derive(Debug, Default)]
pub struct NewResource {
    /// Its short name.
    pub name: String,
    /// What becomes `aud`; `None`: the profile's own, if it has one.
    pub identifier: Option<String>,
    /// What it is.
    pub description: String,
    /// The profile's name; `None`: generic.
    pub profile: Option<String>,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// Life of its tokens in seconds.
    pub lifetime: Option<i64>,
    /// The algorithm of its tokens.
    pub algorithm: Option<String>,
    /// The `typ` header of its tokens; `None`: as its profile has it.
    pub typ: Option<String>,
    /// Whether its tokens may be made by token exchange; `None`: as its profile has it.
    pub allow_delegation: Option<bool>,
    /// Name of the agent that is the resource server.
    pub server: Option<String>,
    /// Whether its tokens must be bound to a key (RFC 9449).
    pub dpop_required: bool,
}

/// An edit of a resource; `None` leaves a member as it is.
#[derive(Debug, Default)]
pub struct ResourceChanges {
    /// What it is.
    pub description: Option<String>,
    /// All its scopes.
    pub scopes: Option<Vec<String>>,
    /// Life of its tokens in seconds; `Some(None)`: the default.
    pub lifetime: Option<Option<i64>>,
    /// The algorithm of its tokens; `Some(None)`: the default.
    pub algorithm: Option<Option<String>>,
    /// The `typ` header of its tokens; `Some(None)`: as its profile has it.
    pub typ: Option<Option<String>>,
    /// Whether its tokens may be made by token exchange; `Some(None)`: as its profile has it.
    pub allow_delegation: Option<Option<bool>>,
    /// Name of the agent that is the resource server; `Some(None)`: none.
    pub server: Option<Option<String>>,
    /// Whether its tokens must be bound to a key.
    pub dpop_required: Option<bool>,
}

/// A resource as it is shown.
#[derive(Clone, Debug)]
pub struct ResourceView {
    /// The resource.
    pub resource: Resource,
    /// Name of the agent that is the resource server.
    pub server: Option<Name>,
    /// The life in seconds of a token whose request does not say.
    pub token_lifetime: i64,
    /// The algorithm of its tokens.
    pub token_algorithm: SigningAlgorithm,
}

impl Issuer {
    /// Makes a resource.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], or [`IssuerError::Conflict`] for a name or identifier in use.
    pub async fn create_resource(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewResource,
    ) -> Result<ResourceView, IssuerError> {
        let name = Name::parse(&new.name)?;
        let description = text::line("description", &new.description, DESCRIPTION_MAX_CHARS)?;
        let profile = new
            .profile
            .as_deref()
            .map_or(Ok(Profile::Generic), parse_profile)?;
        let identifier = parse_identifier(new.identifier.as_deref(), profile)?;
        check_audience(&identifier, profile)?;
        let scopes = parse_scope_names(&new.scopes, &Scopes::new())?;
        let algorithm = new
            .algorithm
            .as_deref()
            .map(|text| parse_algorithm(text, profile))
            .transpose()?;
        let typ = new.typ.as_deref().map(|text| check_typ(text, profile));
        let mut change = self.begin(caller, Touches::Policy).await?;
        let settings = self.settings_in(&mut change.tx).await?;
        check_is_not_issuer(&identifier, &settings)?;
        let server = self.known_server(&mut change, new.server, profile).await?;
        let resource = Resource {
            id: ResourceId::new(change.at, &*self.ports.random),
            name,
            identifier,
            description,
            profile,
            scopes,
            lifetime: new
                .lifetime
                .map(|seconds| check_lifetime(seconds, profile, settings.max_lifetime))
                .transpose()?,
            algorithm,
            typ: typ.transpose()?,
            allow_delegation: new.allow_delegation,
            server: server.as_ref().map(|server| server.id.clone()),
            dpop_required: check_dpop_required(new.dpop_required, profile)?,
            version: change.version,
            created_at: change.now(),
            updated_at: change.now(),
            removed_at: None,
        };
        if !change.tx.insert_resource(&self.id, &resource).await? {
            return Err(self.why_not_made(&mut change, &resource).await?);
        }
        let detail = json!({
            "identifier": resource.identifier.as_str(),
            "description": resource.description,
            "profile": resource.profile.as_str(),
            "scopes": resource.scopes,
            "lifetime": resource.lifetime,
            "algorithm": resource.algorithm,
            "typ": resource.typ,
            "allow_delegation": resource.allow_delegation,
            "server": server.as_ref().map(|server| &server.name),
            "dpop_required": resource.dpop_required.then_some(true),
        });
        change.audit(
            AuditEvent::ResourceCreated,
            target(&resource),
            None,
            &detail,
        );
        self.finish(change).await?;
        let server = server.map(|server| server.name);
        Ok(ResourceView::of(resource, server, &settings))
    }

    /// The agent that is to be a resource server, by its name.
    async fn known_server(
        &self,
        change: &mut Change,
        name: Option<String>,
        profile: Profile,
    ) -> Result<Option<Agent>, IssuerError> {
        let Some(text) = name else {
            return Ok(None);
        };
        check_server(profile)?;
        let name = Name::parse(&text).map_err(|invalid| Invalid::new("server", invalid.problem))?;
        match self.live_agent(change, name.as_str(), None).await {
            Ok(agent) => Ok(Some(agent)),
            Err(IssuerError::NotFound { .. }) => Err(Invalid::new(
                "server",
                format!("there is no agent '{name}'; register it with: firman agent add {name}"),
            )
            .into()),
            Err(error) => Err(error),
        }
    }

    async fn why_not_made(
        &self,
        change: &mut Change,
        resource: &Resource,
    ) -> Result<IssuerError, IssuerError> {
        let name = &resource.name;
        if change
            .tx
            .resource_by_name(&self.id, name.as_str())
            .await?
            .is_some()
        {
            return Ok(IssuerError::conflict(format!(
                "there is a resource '{name}' already; choose another name, or change that one with: firman resource edit {name}"
            )));
        }
        let identifier = resource.identifier.as_str();
        let holder = change
            .tx
            .resource_by_identifier(&self.id, identifier)
            .await?;
        let holder = holder.map_or_else(
            || "another resource".to_owned(),
            |holder| format!("the resource '{}'", holder.name),
        );
        Ok(IssuerError::conflict(format!(
            "the identifier {identifier} belongs to {holder}; use that one"
        )))
    }

    /// One resource.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`].
    pub async fn resource(&self, name: &str) -> Result<ResourceView, IssuerError> {
        let name = known_name("resource", name)?;
        let (mut tx, _) = self.read().await?;
        let found = tx.resource_by_name(&self.id, name.as_str()).await?;
        let settings = self.settings_in(&mut tx).await?;
        let resource = found.ok_or_else(|| IssuerError::not_found("resource", name.as_str()))?;
        let mut views = self.views(&mut tx, vec![resource], &settings).await?;
        tx.rollback().await?;
        views
            .pop()
            .ok_or_else(|| IssuerError::not_found("resource", name.as_str()))
    }

    /// Resources by name, those after `after`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn resources(
        &self,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<ResourceView>, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let settings = self.settings_in(&mut tx).await?;
        let resources = tx.resources_page(&self.id, after, limit + 1).await?;
        let views = self.views(&mut tx, resources, &settings).await?;
        tx.rollback().await?;
        Ok(Page::cut(views, limit))
    }

    async fn views(
        &self,
        tx: &mut Tx,
        resources: Vec<Resource>,
        settings: &IssuerSettings,
    ) -> Result<Vec<ResourceView>, StoreError> {
        let servers: BTreeSet<&str> = resources
            .iter()
            .filter_map(|resource| resource.server.as_ref().map(AgentId::as_str))
            .collect();
        let servers: Vec<&str> = servers.into_iter().collect();
        let names = tx.agent_names(&self.id, &servers).await?;
        let views = resources.into_iter().map(|resource| {
            let server = resource.server.as_ref().and_then(|id| names.get(id));
            let server = server.cloned();
            ResourceView::of(resource, server, settings)
        });
        Ok(views.collect())
    }

    /// Edits a resource; its name, identifier and profile stay.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn edit_resource(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        changes: ResourceChanges,
        expected: Option<i64>,
    ) -> Result<ResourceView, IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before = self.live_resource(&mut change, name, expected).await?;
        let settings = self.settings_in(&mut change.tx).await?;
        let mut after = before.clone();
        apply(&mut after, &changes, &settings)?;
        if let Some(server) = changes.server {
            let server = self
                .known_server(&mut change, server, before.profile)
                .await?;
            after.server = server.map(|server| server.id);
        }
        let sides = vec![before.clone(), after.clone()];
        let sides = self.views(&mut change.tx, sides, &settings).await?;
        let mut servers = sides.into_iter().map(|side| side.server);
        let (server_before, server) = (servers.next().flatten(), servers.next().flatten());
        let mut difference = difference(&before, &after);
        difference.note("server", &server_before, &server);
        if !difference.is_empty() {
            self.write_resource(&mut change, &before, &mut after)
                .await?;
            change.audit(
                AuditEvent::ResourceChanged,
                target(&after),
                None,
                &difference.into_detail(),
            );
            self.finish(change).await?;
        }
        Ok(ResourceView::of(after, server, &settings))
    }

    /// Removes a resource. Its name and identifier may be used again.
    ///
    /// # Errors
    /// [`IssuerError::Conflict`] when roles grant it or delegations name it, and the removal is not forced.
    pub async fn remove_resource(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        removal: Removal,
    ) -> Result<(), IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before = self
            .live_resource(&mut change, name, removal.expected)
            .await?;
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        let granting: Vec<_> = directory
            .roles
            .iter()
            .filter(|role| role.grants.iter().any(|grant| grant.resource == before.id))
            .collect();
        let now = change.now();
        let delegations = change
            .tx
            .delegations_of_resource(&self.id, &before.id, now)
            .await?;
        if !removal.force {
            check_unused(&before, &granting, &delegations)?;
        }
        self.revoke_delegations_on(&mut change, &delegations)
            .await?;
        for role in granting {
            let mut without = role.clone();
            without.grants.retain(|grant| grant.resource != before.id);
            self.write_role(&mut change, role, &mut without).await?;
            change.audit(
                AuditEvent::RoleChanged,
                role_target(role),
                None,
                &json!({ "grant_removed": before.name }),
            );
        }
        let mut after = before.clone();
        after.removed_at = Some(change.now());
        self.write_resource(&mut change, &before, &mut after)
            .await?;
        let detail = json!({ "identifier": before.identifier.as_str(), "profile": before.profile.as_str(), "scopes": before.scopes });
        change.audit(AuditEvent::ResourceRemoved, target(&before), None, &detail);
        self.finish(change).await
    }

    async fn live_resource(
        &self,
        change: &mut Change,
        name: &str,
        expected: Option<i64>,
    ) -> Result<Resource, IssuerError> {
        let name = known_name("resource", name)?;
        let found = change.tx.resource_by_name(&self.id, name.as_str()).await?;
        let resource = found.ok_or_else(|| IssuerError::not_found("resource", name.as_str()))?;
        check_version("resource", resource.version, expected)?;
        Ok(resource)
    }

    async fn write_resource(
        &self,
        change: &mut Change,
        before: &Resource,
        after: &mut Resource,
    ) -> Result<(), IssuerError> {
        after.version = change.version;
        after.updated_at = change.now();
        if change
            .tx
            .update_resource(&self.id, after, before.version)
            .await?
        {
            return Ok(());
        }
        Err(IssuerError::Stale {
            noun: "resource",
            present: before.version,
        })
    }
}

impl ResourceView {
    fn of(resource: Resource, server: Option<Name>, settings: &IssuerSettings) -> Self {
        Self {
            token_lifetime: resource.default_lifetime(settings),
            token_algorithm: resource.signing_algorithm(settings),
            server,
            resource,
        }
    }
}

/// Changes the members that need nothing but themselves to be checked.
fn apply(
    resource: &mut Resource,
    changes: &ResourceChanges,
    settings: &IssuerSettings,
) -> Result<(), Invalid> {
    if let Some(description) = &changes.description {
        resource.description = text::line("description", description, DESCRIPTION_MAX_CHARS)?;
    }
    if let Some(scopes) = &changes.scopes {
        resource.scopes = parse_scope_names(scopes, &resource.scopes)?;
    }
    if let Some(lifetime) = changes.lifetime {
        resource.lifetime = lifetime
            .map(|seconds| check_lifetime(seconds, resource.profile, settings.max_lifetime))
            .transpose()?;
    }
    if let Some(algorithm) = &changes.algorithm {
        resource.algorithm = algorithm
            .as_deref()
            .map(|text| parse_algorithm(text, resource.profile))
            .transpose()?;
    }
    if let Some(typ) = &changes.typ {
        resource.typ = typ
            .as_deref()
            .map(|text| check_typ(text, resource.profile))
            .transpose()?;
    }
    if let Some(allow_delegation) = changes.allow_delegation {
        resource.allow_delegation = allow_delegation;
    }
    if let Some(dpop_required) = changes.dpop_required {
        resource.dpop_required = check_dpop_required(dpop_required, resource.profile)?;
    }
    Ok(())
}

fn difference(before: &Resource, after: &Resource) -> Difference {
    let mut difference = Difference::default();
    difference.note("description", &before.description, &after.description);
    difference.note("scopes", &before.scopes, &after.scopes);
    difference.note("lifetime", &before.lifetime, &after.lifetime);
    difference.note("algorithm", &before.algorithm, &after.algorithm);
    difference.note("typ", &before.typ, &after.typ);
    difference.note(
        "allow_delegation",
        &before.allow_delegation,
        &after.allow_delegation,
    );
    difference.note("dpop_required", &before.dpop_required, &after.dpop_required);
    difference
}

fn check_unused(
    resource: &Resource,
    granting: &[&Role],
    delegations: &[Delegation],
) -> Result<(), IssuerError> {
    let name = &resource.name;
    if !granting.is_empty() {
        let names = granting
            .iter()
            .map(|role| role.name.as_str())
            .collect::<Vec<_>>()
            .join(", ");
        return Err(IssuerError::conflict(format!(
            "the resource '{name}' is granted by: {names}; take it out of these roles first, or remove it with --force, which does that"
        )));
    }
    let count = match delegations.len() {
        0 => return Ok(()),
        1 => "one delegation names".to_owned(),
        count => format!("{count} delegations name"),
    };
    Err(IssuerError::conflict(format!(
        "{count} the resource '{name}'; revoke them first (firman delegation list shows them), or remove it with --force, which does that and ends their tokens"
    )))
}

fn target(resource: &Resource) -> String {
    format!("resource:{}", resource.name)
}

fn parse_profile(text: &str) -> Result<Profile, Invalid> {
    Profile::parse(text).ok_or_else(|| {
        let names = Profile::ALL.map(Profile::as_str).join(" or ");
        Invalid::new("profile", format!("must be {names}"))
    })
}

fn parse_identifier(text: Option<&str>, profile: Profile) -> Result<Identifier, Invalid> {
    match text.or(profile.demands().default_identifier) {
        Some(text) => Identifier::parse(text),
        None => Err(Invalid::new(
            "identifier",
            format!(
                "is missing: a resource with profile {} needs the URI that becomes the audience, such as https://api.example.com",
                profile.as_str()
            ),
        )),
    }
}

/// The issuer's URL is the audience of identity tokens, which no role grants: as a resource it would be
/// two things under one name.
fn check_is_not_issuer(identifier: &Identifier, settings: &IssuerSettings) -> Result<(), Invalid> {
    if identifier.as_str() != settings.url {
        return Ok(());
    }
    Err(Invalid::new(
        "identifier",
        "is the issuer's own URL; a token for the issuer itself is had with the scope openid and needs no resource",
    ))
}

fn parse_algorithm(text: &str, profile: Profile) -> Result<SigningAlgorithm, Invalid> {
    let known = SigningAlgorithm::parse(text).map(|algorithm| check_algorithm(algorithm, profile));
    known.unwrap_or_else(|| {
        let names = profile
            .demands()
            .algorithms
            .iter()
            .map(|algorithm| algorithm.as_str())
            .collect::<Vec<_>>()
            .join(" or ");
        Err(Invalid::new(
            "algorithm",
            format!(
                "must be {names} for a resource with profile {}",
                profile.as_str()
            ),
        ))
    })
}

/// Reads the names of a resource's scopes; `known` are those that it has already. RFC 6749 §3.3 allows a
/// comma in a name, but lists of scopes are typed with commas: a new name has none, an old one stays.
fn parse_scope_names(names: &[String], known: &Scopes) -> Result<Scopes, Invalid> {
    let mut scopes = Scopes::new();
    for name in names {
        let scope = Scope::parse(name).map_err(|invalid| {
            Invalid::new("scopes", format!("holds a scope that {}", invalid.problem))
        })?;
        if scope.is_openid() {
            return Err(Invalid::new(
                "scopes",
                format!(
                    "holds '{scope}', which OpenID Connect defines and which needs no grant; leave it out"
                ),
            ));
        }
        if scope.as_str().contains(',') && !known.contains(&scope) {
            return Err(Invalid::new(
                "scopes",
                format!(
                    "holds '{scope}': a scope name must not contain a comma, which separates scopes in lists"
                ),
            ));
        }
        scopes.insert(scope);
        if scopes.len() > SCOPES_MAX {
            return Err(Invalid::new(
                "scopes",
                format!("holds more than {SCOPES_MAX} scopes"),
            ));
        }
    }
    Ok(scopes)
}
