//! Integration tests: the tree mirrors the URLs.

mod cli;
mod http;
