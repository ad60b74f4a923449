//! firman: an identity provider for AI agents.
//!
//! The rooms and who may import whom are on one page, `docs/architecture.md`; arrows go one way:
//! `cli testing → server → oauth | admin → host, issuer → store, relying_party → api → domain → jose → ports`.

pub mod admin;
pub mod api;
pub mod cli;
pub mod config;
pub mod domain;
pub mod host;
pub mod issuer;
pub mod jose;
pub mod oauth;
pub mod ports;
pub mod relying_party;
pub mod server;
pub mod store;
pub mod testing;
