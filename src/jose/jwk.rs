//! Public signature keys as JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037 §2), validated once and parsed once.
//! A key that cannot be trusted to verify signatures, or should never have been sent, is refused with a hint;
//! no part of a refused key is kept or repeated.

use std::fmt;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
};
use serde_json::{Map, Value};

use super::algorithm::{KeyType, SigningAlgorithm};
use super::digest::{base64url, sha256};
use super::json::{self, JsonError};
use super::jwk_error::{JwkError, MAX_KEY_BYTES};
use super::jwk_members::{KeyMeta, is_valid_key_id, number, public_kty, required_string};
use super::weakness::{check_rsa_numbers, is_small_order};

/// Certificates would need their own trust decision, and `x5u` would have to be fetched (RFC 8725 §3.10).
const CERTIFICATE_MEMBERS: [&str; 2] = ["x5c", "x5u"];

/// The numbers of a public key, in the spelling of RFC 7518 §6, which is canonical.
#[derive(Clone)]
enum Numbers {
    Ec {
        crv: &'static str,
        x: String,
        y: String,
    },
    Rsa {
        n: String,
        e: String,
    },
    Okp {
        x: String,
    },
}

/// A public key that may verify signatures: validated, and parsed by aws-lc-rs for each algorithm that it may
/// be used with. Verifying is cheap and thread-safe.
#[derive(Clone)]
pub struct PublicJwk {
    key_type: KeyType,
    numbers: Numbers,
    kid: Option<String>,
    stated_algorithm: Option<SigningAlgorithm>,
    thumbprint: String,
    verifiers: Vec<(SigningAlgorithm, ParsedPublicKey)>,
}

/// The JWK itself, or the one key of a JWK Set (RFC 7517 §5).
pub(super) fn sole_key(members: &Map<String, Value>) -> Result<&Map<String, Value>, JwkError> {
    let Some(Value::Array(keys)) = members.get("keys").filter(|_| !members.contains_key("kty"))
    else {
        return Ok(members);
    };
    match keys.as_slice() {
        [Value::Object(key)] => Ok(key),
        _ => Err(JwkError::SetOf(keys.len())),
    }
}

impl PublicJwk {
    /// Parses a JWK from JSON text.
    ///
    /// # Errors
    /// Every reason in [`JwkError`] that concerns one key.
    pub fn parse(json: &[u8]) -> Result<Self, JwkError> {
        if json.len() > MAX_KEY_BYTES {
            return Err(JwkError::TooLarge);
        }
        let members = json::parse_object(json)?;
        Self::from_members(sole_key(&members)?)
    }

    /// Validates a JWK that is parsed JSON, such as a member of a larger document.
    ///
    /// # Errors
    /// As [`PublicJwk::parse`].
    pub fn from_value(value: &Value) -> Result<Self, JwkError> {
        let members = value
            .as_object()
            .ok_or(JwkError::Json(JsonError::NotAnObject))?;
        Self::from_members(members)
    }

    pub(super) fn from_members(members: &Map<String, Value>) -> Result<Self, JwkError> {
        let kty = public_kty(members)?;
        if let Some(member) = CERTIFICATE_MEMBERS
            .into_iter()
            .find(|&member| members.contains_key(member))
        {
            return Err(JwkError::Certificate(member));
        }
        let meta = KeyMeta::of(members)?;
        match kty {
            "EC" => {
                let key_type = match required_string(members, "crv")? {
                    "P-256" => KeyType::P256,
                    "P-384" => KeyType::P384,
                    _ => return Err(JwkError::Curve),
                };
                let (x, y) = (number(members, "x")?, number(members, "y")?);
                Self::from_ec(key_type, &x, &y, meta)
            }
            "RSA" => Self::from_rsa(&number(members, "n")?, &number(members, "e")?, meta),
            "OKP" => match required_string(members, "crv")? {
                "Ed25519" => Self::from_ed25519(&number(members, "x")?, meta),
                _ => Err(JwkError::Curve),
            },
            _ => Err(JwkError::KeyType),
        }
    }

