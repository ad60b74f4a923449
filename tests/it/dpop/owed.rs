//! Agents and resources whose tokens must be bound, and relying parties that take bearer tokens only.

use firman::api::resource::NewResource;
use insta::assert_snapshot;

use super::*;

async fn claude(issuer: &TestIssuer) {
    let new = NewResource {
        name: "claude".to_owned(),
        profile: Some("claude".to_owned()),
        ..NewResource::default()
    };
    let created = issuer
        .issuer()
        .create_resource(&Caller::system(), new)
        .await;
    created.unwrap();
    issuer.role("claude-user", "claude", &[]).await;
}

#[tokio::test]
async fn without_the_proof_that_a_resource_demands_no_token_is_issued() {
    let (issuer, agent) = mailer().await;
    let _ = ask(&issuer, &agent, &[], &[]).await.assert_issued();
    demand_for_resource(&issuer, "mail").await;
    let answer = ask(&issuer, &agent, &[], &[]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_dpop_proof","error_description":"tokens for https://mail.example must be bound to a key: send a proof in the `DPoP` header (RFC 9449)"}"#);
    let refused = audited_in_time(&issuer, "token.refused", 1).await;
    assert_snapshot!(refused[0].draft.detail, @r#"{"error":"invalid_dpop_proof","reason":"tokens for https://mail.example must be bound to a key: send a proof in the `DPoP` header (RFC 9449)"}"#);
    // A token for another audience is not meant.
    let own = [("resource", issuer.url.as_str()), ("scope", "openid")];
    let _ = ask(&issuer, &agent, &[], &own).await.assert_issued();
    let proof = proof_of(&issuer, HOLDER).build();
    let answer = with_proof(&issuer, &agent, &proof).await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"DPoP"}"#);
}

#[tokio::test]
async fn without_the_proof_that_an_agent_owes_no_token_is_issued_for_any_resource() {
    let (issuer, agent) = mailer().await;
    let other = issuer.agent("other").role("mailer").with_secret().await;
    demand_of_agent(&issuer, "mailer").await;
    let mut seen = Distinct::default();
    let own = [("resource", issuer.url.as_str()), ("scope", "openid")];
    for further in [&[][..], &own] {
        seen.add(refusal(&ask(&issuer, &agent, &[], further).await));
        let proof = proof_of(&issuer, HOLDER).build();
        let answer = ask(&issuer, &agent, &[&proof], further).await;
        assert_eq!(answer.claims()["cnf"], json!({ "jkt": jkt(HOLDER) }));
    }
    assert_snapshot!(seen, @r#"400 {"error":"invalid_dpop_proof","error_description":"tokens of this agent must be bound to a key: send a proof in the `DPoP` header (RFC 9449)"}"#);
    let _ = ask(&issuer, &other, &[], &[]).await.assert_issued();
}

#[tokio::test]
async fn a_demand_that_another_replica_made_holds_at_the_next_request() {
    let a = mail_issuer_on_postgres().await;
    let b = a.replica().await.unwrap();
    let agent = a.agent("mailer").role("mailer").with_secret().await;
    for issuer in [&a, &b] {
        let _ = ask(issuer, &agent, &[], &[]).await.assert_issued();
    }
    demand_of_agent(&a, "mailer").await;
    assert_eq!(
        ask(&b, &agent, &[], &[]).await.json()["error"],
        "invalid_dpop_proof"
    );
}

#[tokio::test]
async fn a_token_whose_key_no_one_would_check_is_not_bound_to_one() {
    let issuer = mail_issuer().await;
    claude(&issuer).await;
    let agent = issuer
        .agent("thinker")
        .role("claude-user")
        .with_secret()
        .await;
    let mut seen = Answers::default();
    let proof = proof_of(&issuer, HOLDER).build();
    let answer = with_proof(&issuer, &agent, &proof).await;
    seen.add("with a proof", &issuer, &refusal(&answer));
    let answer = by_basic(&issuer, "thinker", agent.secret(), &[]).await;
    assert_eq!(answer.claims().get("cnf"), None);

    demand_of_agent(&issuer, "thinker").await;
    let answer = by_basic(&issuer, "thinker", agent.secret(), &[]).await;
    seen.add("owed", &issuer, &refusal(&answer));
    let proof = proof_of(&issuer, HOLDER).build();
    let answer = with_proof(&issuer, &agent, &proof).await;
    seen.add("owed and sent", &issuer, &refusal(&answer));
    assert_snapshot!(seen, @r#"
    with a proof: 400 {"error":"invalid_target","error_description":"https://api.anthropic.com accepts bearer tokens only: leave out the `DPoP` header"}
    owed: 400 {"error":"invalid_target","error_description":"https://api.anthropic.com accepts bearer tokens only, and tokens of this agent must be bound to a key"}
    owed and sent: 400 {"error":"invalid_target","error_description":"https://api.anthropic.com accepts bearer tokens only, and tokens of this agent must be bound to a key"}
    "#);
}
