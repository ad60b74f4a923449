//! What an issuer publishes, its discovery document and its key set, fetched and checked as a relying
//! party would (OpenID Connect Discovery 1.0 §4, RFC 7517 §5). Nothing here needs the admin API.

use reqwest::Client;
use serde_json::{Map, Value};
use url::Url;

use super::error::CliError;
use super::http::{self, Reach};
use crate::jose::{JwsError, PublicJwk, PublicJwkSet, SkippedKey, UnverifiedJws, VerifiedJws};

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A discovery document with its key set.
pub(super) struct Published {
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
    pub(super) async fn of(
        issuer: &str,
        from: Option<&str>,
        reach: &Reach,
    ) -> Result<Self, CliError> {
        let (url, metadata, content_type) = document(from.unwrap_or(issuer), reach).await?;
        let stated = member(&metadata, "issuer");
        if stated != issuer {
            return Err(CliError::failed(
                "discovery",
                format!(
                    "{url} is of the issuer {stated:?}, not of {issuer:?}: both must be the same, byte for byte"
                ),
            ));
        }
        let jwks_uri = member(&metadata, "jwks_uri");
        let jwks_uri = match (from, jwks_uri.strip_prefix(issuer)) {
            (Some(from), Some(path)) => format!("{}{path}", from.trim_end_matches('/')),
            (Some(_) | None, _) => jwks_uri.to_owned(),
        };
        Self::with_keys(metadata, content_type, &jwks_uri, reach).await
    }

    /// What is published at `base`, whoever it is of.
    pub(super) async fn at(base: &str, reach: &Reach) -> Result<Self, CliError> {
        let (_, metadata, content_type) = document(base, reach).await?;
        let jwks_uri = member(&metadata, "jwks_uri").to_owned();
        Self::with_keys(metadata, content_type, &jwks_uri, reach).await
    }

    async fn with_keys(
        metadata: Map<String, Value>,
        content_type: Option<String>,
        jwks_uri: &str,
        reach: &Reach,
    ) -> Result<Self, CliError> {
        let jwks_uri = http::parse_url(jwks_uri, "the document's jwks_uri")?;
        let key_set = get(&jwks_uri, reach).await?;
        let keys = PublicJwkSet::parse_published(&key_set.body)
            .map_err(|problem| CliError::failed("jwks", format!("{jwks_uri}: {problem}")))?;
        Ok(Self {
            metadata,
            key_set: key_set.body,
            content_types: [content_type, key_set.content_type],
            keys,
        })
    }

    /// Whose document it says it is.
    pub(super) fn issuer(&self) -> &str {
        member(&self.metadata, "issuer")
    }

    /// The keys, each with its key id.
    pub(super) fn keys(&self) -> impl Iterator<Item = (&str, &PublicJwk)> {
        let keys = self.keys.keys().iter();
        keys.map(|key| (key.kid().unwrap_or_else(|| key.thumbprint()), key))
    }

    /// The entries of the set that cannot be used.
    pub(super) fn skipped(&self) -> &[SkippedKey] {
        self.keys.skipped()
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

/// The discovery document below `base`, with where it was found and what it was served as.
async fn document(
    base: &str,
    reach: &Reach,
) -> Result<(Url, Map<String, Value>, Option<String>), CliError> {
    http::parse_url(base, "the address")?;
    let url = format!("{}{DISCOVERY}", base.trim_end_matches('/'));
    let url = http::parse_url(&url, "the address")?;
    let answer = get(&url, reach).await?;
    let metadata = serde_json::from_slice(&answer.body)
        .map_err(|_| CliError::failed("discovery", format!("{url} is not a JSON object")))?;
    Ok((url, metadata, answer.content_type))
}

fn member<'m>(metadata: &'m Map<String, Value>, name: &str) -> &'m str {
    let value = metadata.get(name).and_then(Value::as_str);
    value.unwrap_or_default()
}

