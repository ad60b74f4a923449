//! RFC 9449 §8 and §11.1: a proof contains a nonce of ours and is accepted once, whatever happens around it.

use std::sync::Arc;

use insta::assert_snapshot;
use tokio::task::JoinSet;

use super::*;

const REPLAYED: &str = r#"400 {"error":"invalid_dpop_proof","error_description":"`jti` was used before; each proof is accepted once"}"#;

#[tokio::test]
async fn a_proof_without_a_nonce_of_ours_is_asked_for_one_and_that_is_no_refusal_in_the_audit() {
    let (issuer, agent) = mailer().await;
    let good = || proof_of(&issuer, HOLDER);
    let mut seen = Distinct::default();
    let other = good().claims["nonce"]
        .as_str()
        .unwrap()
        .replace(char::is_alphanumeric, "A");
    for proof in [
        good().without("nonce"),
        good().claim("nonce", ""),
        good().claim("nonce", "guessed"),
        good().claim("nonce", other),
    ] {
        seen.add(refusal(&with_proof(&issuer, &agent, &proof.build()).await));
    }
    assert_snapshot!(seen, @r#"400 {"error":"use_dpop_nonce","error_description":"make a new proof with the nonce in the `DPoP-Nonce` header"}"#);

    // As a client does: what was refused costs nothing, not even the number.
    let proof = good().without("nonce");
    let answer = with_proof(&issuer, &agent, &proof.build()).await;
    let nonce = answer.header("dpop-nonce").to_owned();
    let proof = proof.claim("nonce", nonce).build();
    let answer = with_proof(&issuer, &agent, &proof).await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"DPoP"}"#);
    assert_eq!(
        refusal(&with_proof(&issuer, &agent, &proof).await),
        REPLAYED
    );
    let refused = audited_in_time(&issuer, "token.refused", 1).await;
    assert_snapshot!(refused[0].draft.detail, @r#"{"error":"invalid_dpop_proof","reason":"the proof was used before"}"#);
}

#[tokio::test]
async fn a_nonce_is_taken_for_its_five_minutes_and_the_next_and_no_longer() {
    let (issuer, agent) = mailer().await;
    let nonce = proof_of(&issuer, HOLDER).claims["nonce"].clone();
    let with = |nonce: &Value| {
        proof_of(&issuer, HOLDER)
            .claim("nonce", nonce.clone())
            .build()
    };
    for _ in 0..2 {
        issuer.clock.advance(299);
        let _ = with_proof(&issuer, &agent, &with(&nonce))
            .await
            .assert_issued();
    }
    issuer.clock.advance(2);
    let answer = with_proof(&issuer, &agent, &with(&nonce)).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"use_dpop_nonce","error_description":"make a new proof with the nonce in the `DPoP-Nonce` header"}"#);
    // One from a process whose clock is a little ahead.
    let ahead = proof_of(&issuer, HOLDER).claims["nonce"].clone();
    issuer.clock.advance(-2);
    let _ = with_proof(&issuer, &agent, &with(&ahead))
        .await
        .assert_issued();
}

