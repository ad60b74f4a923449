//! The compact serialisation of a JWS (RFC 7515 §7.1), read strictly (RFC 8725 §3): three canonical base64url
//! parts, a header without duplicate members, nothing in it that would fetch, decompress, embed a key or change
//! what is signed. Its content is called *unverified* until its signature is verified; only
//! [`UnverifiedJws::verify`] makes a [`VerifiedJws`].

use std::fmt;

use serde_json::{Map, Value};

use super::algorithm::SigningAlgorithm;
use super::digest::{Base64Error, decode_base64url};
use super::json::{self, JsonError};
use super::jwk::PublicJwk;
use super::jwk_error::MAX_KEY_ID_BYTES;
use super::jwk_members::is_valid_key_id;

/// Header members whose presence is refused. `crit` names extensions that must be supported, and none is (RFC
/// 7515 §4.1.11); `b64` changes what is signed (RFC 7797 §7); `zip` and `enc` belong to JWE; `jwk` would let
/// the token vouch for itself (RFC 8725 §3.10). Only a DPoP proof may have one, see
/// [`UnverifiedJws::parse_with_jwk`].
///
/// Members that only point to a key or describe the content (`jku`, `x5u`, `x5c`, `x5t`, `cty`) are not read:
/// the registered key decides, and many issuers write them into every token. A nested token is refused by its
/// payload, which is not a JSON object.
const REFUSED_MEMBERS: [&str; 5] = ["crit", "b64", "zip", "enc", "jwk"];

/// Why a token is refused. The texts do not contain any part of the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Longer than the caller's limit.
    #[error("the token is longer than {0} bytes")]
    TooLarge(usize),
    /// Not three parts joined by dots.
    #[error("the token is not a compact JWS: it must have three parts joined by dots")]
    Parts,
    /// A part is not canonical base64url.
    #[error("the {0} of the token is {1}")]
    Encoding(&'static str, Base64Error),
    /// The header is not an unambiguous JSON object.
    #[error("the header of the token {0}")]
    Header(JsonError),
    /// A header member of the refused list.
    #[error("the header member `{0}` is not supported; leave it out")]
    Member(&'static str),
    /// `alg` is absent or not supported, such as `none`.
    #[error("the header member `alg` must be ES256, ES384, RS256, PS256 or EdDSA")]
    Algorithm,
    /// `kid` is not a short printable string.
    #[error(
        "the header member `kid` must be a string of 1 to {MAX_KEY_ID_BYTES} bytes without control characters"
    )]
    KeyId,
    /// `typ` is not a string.
    #[error("the header member `typ` must be a string")]
    Type,
    /// The payload is not an unambiguous JSON object.
    #[error("the payload of the token {0}")]
    Payload(JsonError),
    /// The key may not verify this algorithm, or has another `kid`.
    #[error("the token names another key or algorithm than this key's")]
    OtherKey,
    /// The signature is not by this key over this token.
    #[error("the signature is not valid")]
    Signature,
}

/// The members of the protected header that are used; others are ignored (RFC 7515 §4.2). `A` is the list of
/// accepted algorithms, by default those of firman.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwsHeader<A = SigningAlgorithm> {
    /// `alg`.
    pub algorithm: A,
    /// `kid`.
    pub kid: Option<String>,
    /// `typ`, as spelled.
    pub typ: Option<String>,
}

impl<A> JwsHeader<A> {
    fn from_members(
        mut members: Map<String, Value>,
        algorithm: fn(&str) -> Option<A>,
    ) -> Result<Self, JwsError> {
        if let Some(member) = REFUSED_MEMBERS
            .into_iter()
            .find(|&member| members.contains_key(member))
        {
            return Err(JwsError::Member(member));
        }
        let algorithm = members
            .get("alg")
            .and_then(Value::as_str)
            .and_then(algorithm)
            .ok_or(JwsError::Algorithm)?;
        let kid = match members.remove("kid") {
            None => None,
            Some(Value::String(kid)) if is_valid_key_id(&kid) => Some(kid),
            Some(_) => return Err(JwsError::KeyId),
        };
        let typ = match members.remove("typ") {
            None => None,
            Some(Value::String(typ)) => Some(typ),
            Some(_) => return Err(JwsError::Type),
        };
        Ok(Self {
            algorithm,
            kid,
            typ,
        })
    }

