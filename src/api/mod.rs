//! The types of the admin API: for each noun a view (`Group`), a request to create one (`NewGroup`) and an edit
//! (`GroupEdit`). The server writes views and reads the others, the command line the reverse, so that both use the
//! same types. No behaviour: `domain` and `issuer` decide which values are valid.
//!
//! Requests are read strictly: an unknown member is rejected, so that a typo is not ignored. Views are read
//! leniently: a newer server may add members.

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
