//! CA-050 to CA-054: public keys that must not be registered, over the admin API, where agents get
//! theirs. A refusal holds nothing of a private key, and nothing is stored.

use firman::testing::{TestIssuer, TestKey};
use insta::assert_snapshot;
use reqwest::Method;

use super::*;

const WYCHEPROOF: &str = include_str!("../../vectors/wycheproof_json_web_key.json");

/// Tries to register each; the answers, in which no secret member may stand.
async fn refused_registrations(cases: &[(&str, Value)]) -> Answers {
    let issuer = mail_issuer().await;
    issuer.agent("mailer").role("mailer").with_secret().await;
    let mut answers = Answers::default();
    for (case, jwk) in cases {
        let answer = register(&issuer, jwk).await;
        assert_eq!(answer.status, 400, "{case}: {answer}");
        for secret in ["d", "k", "p", "q", "dp", "dq", "qi"] {
            let value = jwk.get(secret).and_then(Value::as_str).unwrap_or("\u{1}");
            assert!(!answer.text().contains(value), "{case}: {answer}");
        }
        let mut body = answer.json();
        body["request_id"] = json!("[id]");
        answers.add(case, &issuer, &body["detail"].to_string());
        assert_eq!(
            (&body["status"], &body["type"]),
            (&json!(400), &json!("urn:firman:problem:invalid"))
        );
    }
    let held = issuer.issuer().credentials("mailer").await.unwrap();
    assert_eq!(held.len(), 1, "{held:?}");
    assert_eq!(audited(&issuer, "credential.added").await.len(), 1);
    answers
}

async fn register(issuer: &TestIssuer, jwk: &Value) -> Answer {
    let body = json!({ "kind": "public_key", "jwk": jwk });
    issuer
        .admin(Method::POST, "/agents/mailer/credentials", Some(&body))
        .await
}

fn public(key: TestKey) -> Value {
    key.signing_key().public_jwk().to_value()
}

fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
    jwk[name] = value.into();
    jwk
}

