//! What is outside the process, as traits: time, randomness and documents of others, and the facts of a
//! request. Everything above takes them as arguments, so that a test (or an embedder) controls the time and the
//! randomness.

pub(crate) mod address;
pub(crate) mod cause;
pub mod fetch;
pub mod random;
pub mod request;
pub mod secret_file;
pub mod time;
