//! Credentials of agents: adding, rotating with an overlap, revoking. A secret is shown once, when it
//! is made; what is kept is its hash.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::{Value, json};

use crate::api::credential as api;
use crate::domain::Invalid;
use crate::domain::agent::Agent;
use crate::domain::audit::AuditEvent;
use crate::domain::credential::{CREDENTIALS_MAX, Credential, CredentialKind, LIVE_SECRETS_MAX};
use crate::domain::id::{CredentialId, TrustedIssuerId};
use crate::domain::name::Name;
use crate::domain::text;
use crate::domain::trusted_issuer::TokenMatch;
use crate::jose::jwk::PublicJwk;
use crate::ports::time::UnixTime;
use crate::relying_party::cel::check_condition;
use crate::store::LiveCredentials;

use super::change::{Change, Touches};
use super::named::{known_name, target};
use super::page::Page;
use super::{Caller, Issuer, IssuerError};
use crate::domain::settings::{EXPIRES_IN_MAX_SECONDS, check_expires_in};

/// Default overlap of a rotation, in seconds: a day, so that every copy can be replaced in working hours.
pub const DEFAULT_OVERLAP_SECONDS: i64 = 86_400;

/// Longest `kid` of a public key, in characters; jose counts its bytes.
const KID_MAX_CHARS: usize = 256;

/// A credential to be made, as it was asked for.
#[derive(Debug)]
pub(super) struct NewCredential {
    /// What kind, and its public part.
    kind: NewCredentialKind,
    /// Seconds until it stops being accepted; `None`: never.
    expires_in: Option<i64>,
}

/// The kind of a credential to be made.
#[derive(Debug)]
enum NewCredentialKind {
    /// A client secret, which is made here.
    ClientSecret,
    /// A public key, whose private half stays with the agent.
    PublicKey(UnverifiedKey),
    /// Tokens of a trusted issuer.
    Federated {
        /// The trusted issuer's name.
        trusted_issuer: String,
        /// Which of its tokens.
        matching: TokenMatch,
    },
}

/// A public key as somebody sent it.
#[derive(Debug)]
pub enum UnverifiedKey {
    /// As a JSON Web Key.
    Jwk(Value),
    /// As a PEM text.
    Pem(String),
    /// One of these under a `kid` of its owner's choice.
    Named(Box<UnverifiedKey>, String),
}

/// The replacement of a credential.
#[derive(Debug)]
pub struct Rotation {
    /// The credential to be replaced.
    pub credential: String,
    /// Seconds for which the old one stays good beside the new one.
    pub overlap: i64,
    /// The new public key; `None` for a client secret.
    pub key: Option<UnverifiedKey>,
    /// Seconds until the new one stops being accepted; `None`: never, however long the old one was made for.
    pub expires_in: Option<i64>,
}

/// A credential that was made.
#[derive(Debug)]
pub struct AddedCredential {
    /// The new credential.
    pub credential: Credential,
    /// The one it replaces, in a rotation.
    pub replaced: Option<Credential>,
    /// The agent's name.
    pub client_id: String,
    /// The client secret, shown this once.
    pub secret: Option<SecretString>,
}

/// A credential checked and hashed, before the transaction: neither is done while the head row is held.
pub(super) struct PreparedCredential {
    kind: PreparedKind,
    secret: Option<SecretString>,
    expires_in: Option<i64>,
}

/// What kind it becomes.
enum PreparedKind {
    Ready(CredentialKind),
    /// The trusted issuer is found by its name in the change's transaction.
    Federated {
        trusted_issuer: Name,
        matching: Box<TokenMatch>,
    },
}

impl NewCredential {
    /// Reads a request for a credential.
    ///
    /// # Errors
    /// [`Invalid`] when its members do not go together.
    pub(super) fn parse(body: api::NewCredential) -> Result<Self, Invalid> {
        let key = UnverifiedKey::parse(body.jwk, body.pem, body.kid)?;
        let federation = (body.trusted_issuer, body.matching);
        let kind = match (body.kind.as_str(), key, federation) {
            ("client_secret", None, (None, None)) => NewCredentialKind::ClientSecret,
            ("client_secret", _, _) => {
                return Err(Invalid::new(
                    "kind",
                    "is client_secret, which is made here and takes no jwk, pem, trusted_issuer or match",
                ));
            }
            ("public_key", Some(key), (None, None)) => NewCredentialKind::PublicKey(key),
            ("public_key", Some(_), _) => {
                return Err(Invalid::new(
                    "kind",
                    "is public_key, which takes no trusted_issuer or match",
                ));
            }
            ("public_key", None, _) => {
                return Err(Invalid::new(
                    "jwk",
                    "is missing: a public_key needs the public key as jwk or pem",
                ));
            }
            ("federated", None, (Some(trusted_issuer), Some(matching))) => {
                NewCredentialKind::Federated {
                    trusted_issuer,
                    matching: matching.into(),
                }
            }
            ("federated", _, _) => {
                return Err(Invalid::new(
                    "kind",
                    "is federated, which needs trusted_issuer and match and takes no jwk or pem",
                ));
            }
            (_, _, _) => {
                return Err(Invalid::new(
                    "kind",
                    "must be client_secret, public_key or federated",
                ));
            }
        };
        Ok(Self {
            kind,
            expires_in: body.expires_in,
        })
    }
}

