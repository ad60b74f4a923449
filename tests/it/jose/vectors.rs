//! RFC 7515, RFC 7638 and Wycheproof. Each case counts how its vectors came out and asserts the exact
//! numbers, so that a vector cannot be skipped silently.

use firman::jose::{JwkError, JwsError, PublicJwk, PublicJwkSet, UnverifiedJws};
use serde_json::Value;

const RFC_EXAMPLES: &str = include_str!("../../vectors/rfc_examples.json");
const SIGNATURE: &str = include_str!("../../vectors/wycheproof_json_web_signature.json");
const KEY: &str = include_str!("../../vectors/wycheproof_json_web_key.json");
const CRYPTO: &str = include_str!("../../vectors/wycheproof_json_web_crypto.json");

/// The names of the algorithms that vectors use and firman does not support.
const FOREIGN_ALGORITHMS: [&str; 8] = [
    "HS256", "HS384", "HS512", "ES512", "RS384", "RS512", "PS384", "PS512",
];

/// How the vectors of one file came out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    valid_and_accepted: usize,
    /// Valid, but of an algorithm that is not ours.
    valid_and_refused_for_its_algorithm: usize,
    invalid_and_refused: usize,
}

#[test]
fn the_examples_of_rfc_7515_come_out_as_printed() {
    let file: Value = serde_json::from_str(RFC_EXAMPLES).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for example in array(&file, "jws") {
        let key = PublicJwk::from_value(&example["jwk"]).unwrap();
        let outcome = verify(&[key], string(example, "jws"));
        match string(example, "expect") {
            "valid" => {
                outcome.unwrap_or_else(|error| panic!("{}: {error}", example["id"]));
                accepted += 1;
            }
            "invalid" => {
                outcome.expect_err(string(example, "id"));
                refused += 1;
            }
            other => panic!("unknown outcome {other}"),
        }
    }
    assert_eq!((accepted, refused), (2, 3));
}

#[test]
fn the_thumbprint_of_rfc_7638_is_the_printed_one() {
    let file: Value = serde_json::from_str(RFC_EXAMPLES).unwrap();
    let thumbprints = array(&file, "thumbprints");
    for example in thumbprints {
        let key = PublicJwk::from_value(&example["jwk"]).unwrap();
        assert_eq!(key.thumbprint(), string(example, "sha256"));
    }
    assert_eq!(thumbprints.len(), 1);
}

#[test]
fn the_wycheproof_signature_vectors_come_out_as_stated() {
    assert_eq!(
        run(SIGNATURE),
        Tally {
            valid_and_accepted: 9,
            valid_and_refused_for_its_algorithm: 14,
            invalid_and_refused: 176,
        }
    );
}

#[test]
fn the_wycheproof_key_vectors_come_out_as_stated() {
    assert_eq!(
        run(KEY),
        Tally {
            valid_and_accepted: 1,
            valid_and_refused_for_its_algorithm: 2,
            invalid_and_refused: 10,
        }
    );
}

#[test]
fn the_wycheproof_crypto_vectors_come_out_as_stated() {
    assert_eq!(
        run(CRYPTO),
        Tally {
            valid_and_accepted: 1,
            valid_and_refused_for_its_algorithm: 1,
            invalid_and_refused: 23,
        }
    );
}

#[test]
fn weak_and_misused_wycheproof_keys_are_refused_for_the_reason_they_were_made() {
    let file: Value = serde_json::from_str(KEY).unwrap();
    for (comment, expected) in [
        ("jws_rsa_roca_key", JwkError::Roca),
        ("exponentOne", JwkError::Exponent),
        ("wrong_algorithm", JwkError::Algorithm),
        ("invalid_use", JwkError::Use),
        ("wrong_curve", JwkError::CoordinateLength("x", 48)),
    ] {
        let group = array(&file, "testGroups")
            .iter()
            .find(|group| group["comment"] == comment)
            .unwrap_or_else(|| panic!("no group {comment}"));
        assert_eq!(keys(group), Err(expected), "{comment}");
    }
}

