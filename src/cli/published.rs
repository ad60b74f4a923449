//! What an issuer publishes: its discovery document, its key set and its endpoints, fetched and checked as a
//! relying party does (OpenID Connect Discovery 1.0 §4, RFC 7517 §5). Nothing here uses the admin API.

use reqwest::Client;
use serde_json::{Map, Value};
use url::Url;

use super::error::CliError;
use super::http::{self, Reach};
use super::print::shell_word;
use crate::domain::remedy::Remedy;
use crate::jose::{JwsError, PublicJwk, PublicJwkSet, SkippedKey, UnverifiedJws, VerifiedJws};

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// A discovery document with its key set.
pub(super) struct Published {
    /// The document.
    pub(super) metadata: Map<String, Value>,
    /// The key set, byte for byte.
    pub(super) key_set: Vec<u8>,
    /// The content types of the two, in that order.
    pub(super) content_types: [Option<String>; 2],
    keys: PublicJwkSet,
}

impl Published {
    /// The documents of `issuer`, fetched from `from` when its own URL cannot be reached from here. The
    /// document must name the issuer (§4.3).
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
                    "`{url}` belongs to the issuer `{}`, not to `{}`: both must match byte for byte",
                    stated.escape_debug(),
                    issuer.escape_debug()
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

    /// What is published at `base`, for any issuer.
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
        let jwks_uri = http::parse_url(jwks_uri, "the document's `jwks_uri`")?;
        let key_set = get(&jwks_uri, reach).await?;
        let keys = PublicJwkSet::parse_published(&key_set.body).map_err(|problem| {
            CliError::failed(
                "jwks",
                format!("the key set `{jwks_uri}` is invalid: {problem}"),
            )
        })?;
        Ok(Self {
            metadata,
            key_set: key_set.body,
            content_types: [content_type, key_set.content_type],
            keys,
        })
    }

    /// The issuer that the document names.
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

    /// The key ids, in the order of the set.
    pub(super) fn kids(&self) -> Vec<String> {
        self.keys().map(|(kid, _)| kid.to_owned()).collect()
    }

    /// The bare array of keys, as it is published.
    pub(super) fn key_array(&self) -> Vec<Value> {
        let set: Value = serde_json::from_slice(&self.key_set).unwrap_or_default();
        set["keys"].as_array().cloned().unwrap_or_default()
    }
}

/// The discovery document below `base`, with its URL and content type.
async fn document(
    base: &str,
    reach: &Reach,
) -> Result<(Url, Map<String, Value>, Option<String>), CliError> {
    http::parse_url(base, "the address")?;
    let url = format!("{}{DISCOVERY}", base.trim_end_matches('/'));
    let url = http::parse_url(&url, "the address")?;
    let answer = get(&url, reach).await?;
    let metadata = serde_json::from_slice(&answer.body)
        .map_err(|_| CliError::failed("discovery", format!("`{url}` is not a JSON object")))?;
    Ok((url, metadata, answer.content_type))
}

fn member<'m>(metadata: &'m Map<String, Value>, name: &str) -> &'m str {
    let value = metadata.get(name).and_then(Value::as_str);
    value.unwrap_or_default()
}

async fn get(url: &Url, reach: &Reach) -> Result<http::Answer, CliError> {
    let request = reach.client(url)?.get(url.clone());
    let unreachable = format!("cannot reach `{url}`");
    let answer = http::send(request, &unreachable).await?;
    if answer.status == 200 {
        return Ok(answer);
    }
    let fault = format!(
        "`{url}` answered with status {}; expected 200 without a redirect",
        answer.status
    );
    Err(CliError::failed("discovery", fault).with_status(answer.status))
}

/// An issuer as its discovery document describes it.
pub(super) struct Discovered {
    /// The issuer's URL, byte for byte as requested and as stated.
    pub(super) name: String,
    metadata: Map<String, Value>,
    reach: Reach,
    is_https: bool,
}

impl Discovered {
    /// Fetches the document of `issuer` and checks that it names that issuer (§4.3).
    pub(super) async fn at(issuer: &str, reach: &Reach) -> Result<Self, CliError> {
        let base = http::parse_url(issuer, "`--issuer`")?;
        reach.check_transport(&base)?;
        let found = document(issuer, reach).await;
        let (_, metadata, _) = found.map_err(|error| {
            error.with_remedy(&Remedy::action(
                "check `--issuer`, and that the issuer runs",
            ))
        })?;
        let stated = member(&metadata, "issuer");
        if stated != issuer {
            let fault = format!(
                "the issuer calls itself `{}`, not `{}`: both must match byte for byte",
                stated.escape_debug(),
                issuer.escape_debug()
            );
            let remedy = Remedy::action(format!("--issuer {}", shell_word(stated)));
            return Err(CliError::failed("discovery", fault).with_remedy(&remedy));
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
            CliError::failed("discovery", format!("the issuer's `{member}` {problem}"))
        };
        let text = self.metadata.get(member).and_then(Value::as_str);
        let text = text.ok_or_else(|| failed("is missing"))?;
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
        &format!("cannot reach the key set `{url}`"),
    )
    .await?;
    if !answer.is_success() {
        return Err(CliError::failed(
            "jwks",
            format!("`{url}` answered with status {}", answer.status),
        ));
    }
    PublicJwkSet::parse_published(&answer.body).map_err(|problem| {
        CliError::failed("jwks", format!("the key set `{url}` is invalid: {problem}"))
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
                "not valid: the issuer does not publish a key for `{}` with the token's `kid` (`{kid}`): the key was withdrawn, or the token is from another issuer",
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
