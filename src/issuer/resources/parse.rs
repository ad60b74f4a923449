//! Parses and checks the members of a resource.

use crate::api::resource::ResourceEdit;
use crate::domain::Invalid;
use crate::domain::profile::Profile;
use crate::domain::remedy::Remedy;
use crate::domain::resource::{
    Identifier, Resource, check_algorithm, check_dpop_required, check_lifetime, check_typ,
};
use crate::domain::scope::{SCOPES_MAX, Scope, Scopes};
use crate::domain::settings::IssuerSettings;
use crate::issuer::named::description;
use crate::jose::algorithm::SigningAlgorithm;

/// Applies the members that can be checked on their own.
pub(super) fn apply(
    resource: &mut Resource,
    changes: &ResourceEdit,
    settings: &IssuerSettings,
) -> Result<(), Invalid> {
    if let Some(text) = &changes.description {
        resource.description = description(text)?;
    }
    if let Some(scopes) = &changes.scopes {
        resource.scopes = parse_scope_names(scopes, &resource.scopes)?;
    }
    if let Some(lifetime) = changes.lifetime {
        resource.lifetime = lifetime
            .map(|seconds| check_lifetime(seconds, resource.profile, settings.max_lifetime))
            .transpose()?;
    }
    if let Some(algorithm) = &changes.algorithm {
        resource.algorithm = algorithm
            .as_deref()
            .map(|text| parse_algorithm(text, resource.profile))
            .transpose()?;
    }
    if let Some(typ) = &changes.typ {
        resource.typ = typ
            .as_deref()
            .map(|text| check_typ(text, resource.profile))
            .transpose()?;
    }
    if let Some(allow_delegation) = changes.allow_delegation {
        resource.allow_delegation = allow_delegation;
    }
    if let Some(dpop_required) = changes.dpop_required {
        resource.dpop_required = check_dpop_required(dpop_required, resource.profile)?;
    }
    Ok(())
}

pub(super) fn parse_profile(text: &str) -> Result<Profile, Invalid> {
    Profile::parse(text).ok_or_else(|| {
        let names = Profile::ALL.map(Profile::as_str).join(" or ");
        Invalid::new("profile", format!("must be {names}"))
    })
}

pub(super) fn parse_identifier(
    text: Option<&str>,
    profile: Profile,
) -> Result<Identifier, Invalid> {
    match text.or(profile.demands().default_identifier) {
        Some(text) => Identifier::parse(text),
        None => Err(Invalid::new(
            "identifier",
            format!(
                "is required for a resource with profile `{}`: the URI that becomes `aud`, such as `https://api.example.com`",
                profile.as_str()
            ),
        )),
    }
}

/// The issuer's URL is the audience of identity tokens, which no role grants. A resource with this identifier
/// would make it ambiguous.
pub(super) fn check_is_not_issuer(
    identifier: &Identifier,
    settings: &IssuerSettings,
) -> Result<(), Invalid> {
    if identifier.as_str() != settings.url {
        return Ok(());
    }
    Err(Invalid::new(
        "identifier",
        "is the issuer's own URL, which needs no resource",
    )
    .with_remedy(Remedy::action(
        "request the scope `openid` for a token for the issuer itself",
    )))
}

pub(super) fn parse_algorithm(text: &str, profile: Profile) -> Result<SigningAlgorithm, Invalid> {
    let known = SigningAlgorithm::parse(text).map(|algorithm| check_algorithm(algorithm, profile));
    known.unwrap_or_else(|| {
        let names = profile
            .demands()
            .algorithms
            .iter()
            .map(|algorithm| algorithm.as_str())
            .collect::<Vec<_>>()
            .join(" or ");
        Err(Invalid::new(
            "algorithm",
            format!(
                "must be {names} for a resource with profile `{}`",
                profile.as_str()
            ),
        ))
    })
}

/// Reads the names of a resource's scopes; `known` are those that it already has. RFC 6749 §3.3 allows a comma in
/// a name, but people type lists of scopes with commas: a new name with a comma is rejected, an existing one
/// stays.
pub(super) fn parse_scope_names(names: &[String], known: &Scopes) -> Result<Scopes, Invalid> {
    let mut scopes = Scopes::new();
    for name in names {
        let scope = Scope::parse(name).map_err(|invalid| {
            Invalid::new(
                "scopes",
                format!("contains a scope that {}", invalid.problem),
            )
        })?;
        if scope.is_openid() {
            return Err(Invalid::new(
                "scopes",
                format!(
                    "contains `{scope}`, which OpenID Connect defines and which needs no grant"
                ),
            ));
        }
        if scope.as_str().contains(',') && !known.contains(&scope) {
            return Err(Invalid::new(
                "scopes",
                format!(
                    "contains `{scope}`: a scope name must not contain a comma, which separates scopes in lists"
                ),
            ));
        }
        scopes.insert(scope);
        if scopes.len() > SCOPES_MAX {
            return Err(Invalid::new(
                "scopes",
                format!("contains more than {SCOPES_MAX} scopes"),
            ));
        }
    }
    Ok(scopes)
}
