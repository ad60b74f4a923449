//! Administrators: whose token a call carries, the list, and revoking one.

use std::sync::Arc;

use serde_json::json;

use crate::domain::administrator::{Administrator, AdministratorRole};
use crate::domain::audit::AuditEvent;
use crate::jose::digest::sha256;

use super::change::Touches;
use super::named::known_name;
use super::{Caller, Issuer, IssuerError};

impl Issuer {
    /// The administrator, live or not, whose token this is. Asked of the database on every call, so
    /// that a revoked token opens nothing from the commit on. The look-up is by SHA-256 of the token:
    /// how long it takes tells nothing of any token's own bytes.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn administrator_of(
        &self,
        unverified_token: &str,
    ) -> Result<Option<Administrator>, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let found = tx
            .administrator_by_digest(&self.id, &sha256(unverified_token.as_bytes()))
            .await?;
        tx.rollback().await?;
        Ok(found)
    }

    /// All administrators, revoked ones included.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn administrators(&self) -> Result<Vec<Administrator>, IssuerError> {
        let (mut tx, _) = self.read().await?;
        let all = tx.administrators(&self.id).await?;
        tx.rollback().await?;
        Ok(all)
    }

    /// Revokes an administrator's token for good. Does nothing to one that is revoked.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], or [`IssuerError::Conflict`] for the last owner, without whom nobody
    /// could rotate a key or revoke anybody.
    pub async fn revoke_administrator(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
    ) -> Result<Administrator, IssuerError> {
        let name = known_name("administrator", name)?;
        let mut change = self.begin(caller, Touches::Policy).await?;
        let all = change.tx.administrators(&self.id).await?;
        let mut found = all
            .iter()
            .find(|administrator| administrator.name == name)
            .cloned()
            .ok_or_else(|| IssuerError::not_found("administrator", name.as_str()))?;
        if found.revoked_at.is_some() {
            return Ok(found);
        }
        let now = change.now();
        let is_live_owner = |administrator: &Administrator| {
            administrator.is_live(now) && administrator.role == AdministratorRole::Owner
        };
        let other_owners = all
            .iter()
            .filter(|administrator| administrator.id != found.id && is_live_owner(administrator))
            .count();
        if is_live_owner(&found) && other_owners == 0 {
            return Err(IssuerError::conflict(format!(
                "'{name}' is the last owner: without one nobody could rotate a key or revoke anybody; make another owner first"
            )));
        }
        change
            .tx
            .revoke_administrator(&self.id, &found.id, now)
            .await?;
        found.revoked_at = Some(now);
        change.audit(
            AuditEvent::AdministratorRevoked,
            format!("administrator:{name}"),
            None,
            &json!({ "role": found.role.as_str() }),
        );
        self.end(change).await?;
        Ok(found)
    }
}
