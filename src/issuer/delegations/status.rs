//! Switching delegations off and on, and revoking them, with the tokens made under them.

use std::sync::Arc;

use serde_json::json;

use crate::domain::agent::Agent;
use crate::domain::audit::AuditEvent;
use crate::domain::delegation::{Delegation, DelegationStatus};
use crate::issuer::change::{Change, Touches};
use crate::issuer::{Caller, Issuer, IssuerError};
use crate::ports::time::UnixTime;

use super::{DelegationView, Touch, audit, identifying};

/// A delegation that was suspended or revoked.
#[derive(Clone, Debug)]
pub struct EndedDelegation {
    /// The delegation.
    pub view: DelegationView,
    /// Tokens made under it up to this second ended now, and all that was made from them; `None` when it was
    /// over before.
    pub tokens_ended_until: Option<UnixTime>,
}

impl Issuer {
    /// Switches a delegation off; the tokens made under it end at once, and those made from them. Does
    /// nothing to one that is.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], [`IssuerError::Stale`], and [`IssuerError::Conflict`] when it was
    /// revoked or has expired.
    pub async fn suspend_delegation(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        expected: Option<i64>,
    ) -> Result<EndedDelegation, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.lasting_delegation(&mut change, id, expected).await?;
        if before.status != DelegationStatus::Active {
            self.end(change).await?;
            let view = self.delegation(id).await?;
            return Ok(EndedDelegation {
                view,
                tokens_ended_until: None,
            });
        }
        let after = Delegation {
            status: DelegationStatus::Suspended { at: change.now() },
            ..before.clone()
        };
        let mark = self.end_tokens_under(&mut change, &before.id).await?;
        let view = self
            .write_delegation(&mut change, &before, after, Touch::Actor)
            .await?;
        let mut detail = identifying(&view);
        detail["tokens_ended_until"] = json!(mark.not_before.0);
        audit(&mut change, AuditEvent::DelegationSuspended, &view, &detail);
        self.end(change).await?;
        Ok(EndedDelegation {
            view,
            tokens_ended_until: Some(mark.not_before),
        })
    }

    /// Switches a delegation on again; tokens that ended stay so. Does nothing to one that is.
    ///
    /// # Errors
    /// As [`Issuer::suspend_delegation`].
    pub async fn resume_delegation(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        expected: Option<i64>,
    ) -> Result<DelegationView, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.lasting_delegation(&mut change, id, expected).await?;
        let DelegationStatus::Suspended { at } = before.status else {
            self.end(change).await?;
            return self.delegation(id).await;
        };
        let after = Delegation {
            status: DelegationStatus::Active,
            ..before.clone()
        };
        let view = self
            .write_delegation(&mut change, &before, after, Touch::Actor)
            .await?;
        let mut detail = identifying(&view);
        detail["suspended_at"] = json!(at.0);
        audit(&mut change, AuditEvent::DelegationResumed, &view, &detail);
        self.end(change).await?;
        Ok(view)
    }

    /// Ends a delegation for good, an expired one too; the tokens made under it end at once, and those
    /// made from them. Does nothing to one that is revoked.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn revoke_delegation(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        expected: Option<i64>,
    ) -> Result<EndedDelegation, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.known_delegation(&mut change, id, expected).await?;
        if matches!(before.status, DelegationStatus::Revoked { .. }) {
            self.end(change).await?;
            let view = self.delegation(id).await?;
            return Ok(EndedDelegation {
                view,
                tokens_ended_until: None,
            });
        }
        let ended = self
            .revoke_in(&mut change, &before, Touch::Actor, None)
            .await?;
        self.end(change).await?;
        Ok(ended)
    }

    /// Revokes the delegations of an agent that is being removed, and is written by that. Those that expired are over:
    /// no token outlives its delegation.
    pub(in crate::issuer) async fn revoke_delegations_of(
        &self,
        change: &mut Change,
        actor: &Agent,
    ) -> Result<(), IssuerError> {
        let why = "its actor was removed";
        let now = change.now();
        let held = change.tx.delegations_of(&self.id, &actor.id).await?;
        for delegation in held.iter().filter(|held| !held.is_over(now)) {
            self.revoke_in(change, delegation, Touch::Nobody, Some(why))
                .await?;
        }
        Ok(())
    }

    /// Revokes delegations that name a resource which is being removed.
    pub(in crate::issuer) async fn revoke_delegations_on(
        &self,
        change: &mut Change,
        delegations: &[Delegation],
    ) -> Result<(), IssuerError> {
        let why = "its resource was removed";
        for delegation in delegations {
            self.revoke_in(change, delegation, Touch::Actor, Some(why))
                .await?;
        }
        Ok(())
    }

    /// Revokes a delegation that names a trusted issuer which is being removed.
    pub(in crate::issuer) async fn revoke_with_trust(
        &self,
        change: &mut Change,
        delegation: &Delegation,
    ) -> Result<(), IssuerError> {
        let why = "its trusted issuer was removed";
        self.revoke_in(change, delegation, Touch::Actor, Some(why))
            .await?;
        Ok(())
    }

    async fn revoke_in(
        &self,
        change: &mut Change,
        before: &Delegation,
        touch: Touch,
        why: Option<&str>,
    ) -> Result<EndedDelegation, IssuerError> {
        let after = Delegation {
            status: DelegationStatus::Revoked { at: change.now() },
            ..before.clone()
        };
        let mark = self.end_tokens_under(change, &before.id).await?;
        let view = self.write_delegation(change, before, after, touch).await?;
        let mut detail = identifying(&view);
        detail["tokens_ended_until"] = json!(mark.not_before.0);
        if let Some(why) = why {
            detail["why"] = json!(why);
        }
        audit(change, AuditEvent::DelegationRevoked, &view, &detail);
        Ok(EndedDelegation {
            view,
            tokens_ended_until: Some(mark.not_before),
        })
    }
}