    /// Whether `typ` is this media type, without `application/` and case-insensitively (RFC 7515 §4.1.9).
    #[must_use]
    pub fn is_type(&self, media_type: &str) -> bool {
        self.typ.as_deref().is_some_and(|typ| {
            let prefix = "application/";
            let short = match typ.get(..prefix.len()) {
                Some(start) if start.eq_ignore_ascii_case(prefix) => &typ[prefix.len()..],
                Some(_) | None => typ,
            };
            short.eq_ignore_ascii_case(media_type)
        })
    }
}

/// A well-formed compact JWS whose signature is not verified yet. Its content may be used only to find the key
/// to verify it with.
pub struct UnverifiedJws<'t, A = SigningAlgorithm> {
    signing_input: &'t str,
    header: JwsHeader<A>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'t> UnverifiedJws<'t> {
    /// Reads `token`, of at most `max_bytes` bytes.
    ///
    /// # Errors
    /// When it is longer, is not a compact JWS in its one canonical spelling, or its header requires an
    /// unsupported feature.
    pub fn parse(token: &'t str, max_bytes: usize) -> Result<Self, JwsError> {
        Self::read(token, max_bytes, SigningAlgorithm::parse)
    }

    /// Reads a token whose header contains the key that signed it, and that header member: proves that the
    /// sender holds a key, not who the sender is. Only for DPoP proofs (RFC 9449 §4.2).
    ///
    /// # Errors
    /// As [`UnverifiedJws::parse`], except for the member `jwk`.
    pub(super) fn parse_with_jwk(
        token: &'t str,
        max_bytes: usize,
    ) -> Result<(Self, Option<Value>), JwsError> {
        let mut jwk = None;
        let jws = Self::read_less(token, max_bytes, SigningAlgorithm::parse, |members| {
            jwk = members.remove("jwk");
        })?;
        Ok((jws, jwk))
    }

    /// Whether `key` is worth trying: it may verify the claimed algorithm and has the claimed `kid`. Costs no
    /// cryptography, so that a caller with many keys can bound its attempts.
    #[must_use]
    pub fn may_be_signed_by(&self, key: &PublicJwk) -> bool {
        key.algorithms().contains(&self.header.algorithm)
            && self
                .header
                .kid
                .as_deref()
                .is_none_or(|kid| key.answers_to(kid))
    }

    /// Checks the signature with `key`.
    ///
    /// # Errors
    /// [`JwsError::OtherKey`] when the header names an algorithm that the key may not verify (RFC 8725 §3.1) or
    /// another `kid`; [`JwsError::Signature`] when the signature is not the key's. ECDSA signatures are
    /// accepted in the fixed-length form only (RFC 7518 §3.4).
    pub fn verify(&self, key: &PublicJwk) -> Result<VerifiedJws, JwsError> {
        if !self.may_be_signed_by(key) {
            return Err(JwsError::OtherKey);
        }
        self.verify_by_algorithm(key)
    }

    /// Checks the signature with `key`, whatever `kid` the header names: for a caller that knows by other means
    /// which few keys may have signed (RFC 7515 §4.1.4).
    ///
    /// # Errors
    /// As [`UnverifiedJws::verify`], except for the `kid`.
    pub fn verify_by_algorithm(&self, key: &PublicJwk) -> Result<VerifiedJws, JwsError> {
        if !key.algorithms().contains(&self.header.algorithm) {
            return Err(JwsError::OtherKey);
        }
        self.verified_if(|algorithm, message, signature| {
            key.verifies(algorithm, message, signature)
        })
    }
}

impl<'t, A: Copy> UnverifiedJws<'t, A> {
    /// Reads `token`, whose `alg` must be known to `algorithm`.
    pub(super) fn read(
        token: &'t str,
        max_bytes: usize,
        algorithm: fn(&str) -> Option<A>,
    ) -> Result<Self, JwsError> {
        Self::read_less(token, max_bytes, algorithm, |_| ())
    }

