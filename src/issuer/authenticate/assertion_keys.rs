//! Selects the key of an agent that verifies its assertion. `kid` is a hint (RFC 7515 §4.1.4): if it names a live
//! key of the agent, only that key is tried. Otherwise the keys that were registered without a name are tried, and
//! without a `kid` all. Exactly one must verify. When none does, the audit records why; the response does not.

use crate::domain::credential::{CREDENTIALS_MAX, Credential, CredentialKind};
use crate::jose::compact::{JwsError, UnverifiedJws, VerifiedJws};
use crate::jose::jwk::PublicJwk;
use crate::ports::time::UnixTime;

use crate::issuer::refusals::fact;

/// A public key and the credential that it belongs to.
#[derive(Clone, Copy)]
struct Key<'c> {
    credential: &'c Credential,
    jwk: &'c PublicJwk,
}

/// Verifies the signature of an assertion with the live keys of the agent that it names.
///
/// # Errors
/// Why no key verifies it, as a sentence for the operator.
pub(super) fn verify_signature<'c>(
    unverified: &UnverifiedJws<'_>,
    credentials: &'c [Credential],
    now: UnixTime,
) -> Result<(&'c Credential, VerifiedJws), String> {
    let live: Vec<Key<'c>> = public_keys(credentials)
        .filter(|key| key.credential.is_live(now))
        .take(CREDENTIALS_MAX)
        .collect();
    let kid = unverified.unverified_kid();
    if let Some(key) = kid.and_then(|kid| named(&live, kid)) {
        return match unverified.verify_by_algorithm(key.jwk) {
            Ok(verified) => Ok((key.credential, verified)),
            Err(error) => Err(why_not(unverified, key, &error)),
        };
    }
    let tried: Vec<Key<'c>> = live
        .iter()
        .copied()
        .filter(|key| kid.is_none() || is_nameless(key.jwk))
        .collect();
    let mut verified = tried.iter().filter_map(|key| {
        let verified = unverified.verify_by_algorithm(key.jwk).ok()?;
        Some((key.credential, verified))
    });
    match (verified.next(), verified.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => Err(
            "several live keys of the client verify the signature; `kid` names none of them"
                .to_owned(),
        ),
        (None, _) => {
            let over = kid.and_then(|kid| {
                let keys: Vec<Key<'c>> = public_keys(credentials).collect();
                named(&keys, kid)
            });
            Err(why_none(unverified, &live, &tried, over))
        }
    }
}

fn public_keys(credentials: &[Credential]) -> impl Iterator<Item = Key<'_>> {
    credentials
        .iter()
        .filter_map(|credential| match &credential.kind {
            CredentialKind::PublicKey { jwk } => Some(Key { credential, jwk }),
            CredentialKind::ClientSecret { .. } | CredentialKind::Federated { .. } => None,
        })
}

/// The key of that name. A key matches both the `kid` that it was registered with and its RFC 7638 thumbprint. The
/// newest first, because a revoked one may have had the same name.
fn named<'c>(keys: &[Key<'c>], kid: &str) -> Option<Key<'c>> {
    let newest = || keys.iter().rev().copied();
    newest()
        .find(|key| key.jwk.kid() == Some(kid))
        .or_else(|| newest().find(|key| key.jwk.thumbprint() == kid))
}

/// Whether a key was registered without a `kid`, or under the thumbprint that firman assigns: its client may use
/// another `kid` for it.
fn is_nameless(jwk: &PublicJwk) -> bool {
    jwk.kid().is_none_or(|kid| kid == jwk.thumbprint())
}

fn why_not(unverified: &UnverifiedJws<'_>, key: Key<'_>, error: &JwsError) -> String {
    let (id, jwk) = (&key.credential.id, key.jwk);
    if *error == JwsError::OtherKey {
        let algorithms: Vec<&str> = jwk.algorithms().iter().map(|one| one.as_str()).collect();
        return format!(
            "`alg` is {} and the key that `kid` names (credential {id}) is for {}",
            unverified.unverified_alg(),
            algorithms.join(" and ")
        );
    }
    format!("the key that `kid` names (credential {id}) does not verify the signature")
}

/// `over`: the key that `kid` names and that is no longer live.
fn why_none(
    unverified: &UnverifiedJws<'_>,
    live: &[Key<'_>],
    tried: &[Key<'_>],
    over: Option<Key<'_>>,
) -> String {
    let algorithm = unverified.unverified_alg();
    let fitting = |keys: &[Key<'_>]| {
        let fits = |key: &&Key<'_>| key.jwk.algorithms().contains(&algorithm);
        keys.iter().filter(fits).count()
    };
    let fault = match (live.len(), fitting(live), fitting(tried)) {
        (0, _, _) => "the client has no live public key".to_owned(),
        (_, 0, _) => format!("`alg` is {algorithm} and no live key of the client is for it"),
        (_, _, 0) => "each live key of the client was registered under another `kid`".to_owned(),
        (_, _, 1) => format!("the client's live {algorithm} key does not verify the signature"),
        (_, _, keys) => {
            format!("none of the client's {keys} live {algorithm} keys verifies the signature")
        }
    };
    match (over, unverified.unverified_kid()) {
        (Some(Key { credential, .. }), _) => {
            let state = if credential.revoked_at.is_some() {
                "revoked"
            } else {
                "not live"
            };
            let id = &credential.id;
            format!("{fault}; `kid` names the credential {id}, which is {state}")
        }
        (None, Some(kid)) => format!("{fault}; `kid` is {}", fact(kid)),
        (None, None) => fault,
    }
}
