//! The client-credentials grant (RFC 6749 §4.4): an agent requests a token for itself.
//!
//! An explicit scope or audience that is not granted is rejected, and the error names what is granted. An omitted
//! scope means every granted scope. If nothing is available, that is an error. Nothing is dropped silently.

use crate::domain::resource::{Binding, Resource};
use crate::domain::scope::{OPENID, Scope, Scopes, join_scopes};
use crate::domain::settings::LIFETIME_FLOOR_SECONDS;
use crate::domain::token_typ::TokenTyp;

use super::rights::{Reachable, identifiers, not_granted, reachable};
use super::{Authorization, AuthorizationError, Basis, ConcernedAgent, GrantType, Target, reach};
use crate::issuer::authenticate::AuthenticatedClient;
use crate::issuer::cache::Policy;
use crate::issuer::dpop::ProvenKey;
use crate::ports::time::UnixTime;

/// A parsed request of this grant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCredentialsRequest {
    /// `resource` or `audience`, if one was named.
    pub audience: Option<String>,
    /// `scope`; empty or absent: every granted scope.
    pub scopes: Scopes,
    /// `expires_in`, in seconds.
    pub expires_in: Option<i64>,
}

/// A decision before it is bound to an authenticated client; `explain` shows it to administrators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What the token would be issued for.
    pub target: Target,
    /// The scopes it would carry.
    pub scopes: Scopes,
    /// Its lifetime in seconds.
    pub lifetime: i64,
    /// True when an ID token would be issued with it.
    pub with_id_token: bool,
}

/// Decides a request of an authenticated client at `now`. `proven` is the key that it proved to hold.
///
/// # Errors
/// [`AuthorizationError`], naming what is granted.
pub fn authorize(
    client: &AuthenticatedClient,
    request: &ClientCredentialsRequest,
    proven: Option<&ProvenKey>,
    policy: &Policy,
    now: UnixTime,
) -> Result<Authorization, AuthorizationError> {
    let agent = &client.aggregate().agent;
    let decision = decide(agent, request, policy)?;
    let authorization = Authorization {
        aggregate: std::sync::Arc::clone(client.aggregate()),
        basis: Basis {
            version: client.basis(),
            agents: vec![ConcernedAgent::of(agent)],
        },
        grant_type: GrantType::ClientCredentials,
        method: client.method(),
        credential: client.credential().clone(),
        external: client.external().cloned(),
        spends: client.spends().into_iter().collect(),
        target: decision.target,
        scopes: decision.scopes,
        lifetime: decision.lifetime,
        with_id_token: decision.with_id_token,
        jkt: None,
        delegated: None,
    };
    authorization.completed(proven, request.expires_in, now)
}

/// Decides what `agent` would get.
///
/// # Errors
/// [`AuthorizationError`], naming what is granted.
pub fn decide(
    agent: &crate::domain::agent::Agent,
    request: &ClientCredentialsRequest,
    policy: &Policy,
) -> Result<Decision, AuthorizationError> {
    let reach = reach(agent, policy);
    let reachable = reachable(&reach, policy);
    let (identity, wanted): (Scopes, Scopes) =
        request.scopes.iter().cloned().partition(Scope::is_openid);
    let with_id_token = identity.iter().any(|scope| scope.as_str() == OPENID);
    let settings = &policy.settings;

    let chosen = match request.audience.as_deref() {
        Some(audience) if audience == settings.url && with_id_token && wanted.is_empty() => None,
        Some(audience) => Some(
            *reachable
                .iter()
                .find(|reachable| reachable.is_named(audience))
                .ok_or_else(|| not_granted(audience, &reachable))?,
        ),
        None => match reachable.as_slice() {
            [only] => Some(*only),
            // `openid` alone requests an identity, not a resource: the token is for the issuer itself.
            _ if with_id_token && wanted.is_empty() => None,
            _ => Some(meant_by(&wanted, &reachable)?),
        },
    };
    let Some(Reachable { resource, granted }) = chosen else {
        let target = Target {
            audience: settings.url.clone(),
            typ: TokenTyp::AccessToken,
            algorithm: settings.default_algorithm,
            binding: Binding::Offered,
        };
        let lifetime = lifetime(
            request.expires_in,
            settings.default_lifetime,
            settings.max_lifetime,
        )?;
        return Ok(Decision {
            target,
            scopes: identity,
            lifetime,
            with_id_token,
        });
    };
    let mut scopes = grant_scopes(&wanted, granted, resource, !request.scopes.is_empty())?;
    scopes.extend(identity);
    let default = resource.default_lifetime(settings);
    let cap = resource.max_lifetime(settings);
    Ok(Decision {
        target: Target::of(resource, settings),
        scopes,
        lifetime: lifetime(request.expires_in, default, cap)?,
        with_id_token,
    })
}

fn lifetime(asked: Option<i64>, default: i64, cap: i64) -> Result<i64, AuthorizationError> {
    match asked {
        None => Ok(default),
        Some(seconds) if (LIFETIME_FLOOR_SECONDS..=cap).contains(&seconds) => Ok(seconds),
        Some(_) => Err(AuthorizationError::invalid_request(format!(
            "`expires_in` must be {LIFETIME_FLOOR_SECONDS} to {cap} seconds here"
        ))),
    }
}

fn grant_scopes(
    wanted: &Scopes,
    granted: &Scopes,
    resource: &Resource,
    any_asked: bool,
) -> Result<Scopes, AuthorizationError> {
    let identifier = resource.identifier.as_str();
    let named = if granted.is_empty() {
        "none".to_owned()
    } else {
        join_scopes(granted)
    };
    if !wanted.is_subset(granted) {
        let refused = join_scopes(&wanted.difference(granted).cloned().collect());
        return Err(AuthorizationError::invalid_scope(format!(
            "not granted for {identifier}: {refused}; granted: {named}"
        )));
    }
    if !wanted.is_empty() {
        return Ok(wanted.clone());
    }
    if any_asked {
        // Only `openid` or `profile` were requested: an identity needs no scope of the resource.
        return Ok(Scopes::new());
    }
    if granted.is_empty() && !resource.scopes.is_empty() {
        return Err(AuthorizationError::invalid_scope(format!(
            "none of the scopes of {identifier} is granted to this agent any longer"
        )));
    }
    Ok(granted.clone())
}

/// The only resource that has all the requested scopes: for clients that can send `scope` but no resource.
fn meant_by<'p>(
    wanted: &Scopes,
    reachable: &[Reachable<'p>],
) -> Result<Reachable<'p>, AuthorizationError> {
    let mut having = reachable
        .iter()
        .filter(|one| !wanted.is_empty() && wanted.is_subset(one.granted));
    match (having.next(), having.next()) {
        (Some(only), None) => Ok(*only),
        (None | Some(_), _) => Err(none_named(reachable)),
    }
}

fn none_named(reachable: &[Reachable<'_>]) -> AuthorizationError {
    AuthorizationError::invalid_target(match reachable {
        [] => "no resource is granted to this agent".to_owned(),
        _ => format!(
            "several resources are granted; name one with the parameter `resource`: {}",
            identifiers(reachable)
        ),
    })
}