    pub(super) fn from_ec(
        key_type: KeyType,
        x: &[u8],
        y: &[u8],
        meta: KeyMeta,
    ) -> Result<Self, JwkError> {
        let (crv, length) = match key_type {
            KeyType::P256 => ("P-256", 32),
            KeyType::P384 => ("P-384", 48),
            KeyType::Rsa | KeyType::Ed25519 => return Err(JwkError::Curve),
        };
        for (name, coordinate) in [("x", x), ("y", y)] {
            if coordinate.len() != length {
                return Err(JwkError::CoordinateLength(name, length));
            }
        }
        // SEC 1 §2.3.3, uncompressed.
        let point = [&[4], x, y].concat();
        let numbers = Numbers::Ec {
            crv,
            x: base64url(x),
            y: base64url(y),
        };
        Self::assemble(key_type, numbers, meta, |algorithm| {
            let verification = match algorithm {
                SigningAlgorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
                SigningAlgorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
                SigningAlgorithm::Rs256 | SigningAlgorithm::Ps256 | SigningAlgorithm::EdDsa => {
                    return Err(JwkError::AlgorithmMismatch(algorithm, key_type));
                }
            };
            ParsedPublicKey::new(verification, &point).map_err(|_| JwkError::NotOnCurve)
        })
    }

    pub(super) fn from_rsa(n: &[u8], e: &[u8], meta: KeyMeta) -> Result<Self, JwkError> {
        check_rsa_numbers(n, e)?;
        let numbers = Numbers::Rsa {
            n: base64url(n),
            e: base64url(e),
        };
        let components = PublicKeyComponents { n, e };
        Self::assemble(KeyType::Rsa, numbers, meta, |algorithm| {
            let verification = match algorithm {
                SigningAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
                SigningAlgorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                SigningAlgorithm::Es256 | SigningAlgorithm::Es384 | SigningAlgorithm::EdDsa => {
                    return Err(JwkError::AlgorithmMismatch(algorithm, KeyType::Rsa));
                }
            };
            components
                .to_parsed_public_key(verification)
                .map_err(|_| JwkError::RsaRejected)
        })
    }

    pub(super) fn from_ed25519(x: &[u8], meta: KeyMeta) -> Result<Self, JwkError> {
        let point: [u8; 32] = x
            .try_into()
            .map_err(|_| JwkError::CoordinateLength("x", 32))?;
        if is_small_order(point) {
            return Err(JwkError::SmallOrder);
        }
        let numbers = Numbers::Okp { x: base64url(x) };
        Self::assemble(KeyType::Ed25519, numbers, meta, |_| {
            ParsedPublicKey::new(&ED25519, point).map_err(|_| JwkError::NotOnCurve)
        })
    }

    fn assemble(
        key_type: KeyType,
        numbers: Numbers,
        meta: KeyMeta,
        parse: impl Fn(SigningAlgorithm) -> Result<ParsedPublicKey, JwkError>,
    ) -> Result<Self, JwkError> {
        if let Some(stated) = meta.algorithm
            && !key_type.algorithms().contains(&stated)
        {
            return Err(JwkError::AlgorithmMismatch(stated, key_type));
        }
        let verifiers = allowed_algorithms(key_type, meta.algorithm)
            .iter()
            .map(|&algorithm| Ok((algorithm, parse(algorithm)?)))
            .collect::<Result<_, JwkError>>()?;
        Ok(Self {
            key_type,
            thumbprint: thumbprint(&numbers),
            numbers,
            kid: meta.kid,
            stated_algorithm: meta.algorithm,
            verifiers,
        })
    }

    /// This key with the name `kid`; without one, with its thumbprint.
    pub(super) fn named(mut self, kid: Option<String>) -> Self {
        self.kid = Some(kid.unwrap_or_else(|| self.thumbprint.clone()));
        self
    }

    /// This key with the name `kid`.
    ///
    /// # Errors
    /// [`JwkError::KeyId`] when it is not 1 to [`MAX_KEY_ID_BYTES`](super::jwk_error::MAX_KEY_ID_BYTES) bytes without control characters.
    pub fn with_kid(self, kid: &str) -> Result<Self, JwkError> {
        if !is_valid_key_id(kid) {
            return Err(JwkError::KeyId);
        }
        Ok(self.named(Some(kid.to_owned())))
    }