    /// Reads `token`; `take` removes from its header the members that the common rules do not check.
    fn read_less(
        token: &'t str,
        max_bytes: usize,
        algorithm: fn(&str) -> Option<A>,
        take: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<Self, JwsError> {
        if token.len() > max_bytes {
            return Err(JwsError::TooLarge(max_bytes));
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(JwsError::Parts)?;
        let (header, payload) = signing_input.split_once('.').ok_or(JwsError::Parts)?;
        if payload.contains('.') {
            return Err(JwsError::Parts);
        }
        let decode =
            |part, text| decode_base64url(text).map_err(|error| JwsError::Encoding(part, error));
        let mut members =
            json::parse_object(&decode("header", header)?).map_err(JwsError::Header)?;
        take(&mut members);
        Ok(Self {
            header: JwsHeader::from_members(members, algorithm)?,
            payload: decode("payload", payload)?,
            signature: decode("signature", signature)?,
            signing_input,
        })
    }

    /// `alg`, as claimed.
    #[must_use]
    pub fn unverified_alg(&self) -> A {
        self.header.algorithm
    }

    /// `kid`, as claimed.
    #[must_use]
    pub fn unverified_kid(&self) -> Option<&str> {
        self.header.kid.as_deref()
    }

    /// `typ`, as claimed.
    #[must_use]
    pub fn unverified_typ(&self) -> Option<&str> {
        self.header.typ.as_deref()
    }

    /// The header, as claimed.
    #[must_use]
    pub fn unverified_header(&self) -> &JwsHeader<A> {
        &self.header
    }

    /// The claims, which anyone may have written: only to look up which keys to try.
    ///
    /// # Errors
    /// When the payload is not a JSON object, or an ambiguous one.
    pub fn unverified_claims(&self) -> Result<Map<String, Value>, JwsError> {
        json::parse_object(&self.payload).map_err(JwsError::Payload)
    }

    /// The token as verified, if `is_valid` accepts algorithm, message and signature.
    pub(super) fn verified_if(
        &self,
        is_valid: impl FnOnce(A, &[u8], &[u8]) -> bool,
    ) -> Result<VerifiedJws<A>, JwsError> {
        let message = self.signing_input.as_bytes();
        if !is_valid(self.header.algorithm, message, &self.signature) {
            return Err(JwsError::Signature);
        }
        Ok(VerifiedJws {
            header: self.header.clone(),
            payload: self.payload.clone(),
        })
    }
}

impl<A: fmt::Display> fmt::Debug for UnverifiedJws<'_, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnverifiedJws({})", self.header.algorithm)
    }
}

/// A JWS whose signature was verified: the key's holder signed this header and payload. [`super::jwt::Claims`]
/// checks their content.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedJws<A = SigningAlgorithm> {
    header: JwsHeader<A>,
    payload: Vec<u8>,
}

impl<A> VerifiedJws<A> {
    /// The signed header.
    #[must_use]
    pub fn header(&self) -> &JwsHeader<A> {
        &self.header
    }

    /// The signed payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

impl<A: fmt::Display> fmt::Debug for VerifiedJws<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedJws({})", self.header.algorithm)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::jose::digest::base64url;
    use crate::jose::key::SigningKey;

    const MAX: usize = 8 * 1024;

    fn token_with_header(header: &str) -> String {
        format!("{}.e30.AA", base64url(header.as_bytes()))
    }

    fn refusal(token: &str) -> JwsError {
        UnverifiedJws::parse(token, MAX).expect_err(token)
    }

    #[test]
    fn what_is_not_three_parts_is_refused() {
        for token in [
            "",
            ".",
            "e30",
            "e30.e30",
            "e30.e30.AA.AA",
            "e30.e30.AA.AA.AA",
            "{\"payload\":\"e30\",\"signatures\":[]}",
        ] {
            assert_eq!(refusal(token), JwsError::Parts, "{token}");
        }
    }

