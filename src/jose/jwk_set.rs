//! Sets of public keys (RFC 7517 §5): those that an agent's owner registers, where every key must be valid, and
//! those that a third party publishes, where unusable keys are skipped.

use serde_json::{Map, Value, json};

use super::digest::{base64url, decode_base64url};
use super::json;
use super::jwk::PublicJwk;
use super::jwk_error::{JwkError, SkippedKey};
use super::jwk_members::PRIVATE_MEMBERS;

/// Maximum number of keys in a registered set: an agent has one or two while it rotates.
pub const MAX_KEYS: usize = 16;
/// Maximum number of entries in a published set: the large issuers publish 4 to 12.
pub const MAX_PUBLISHED_KEYS: usize = 64;
/// Maximum length of a key set from the network.
pub const MAX_KEY_SET_BYTES: usize = 64 * 1024;

/// At least one public key. In a registered set no two have the same `kid`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicJwkSet {
    keys: Vec<PublicJwk>,
    skipped: Vec<SkippedKey>,
}

impl PublicJwkSet {
    /// Parses a set that is registered: every entry must be a key that [`PublicJwk::parse`] accepts.
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

    /// Parses a set that a third party publishes. RFC 7517 §5: unusable entries are skipped, whatever the
    /// reason ([`PublicJwkSet::skipped`] names it), and the rest is used. Several keys may share a `kid`; the
    /// algorithm and the signature distinguish them. Certificates beside a key are ignored. A private or
    /// symmetric key is a leak: the whole set is refused.
    ///
    /// # Errors
    /// When the set is not a key set, has a private or symmetric key, more than [`MAX_PUBLISHED_KEYS`]
    /// entries, or no usable key.
    pub fn parse_published(json: &[u8]) -> Result<Self, JwkError> {
        let entries = published_entries(json)?;
        Self::usable(entries.into_iter().enumerate())
    }

    /// Parses the bundle of a SPIFFE trust domain: the keys whose `use` is `jwt-svid` (SPIFFE Trust Domain and
    /// Bundle §4.2.2, §4.2.3); those for certificates are skipped.
    ///
    /// # Errors
    /// As [`PublicJwkSet::parse_published`].
    pub fn parse_spiffe_bundle(json: &[u8]) -> Result<Self, JwkError> {
        let entries = published_entries(json)?.into_iter().enumerate();
        Self::usable(entries.filter_map(|(index, mut key)| {
            let usage = key.get_mut("use").filter(|usage| **usage == "jwt-svid")?;
            *usage = "sig".into();
            Some((index, key))
        }))
    }

    fn usable(entries: impl Iterator<Item = (usize, Value)>) -> Result<Self, JwkError> {
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (index, entry) in entries {
            match PublicJwk::from_value(&as_registered(&entry)) {
                // A repeated entry is one key.
                Ok(key) if keys.contains(&key) => {}
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push(SkippedKey::of(index, &entry, reason)),
            }
        }
        match (keys.is_empty(), skipped.is_empty()) {
            (true, true) => Err(JwkError::SetEmpty),
            (true, false) => Err(JwkError::NoneUsable(skipped)),
            (false, _) => Ok(Self { keys, skipped }),
        }
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
        Ok(Self {
            keys,
            skipped: Vec::new(),
        })
    }

    /// The entries of a published set that are not used.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// The usable keys as a JWK Set, in canonical spelling.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let keys: Vec<Value> = self.keys.iter().map(PublicJwk::to_value).collect();
        json!({ "keys": keys })
    }

    /// The keys, in the order of the set.
    #[must_use]
    pub fn keys(&self) -> &[PublicJwk] {
        &self.keys
    }

    /// The keys without their names.
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

