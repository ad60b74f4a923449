//! Removing trusted issuers, with what depends on them.

use std::sync::Arc;

use serde_json::json;

use crate::domain::audit::AuditEvent;
use crate::domain::id::TrustedIssuerId;
use crate::domain::remedy::Remedy;
use crate::domain::trusted_issuer::TrustedIssuer;
use crate::issuer::change::{Change, Touches};
use crate::issuer::credentials::facts as credential_facts;
use crate::issuer::named::{FORCED_REMOVAL_MAX, Removal, check_extent, target};
use crate::issuer::{Caller, Issuer, IssuerError};

impl Issuer {
    /// Removes a trusted issuer. Its name is never reused.
    ///
    /// # Errors
    /// [`IssuerError::Conflict`] when live federated credentials or delegations rest on it and the removal is not
    /// forced. A forced removal revokes them, with the tokens made under the delegations.
    pub async fn remove_trusted_issuer(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        removal: Removal,
    ) -> Result<(), IssuerError> {
        let mut change = self.begin(caller, Touches::Policy).await?;
        let before: TrustedIssuer = change.live(name, removal.expected).await?;
        let (id, now) = (&before.id, change.now());
        let credentials = change
            .tx
            .count_federated_credentials(&self.id, id, now, FORCED_REMOVAL_MAX + 1)
            .await?;
        let delegations = change
            .tx
            .count_delegations_of_trusted_issuer(&self.id, id, now, FORCED_REMOVAL_MAX + 1)
            .await?;
        for (count, what) in [
            (credentials, "live federated credentials"),
            (delegations, "delegations"),
        ] {
            let depending = format!("{what} depend on the trusted issuer `{}`", before.name);
            check_extent(count, &depending, "revoke some of them first")?;
        }
        if credentials + delegations > 0 && !removal.force {
            return Err(IssuerError::conflict(format!(
                "{} and {} depend on the trusted issuer `{}`; a forced removal revokes them",
                counted(credentials, "live federated credential"),
                counted(delegations, "delegation"),
                before.name
            ))
            .with_remedy(Remedy::command(format!(
                "trusted-issuer remove {} --force",
                before.name
            ))));
        }
        self.revoke_resting_credentials(&mut change, id).await?;
        self.revoke_resting_delegations(&mut change, id).await?;
        let mut after = before.clone();
        after.removed_at = Some(now);
        let detail = json!({
            "url": before.url,
            "credentials_revoked": credentials,
            "delegations_revoked": delegations,
        });
        change
            .replace(
                &before,
                &mut after,
                AuditEvent::TrustedIssuerRemoved,
                &detail,
            )
            .await?;
        self.end_tokens_of_users(&mut change, &before).await?;
        change.tx.delete_trusted_issuer_keys(&self.id, id).await?;
        self.end(change).await
    }

    async fn revoke_resting_credentials(
        &self,
        change: &mut Change,
        trusted: &TrustedIssuerId,
    ) -> Result<(), IssuerError> {
        let resting = change
            .tx
            .credentials_of_trusted_issuer(&self.id, trusted, change.now(), FORCED_REMOVAL_MAX)
            .await?;
        for mut credential in resting {
            credential.revoked_at = Some(change.now());
            change.tx.update_credential(&self.id, &credential).await?;
            let Some(held) = change.tx.aggregate(&self.id, &credential.agent).await? else {
                continue;
            };
            let agent = held.agent;
            change
                .tx
                .touch_agent(&self.id, &agent.id, change.version, change.now())
                .await?;
            change.audit(
                AuditEvent::CredentialRevoked,
                target(&agent),
                Some(&agent.id),
                &json!({ "credential": credential_facts(&credential) }),
            );
        }
        Ok(())
    }

    async fn revoke_resting_delegations(
        &self,
        change: &mut Change,
        trusted: &TrustedIssuerId,
    ) -> Result<(), IssuerError> {
        let resting = change
            .tx
            .delegations_of_trusted_issuer(&self.id, trusted, change.now(), FORCED_REMOVAL_MAX)
            .await?;
        for delegation in resting {
            self.revoke_with_trust(change, &delegation).await?;
        }
        Ok(())
    }
}

fn counted(count: i64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
