//! The parameters of a path. A segment that does not decode is not found.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::issuer::Issuer;

use super::problem::Problem;

/// The named segments of a path.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Arc<Issuer>> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, issuer: &Arc<Issuer>) -> Result<Self, Problem> {
        match Path::<T>::from_request_parts(parts, issuer).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(_) => Err(Problem::not_found()),
        }
    }
}
