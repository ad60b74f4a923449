//! What the issuer publishes: the discovery document and the key set.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use url::Url;

use super::super::ALGORITHMS;
use super::{Check, DOCUMENT_MAX_BYTES, Fetched, Status, difference, short};
use crate::domain::remedy::Remedy;
use crate::jose::json::parse_object;

/// More keys than a rotation ever publishes.
const MANY_KEYS: usize = 16;
/// Members that hold a private or symmetric key (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The check that fails unless the document itself was returned.
fn answered(check: &'static str, url: &Url, answer: &Fetched) -> Option<Check> {
    if (300..400).contains(&answer.status) {
        let to = answer.location.as_deref().unwrap_or("an unknown URL");
        return Some(Check::fail(
            check,
            format!("`{url}` answers {} and redirects to `{to}`", answer.status),
            Remedy::action("serve the document at this URL itself, without a redirect"),
        ));
    }
    if answer.status != 200 {
        return Some(Check::fail(
            check,
            format!("`{url}` answers {}", answer.status),
            Remedy::action(
                "answer 200 to every client without a login; check the proxy and its bot filter",
            ),
        ));
    }
    if answer.is_cut {
        return Some(Check::fail(
            check,
            format!("`{url}` is larger than {DOCUMENT_MAX_BYTES} bytes"),
            Remedy::action("serve the issuer's own document there, which has a few KiB"),
        ));
    }
    None
}

/// The discovery document: whose it is and where its keys are.
///
/// # Errors
/// With the check that failed, when no key set is known to continue with.
pub fn discovery(issuer: &str, url: &Url, answer: &Fetched) -> Result<(Check, Url), Check> {
    const NAME: &str = "discovery";
    if let Some(problem) = answered(NAME, url, answer) {
        return Err(problem);
    }
    let document = parse_object(&answer.body).map_err(|problem| {
        Check::fail(
            NAME,
            format!("`{url}` {problem}"),
            Remedy::action("serve the issuer's own discovery document there"),
        )
    })?;
    let stated = document
        .get("issuer")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if let Some(difference) = difference(stated, issuer) {
        return Err(Check::fail(
            NAME,
            format!("its `issuer` is {stated:?}, not {issuer:?}: {difference}"),
            // OpenID Connect Discovery §4.3.
            Remedy::action(
                "serve this issuer's own discovery document, or restart with the right `--issuer-url`",
            ),
        ));
    }
    let jwks_uri = document
        .get("jwks_uri")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let jwks_uri = Url::parse(jwks_uri).map_err(|_| {
        Check::fail(
            NAME,
            format!("its `jwks_uri` `{}` is not a URL", jwks_uri.escape_debug()),
            Remedy::action("serve the issuer's own discovery document there"),
        )
    })?;
    let seen = format!("200, `issuer` matches byte for byte, keys at `{jwks_uri}`");
    Ok((content_type(Check::ok(NAME, seen), answer), jwks_uri))
}

/// `check` as a warning when the content type is not JSON.
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
        // Not documented: whether Claude accepts another type.
        hint: Some(Remedy::action("serve it as `application/json`")),
        ..check
    }
}

