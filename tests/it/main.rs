//! The integration tests: one binary, whose tree mirrors the program's rooms and URLs.

mod cli;
mod embedding;
mod house_rules;
mod http;
mod jose;
mod readme;
