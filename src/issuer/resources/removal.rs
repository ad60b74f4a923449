//! Removing resources.

use std::sync::Arc;

use serde_json::json;

use crate::domain::audit::AuditEvent;
use crate::domain::delegation::Delegation;
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::resource::Resource;
use crate::domain::role::Role;
use crate::issuer::change::Touches;
use crate::issuer::named::{FORCED_REMOVAL_MAX, Removal, check_extent};
use crate::issuer::{Caller, Issuer, IssuerError};

impl Issuer {
    /// Removes a resource. Its name and identifier may be reused.
    ///
    /// # Errors
    /// [`IssuerError::Conflict`] when roles grant it or delegations name it, and the removal is not forced; forced,
    /// when more than [`FORCED_REMOVAL_MAX`] roles or delegations do.
    pub async fn remove_resource(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        removal: Removal,
    ) -> Result<(), IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before: Resource = change.live(name, removal.expected).await?;
        let directory = change.directory().await?;
        let granting: Vec<_> = directory
            .roles
            .iter()
            .filter(|role| role.grants.iter().any(|grant| grant.resource == before.id))
            .collect();
        let now = change.now();
        let delegations = change
            .tx
            .delegations_of_resource(&self.id, &before.id, now, FORCED_REMOVAL_MAX + 1)
            .await?;
        let name = &before.name;
        for (count, depending, remedy) in [
            (
                granting.len(),
                format!("roles grant the resource `{name}`"),
                "edit some of the roles first",
            ),
            (
                delegations.len(),
                format!("delegations name the resource `{name}`"),
                "revoke some of them first",
            ),
        ] {
            check_extent(count as i64, &depending, remedy)?;
        }
        if !removal.force {
            check_unused(&before, &granting, &delegations)?;
        }
        self.revoke_delegations_on(&mut change, &delegations)
            .await?;
        for role in granting {
            let mut without = role.clone();
            without.grants.retain(|grant| grant.resource != before.id);
            let detail = json!({ "grant_removed": before.name });
            change
                .replace(role, &mut without, AuditEvent::RoleChanged, &detail)
                .await?;
        }
        let mut after = before.clone();
        after.removed_at = Some(change.now());
        let detail = json!({ "identifier": before.identifier.as_str(), "profile": before.profile.as_str(), "scopes": before.scopes });
        change
            .replace(&before, &mut after, AuditEvent::ResourceRemoved, &detail)
            .await?;
        self.end(change).await
    }
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
            "the resource `{name}` is granted by: {names}; a forced removal removes it from these roles"
        ))
        .with_remedy(forced(name)));
    }
    let count = match delegations.len() {
        0 => return Ok(()),
        1 => "one delegation names".to_owned(),
        count => format!("{count} delegations name"),
    };
    Err(IssuerError::conflict(format!(
        "{count} the resource `{name}`; a forced removal revokes them and ends their tokens"
    ))
    .with_remedy(forced(name)))
}

fn forced(name: &Name) -> Remedy {
    Remedy::command(format!("resource remove {name} --force"))
}
