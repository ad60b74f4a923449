//! Resources: creating, editing, removing.

mod parse;
mod removal;

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::json;

use crate::api::resource::{self as api, NewResource, ResourceEdit};
use crate::domain::Invalid;
use crate::domain::agent::Agent;
use crate::domain::audit::AuditEvent;
use crate::domain::id::{AgentId, IssuerId, ResourceId};
use crate::domain::name::Name;
use crate::domain::profile::Profile;
use crate::domain::remedy::Remedy;
use crate::domain::resource::{
    Resource, check_audience, check_dpop_required, check_lifetime, check_server, check_typ,
};
use crate::domain::scope::Scopes;
use crate::domain::settings::IssuerSettings;
use crate::ports::time::UnixTime;
use crate::store::{StoreError, Tx};

use super::change::{Change, Touches};
use super::named::{Facts, Head, Named, description, known_name, name_in_use};
use super::page::Page;
use super::{Caller, Issuer, IssuerError};

use parse::{
    apply, check_is_not_issuer, parse_algorithm, parse_identifier, parse_profile, parse_scope_names,
};

impl Named for Resource {
    const NOUN: &'static str = "resource";
    const KIND: &'static str = "resource";
    const CHANGED: AuditEvent = AuditEvent::ResourceChanged;

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
        let server = server_name(&mut change.tx, &change.issuer, self).await?;
        Ok(Facts::of(json!({
            "description": self.description,
            "scopes": self.scopes,
            "lifetime": self.lifetime,
            "algorithm": self.algorithm,
            "typ": self.typ,
            "allow_delegation": self.allow_delegation,
            "server": server,
            "dpop_required": self.dpop_required,
        })))
    }

    async fn find(tx: &mut Tx, issuer: &IssuerId, name: &str) -> Result<Option<Self>, StoreError> {
        tx.resource_by_name(issuer, name).await
    }

    async fn insert(&self, tx: &mut Tx, issuer: &IssuerId) -> Result<bool, StoreError> {
        tx.insert_resource(issuer, self).await
    }

    async fn update(
        &self,
        tx: &mut Tx,
        issuer: &IssuerId,
        expected: i64,
    ) -> Result<bool, StoreError> {
        tx.update_resource(issuer, self, expected).await
    }
}

impl Issuer {
    /// Creates a resource.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], or [`IssuerError::Conflict`] for a name or identifier in use.
    pub async fn create_resource(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewResource,
    ) -> Result<api::Resource, IssuerError> {
        let name = Name::parse(&new.name)?;
        let description = description(new.description.as_deref().unwrap_or_default())?;
        let profile = new
            .profile
            .as_deref()
            .map_or(Ok(Profile::Generic), parse_profile)?;
        let identifier = parse_identifier(new.identifier.as_deref(), profile)?;
        check_audience(&identifier, profile)?;
        let scopes = parse_scope_names(new.scopes.as_deref().unwrap_or_default(), &Scopes::new())?;
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
            dpop_required: check_dpop_required(new.dpop_required.unwrap_or(false), profile)?,
            version: change.version,
            created_at: change.now(),
            updated_at: change.now(),
            removed_at: None,
        };
        let detail = resource.facts(&mut change).await?.and(json!({
            "identifier": resource.identifier.as_str(),
            "profile": resource.profile.as_str(),
            "dpop_required": resource.dpop_required.then_some(true),
        }));
        let event = AuditEvent::ResourceCreated;
        if !change.add(&resource, event, &detail.into_detail()).await? {
            return Err(self.why_not_made(&mut change, &resource).await?);
        }
        self.end(change).await?;
        Ok(view(resource, server.map(|server| server.name), &settings))
    }

    /// The agent that becomes the resource server, by its name.
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
            Err(IssuerError::NotFound { .. }) => {
                Err(Invalid::new("server", format!("agent `{name}` not found"))
                    .with_remedy(Remedy::command(format!("agent add {name}")))
                    .into())
            }
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
            return Ok(name_in_use("resource", name));
        }
        let identifier = resource.identifier.as_str();
        let holder = change
            .tx
            .resource_by_identifier(&self.id, identifier)
            .await?;
        Ok(match holder {
            Some(holder) => IssuerError::conflict(format!(
                "the identifier `{identifier}` belongs to the resource `{}`",
                holder.name
            ))
            .with_remedy(Remedy::command(format!("resource show {}", holder.name))),
            None => IssuerError::conflict(format!(
                "the identifier `{identifier}` belongs to another resource"
            )),
        })
    }

    /// One resource.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`].
    pub async fn resource(&self, name: &str) -> Result<api::Resource, IssuerError> {
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
    ) -> Result<Page<api::Resource>, IssuerError> {
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
    ) -> Result<Vec<api::Resource>, StoreError> {
        let servers: BTreeSet<&str> = resources
            .iter()
            .filter_map(|resource| resource.server.as_ref().map(AgentId::as_str))
            .collect();
        let servers: Vec<&str> = servers.into_iter().collect();
        let names = tx.agent_names(&self.id, &servers).await?;
        let views = resources.into_iter().map(|resource| {
            let server = resource.server.as_ref().and_then(|id| names.get(id));
            let server = server.cloned();
            view(resource, server, settings)
        });
        Ok(views.collect())
    }

    /// Edits a resource. Omitted members keep their values; name, identifier and profile never change.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`], [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn edit_resource(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        edit: ResourceEdit,
        expected: Option<i64>,
    ) -> Result<api::Resource, IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before: Resource = change.live(name, expected).await?;
        let settings = self.settings_in(&mut change.tx).await?;
        let mut after = before.clone();
        apply(&mut after, &edit, &settings)?;
        if let Some(server) = edit.server {
            let server = self
                .known_server(&mut change, server, before.profile)
                .await?;
            after.server = server.map(|server| server.id);
        }
        change.write(&before, &mut after).await?;
        let server = server_name(&mut change.tx, &self.id, &after).await?;
        self.end(change).await?;
        Ok(view(after, server, &settings))
    }
}

/// The name of the resource's server, an agent.
async fn server_name(
    tx: &mut Tx,
    issuer: &IssuerId,
    resource: &Resource,
) -> Result<Option<Name>, StoreError> {
    let Some(server) = &resource.server else {
        return Ok(None);
    };
    let mut names = tx.agent_names(issuer, &[server.as_str()]).await?;
    Ok(names.remove(server))
}

fn view(resource: Resource, server: Option<Name>, settings: &IssuerSettings) -> api::Resource {
    api::Resource {
        allow_delegation: resource.allow_delegation,
        delegation_allowed: resource.allows_delegation(),
        server: server.map(|server| server.to_string()),
        dpop_required: resource.dpop_required,
        lifetime: resource.lifetime,
        algorithm: resource
            .algorithm
            .map(|algorithm| algorithm.as_str().to_owned()),
        typ: resource.typ.map(|typ| typ.as_str().to_owned()),
        token_lifetime: resource.default_lifetime(settings),
        token_algorithm: resource.signing_algorithm(settings).as_str().to_owned(),
        token_typ: resource.token_typ().as_str().to_owned(),
        id: resource.id.to_string(),
        name: resource.name.to_string(),
        identifier: resource.identifier.as_str().to_owned(),
        profile: resource.profile.as_str().to_owned(),
        scopes: resource.scopes.iter().map(ToString::to_string).collect(),
        description: resource.description,
        created_at: resource.created_at.0,
        updated_at: resource.updated_at.0,
        version: resource.version,
    }
}
