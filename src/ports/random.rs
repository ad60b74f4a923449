//! Randomness.

use std::fmt;

/// Draws random bytes.
pub trait Random: Send + Sync + fmt::Debug {
    /// Fills `bytes` with random bytes. Never fails: without randomness no keys may be made, so the real one
    /// aborts the request by panicking.
    fn fill(&self, bytes: &mut [u8]);
}

/// `N` random bytes.
pub fn random_bytes<const N: usize>(random: &dyn Random) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes);
    bytes
}

/// The operating system's generator.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        if let Err(error) = getrandom::fill(bytes) {
            panic!("the operating system does not provide randomness: {error}");
        }
    }
}