impl UnverifiedKey {
    /// Reads a key that was sent in one of two forms, with its name.
    ///
    /// # Errors
    /// [`Invalid`] for a name without a key, or two keys.
    pub fn parse(
        jwk: Option<Value>,
        pem: Option<String>,
        kid: Option<String>,
    ) -> Result<Option<Self>, Invalid> {
        let key = match (jwk, pem) {
            (None, None) if kid.is_some() => {
                return Err(Invalid::new(
                    "kid",
                    "is the name of a public key; send jwk or pem with it",
                ));
            }
            (None, None) => return Ok(None),
            (Some(jwk), None) => Self::Jwk(jwk),
            (None, Some(pem)) => Self::Pem(pem),
            (Some(_), Some(_)) => {
                return Err(Invalid::new(
                    "pem",
                    "is there beside jwk; send the key in one form",
                ));
            }
        };
        Ok(Some(match kid {
            Some(kid) => Self::Named(Box::new(key), kid),
            None => key,
        }))
    }
}

impl Issuer {
    /// The credentials of an agent, revoked and expired ones included, the newest last.
    ///
    /// # Errors
    /// [`IssuerError::NotFound`] when there is no such agent.
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
    /// within so many seconds.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a time out of range.
    pub async fn live_credentials(
        &self,
        expires_within: Option<i64>,
        after: Option<&str>,
        limit: i64,
    ) -> Result<Page<(String, Credential)>, IssuerError> {
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
        Ok(Page::cut(found, limit))
    }

    /// Gives an agent a further credential.
    ///
    /// # Errors
    /// [`IssuerError::Invalid`] for a key that cannot be trusted, [`IssuerError::Conflict`] when the
    /// agent has as many as it may, or the key is registered already.
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

    /// Replaces a credential by a new one of the same kind. The old one stays good for the overlap.
    ///
    /// # Errors
    /// As [`Issuer::add_credential`]; [`IssuerError::Conflict`] when the old one is over.
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

    /// Revokes a credential; it proves nobody from the commit on. Does nothing to one that is.
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

    pub(super) fn prepare_credential(
        &self,
        new: NewCredential,
    ) -> Result<PreparedCredential, IssuerError> {
        let expires_in = new.expires_in.map(check_expires_in).transpose()?;
        let (kind, secret) = match new.kind {
            NewCredentialKind::ClientSecret => {
                let made = self
                    .secrets
                    .issue(&*self.ports.random)
                    .map_err(|error| IssuerError::Unavailable(Box::new(error)))?;
                (
                    PreparedKind::Ready(CredentialKind::ClientSecret { hash: made.hash }),
                    Some(made.plaintext),
                )
            }
            NewCredentialKind::PublicKey(key) => {
                let jwk = Box::new(public_jwk(key)?);
                (PreparedKind::Ready(CredentialKind::PublicKey { jwk }), None)
            }
            NewCredentialKind::Federated {
                trusted_issuer,
                matching,
            } => (prepare_match(&trusted_issuer, matching)?, None),
        };
        Ok(PreparedCredential {
            kind,
            secret,
            expires_in,
        })
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

    /// The trusted issuer of that name, which must be trusted to prove agents.
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
                "the trusted issuer '{name}' is not trusted to prove agents; if it is to be, first: firman trusted-issuer edit {name} --trust client_auth"
            )));
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

fn check_replacement(
    old: &Credential,
    prepared: &PreparedCredential,
    now: UnixTime,
) -> Result<(), IssuerError> {
    if old.is_over(now) {
        return Err(IssuerError::conflict(format!(
            "the credential {} is revoked or expired; add a new one instead",
            old.id
        )));
    }
    use CredentialKind::{ClientSecret, Federated, PublicKey};
    let new = match &prepared.kind {
        PreparedKind::Ready(kind) => Some(kind),
        PreparedKind::Federated { .. } => None,
    };
    match (&old.kind, new) {
        (ClientSecret { .. }, Some(ClientSecret { .. }))
        | (PublicKey { .. }, Some(PublicKey { .. })) => Ok(()),
        (PublicKey { .. }, Some(ClientSecret { .. })) => Err(Invalid::new(
            "jwk",
            "is missing: a public key is replaced by a public key, given as jwk or pem",
        )
        .into()),
        (ClientSecret { .. }, Some(PublicKey { .. })) => Err(Invalid::new(
            "jwk",
            "is not wanted: a client secret is replaced by a client secret, which is made here",
        )
        .into()),
        (Federated { .. }, _) | (_, Some(Federated { .. }) | None) => Err(IssuerError::conflict(
            "a federated credential holds nothing to rotate: its keys are the trusted issuer's; add another and revoke this one"
                .to_owned(),
        )),
    }
}

