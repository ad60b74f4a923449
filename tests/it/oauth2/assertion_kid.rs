//! Which key an assertion names by `kid`, where the client writes one of its own, and `kid` at registration.

use firman::jose::digest::{base64url, decode_base64url};
use firman::jose::{SigningAlgorithm, SigningKey};
use firman::testing::{TestAgent, TestIssuer, TestKey};
use insta::assert_snapshot;
use p256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use p256::pkcs8::EncodePublicKey as _;
use reqwest::Method;

use super::*;

/// An agent with a secret, for keys to be added to.
async fn with_secret() -> (TestIssuer, TestAgent) {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    (issuer, agent)
}

fn pem_of(key: &SigningKey) -> String {
    let jwk = key.public_jwk().to_value();
    let number = |name: &str| decode_base64url(jwk[name].as_str().unwrap()).unwrap();
    let point = [&[4][..], &number("x"), &number("y")].concat();
    spki(&VerifyingKey::from_sec1_bytes(&point).unwrap())
}

fn spki(key: &VerifyingKey) -> String {
    key.to_public_key_pem(p256::pkcs8::LineEnding::LF).unwrap()
}

async fn register(issuer: &TestIssuer, body: Value) -> Answer {
    let mut body = body;
    body["kind"] = json!("public_key");
    issuer
        .admin(Method::POST, "/agents/mailer/credentials", Some(&body))
        .await
}

