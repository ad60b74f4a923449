//! Bound tokens in token exchange (RFC 8693): TX-023, and what becomes of the binding.

use firman::domain::delegation::{Delegation, DelegationStatus, SubjectPattern};
use firman::domain::id::DelegationId;
use firman::domain::role::GrantedScopes;
use firman::testing::decoded_part;
use insta::assert_snapshot;

use super::*;

const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// `mailer`, and `helper`, which may act for it at `mail`.
async fn two_agents() -> (TestIssuer, TestAgent, TestAgent) {
    let (issuer, mailer) = mailer().await;
    let helper = issuer.agent("helper").role("mailer").with_secret().await;
    let handle = issuer.issuer();
    let mut change = handle
        .begin(&Caller::system(), Touches::Agent)
        .await
        .unwrap();
    let (now, id) = (change.now(), handle.policy().settings.id.clone());
    let actor = change
        .tx
        .agent_by_name(&id, "helper")
        .await
        .unwrap()
        .unwrap();
    let resource = change
        .tx
        .resource_by_name(&id, "mail")
        .await
        .unwrap()
        .unwrap();
    let delegation = Delegation {
        id: DelegationId::new(change.at, &*handle.ports().random),
        actor: actor.id.clone(),
        subject: SubjectPattern::parse("agent:mailer", None, Default::default()).unwrap(),
        resource: resource.id,
        scopes: GrantedScopes::All,
        max_depth: 4,
        status: DelegationStatus::Active,
        expires_at: now.plus(86_400),
        version: change.version,
        created_at: now,
        updated_at: now,
    };
    assert!(change.tx.insert_delegation(&id, &delegation).await.unwrap());
    let version = change.version;
    change
        .tx
        .touch_agent(&id, &actor.id, version, now)
        .await
        .unwrap();
    change.audit(
        AuditEvent::DelegationAdded,
        "d",
        Some(&actor.id),
        &json!({}),
    );
    handle.end(change).await.unwrap();
    (issuer, mailer, helper)
}

/// A token of `agent` for the issuer itself, bound to `key` if there is one.
async fn own_token(issuer: &TestIssuer, agent: &TestAgent, key: Option<TestKey>) -> String {
    let proof = key.map(|key| proof_of(issuer, key).build());
    let proofs: Vec<&str> = proof.iter().map(String::as_str).collect();
    let for_the_issuer = [("resource", issuer.url.as_str()), ("scope", "openid")];
    let answer = ask(issuer, agent, &proofs, &for_the_issuer).await;
    assert_eq!(answer.claims()["aud"], issuer.url);
    answer.assert_issued()
}

