//! Groups: agents belong to them, roles are given to them.

use crate::ports::time::UnixTime;

use super::id::{GroupId, RoleId};
use super::name::Name;

/// A group of agents. Its name goes into the `groups` claim and is never given out twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Stable id.
    pub id: GroupId,
    /// Unique in the issuer, removed groups included.
    pub name: Name,
    /// What it is for; may be empty.
    pub description: String,
    /// The roles every member has, sorted by id.
    pub roles: Vec<RoleId>,
    /// The issuer's registry version at its last change.
    pub version: i64,
    /// When it was made.
    pub created_at: UnixTime,
    /// When it was last changed.
    pub updated_at: UnixTime,
    /// When it was removed, if it was: a removed group grants nothing and keeps its name.
    pub removed_at: Option<UnixTime>,
}
