//! The `jose` room against data and programs made by others: the vectors in `tests/vectors`, and the
//! `p256` and `rsa` crates as independent oracles.

#![expect(
    clippy::unwrap_used,
    reason = "a test's helpers fail by panicking, like the test"
)]

mod client_assertions;
mod key_files;
mod oracles;
mod vectors;
