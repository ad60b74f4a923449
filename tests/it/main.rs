//! The integration tests: one binary, whose tree mirrors the program's rooms and URLs.

mod cli;
mod http;
mod jose;
mod ledger;
mod oauth2;
mod rotation;
mod well_known;
