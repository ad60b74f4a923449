//! What the issuer publishes: the discovery document and the key set.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use url::Url;

use super::super::ALGORITHMS;
use super::{Check, DOCUMENT_MAX_BYTES, Fetched, Status, difference, short};
use crate::jose::json::parse_object;

/// More keys than that are no rotation but an accident.
const MANY_KEYS: usize = 16;
/// Members that hold a private or symmetric key (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// A document that is fetched must be there itself.
fn answered(check: &'static str, url: &Url, answer: &Fetched) -> Option<Check> {
    if (300..400).contains(&answer.status) {
        let to = answer.location.as_deref().unwrap_or("nowhere");
        return Some(Check::fail(
            check,
            format!("{url} answers {} and redirects to {to}", answer.status),
            "Serve it at this URL itself; whether Claude follows a redirect is not documented.",
        ));
    }
    if answer.status != 200 {
        return Some(Check::fail(
            check,
            format!("{url} answers {}", answer.status),
            "It must be 200 without a login, for any client: look at the proxy and its bot filter.",
        ));
    }
    if answer.is_cut {
        return Some(Check::fail(
            check,
            format!("{url} is larger than {DOCUMENT_MAX_BYTES} bytes"),
            "An issuer's documents have a few KiB; something else is served there.",
        ));
    }
    None
}

/// The discovery document: whose it is and where its keys are.
///
/// # Errors
/// With the check that failed when there is no key set to go on with.
pub fn discovery(issuer: &str, url: &Url, answer: &Fetched) -> Result<(Check, Url), Check> {
    const NAME: &str = "discovery";
    if let Some(problem) = answered(NAME, url, answer) {
        return Err(problem);
    }
    let document = parse_object(&answer.body).map_err(|problem| {
        Check::fail(
            NAME,
            format!("{url} {problem}"),
            "Serve the issuer's own discovery document there, and nothing else.",
        )
    })?;
    let stated = document
        .get("issuer")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if let Some(difference) = difference(stated, issuer) {
        return Err(Check::fail(
            NAME,
            format!("it calls its issuer {stated:?}, not {issuer:?}: {difference}"),
            "Both must be the same, byte for byte (OpenID Connect Discovery §4.3): serve the document of this issuer, or start firman with the --issuer-url that is meant.",
        ));
    }
    let jwks_uri = document
        .get("jwks_uri")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let jwks_uri = Url::parse(jwks_uri).map_err(|_| {
        Check::fail(
            NAME,
            format!("its jwks_uri is {jwks_uri:?}, which is not a URL"),
            "Serve the issuer's own discovery document.",
        )
    })?;
    let seen = format!("200, issuer equal byte for byte, keys at {jwks_uri}");
    Ok((content_type(Check::ok(NAME, seen), answer), jwks_uri))
}

/// `check` as a warning when the answer does not say that it is JSON.
fn content_type(check: Check, answer: &Fetched) -> Check {
    let stated = answer.content_type.as_deref().unwrap_or("none");
    let essence = stated
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    if essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
    {
        return check;
    }
    Check {
        status: Status::Warn,
        seen: format!("{}; its content type is {stated}", check.seen),
        advice: Some(
            "Serve it as application/json; whether Claude takes another type is not documented."
                .to_owned(),
        ),
        ..check
    }
}

/// A published key, as far as anything can be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishedKey {
    /// `kid`.
    pub kid: String,
    /// `alg`, or the `kty` of a key without.
    pub algorithm: String,
}

/// The key set: kids, algorithms, nothing private, not too much.
///
/// # Errors
/// With the check that failed when Claude cannot use the set.
pub fn key_set(url: &Url, answer: &Fetched) -> Result<(Check, Vec<PublishedKey>), Check> {
    const NAME: &str = "jwks";
    if let Some(problem) = answered(NAME, url, answer) {
        return Err(problem);
    }
    let fail = |seen: String, advice: &str| Check::fail(NAME, seen, advice);
    let own = "Serve the issuer's own key set there.";
    let document =
        parse_object(&answer.body).map_err(|problem| fail(format!("{url} {problem}"), own))?;
    let entries: Option<Vec<&Map<String, Value>>> = document
        .get("keys")
        .and_then(Value::as_array)
        .and_then(|keys| keys.iter().map(Value::as_object).collect());
    let Some(entries) = entries else {
        return Err(fail(format!("{url} has no list of keys"), own));
    };
    if let Some(member) = entries
        .iter()
        .flat_map(|entry| {
            PRIVATE_MEMBERS
                .iter()
                .find(|member| entry.contains_key(**member))
        })
        .next()
    {
        return Err(fail(
            format!("{url} publishes private key material (the member {member:?})"),
            "Whoever has read it can sign as this issuer. Take it down and revoke that key now: firman key revoke KID --reason …",
        ));
    }
    if entries.is_empty() {
        return Err(fail(format!("{url} holds no key"), own));
    }
    let keys = published(&entries).map_err(|problem| {
        fail(
            format!("{url}: {problem}"),
            "Claude finds keys by kid alone: each needs its own.",
        )
    })?;
    let listed: Vec<String> = keys
        .iter()
        .map(|key| format!("{} {}", key.algorithm, short(&key.kid)))
        .collect();
    let seen = format!(
        "{} keys, {} bytes: {}",
        keys.len(),
        answer.body.len(),
        listed.join(", ")
    );
    let check = if keys.len() > MANY_KEYS {
        Check::warn(
            NAME,
            format!("{} keys, {} bytes", keys.len(), answer.body.len()),
            "So many keys are no rotation; how many Claude reads is not documented.",
        )
    } else if keys
        .iter()
        .all(|key| !ALGORITHMS.contains(&key.algorithm.as_str()))
    {
        return Err(fail(
            seen,
            "Claude takes none of these algorithms; sign with ES256 or RS256.",
        ));
    } else {
        Check::ok(NAME, seen)
    };
    Ok((content_type(check, answer), keys))
}

fn published(entries: &[&Map<String, Value>]) -> Result<Vec<PublishedKey>, String> {
    let mut kids = BTreeSet::new();
    let mut keys = Vec::new();
    for entry in entries {
        let text = |name: &str| entry.get(name).and_then(Value::as_str);
        let kid = text("kid")
            .filter(|kid| !kid.is_empty())
            .ok_or("a key has no kid")?;
        if !kids.insert(kid) {
            return Err(format!("two keys have the kid {}", short(kid)));
        }
        let algorithm = match (text("alg"), text("kty"), text("crv")) {
            (Some(alg), _, _) => alg,
            // RFC 7518 §3.1: the curve decides.
            (None, Some("EC"), Some("P-256")) => "ES256",
            (None, Some("EC"), Some("P-384")) => "ES384",
            (None, Some("EC"), Some("P-521")) => "ES512",
            (None, Some("RSA"), _) => "RS256",
            (None, kty, _) => kty.unwrap_or("unknown"),
        };
        keys.push(PublishedKey {
            kid: kid.to_owned(),
            algorithm: algorithm.to_owned(),
        });
    }
    Ok(keys)
}