async fn registered(issuer: &TestIssuer, body: Value) -> String {
    let answer = register(issuer, body).await;
    assert_eq!(answer.status, 201, "{answer}");
    answer.json()["credential"]["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn es256() -> SigningKey {
    SigningKey::generate(SigningAlgorithm::Es256).unwrap()
}

/// A good assertion for `mailer`, signed with `key` under that header.
fn signed(issuer: &TestIssuer, key: &SigningKey, header: &Value, jti: &str) -> String {
    let now = firman::testing::START;
    let claims = json!({
        "iss": "mailer", "sub": "mailer", "aud": issuer.url, "jti": jti, "iat": now, "exp": now + 60,
    });
    key.sign_parts(header.to_string().as_bytes(), claims.to_string().as_bytes())
        .unwrap()
}

fn under(kid: &str) -> Value {
    json!({ "alg": "ES256", "kid": kid })
}

#[tokio::test]
async fn a_key_from_pem_is_accepted_under_any_kid_that_its_client_writes() {
    let (issuer, _) = with_secret().await;
    let (key, other) = (es256(), es256());
    registered(&issuer, json!({ "pem": pem_of(&key) })).await;
    registered(&issuer, json!({ "pem": pem_of(&other) })).await;
    for (number, kid) in ["mailer-2026", "' OR '1'='1", "é", key.kid()]
        .iter()
        .enumerate()
    {
        let assertion = signed(&issuer, &key, &under(kid), &number.to_string());
        let _ = issuer.token_with(&assertion).await.assert_issued();
    }
    // No registered key, however it is called.
    let stranger = signed(&issuer, &es256(), &under("mailer-2026"), "stranger");
    assert_eq!(refusal(&issuer.token_with(&stranger).await), REFUSED);
    assert_tokens_issued(&issuer, 4).await;
}

#[tokio::test]
async fn a_kid_that_names_a_live_key_is_the_only_one_tried() {
    let (issuer, _) = with_secret().await;
    let (named, other) = (es256(), es256());
    registered(&issuer, json!({ "pem": pem_of(&named), "kid": "one" })).await;
    registered(&issuer, json!({ "pem": pem_of(&other) })).await;
    for kid in ["one", named.kid()] {
        let wrong = signed(&issuer, &other, &under(kid), kid);
        assert_eq!(refusal(&issuer.token_with(&wrong).await), REFUSED, "{kid}");
        let right = signed(&issuer, &named, &under(kid), kid);
        let _ = issuer.token_with(&right).await.assert_issued();
    }
    // The algorithm must be the key's.
    let es384 = SigningKey::generate(SigningAlgorithm::Es384).unwrap();
    let header = json!({ "alg": "ES384", "kid": "one" });
    let wrong = signed(&issuer, &es384, &header, "es384");
    assert_eq!(refusal(&issuer.token_with(&wrong).await), REFUSED);
}

#[tokio::test]
async fn a_key_that_was_registered_under_a_kid_is_not_tried_under_another() {
    let (issuer, _) = with_secret().await;
    let key = es256();
    registered(&issuer, json!({ "pem": pem_of(&key), "kid": "one" })).await;
    let other = signed(&issuer, &key, &under("two"), "1");
    assert_eq!(refusal(&issuer.token_with(&other).await), REFUSED);
    for header in [under("one"), json!({ "alg": "ES256" })] {
        let assertion = signed(&issuer, &key, &header, &header.to_string());
        let _ = issuer.token_with(&assertion).await.assert_issued();
    }
    issuer.issuer().flush_refusals();
    let entry = &audited_in_time(&issuer, "client.refused", 1).await[0];
    assert_snapshot!(entry.draft.detail, @r#"{"count":1,"reason":"each live key of the client was registered under another `kid`; `kid` is `two`"}"#);
}

#[tokio::test]
async fn a_revoked_key_is_not_tried_under_any_name() {
    let (issuer, _) = with_secret().await;
    let key = es256();
    let id = registered(&issuer, json!({ "pem": pem_of(&key), "kid": "one" })).await;
    let path = format!("/agents/mailer/credentials/{id}/revoke");
    assert_eq!(issuer.admin(Method::POST, &path, None).await.status, 200);
    for kid in ["one", "other", key.kid()] {
        let assertion = signed(&issuer, &key, &under(kid), kid);
        assert_eq!(refusal(&issuer.token_with(&assertion).await), REFUSED);
    }
    // Its `kid` is free again, and the new key is the one that is meant.
    let next = es256();
    registered(&issuer, json!({ "pem": pem_of(&next), "kid": "one" })).await;
    let assertion = signed(&issuer, &next, &under("one"), "next");
    let _ = issuer.token_with(&assertion).await.assert_issued();
}

#[tokio::test]
async fn a_signature_that_two_live_keys_verify_proves_neither() {
    let (issuer, _) = with_secret().await;
    let key = es256();
    let assertion = signed(&issuer, &key, &under("own"), "one");
    // A signature of ECDSA has two public keys that verify it, and the second can be computed from it.
    let (message, signature) = assertion.rsplit_once('.').unwrap();
    let signature = Signature::from_slice(&decode_base64url(signature).unwrap()).unwrap();
    let twins: Vec<String> = (0..2)
        .filter_map(RecoveryId::from_byte)
        .filter_map(|id| VerifyingKey::recover_from_msg(message.as_bytes(), &signature, id).ok())
        .map(|twin| spki(&twin))
        .filter(|twin| *twin != pem_of(&key))
        .collect();
    assert_eq!(twins.len(), 1);
    registered(&issuer, json!({ "pem": twins[0] })).await;
    registered(&issuer, json!({ "pem": pem_of(&key) })).await;
    assert_eq!(refusal(&issuer.token_with(&assertion).await), REFUSED);
    issuer.issuer().flush_refusals();
    let entry = &audited_in_time(&issuer, "client.refused", 1).await[0];
    assert_snapshot!(entry.draft.detail, @r#"{"count":1,"reason":"several live keys of the client verify the signature; `kid` names none of them"}"#);
    // Another signature of the same key has another twin.
    let assertion = signed(&issuer, &key, &under("own"), "one");
    let _ = issuer.token_with(&assertion).await.assert_issued();
}

#[tokio::test]
async fn every_live_key_of_an_agent_is_tried_when_kid_names_none() {
    let issuer = mail_issuer().await;
    issuer.agent("mailer").role("mailer").with_secret().await;
    let keys: Vec<SigningKey> = (1..16).map(|_| es256()).collect();
    for key in &keys {
        registered(&issuer, json!({ "jwk": key.public_jwk().to_value() })).await;
    }
    for (number, key) in keys.iter().enumerate() {
        for header in [under("own"), json!({ "alg": "ES256" })] {
            let jti = format!("{number} {header}");
            let assertion = signed(&issuer, key, &header, &jti);
            let _ = issuer.token_with(&assertion).await.assert_issued();
        }
    }
}

#[tokio::test]
async fn a_kid_at_registration_is_short_printable_unique_and_shown() {
    let (issuer, _) = with_secret().await;
    let (key, other) = (es256(), es256());
    let mut answers = Answers::default();
    let mut refused = async |case: &str, body: Value, status: u16| {
        let answer = register(&issuer, body).await;
        assert_eq!(answer.status, status, "{answer}");
        let detail = answer.json()["detail"].to_string();
        answers.add(case, &issuer, &detail.replace(key.kid(), "[thumbprint]"));
    };
    let named = |key: &SigningKey, kid: &str| json!({ "pem": pem_of(key), "kid": kid });
    refused("empty", named(&key, ""), 400).await;
    refused("long", named(&key, &"k".repeat(257)), 400).await;
    refused("a line", named(&key, "a\nb"), 400).await;
    refused("reversed", named(&key, "a\u{202e}b"), 400).await;
    refused("no key", json!({ "kid": "a" }), 400).await;
    let id = registered(&issuer, named(&key, "one")).await;
    refused("taken", named(&other, "one"), 409).await;
    refused("a thumbprint", named(&other, key.kid()), 409).await;
    refused("the same key", named(&key, "two"), 409).await;
    assert_snapshot!(answers.to_string().replace(&id, "[id]"), @r#"
    empty: "kid: `kid` must be 1 to 256 bytes without control characters"
    long: "kid: `kid` must be 1 to 256 bytes without control characters"
    a line: "kid: `kid` must be 1 to 256 bytes without control characters"
    reversed: "kid: `kid` contains the character U+202E, which is not allowed here"
    no key: "kid: is the name of a public key; send `jwk` or `pem` with it"
    taken: "`kid` `one` names another key of this agent (credential `[id]`); choose another `kid`, or revoke that credential first"
    a thumbprint: "`kid` `[thumbprint]` names another key of this agent (credential `[id]`); choose another `kid`, or revoke that credential first"
    the same key: "the public key `[thumbprint]` is already registered with this or another agent; a key belongs to one agent: make a new key pair, or revoke the credential that has this one"
    "#);
    // It replaces the one in the JWK, and a rotation assigns one to the new key.
    let renamed = json!({ "jwk": other.public_jwk().to_value(), "kid": "two" });
    let id = registered(&issuer, renamed).await;
    let next = json!({ "pem": pem_of(&es256()), "kid": "three" });
    let path = format!("/agents/mailer/credentials/{id}/rotate");
    let rotated = issuer.admin(Method::POST, &path, Some(&next)).await;
    assert_eq!(rotated.status, 201, "{rotated}");
    let shown = issuer
        .admin(Method::GET, "/agents/mailer/credentials", None)
        .await;
    let mut kids: Vec<String> = shown.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|credential| credential["kid"].to_string())
        .collect();
    kids.sort();
    assert_eq!(kids, ["\"one\"", "\"three\"", "\"two\"", "null"]);
}

#[tokio::test]
async fn another_agents_key_proves_no_one_else_whatever_its_kid() {
    let issuer = mail_issuer().await;
    issuer.agent("mailer").role("mailer").with_secret().await;
    let other = issuer
        .agent("other")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    let foreign = other
        .assertion()
        .claim("iss", "mailer")
        .claim("sub", "mailer")
        .header("kid", "own")
        .build();
    assert_eq!(refusal(&issuer.token_with(&foreign).await), REFUSED);
    let header = base64url(br#"{"alg":"none","kid":"own"}"#);
    let unsigned = format!("{header}.{}.", foreign.split('.').nth(1).unwrap());
    assert_eq!(refusal(&issuer.token_with(&unsigned).await), REFUSED);
}
