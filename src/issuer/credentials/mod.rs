//! Credentials of agents: adding, rotating with an overlap, revoking. A secret is shown once, when it is made;
//! only its hash is stored.

mod checks;
mod new;

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::{Value, json};

use crate::api::credential as api;
use crate::domain::Invalid;
use crate::domain::agent::Agent;
use crate::domain::audit::AuditEvent;
use crate::domain::credential::{Credential, CredentialKind};
use crate::domain::id::{CredentialId, TrustedIssuerId};
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::settings::EXPIRES_IN_MAX_SECONDS;
use crate::store::{ListedCredential, LiveCredentials};

use super::change::{Change, Touches};
use super::named::{known_name, target};
use super::page::Page;
use super::{Caller, Issuer, IssuerError};

pub(super) use new::NewCredential;
pub use new::UnverifiedKey;

use checks::{already_registered, check_kid, check_replacement, check_room};
use new::{NewCredentialKind, PreparedCredential, PreparedKind};

/// Default overlap of a rotation, in seconds: a day, so that every copy can be replaced in working hours.
pub const DEFAULT_OVERLAP_SECONDS: i64 = 86_400;

/// A request to replace a credential.
#[derive(Debug)]
pub struct Rotation {
    /// The credential to replace.
    pub credential: String,
    /// Seconds for which the old credential stays valid beside the new one.
    pub overlap: i64,
    /// The new public key; `None` for a client secret.
    pub key: Option<UnverifiedKey>,
    /// Seconds until the new credential expires; `None`: never, whatever the old one's expiry.
    pub expires_in: Option<i64>,
}

/// A new credential.
#[derive(Debug)]
pub struct AddedCredential {
    /// The new credential.
    pub credential: Credential,
    /// The one it replaces, in a rotation.
    pub replaced: Option<Credential>,
    /// The agent's name.
    pub client_id: String,
    /// The client secret, shown only once.
    pub secret: Option<SecretString>,
}

impl Issuer {
    /// The credentials of an agent, revoked and expired ones included, the newest last.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`] when the agent does not exist.
    pub async fn credentials(&self, agent: &str) -> Result<Vec<Credential>, IssuerError> {
        let name = known_name("agent", agent)?;
        let (mut tx, _) = self.read().await?;
        let aggregate = tx
            .aggregate_by_name(&self.id, name.as_str())
            .await?
            .ok_or_else(|| IssuerError::not_found("agent", name.as_str()))?;
        tx.rollback().await?;
        Ok(aggregate.credentials)
    }

