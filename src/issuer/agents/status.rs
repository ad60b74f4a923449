//! Suspending, resuming and removing agents.

use std::sync::Arc;

use serde_json::json;

use crate::domain::agent::{Agent, AgentStatus};
use crate::domain::audit::AuditEvent;
use crate::issuer::change::Touches;
use crate::issuer::{Caller, Issuer, IssuerError};

use super::AgentDetail;

/// A suspended agent.
#[derive(Clone, Debug)]
pub struct Suspension {
    /// The agent.
    pub agent: AgentDetail,
    /// False if it was suspended already.
    pub is_new: bool,
}

impl Issuer {
    /// Suspends an agent. From the commit on it gets no token, and the tokens that name it as subject or actor are
    /// ended. Does nothing if it is already suspended.
    ///
    /// # Errors
    /// As [`Issuer::edit_agent`].
    pub async fn suspend_agent(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        expected: Option<i64>,
    ) -> Result<Suspension, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.live_agent(&mut change, name, expected).await?;
        let mut after = before.clone();
        let is_new = before.status == AgentStatus::Active;
        if is_new {
            after.status = AgentStatus::Suspended { at: change.now() };
            change
                .replace(&before, &mut after, AuditEvent::AgentSuspended, &json!({}))
                .await?;
            self.end_tokens_of(&mut change, after.subject.as_str())
                .await?;
        }
        let agent = self.end_with(change, after).await?;
        Ok(Suspension { agent, is_new })
    }

    /// Resumes a suspended agent. Tokens from before its suspension stay ended. Does nothing if it is active.
    ///
    /// # Errors
    /// As [`Issuer::edit_agent`].
    pub async fn resume_agent(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        expected: Option<i64>,
    ) -> Result<AgentDetail, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before = self.live_agent(&mut change, name, expected).await?;
        let mut after = before.clone();
        if let AgentStatus::Suspended { at } = before.status {
            after.status = AgentStatus::Active;
            let detail = json!({ "suspended_at": at.0 });
            change
                .replace(&before, &mut after, AuditEvent::AgentResumed, &detail)
                .await?;
        }
        self.end_with(change, after).await
    }

    /// Removes an agent permanently: its credentials, delegations and tokens are revoked, and it leaves its groups
    /// and roles. Its name and subject are never reused. Does nothing if it is already removed.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn remove_agent(
        self: &Arc<Self>,
        caller: &Caller,
        name: &str,
        expected: Option<i64>,
    ) -> Result<(), IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let before: Agent = change.live(name, expected).await?;
        if matches!(before.status, AgentStatus::Removed { .. }) {
            return self.end(change).await;
        }
        let directory = change.directory().await?;
        let mut revoked = 0;
        for mut credential in change.tx.credentials_of(&self.id, &before.id).await? {
            if credential.revoked_at.is_none() {
                credential.revoked_at = Some(change.now());
                change.tx.update_credential(&self.id, &credential).await?;
                revoked += 1;
            }
        }
        let mut after = before.clone();
        after.status = AgentStatus::Removed { at: change.now() };
        after.groups = Vec::new();
        after.roles = Vec::new();
        let detail = json!({
            "subject": before.subject,
            "owner": before.owner,
            "groups": directory.group_names(&before.groups),
            "roles": directory.role_names(&before.roles),
            "credentials_revoked": revoked,
        });
        self.end_tokens_of(&mut change, after.subject.as_str())
            .await?;
        self.drop_claude_link(&mut change, &before).await?;
        self.revoke_delegations_of(&mut change, &before).await?;
        change
            .replace(&before, &mut after, AuditEvent::AgentRemoved, &detail)
            .await?;
        self.end(change).await
    }
}
