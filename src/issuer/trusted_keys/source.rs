//! The source of a trusted issuer's keys: inline, an address, or discovery.

use serde_json::Value;

use crate::domain::trusted_issuer::{KeySource, SPIFFE_SCHEME};
use crate::jose::json::parse_object;
use crate::jose::jwk_set::PublicJwkSet;
use crate::ports::fetch::{FetchError, Fetcher};

/// Why keys are not available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeysError {
    /// The address is not allowed.
    #[error("{what} must not be fetched: {why}")]
    Refused {
        /// The discovery document or the key set, with its address.
        what: String,
        /// The reason.
        why: String,
    },
    /// The document is invalid.
    #[error("{0}")]
    Wrong(String),
    /// They cannot be fetched now.
    #[error("{what} cannot be fetched: {why}")]
    Unavailable {
        /// The discovery document or the key set, with its address.
        what: String,
        /// The reason.
        why: String,
    },
}

/// Loads keys from any source.
pub(super) async fn load(
    fetcher: &dyn Fetcher,
    url: &str,
    source: &KeySource,
) -> Result<PublicJwkSet, KeysError> {
    let jwks_uri = match source {
        KeySource::Inline { jwks } => return parse_keys(url, jwks.to_string().as_bytes()),
        KeySource::JwksUri { url } => url.clone(),
        KeySource::Discovery => discover(fetcher, url).await?,
    };
    let what = format!("the key set {jwks_uri}");
    let body = fetch(fetcher, &jwks_uri, &what).await?;
    parse_keys(url, &body).map_err(|error| KeysError::Wrong(format!("{what}: {error}")))
}

/// OpenID Connect Discovery §4: the document is at the issuer's own address and must name that exact issuer
/// (§4.3), or another could impersonate it.
async fn discover(fetcher: &dyn Fetcher, url: &str) -> Result<String, KeysError> {
    let address = discovery_url(url);
    let what = format!("the discovery document {address}");
    let body = fetch(fetcher, &address, &what).await?;
    let document =
        parse_object(&body).map_err(|error| KeysError::Wrong(format!("{what} {error}")))?;
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    if text("issuer") != Some(url) {
        return Err(KeysError::Wrong(format!(
            "{what} does not name the issuer {url}, byte for byte"
        )));
    }
    text("jwks_uri")
        .map(str::to_owned)
        .ok_or_else(|| KeysError::Wrong(format!("{what} has no jwks_uri")))
}

/// OpenID Connect Discovery §4.1.
fn discovery_url(issuer: &str) -> String {
    format!(
        "{}/.well-known/openid-configuration",
        issuer.strip_suffix('/').unwrap_or(issuer)
    )
}

async fn fetch(fetcher: &dyn Fetcher, url: &str, what: &str) -> Result<Vec<u8>, KeysError> {
    let (what, unavailable) = (what.to_owned(), |what, why: String| {
        KeysError::Unavailable { what, why }
    });
    match fetcher.fetch(url).await {
        Ok(fetched) if fetched.status == 200 => Ok(fetched.body),
        Ok(fetched) if (300..400).contains(&fetched.status) => Err(KeysError::Wrong(format!(
            "{what} answers with a redirect ({}), which is not followed; register the final address",
            fetched.status
        ))),
        Ok(fetched) => Err(unavailable(
            what,
            format!("the answer has the status {}", fetched.status),
        )),
        Err(FetchError::Refused(why)) => Err(KeysError::Refused { what, why }),
        Err(FetchError::Failed(why)) => Err(unavailable(what, why)),
    }
}

pub(super) fn parse_keys(url: &str, json: &[u8]) -> Result<PublicJwkSet, KeysError> {
    let parsed = if url.starts_with(SPIFFE_SCHEME) {
        PublicJwkSet::parse_spiffe_bundle(json)
    } else {
        PublicJwkSet::parse_published(json)
    };
    parsed.map_err(|error| KeysError::Wrong(error.to_string()))
}
