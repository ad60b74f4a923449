//! The `jose` room against data and programs made by others: the vectors in `tests/vectors`, and the
//! `p256` and `rsa` crates as independent oracles.

mod client_assertions;
mod oracles;
mod vectors;
