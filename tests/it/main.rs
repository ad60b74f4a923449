//! The integration tests: one binary, whose tree mirrors the program's rooms and URLs.

mod admin;
mod cli;
mod http;
mod jose;
mod process;
mod relying_party;
