//! The checks of Claude's Admin API on names, roles, scopes and issuers.

use super::super::answer::ApiError;
use super::super::caller::Administrator;
use super::super::objects::Record;
use super::{MANAGED_SCOPES, OBJECTS_MAX};
use crate::relying_party::claude::{JwksSource, OAUTH_SCOPES, check_issuer, check_name};

/// Refuses a name in use, or one object too many. Not documented: that archived objects keep their names.
pub(super) fn check_new_name<R: Record>(
    records: &[R],
    name: &str,
    own: Option<&str>,
) -> Result<(), ApiError> {
    check_name(name)?;
    let is_other = |record: &&R| record.name() == name && Some(record.id()) != own;
    if records.iter().any(|record| is_other(&record)) {
        return Err(ApiError::conflict(format!(
            "name: {name} is already in use in this organization"
        )));
    }
    if own.is_none() && records.len() >= OBJECTS_MAX {
        return Err(ApiError::invalid(format!(
            "this simulation keeps at most {OBJECTS_MAX} objects of a kind"
        )));
    }
    Ok(())
}

pub(super) fn check_role(role: Option<&str>, caller: Administrator) -> Result<(), ApiError> {
    match (role, caller) {
        (None | Some("developer"), _) | (Some("admin"), Administrator::Person) => Ok(()),
        (Some("admin"), Administrator::Workload) => Err(ApiError::permission(
            "a workload may create developer service accounts only",
        )),
        (Some(_), _) => Err(ApiError::invalid("role: must be developer or admin")),
    }
}

pub(super) fn check_scope(scope: &str) -> Result<(), ApiError> {
    if MANAGED_SCOPES.contains(&scope) {
        Ok(())
    } else if OAUTH_SCOPES.contains(&scope) {
        Err(ApiError::permission(format!(
            "oauth_scope: {scope} cannot be granted through the API; use the Console"
        )))
    } else {
        Err(ApiError::invalid(format!(
            "oauth_scope: must be one of {}",
            OAUTH_SCOPES.join(", ")
        )))
    }
}

pub(super) fn check_new_issuer(
    url: &str,
    jwks: &JwksSource,
    lifetime: i64,
) -> Result<(), ApiError> {
    // Loopback URLs are accepted: this is a simulation.
    Ok(check_issuer(url, jwks, lifetime, true)?)
}
