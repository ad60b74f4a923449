//! Suspending, resuming and revoking delegations, with the tokens made under them.

use std::sync::Arc;

use serde_json::json;

use crate::api::delegation::{Delegation as DelegationView, EndedDelegation};
use crate::domain::agent::Agent;
use crate::domain::audit::AuditEvent;
use crate::domain::delegation::{Delegation, DelegationStatus};
use crate::issuer::change::{Change, Touches};
use crate::issuer::{Caller, Issuer, IssuerError};

use super::{Touch, audit, identifying};

impl Issuer {
    /// Suspends a delegation. The tokens made under it, and those made from them, end at once. Does nothing if it
    /// is already suspended.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], [`IssuerError::Stale`], and [`IssuerError::Conflict`] when it was revoked or has
    /// expired.
    pub async fn suspend_delegation(
        self: &Arc<Self>,
        caller: &Caller,
        id: &str,
        expected: Option<i64>,
    ) -> Result<EndedDelegation, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.lasting_delegation(&mut change, id, expected).await?;
        if before.status != DelegationStatus::Active {
            return Ok(EndedDelegation {
                delegation: self.unchanged(change, before).await?,
                tokens_ended_until: None,
            });
        }
        let after = Delegation {
            status: DelegationStatus::Suspended { at: change.now() },
            ..before.clone()
        };
        let mark = self.end_tokens_under(&mut change, &before.id).await?.mark;
        let named = self
            .write_delegation(&mut change, &before, after, Touch::Actor)
            .await?;
        let mut detail = identifying(&named);
        detail["tokens_ended_until"] = json!(mark.not_before.0);
        audit(
            &mut change,
            AuditEvent::DelegationSuspended,
            &named,
            &detail,
        );
        let delegation = named.view(change.now());
        self.end(change).await?;
        Ok(EndedDelegation {
            delegation,
            tokens_ended_until: Some(mark.not_before.0),
        })
    }

    /// Resumes a suspended delegation. Ended tokens stay ended. Does nothing if it is active.
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
            return self.unchanged(change, before).await;
        };
        let after = Delegation {
            status: DelegationStatus::Active,
            ..before.clone()
        };
        let named = self
            .write_delegation(&mut change, &before, after, Touch::Actor)
            .await?;
        let mut detail = identifying(&named);
        detail["suspended_at"] = json!(at.0);
        audit(&mut change, AuditEvent::DelegationResumed, &named, &detail);
        let view = named.view(change.now());
        self.end(change).await?;
        Ok(view)
    }

    /// Revokes a delegation permanently, an expired one too. The tokens made under it, and those made from them,
    /// end at once. Does nothing if it is already revoked.
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
            return Ok(EndedDelegation {
                delegation: self.unchanged(change, before).await?,
                tokens_ended_until: None,
            });
        }
        let ended = self
            .revoke_in(&mut change, &before, Touch::Actor, None)
            .await?;
        self.end(change).await?;
        Ok(ended)
    }

    /// Revokes the delegations of an agent that is being removed; the removal writes the agent's row. Expired ones
    /// stay: no token outlives its delegation.
    pub(in crate::issuer) async fn revoke_delegations_of(
        &self,
        change: &mut Change,
        actor: &Agent,
    ) -> Result<(), IssuerError> {
        let why = "its actor was removed";
        let now = change.now();
        let held = change.tx.delegations_of(&self.id, &actor.id).await?;
        for delegation in held.iter().filter(|held| !held.is_over(now)) {
            self.revoke_in(change, delegation, Touch::Nothing, Some(why))
                .await?;
        }
        Ok(())
    }

    /// Revokes the delegations that name a resource that is being removed.
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

    /// Revokes a delegation that names a trusted issuer that is being removed.
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
        let mark = self.end_tokens_under(change, &before.id).await?.mark;
        let named = self.write_delegation(change, before, after, touch).await?;
        let mut detail = identifying(&named);
        detail["tokens_ended_until"] = json!(mark.not_before.0);
        if let Some(why) = why {
            detail["why"] = json!(why);
        }
        audit(change, AuditEvent::DelegationRevoked, &named, &detail);
        Ok(EndedDelegation {
            delegation: named.view(change.now()),
            tokens_ended_until: Some(mark.not_before.0),
        })
    }
}