#[test]
fn a_private_wycheproof_key_is_refused_where_its_public_half_is_taken() {
    let file: Value = serde_json::from_str(SIGNATURE).unwrap();
    let mut seen = 0;
    for group in array(&file, "testGroups") {
        let (Some(public), Some(private)) = (group.get("public"), group.get("private")) else {
            continue;
        };
        if PublicJwk::from_value(public).is_ok() {
            let refused = PublicJwk::from_value(private);
            assert!(matches!(refused, Err(JwkError::Private(_))), "{refused:?}");
            seen += 1;
        }
    }
    assert!(seen > 0);
}

fn run(file: &str) -> Tally {
    let file: Value = serde_json::from_str(file).unwrap();
    let mut tally = Tally::default();
    for group in array(&file, "testGroups") {
        let keys = keys(group);
        if group.get("public").is_none() {
            // The HMAC groups: a shared secret is never taken as a key, alone or beside others.
            assert_eq!(keys, Err(JwkError::Symmetric), "{}", group["comment"]);
        }
        for test in array(group, "tests") {
            // A vector in the JSON serialisation is an object: spelled out, it is a text like others.
            let token = test["jws"]
                .as_str()
                .map_or_else(|| test["jws"].to_string(), str::to_owned);
            let keys = keys.as_deref().unwrap_or_default();
            let outcome = verify(keys, &token);
            let id = format!("{} {}", test["tcId"], test["comment"]);
            match (string(test, "result"), is_foreign(&token)) {
                ("valid", false) => {
                    outcome.unwrap_or_else(|error| panic!("{id}: {error}"));
                    tally.valid_and_accepted += 1;
                }
                ("valid", true) => {
                    assert_eq!(outcome, Err(JwsError::Algorithm), "{id}");
                    tally.valid_and_refused_for_its_algorithm += 1;
                }
                ("invalid", _) => {
                    outcome.expect_err(&id);
                    tally.invalid_and_refused += 1;
                }
                (other, _) => panic!("{id}: unknown result {other}"),
            }
        }
    }
    let stated = file["numberOfTests"].as_u64().unwrap();
    let run = tally.valid_and_accepted
        + tally.valid_and_refused_for_its_algorithm
        + tally.invalid_and_refused;
    assert_eq!(u64::try_from(run).unwrap(), stated);
    tally
}

/// The group's public key or key set; that of a private one when it has no public one.
fn keys(group: &Value) -> Result<Vec<PublicJwk>, JwkError> {
    let json = group.get("public").unwrap_or(&group["private"]);
    if json.get("keys").is_some() {
        PublicJwkSet::parse(json.to_string().as_bytes()).map(PublicJwkSet::into_keys)
    } else {
        PublicJwk::from_value(json).map(|key| vec![key])
    }
}

fn verify(keys: &[PublicJwk], token: &str) -> Result<(), JwsError> {
    let jws = UnverifiedJws::parse(token, 16 * 1024)?;
    let mut outcome = Err(JwsError::OtherKey);
    for key in keys {
        outcome = jws.verify(key).map(|_| ());
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Whether the header, read without any care, names an algorithm that firman does not support.
fn is_foreign(token: &str) -> bool {
    let header = token.split('.').next().unwrap_or_default();
    let header = firman::jose::digest::decode_base64url(header).unwrap_or_default();
    serde_json::from_slice::<Value>(&header)
        .ok()
        .and_then(|header| header["alg"].as_str().map(str::to_owned))
        .is_some_and(|alg| FOREIGN_ALGORITHMS.contains(&alg.as_str()))
}

fn array<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name]
        .as_array()
        .unwrap_or_else(|| panic!("{name} is not an array"))
}

fn string<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("{name} is not a string"))
}