    /// The `kid` that its owner chose, if any.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The `alg` its owner stated, if any.
    #[must_use]
    pub fn stated_algorithm(&self) -> Option<SigningAlgorithm> {
        self.stated_algorithm
    }

    /// The RFC 7638 thumbprint: SHA-256 of the required members, in base64url.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// Its kind.
    #[must_use]
    pub fn key_type(&self) -> KeyType {
        self.key_type
    }

    /// The algorithms that it may verify: its `alg` if stated, else all of its kind.
    #[must_use]
    pub fn algorithms(&self) -> &'static [SigningAlgorithm] {
        allowed_algorithms(self.key_type, self.stated_algorithm)
    }

    /// Whether a header with `kid` may mean this key: by its owner's name for it or by its thumbprint. A key
    /// without a name may be meant by any `kid`, which is only a hint (RFC 7515 §4.1.4).
    #[must_use]
    pub fn answers_to(&self, kid: &str) -> bool {
        self.kid.as_deref().is_none_or(|own| own == kid) || self.thumbprint == kid
    }

    /// Whether `signature` over `message` is by this key; false for an algorithm that it may not verify.
    pub(super) fn verifies(
        &self,
        algorithm: SigningAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.verifiers
            .iter()
            .find(|(own, _)| *own == algorithm)
            .is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }

    /// The JWK for storage, with the members that a public key needs, and `kid` and `alg` as stated.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut members = self.public_members();
        if let Some(kid) = &self.kid {
            members.insert("kid".into(), kid.as_str().into());
        }
        if let Some(algorithm) = self.stated_algorithm {
            members.insert("alg".into(), algorithm.as_str().into());
        }
        Value::Object(members)
    }

    /// The JWK as an entry of a published key set, with this `kid` and `alg` and `use: sig`.
    #[must_use]
    pub fn to_jwks_entry(&self, kid: &str, algorithm: SigningAlgorithm) -> Value {
        let mut members = self.public_members();
        members.insert("kid".into(), kid.into());
        members.insert("alg".into(), algorithm.as_str().into());
        members.insert("use".into(), "sig".into());
        Value::Object(members)
    }

    fn public_members(&self) -> Map<String, Value> {
        let pairs: &[(&str, &str)] = match &self.numbers {
            Numbers::Ec { crv, x, y } => &[("kty", "EC"), ("crv", crv), ("x", x), ("y", y)],
            Numbers::Rsa { n, e } => &[("kty", "RSA"), ("n", n), ("e", e)],
            Numbers::Okp { x } => &[("kty", "OKP"), ("crv", "Ed25519"), ("x", x)],
        };
        pairs
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.into()))
            .collect()
    }
}

impl fmt::Debug for PublicJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicJwk({}, {})", self.key_type, self.thumbprint)
    }
}

impl PartialEq for PublicJwk {
    /// The same key under the same name for the same use.
    fn eq(&self, other: &Self) -> bool {
        self.thumbprint == other.thumbprint
            && self.kid == other.kid
            && self.stated_algorithm == other.stated_algorithm
    }
}

impl Eq for PublicJwk {}

fn allowed_algorithms(
    key_type: KeyType,
    stated: Option<SigningAlgorithm>,
) -> &'static [SigningAlgorithm] {
    match stated {
        None => key_type.algorithms(),
        Some(SigningAlgorithm::Es256) => &[SigningAlgorithm::Es256],
        Some(SigningAlgorithm::Es384) => &[SigningAlgorithm::Es384],
        Some(SigningAlgorithm::Rs256) => &[SigningAlgorithm::Rs256],
        Some(SigningAlgorithm::Ps256) => &[SigningAlgorithm::Ps256],
        Some(SigningAlgorithm::EdDsa) => &[SigningAlgorithm::EdDsa],
    }
}

