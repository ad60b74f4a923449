//! Randomness that is the same in each run.

use std::sync::Mutex;
use std::sync::PoisonError;

use crate::jose::digest::sha256;
use crate::ports::random::Random;

/// SHA-256 over a seed and a counter: only for tests, never for a secret.
#[derive(Debug)]
pub struct SeededRandom {
    state: Mutex<(u64, u64)>,
}

impl SeededRandom {
    /// A generator that starts at `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            state: Mutex::new((seed, 0)),
        }
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(32) {
            let mut input = [0; 16];
            input[..8].copy_from_slice(&state.0.to_be_bytes());
            input[8..].copy_from_slice(&state.1.to_be_bytes());
            state.1 += 1;
            chunk.copy_from_slice(&sha256(&input)[..chunk.len()]);
        }
    }
}
