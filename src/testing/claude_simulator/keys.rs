//! The keys of issuers, fetched as Claude does: no redirect, a bounded answer, https on port 443. Plain HTTP is
//! accepted on loopback, since this is a simulation. Cached for a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::jose::ForeignKeySet;
use crate::jose::jwk_set::MAX_KEY_SET_BYTES;
use crate::ports::cause::innermost;
use crate::ports::time::UnixTime;
use crate::relying_party::claude::{
    Denial, Denied, FederationIssuer, IssuerObjectId, JWKS_CACHE_SECONDS, JwksSource,
    check_dialled_url,
};

/// Not documented: the time limit for an issuer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The keys of issuers by the issuer's id.
#[derive(Debug, Default)]
pub(super) struct KeyCache {
    kept: Mutex<HashMap<IssuerObjectId, Kept>>,
}

/// A key set, its origin, and when it was fetched.
#[derive(Clone, Debug)]
struct Kept {
    source: JwksSource,
    issuer_url: String,
    keys: Arc<ForeignKeySet>,
    fetched_at: UnixTime,
}

impl KeyCache {
    /// The keys of an issuer. Cached for a minute, so a newly published key may be unknown. Not documented: what a
    /// failed fetch does to older keys; here they are dropped.
    ///
    /// `note` gets whether a fetch succeeded. An issuer whose polling is paused has no keys; not documented is
    /// whether Claude still uses those it fetched before.
    pub(super) async fn keys(
        &self,
        issuer: &FederationIssuer,
        now: UnixTime,
        note: impl FnOnce(bool),
    ) -> Result<Arc<ForeignKeySet>, Denied> {
        let unavailable = |problem: String| Denial::JwksUnavailable.because(problem);
        if let Some(set) = issuer.jwks.inline_set() {
            return set
                .map(Arc::new)
                .map_err(|error| unavailable(format!("the inline keys: {error}")));
        }
        if let Some(at) = &issuer.jwks_polling_disabled_at {
            return Err(unavailable(format!(
                "fetching of the keys is paused since {at} after repeated failures; update the issuer with `jwks_polling_disabled` false"
            )));
        }
        if let Some(keys) = self.kept(issuer, now) {
            return Ok(keys);
        }
        let fetched = fetch(issuer).await;
        note(fetched.is_ok());
        let keys = Arc::new(fetched.map_err(unavailable)?);
        let kept = Kept {
            source: issuer.jwks.clone(),
            issuer_url: issuer.issuer_url.clone(),
            keys: Arc::clone(&keys),
            fetched_at: now,
        };
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(issuer.id.clone(), kept);
        Ok(keys)
    }

    fn kept(&self, issuer: &FederationIssuer, now: UnixTime) -> Option<Arc<ForeignKeySet>> {
        let all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = all.get(&issuer.id)?;
        let is_fresh = kept.source == issuer.jwks
            && kept.issuer_url == issuer.issuer_url
            && (0..JWKS_CACHE_SECONDS).contains(&now.since(kept.fetched_at));
        is_fresh.then(|| Arc::clone(&kept.keys))
    }
}

async fn fetch(issuer: &FederationIssuer) -> Result<ForeignKeySet, String> {
    let (field, url) = issuer
        .jwks
        .dialled_url(&issuer.issuer_url)
        .ok_or("the keys are inline")?;
    let ca = issuer.jwks.ca_cert_pem();
    let jwks_uri = match issuer.jwks {
        JwksSource::Discovery { .. } => {
            let metadata: Value = serde_json::from_slice(&get(field, &url, ca).await?)
                .map_err(|_| format!("{url} is not JSON"))?;
            // Not documented: whether this is compared. OpenID Connect Discovery §4.3 demands it.
            if metadata["issuer"] != issuer.issuer_url.as_str() {
                return Err(format!(
                    "the discovery document at {url} has the `issuer` {}, registered is {:?}",
                    metadata["issuer"], issuer.issuer_url
                ));
            }
            metadata["jwks_uri"]
                .as_str()
                .ok_or_else(|| format!("the discovery document at {url} has no `jwks_uri`"))?
                .to_owned()
        }
        JwksSource::ExplicitUrl { .. } | JwksSource::Inline { .. } => url,
    };
    let body = get("jwks_uri", &jwks_uri, ca).await?;
    ForeignKeySet::parse_published(&body)
        .map_err(|error| format!("the keys at {jwks_uri}: {error}"))
}

/// Not documented: whether a private authority is trusted beside the public ones or instead of them. Here
/// it is instead.
async fn get(field: &'static str, url: &str, ca: Option<&str>) -> Result<Vec<u8>, String> {
    check_dialled_url(field, url, true).map_err(|error| error.to_string())?;
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(TIMEOUT);
    // Certificates are loaded only for https: a slim container has none.
    let builder = match ca {
        _ if !url.starts_with("https:") => builder.tls_certs_only([]),
        None => builder,
        Some(pem) => builder.tls_certs_only(
            reqwest::Certificate::from_pem_bundle(pem.as_bytes())
                .map_err(|error| format!("ca_cert_pem: {}", innermost(&error)))?,
        ),
    };
    let failed = |error: reqwest::Error| format!("{url} cannot be fetched: {}", innermost(&error));
    let client = builder.build().map_err(failed)?;
    let mut response = client.get(url).send().await.map_err(failed)?;
    if response.status() != 200 {
        return Err(format!("{url} answered with status {}", response.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_KEY_SET_BYTES {
            return Err(format!("{url} is longer than {MAX_KEY_SET_BYTES} bytes"));
        }
    }
    Ok(body)
}