    /// A page of the live credentials of all agents, oldest first; with `expires_within`, only those that expire
    /// within that many seconds. Damaged ones are included, and logged.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a time out of range.
    pub async fn live_credentials(
        &self,
        expires_within: Option<i64>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<ListedCredential>, IssuerError> {
        let now = self.ports.clock.now();
        let expires_by = match expires_within {
            None => None,
            Some(seconds) if (0..=EXPIRES_IN_MAX_SECONDS).contains(&seconds) => {
                Some(now.plus(seconds))
            }
            Some(_) => {
                let problem = format!("must be 0 to {EXPIRES_IN_MAX_SECONDS} seconds");
                return Err(Invalid::new("expires_within", problem).into());
            }
        };
        let wanted = LiveCredentials {
            now,
            expires_by,
            after,
        };
        let (mut tx, _) = self.read().await?;
        let found = tx.credentials_page(&self.id, wanted, limit + 1).await?;
        tx.rollback().await?;
        for listed in &found {
            if let Err(error) = &listed.credential {
                tracing::error!(agent = listed.agent, %error, "a credential cannot be read");
            }
        }
        Ok(Page::cut(found, limit))
    }

    /// Adds a credential to an agent.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a key that cannot be trusted, [`IssuerError::Conflict`] when the agent has the
    /// maximum number of credentials, or the key is already registered.
    pub async fn add_credential(
        self: &Arc<Self>,
        caller: &Caller,
        agent: &str,
        new: api::NewCredential,
        expected: Option<i64>,
    ) -> Result<AddedCredential, IssuerError> {
        let prepared = self.prepare_credential(NewCredential::parse(new)?)?;
        let mut change = self.begin(caller, Touches::Agent).await?;
        let agent = self.live_agent(&mut change, agent, expected).await?;
        let (credential, secret) = self.insert_prepared(&mut change, &agent, prepared).await?;
        change
            .tx
            .touch_agent(&self.id, &agent.id, change.version, change.now())
            .await?;
        self.end(change).await?;
        Ok(AddedCredential {
            credential,
            replaced: None,
            client_id: agent.name.as_str().to_owned(),
            secret,
        })
    }

    /// Replaces a credential by a new one of the same kind. The old one stays valid for the overlap.
    ///
    /// # Errors
    /// As [`Issuer::add_credential`]; [`IssuerError::Conflict`] when the old one is no longer live.
    pub async fn rotate_credential(
        self: &Arc<Self>,
        caller: &Caller,
        agent: &str,
        rotation: Rotation,
        expected: Option<i64>,
    ) -> Result<AddedCredential, IssuerError> {
        if !(0..=EXPIRES_IN_MAX_SECONDS).contains(&rotation.overlap) {
            return Err(Invalid::new(
                "overlap",
                format!("must be 0 to {EXPIRES_IN_MAX_SECONDS} seconds"),
            )
            .into());
        }
        let kind = match rotation.key {
            Some(key) => NewCredentialKind::PublicKey(key),
            None => NewCredentialKind::ClientSecret,
        };
        let prepared = self.prepare_credential(NewCredential {
            kind,
            expires_in: rotation.expires_in,
        })?;

        let mut change = self.begin(caller, Touches::Agent).await?;
        let agent = self.live_agent(&mut change, agent, expected).await?;
        let mut old = self
            .credential_of(&mut change, &agent, &rotation.credential)
            .await?;
        check_replacement(&old, &prepared, change.now())?;
        let end = change.now().plus(rotation.overlap);
        old.expires_at = Some(old.expires_at.map_or(end, |expiry| expiry.min(end)));
        change.tx.update_credential(&self.id, &old).await?;
        let (credential, secret) = self
            .insert_credential(&mut change, &agent, prepared)
            .await?;
        change
            .tx
            .touch_agent(&self.id, &agent.id, change.version, change.now())
            .await?;
        let detail = json!({
            "replaced": old.id,
            "replaced_expires_at": old.expires_at.map(|at| at.0),
            "credential": facts(&credential),
        });
        change.audit(
            AuditEvent::CredentialRotated,
            target(&agent),
            Some(&agent.id),
            &detail,
        );
        self.end(change).await?;
        Ok(AddedCredential {
            credential,
            replaced: Some(old),
            client_id: agent.name.as_str().to_owned(),
            secret,
        })
    }

    /// Revokes a credential: from the commit on it is rejected. Does nothing if it is already revoked.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`], [`IssuerError::Stale`].
    pub async fn revoke_credential(
        self: &Arc<Self>,
        caller: &Caller,
        agent: &str,
        credential: &str,
        expected: Option<i64>,
    ) -> Result<Credential, IssuerError> {
        let mut change = self.begin(caller, Touches::Agent).await?;
        let agent = self.live_agent(&mut change, agent, expected).await?;
        let mut credential = self.credential_of(&mut change, &agent, credential).await?;
        if credential.revoked_at.is_none() {
            credential.revoked_at = Some(change.now());
            change.tx.update_credential(&self.id, &credential).await?;
            change
                .tx
                .touch_agent(&self.id, &agent.id, change.version, change.now())
                .await?;
            change.audit(
                AuditEvent::CredentialRevoked,
                target(&agent),
                Some(&agent.id),
                &json!({ "credential": facts(&credential) }),
            );
            self.end(change).await?;
        }
        Ok(credential)
    }

    /// Inserts a prepared credential and audits it as added.
    pub(super) async fn insert_prepared(
        &self,
        change: &mut Change,
        agent: &Agent,
        prepared: PreparedCredential,
    ) -> Result<(Credential, Option<SecretString>), IssuerError> {
        let (credential, secret) = self.insert_credential(change, agent, prepared).await?;
        change.audit(
            AuditEvent::CredentialAdded,
            target(agent),
            Some(&agent.id),
            &json!({ "credential": facts(&credential) }),
        );
        Ok((credential, secret))
    }

    async fn insert_credential(
        &self,
        change: &mut Change,
        agent: &Agent,
        prepared: PreparedCredential,
    ) -> Result<(Credential, Option<SecretString>), IssuerError> {
        let kind = match prepared.kind {
            PreparedKind::Ready(kind) => kind,
            PreparedKind::Federated {
                trusted_issuer,
                matching,
            } => CredentialKind::Federated {
                trusted_issuer: self.trusted_for_agents(change, &trusted_issuer).await?,
                matching,
            },
        };
        let held = change.tx.credentials_of(&self.id, &agent.id).await?;
        check_room(agent, &held, &kind, change.now())?;
        check_kid(&held, &kind)?;
        let credential = Credential {
            id: CredentialId::new(change.at, &*self.ports.random),
            agent: agent.id.clone(),
            kind,
            not_before: change.now(),
            expires_at: prepared
                .expires_in
                .map(|seconds| change.now().plus(seconds)),
            revoked_at: None,
            created_at: change.now(),
        };
        if !change.tx.insert_credential(&self.id, &credential).await? {
            return Err(IssuerError::conflict(already_registered(&credential.kind)));
        }
        Ok((credential, prepared.secret))
    }

    /// The trusted issuer of that name, which must be trusted for client authentication.
    async fn trusted_for_agents(
        &self,
        change: &mut Change,
        name: &Name,
    ) -> Result<TrustedIssuerId, IssuerError> {
        let found = change
            .tx
            .trusted_issuer_by_name(&self.id, name.as_str())
            .await?;
        let trusted =
            found.ok_or_else(|| IssuerError::not_found("trusted issuer", name.as_str()))?;
        if !trusted.definition.client_auth {
            return Err(IssuerError::conflict(format!(
                "the trusted issuer `{name}` is not trusted to authenticate agents"
            ))
            .with_remedy(Remedy::command(format!(
                "trusted-issuer edit {name} --trust client_auth"
            ))));
        }
        Ok(trusted.id)
    }

    async fn credential_of(
        &self,
        change: &mut Change,
        agent: &Agent,
        id: &str,
    ) -> Result<Credential, IssuerError> {
        let not_found = || IssuerError::not_found("credential", id);
        if id.len() > 64 || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(not_found());
        }
        let found = change
            .tx
            .credential(&self.id, &CredentialId::from_text(id))
            .await?;
        found
            .filter(|credential| credential.agent == agent.id)
            .ok_or_else(not_found)
    }
}

/// The facts of a credential for the audit, without the secret or its hash.
pub(super) fn facts(credential: &Credential) -> Value {
    let thumbprint = match &credential.kind {
        CredentialKind::ClientSecret { .. } | CredentialKind::Federated { .. } => None,
        CredentialKind::PublicKey { jwk } => Some(jwk.thumbprint().to_owned()),
    };
    let mut facts = json!({
        "id": credential.id,
        "kind": credential.kind.as_str(),
        "thumbprint": thumbprint,
        "expires_at": credential.expires_at.map(|at| at.0),
    });
    if let CredentialKind::Federated {
        trusted_issuer,
        matching,
    } = &credential.kind
    {
        facts["trusted_issuer"] = json!(trusted_issuer);
        facts["match"] = json!(matching);
    }
    facts
}
