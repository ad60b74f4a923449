//! CA-024 to CA-045, CA-062: the signature of a client assertion, its header and its spelling. A client that
//! fails here has proven nothing and learns nothing.

use aws_lc_rs::hmac;
use firman::api::credential::NewCredential;
use firman::issuer::Caller;
use firman::jose::digest::{base64url, decode_base64url};
use firman::jose::{SigningAlgorithm, SigningKey};
use firman::testing::{START, TestAgent, TestIssuer, TestKey};
use insta::assert_snapshot;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _};

use super::client_assertion::{mailer, refusals};
use super::*;
use crate::federated::StandIn;

/// That each of these is refused with the one answer that says nothing.
async fn assert_all_refused(issuer: &TestIssuer, agent: &TestAgent, cases: &[(&str, String)]) {
    let answers = refusals(issuer, agent, cases).await.to_string();
    for line in answers.lines() {
        assert!(line.ends_with(REFUSED), "{line}");
    }
    assert_eq!(answers.lines().count(), cases.len());
}

fn parts(compact: &str) -> (String, String, String) {
    let mut parts = compact.split('.').map(str::to_owned);
    let mut next = || parts.next().unwrap();
    (next(), next(), next())
}

#[tokio::test]
async fn ca_024_an_unsigned_assertion_is_refused() {
    let (issuer, agent) = mailer().await;
    let (header, claims, signature) = parts(&agent.assertion().build());
    let unsigned = |alg: &str| base64url(format!(r#"{{"alg":"{alg}"}}"#).as_bytes());
    let cases = [
        (
            "alg none, no signature",
            format!("{}.{claims}.", unsigned("none")),
        ),
        ("alg None", format!("{}.{claims}.", unsigned("None"))),
        (
            "alg NONE with a signature",
            format!("{}.{claims}.{signature}", unsigned("NONE")),
        ),
        (
            "alg Ed448",
            agent.assertion().header("alg", "Ed448").build(),
        ),
        ("alg empty", format!("{}.{claims}.", unsigned(""))),
        ("no alg", agent.assertion().without_header("alg").build()),
        (
            "alg null",
            agent.assertion().header("alg", json!(null)).build(),
        ),
        ("alg a number", agent.assertion().header("alg", 7).build()),
        ("no signature", format!("{header}.{claims}.")),
    ];
    assert_all_refused(&issuer, &agent, &cases).await;
}

#[tokio::test]
async fn ca_025_a_mac_keyed_with_the_public_key_is_refused() {
    let issuer = mail_issuer().await;
    let agent = issuer
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Rs256)
        .await;
    let private = TestKey::Rs256.signing_key().to_pkcs8_pem().unwrap();
    let public = rsa::RsaPrivateKey::from_pkcs8_pem(&private)
        .unwrap()
        .to_public_key();
    let pem = public
        .to_public_key_pem(rsa::pkcs8::LineEnding::LF)
        .unwrap();
    let jwk = TestKey::Rs256.signing_key().public_jwk().to_value();
    let der = public.to_public_key_der().unwrap();
    let modulus = decode_base64url(jwk["n"].as_str().unwrap()).unwrap();
    let forge = |alg: &str, algorithm: hmac::Algorithm, key: &[u8]| {
        let header = json!({ "alg": alg, "kid": TestKey::Rs256.signing_key().kid() });
        let claims = agent.assertion().claims_text();
        let signed = format!(
            "{}.{}",
            base64url(header.to_string().as_bytes()),
            base64url(claims.as_bytes())
        );
        let tag = hmac::sign(&hmac::Key::new(algorithm, key), signed.as_bytes());
        format!("{signed}.{}", base64url(tag.as_ref()))
    };
    let cases = [
        ("PEM", forge("HS256", hmac::HMAC_SHA256, pem.as_bytes())),
        (
            "PEM, trimmed",
            forge("HS256", hmac::HMAC_SHA256, pem.trim().as_bytes()),
        ),
        ("DER", forge("HS256", hmac::HMAC_SHA256, der.as_bytes())),
        (
            "JWK",
            forge("HS256", hmac::HMAC_SHA256, jwk.to_string().as_bytes()),
        ),
        ("modulus", forge("HS512", hmac::HMAC_SHA512, &modulus)),
        (
            "under the name RS256",
            forge("RS256", hmac::HMAC_SHA256, pem.as_bytes()),
        ),
    ];
    assert_all_refused(&issuer, &agent, &cases).await;
}

#[tokio::test]
async fn ca_026_an_algorithm_the_key_was_not_registered_for_is_refused() {
    let (issuer, agent) = mailer().await;
    let foreign = |key: TestKey| {
        let signing_key = key.signing_key();
        agent
            .assertion()
            .header("alg", signing_key.algorithm().as_str())
            .without_header("kid")
            .signed_by(key)
            .build()
    };
    let cases = [
        ("RS256 for ES256", foreign(TestKey::Rs256)),
        ("PS256 for ES256", foreign(TestKey::Ps256)),
        ("ES384 for ES256", foreign(TestKey::Es384)),
        ("EdDSA for ES256", foreign(TestKey::EdDsa)),
        (
            "ES256 of another key",
            agent
                .assertion()
                .without_header("kid")
                .signed_by(TestKey::Es256Second)
                .build(),
        ),
        (
            "ES256 of another key under the right kid",
            agent.assertion().signed_by(TestKey::Es256Second).build(),
        ),
        ("ES256K", agent.assertion().header("alg", "ES256K").build()),
        ("es256", agent.assertion().header("alg", "es256").build()),
        (
            "a right ES256 signature said to be ES384",
            agent.assertion().header("alg", "ES384").build(),
        ),
    ];
    assert_all_refused(&issuer, &agent, &cases).await;

    let rsa = issuer
        .agent("rsa")
        .role("mailer")
        .with_public_key(TestKey::Rs256)
        .await;
    let ps256 = rsa
        .assertion()
        .header("alg", "PS256")
        .signed_by(TestKey::Ps256)
        .build();
    assert_eq!(refusal(&issuer.token_with(&ps256).await), REFUSED);
    let _ = issuer
        .token_with(&rsa.assertion().build())
        .await
        .assert_issued();
}

#[tokio::test]
async fn ca_027_to_031_a_signature_that_is_zero_der_cut_or_spelled_otherwise_is_refused() {
    let (issuer, agent) = mailer().await;
    let good = agent.assertion().build();
    let (header, claims, signature) = parts(&good);
    let bytes = decode_base64url(&signature).unwrap();
    let der = p256::ecdsa::Signature::from_slice(&bytes).unwrap().to_der();
    let signed = |signature: &str| format!("{header}.{claims}.{signature}");
    let mut one_bit = bytes.clone();
    one_bit[40] ^= 1;
    let other_claims = base64url(
        agent
            .assertion()
            .claim("jti", "other")
            .claims_text()
            .as_bytes(),
    );
    let other_header = base64url(format!("{} ", agent.assertion().header_text()).as_bytes());
    // The same bytes, the unused last bits set: another spelling of one assertion.
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last = alphabet.find(signature.chars().last().unwrap()).unwrap();
    let respelled = format!(
        "{}{}",
        &signature[..85],
        alphabet.chars().nth(last | 1).unwrap()
    );
    assert_ne!(respelled, signature);
    let cases = [
        ("64 zero bytes", signed(&base64url(&[0; 64]))),
        (
            "zero r",
            signed(&base64url(&[&[0; 32], &bytes[32..]].concat())),
        ),
        (
            "zero s",
            signed(&base64url(&[&bytes[..32], &[0; 32]].concat())),
        ),
        ("all ones", signed(&base64url(&[0xff; 64]))),
        ("DER", signed(&base64url(der.as_bytes()))),
        ("one bit", signed(&base64url(&one_bit))),
        ("63 bytes", signed(&base64url(&bytes[..63]))),
        ("65 bytes", signed(&base64url(&[&bytes[..], &[0]].concat()))),
        ("cut by a character", signed(&signature[..85])),
        (
            "other claims",
            format!("{header}.{other_claims}.{signature}"),
        ),
        (
            "other header",
            format!("{other_header}.{claims}.{signature}"),
        ),
        ("last character respelled", signed(&respelled)),
        ("padding", format!("{good}==")),
        ("padding inside", format!("{header}=.{claims}.{signature}")),
        (
            "the other alphabet",
            good.replace('-', "+").replace('_', "/") + "+/",
        ),
        ("a line break", format!("{header}.{claims}.\n{signature}")),
        ("a space before", format!(" {good}")),
        ("a space behind", format!("{good} ")),
    ];
    assert_all_refused(&issuer, &agent, &cases).await;
    let _ = issuer.token_with(&good).await.assert_issued();
}

#[tokio::test]
async fn ca_032_and_038_an_invalid_kid_is_refused() {
    let (issuer, agent) = mailer().await;
    let with_kid = |kid: Value| agent.assertion().header("kid", kid).build();
    let cases = [
        ("empty", with_kid(json!(""))),
        ("a number", with_kid(json!(7))),
        ("null", with_kid(json!(null))),
        ("an object", with_kid(json!({}))),
        ("NUL", with_kid(json!("\0"))),
        ("very long", with_kid(json!("k".repeat(4000)))),
    ];
    assert_all_refused(&issuer, &agent, &cases).await;
    // The key was registered without a name of its own: the signature decides.
    let unknown = |kid: &str| with_kid(json!(kid));
    for kid in ["unknown", "../../etc/passwd", "' OR '1'='1"] {
        let _ = issuer.token_with(&unknown(kid)).await.assert_issued();
    }
    let forged = agent
        .assertion()
        .header("kid", "unknown")
        .signed_by(TestKey::Es256Second)
        .build();
    assert_eq!(refusal(&issuer.token_with(&forged).await), REFUSED);
}

#[tokio::test]
async fn ca_033_and_034_without_a_kid_the_keys_of_the_algorithm_are_tried() {
    let (issuer, agent) = mailer().await;
    let _ = issuer
        .token_with(&agent.assertion().without_header("kid").build())
        .await
        .assert_issued();

    let mut keys = Vec::new();
    for _ in 0..5 {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let new = NewCredential::public_key(key.public_jwk().to_value());
        // Another second each, so that they are tried in this order.
        issuer.clock.advance(1);
        issuer
            .issuer()
            .add_credential(&Caller::system(), "mailer", new, None)
            .await
            .unwrap();
        keys.push(key);
    }
    let signed = |key: &SigningKey, with_kid: bool| {
        let header = if with_kid {
            json!({ "alg": "ES256", "kid": key.kid() })
        } else {
            json!({ "alg": "ES256" })
        };
        key.sign_parts(
            header.to_string().as_bytes(),
            agent.assertion().claims_text().as_bytes(),
        )
        .unwrap()
    };
    let mut statuses = Vec::new();
    for key in &keys {
        let (named, unnamed) = (signed(key, true), signed(key, false));
        let unnamed = issuer.token_with(&unnamed).await;
        statuses.push((unnamed.status, issuer.token_with(&named).await.status));
    }
    assert_eq!(statuses, [(200, 200); 5]);
}

#[tokio::test]
async fn ca_036_and_037_a_header_that_points_to_a_key_is_neither_followed_nor_believed() {
    let (issuer, agent) = mailer().await;
    let elsewhere = StandIn::start().await;
    let attacker = TestKey::Es256Second;
    // What an issuer that followed them would find there.
    elsewhere.publishes(&[attacker]);
    let address = format!("{}/jwks", elsewhere.url);
    let pointers = [
        ("jku", json!(address)),
        ("x5u", json!(address)),
        ("x5c", json!(["MIIB"])),
        ("x5t", json!("AA")),
        ("x5t#S256", json!("AA")),
        ("cty", json!("JWT")),
    ];
    let (mut good, mut forged) = (Vec::new(), Vec::new());
    for (name, value) in &pointers {
        let with = || agent.assertion().header(name, value.clone());
        good.push(with().build());
        let attackers = with().signed_by(attacker);
        forged.push((*name, attackers.clone().build()));
        let kid = attacker.signing_key().kid().to_owned();
        forged.push((*name, attackers.header("kid", kid).build()));
    }
    assert_all_refused(&issuer, &agent, &forged).await;
    for assertion in good {
        let _ = issuer.token_with(&assertion).await.assert_issued();
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn ca_035_to_042_a_header_that_brings_its_own_key_or_asks_for_more_is_refused() {
    let (issuer, agent) = mailer().await;
    let attacker = TestKey::Es256Second;
    let attacker_jwk = attacker.signing_key().public_jwk().to_value();
    let own_jwk = TestKey::Es256.signing_key().public_jwk().to_value();
    let with = |name: &str, value: Value| agent.assertion().header(name, value).build();
    let cases = [
        (
            "jwk of the attacker",
            agent
                .assertion()
                .header("jwk", attacker_jwk.clone())
                .without_header("kid")
                .signed_by(attacker)
                .build(),
        ),
        (
            "jwk of the attacker under the right kid",
            agent
                .assertion()
                .header("jwk", attacker_jwk)
                .signed_by(attacker)
                .build(),
        ),
        ("jwk of its own", with("jwk", own_jwk)),
        (
            "crit unknown",
            agent
                .assertion()
                .header("crit", json!(["exp2"]))
                .header("exp2", 1)
                .build(),
        ),
        ("crit empty", with("crit", json!([]))),
        ("crit naming alg", with("crit", json!(["alg"]))),
        (
            "b64 false with crit",
            agent
                .assertion()
                .header("b64", false)
                .header("crit", json!(["b64"]))
                .build(),
        ),
        ("b64 false", with("b64", json!(false))),
        ("zip", with("zip", json!("DEF"))),
        ("enc", with("enc", json!("A128GCM"))),
    ];
    assert_all_refused(&issuer, &agent, &cases).await;
}

#[tokio::test]
async fn ca_042_and_043_nested_encrypted_and_other_serialisations_are_refused() {
    let (issuer, agent) = mailer().await;
    let good = agent.assertion().build();
    let (header, claims, signature) = parts(&good);
    let cases = [
        (
            "nested",
            agent
                .assertion()
                .build_from(&agent.assertion().header_text(), &good),
        ),
        (
            "JWE",
            format!(
                "{}.a.b.c.d",
                base64url(br#"{"alg":"RSA-OAEP","enc":"A128GCM","zip":"DEF"}"#)
            ),
        ),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{good}.{signature}")),
        ("one part", header.clone()),
        ("dots", "..".to_owned()),
        (
            "JSON serialisation",
            json!({ "protected": header, "payload": claims, "signature": signature }).to_string(),
        ),
        (
            "payload an array",
            agent
                .assertion()
                .build_from(&agent.assertion().header_text(), "[]"),
        ),
        (
            "payload no JSON",
            agent
                .assertion()
                .build_from(&agent.assertion().header_text(), "{"),
        ),
        (
            "payload deep",
            agent
                .assertion()
                .build_from(&agent.assertion().header_text(), &"[".repeat(3000)),
        ),
        (
            "header no object",
            agent
                .assertion()
                .build_from("[]", &agent.assertion().claims_text()),
        ),
        ("not text", "\u{0}\u{1}é".to_owned()),
        ("two assertions", format!("{good} {good}")),
    ];
    assert_all_refused(&issuer, &agent, &cases).await;
    let _ = issuer.token_with(&good).await.assert_issued();
}

#[tokio::test]
async fn ca_044_an_assertion_over_8_kib_is_refused_however_right_it_is() {
    let (issuer, agent) = mailer().await;
    let padded = |length: usize| agent.assertion().claim("pad", "x".repeat(length)).build();
    let mut fitting = 5000;
    while padded(fitting + 1).len() <= 8192 {
        fitting += 1;
    }
    let cases = [
        ("a byte more", padded(fitting + 3)),
        ("60 kB", padded(44_000)),
    ];
    assert!(cases.iter().all(|(_, assertion)| assertion.len() > 8192));
    assert_all_refused(&issuer, &agent, &cases).await;
    let _ = issuer.token_with(&padded(fitting)).await.assert_issued();
}

#[tokio::test]
async fn ca_045_a_member_that_occurs_twice_is_refused_even_with_one_value() {
    let (issuer, agent) = mailer().await;
    let twice = |name: &str, value: &str| {
        let claims = agent.assertion().claims_text();
        let doubled = format!(r#"{{"{name}":{value},{}"#, &claims[1..]);
        agent
            .assertion()
            .build_from(&agent.assertion().header_text(), &doubled)
    };
    let header = |text: &str| {
        let header = agent.assertion().header_text();
        agent.assertion().build_from(
            &format!("{{{text},{}", &header[1..]),
            &agent.assertion().claims_text(),
        )
    };
    let url = format!("\"{}\"", issuer.url);
    let cases = [
        ("jti", twice("jti", r#""first""#)),
        ("aud", twice("aud", &url)),
        ("iss", twice("iss", r#""mailer""#)),
        ("sub", twice("sub", r#""other""#)),
        ("exp", twice("exp", &(START + 30).to_string())),
        (
            "exp, escaped",
            twice(r"\u0065xp", &(START + 30).to_string()),
        ),
        ("alg", header(r#""alg":"ES256""#)),
        ("alg none first", header(r#""alg":"none""#)),
        ("kid", header(r#""kid":"other""#)),
    ];
    let answers = refusals(&issuer, &agent, &cases).await;
    assert_snapshot!(answers, @r#"
jti: 401 {"error":"invalid_client","error_description":"client authentication failed"}
aud: 401 {"error":"invalid_client","error_description":"client authentication failed"}
iss: 401 {"error":"invalid_client","error_description":"client authentication failed"}
sub: 401 {"error":"invalid_client","error_description":"client authentication failed"}
exp: 401 {"error":"invalid_client","error_description":"client authentication failed"}
exp, escaped: 401 {"error":"invalid_client","error_description":"client authentication failed"}
alg: 401 {"error":"invalid_client","error_description":"client authentication failed"}
alg none first: 401 {"error":"invalid_client","error_description":"client authentication failed"}
kid: 401 {"error":"invalid_client","error_description":"client authentication failed"}
"#);
}

#[tokio::test]
async fn ca_062_a_forged_assertion_with_the_agents_future_jti_takes_nothing_from_it() {
    let (issuer, agent) = mailer().await;
    let own = agent.assertion().claim("jti", "the-next-one").build();
    let forged = agent
        .assertion()
        .claim("jti", "the-next-one")
        .signed_by(TestKey::Es256Second)
        .build();
    assert_eq!(refusal(&issuer.token_with(&forged).await), REFUSED);
    let _ = issuer.token_with(&own).await.assert_issued();
    assert_tokens_issued(&issuer, 1).await;
}