    #[test]
    fn parts_that_are_not_canonical_base64url_are_refused() {
        let header = base64url(br#"{"alg":"ES256"}"#);
        for (token, part, fault) in [
            (
                format!("{header}=.e30.AA"),
                "header",
                Base64Error::Character,
            ),
            (
                format!("{header}.e30=.AA"),
                "payload",
                Base64Error::Character,
            ),
            (
                format!("{header}.e30.AA=="),
                "signature",
                Base64Error::Character,
            ),
            (
                format!("{header}.e30.A+"),
                "signature",
                Base64Error::Character,
            ),
            (
                format!("{header}.e30.A/"),
                "signature",
                Base64Error::Character,
            ),
            (
                format!("{header}.e30.AA\n"),
                "signature",
                Base64Error::Character,
            ),
            (
                format!(" {header}.e30.AA"),
                "header",
                Base64Error::Character,
            ),
            (
                format!("{header}.e30.AB"),
                "signature",
                Base64Error::UnusedBits,
            ),
            (
                format!("{header}.e31.AA"),
                "payload",
                Base64Error::UnusedBits,
            ),
            (format!("{header}.e30.A"), "signature", Base64Error::Length),
        ] {
            assert_eq!(refusal(&token), JwsError::Encoding(part, fault), "{token}");
        }
    }

    #[test]
    fn headers_that_ask_for_what_we_do_not_do_are_refused() {
        let long_kid = "k".repeat(MAX_KEY_ID_BYTES + 1);
        for (header, expected) in [
            ("", JwsError::Header(JsonError::Syntax)),
            ("[]", JwsError::Header(JsonError::NotAnObject)),
            (
                r#"{"alg":"ES256","alg":"ES256"}"#,
                JwsError::Header(JsonError::DuplicateMember),
            ),
            ("{}", JwsError::Algorithm),
            (r#"{"alg":null}"#, JwsError::Algorithm),
            (r#"{"alg":["ES256"]}"#, JwsError::Algorithm),
            (r#"{"alg":"none"}"#, JwsError::Algorithm),
            (r#"{"alg":"HS256"}"#, JwsError::Algorithm),
            (r#"{"alg":"ES512"}"#, JwsError::Algorithm),
            (r#"{"alg":"es256"}"#, JwsError::Algorithm),
            (
                r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#,
                JwsError::Member("enc"),
            ),
            (r#"{"alg":"ES256","crit":[]}"#, JwsError::Member("crit")),
            (
                r#"{"alg":"ES256","crit":["exp"],"exp":1}"#,
                JwsError::Member("crit"),
            ),
            (r#"{"alg":"ES256","b64":true}"#, JwsError::Member("b64")),
            (r#"{"alg":"ES256","zip":"DEF"}"#, JwsError::Member("zip")),
            (r#"{"alg":"ES256","jwk":{}}"#, JwsError::Member("jwk")),
            (r#"{"alg":"ES256","jwk":null}"#, JwsError::Member("jwk")),
            (r#"{"alg":"ES256","kid":7}"#, JwsError::KeyId),
            (r#"{"alg":"ES256","kid":null}"#, JwsError::KeyId),
            (r#"{"alg":"ES256","kid":""}"#, JwsError::KeyId),
            (r#"{"alg":"ES256","kid":"a\u0000b"}"#, JwsError::KeyId),
            (
                &format!(r#"{{"alg":"ES256","kid":"{long_kid}"}}"#),
                JwsError::KeyId,
            ),
            (r#"{"alg":"ES256","typ":1}"#, JwsError::Type),
            (r#"{"alg":"ES256","typ":null}"#, JwsError::Type),
        ] {
            assert_eq!(refusal(&token_with_header(header)), expected, "{header}");
        }
    }

    #[test]
    fn white_space_and_unknown_members_in_a_header_are_no_fault() {
        for member in [
            r#""x5t":"AA""#,
            r#""x5t#S256":7"#,
            r#""jku":"https://a.example""#,
            r#""x5u":null"#,
            r#""x5c":[]"#,
            r#""cty":"JWT""#,
        ] {
            let token = token_with_header(&format!("{{\"alg\" : \"ES256\",\n\t{member}}} "));
            let jws = UnverifiedJws::parse(&token, MAX).expect(member);
            let plain = token_with_header(r#"{"alg":"ES256"}"#);
            let plain = UnverifiedJws::parse(&plain, MAX).unwrap();
            assert_eq!(jws.unverified_header(), plain.unverified_header());
        }
    }

    #[test]
    fn the_limit_is_checked_before_anything_is_read() {
        let token = "x".repeat(33);
        assert_eq!(
            UnverifiedJws::parse(&token, 32).err(),
            Some(JwsError::TooLarge(32))
        );
        assert_eq!(
            UnverifiedJws::parse(&token, 33).err(),
            Some(JwsError::Parts)
        );
    }

    #[test]
    fn odd_key_names_are_only_names() {
        for kid in [
            "../../etc/passwd",
            "' OR 1=1 --",
            "https://a.example/k#1",
            "schlüssel",
        ] {
            let header = serde_json::json!({"alg": "ES256", "kid": kid}).to_string();
            let token = token_with_header(&header);
            let jws = UnverifiedJws::parse(&token, MAX).unwrap();
            assert_eq!(jws.unverified_kid(), Some(kid));
        }
    }

    #[test]
    fn a_payload_that_is_no_unambiguous_object_has_no_claims() {
        let header = base64url(br#"{"alg":"ES256"}"#);
        for (payload, expected) in [
            ("", JsonError::Syntax),
            ("[]", JsonError::NotAnObject),
            (r#"{"jti":"a","jti":"b"}"#, JsonError::DuplicateMember),
            (r#"{"exp":1e400}"#, JsonError::Syntax),
        ] {
            let token = format!("{header}.{}.AA", base64url(payload.as_bytes()));
            let jws = UnverifiedJws::parse(&token, MAX).unwrap();
            assert_eq!(
                jws.unverified_claims(),
                Err(JwsError::Payload(expected)),
                "{payload}"
            );
        }
    }

    #[test]
    fn types_compare_as_media_types() {
        let header = |typ: Option<&str>| JwsHeader {
            algorithm: SigningAlgorithm::Es256,
            kid: None,
            typ: typ.map(str::to_owned),
        };
        for (typ, media_type, expected) in [
            (None, "JWT", false),
            (Some(""), "JWT", false),
            (Some("JWT2"), "JWT", false),
            (Some("application/application/jwt"), "JWT", false),
            (Some("text/jwt"), "JWT", false),
            (Some("äääääääääääääää"), "JWT", false),
            (Some("JWT"), "JWT", true),
            (Some("jwt"), "JWT", true),
            (Some("Application/AT+jwt"), "at+jwt", true),
        ] {
            assert_eq!(header(typ).is_type(media_type), expected, "{typ:?}");
        }
    }

    #[test]
    fn a_key_verifies_only_what_it_signed_and_only_under_its_own_name() {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let stranger = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let other_curve = SigningKey::generate(SigningAlgorithm::Es384).unwrap();
        let token = key.sign_compact("JWT", br#"{"iss":"a"}"#).unwrap();
        let jws = UnverifiedJws::parse(&token, MAX).unwrap();
        let nameless = without_kid(stranger.public_jwk());

        assert_eq!(jws.verify(stranger.public_jwk()), Err(JwsError::OtherKey));
        assert_eq!(jws.verify(&nameless), Err(JwsError::Signature));
        assert_eq!(
            jws.verify(other_curve.public_jwk()),
            Err(JwsError::OtherKey)
        );

        let verified = jws.verify(key.public_jwk()).unwrap();
        assert_eq!(verified.payload(), br#"{"iss":"a"}"#);
        assert_eq!(
            verified.header(),
            &JwsHeader {
                algorithm: SigningAlgorithm::Es256,
                kid: Some(key.kid().to_owned()),
                typ: Some("JWT".to_owned()),
            }
        );
        assert_eq!(
            format!("{jws:?} {verified:?}"),
            "UnverifiedJws(ES256) VerifiedJws(ES256)"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>(), tail in "[A-Za-z0-9_.-]{0,60}") {
            let _ = UnverifiedJws::parse(&text, MAX);
            let _ = UnverifiedJws::parse(&tail, MAX);
            let token = token_with_header(&text);
            let _ = UnverifiedJws::parse(&token, MAX);
        }

        #[test]
        fn any_one_changed_character_spoils_a_token(at in any::<prop::sample::Index>(), replacement in any::<char>()) {
            let (token, key) = sample();
            let at = at.index(token.len());
            prop_assume!(token.as_bytes()[at] as char != replacement);
            let changed = format!("{}{replacement}{}", &token[..at], &token[at + 1..]);
            let outcome = UnverifiedJws::parse(&changed, MAX).and_then(|jws| jws.verify(key));
            prop_assert!(outcome.is_err(), "{changed}");
        }
    }

    fn without_kid(key: &PublicJwk) -> PublicJwk {
        let mut value = key.to_value();
        value.as_object_mut().unwrap().remove("kid");
        PublicJwk::from_value(&value).unwrap()
    }

    fn sample() -> (&'static str, &'static PublicJwk) {
        use std::sync::LazyLock;
        static SAMPLE: LazyLock<(String, PublicJwk)> = LazyLock::new(|| {
            let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
            let token = key
                .sign_compact("JWT", br#"{"sub":"agent:a","exp":1}"#)
                .unwrap();
            // Without a kid, so that a changed kid does not hide whether the signature was checked.
            (token, without_kid(key.public_jwk()))
        });
        (&SAMPLE.0, &SAMPLE.1)
    }

    #[test]
    fn every_other_base64url_character_at_every_place_spoils_a_token() {
        let (token, key) = sample();
        for at in 0..token.len() {
            for replacement in ['A', 'B', '_', '-', '.'] {
                if token.as_bytes()[at] as char == replacement {
                    continue;
                }
                let changed = format!("{}{replacement}{}", &token[..at], &token[at + 1..]);
                let outcome = UnverifiedJws::parse(&changed, MAX).and_then(|jws| jws.verify(key));
                assert!(outcome.is_err(), "{changed}");
            }
        }
        assert!(
            UnverifiedJws::parse(token, MAX)
                .and_then(|jws| jws.verify(key))
                .is_ok()
        );
    }
}
