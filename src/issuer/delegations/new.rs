//! Permitting an agent to act for others.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::delegation::{AddedDelegation, NewDelegation};
use crate::api::role::GrantedScopes as NamedScopes;
use crate::api::warning::Warning;
use crate::domain::Invalid;
use crate::domain::agent::Agent;
use crate::domain::audit::AuditEvent;
use crate::domain::delegation::{DELEGATIONS_MAX, Delegation, DelegationStatus, check_depth};
use crate::domain::id::DelegationId;
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::resource::Resource;
use crate::domain::role::GrantedScopes;
use crate::domain::trusted_issuer::TrustedIssuer;
use crate::issuer::change::{Change, Touches};
use crate::issuer::directory::Directory;
use crate::issuer::granted::{parse_granted, unknown_resource};
use crate::issuer::{Caller, Issuer, IssuerError};
use crate::store::Tx;

use super::subject::parse_subject;
use super::{DelegationEnd, NamedDelegation, audit, check_end, identifying};

/// Default number of actors in a chain: the agent acts directly, not through another actor.
const MAX_DEPTH_DEFAULT: i64 = 1;

impl Issuer {
    /// Permits an agent to act for others.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a value that is malformed or names something unknown,
    /// [`IssuerError::Conflict`] when the resource does not allow delegation, or the agent was removed or has too
    /// many delegations.
    pub async fn add_delegation(
        self: &Arc<Self>,
        caller: &Caller,
        new: NewDelegation,
    ) -> Result<AddedDelegation, IssuerError> {
        let end = DelegationEnd::parse(new.expires_at, new.expires_in)?;
        let max_depth = check_depth(new.max_depth.unwrap_or(MAX_DEPTH_DEFAULT))?;
        let mut change = self.begin(caller, Touches::Agent).await?;
        let expires_at = check_end(end, change.now())?;
        let actor = self.known_actor(&mut change, &new.actor).await?;
        let trusted = self.known_trusted_issuer(&mut change.tx, &new).await?;
        let subject = parse_subject(&new, &actor, trusted.as_ref())?;
        let directory = Directory::load(&mut change.tx, &self.id).await?;
        let resource = directory
            .resource(&new.resource)
            .ok_or_else(|| unknown_resource("resource", &new.resource))?;
        check_allows(resource)?;
        let scopes = match NamedScopes::names(new.scopes) {
            None => GrantedScopes::All,
            Some(names) => GrantedScopes::Only(parse_granted("scopes", &names, resource)?),
        };
        let delegation = Delegation {
            id: DelegationId::new(change.at, &*self.ports.random),
            actor: actor.id.clone(),
            subject,
            resource: resource.id.clone(),
            scopes,
            max_depth,
            status: DelegationStatus::Active,
            expires_at,
            version: change.version,
            created_at: change.now(),
            updated_at: change.now(),
        };
        self.insert_delegation(&mut change, &actor, &delegation)
            .await?;
        let mut warnings = Vec::new();
        if !directory.grants(&actor, &resource.id) {
            warnings.push(
                Warning::new(format!(
                    "no role of the agent `{}` grants the resource `{}`, so every exchange is rejected",
                    actor.name, resource.name
                ))
                .with_remedy(&Remedy::command(format!(
                    "agent edit {} --add-role ROLE",
                    actor.name
                ))),
            );
        }
        let about_subject = self
            .why_no_subject(&mut change.tx, &delegation.subject, trusted)
            .await?;
        warnings.extend(about_subject);
        let named = self.named_delegation(&mut change.tx, delegation).await?;
        let detail = facts(&named);
        audit(&mut change, AuditEvent::DelegationAdded, &named, &detail);
        let delegation = named.view(change.now());
        self.end(change).await?;
        Ok(AddedDelegation {
            delegation,
            warnings,
        })
    }

    async fn known_actor(&self, change: &mut Change, text: &str) -> Result<Agent, IssuerError> {
        let name = Name::parse(text).map_err(|invalid| Invalid::new("actor", invalid.problem))?;
        match self.live_agent(change, name.as_str(), None).await {
            Err(IssuerError::NotFound { .. }) => {
                Err(Invalid::new("actor", format!("agent `{name}` not found"))
                    .with_remedy(Remedy::command(format!("agent add {name}")))
                    .into())
            }
            found => found,
        }
    }

    async fn known_trusted_issuer(
        &self,
        tx: &mut Tx,
        new: &NewDelegation,
    ) -> Result<Option<TrustedIssuer>, IssuerError> {
        let Some(text) = &new.trusted_issuer else {
            return Ok(None);
        };
        let name =
            Name::parse(text).map_err(|invalid| Invalid::new("trusted_issuer", invalid.problem))?;
        let found = tx.trusted_issuer_by_name(&self.id, name.as_str()).await?;
        match found {
            Some(trusted) => Ok(Some(trusted)),
            None => Err(Invalid::new(
                "trusted_issuer",
                format!("trusted issuer `{name}` not found"),
            )
            .with_remedy(Remedy::command("trusted-issuer list"))
            .into()),
        }
    }

    async fn insert_delegation(
        &self,
        change: &mut Change,
        actor: &Agent,
        delegation: &Delegation,
    ) -> Result<(), IssuerError> {
        let now = change.now();
        let held = change.tx.delegations_of(&self.id, &actor.id).await?;
        if held.iter().filter(|held| !held.is_over(now)).count() >= DELEGATIONS_MAX {
            return Err(IssuerError::conflict(format!(
                "the agent `{}` already has {DELEGATIONS_MAX} delegations, the most there can be",
                actor.name
            ))
            .with_remedy(Remedy::action(format!(
                "revoke one that is no longer needed (`firman delegation list --actor {}`), or use a prefix for several subjects",
                actor.name
            ))));
        }
        if !change.tx.insert_delegation(&self.id, delegation).await? {
            return Err(IssuerError::conflict(
                "could not allocate an id; try again".to_owned(),
            ));
        }
        change
            .tx
            .touch_agent(&self.id, &actor.id, change.version, now)
            .await?;
        Ok(())
    }
}

fn facts(named: &NamedDelegation) -> Value {
    let delegation = &named.delegation;
    let mut facts = identifying(named);
    facts["trusted_issuer"] = json!(named.names.trusted_issuer);
    facts["subject_claims"] = json!(delegation.subject.claims);
    facts["scopes"] = match &delegation.scopes {
        GrantedScopes::All => json!("*"),
        GrantedScopes::Only(scopes) => json!(scopes),
    };
    facts["max_depth"] = json!(delegation.max_depth);
    facts["expires_at"] = json!(delegation.expires_at.0);
    facts
}

fn check_allows(resource: &Resource) -> Result<(), IssuerError> {
    if resource.allows_delegation() {
        return Ok(());
    }
    Err(IssuerError::conflict(format!(
        "the resource `{}` does not accept delegated tokens",
        resource.name
    ))
    .with_remedy(Remedy::command(format!(
        "resource edit {} --allow-delegation",
        resource.name
    ))))
}
