//! Whether an agent may have another credential, or this one as the replacement of that one.

use crate::domain::Invalid;
use crate::domain::agent::Agent;
use crate::domain::credential::{CREDENTIALS_MAX, Credential, CredentialKind, LIVE_SECRETS_MAX};
use crate::issuer::IssuerError;
use crate::jose::jwk::PublicJwk;
use crate::ports::time::UnixTime;

use super::new::{PreparedCredential, PreparedKind};

pub(super) fn check_replacement(
    old: &Credential,
    prepared: &PreparedCredential,
    now: UnixTime,
) -> Result<(), IssuerError> {
    if old.is_over(now) {
        return Err(IssuerError::conflict(format!(
            "credential `{}` is revoked or expired; add a new one instead",
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
            "is missing: a public key is replaced by a public key, as `jwk` or `pem`",
        )
        .into()),
        (ClientSecret { .. }, Some(PublicKey { .. })) => Err(Invalid::new(
            "jwk",
            "must be left out: a client secret is replaced by a client secret, which the issuer makes",
        )
        .into()),
        (Federated { .. }, _) | (_, Some(Federated { .. }) | None) => Err(IssuerError::conflict(
            "a federated credential has nothing to rotate: its keys are the trusted issuer's; add another and revoke this one"
                .to_owned(),
        )),
    }
}

/// A `kid` names one key of its agent. A key also matches by its thumbprint, so neither may name another key.
pub(super) fn check_kid(held: &[Credential], kind: &CredentialKind) -> Result<(), IssuerError> {
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
                "`kid` `{kid}` names another key of this agent (credential `{}`); choose another `kid`, or revoke that credential first",
                credential.id
            )));
        }
    }
    Ok(())
}

pub(super) fn check_room(
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
            "the agent `{}` already has {CREDENTIALS_MAX} credentials, the most there can be; revoke one first, the oldest is `{}`",
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
            "the agent `{}` already has {LIVE_SECRETS_MAX} live client secrets, one in use and one to rotate to; \
             revoke the one no longer in use first: {}",
            agent.name,
            secrets.join(" or ")
        )));
    }
    Ok(())
}

pub(super) fn already_registered(kind: &CredentialKind) -> String {
    match kind {
        CredentialKind::ClientSecret { .. } | CredentialKind::Federated { .. } => {
            "could not allocate an id; try again".to_owned()
        }
        CredentialKind::PublicKey { jwk } => format!(
            "the public key `{}` is already registered with this or another agent; \
             a key belongs to one agent: make a new key pair, or revoke the credential that has this one",
            jwk.thumbprint()
        ),
    }
}
