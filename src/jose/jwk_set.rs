//! Sets of public keys (RFC 7517 §5): those an agent's owner registers, where every key must be right,
//! and those a third party publishes, which also hold keys that are not for us.

use serde_json::{Map, Value};

use super::json;
use super::jwk::PublicJwk;
use super::jwk_error::JwkError;

/// The most keys of one registered set: an agent holds one or two while it rotates.
pub const MAX_KEYS: usize = 16;
/// The most entries of a published set that are looked at: the large issuers publish 4 to 12.
pub const MAX_PUBLISHED_KEYS: usize = 64;
/// The longest key set that is looked at, as far as it comes over the network.
pub const MAX_KEY_SET_BYTES: usize = 64 * 1024;

/// At least one public key, no two under the same `kid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicJwkSet {
    keys: Vec<PublicJwk>,
}

impl PublicJwkSet {
    /// Parses a set that is registered: every entry must be a key that [`PublicJwk::parse`] takes.
    ///
    /// # Errors
    /// When one is not, two have the same `kid`, or there is none or more than [`MAX_KEYS`].
    pub fn parse(json: &[u8]) -> Result<Self, JwkError> {
        let entries = entries(json, MAX_KEYS)?;
        let keys = entries
            .iter()
            .map(PublicJwk::from_value)
            .collect::<Result<_, _>>()?;
        Self::of(keys)
    }

    /// Parses a set that a third party publishes. Entries that are not signature keys of a kind and
    /// algorithm we know are left out (RFC 7517 §5), and certificates beside a key are not looked at
    /// (several large issuers publish both). Secrets in a published set say that something is very
    /// wrong with it, so that they refuse the whole.
    ///
    /// # Errors
    /// When the set has a private or symmetric key, a key that is weak or malformed, equal `kid`s, more
    /// than [`MAX_PUBLISHED_KEYS`] entries, or no usable key.
    pub fn parse_published(json: &[u8]) -> Result<Self, JwkError> {
        Self::usable(entries(json, MAX_PUBLISHED_KEYS)?)
    }

    /// Parses the bundle of a SPIFFE trust domain: the keys whose `use` is `jwt-svid` (SPIFFE Trust Domain
    /// and Bundle §4.2.2, §4.2.3); those for certificates are left out.
    ///
    /// # Errors
    /// As [`PublicJwkSet::parse_published`].
    pub fn parse_spiffe_bundle(json: &[u8]) -> Result<Self, JwkError> {
        let mut keys = entries(json, MAX_PUBLISHED_KEYS)?;
        keys.retain(|key| key.get("use").is_some_and(|usage| usage == "jwt-svid"));
        for key in &mut keys {
            key["use"] = "sig".into();
        }
        Self::usable(keys)
    }

    fn usable(entries: Vec<Value>) -> Result<Self, JwkError> {
        let mut keys = Vec::new();
        for entry in entries {
            match PublicJwk::from_value(&without_certificates(entry)) {
                Ok(key) => keys.push(key),
                Err(
                    JwkError::KeyType
                    | JwkError::Curve
                    | JwkError::Algorithm
                    | JwkError::Use
                    | JwkError::KeyOps,
                ) => {}
                Err(error) => return Err(error),
            }
        }
        Self::of(keys)
    }

    /// A set of `keys`.
    ///
    /// # Errors
    /// When there is none, or two have the same `kid`.
    pub fn of(keys: Vec<PublicJwk>) -> Result<Self, JwkError> {
        if keys.is_empty() {
            return Err(JwkError::SetEmpty);
        }
        for (index, key) in keys.iter().enumerate() {
            let earlier = &keys[..index];
            if key.kid().is_some() && earlier.iter().any(|other| other.kid() == key.kid()) {
                return Err(JwkError::DuplicateKeyId);
            }
        }
        Ok(Self { keys })
    }

    /// The keys, in the order of the set.
    #[must_use]
    pub fn keys(&self) -> &[PublicJwk] {
        &self.keys
    }

    /// The keys by themselves.
    #[must_use]
    pub fn into_keys(self) -> Vec<PublicJwk> {
        self.keys
    }
}

pub(super) fn entries(json: &[u8], limit: usize) -> Result<Vec<Value>, JwkError> {
    if json.len() > MAX_KEY_SET_BYTES {
        return Err(JwkError::TooLarge);
    }
    let mut set = json::parse_object(json)?;
    let entries = match set.remove("keys") {
        Some(Value::Array(entries)) => entries,
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_),
        ) => {
            return Err(JwkError::WrongType("keys", "an array of keys"));
        }
        None => return Err(JwkError::Missing("keys")),
    };
    if entries.len() > limit {
        return Err(JwkError::SetTooLarge(limit));
    }
    Ok(entries)
}