async fn get(url: &Url, reach: &Reach) -> Result<http::Answer, CliError> {
    let request = reach.client(url)?.get(url.clone());
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

/// What the issuer says of itself.
pub(super) struct Discovered {
    /// The issuer's name, byte for byte as asked for and as stated.
    pub(super) name: String,
    metadata: Value,
    reach: Reach,
    is_https: bool,
}

impl Discovered {
    /// Fetches the metadata of `issuer` and checks that they are its own (§4.3).
    pub(super) async fn at(issuer: &str, reach: &Reach) -> Result<Self, CliError> {
        let base = http::parse_url(issuer, "--issuer")?;
        reach.check_transport(&base)?;
        let address = format!(
            "{}/.well-known/openid-configuration",
            issuer.trim_end_matches('/')
        );
        let address = http::parse_url(&address, "--issuer")?;
        let request = reach.client(&address)?.get(address.clone());
        let unreachable =
            format!("cannot reach the issuer at {address}: is --issuer right, and is it running?");
        let answer = http::send(request, &unreachable).await?;
        if !answer.is_success() {
            return Err(CliError::failed(
                "discovery",
                format!(
                    "{address} answered with status {}; is {issuer} an issuer?",
                    answer.status
                ),
            )
            .with_status(answer.status));
        }
        let metadata: Value = serde_json::from_slice(&answer.body).map_err(|_| {
            CliError::failed(
                "discovery",
                format!("{address} is not JSON; is {issuer} an issuer?"),
            )
        })?;
        let stated = metadata["issuer"].as_str().unwrap_or_default();
        if stated != issuer {
            return Err(CliError::failed(
                "discovery",
                format!(
                    "the issuer calls itself {stated:?}, not {issuer:?}: both must be the same, byte for byte; use its own spelling with --issuer"
                ),
            ));
        }
        Ok(Self {
            name: issuer.to_owned(),
            metadata,
            reach: reach.clone(),
            is_https: base.scheme() == "https",
        })
    }

    /// The URL in the metadata member `member`. One in clear text is refused where the issuer itself
    /// is reached by HTTPS.
    pub(super) fn endpoint(&self, member: &str) -> Result<Url, CliError> {
        let failed = |problem: &str| {
            CliError::failed("discovery", format!("the issuer's {member} {problem}"))
        };
        let text = self.metadata[member]
            .as_str()
            .ok_or_else(|| failed("is missing"))?;
        let url = Url::parse(text).map_err(|_| failed("is not a URL"))?;
        if !matches!(url.scheme(), "http" | "https") || (self.is_https && url.scheme() != "https") {
            return Err(failed("is not an https URL"));
        }
        self.reach.check_transport(&url)?;
        Ok(url)
    }

    /// A client for one of its endpoints.
    pub(super) fn client(&self, url: &Url) -> Result<Client, CliError> {
        self.reach.client(url)
    }
}

/// The issuer's published keys.
pub(super) async fn fetch_keys(issuer: &Discovered) -> Result<PublicJwkSet, CliError> {
    let url = issuer.endpoint("jwks_uri")?;
    let answer = http::send(
        issuer.client(&url)?.get(url.clone()),
        &format!("cannot reach the key set {url}"),
    )
    .await?;
    if !answer.is_success() {
        return Err(CliError::failed(
            "jwks",
            format!("{url} answered with status {}", answer.status),
        ));
    }
    PublicJwkSet::parse_published(&answer.body).map_err(|problem| {
        CliError::failed(
            "jwks",
            format!("the key set {url} is not acceptable: {problem}"),
        )
    })
}

pub(super) fn check_signature(
    token: &UnverifiedJws<'_>,
    keys: &PublicJwkSet,
) -> Result<VerifiedJws, CliError> {
    let mut candidates = keys
        .keys()
        .iter()
        .filter(|key| token.may_be_signed_by(key))
        .peekable();
    if candidates.peek().is_none() {
        let kid = token.unverified_kid().unwrap_or("none");
        return Err(CliError::failed(
            "token",
            format!(
                "not valid: the issuer publishes no {} key with the token's kid ({kid}); the key was withdrawn, or the token is another issuer's",
                token.unverified_alg()
            ),
        ));
    }
    candidates
        .find_map(|key| token.verify(key).ok())
        .ok_or_else(|| refused(&JwsError::Signature))
}

pub(super) fn refused(problem: &dyn std::fmt::Display) -> CliError {
    CliError::failed("token", format!("not valid: {problem}"))
}
