//! The database: SQLite in one file, or PostgreSQL. The only room with SQL.
//!
//! One text and one body per statement for both engines; each table family is a file of `impl Tx`. This room
//! does not decide any rule of the domain, but it enforces every invariant that rows can violate, by a
//! constraint or by one statement: a rejected insert or compare-and-set returns `false`.
//!
//! Every write transaction first locks the issuer's head row with [`Tx::lock_head`].
//!
//! # Errors
//! Any [`StoreError`]. After an error the transaction is over: it cannot be used or committed. Only methods
//! with a specific error that callers distinguish document it.

mod administrators;
mod agents;
mod assertions;
mod audit;
mod claude_links;
mod credentials;
mod delegations;
mod ended;
mod engine;
mod error;
mod groups;
mod issuers;
mod key_consumers;
mod keys;
mod lineage;
mod read_only;
mod resources;
mod roles;
mod rows;
pub mod testing;
mod transaction;
mod trusted_issuer_keys;
mod trusted_issuers;

pub use agents::{AgentAggregate, AgentFilter, Among, HeldBy, RoleHolders};
pub use assertions::UsedAssertion;
pub use audit::{AuditFilter, AuditSpan};
pub use credentials::{ListedCredential, LiveCredentials, PresentedToken};
pub use delegations::DelegationNames;
pub use engine::Store;
pub use error::StoreError;
pub use issuers::Head;
pub use keys::StoredKey;
pub use lineage::{EndKind, EndMark, Exchanged, LineageRow, RevokedToken};
pub use read_only::Found;
pub use transaction::Tx;
pub use trusted_issuer_keys::FetchedKeys;

/// Which rows of an ordered list: the first `limit` after `after`.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// The sort key of the row before them; `None`: from the start.
    pub after: Option<&'a str>,
    /// How many at most.
    pub limit: i64,
}

impl Window<'_> {
    /// The first `limit` of all.
    #[must_use]
    pub fn first(limit: i64) -> Self {
        Self { after: None, limit }
    }
}

/// A caller's text as a key to look up. A text with a NUL, which PostgreSQL cannot compare, becomes the empty
/// text, which is not the key of any row.
fn key(text: &str) -> &str {
    if text.contains('\0') { "" } else { text }
}

/// The cursor of a page as a lower bound. Names have no character below `-`, so a NUL and the text after it
/// make no difference.
fn cursor(after: Option<&str>) -> &str {
    let after = after.unwrap_or("");
    after.split_once('\0').map_or(after, |(before, _)| before)
}
