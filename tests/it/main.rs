//! Integration tests: the tree mirrors the URLs.

mod http;
