//! What an issuer publishes, its discovery document and its key set, fetched and checked as a relying
//! party would (OpenID Connect Discovery 1.0 §4, RFC 7517 §5). Nothing here needs the admin API.

use serde_json::{Map, Value};
use url::Url;

use super::error::CliError;
use super::http;
use crate::jose::{PublicJwk, PublicJwkSet};

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A discovery document with its key set.
pub(super) struct Published {
    /// Where the discovery document was found.
    pub(super) url: Url,
    /// The document.
    pub(super) metadata: Map<String, Value>,
    /// The key set, byte for byte.
    pub(super) key_set: Vec<u8>,
    /// What the two were served as, in that order.
    pub(super) content_types: [Option<String>; 2],
    keys: PublicJwkSet,
}

impl Published {
    /// What `issuer` publishes, found at `from` when its own URL cannot be reached from here. The
    /// document must be its own (§4.3).
    pub(super) async fn of(issuer: &str, from: Option<&str>) -> Result<Self, CliError> {
        let at = from.unwrap_or(issuer);
        let published = Self::fetch(at, |jwks_uri| match (from, jwks_uri.strip_prefix(issuer)) {
            (Some(from), Some(path)) => format!("{}{path}", from.trim_end_matches('/')),
            (Some(_) | None, _) => jwks_uri.to_owned(),
        })
        .await?;
        let stated = published.issuer();
        if stated != issuer {
            return Err(CliError::failed(
                "discovery",
                format!(
                    "{} is of the issuer {stated:?}, not of {issuer:?}: both must be the same, byte for byte",
                    published.url
                ),
            ));
        }
        Ok(published)
    }

    /// What is published at `base`, whoever it is of.
    pub(super) async fn at(base: &str) -> Result<Self, CliError> {
        Self::fetch(base, str::to_owned).await
    }

    async fn fetch(base: &str, locate: impl Fn(&str) -> String) -> Result<Self, CliError> {
        http::parse_url(base, "the issuer's URL")?;
        let url = http::parse_url(
            &format!("{}{DISCOVERY}", base.trim_end_matches('/')),
            "the issuer's URL",
        )?;
        let document = get(&url).await?;
        let metadata: Map<String, Value> = serde_json::from_slice(&document.body)
            .map_err(|_| CliError::failed("discovery", format!("{url} is not a JSON object")))?;
        let jwks_uri = metadata.get("jwks_uri").and_then(Value::as_str);
        let jwks_uri = jwks_uri.ok_or_else(|| {
            CliError::failed("discovery", format!("{url} has no member jwks_uri"))
        })?;
        let jwks_uri = http::parse_url(&locate(jwks_uri), "jwks_uri")?;
        let key_set = get(&jwks_uri).await?;
        let keys = PublicJwkSet::parse_published(&key_set.body)
            .map_err(|problem| CliError::failed("jwks", format!("{jwks_uri}: {problem}")))?;
        Ok(Self {
            url,
            metadata,
            key_set: key_set.body,
            content_types: [document.content_type, key_set.content_type],
            keys,
        })
    }

    /// Whose document it says it is.
    pub(super) fn issuer(&self) -> &str {
        let issuer = self.metadata.get("issuer").and_then(Value::as_str);
        issuer.unwrap_or_default()
    }

    /// The keys, each with its key id.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, &PublicJwk)> {
        let keys = self.keys.keys().iter();
        keys.map(|key| (key.kid().unwrap_or_else(|| key.thumbprint()), key))
    }

    /// The key ids, as they stand in the set.
    pub(super) fn kids(&self) -> Vec<String> {
        self.keys().map(|(kid, _)| kid.to_owned()).collect()
    }

    /// The bare array of keys, as it is published.
    pub(super) fn key_array(&self) -> Vec<Value> {
        let set: Value = serde_json::from_slice(&self.key_set).unwrap_or_default();
        set["keys"].as_array().cloned().unwrap_or_default()
    }
}

async fn get(url: &Url) -> Result<http::Answer, CliError> {
    let request = http::client(url)?.get(url.clone());
    let unreachable = format!("cannot reach {url} from here");
    let answer = http::send(request, &unreachable).await?;
    if answer.status == 200 {
        return Ok(answer);
    }
    Err(CliError::failed(
        "discovery",
        format!(
            "{url} answered with status {}: it must be 200, without a redirect",
            answer.status
        ),
    ))
}
