//! Roles: scopes and audiences come from roles only.

use crate::ports::time::UnixTime;

use super::id::{ResourceId, RoleId};
use super::name::Name;
use super::scope::Scopes;

/// A named list of grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Stable id.
    pub id: RoleId,
    /// Unique in the issuer, removed roles included; in the `roles` claim.
    pub name: Name,
    /// What it is for; may be empty.
    pub description: String,
    /// Its grants, one entry per resource, sorted by resource id.
    pub grants: Vec<Grant>,
    /// The issuer's registry version at its last change.
    pub version: i64,
    /// When it was created.
    pub created_at: UnixTime,
    /// When it was last changed.
    pub updated_at: UnixTime,
    /// When it was removed, if it was.
    pub removed_at: Option<UnixTime>,
}

/// The right to request tokens for a resource, with some or all of its scopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The resource.
    pub resource: ResourceId,
    /// Which of its scopes.
    pub scopes: GrantedScopes,
}

/// The scopes of a resource that a grant includes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantedScopes {
    /// All current and future scopes of the resource.
    All,
    /// These scopes, as far as the resource still has them.
    Only(Scopes),
}
