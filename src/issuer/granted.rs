//! What a role or a delegation grants: a resource, and some or all of its scopes.

use crate::domain::Invalid;
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::resource::{Identifier, Resource};
use crate::domain::scope::{SCOPES_MAX, Scope, Scopes, join_scopes};

/// The error for an unknown resource, named by name or identifier.
pub(super) fn unknown_resource(field: &'static str, text: &str) -> Invalid {
    // Repeated only if it is safe to display.
    match Name::parse(text) {
        Ok(name) => Invalid::new(field, format!("resource `{name}` not found"))
            .with_remedy(Remedy::command("resource list")),
        Err(_) => match Identifier::parse(text) {
            Ok(identifier) => {
                let identifier = identifier.as_str();
                Invalid::new(field, format!("resource `{identifier}` not found"))
                    .with_remedy(Remedy::command("resource list"))
            }
            Err(invalid) => Invalid::new(
                field,
                format!(
                    "contains a resource that is neither a name nor an identifier: it {}",
                    invalid.problem
                ),
            ),
        },
    }
}

/// Reads the names of scopes, which the resource must have; an error names `field`.
pub(super) fn parse_granted(
    field: &'static str,
    names: &[String],
    resource: &Resource,
) -> Result<Scopes, Invalid> {
    if names.is_empty() {
        return Err(
            Invalid::new(field, format!("contains no scope of `{}`", resource.name))
                .with_remedy(Remedy::action("leave the scopes out to grant all of them")),
        );
    }
    let mut scopes = Scopes::new();
    for name in names {
        let scope = Scope::parse(name).map_err(|invalid| {
            Invalid::new(field, format!("contains a scope that {}", invalid.problem))
        })?;
        if !resource.scopes.contains(&scope) {
            let known = if resource.scopes.is_empty() {
                "no scopes".to_owned()
            } else {
                format!("the scopes {}", join_scopes(&resource.scopes))
            };
            return Err(Invalid::new(
                field,
                format!(
                    "the resource `{}` has {known}, not `{scope}`",
                    resource.name
                ),
            ));
        }
        scopes.insert(scope);
    }
    if scopes.len() > SCOPES_MAX {
        return Err(Invalid::new(
            field,
            format!("contains more than {SCOPES_MAX} scopes of one resource"),
        ));
    }
    Ok(scopes)
}