/// `helper` exchanges a subject token, with a proof of `key` if there is one.
async fn exchange(
    issuer: &TestIssuer,
    helper: &TestAgent,
    subject_token: &str,
    key: Option<TestKey>,
    further: &[(&str, &str)],
) -> Answer {
    let proof = key.map(|key| proof_of(issuer, key).build());
    let proofs: Vec<&str> = proof.iter().map(String::as_str).collect();
    let mut form = vec![
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", subject_token),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    form.extend_from_slice(further);
    ask(issuer, helper, &proofs, &form).await
}

#[tokio::test]
async fn tx_023_a_bound_subject_token_without_a_proof_of_its_key_is_refused() {
    let (issuer, mailer, helper) = two_agents().await;
    let bound = own_token(&issuer, &mailer, Some(HOLDER)).await;
    let mut seen = Distinct::default();
    for key in [None, Some(TestKey::Es256Third), Some(TestKey::EdDsa)] {
        seen.add(refusal(&exchange(&issuer, &helper, &bound, key, &[]).await));
    }
    assert_snapshot!(seen, @r#"400 {"error":"invalid_request","error_description":"subject_token: it is bound to a key (`cnf.jkt`): send a DPoP proof made with that key"}"#);
    // With the key it is good, and the proof is used up.
    let proof = proof_of(&issuer, HOLDER).build();
    let form = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", bound.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
    ];
    let answer = ask(&issuer, &helper, &[&proof], &form).await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"DPoP"}"#);
    let again = ask(&issuer, &helper, &[&proof], &form).await;
    assert_snapshot!(refusal(&again), @r#"400 {"error":"invalid_dpop_proof","error_description":"`jti` was used before; each proof is accepted once"}"#);
}

#[tokio::test]
async fn an_exchanged_token_is_bound_to_the_key_of_the_proof_and_keeps_who_acts() {
    let (issuer, mailer, helper) = two_agents().await;
    for (subject_key, key) in [
        (Some(HOLDER), Some(HOLDER)),
        (None, Some(HOLDER)),
        (None, None),
    ] {
        let subject_token = own_token(&issuer, &mailer, subject_key).await;
        let answer = exchange(&issuer, &helper, &subject_token, key, &[]).await;
        let claims = answer.claims();
        let expected = key.map(|key| json!({ "jkt": jkt(key) }));
        assert_eq!(claims.get("cnf"), expected.as_ref());
        assert_eq!(
            answer.json()["token_type"],
            if key.is_some() { "DPoP" } else { "Bearer" }
        );
        assert_eq!(
            (&claims["sub"], &claims["act"]["sub"]),
            (&json!("agent:mailer"), &json!("agent:helper"))
        );
    }
}

#[tokio::test]
async fn an_exchanged_id_token_is_not_bound_and_its_proof_is_used_up_all_the_same() {
    let (issuer, mailer, helper) = two_agents().await;
    let bound = own_token(&issuer, &mailer, Some(HOLDER)).await;
    let proof = proof_of(&issuer, HOLDER).build();
    let form = [
        (
            "grant_type",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("subject_token", bound.as_str()),
        ("subject_token_type", ACCESS_TOKEN),
        ("requested_token_type", ID_TOKEN),
    ];
    let answer = ask(&issuer, &helper, &[&proof], &form).await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"issued_token_type":"urn:ietf:params:oauth:token-type:id_token","token_type":"N_A"}"#);
    let claims = decoded_part(&answer.assert_issued(), 1);
    assert_eq!(
        (&claims["aud"], claims.get("cnf")),
        (&json!("helper"), None)
    );
    let again = ask(&issuer, &helper, &[&proof], &form).await;
    assert_snapshot!(refusal(&again), @r#"400 {"error":"invalid_dpop_proof","error_description":"`jti` was used before; each proof is accepted once"}"#);
}

#[tokio::test]
async fn what_is_owed_is_owed_in_an_exchange_too() {
    let (issuer, mailer, helper) = two_agents().await;
    let subject_token = own_token(&issuer, &mailer, None).await;
    let mut seen = Answers::default();
    demand_for_resource(&issuer, "mail").await;
    let answer = exchange(&issuer, &helper, &subject_token, None, &[]).await;
    seen.add("by the resource", &issuer, &refusal(&answer));
    let id_token = [("requested_token_type", ID_TOKEN)];
    let answer = exchange(&issuer, &helper, &subject_token, None, &id_token).await;
    assert_endpoint_headers(&answer);
    assert_eq!(answer.status, 200, "{answer}");
    demand_of_agent(&issuer, "helper").await;
    let answer = exchange(&issuer, &helper, &subject_token, None, &id_token).await;
    seen.add("by the agent", &issuer, &refusal(&answer));
    assert_snapshot!(seen, @r#"
    by the resource: 400 {"error":"invalid_dpop_proof","error_description":"tokens for https://mail.example must be bound to a key: send a proof in the `DPoP` header (RFC 9449)"}
    by the agent: 400 {"error":"invalid_dpop_proof","error_description":"tokens of this agent must be bound to a key: send a proof in the `DPoP` header (RFC 9449)"}
    "#);
    let answer = exchange(&issuer, &helper, &subject_token, Some(HOLDER), &[]).await;
    assert_eq!(answer.claims()["cnf"], json!({ "jkt": jkt(HOLDER) }));
}