#[tokio::test]
async fn ca_050_a_key_that_is_not_for_verifying_is_refused_at_registration() {
    let ec = || public(TestKey::Es256);
    let answers = refused_registrations(&[
        ("use enc", with(ec(), "use", "enc")),
        ("use of two", with(ec(), "use", json!(["sig"]))),
        (
            "key_ops without verify",
            with(ec(), "key_ops", json!(["encrypt"])),
        ),
        (
            "key_ops sign",
            with(ec(), "key_ops", json!(["sign", "verify"])),
        ),
        ("key_ops empty", with(ec(), "key_ops", json!([]))),
        ("alg of another kind", with(ec(), "alg", "RS256")),
        ("alg for encryption", with(ec(), "alg", "ECDH-ES")),
        ("alg none", with(ec(), "alg", "none")),
        ("x5u", with(ec(), "x5u", "https://evil.example")),
    ])
    .await;
    assert_snapshot!(answers, @r#"
    use enc: "jwk: `use` must be `sig`: an encryption key does not sign"
    use of two: "jwk: `use` must be `sig`: an encryption key does not sign"
    key_ops without verify: "jwk: `key_ops` must be absent or `[\"verify\"]`"
    key_ops sign: "jwk: `key_ops` must be absent or `[\"verify\"]`"
    key_ops empty: "jwk: `key_ops` must be absent or `[\"verify\"]`"
    alg of another kind: "jwk: `alg` `RS256` does not match a key of type `EC P-256`"
    alg for encryption: "jwk: `alg` must be `ES256`, `ES384`, `RS256`, `PS256` or `EdDSA`"
    alg none: "jwk: `alg` must be `ES256`, `ES384`, `RS256`, `PS256` or `EdDSA`"
    x5u: "jwk: `x5u` is not accepted: a key is trusted because it is registered, not for a certificate"
    "#);
}

#[tokio::test]
async fn ca_051_a_weak_rsa_key_is_refused_at_registration() {
    let rsa = || public(TestKey::Rs256);
    let modulus = firman::jose::digest::decode_base64url(rsa()["n"].as_str().unwrap()).unwrap();
    let n = |bytes: &[u8]| firman::jose::digest::base64url(bytes);
    let mut even = modulus.clone();
    even[255] &= 0xfe;
    let roca: Value = serde_json::from_str(WYCHEPROOF).unwrap();
    let roca = roca["testGroups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|group| group["comment"] == "jws_rsa_roca_key")
        .unwrap();
    let roca = roca["public"]
        .get("keys")
        .map_or(&roca["public"], |keys| &keys[0]);
    let answers = refused_registrations(&[
        ("1024 bits", with(rsa(), "n", n(&modulus[128..]))),
        ("2040 bits", with(rsa(), "n", n(&modulus[1..]))),
        ("e of 1", with(rsa(), "e", "AQ")),
        ("e of 3", with(rsa(), "e", "Aw")),
        ("e of 65539", with(rsa(), "e", "AQAD")),
        ("an even modulus", with(rsa(), "n", n(&even))),
        ("ROCA", roca.clone()),
        (
            "a leading zero",
            with(rsa(), "n", n(&[&[0], &modulus[..]].concat())),
        ),
        ("no modulus", with(rsa(), "n", "")),
        ("32,768 bits", with(rsa(), "n", n(&[0xff; 4096]))),
    ])
    .await;
    assert_snapshot!(answers, @r#"
    1024 bits: "jwk: the RSA modulus is shorter than 2048 bits"
    2040 bits: "jwk: the RSA modulus is shorter than 2048 bits"
    e of 1: "jwk: the RSA exponent must be 65537 (`e`: `AQAB`)"
    e of 3: "jwk: the RSA exponent must be 65537 (`e`: `AQAB`)"
    e of 65539: "jwk: the RSA exponent must be 65537 (`e`: `AQAB`)"
    an even modulus: "jwk: the RSA modulus is even"
    ROCA: "jwk: the RSA key comes from a flawed generator (ROCA, CVE-2017-15361) and can be broken"
    a leading zero: "jwk: `n` must not start with a zero byte"
    no modulus: "jwk: the RSA modulus is shorter than 2048 bits"
    32,768 bits: "jwk: the RSA modulus is longer than 8192 bits"
    "#);
}

#[tokio::test]
async fn ca_052_an_ec_key_off_its_curve_is_refused_at_registration() {
    let ec = || public(TestKey::Es256);
    let other = public(TestKey::Es256Second);
    let answers = refused_registrations(&[
        ("a point off the curve", with(ec(), "y", other["y"].clone())),
        ("P-256 numbers as P-384", with(ec(), "crv", "P-384")),
        (
            "P-384 numbers as P-256",
            with(public(TestKey::Es384), "crv", "P-256"),
        ),
        ("an unknown curve", with(ec(), "crv", "secp256k1")),
        (
            "the point at infinity",
            with(with(ec(), "x", "A".repeat(43)), "y", "A".repeat(43)),
        ),
        ("no y", with(ec(), "y", json!(null))),
        (
            "an Ed25519 point of small order",
            with(public(TestKey::EdDsa), "x", format!("AQ{}", "A".repeat(41))),
        ),
        ("X25519", with(public(TestKey::EdDsa), "crv", "X25519")),
    ])
    .await;
    assert_snapshot!(answers, @r#"
    a point off the curve: "jwk: the point is not on the curve that `crv` names"
    P-256 numbers as P-384: "jwk: `x` must be 48 bytes long for this `crv`, leading zeros included"
    P-384 numbers as P-256: "jwk: `x` must be 32 bytes long for this `crv`, leading zeros included"
    an unknown curve: "jwk: `crv` must be `P-256` or `P-384` (EC) or `Ed25519` (OKP)"
    the point at infinity: "jwk: the point is not on the curve that `crv` names"
    no y: "jwk: `y` must be a string"
    an Ed25519 point of small order: "jwk: the Ed25519 point is of small order, so that anyone can sign for it"
    X25519: "jwk: `crv` must be `P-256` or `P-384` (EC) or `Ed25519` (OKP)"
    "#);
}

#[tokio::test]
async fn ca_053_a_private_or_a_shared_key_is_refused_and_nothing_of_it_is_kept() {
    let secret = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I";
    let rsa = || with(public(TestKey::Rs256), "p", secret);
    let answers = refused_registrations(&[
        ("EC with d", with(public(TestKey::Es256), "d", secret)),
        ("OKP with d", with(public(TestKey::EdDsa), "d", secret)),
        ("RSA with d", with(rsa(), "d", secret)),
        ("RSA with p alone", rsa()),
        ("oct", json!({ "kty": "oct", "k": secret })),
        (
            "oct said to be EC",
            with(public(TestKey::Es256), "k", secret),
        ),
    ])
    .await;
    assert_snapshot!(answers, @r#"
    EC with d: "jwk: the key is a private key (member `d`) and no longer secret"
    OKP with d: "jwk: the key is a private key (member `d`) and no longer secret"
    RSA with d: "jwk: the key is a private key (member `d`) and no longer secret"
    RSA with p alone: "jwk: the key is a private key (member `p`) and no longer secret"
    oct: "jwk: `kty` `oct` is a shared secret, not a public key"
    oct said to be EC: "jwk: the key is a private key (member `k`) and no longer secret"
    "#);
}

#[tokio::test]
async fn ca_054_a_key_set_is_not_a_key_and_a_kid_or_key_is_registered_once() {
    let many: Vec<Value> = (0..100)
        .map(|n| with(public(TestKey::Es256), "kid", n.to_string()))
        .collect();
    let answers = refused_registrations(&[
        ("a set of one", json!({ "keys": [public(TestKey::Es256)] })),
        ("a set of a hundred", json!({ "keys": many })),
        ("not an object", json!([public(TestKey::Es256)])),
        ("an empty object", json!({})),
    ])
    .await;
    assert_snapshot!(answers, @r#"
    a set of one: "jwk: the JWK does not have the member `kty`"
    a set of a hundred: "jwk: the JWK does not have the member `kty`"
    not an object: "jwk: the JWK is not a JSON object"
    an empty object: "jwk: the JWK does not have the member `kty`"
    "#);

    let issuer = mail_issuer().await;
    issuer.agent("mailer").role("mailer").with_secret().await;
    let first = with(public(TestKey::Es256), "kid", "one");
    assert_eq!(register(&issuer, &first).await.status, 201);
    for again in [
        with(public(TestKey::Es256Second), "kid", "one"),
        with(public(TestKey::Es256), "kid", "two"),
        first.clone(),
    ] {
        let answer = register(&issuer, &again).await;
        assert_eq!(answer.status, 409, "{answer}");
    }
    assert_eq!(
        issuer.issuer().credentials("mailer").await.unwrap().len(),
        2
    );
}

#[tokio::test]
async fn ca_054_a_thousand_keys_are_too_many_for_one_request_and_the_seventeenth_for_one_agent() {
    let issuer = mail_issuer().await;
    issuer.agent("mailer").role("mailer").with_secret().await;
    let many: Vec<Value> = (0..1000)
        .map(|n| with(public(TestKey::Es256), "kid", n.to_string()))
        .collect();
    let answer = register(&issuer, &json!({ "keys": many })).await;
    assert!(matches!(answer.status, 400 | 413), "{answer}");
    for number in 1..16 {
        let key =
            firman::jose::SigningKey::generate(firman::jose::SigningAlgorithm::Es256).unwrap();
        assert_eq!(
            register(&issuer, &key.public_jwk().to_value()).await.status,
            201,
            "{number}"
        );
    }
    let answer = register(&issuer, &public(TestKey::Es256)).await;
    assert_eq!(answer.status, 409, "{answer}");
}
