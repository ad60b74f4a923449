//! Key sets of others as they are: odd entries beside good ones, one `kid` for several keys, and a new key
//! under an old `kid`.

use firman::jose::digest::{base64url, decode_base64url};
use insta::assert_snapshot;
use reqwest::Method;

use super::*;
use crate::oauth2::REFUSED;

/// The public half of a key under another `kid`.
fn jwk(key: TestKey, kid: &str) -> Value {
    let set = key_set(&[key]);
    with(&set["keys"][0], json!({ "kid": kid }))
}

fn set(keys: &[Value]) -> Reply {
    Reply::json(&json!({ "keys": keys }))
}

/// The number `name` of a key with other bytes.
fn changed(key: &Value, name: &str, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Value {
    let number = decode_base64url(key[name].as_str().expect("a number")).expect("base64url");
    with(key, json!({ name: base64url(&change(number)) }))
}

/// A token of a stand-in about its worker, by `key` under `kid`.
fn token(issuer: &TestIssuer, stand_in: &StandIn, key: TestKey, kid: &str) -> String {
    let signing = key.signing_key();
    let header = json!({ "alg": signing.algorithm(), "kid": kid, "typ": "JWT" });
    let now = firman::ports::time::Clock::now(&*issuer.clock).0;
    let claims = json!({
        "iss": stand_in.url, "sub": "worker", "aud": issuer.url, "iat": now, "exp": now + 300,
    });
    signing
        .sign_parts(header.to_string().as_bytes(), claims.to_string().as_bytes())
        .expect("a signature")
}

/// Entries that cannot be used, each odd in its own way.
fn odd() -> Vec<Value> {
    let (ec, rsa) = (jwk(TestKey::EdDsa, "x"), jwk(TestKey::Rs256, "odd-rsa"));
    let point = jwk(TestKey::Es256Second, "odd-ec");
    let padded = format!("{}=", point["x"].as_str().expect("a number"));
    vec![
        changed(&rsa, "n", |n| n[..128].to_vec()),
        with(&rsa, json!({ "e": "Aw" })),
        with(&point, json!({ "x": padded })),
        changed(&point, "x", |x| x[..31].to_vec()),
        with(&point, json!({ "kty": null })),
        with(&point, json!({ "kid": 7 })),
        with(&ec, json!({ "crv": "X25519" })),
        with(&point, json!({ "use": "enc" })),
        with(&point, json!({ "alg": "ECDH-ES" })),
        json!("no key"),
    ]
}

#[tokio::test]
async fn odd_entries_of_a_key_set_cost_no_token_of_the_others() {
    let issuer = mail_issuer().await;
    let stand_in = StandIn::start().await;
    let mut keys = odd();
    let zero = |n: Vec<u8>| [vec![0], n].concat();
    let (curve, again) = (
        jwk(TestKey::Es256, "shared"),
        jwk(TestKey::Es256Second, "shared"),
    );
    keys.extend([
        again.clone(),
        changed(&jwk(TestKey::Rs256, "shared"), "n", zero),
        with(&curve, json!({ "key_ops": ["sign", "verify"] })),
        again,
    ]);
    stand_in.answers("/jwks", set(&keys));
    let further = json!({ "keys": { "type": "discovery" }, "jti": "reusable" });
    let added = trust(&issuer, "platform", &stand_in.url, further).await;
    assert_eq!(added.status, 201, "{added}");
    // Those that are merely for others are no news to an administrator.
    assert_snapshot!(added.json()["warnings"], @r#"[{"text":"its key set has entries that cannot be used, and tokens signed with them are rejected: key 1 (`kid` `odd-rsa`): the RSA modulus is shorter than 2048 bits; key 2 (`kid` `odd-rsa`): the RSA exponent must be 65537 (`e`: `AQAB`); key 3 (`kid` `odd-ec`): `x` is not base64url: only A-Z a-z 0-9 - _ are allowed, without padding or white space; key 4 (`kid` `odd-ec`): `x` must be 32 bytes long for this `crv`, leading zeros included; key 5 (`kid` `odd-ec`): the JWK does not have the member `kty`; key 6: `kid` must be a string; key 10: the JWK is not a JSON object"}]"#);
    federate(
        &issuer,
        "worker",
        "platform",
        json!({ "subject": "worker" }),
    )
    .await;
    assert_good_keys_alone_count(&issuer, &stand_in).await;
    let issuer = issuer.restart().await;
    assert_good_keys_alone_count(&issuer, &stand_in).await;
}

async fn assert_good_keys_alone_count(issuer: &TestIssuer, stand_in: &StandIn) {
    for key in [TestKey::Rs256, TestKey::Es256, TestKey::Es256Second] {
        let token = token(issuer, stand_in, key, "shared");
        let _ = present(issuer, None, &token).await.assert_issued();
    }
    // A skipped key is not used, and one of another algorithm is not tried.
    for (key, kid) in [(TestKey::Es256Second, "odd-ec"), (TestKey::EdDsa, "shared")] {
        let token = token(issuer, stand_in, key, kid);
        assert_eq!(refusal(&present(issuer, None, &token).await), REFUSED);
    }
}

#[tokio::test]
async fn a_set_of_which_nothing_can_be_used_or_that_leaks_a_secret_is_refused_with_the_reason() {
    let issuer = mail_issuer().await;
    let mut answers = crate::oauth2::Answers::default();
    let good = jwk(TestKey::Es256, "good");
    for (case, keys) in [
        ("nothing usable", odd()[..2].to_vec()),
        (
            "a private one",
            vec![good.clone(), with(&good, json!({ "kid": "b", "d": "AA" }))],
        ),
        (
            "a shared one",
            vec![good, json!({ "kty": "oct", "k": "AAAA" })],
        ),
    ] {
        let stand_in = StandIn::start().await;
        stand_in.answers("/jwks", set(&keys));
        let further = json!({ "keys": { "type": "discovery" } });
        let answer = trust(&issuer, "x", &stand_in.url, further).await;
        let said = format!("{} {}", answer.status, answer.json()["detail"]);
        answers.add(case, &issuer, &said.replace(&stand_in.url, "PLATFORM"));
    }
    assert_snapshot!(answers, @r#"
    nothing usable: 400 "url: cannot be used: the key set PLATFORM/jwks: the key set does not have a usable key: key 1 (`kid` `odd-rsa`): the RSA modulus is shorter than 2048 bits; key 2 (`kid` `odd-rsa`): the RSA exponent must be 65537 (`e`: `AQAB`)"
    a private one: 400 "url: cannot be used: the key set PLATFORM/jwks: the key is a private key (member `d`) and no longer secret"
    a shared one: 400 "url: cannot be used: the key set PLATFORM/jwks: `kty` `oct` is a shared secret, not a public key"
    "#);
}

#[tokio::test]
async fn a_new_key_under_an_old_kid_is_found_by_one_fetch_a_minute_and_strangers_cause_no_more() {
    let issuer = mail_issuer().await;
    let stand_in = StandIn::start().await;
    stand_in.answers("/jwks", set(&[jwk(TestKey::Es256, "k")]));
    let further = json!({ "keys": { "type": "discovery" }, "jti": "reusable" });
    let added = trust(&issuer, "platform", &stand_in.url, further).await;
    assert_eq!(added.status, 201, "{added}");
    let matching = json!({ "subject": "worker" });
    federate(&issuer, "worker", "platform", matching).await;
    let old = || token(&issuer, &stand_in, TestKey::Es256, "k");
    let new = || token(&issuer, &stand_in, TestKey::Es256Second, "k");
    let fetches = || stand_in.key_set_requests();
    let _ = present(&issuer, None, &old()).await.assert_issued();
    let first = fetches();
    stand_in.answers("/jwks", set(&[jwk(TestKey::Es256Second, "k")]));
    assert_eq!(refusal(&present(&issuer, None, &new()).await), REFUSED);
    assert_eq!(fetches(), first);
    issuer.clock.advance(60);
    let _ = present(&issuer, None, &new()).await.assert_issued();
    assert_eq!(fetches(), first + 1);
    // The old key is no longer good, and each try is not another fetch.
    for _ in 0..5 {
        assert_eq!(refusal(&present(&issuer, None, &old()).await), REFUSED);
    }
    assert_eq!(fetches(), first + 1);
    issuer.clock.advance(60);
    let mut bad = Vec::new();
    for _ in 0..5 {
        bad.push(refusal(&present(&issuer, None, &old()).await));
    }
    assert_eq!(bad, [REFUSED; 5]);
    assert_eq!(fetches(), first + 2);
    // A fetch that fails loses nothing, and says nothing to those who cannot sign.
    stand_in.is_down();
    issuer.clock.advance(60);
    assert_eq!(refusal(&present(&issuer, None, &old()).await), REFUSED);
    let _ = present(&issuer, None, &new()).await.assert_issued();
}

#[tokio::test]
async fn keys_that_were_registered_are_never_fetched_after_a_bad_signature() {
    let issuer = mail_issuer().await;
    let stand_in = StandIn::start().await;
    let keys = json!({ "keys": [jwk(TestKey::Es256, "k")] });
    let further = json!({ "keys": { "type": "inline", "jwks": keys }, "jti": "reusable" });
    let added = trust(&issuer, "platform", &stand_in.url, further).await;
    assert_eq!(added.status, 201, "{added}");
    let bad = token(&issuer, &stand_in, TestKey::Es256Second, "k");
    assert_eq!(refusal(&present(&issuer, None, &bad).await), REFUSED);
    assert_eq!(stand_in.connections(), 0);
    let shown = issuer
        .admin(Method::GET, "/trusted-issuers/platform", None)
        .await;
    assert_eq!(shown.json()["warnings"], json!([]));
}
