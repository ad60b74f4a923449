//! DPoP proofs (RFC 9449 §4.2): a JWS that contains its own public key and proves that its maker holds the
//! private one. The receiver decides who that is, and for which request, when and how often it accepts the
//! proof.

use serde_json::{Map, Value, json};

use super::compact::{JwsError, UnverifiedJws};
use super::jwk::PublicJwk;
use super::jwk_error::JwkError;
use super::jwt::{ClaimError, Claims};
use super::key::SigningKey;
use super::key_error::KeyError;
use crate::ports::time::UnixTime;

/// Longest proof: with an RSA key of 8192 bits, which it contains as base64url of base64url, and its signature
/// it has 4 KiB.
pub const PROOF_MAX_BYTES: usize = 8 * 1024;
/// Longest `jti` of a proof, in bytes.
pub const PROOF_JTI_MAX_BYTES: usize = 256;
/// The `typ` of a proof.
pub const PROOF_TYPE: &str = "dpop+jwt";

/// Why a text is not a proof. The texts are for its sender and do not repeat any part of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not an accepted compact JWS, or the signature is not by its key.
    #[error("{0}")]
    Jws(#[from] JwsError),
    /// Another `typ`, or none.
    #[error("the header member `typ` must be {PROOF_TYPE}")]
    Type,
    /// No key in the header.
    #[error("the header member `jwk` must hold the public key")]
    NoKey,
    /// The key is not a public key that this room accepts.
    #[error("the header member `jwk`: {0}")]
    Key(#[from] JwkError),
    /// A claim is of a wrong type.
    #[error("{0}")]
    Claims(#[from] ClaimError),
    /// A claim is missing.
    #[error("`{0}` is missing; state for which request the proof is")]
    Missing(&'static str),
    /// No `iat`.
    #[error("`iat` is required, in seconds since 1970")]
    NoTime,
    /// No `jti`, or one that is empty or too long.
    #[error("`jti` must be there, with 1 to {PROOF_JTI_MAX_BYTES} bytes, and new in each proof")]
    Number,
}

/// A proof whose signature verifies with the key that it contains. `ath` is not read: it belongs to requests
/// with an access token (RFC 9449 §4.2), which go to resource servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DpopProof {
    /// The RFC 7638 thumbprint of the key.
    pub jkt: String,
    /// `jti`.
    pub jti: String,
    /// `htm`: the method of the request.
    pub htm: String,
    /// `htu`: the URI of the request, as it was written.
    pub htu: String,
    /// `iat`.
    pub issued_at: UnixTime,
    /// `nonce`.
    pub nonce: Option<String>,
}

impl DpopProof {
    /// Reads a proof and verifies its signature with the key in its header (RFC 9449 §4.3, items 2 to 7).
    ///
    /// # Errors
    /// [`ProofError`], naming the first fault.
    pub fn verify(text: &str) -> Result<Self, ProofError> {
        let (unverified, jwk) = UnverifiedJws::parse_with_jwk(text, PROOF_MAX_BYTES)?;
        // Exactly: no other kind of JWT is a proof, nor the other way round (RFC 8725 §3.11).
        if unverified.unverified_typ() != Some(PROOF_TYPE) {
            return Err(ProofError::Type);
        }
        let key = PublicJwk::from_value(&jwk.ok_or(ProofError::NoKey)?)?;
        let verified = unverified.verify(&key)?;
        let mut claims = Claims::parse(&verified)?;
        let jti = claims
            .jwt_id
            .filter(|jti| (1..=PROOF_JTI_MAX_BYTES).contains(&jti.len()))
            .ok_or(ProofError::Number)?;
        Ok(Self {
            jkt: key.thumbprint().to_owned(),
            jti,
            htm: text_of(&mut claims.other, "htm")?.ok_or(ProofError::Missing("htm"))?,
            htu: text_of(&mut claims.other, "htu")?.ok_or(ProofError::Missing("htu"))?,
            issued_at: claims.issued_at.ok_or(ProofError::NoTime)?,
            nonce: text_of(&mut claims.other, "nonce")?,
        })
    }

    /// Makes the proof with these claims and `key`, whose thumbprint is `jkt`.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn sign(&self, key: &SigningKey) -> Result<String, KeyError> {
        let header = json!({
            "typ": PROOF_TYPE,
            "alg": key.algorithm(),
            "jwk": key.public_jwk().to_value(),
        });
        let mut claims = json!({
            "jti": self.jti,
            "htm": self.htm,
            "htu": self.htu,
            "iat": self.issued_at.0,
        });
        if let Some(nonce) = &self.nonce {
            claims["nonce"] = json!(nonce);
        }
        key.sign_parts(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }
}

/// A claim of a wrong type never counts as an absent one.
fn text_of(
    claims: &mut Map<String, Value>,
    name: &'static str,
) -> Result<Option<String>, ClaimError> {
    match claims.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => Err(ClaimError::NotAString(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::algorithm::SigningAlgorithm;
    use crate::jose::json::JsonError;

    /// RFC 9449 §4.1, figure 2; the thumbprint is in §6.1, figure 9.
    const EXAMPLE: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19.eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";

    fn key() -> SigningKey {
        SigningKey::generate(SigningAlgorithm::Es256).unwrap()
    }

    fn proof(key: &SigningKey) -> DpopProof {
        DpopProof {
            jkt: key.public_jwk().thumbprint().to_owned(),
            jti: "1".to_owned(),
            htm: "POST".to_owned(),
            htu: "https://id.example/oauth2/token".to_owned(),
            issued_at: UnixTime(1_800_000_000),
            nonce: Some("n".to_owned()),
        }
    }

    fn header(key: &SigningKey) -> Value {
        json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": key.public_jwk().to_value() })
    }

    const CLAIMS: &str = r#"{"jti":"1","htm":"POST","htu":"https://a.example","iat":1800000000}"#;

    fn refusal(key: &SigningKey, header: &Value, claims: &str) -> ProofError {
        let text = key
            .sign_parts(header.to_string().as_bytes(), claims.as_bytes())
            .unwrap();
        DpopProof::verify(&text).expect_err(claims)
    }

    #[test]
    fn a_header_that_is_not_a_proofs_is_refused() {
        let key = key();
        for (member, value, expected) in [
            ("typ", json!("JWT"), ProofError::Type),
            ("typ", json!("DPoP+jwt"), ProofError::Type),
            ("typ", json!("application/dpop+jwt"), ProofError::Type),
            ("typ", json!(""), ProofError::Type),
            ("typ", json!(null), ProofError::Jws(JwsError::Type)),
            ("alg", json!("none"), ProofError::Jws(JwsError::Algorithm)),
            ("alg", json!("HS256"), ProofError::Jws(JwsError::Algorithm)),
            ("alg", json!("ES384"), ProofError::Jws(JwsError::OtherKey)),
            ("alg", json!("RS256"), ProofError::Jws(JwsError::OtherKey)),
            (
                "crit",
                json!(["jwk"]),
                ProofError::Jws(JwsError::Member("crit")),
            ),
            (
                "b64",
                json!(false),
                ProofError::Jws(JwsError::Member("b64")),
            ),
            (
                "jwk",
                json!(null),
                ProofError::Key(JwkError::Json(JsonError::NotAnObject)),
            ),
            (
                "jwk",
                json!([]),
                ProofError::Key(JwkError::Json(JsonError::NotAnObject)),
            ),
            ("jwk", json!({}), ProofError::Key(JwkError::Missing("kty"))),
            (
                "jwk",
                json!({ "kty": "oct", "k": "AAAA" }),
                ProofError::Key(JwkError::Symmetric),
            ),
        ] {
            let mut header = header(&key);
            header[member] = value;
            assert_eq!(refusal(&key, &header, CLAIMS), expected, "{header}");
        }
        for (member, expected) in [
            ("typ", ProofError::Type),
            ("alg", ProofError::Jws(JwsError::Algorithm)),
            ("jwk", ProofError::NoKey),
        ] {
            let mut header = header(&key);
            header.as_object_mut().unwrap().remove(member);
            assert_eq!(refusal(&key, &header, CLAIMS), expected, "{header}");
        }
    }

    #[test]
    fn a_private_key_in_the_header_is_refused_by_its_member() {
        let key = key();
        for member in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
            let mut header = header(&key);
            header["jwk"][member] = json!("AAAA");
            let expected = ProofError::Key(JwkError::Private(member));
            assert_eq!(refusal(&key, &header, CLAIMS), expected);
        }
    }

    #[test]
    fn the_signature_must_be_that_of_the_key_in_the_header() {
        let (holder, thief) = (key(), key());
        let expected = ProofError::Jws(JwsError::Signature);
        assert_eq!(refusal(&thief, &header(&holder), CLAIMS), expected);
        let text = proof(&holder).sign(&holder).unwrap();
        let (signed, _) = text.rsplit_once('.').unwrap();
        for text in [format!("{signed}."), format!("{signed}.AAAA")] {
            assert_eq!(DpopProof::verify(&text), Err(expected.clone()));
        }
    }

    #[test]
    fn claims_that_are_missing_or_of_another_type_are_refused() {
        let key = key();
        let typed = |name| ProofError::Claims(ClaimError::NotAString(name));
        for (name, value, expected) in [
            ("jti", "", ProofError::Number),
            ("jti", "\"\"", ProofError::Number),
            ("jti", "7", typed("jti")),
            ("jti", "null", typed("jti")),
            ("htm", "", ProofError::Missing("htm")),
            ("htm", "7", typed("htm")),
            ("htu", "", ProofError::Missing("htu")),
            ("htu", "[\"https://a.example\"]", typed("htu")),
            ("iat", "", ProofError::NoTime),
            (
                "iat",
                "\"1800000000\"",
                ProofError::Claims(ClaimError::NotANumber("iat")),
            ),
            (
                "iat",
                "-1",
                ProofError::Claims(ClaimError::OutOfRange("iat")),
            ),
            (
                "iat",
                "-9223372036854775808",
                ProofError::Claims(ClaimError::OutOfRange("iat")),
            ),
            ("nonce", "7", typed("nonce")),
            ("nonce", "null", typed("nonce")),
        ] {
            let mut claims: Map<String, Value> = serde_json::from_str(CLAIMS).unwrap();
            claims.remove(name);
            if !value.is_empty() {
                claims.insert(name.to_owned(), serde_json::from_str(value).unwrap());
            }
            let claims = Value::Object(claims).to_string();
            assert_eq!(refusal(&key, &header(&key), &claims), expected, "{claims}");
        }
        let jti = "j".repeat(PROOF_JTI_MAX_BYTES + 1);
        let claims = CLAIMS.replace(r#""jti":"1""#, &format!(r#""jti":"{jti}""#));
        assert_eq!(refusal(&key, &header(&key), &claims), ProofError::Number);
        let twice = CLAIMS.replace('{', r#"{"htm":"GET","#);
        let expected = ProofError::Claims(ClaimError::Payload(JsonError::DuplicateMember));
        assert_eq!(refusal(&key, &header(&key), &twice), expected);
    }

    #[test]
    fn what_is_too_long_or_no_jws_is_refused() {
        let long = "x".repeat(PROOF_MAX_BYTES + 1);
        let expected = ProofError::Jws(JwsError::TooLarge(PROOF_MAX_BYTES));
        assert_eq!(DpopProof::verify(&long), Err(expected));
        let two = format!("{EXAMPLE},{EXAMPLE}");
        for text in ["", "x", "a.b", &two] {
            assert!(DpopProof::verify(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_example_of_rfc_9449_is_a_proof() {
        let expected = DpopProof {
            jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I".to_owned(),
            jti: "-BwC3ESc6acc2lTc".to_owned(),
            htm: "POST".to_owned(),
            htu: "https://server.example.com/token".to_owned(),
            issued_at: UnixTime(1_562_262_616),
            nonce: None,
        };
        assert_eq!(DpopProof::verify(EXAMPLE), Ok(expected));
    }

    #[test]
    fn a_proof_made_here_is_read_back_with_every_algorithm() {
        for algorithm in SigningAlgorithm::ALL {
            let key = SigningKey::generate(algorithm).unwrap();
            let made = proof(&key);
            assert_eq!(DpopProof::verify(&made.sign(&key).unwrap()), Ok(made));
        }
    }

    #[test]
    fn elsewhere_a_key_in_the_header_stays_refused() {
        assert_eq!(
            UnverifiedJws::parse(EXAMPLE, PROOF_MAX_BYTES).err(),
            Some(JwsError::Member("jwk"))
        );
    }
}
