//! The keys of trusted issuers.

use std::sync::Arc;

use crate::domain::trusted_issuer::{KeySource, TrustedIssuer};
use crate::jose::jwk_set::PublicJwkSet;
use crate::ports::time::UnixTime;

/// Why keys cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KeysError(String);

/// The keys of trusted issuers, as they are known here.
#[derive(Debug, Default)]
pub(crate) struct TrustedKeys;

impl TrustedKeys {
    /// The keys of `trusted`, among them the one that goes by `kid` if it can be had.
    ///
    /// # Errors
    /// When there are none and none can be fetched.
    pub(crate) async fn keys(
        &self,
        trusted: &TrustedIssuer,
        _kid: Option<&str>,
        _now: UnixTime,
    ) -> Result<Arc<PublicJwkSet>, KeysError> {
        match &trusted.definition.keys {
            KeySource::Inline { jwks } => {
                PublicJwkSet::parse_published(jwks.to_string().as_bytes())
                    .map(Arc::new)
                    .map_err(|error| KeysError(error.to_string()))
            }
            KeySource::Discovery | KeySource::JwksUri { .. } => {
                Err(KeysError("keys are not fetched here".to_owned()))
            }
        }
    }
}
