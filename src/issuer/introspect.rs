//! Introspection (RFC 7662): whether a token of ours is in force at this moment, as the database has it,
//! for those whom it concerns. Everybody else learns nothing, not even whether it is ours.

use crate::ports::time::UnixTime;
use crate::store::{StoreError, Tx};

use super::Issuer;
use super::authenticate::AuthenticatedClient;
use super::cache::Policy;
use super::own_token::OwnToken;

impl Issuer {
    /// The token, when it is in force and the caller may know of it; `None` for every other reason, which
    /// the caller is not told (RFC 7662 §2.2).
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn introspect(
        &self,
        client: &AuthenticatedClient,
        unverified_token: &str,
    ) -> Result<Option<OwnToken>, StoreError> {
        let now = self.ports.clock.now();
        let (mut tx, head) = self.read().await?;
        // The keys as they are now: one that was withdrawn a moment ago on another process vouches for nothing.
        self.registry
            .refresh(&mut tx, &self.id, &head, &self.sealing)
            .await?;
        let visible = self
            .verify_own(unverified_token, now)
            .ok()
            .filter(|token| may_see(client, token, &self.policy()));
        let answer = match visible {
            Some(token) if self.is_in_force(&mut tx, &token, now).await? => Some(token),
            Some(_) | None => None,
        };
        tx.rollback().await?;
        Ok(answer)
    }

    /// Whether an unexpired token of ours still holds: not revoked, every agent in it switched
    /// on, and a subject from outside still vouched for.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub(super) async fn is_in_force(
        &self,
        tx: &mut Tx,
        token: &OwnToken,
        now: UnixTime,
    ) -> Result<bool, StoreError> {
        if !token.is_vouched_for(&self.policy()) {
            return Ok(false);
        }
        if self.is_ended(tx, token).await? {
            return Ok(false);
        }
        let principals = token.principals(&self.url);
        // The one who got it is an agent of ours; a subject may be from outside.
        let mut names = vec![token.client_id.clone()];
        for subject in &principals {
            let name = tx.agent_name_by_subject(&self.id, subject).await?;
            names.extend(name.filter(|name| *name != token.client_id));
        }
        for name in names {
            let agent = tx.agent_by_name(&self.id, &name).await?;
            if !agent.is_some_and(|agent| agent.is_active(now)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The agent that got the token, the one it is for, and the resource server it is for.
fn may_see(client: &AuthenticatedClient, token: &OwnToken, policy: &Policy) -> bool {
    let agent = &client.aggregate().agent;
    let name = agent.name.as_str();
    token.client_id == name
        || token.audience == name
        || policy.resources.values().any(|resource| {
            resource.identifier.as_str() == token.audience
                && resource.server.as_ref() == Some(&agent.id)
        })
}