/// Checks a match, its condition included, which is compiled for it.
fn prepare_match(trusted_issuer: &str, matching: TokenMatch) -> Result<PreparedKind, IssuerError> {
    let trusted_issuer = known_name("trusted issuer", trusted_issuer)?;
    matching.check()?;
    matching
        .condition
        .as_deref()
        .map_or(Ok(()), check_condition)?;
    Ok(PreparedKind::Federated {
        trusted_issuer,
        matching: Box::new(matching),
    })
}

fn public_jwk(key: UnverifiedKey) -> Result<PublicJwk, Invalid> {
    let (jwk, field) = match key {
        UnverifiedKey::Jwk(value) => (PublicJwk::from_value(&value), "jwk"),
        UnverifiedKey::Pem(text) => (PublicJwk::from_pem(&text), "pem"),
        UnverifiedKey::Named(key, kid) => (public_jwk(*key)?.with_kid(&kid), "kid"),
    };
    let jwk = jwk.map_err(|error| Invalid::new(field, error.to_string()))?;
    // jose accepts any `kid` that is printable; it is shown to people like every other text.
    if let Some(kid) = jwk.kid() {
        text::line(field, kid, KID_MAX_CHARS)
            .map_err(|invalid| Invalid::new(field, format!("`kid` {}", invalid.problem)))?;
    }
    Ok(jwk)
}

/// A `kid` names one key of its agent: a key answers to its thumbprint too, so that neither may be another's.
fn check_kid(held: &[Credential], kind: &CredentialKind) -> Result<(), IssuerError> {
    let CredentialKind::PublicKey { jwk: new } = kind else {
        return Ok(());
    };
    for credential in held.iter().filter(|held| held.revoked_at.is_none()) {
        let CredentialKind::PublicKey { jwk: old } = &credential.kind else {
            continue;
        };
        if old.thumbprint() == new.thumbprint() {
            continue; // The same key: the database refuses it.
        }
        let names = |key: &PublicJwk| {
            [
                key.kid().unwrap_or(key.thumbprint()).to_owned(),
                key.thumbprint().to_owned(),
            ]
        };
        let old_names = names(old);
        if let Some(kid) = names(new).iter().find(|name| old_names.contains(name)) {
            return Err(IssuerError::conflict(format!(
                "the `kid` {kid} names another key of this agent (credential {}); choose another `kid`, or revoke that credential first",
                credential.id
            )));
        }
    }
    Ok(())
}

fn check_room(
    agent: &Agent,
    held: &[Credential],
    kind: &CredentialKind,
    now: UnixTime,
) -> Result<(), IssuerError> {
    let current: Vec<&Credential> = held
        .iter()
        .filter(|credential| !credential.is_over(now))
        .collect();
    if current.len() >= CREDENTIALS_MAX {
        return Err(IssuerError::conflict(format!(
            "the agent '{}' has {CREDENTIALS_MAX} credentials already; revoke one first, the oldest is {}",
            agent.name, current[0].id
        )));
    }
    let secrets: Vec<&str> = current
        .iter()
        .filter(|credential| matches!(credential.kind, CredentialKind::ClientSecret { .. }))
        .map(|credential| credential.id.as_str())
        .collect();
    if matches!(kind, CredentialKind::ClientSecret { .. }) && secrets.len() >= LIVE_SECRETS_MAX {
        return Err(IssuerError::conflict(format!(
            "the agent '{}' has {LIVE_SECRETS_MAX} live client secrets already, one in use and one to rotate to; \
             revoke the one no longer in use first: {}",
            agent.name,
            secrets.join(" or ")
        )));
    }
    Ok(())
}

fn already_registered(kind: &CredentialKind) -> String {
    match kind {
        CredentialKind::ClientSecret { .. } | CredentialKind::Federated { .. } => {
            "a credential with this id exists already; try again".to_owned()
        }
        CredentialKind::PublicKey { jwk } => format!(
            "the public key {} is registered already with this or another agent; \
             one key belongs to one agent: make a new key pair, or revoke the credential that holds this one",
            jwk.thumbprint()
        ),
    }
}

/// The facts of a credential for the audit: never the secret or its hash.
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