/// The entries of a set that a third party publishes; none of them is secret.
pub(super) fn published_entries(json: &[u8]) -> Result<Vec<Value>, JwkError> {
    let entries = entries(json, MAX_PUBLISHED_KEYS)?;
    for members in entries.iter().filter_map(Value::as_object) {
        if members.get("kty").is_some_and(|kty| kty == "oct") {
            return Err(JwkError::Symmetric);
        }
        let secret = PRIVATE_MEMBERS
            .into_iter()
            .find(|&member| members.contains_key(member));
        if let Some(member) = secret {
            return Err(JwkError::Private(member));
        }
    }
    Ok(entries)
}

/// A published entry in the form of a registered one: members that a verifier ignores are removed, and a common
/// second spelling of the same number is rewritten.
pub(super) fn as_registered(entry: &Value) -> Value {
    let Value::Object(members) = entry else {
        return entry.clone();
    };
    let mut members: Map<String, Value> = members
        .iter()
        // Several large issuers publish certificates beside the key; firman does not use them.
        .filter(|(name, _)| *name != "x5c" && *name != "x5u")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    // RFC 7517 §4.3: further operations do not exclude `verify`.
    let may_verify = members
        .get("key_ops")
        .and_then(Value::as_array)
        .is_some_and(|operations| operations.iter().any(|operation| operation == "verify"));
    if may_verify {
        members.remove("key_ops");
    }
    // RFC 7518 §6.3.1.1 forbids the zero byte with which ASN.1 marks a number as positive; the key is the
    // same with and without it.
    let modulus = members.get("n").and_then(Value::as_str);
    if let Some(digits) = modulus.and_then(|n| decode_base64url(n).ok()) {
        let zeros = digits.iter().take_while(|&&digit| digit == 0).count();
        if zeros > 0 {
            members.insert("n".to_owned(), base64url(&digits[zeros..]).into());
        }
    }
    Value::Object(members)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::algorithm::KeyType;
    use crate::jose::json::JsonError;

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
                JwkError::Json(JsonError::DuplicateMember),
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
            (set(&[json!("x")]), JwkError::Json(JsonError::NotAnObject)),
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
            PublicJwkSet::parse_published(&unusable)
                .unwrap_err()
                .to_string(),
            "the key set does not have a usable key: key 1 (`kid` `encryption`): \
             `use` must be `sig`: an encryption key does not sign"
        );
    }

    fn rsa(kid: &str, n: &[u8], e: &str) -> Value {
        json!({"kty": "RSA", "kid": kid, "n": base64url(n), "e": e})
    }

    /// 2048 bits, odd: enough for the parser.
    fn modulus() -> Vec<u8> {
        let mut n: Vec<u8> = (0..256_u32)
            .map(|at| u8::try_from(at * 7 % 251).unwrap())
            .collect();
        n[0] = 0xc1;
        n[255] |= 1;
        n
    }

    #[test]
    fn one_odd_entry_of_a_published_set_does_not_cost_the_others() {
        let short = decode_base64url(p256("x")["x"].as_str().unwrap()).unwrap();
        let padded = format!("{}=", p256("x")["x"].as_str().unwrap());
        for (odd, reason) in [
            (rsa("weak", &[0xff; 128], "AQAB"), JwkError::ModulusTooShort),
            (rsa("cubic", &modulus(), "Aw"), JwkError::Exponent),
            (
                with(p256("padded"), "x", padded.into()),
                JwkError::Encoding("x", crate::jose::digest::Base64Error::Character),
            ),
            (
                with(p256("short"), "x", base64url(&short[..31]).into()),
                JwkError::CoordinateLength("x", 32),
            ),
            (without(p256("no kty"), "kty"), JwkError::Missing("kty")),
            (
                with(p256("x"), "kid", 7.into()),
                JwkError::WrongType("kid", "a string"),
            ),
            (with(p256("x"), "kid", "a\u{0}".into()), JwkError::KeyId),
            (json!("no object"), JwkError::Json(JsonError::NotAnObject)),
        ] {
            let (first, last) = (p256("first"), p256("last"));
            let published = set(&[first, odd.clone(), last]);
            let parsed = PublicJwkSet::parse_published(&published).expect("the others");
            let kids: Vec<_> = parsed.keys().iter().map(PublicJwk::kid).collect();
            assert_eq!(kids, [Some("first"), Some("last")], "{odd}");
            let skipped = SkippedKey::of(1, &odd, reason);
            assert_eq!(parsed.skipped(), [skipped], "{odd}");
            // The owner of an agent registers this set and can correct it.
            assert!(PublicJwkSet::parse(&published).is_err(), "{odd}");
        }
    }

    #[test]
    fn a_secret_refuses_a_published_set_whatever_else_is_wrong_with_its_entry() {
        for (entry, expected) in [
            (with(p256("b"), "d", "AA".into()), JwkError::Private("d")),
            (
                with(with(p256("b"), "d", "AA".into()), "use", "enc".into()),
                JwkError::Private("d"),
            ),
            (
                with(without(p256("b"), "kty"), "d", Value::Null),
                JwkError::Private("d"),
            ),
            (json!({"kty": 7, "k": "c2VjcmV0"}), JwkError::Private("k")),
            (json!({"kty": "oct"}), JwkError::Symmetric),
        ] {
            let published = set(&[p256("a"), entry.clone()]);
            for refused in [
                PublicJwkSet::parse_published(&published),
                PublicJwkSet::parse_spiffe_bundle(&published),
            ] {
                assert_eq!(refused.err(), Some(expected.clone()), "{entry}");
            }
        }
    }

    #[test]
    fn keys_of_a_published_set_may_share_a_kid_and_one_entry_twice_is_one_key() {
        let published = set(&[
            p256("a"),
            rsa("a", &modulus(), "AQAB"),
            p256("a"),
            with(p256("a"), "alg", "ES256".into()),
        ]);
        let parsed = PublicJwkSet::parse_published(&published).unwrap();
        let types: Vec<_> = parsed.keys().iter().map(PublicJwk::key_type).collect();
        assert_eq!(types, [KeyType::P256, KeyType::Rsa, KeyType::P256]);
        assert_eq!(parsed.skipped(), []);
    }

    #[test]
    fn second_spellings_of_a_published_key_are_the_same_key() {
        let plain = rsa("a", &modulus(), "AQAB");
        let zero = rsa("a", &[&[0], modulus().as_slice()].concat(), "AQAB");
        let parse = |key: &Value| PublicJwkSet::parse_published(&set(std::slice::from_ref(key)));
        assert_eq!(parse(&zero), parse(&plain));
        assert_eq!(
            PublicJwkSet::parse(&set(&[zero])).err(),
            Some(JwkError::LeadingZero)
        );
        let many = with(plain.clone(), "key_ops", json!(["sign", "verify"]));
        assert_eq!(parse(&many), parse(&plain));
        let other = with(plain, "key_ops", json!(["encrypt"]));
        assert!(parse(&other).is_err());
    }

    #[test]
    fn what_is_kept_of_a_published_set_reads_back_the_same() {
        let published = set(&[
            with(p256("a"), "alg", "ES256".into()),
            without(p256("b"), "kid"),
            rsa("a", &modulus(), "AQAB"),
            json!({}),
        ]);
        let parsed = PublicJwkSet::parse_published(&published).unwrap();
        let kept = parsed.to_value().to_string();
        let again = PublicJwkSet::parse_published(kept.as_bytes()).unwrap();
        assert_eq!(again.keys(), parsed.keys());
    }

    #[test]
    fn a_set_in_which_nothing_can_be_used_says_why_of_each_and_stays_short() {
        let odd: Vec<Value> = (0..MAX_PUBLISHED_KEYS)
            .map(|at| with(p256(&"\n".repeat(at + 100)), "use", "enc".into()))
            .collect();
        let said = PublicJwkSet::parse_published(&set(&odd))
            .unwrap_err()
            .to_string();
        assert!(said.ends_with("; and 56 more"), "{said}");
        assert!(said.len() < 2000 && !said.contains('\n'), "{said}");
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