/// A published key.
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
    let fail = |seen: String, action: &str| Check::fail(NAME, seen, Remedy::action(action));
    let own = "serve the issuer's own key set there";
    let document =
        parse_object(&answer.body).map_err(|problem| fail(format!("`{url}` {problem}"), own))?;
    let entries: Option<Vec<&Map<String, Value>>> = document
        .get("keys")
        .and_then(Value::as_array)
        .and_then(|keys| keys.iter().map(Value::as_object).collect());
    let Some(entries) = entries else {
        return Err(fail(format!("`{url}` has no key list"), own));
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
        return Err(Check::fail(
            NAME,
            format!(
                "`{url}` publishes private key material (member `{member}`): anyone who has read it can sign as this issuer"
            ),
            Remedy::command("key revoke KID --reason compromised"),
        ));
    }
    if entries.is_empty() {
        return Err(fail(format!("`{url}` does not contain a key"), own));
    }
    let keys = published(&entries).map_err(|problem| {
        fail(
            format!("`{url}`: {problem}"),
            "give each key its own `kid`; Claude finds keys by it",
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
            // Not documented: how many Claude reads.
            Remedy::action("remove keys that no longer sign"),
        )
    } else if keys
        .iter()
        .all(|key| !ALGORITHMS.contains(&key.algorithm.as_str()))
    {
        return Err(fail(
            format!("{seen}; Claude accepts none of these algorithms"),
            "sign with ES256 or RS256",
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
            .ok_or("a key does not have a `kid`")?;
        if !kids.insert(kid) {
            return Err(format!("two keys have the `kid` {}", short(kid)));
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://id.example.com";

    fn url() -> Url {
        Url::parse("https://id.example.com/document").unwrap()
    }

    fn answer(body: &Value) -> Fetched {
        Fetched {
            status: 200,
            content_type: Some("application/json; charset=utf-8".to_owned()),
            body: body.to_string().into_bytes(),
            ..Fetched::default()
        }
    }

    fn metadata() -> Value {
        json!({"issuer": ISSUER, "jwks_uri": "https://id.example.com/oauth2/jwks"})
    }

    fn key(kid: &str) -> Value {
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": kid, "x": "AA", "y": "AA"})
    }

    #[test]
    fn a_document_that_is_not_plainly_there_fails() {
        let good = answer(&metadata());
        for (bad, seen) in [
            (
                Fetched {
                    status: 301,
                    location: Some("https://www.example.com/".to_owned()),
                    ..good.clone()
                },
                "`https://id.example.com/document` answers 301 and redirects to `https://www.example.com/`",
            ),
            (
                Fetched {
                    status: 403,
                    ..good.clone()
                },
                "`https://id.example.com/document` answers 403",
            ),
            (
                Fetched {
                    is_cut: true,
                    ..good.clone()
                },
                "`https://id.example.com/document` is larger than 65536 bytes",
            ),
            (
                Fetched {
                    body: b"<html>".to_vec(),
                    ..good.clone()
                },
                "`https://id.example.com/document` is not valid JSON",
            ),
        ] {
            let check = discovery(ISSUER, &url(), &bad).unwrap_err();
            assert_eq!((check.status, check.seen.as_str()), (Status::Fail, seen));
        }
    }

    #[test]
    fn the_issuer_must_be_equal_byte_for_byte() {
        for (stated, how) in [
            ("https://id.example.com/", "a trailing slash"),
            ("https://ID.example.com", "upper and lower case"),
            ("http://id.example.com", "the scheme"),
            ("https://id.example.com:8443", "the port"),
            ("https://id.example.com/a", "the path"),
            ("https://id.example.org", "different issuers"),
        ] {
            let mut document = metadata();
            document["issuer"] = json!(stated);
            let check = discovery(ISSUER, &url(), &answer(&document)).unwrap_err();
            assert!(check.seen.contains(how), "{}", check.seen);
        }
        let (check, jwks_uri) = discovery(ISSUER, &url(), &answer(&metadata())).unwrap();
        assert_eq!(
            (check.status, jwks_uri.path()),
            (Status::Ok, "/oauth2/jwks")
        );
    }

    #[test]
    fn another_content_type_is_a_warning() {
        let html = Fetched {
            content_type: Some("text/html".to_owned()),
            ..answer(&metadata())
        };
        let none = Fetched {
            content_type: None,
            ..answer(&metadata())
        };
        for odd in [html, none] {
            assert_eq!(
                discovery(ISSUER, &url(), &odd).unwrap().0.status,
                Status::Warn
            );
        }
    }

    #[test]
    fn a_key_set_that_claude_cannot_use_fails() {
        let with = |name: &str, value: Value| {
            let mut key = key("b");
            key[name] = value;
            json!({"keys": [self::key("a"), key]})
        };
        for (set, seen) in [
            (json!({}), "has no key list"),
            (json!({"keys": [1]}), "has no key list"),
            (json!({"keys": []}), "does not contain a key"),
            (
                with("d", json!("AA")),
                "publishes private key material (member `d`)",
            ),
            (
                with("k", json!("AA")),
                "publishes private key material (member `k`)",
            ),
            (with("kid", json!("")), "a key does not have a `kid`"),
            (with("kid", json!("a")), "two keys have the `kid` a"),
            (
                json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": "a", "x": "AA"}]}),
                "EdDSA a; Claude accepts none",
            ),
        ] {
            let check = key_set(&url(), &answer(&set)).unwrap_err();
            assert!(check.seen.contains(seen), "{}", check.seen);
        }
    }

    #[test]
    fn a_key_set_is_told_by_its_kids() {
        let set = json!({"keys": [key("a"), {"kty": "RSA", "kid": "a-very-long-key-id", "n": "AA", "e": "AQAB"}]});
        let (check, keys) = key_set(&url(), &answer(&set)).unwrap();
        assert_eq!(check.status, Status::Ok);
        assert!(
            check.seen.ends_with("ES256 a, RS256 a-very-long-…"),
            "{}",
            check.seen
        );
        assert_eq!(keys.len(), 2);
        let many: Vec<Value> = (0..17).map(|index| key(&index.to_string())).collect();
        let (check, _) = key_set(&url(), &answer(&json!({"keys": many}))).unwrap();
        assert_eq!(check.status, Status::Warn);
    }
}
