//! `/admin/v1/tokens/{jti}/trace`.

use insta::assert_snapshot;

use super::*;

async fn trace(issuer: &TestIssuer, token_id: &str) -> Answer {
    let path = format!("/tokens/{token_id}/trace");
    issuer.admin(Method::GET, &path, None).await
}

/// Which token was derived from which, one token a line.
fn tree(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer}");
    let body = answer.json();
    let lines: Vec<String> = body["tokens"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| {
            let depth = usize::try_from(token["depth"].as_u64().unwrap()).unwrap();
            let text = |name: &str| token[name].as_str().unwrap_or("-").to_owned();
            format!(
                "{}{} {} by {} for {}",
                "  ".repeat(depth),
                text("token_id"),
                text("state"),
                text("agent"),
                text("subject")
            )
        })
        .collect();
    lines.join("\n")
}

#[tokio::test]
async fn a_token_that_never_was_has_no_trace() {
    let issuer = mail_issuer().await;
    for id in ["never", "okta:none", "a%00b", &"a".repeat(300)] {
        let answer = trace(&issuer, id).await;
        assert!(matches!(answer.status, 400 | 404), "{answer}");
    }
    assert_snapshot!(trace(&issuer, "never").await.json()["detail"], @r#""token `never` not found""#);
}

#[tokio::test]
async fn a_token_that_was_not_delegated_is_its_own_root() {
    let (issuer, mailer, _) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    let answer = trace(&issuer, &jti(&token)).await;
    let mut body = answer.json();
    let request_id = body["tokens"][0]["request_id"].take();
    assert!(request_id.as_str().is_some_and(|id| !id.is_empty()));
    assert_snapshot!(body.to_string().replace(&jti(&token), "JTI"), @r#"{"complete":true,"token_id":"JTI","tokens":[{"address":"127.0.0.1","agent":"mailer","audience":"https://mail.example","delegation_id":null,"depth":0,"expires_at":1800000900,"issued_at":1800000000,"kind":"access_token","parent_id":null,"request_id":null,"scope":"read send","state":"active","subject":"agent:mailer","token_id":"JTI","trusted_issuer":null}]}"#);
}

#[tokio::test]
async fn a_trace_shows_the_whole_tree_from_any_of_its_tokens_and_what_still_holds() {
    let (issuer, _, _) = two_agents().await;
    trust_okta(&issuer).await;
    for (child, parent, actor) in [
        ("b-one", "okta:2f5c", "mailer"),
        ("b-two", "b-one", "printer"),
        ("b-three", "b-two", "printer"),
        ("b-side", "b-one", "printer"),
        ("c-other", "okta:2f5c", "printer"),
    ] {
        note_parent(&issuer, child, parent, actor, "user:okta:alice").await;
    }
    let first = trace(&issuer, "okta:2f5c").await;
    assert_snapshot!(tree(&first), @"
    okta:2f5c - by - for -
      b-one active by mailer for user:okta:alice
        b-side active by printer for user:okta:alice
        b-two active by printer for user:okta:alice
          b-three active by printer for user:okta:alice
      c-other active by printer for user:okta:alice
    ");
    assert_eq!(first.json()["tokens"][0]["trusted_issuer"], "okta");
    assert_eq!(first.json()["tokens"][2]["parent_id"], "b-one");
    assert_eq!(first.json()["tokens"][2]["delegation_id"], "delegation-1");
    for id in ["b-one", "b-side", "b-three", "c-other"] {
        let answer = trace(&issuer, id).await;
        assert_eq!(answer.json()["token_id"], id);
        assert_eq!(answer.json()["tokens"].as_array().unwrap().len(), 6, "{id}");
    }
    let body = json!({"token_id": "b-two"});
    let revoked = issuer
        .admin(Method::POST, "/revocations", Some(&body))
        .await;
    assert_eq!(revoked.json()["revoked"], true, "{revoked}");
    assert_snapshot!(tree(&trace(&issuer, "b-two").await), @"
    okta:2f5c - by - for -
      b-one active by mailer for user:okta:alice
        b-two revoked by printer for user:okta:alice
          b-three revoked by printer for user:okta:alice
        b-side active by printer for user:okta:alice
      c-other active by printer for user:okta:alice
    ");
    // The mark of an agent reaches all that it acts in, and what was made from that.
    issuer.clock.advance(1);
    suspend(&issuer, "mailer").await;
    assert_snapshot!(tree(&trace(&issuer, "okta:2f5c").await), @"
    okta:2f5c - by - for -
      b-one revoked by mailer for user:okta:alice
        b-side revoked by printer for user:okta:alice
        b-two revoked by printer for user:okta:alice
          b-three revoked by printer for user:okta:alice
      c-other active by printer for user:okta:alice
    ");
    issuer.clock.advance(900);
    assert_snapshot!(tree(&trace(&issuer, "c-other").await), @"
    okta:2f5c - by - for -
      c-other expired by printer for user:okta:alice
      b-one revoked by mailer for user:okta:alice
        b-side revoked by printer for user:okta:alice
        b-two revoked by printer for user:okta:alice
          b-three revoked by printer for user:okta:alice
    ");
}

#[tokio::test]
async fn a_tree_that_is_too_large_is_cut_and_says_so_and_still_shows_the_way_to_the_token() {
    let (issuer, _, _) = two_agents().await;
    let id = issuer_id(&issuer).await;
    let actor = agent_id(&issuer, "mailer").await;
    let mut tx = issuer.host().store().write().await.unwrap();
    tx.lock_head(&id).await.unwrap();
    let child = |number: i32| LineageRow {
        token_id: format!("child-{number:04}"),
        made: Some(Exchanged {
            parent_id: "okta:root".to_owned(),
            delegation: DelegationId::from_text("delegation-1"),
            actor: actor.clone(),
        }),
        root_id: "okta:root".to_owned(),
        depth: 1,
        subject: "user:okta:alice".to_owned(),
        audience: "https://mail.example".to_owned(),
        scopes: String::new(),
        proven: None,
        issued_at: UnixTime(START),
        expires_at: UnixTime(START + 900),
    };
    let children: Vec<LineageRow> = (0..1005).map(child).collect();
    tx.insert_lineage(&id, &children).await.unwrap();
    tx.commit().await.unwrap();
    let body = trace(&issuer, "child-1004").await.json();
    let tokens = body["tokens"].as_array().unwrap();
    assert_eq!((&body["complete"], tokens.len()), (&json!(false), 1000));
    assert!(tokens.iter().any(|token| token["token_id"] == "child-1004"));
}
