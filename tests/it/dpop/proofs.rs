//! RFC 9449 §4.3: what is not a proof for this request, now.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use firman::testing::TestOptions;
use insta::assert_snapshot;

use super::*;
use crate::federated::StandIn;

/// Sends each proof and returns the answers, none of which is a token; each refusal is in the audit.
async fn refusals(cases: impl Fn(&TestIssuer) -> Vec<(&'static str, String)>) -> String {
    let (issuer, agent) = mailer().await;
    let mut seen = Answers::default();
    let cases = cases(&issuer);
    for (case, proof) in &cases {
        seen.add(
            case,
            &issuer,
            &refusal(&with_proof(&issuer, &agent, proof).await),
        );
    }
    assert_tokens_issued(&issuer, 0).await;
    issuer.issuer().flush_refusals();
    for entry in told_in_time(&issuer, "token.refused", cases.len() as u64).await {
        let detail: Value = serde_json::from_str(&entry.draft.detail).unwrap();
        if detail["reason"] != "further refusals" {
            assert_eq!(detail["error"], "invalid_dpop_proof", "{detail}");
        }
    }
    seen.to_string()
}

#[tokio::test]
async fn a_header_that_is_not_a_proofs_is_refused() {
    let seen = refusals(|issuer| {
        let good = || proof_of(issuer, HOLDER);
        let private = || {
            let mut jwk = HOLDER.signing_key().public_jwk().to_value();
            jwk["d"] = json!("AAAA");
            jwk
        };
        let unsigned = {
            let text = good().header("alg", "none").build();
            format!("{}.", text.rsplit_once('.').unwrap().0)
        };
        vec![
            ("no JWS", "proof".to_owned()),
            (
                "two in one",
                format!("{},{}", good().build(), good().build()),
            ),
            ("too long", "x".repeat(8 * 1024 + 1)),
            ("typ JWT", good().header("typ", "JWT").build()),
            ("no typ", good().without("typ").build()),
            ("alg none", unsigned),
            ("alg HS256", good().header("alg", "HS256").build()),
            ("alg of another key", good().header("alg", "RS256").build()),
            ("no jwk", good().without("jwk").build()),
            ("private jwk", good().header("jwk", private()).build()),
            (
                "symmetric jwk",
                good()
                    .header("jwk", json!({ "kty": "oct", "k": "AAAA" }))
                    .build(),
            ),
            ("another's jwk", good().signed_by(TestKey::Es256).build()),
            ("crit", good().header("crit", json!(["jwk"])).build()),
        ]
    })
    .await;
    assert_snapshot!(seen, @r#"
    no JWS: 400 {"error":"invalid_dpop_proof","error_description":"the token is not a compact JWS: it must have three parts joined by dots"}
    two in one: 400 {"error":"invalid_dpop_proof","error_description":"the token is not a compact JWS: it must have three parts joined by dots"}
    too long: 400 {"error":"invalid_dpop_proof","error_description":"the token is longer than 8192 bytes"}
    typ JWT: 400 {"error":"invalid_dpop_proof","error_description":"the header member `typ` must be dpop+jwt"}
    no typ: 400 {"error":"invalid_dpop_proof","error_description":"the header member `typ` must be dpop+jwt"}
    alg none: 400 {"error":"invalid_dpop_proof","error_description":"the header member `alg` must be ES256, ES384, RS256, PS256 or EdDSA"}
    alg HS256: 400 {"error":"invalid_dpop_proof","error_description":"the header member `alg` must be ES256, ES384, RS256, PS256 or EdDSA"}
    alg of another key: 400 {"error":"invalid_dpop_proof","error_description":"the token names another key or algorithm than this key's"}
    no jwk: 400 {"error":"invalid_dpop_proof","error_description":"the header member `jwk` must hold the public key"}
    private jwk: 400 {"error":"invalid_dpop_proof","error_description":"the header member `jwk`: the key is a private key (member `d`) and no longer secret"}
    symmetric jwk: 400 {"error":"invalid_dpop_proof","error_description":"the header member `jwk`: `kty` `oct` is a shared secret, not a public key"}
    another's jwk: 400 {"error":"invalid_dpop_proof","error_description":"the signature is not valid"}
    crit: 400 {"error":"invalid_dpop_proof","error_description":"the header member `crit` is not supported; leave it out"}
    "#);
}

#[tokio::test]
async fn a_header_that_points_elsewhere_changes_nothing_and_an_iat_may_have_a_fraction() {
    let (issuer, agent) = mailer().await;
    let elsewhere = StandIn::start().await;
    elsewhere.publishes(&[TestKey::Es256]);
    let good = || {
        proof_of(&issuer, HOLDER)
            .header("jku", format!("{}/jwks", elsewhere.url))
            .header("x5u", elsewhere.url.as_str())
    };
    for proof in [good(), good().claim("iat", START as f64 + 0.5)] {
        let answer = with_proof(&issuer, &agent, &proof.build()).await;
        assert_eq!(answer.claims()["cnf"], json!({ "jkt": jkt(HOLDER) }));
    }
    let forged = good().signed_by(TestKey::Es256).build();
    let answer = with_proof(&issuer, &agent, &forged).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_dpop_proof","error_description":"the signature is not valid"}"#);
    assert_eq!(elsewhere.connections(), 0);
}

#[tokio::test]
async fn claims_of_another_request_or_another_time_are_refused() {
    let seen = refusals(|issuer| {
        let good = || proof_of(issuer, HOLDER);
        let at = |path: &str| format!("{}{path}", issuer.url);
        vec![
            ("htm GET", good().claim("htm", "GET").build()),
            ("htm in lower case", good().claim("htm", "post").build()),
            ("no htm", good().without("htm").build()),
            (
                "htu of the issuer",
                good().claim("htu", issuer.url.as_str()).build(),
            ),
            (
                "htu of the keys",
                good().claim("htu", at("/oauth2/jwks")).build(),
            ),
            (
                "htu elsewhere",
                good()
                    .claim("htu", "https://other.example/oauth2/token")
                    .build(),
            ),
            ("no htu", good().without("htu").build()),
            (
                "htu an array",
                good().claim("htu", json!([at("/oauth2/token")])).build(),
            ),
            ("iat too old", good().claim("iat", START - 61).build()),
            ("iat too far ahead", good().claim("iat", START + 61).build()),
            ("iat a text", good().claim("iat", START.to_string()).build()),
            (
                "iat at the beginning",
                good().claim("iat", i64::MIN).build(),
            ),
            ("iat at the end", good().claim("iat", i64::MAX).build()),
            ("iat before 1970", good().claim("iat", -1).build()),
            (
                "iat too old by a fraction",
                good().claim("iat", START as f64 - 60.5).build(),
            ),
            ("no iat", good().without("iat").build()),
            ("no jti", good().without("jti").build()),
            ("empty jti", good().claim("jti", "").build()),
            ("long jti", good().claim("jti", "j".repeat(257)).build()),
            ("nonce a number", good().claim("nonce", 7).build()),
        ]
    })
    .await;
    assert_snapshot!(seen, @r#"
    htm GET: 400 {"error":"invalid_dpop_proof","error_description":"`htm` must be POST"}
    htm in lower case: 400 {"error":"invalid_dpop_proof","error_description":"`htm` must be POST"}
    no htm: 400 {"error":"invalid_dpop_proof","error_description":"`htm` is missing; state for which request the proof is"}
    htu of the issuer: 400 {"error":"invalid_dpop_proof","error_description":"`htu` must be ISSUER/oauth2/token"}
    htu of the keys: 400 {"error":"invalid_dpop_proof","error_description":"`htu` must be ISSUER/oauth2/token"}
    htu elsewhere: 400 {"error":"invalid_dpop_proof","error_description":"`htu` must be ISSUER/oauth2/token"}
    no htu: 400 {"error":"invalid_dpop_proof","error_description":"`htu` is missing; state for which request the proof is"}
    htu an array: 400 {"error":"invalid_dpop_proof","error_description":"`htu` must be a string"}
    iat too old: 400 {"error":"invalid_dpop_proof","error_description":"`iat` must be at most 60 seconds from now; make a new proof for each request and check the clock"}
    iat too far ahead: 400 {"error":"invalid_dpop_proof","error_description":"`iat` must be at most 60 seconds from now; make a new proof for each request and check the clock"}
    iat a text: 400 {"error":"invalid_dpop_proof","error_description":"`iat` must be a JSON number: seconds since 1970, without quotes"}
    iat at the beginning: 400 {"error":"invalid_dpop_proof","error_description":"`iat` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
    iat at the end: 400 {"error":"invalid_dpop_proof","error_description":"`iat` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
    iat before 1970: 400 {"error":"invalid_dpop_proof","error_description":"`iat` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
    iat too old by a fraction: 400 {"error":"invalid_dpop_proof","error_description":"`iat` must be at most 60 seconds from now; make a new proof for each request and check the clock"}
    no iat: 400 {"error":"invalid_dpop_proof","error_description":"`iat` is required, in seconds since 1970"}
    no jti: 400 {"error":"invalid_dpop_proof","error_description":"`jti` must be there, with 1 to 256 bytes, and new in each proof"}
    empty jti: 400 {"error":"invalid_dpop_proof","error_description":"`jti` must be there, with 1 to 256 bytes, and new in each proof"}
    long jti: 400 {"error":"invalid_dpop_proof","error_description":"`jti` must be there, with 1 to 256 bytes, and new in each proof"}
    nonce a number: 400 {"error":"invalid_dpop_proof","error_description":"`nonce` must be a string"}
    "#);
}

#[tokio::test]
async fn several_headers_are_refused_whatever_is_in_them() {
    let (issuer, agent) = mailer().await;
    let good = proof_of(&issuer, HOLDER).build();
    let mut seen = Distinct::default();
    for proofs in [[good.as_str(), good.as_str()], [good.as_str(), ""]] {
        seen.add(refusal(&ask(&issuer, &agent, &proofs, &[]).await));
    }
    let authorization = basic(&agent.name, agent.secret());
    let headers = [("authorization", authorization.as_str()), ("DPoP", "prööf")];
    let answer = issuer
        .token_with_headers(&headers, &[("grant_type", "client_credentials")])
        .await;
    seen.add(refusal(&answer));
    assert_snapshot!(seen, @r#"
    400 {"error":"invalid_dpop_proof","error_description":"more than one `DPoP` header; send one"}
    400 {"error":"invalid_dpop_proof","error_description":"the `DPoP` header must be ASCII"}
    "#);
    let huge = "x".repeat(60 * 1024);
    let headers = [("authorization", authorization.as_str()), ("DPoP", &huge)];
    let answer = issuer
        .send(Method::POST, "/oauth2/token", &headers, "")
        .await;
    assert_eq!(answer.status, 431, "{answer}");
    assert_tokens_issued(&issuer, 0).await;
}

#[tokio::test]
async fn a_client_that_does_not_prove_itself_learns_nothing_of_its_proof() {
    let (issuer, agent) = mailer().await;
    let mut seen = Distinct::default();
    for proof in ["proof".to_owned(), proof_of(&issuer, HOLDER).build()] {
        let authorization = basic(&agent.name, "wrong");
        let headers = [("authorization", authorization.as_str()), ("DPoP", &proof)];
        let answer = issuer
            .token_with_headers(&headers, &[("grant_type", "client_credentials")])
            .await;
        assert!(!answer.header("dpop-nonce").is_empty(), "{answer}");
        seen.add(refusal(&answer));
    }
    assert_snapshot!(seen, @r#"401 {"error":"invalid_client","error_description":"client authentication failed"}"#);
}

#[tokio::test]
async fn after_a_restore_a_proof_that_may_have_been_used_before_is_refused() {
    let (issuer, agent) = mailer().await;
    let id = issuer.issuer().policy().settings.id.clone();
    let mut tx = issuer.host().store().write().await.unwrap();
    tx.lock_head(&id).await.unwrap();
    tx.bump_registry_version(&id, true).await.unwrap();
    let restored_at = issuer.clock.now();
    assert!(
        tx.set_assertions_not_before(&id, restored_at)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    issuer.host().maintain().await;

    let proof = proof_of(&issuer, HOLDER).build();
    assert_snapshot!(refusal(&with_proof(&issuer, &agent, &proof).await), @r#"400 {"error":"invalid_dpop_proof","error_description":"`iat` must be later than 2027-01-15T08:00:00Z, when this issuer was restored from a backup; make a new proof"}"#);
    issuer.clock.advance(1);
    let proof = proof_of(&issuer, HOLDER).build();
    let _ = with_proof(&issuer, &agent, &proof).await.assert_issued();
}

#[tokio::test]
async fn within_a_minute_and_in_another_spelling_of_the_uri_a_proof_is_good() {
    let (issuer, agent) = mailer().await;
    let good = || proof_of(&issuer, HOLDER);
    let endpoint = format!("{}/oauth2/token", issuer.url);
    for proof in [
        good().claim("iat", START - 60),
        good().claim("iat", START + 60),
        good().claim("htu", format!("{endpoint}?a=b#c")),
        good().claim("htu", endpoint.replace("http://", "HTTP://")),
        good().claim("htu", endpoint.replace("/oauth2/", "/x/../oauth2/")),
        good().claim("jti", "j".repeat(256)),
        good().claim("exp", START - 1000).claim("ath", "ignored"),
        good().header("kid", jkt(HOLDER)),
    ] {
        let answer = with_proof(&issuer, &agent, &proof.build()).await;
        assert_eq!(answer.claims()["cnf"], json!({ "jkt": jkt(HOLDER) }));
    }
}

#[tokio::test]
async fn an_issuer_with_a_path_wants_its_own_endpoint_in_the_proof() {
    let options = TestOptions {
        issuer_path: "/tenant".to_owned(),
        ..TestOptions::default()
    };
    let issuer = TestIssuer::start_with(options).await;
    crate::oauth2::grant_mail(&issuer).await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let elsewhere =
        proof_of(&issuer, HOLDER).claim("htu", issuer.url.replace("/tenant", "/oauth2/token"));
    let answer = refusal(&with_proof(&issuer, &agent, &elsewhere.build()).await);
    assert_snapshot!(answer.replace(&issuer.url, "ISSUER"), @r#"400 {"error":"invalid_dpop_proof","error_description":"`htu` must be ISSUER/oauth2/token"}"#);
    let good = proof_of(&issuer, HOLDER).build();
    let _ = with_proof(&issuer, &agent, &good).await.assert_issued();
}

#[tokio::test]
async fn discovery_lists_every_algorithm_that_a_proof_may_have_and_each_works() {
    let (issuer, agent) = mailer().await;
    let document = issuer.get("/.well-known/openid-configuration").await.json();
    assert_eq!(
        document["dpop_signing_alg_values_supported"],
        json!(["ES256", "ES384", "RS256", "PS256", "EdDSA", "Ed25519"])
    );
    for key in TestKey::ALL {
        let proof = proof_of(&issuer, key).build();
        let answer = with_proof(&issuer, &agent, &proof).await;
        assert_eq!(answer.claims()["cnf"], json!({ "jkt": jkt(key) }));
    }
    let named_anew = proof_of(&issuer, TestKey::EdDsa)
        .header("alg", "Ed25519")
        .build();
    let _ = with_proof(&issuer, &agent, &named_anew)
        .await
        .assert_issued();
}

#[tokio::test]
async fn the_whole_bound_token_is_as_documented() {
    let (issuer, agent) = mailer().await;
    let proof = proof_of(&issuer, HOLDER).build();
    let answer = ask(&issuer, &agent, &[&proof], &[("scope", "openid read")]).await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"id_token":"[token]","scope":"openid read","token_type":"DPoP"}"#);
    let mut claims = answer.claims();
    claims["jti"] = json!("[jti]");
    let shown = claims.to_string().replace(&issuer.url, "ISSUER");
    assert_snapshot!(shown.replace(&jkt(HOLDER), "JKT"), @r#"{"acting_agent":"agent:mailer","aud":"https://mail.example","client_id":"mailer","cnf":{"jkt":"JKT"},"exp":1800000900,"groups":[],"iat":1800000000,"iss":"ISSUER","jti":"[jti]","nbf":1800000000,"owner":"team-test","roles":["mailer"],"scope":"openid read","sub":"agent:mailer","sub_profile":"ai_agent"}"#);
    // The ID token is for the agent itself: it opens nothing.
    let id_token = answer.json()["id_token"].as_str().unwrap().to_owned();
    let payload = URL_SAFE_NO_PAD
        .decode(id_token.split('.').nth(1).unwrap())
        .unwrap();
    let payload: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(
        (&payload["aud"], payload.get("cnf")),
        (&json!("mailer"), None)
    );
    let issued = audited(&issuer, "token.issued").await;
    let detail: Value = serde_json::from_str(&issued[0].draft.detail).unwrap();
    assert_eq!(detail["jkt"], jkt(HOLDER));
    let issued = audited(&issuer, "id_token.issued").await;
    let detail: Value = serde_json::from_str(&issued[0].draft.detail).unwrap();
    assert_eq!(detail.get("jkt"), None);
}

#[tokio::test]
async fn without_a_proof_a_token_is_a_bearer_token_as_before() {
    let (issuer, agent) = mailer().await;
    let answer = ask(&issuer, &agent, &[], &[]).await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
    assert_eq!(answer.claims().get("cnf"), None);
}