/// RFC 7638 §3: the required members in lexicographic order, without white space. No value needs
/// escaping: all are base64url or names of curves.
fn thumbprint(numbers: &Numbers) -> String {
    let canonical = match numbers {
        Numbers::Ec { crv, x, y } => format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#),
        Numbers::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
        Numbers::Okp { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#),
    };
    base64url(&sha256(canonical.as_bytes()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::digest::Base64Error;
    use crate::jose::digest::decode_base64url;
    use crate::jose::jwk_error::MAX_KEY_ID_BYTES;
    use crate::jose::jwk_members::PRIVATE_MEMBERS;

    /// RFC 7515 appendix A.2.
    const RSA_N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";

    /// RFC 7515 appendix A.3.
    fn p256() -> Value {
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        })
    }

    fn rsa() -> Value {
        json!({"kty": "RSA", "n": RSA_N, "e": "AQAB"})
    }

    /// RFC 8037 appendix A.2.
    fn ed25519() -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
    }

    fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
        jwk[name] = value.into();
        jwk
    }

    fn without(mut jwk: Value, name: &str) -> Value {
        jwk.as_object_mut().unwrap().remove(name);
        jwk
    }

    fn modulus(change: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut n = decode_base64url(RSA_N).unwrap();
        change(&mut n);
        with(rsa(), "n", base64url(&n))
    }

    fn assert_refused(jwk: &Value, expected: &JwkError) {
        assert_eq!(PublicJwk::from_value(jwk).as_ref(), Err(expected), "{jwk}");
        assert_eq!(
            PublicJwk::parse(jwk.to_string().as_bytes()).as_ref(),
            Err(expected),
            "{jwk}"
        );
    }

    #[test]
    fn texts_that_are_no_jwk_are_refused() {
        for (text, expected) in [
            (vec![b' '; MAX_KEY_BYTES + 1], JwkError::TooLarge),
            (b"x".to_vec(), JwkError::Json(JsonError::Syntax)),
            (b"[]".to_vec(), JwkError::Json(JsonError::NotAnObject)),
            (
                b"{\"kty\":\"EC\",\"kty\":\"EC\"}".to_vec(),
                JwkError::Json(JsonError::DuplicateMember),
            ),
            (b"{}".to_vec(), JwkError::Missing("kty")),
            (
                b"{\"kty\":1}".to_vec(),
                JwkError::WrongType("kty", "a string"),
            ),
            (b"{\"kty\":\"ec\"}".to_vec(), JwkError::KeyType),
            (b"{\"keys\":[]}".to_vec(), JwkError::SetOf(0)),
        ] {
            assert_eq!(PublicJwk::parse(&text), Err(expected));
        }
    }

    #[test]
    fn secrets_are_refused_whatever_else_is_wrong() {
        assert_refused(
            &json!({"kty": "oct", "k": "c2VjcmV0"}),
            &JwkError::Symmetric,
        );
        assert_refused(&json!({"kty": "oct"}), &JwkError::Symmetric);
        for member in PRIVATE_MEMBERS {
            for base in [p256(), rsa(), ed25519()] {
                assert_refused(
                    &with(base.clone(), member, "AA"),
                    &JwkError::Private(member),
                );
                assert_refused(&with(base, member, Value::Null), &JwkError::Private(member));
            }
        }
        let secret = with(p256(), "d", "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI");
        let error = PublicJwk::from_value(&secret).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("jpsQ"));
    }

    #[test]
    fn members_that_say_the_key_is_for_something_else_are_refused() {
        for (jwk, expected) in [
            (with(p256(), "use", "enc"), JwkError::Use),
            (with(p256(), "use", json!(["sig"])), JwkError::Use),
            (with(p256(), "use", Value::Null), JwkError::Use),
            (
                with(p256(), "key_ops", json!(["encrypt"])),
                JwkError::KeyOps,
            ),
            (with(p256(), "key_ops", json!(["sign"])), JwkError::KeyOps),
            (
                with(p256(), "key_ops", json!(["verify", "sign"])),
                JwkError::KeyOps,
            ),
            (with(p256(), "key_ops", json!([])), JwkError::KeyOps),
            (with(p256(), "key_ops", "verify"), JwkError::KeyOps),
            (with(p256(), "alg", "none"), JwkError::Algorithm),
            (with(p256(), "alg", "HS256"), JwkError::Algorithm),
            (with(p256(), "alg", "ES512"), JwkError::Algorithm),
            (
                with(p256(), "alg", 1),
                JwkError::WrongType("alg", "a string"),
            ),
            (
                with(p256(), "alg", "ES384"),
                JwkError::AlgorithmMismatch(SigningAlgorithm::Es384, KeyType::P256),
            ),
            (
                with(rsa(), "alg", "ES256"),
                JwkError::AlgorithmMismatch(SigningAlgorithm::Es256, KeyType::Rsa),
            ),
            (
                with(ed25519(), "alg", "RS256"),
                JwkError::AlgorithmMismatch(SigningAlgorithm::Rs256, KeyType::Ed25519),
            ),
            (with(p256(), "x5c", json!([])), JwkError::Certificate("x5c")),
            (
                with(p256(), "x5u", "https://a.example"),
                JwkError::Certificate("x5u"),
            ),
            (
                with(p256(), "kid", 7),
                JwkError::WrongType("kid", "a string"),
            ),
            (with(p256(), "kid", ""), JwkError::KeyId),
            (with(p256(), "kid", "a\nb"), JwkError::KeyId),
            (
                with(p256(), "kid", "k".repeat(MAX_KEY_ID_BYTES + 1)),
                JwkError::KeyId,
            ),
        ] {
            assert_refused(&jwk, &expected);
        }
    }

    #[test]
    fn elliptic_curve_numbers_that_do_not_fit_are_refused() {
        let x = p256()["x"].as_str().unwrap().to_owned();
        let y = p256()["y"].as_str().unwrap().to_owned();
        let mut off_curve = decode_base64url(&y).unwrap();
        off_curve[31] ^= 1;
        let zeros = |length: usize| base64url(&vec![0; length]);
        for (jwk, expected) in [
            (without(p256(), "crv"), JwkError::Missing("crv")),
            (without(p256(), "x"), JwkError::Missing("x")),
            (without(p256(), "y"), JwkError::Missing("y")),
            (
                with(p256(), "crv", "P-384"),
                JwkError::CoordinateLength("x", 48),
            ),
            (with(p256(), "crv", "P-521"), JwkError::Curve),
            (with(p256(), "crv", "secp256k1"), JwkError::Curve),
            (with(p256(), "crv", "Ed25519"), JwkError::Curve),
            (with(p256(), "x", 1), JwkError::WrongType("x", "a string")),
            (
                with(p256(), "x", format!("{x}=")),
                JwkError::Encoding("x", Base64Error::Character),
            ),
            (
                with(p256(), "x", zeros(31)),
                JwkError::CoordinateLength("x", 32),
            ),
            (
                with(p256(), "y", zeros(33)),
                JwkError::CoordinateLength("y", 32),
            ),
            (with(p256(), "x", ""), JwkError::CoordinateLength("x", 32)),
            (
                with(p256(), "y", base64url(&off_curve)),
                JwkError::NotOnCurve,
            ),
            (
                with(with(p256(), "x", zeros(32)), "y", zeros(32)),
                JwkError::NotOnCurve,
            ),
            (with(with(p256(), "x", y), "y", x), JwkError::NotOnCurve),
        ] {
            assert_refused(&jwk, &expected);
        }
    }

    #[test]
    fn rsa_numbers_that_are_weak_or_doubly_spelled_are_refused() {
        let large = base64url(&[&[1], vec![0xff; 1024].as_slice()].concat());
        for (jwk, expected) in [
            (without(rsa(), "n"), JwkError::Missing("n")),
            (without(rsa(), "e"), JwkError::Missing("e")),
            (with(rsa(), "n", ""), JwkError::ModulusTooShort),
            (modulus(|n| n.truncate(128)), JwkError::ModulusTooShort),
            (modulus(|n| n[0] = 0x7f), JwkError::ModulusTooShort),
            (modulus(|n| n.insert(0, 0)), JwkError::LeadingZero),
            (with(rsa(), "n", large), JwkError::ModulusTooLong),
            (
                modulus(|n| *n.last_mut().unwrap() &= 0xfe),
                JwkError::EvenModulus,
            ),
            (with(rsa(), "e", "AQ"), JwkError::Exponent),
            (with(rsa(), "e", "Aw"), JwkError::Exponent),
            (with(rsa(), "e", "AAEAAQ"), JwkError::Exponent),
            (with(rsa(), "e", "AQAA"), JwkError::Exponent),
            (with(rsa(), "e", ""), JwkError::Exponent),
            (with(rsa(), "e", RSA_N), JwkError::Exponent),
        ] {
            assert_refused(&jwk, &expected);
        }
    }

    #[test]
    fn ed25519_points_under_which_anybody_can_sign_are_refused() {
        let mut points: Vec<[u8; 32]> = Vec::new();
        for first in [0, 1] {
            let mut point = [0; 32];
            point[0] = first;
            points.push(point);
        }
        for first in [0xec, 0xed, 0xee] {
            let mut point = [0xff; 32];
            point[0] = first;
            point[31] = 0x7f;
            points.push(point);
        }
        for text in [
            "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
            "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
        ] {
            points.push(decode_base64url(text).unwrap().try_into().unwrap());
        }
        for mut point in points {
            for sign in [0, 0x80] {
                point[31] = (point[31] & 0x7f) | sign;
                assert_refused(
                    &with(ed25519(), "x", base64url(&point)),
                    &JwkError::SmallOrder,
                );
            }
        }
        assert_refused(
            &with(ed25519(), "x", base64url(&[9; 31])),
            &JwkError::CoordinateLength("x", 32),
        );
        assert_refused(&with(ed25519(), "crv", "Ed448"), &JwkError::Curve);
        assert_refused(&with(ed25519(), "crv", "X25519"), &JwkError::Curve);
    }

    #[test]
    fn a_small_order_point_would_let_anybody_sign() {
        // R the neutral point and S zero: it verifies whenever the challenge is a multiple of the order.
        let mut forged = [0; 64];
        forged[0] = 1;
        let order_8 = decode_base64url("JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU").unwrap();
        let key = ParsedPublicKey::new(&ED25519, &order_8).unwrap();
        assert!((0..=255_u8).any(|message| key.verify_sig(&[message], &forged).is_ok()));
    }

    #[test]
    fn good_keys_are_taken_and_rendered_with_their_public_members_only() {
        let stated = with(with(with(p256(), "kid", "k"), "alg", "ES256"), "use", "sig");
        let key = PublicJwk::from_value(&with(
            with(stated.clone(), "key_ops", json!(["verify"])),
            "ext",
            true,
        ))
        .unwrap();
        assert_eq!(key.to_value(), without(stated, "use"));
        assert_eq!(
            (key.kid(), key.stated_algorithm()),
            (Some("k"), Some(SigningAlgorithm::Es256))
        );
        for (jwk, key_type, algorithms) in [
            (p256(), KeyType::P256, &[SigningAlgorithm::Es256][..]),
            (
                rsa(),
                KeyType::Rsa,
                &[SigningAlgorithm::Rs256, SigningAlgorithm::Ps256],
            ),
            (
                with(rsa(), "alg", "PS256"),
                KeyType::Rsa,
                &[SigningAlgorithm::Ps256],
            ),
            (
                with(rsa(), "alg", "RS256"),
                KeyType::Rsa,
                &[SigningAlgorithm::Rs256],
            ),
            (ed25519(), KeyType::Ed25519, &[SigningAlgorithm::EdDsa]),
        ] {
            let key = PublicJwk::from_value(&jwk).unwrap();
            assert_eq!((key.key_type(), key.algorithms()), (key_type, algorithms));
            assert_eq!(key.to_value(), jwk);
            assert_eq!(
                key.to_jwks_entry("n", algorithms[0]),
                with(
                    with(with(jwk, "kid", "n"), "alg", algorithms[0].as_str()),
                    "use",
                    "sig"
                )
            );
        }
    }

    #[test]
    fn thumbprints_are_those_of_the_rfcs_and_debug_shows_nothing_else() {
        let key = PublicJwk::from_value(&with(ed25519(), "kid", "secret name")).unwrap();
        // RFC 8037 appendix A.3.
        assert_eq!(
            key.thumbprint(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
        assert_eq!(
            format!("{key:?}"),
            "PublicJwk(Ed25519, kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)"
        );
    }

    #[test]
    fn a_key_answers_to_its_name_and_its_thumbprint_and_without_a_name_to_any() {
        let named = PublicJwk::from_value(&with(p256(), "kid", "mine")).unwrap();
        let nameless = PublicJwk::from_value(&p256()).unwrap();
        assert!(named.answers_to("mine"));
        assert!(named.answers_to(named.thumbprint()));
        assert!(!named.answers_to("other"));
        assert!(nameless.answers_to("other"));
    }
}
