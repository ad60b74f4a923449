//! JSON Object Signing and Encryption, the signing half: strict parsing, verification and signing of compact
//! JWS (RFC 7515), public keys as JWK (RFC 7517) and the registered claims of a JWT (RFC 7519), along the lines
//! of RFC 8725. This room does not know agents, clocks or the network: from keys and a time it decides whether
//! a token is valid. Every private-key operation is by aws-lc-rs.

pub mod algorithm;
pub mod compact;
pub mod digest;
pub mod dpop;
pub mod foreign;
pub mod json;
pub mod jwk;
pub mod jwk_error;
mod jwk_members;
pub mod jwk_set;
pub mod jwt;
pub mod key;
pub mod key_error;
mod key_file;
pub mod pem;
mod private_jwk;
mod roca;
mod spki;
mod ssh;
mod weakness;

pub use algorithm::{KeyType, SigningAlgorithm};
pub use compact::{JwsError, JwsHeader, UnverifiedJws, VerifiedJws};
pub use dpop::{DpopProof, ProofError};
pub use foreign::{ForeignAlgorithm, ForeignKeySet};
pub use jwk::PublicJwk;
pub use jwk_error::{JwkError, SkippedKey};
pub use jwk_set::PublicJwkSet;
pub use jwt::{Audience, ClaimError, Claims};
pub use key::SigningKey;
pub use key_error::KeyError;