pub(super) fn without_certificates(entry: Value) -> Value {
    match entry {
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .filter(|(name, _)| name != "x5c" && name != "x5u")
                .collect::<Map<_, _>>(),
        ),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)) => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn p256(kid: &str) -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "kid": kid,
            "x": "sxqoQsWxA9a6lqnF_CuvUpfbKkB0nOYG7CMCaEkckak",
            "y": "YIxCXDBr3SrAsFUqJGkvwZw8Hz0uiBB63gHMU4GY2Fo",
        })
    }

    fn with(mut key: Value, name: &str, value: Value) -> Value {
        key[name] = value;
        key
    }

    fn without(mut key: Value, name: &str) -> Value {
        key.as_object_mut().unwrap().remove(name);
        key
    }

    fn set(keys: &[Value]) -> Vec<u8> {
        json!({ "keys": keys }).to_string().into_bytes()
    }

    #[test]
    fn sets_that_are_empty_too_large_or_ambiguous_are_refused() {
        let thousand: Vec<Value> = (0..200).map(|index| p256(&index.to_string())).collect();
        let seventeen = &thousand[..=MAX_KEYS];
        let oct = json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"});
        for (json, expected) in [
            (b"{}".to_vec(), JwkError::Missing("keys")),
            (
                b"{\"keys\":{}}".to_vec(),
                JwkError::WrongType("keys", "an array of keys"),
            ),
            (
                b"{\"keys\":[],\"keys\":[]}".to_vec(),
                JwkError::Json(json::JsonError::DuplicateMember),
            ),
            (set(&[]), JwkError::SetEmpty),
            (
                set(&[p256("a"), p256("b"), p256("a")]),
                JwkError::DuplicateKeyId,
            ),
            (set(seventeen), JwkError::SetTooLarge(MAX_KEYS)),
            (set(&thousand), JwkError::SetTooLarge(MAX_KEYS)),
            (set(&[p256("a"), oct.clone()]), JwkError::Symmetric),
            (
                set(&[p256("a"), with(p256("b"), "d", "AA".into())]),
                JwkError::Private("d"),
            ),
            (
                set(&[json!("x")]),
                JwkError::Json(json::JsonError::NotAnObject),
            ),
            (vec![b' '; MAX_KEY_SET_BYTES + 1], JwkError::TooLarge),
        ] {
            assert_eq!(PublicJwkSet::parse(&json).err(), Some(expected));
        }
        assert_eq!(
            PublicJwkSet::parse_published(&set(&thousand)).err(),
            Some(JwkError::SetTooLarge(MAX_PUBLISHED_KEYS))
        );
        assert_eq!(
            PublicJwkSet::parse_published(&set(&[p256("a"), oct])).err(),
            Some(JwkError::Symmetric)
        );
    }

    #[test]
    fn keys_without_a_kid_may_stand_side_by_side() {
        let nameless = without(p256("a"), "kid");
        let set = PublicJwkSet::parse(&set(&[nameless.clone(), nameless, p256("a")])).unwrap();
        assert_eq!(set.keys().len(), 3);
    }

    #[test]
    fn a_published_set_gives_only_the_keys_we_can_use() {
        let published = set(&[
            with(p256("encryption"), "use", "enc".into()),
            with(p256("newer"), "alg", "ES999".into()),
            with(p256("certified"), "x5c", json!(["MIIB"])),
            json!({"kty": "AKP", "kid": "post-quantum", "alg": "ML-DSA-44", "pub": "AA"}),
            json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
            json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
            p256("plain"),
        ]);
        let keys = PublicJwkSet::parse_published(&published)
            .unwrap()
            .into_keys();
        let kids: Vec<_> = keys.iter().map(PublicJwk::kid).collect();
        assert_eq!(kids, [Some("certified"), Some("plain")]);
        assert_eq!(PublicJwkSet::parse(&published).err(), Some(JwkError::Use));
        let unusable = set(&[with(p256("encryption"), "use", "enc".into())]);
        assert_eq!(
            PublicJwkSet::parse_published(&unusable).err(),
            Some(JwkError::SetEmpty)
        );
    }

    #[test]
    fn a_spiffe_bundle_gives_only_its_keys_for_jwt_svids() {
        let bundle = set(&[
            with(
                with(p256("tls"), "use", "x509-svid".into()),
                "x5c",
                json!(["MIIB"]),
            ),
            with(p256("a"), "use", "jwt-svid".into()),
            p256("b"),
            with(p256("c"), "use", "sig".into()),
        ]);
        let keys = PublicJwkSet::parse_spiffe_bundle(&bundle)
            .unwrap()
            .into_keys();
        let kids: Vec<_> = keys.iter().map(PublicJwk::kid).collect();
        assert_eq!(kids, [Some("a")]);
        assert_eq!(
            PublicJwkSet::parse_spiffe_bundle(&set(&[p256("b")])).err(),
            Some(JwkError::SetEmpty)
        );
    }
}
