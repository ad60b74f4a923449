//! Introspection (RFC 7662): whether a token issued here is in force now, according to the database. Only clients
//! that the token concerns get an answer; every other client learns nothing, not even whether it was issued here.

use crate::ports::time::UnixTime;
use crate::store::{StoreError, Tx};

use super::Issuer;
use super::authenticate::AuthenticatedClient;
use super::cache::Policy;
use super::own_token::OwnToken;

impl Issuer {
    /// The token, if it is in force and the caller may see it. `None` for every other reason, which the caller
    /// does not learn (RFC 7662 §2.2).
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
        // The current keys: a key that another process revoked a moment ago verifies nothing.
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

    /// Whether an unexpired token issued here is in force: not revoked, every agent in it active, and a user's
    /// trusted issuer still trusted.
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
        // The recipient is an agent of this issuer; a subject may be a user of a trusted issuer.
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

/// True for the agent that got the token, its audience, and the resource server of its audience.
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
