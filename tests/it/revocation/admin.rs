//! `/admin/v1/revocations`.

use firman::jose::digest::base64url;
use insta::assert_snapshot;

use super::*;
use crate::oauth2::{Answers, audited};

async fn post(issuer: &TestIssuer, body: Value) -> Answer {
    issuer
        .admin(Method::POST, "/revocations", Some(&body))
        .await
}

/// The entries of the list, all pages of `limit`.
async fn listed(issuer: &TestIssuer, limit: usize) -> Vec<Value> {
    let (mut entries, mut query) = (Vec::new(), format!("?limit={limit}"));
    loop {
        let page = issuer
            .admin(Method::GET, &format!("/revocations{query}"), None)
            .await;
        assert_eq!(page.status, 200, "{page}");
        let items = page.json()["items"].as_array().unwrap().clone();
        assert!(items.len() <= limit);
        entries.extend(items);
        match page.json()["next_cursor"].as_str() {
            Some(cursor) => query = format!("?limit={limit}&cursor={cursor}"),
            None => return entries,
        }
    }
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn a_wish_that_names_nothing_or_too_much_ends_nothing() {
    let (issuer, mailer, _) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    let other = TestIssuer::start().await;
    let mut seen = Answers::default();
    for (case, body) in [
        ("nothing", json!({})),
        ("null", json!({"token_id": null})),
        (
            "two",
            json!({"token_id": jti(&token), "subject": "agent:mailer"}),
        ),
        (
            "all",
            json!({"token_id": "a", "token": "b", "subject": "c"}),
        ),
        ("another member", json!({"jti": jti(&token)})),
        ("an empty id", json!({"token_id": ""})),
        ("a long id", json!({"token_id": "a".repeat(257)})),
        ("an id never issued", json!({"token_id": "never-issued"})),
        ("an id with a NUL", json!({"token_id": "a\0"})),
        ("a token in place of its id", json!({"token_id": "a.b.c"})),
        ("garbage", json!({"token": "garbage"})),
        (
            "a token of another issuer",
            json!({"token": signed(&other, "at+jwt", json!({}))}),
        ),
        (
            "an expired token",
            json!({"token": signed(&issuer, "at+jwt", json!({"exp": START}))}),
        ),
        (
            "a list",
            json!({"token": issuer.get("/oauth2/revocations").await.text()}),
        ),
        ("a subject nobody has", json!({"subject": "agent:mailr"})),
        ("an empty subject", json!({"subject": " "})),
        (
            "somebody from outside under a name of another spelling",
            json!({"subject": "user:okta:alice@example.com"}),
        ),
        ("nobody from outside", json!({"subject": "user:okta"})),
    ] {
        let answer = post(&issuer, body).await;
        let problem = answer.json();
        seen.add(
            case,
            &issuer,
            &format!("{} {}", answer.status, problem["detail"].as_str().unwrap()),
        );
    }
    assert_snapshot!(seen, @"
    nothing: 400 exactly one of `token_id`, `token` and `subject` is required
    null: 400 exactly one of `token_id`, `token` and `subject` is required
    two: 400 exactly one of `token_id`, `token` and `subject` is required
    all: 400 exactly one of `token_id`, `token` and `subject` is required
    another member: 400 jti: unknown field `jti`, expected one of `token_id`, `token`, `subject`
    an empty id: 400 token_id: is empty
    a long id: 400 token_id: is longer than 256 characters
    an id never issued: 404 token `never-issued` not found
    an id with a NUL: 400 token_id: contains the character U+0000, which is not allowed here
    a token in place of its id: 404 token `a.b.c` not found
    garbage: 400 token: is not a token that this issuer can revoke: the token is not a compact JWS: it must have three parts joined by dots
    a token of another issuer: 400 token: is not a token that this issuer can revoke: its `kid` is not a key that this issuer publishes
    an expired token: 400 token: is not a token that this issuer can revoke: it has expired
    a list: 400 token: is not a token that this issuer can revoke: its `typ` is neither `at+jwt` nor `JWT`
    a subject nobody has: 404 subject `agent:mailr` not found
    an empty subject: 400 subject: is empty
    somebody from outside under a name of another spelling: 400 subject: matches no user: the part after the second `:` must be percent-encoded, as in `user:okta:alice%40example.com`
    nobody from outside: 400 subject: matches no user: it must be `user:`, a trusted issuer's name, `:` and the percent-encoded subject
    ");
    assert!(is_active(&issuer, &mailer, &token).await);
    assert_eq!(listed(&issuer, 50).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_page_that_the_list_never_gave_is_refused() {
    let issuer = mail_issuer().await;
    let forged = base64url(b"revocations:neither");
    for query in [
        "?cursor=x",
        &format!("?cursor={forged}"),
        &format!("?cursor={}", base64url(b"revocations:subjects:a")),
        "?limit=0",
        "?limit=201",
    ] {
        let answer = issuer
            .admin(Method::GET, &format!("/revocations{query}"), None)
            .await;
        assert_eq!(answer.status, 400, "{query}: {answer}");
    }
}

/// A token about `subject` that `printer` got by exchange.
fn delegated(issuer: &TestIssuer, subject: &str) -> String {
    let claims = json!({"jti": "delegated", "sub": subject, "client_id": "printer",
        "acting_agent": "agent:printer", "act": act(issuer, &["agent:printer"])});
    signed(issuer, "at+jwt", claims)
}

#[tokio::test]
async fn a_token_ends_by_its_id_with_what_was_made_from_it() {
    let (issuer, mailer, printer) = two_agents().await;
    let (root, below) = (
        token_of(&issuer, &mailer).await,
        delegated(&issuer, "agent:mailer"),
    );
    note_parent(
        &issuer,
        &jti(&below),
        &jti(&root),
        "printer",
        "agent:mailer",
    )
    .await;
    let shown = |answer: &Answer| answer.to_string().replace(&jti(&root), "JTI");
    let body = json!({"token_id": jti(&root)});
    assert_snapshot!(shown(&post(&issuer, body.clone()).await), @r#"200 {"token_id":"JTI","subject":"agent:mailer","expires_at":1800000900,"revoked":true}"#);
    assert!(!is_active(&issuer, &mailer, &root).await);
    assert!(!is_active(&issuer, &printer, &below).await);
    assert_snapshot!(shown(&post(&issuer, body).await), @r#"200 {"token_id":"JTI","subject":"agent:mailer","expires_at":1800000900,"revoked":false}"#);
    let revoked = audited(&issuer, "token.revoked").await;
    assert_eq!(revoked.len(), 1);
    assert_eq!(revoked[0].draft.actor, "administrator:bootstrap");
    assert_eq!(revoked[0].draft.token_id, Some(jti(&root)));
    // An expired one has ended already.
    let late = token_of(&issuer, &mailer).await;
    issuer.clock.advance(931);
    let answer = post(&issuer, json!({"token_id": jti(&late)})).await;
    assert_eq!(answer.json()["revoked"], false, "{answer}");
}

#[tokio::test]
async fn a_whole_token_is_accepted_and_stored_nowhere() {
    let (issuer, mailer, _) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    let answer = post(&issuer, json!({"token": token})).await;
    assert_snapshot!(answer.to_string().replace(&jti(&token), "JTI"), @r#"200 {"token_id":"JTI","subject":"agent:mailer","expires_at":1800000900,"revoked":true}"#);
    assert!(!is_active(&issuer, &mailer, &token).await);
    let signature = token.rsplit('.').next().unwrap();
    let trail = issuer
        .admin(Method::GET, "/audit?limit=200", None)
        .await
        .text();
    assert!(trail.contains(&jti(&token)) && !trail.contains(signature));
}

#[tokio::test]
async fn all_tokens_of_a_subject_so_far_end_and_later_ones_live() {
    let (issuer, mailer, printer) = two_agents().await;
    serve_mail(&issuer, "printer").await;
    let own = token_of(&issuer, &mailer).await;
    let acting = signed(
        &issuer,
        "at+jwt",
        json!({"sub": "user:okta:alice", "act": act(&issuer, &["agent:mailer"])}),
    );
    note_parent(
        &issuer,
        &jti(&acting),
        "okta:1",
        "mailer",
        "user:okta:alice",
    )
    .await;
    assert!(is_active(&issuer, &printer, &acting).await);
    assert_snapshot!(post(&issuer, json!({"subject": "agent:mailer"})).await, @r#"200 {"subject":"agent:mailer","expires_at":1800043230,"not_before":1800000000}"#);
    for token in [&own, &acting] {
        assert!(!is_active(&issuer, &printer, token).await);
    }
    issuer.clock.advance(1);
    let later = token_of(&issuer, &mailer).await;
    assert!(is_active(&issuer, &printer, &later).await);
    let entry = audited(&issuer, "subject.revoked").await.remove(0).draft;
    assert_eq!(
        (entry.target.as_str(), entry.detail.as_str()),
        ("agent:mailer", r#"{"not_before":1800000000}"#)
    );
    assert_eq!(entry.agent, Some(agent_id(&issuer, "mailer").await));
    let for_alice = signed(
        &issuer,
        "at+jwt",
        json!({"jti": "for-alice", "sub": "user:okta:alice", "iat": START + 1,
            "act": act(&issuer, &["agent:mailer"])}),
    );
    note_parent(&issuer, "for-alice", "okta:1", "mailer", "user:okta:alice").await;
    assert!(is_active(&issuer, &printer, &for_alice).await);
    assert_eq!(
        post(&issuer, json!({"subject": "user:okta:alice"}))
            .await
            .status,
        200
    );
    assert!(!is_active(&issuer, &printer, &for_alice).await);
}

#[tokio::test]
async fn a_subject_that_is_revoked_twice_in_a_second_is_revoked_once() {
    let (issuer, _, _) = two_agents().await;
    let subject = json!({"subject": "agent:mailer"});
    let first = post(&issuer, subject.clone()).await;
    assert_snapshot!(first, @r#"200 {"subject":"agent:mailer","expires_at":1800043230,"not_before":1800000000}"#);
    let again = post(&issuer, subject.clone()).await;
    assert_eq!(again.to_string(), first.to_string());
    assert_eq!(audited(&issuer, "subject.revoked").await.len(), 1);
    // Nor does a clock that was set back take the mark back.
    issuer.clock.advance(-60);
    let earlier = post(&issuer, subject.clone()).await;
    assert_eq!(earlier.to_string(), first.to_string());
    assert_eq!(audited(&issuer, "subject.revoked").await.len(), 1);
    issuer.clock.advance(61);
    assert_snapshot!(post(&issuer, subject).await, @r#"200 {"subject":"agent:mailer","expires_at":1800043231,"not_before":1800000001}"#);
    assert_eq!(audited(&issuer, "subject.revoked").await.len(), 2);
}

#[tokio::test]
async fn what_was_made_from_a_token_from_outside_ends_by_the_name_that_stands_for_it() {
    let (issuer, _, printer) = two_agents().await;
    let token = delegated(&issuer, "user:okta:alice");
    note_parent(
        &issuer,
        &jti(&token),
        "okta:2f5c",
        "printer",
        "user:okta:alice",
    )
    .await;
    let answer = post(&issuer, json!({"token_id": "okta:2f5c"})).await;
    assert_snapshot!(answer, @r#"200 {"token_id":"okta:2f5c","subject":"user:okta:alice","expires_at":1800000900,"revoked":true}"#);
    assert!(!is_active(&issuer, &printer, &token).await);
}

#[tokio::test]
async fn the_list_has_tokens_then_subjects_then_delegations_in_pages_and_entries_leave_in_time() {
    let (issuer, mailer, _) = two_agents().await;
    for _ in 0..3 {
        let token = token_of(&issuer, &mailer).await;
        assert_eq!(
            post(&issuer, json!({"token_id": jti(&token)})).await.status,
            200
        );
    }
    let new = json!({"actor": "printer", "subject": "agent:mailer", "resource": "mail", "expires_in": 90});
    let added = issuer
        .admin(Method::POST, "/delegations", Some(&new))
        .await
        .json();
    let id = added["id"].as_str().unwrap();
    let path = format!("/delegations/{id}/suspend");
    assert_eq!(issuer.admin(Method::POST, &path, None).await.status, 200);
    suspend(&issuer, "mailer").await;
    assert_eq!(
        post(&issuer, json!({"subject": "agent:printer"}))
            .await
            .status,
        200
    );
    let whole = listed(&issuer, 50).await;
    let kinds: Vec<&str> = whole
        .iter()
        .map(|entry| entry["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        [
            "token",
            "token",
            "token",
            "subject",
            "subject",
            "delegation"
        ]
    );
    assert_eq!(whole[5]["delegation"], id);
    assert_snapshot!(whole[3], @r#"{"expires_at":1800043230,"kind":"subject","revoked_at":1800000000,"subject":"agent:mailer"}"#);
    for limit in 1..=7 {
        assert_eq!(listed(&issuer, limit).await, whole, "{limit}");
    }
    issuer.clock.advance(930);
    assert_eq!(listed(&issuer, 50).await, whole[3..]);
    issuer.clock.advance(43_230 - 930);
    assert_eq!(listed(&issuer, 50).await, Vec::<Value>::new());
    // A day later the rows are gone too, and so nothing is there when the clock is set back.
    issuer.clock.advance(86_401);
    issuer.host().maintain().await;
    issuer.clock.advance(-86_401 - 43_230);
    assert_eq!(listed(&issuer, 50).await, Vec::<Value>::new());
}
