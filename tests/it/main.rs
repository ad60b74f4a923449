//! Integration tests; the tree mirrors the source.

mod jose;
