//! Groups: agents belong to them and get their roles.

use crate::ports::time::UnixTime;

use super::id::{GroupId, RoleId};
use super::name::Name;

/// A group of agents. Its name is in the `groups` claim and is never reused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Stable id.
    pub id: GroupId,
    /// Unique in the issuer, removed groups included.
    pub name: Name,
    /// What it is for; may be empty.
    pub description: String,
    /// The roles of every member, sorted by id.
    pub roles: Vec<RoleId>,
    /// The issuer's registry version at its last change.
    pub version: i64,
    /// When it was created.
    pub created_at: UnixTime,
    /// When it was last changed.
    pub updated_at: UnixTime,
    /// When it was removed, if it was: a removed group grants nothing and keeps its name.
    pub removed_at: Option<UnixTime>,
}
