//! The words of the admin API: for each noun what is shown (`Group`), what makes one (`NewGroup`) and what edits one
//! (`GroupEdit`). The server writes views and reads the others, the command line the other way round, so that both
//! read the same types. No behaviour: what a value may be is decided in `domain` and `issuer`.
//!
//! A request is read strictly (an unknown member is refused, so that a typo is not ignored). A view is read leniently: a
//! newer server may add members.

#![expect(
    missing_docs,
    reason = "these docs are the OpenAPI document's descriptions: a member that its name explains has none"
)]

pub mod administrator;
pub mod agent;
pub mod audit;
pub mod claude_link;
pub mod credential;
pub mod delegation;
pub(crate) mod edit;
pub mod explanation;
pub mod group;
pub mod issuer;
pub mod key;
pub mod key_consumer;
pub mod list;
pub mod problem;
pub mod resource;
pub mod revocation;
pub mod role;
pub mod trace;
pub mod trusted_issuer;
pub mod warning;