#[tokio::test]
async fn a_proof_is_taken_once_and_stays_used_after_a_restart() {
    let (issuer, agent) = mailer().await;
    let proof = proof_of(&issuer, HOLDER);
    let used = proof.build();
    let _ = with_proof(&issuer, &agent, &used).await.assert_issued();
    let mut seen = Distinct::default();
    seen.add(refusal(&with_proof(&issuer, &agent, &used).await));
    // The number counts, not the text; and not who shows it.
    let rewritten = proof.clone().claim("iat", START + 1).build();
    seen.add(refusal(&with_proof(&issuer, &agent, &rewritten).await));
    let other = issuer.agent("other").role("mailer").with_secret().await;
    seen.add(refusal(&with_proof(&issuer, &other, &used).await));

    let issuer = issuer.restart().await;
    issuer.clock.advance(60);
    issuer.host().maintain().await;
    seen.add(refusal(&with_proof(&issuer, &agent, &used).await));
    assert_snapshot!(seen, @r#"400 {"error":"invalid_dpop_proof","error_description":"`jti` was used before; each proof is accepted once"}"#);
    assert_tokens_issued(&issuer, 1).await;
    // The same number of another key is another proof.
    let number = proof.claims["jti"].clone();
    let another = proof_of(&issuer, TestKey::EdDsa)
        .claim("jti", number)
        .build();
    let _ = with_proof(&issuer, &agent, &another).await.assert_issued();
}

#[tokio::test]
async fn of_assertion_and_proof_the_one_that_was_used_before_is_named() {
    let issuer = mail_issuer().await;
    let agent = issuer
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    let send = async |assertion: &str, proof: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", assertion),
        ];
        issuer.token_with_headers(&[("DPoP", proof)], &form).await
    };
    let assertion = agent.assertion().build();
    // A nonce is asked for before anything is used up.
    let unsalted = proof_of(&issuer, HOLDER).without("nonce").build();
    assert_eq!(
        send(&assertion, &unsalted).await.json()["error"],
        "use_dpop_nonce"
    );
    let proof = proof_of(&issuer, HOLDER).build();
    let _ = send(&assertion, &proof).await.assert_issued();

    assert_eq!(
        refusal(&send(&agent.assertion().build(), &proof).await),
        REPLAYED
    );
    let fresh = proof_of(&issuer, HOLDER).build();
    assert_snapshot!(refusal(&send(&assertion, &fresh).await), @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
    let (assertion, proof) = (agent.assertion().build(), proof_of(&issuer, HOLDER).build());
    let _ = send(&assertion, &proof).await.assert_issued();
    assert_tokens_issued(&issuer, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_copies_of_one_proof_at_the_same_moment_get_one_token() {
    let (issuer, agent) = mailer().await;
    let issuer = Arc::new(issuer);
    let mut seen = Distinct::default();
    for round in 1..=3 {
        let proof = proof_of(&issuer, HOLDER).build();
        let issued = issued_of_copies(&[Arc::clone(&issuer)], &agent, &proof, &mut seen).await;
        assert_eq!(issued, 1);
        assert_tokens_issued(&issuer, round).await;
    }
    assert_eq!(seen.to_string(), REPLAYED);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_take_each_others_nonces_and_a_proof_once_between_them() {
    let a = mail_issuer_on_postgres().await;
    let b = a.replica().await.unwrap();
    let agent = a.agent("mailer").role("mailer").with_secret().await;
    let replicas = [Arc::new(a), Arc::new(b)];
    let nonces = [0, 1].map(|at: usize| {
        let issuer: &TestIssuer = &replicas[at];
        issuer.issuer().dpop_nonce(issuer.clock.now())
    });
    assert_eq!(nonces[0], nonces[1]);
    let mut seen = Distinct::default();
    for round in 1..=3 {
        let proof = proof_of(&replicas[0], HOLDER).build();
        assert_eq!(
            issued_of_copies(&replicas, &agent, &proof, &mut seen).await,
            1
        );
        assert_tokens_issued(&replicas[0], round).await;
    }
    assert_eq!(seen.to_string(), REPLAYED);
}

/// How many of fifty copies, sent at once, got a token; the answers to the others are recorded.
async fn issued_of_copies(
    issuers: &[Arc<TestIssuer>],
    agent: &TestAgent,
    proof: &str,
    seen: &mut Distinct,
) -> usize {
    let mut requests = JoinSet::new();
    for number in 0..50 {
        let issuer = Arc::clone(&issuers[number % issuers.len()]);
        let (agent, proof) = (agent.clone(), proof.to_owned());
        requests.spawn(async move { with_proof(&issuer, &agent, &proof).await });
    }
    let answers = requests.join_all().await;
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        seen.add(refusal(answer));
    }
    answers.iter().filter(|answer| answer.status == 200).count()
}
