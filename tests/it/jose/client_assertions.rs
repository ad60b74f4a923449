//! The part of `client_assertions.json` that can be decided without knowing the issuer and the client:
//! parsing, choice of key, signature, types of claims, times.

use firman::domain::settings::SKEW_SECONDS;
use firman::jose::{Claims, PublicJwkSet, UnverifiedJws};
use firman::ports::time::UnixTime;
use serde_json::Value;

const FILE: &str = include_str!("../../vectors/client_assertions.json");

/// Refused only by those who know whom they expect: every other refusal must come from `jose`.
const LEFT_TO_THE_ISSUER: [&str; 8] = [
    "exp-2days",
    "iss-missing",
    "sub-missing",
    "aud-token-endpoint",
    "aud-slash",
    "aud-missing",
    "jti-missing",
    "typ-at-jwt",
];

/// The reason, by vector, for those whose reason matters: a vector refused by accident proves nothing.
const REASONS: [(&str, &str); 22] = [
    ("exp-61s-ago", "the token has expired (`exp`)"),
    ("exp-missing", "`exp` is missing"),
    ("exp-string", "`exp` must be a JSON number"),
    ("exp-1e400", "the payload is not valid JSON"),
    ("nbf+61", "the token is not valid yet (`nbf`)"),
    ("iat-string", "`iat` must be a JSON number"),
    ("iss-array", "`iss` must be a string"),
    ("sub-number", "`sub` must be a string"),
    ("aud-empty-array", "`aud` must be a string"),
    ("jti-number", "`jti` must be a string"),
    ("alg-none", "the header member `alg`"),
    ("hs256-rsa-pem", "the header member `alg`"),
    ("rs256-under-ps256-key", "no key answers"),
    ("es256-zero", "the signature is not valid"),
    ("es256-der", "the signature is not valid"),
    ("jwk-header", "the header member `jwk`"),
    ("unknown-kid", "no key answers"),
    ("crit-unknown", "the header member `crit`"),
    ("dup-aud", "the payload has a member twice"),
    ("payload-array", "the payload is not a JSON object"),
    ("two-parts", "the token is not a compact JWS"),
    ("padding", "the signature of the token is not base64url"),
];

#[test]
fn every_assertion_that_jose_can_refuse_is_refused_for_its_own_fault() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let keys = PublicJwkSet::parse(file["client_jwks"].to_string().as_bytes()).unwrap();
    let now = UnixTime(file["now"].as_i64().unwrap());
    let (mut accepted, mut left_to_the_issuer, mut refused) = (0, 0, 0);
    for vector in file["vectors"].as_array().unwrap() {
        let id = vector["id"].as_str().unwrap();
        let outcome = check(vector["assertion"].as_str().unwrap(), &keys, now);
        if vector["expect"] == "accept" {
            assert_eq!(outcome, Ok(()), "{id}");
            accepted += 1;
        } else if LEFT_TO_THE_ISSUER.contains(&id) {
            assert_eq!(outcome, Ok(()), "{id}");
            left_to_the_issuer += 1;
        } else {
            let (_, reason) = REASONS
                .iter()
                .find(|(known, _)| *known == id)
                .unwrap_or_else(|| panic!("no reason stated for {id}"));
            let error = outcome.expect_err(id);
            assert!(error.starts_with(reason), "{id}: {error}");
            refused += 1;
        }
    }
    assert_eq!((accepted, left_to_the_issuer, refused), (4, 8, 22));
}

fn check(assertion: &str, keys: &PublicJwkSet, now: UnixTime) -> Result<(), String> {
    let jws = UnverifiedJws::parse(assertion, 8 * 1024).map_err(|error| error.to_string())?;
    let key = keys
        .keys()
        .iter()
        .find(|key| jws.may_be_signed_by(key))
        .ok_or("no key answers to this kid and algorithm")?;
    let verified = jws.verify(key).map_err(|error| error.to_string())?;
    let claims = Claims::parse(&verified).map_err(|error| error.to_string())?;
    claims
        .check_times(now, SKEW_SECONDS)
        .map(|_| ())
        .map_err(|error| error.to_string())
}
