//! Authenticates a client by its secret (RFC 6749 §2.3.1). Every rejection computes the same number of hashes, so
//! that its timing shows neither whether the client exists nor how many secrets it has.

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    AuthenticatedClient, AuthenticationError, ClientAuthMethod, Moment, active, refused,
    why_inactive,
};
use crate::domain::credential::{CredentialKind, LIVE_SECRETS_MAX};
use crate::issuer::Issuer;
use crate::issuer::secrets::{SecretsError, malformation};
use crate::store::AgentAggregate;

impl Issuer {
    pub(super) async fn authenticate_secret(
        &self,
        method: ClientAuthMethod,
        unverified_client_id: &str,
        unverified_secret: &SecretString,
        moment: Moment,
    ) -> Result<AuthenticatedClient, AuthenticationError> {
        let Moment { basis, now } = moment;
        let fault = |error| AuthenticationError::Unavailable(Box::new(error));
        let Some(aggregate) = self.known_agent(unverified_client_id).await? else {
            self.verify_decoys(unverified_secret, LIVE_SECRETS_MAX)?;
            return Err(refused("no such client", Some(unverified_client_id), false));
        };
        let mut tried = 0;
        for credential in aggregate
            .credentials
            .iter()
            .filter(|credential| credential.is_live(now))
        {
            let CredentialKind::ClientSecret { hash } = &credential.kind else {
                continue;
            };
            tried += 1;
            let verified = match self.secrets.verify(&credential.id, unverified_secret, hash) {
                // A damaged row matches nothing; the agent's other secret still works.
                Err(error @ SecretsError::StoredHash) => {
                    tracing::error!(credential = credential.id.as_str(), %error, "a client secret cannot be verified");
                    false
                }
                verified => verified.map_err(fault)?,
            };
            if verified {
                let id = credential.id.clone();
                return active(
                    AuthenticatedClient {
                        aggregate,
                        method,
                        credential: id,
                        spends: None,
                        external: None,
                        basis,
                    },
                    now,
                );
            }
        }
        self.verify_decoys(unverified_secret, LIVE_SECRETS_MAX.saturating_sub(tried))?;
        let reason = why_inactive(&aggregate.agent, now)
            .unwrap_or_else(|| why_no_secret(&aggregate, unverified_secret, tried));
        Err(refused(reason, Some(unverified_client_id), true))
    }

    fn verify_decoys(
        &self,
        unverified_secret: &SecretString,
        count: usize,
    ) -> Result<(), AuthenticationError> {
        for _ in 0..count {
            self.secrets
                .verify_decoy(unverified_secret)
                .map_err(|error| AuthenticationError::Unavailable(Box::new(error)))?;
        }
        Ok(())
    }
}

/// Why no secret of an agent matched, for the operator: its form, or the secrets that it was compared with.
fn why_no_secret(aggregate: &AgentAggregate, unverified: &SecretString, live: usize) -> String {
    if let Some(fault) = malformation(unverified.expose_secret()) {
        return format!("not a client secret of this issuer: {fault}");
    }
    let all = aggregate
        .credentials
        .iter()
        .filter(|credential| matches!(credential.kind, CredentialKind::ClientSecret { .. }))
        .count();
    let over = all.saturating_sub(live);
    match (live, over) {
        (0, 0) => "the client has no client secret".to_owned(),
        (0, over) => {
            format!("the client has no live client secret; {over} are revoked, expired or pending")
        }
        (1, 0) => "the secret does not match the client's live secret".to_owned(),
        (1, over) => {
            format!(
                "the secret does not match the client's live secret; {over} are revoked, expired or pending"
            )
        }
        (live, 0) => format!("none of the client's {live} live secrets matches"),
        (live, over) => format!(
            "none of the client's {live} live secrets matches; {over} are revoked, expired or pending"
        ),
    }
}
