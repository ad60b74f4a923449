//! `GET /oauth2/revocations`: the signed list.

use std::time::{Duration, Instant};

use firman::jose::{Claims, PublicJwkSet, UnverifiedJws};
use insta::assert_snapshot;
use sqlx::Connection as _;

use super::*;
use crate::oauth2::{Distinct, refusal};

const LIST: &str = "/oauth2/revocations";

/// The claims of the published list, verified with the published keys as a stranger would.
async fn claims(issuer: &TestIssuer) -> Value {
    let list = issuer.get(LIST).await;
    assert_list_headers(&list);
    verified(issuer, &list.text()).await
}

async fn verified(issuer: &TestIssuer, list: &str) -> Value {
    let keys = PublicJwkSet::parse_published(&issuer.get("/oauth2/jwks").await.body).unwrap();
    let unverified = UnverifiedJws::parse(list, 1024 * 1024).unwrap();
    assert!(
        unverified
            .unverified_header()
            .is_type("revocation-list+jwt")
    );
    let jws = keys
        .keys()
        .iter()
        .filter(|key| unverified.may_be_signed_by(key))
        .find_map(|key| unverified.verify(key).ok())
        .unwrap();
    assert_eq!(
        Claims::parse(&jws).unwrap().issuer.as_deref(),
        Some(issuer.url.as_str())
    );
    serde_json::from_slice(jws.payload()).unwrap()
}

fn assert_list_headers(answer: &Answer) {
    let names = [
        "cache-control",
        "content-type",
        "x-content-type-options",
        "access-control-allow-origin",
        "access-control-allow-credentials",
    ];
    assert_eq!(
        names.map(|name| answer.header(name)),
        ["public, max-age=30", "application/jwt", "nosniff", "*", ""],
        "{answer}"
    );
}

async fn revoke(issuer: &TestIssuer, body: Value) {
    let answer = issuer
        .admin(Method::POST, "/revocations", Some(&body))
        .await;
    assert_eq!(answer.status, 200, "{answer}");
}

#[tokio::test]
async fn the_list_is_accepted_as_nothing_else() {
    let (issuer, mailer, _) = two_agents().await;
    let list = issuer.get(LIST).await.text();
    assert_eq!(
        introspect(&issuer, &mailer, &list).await.to_string(),
        INACTIVE
    );
    assert!(issuer.issuer().verify_own(&list, UnixTime(START)).is_err());
    let mut seen = Distinct::default();
    seen.add(refusal(&issuer.token_with(&list).await));
    seen.add(refusal(
        &ask_with_assertion(&issuer, "introspect", &list, "a").await,
    ));
    assert_snapshot!(seen, @r#"401 {"error":"invalid_client","error_description":"client authentication failed"}"#);
    // Also when it has every claim of a token.
    let dressed = signed(&issuer, "revocation-list+jwt", json!({}));
    assert_eq!(
        introspect(&issuer, &mailer, &dressed).await.to_string(),
        INACTIVE
    );
}

#[tokio::test]
async fn the_list_names_tokens_and_subjects_and_is_signed_by_the_issuer() {
    let (issuer, mailer, _) = two_agents().await;
    let empty = claims(&issuer).await;
    assert_snapshot!(empty.to_string().replace(&issuer.url, "ISSUER"), @r#"{"complete":true,"delegations":{},"exp":1800003600,"iat":1800000000,"iss":"ISSUER","not_before":{},"revoked":[]}"#);
    let mut ids = Vec::new();
    for _ in 0..3 {
        let token = token_of(&issuer, &mailer).await;
        revoke(&issuer, json!({"token_id": jti(&token)})).await;
        ids.push(jti(&token));
    }
    ids.sort();
    suspend(&issuer, "mailer").await;
    let full = claims(&issuer).await;
    let expected: Vec<Value> = ids
        .iter()
        .map(|id| json!({"jti": id, "exp": START + 900}))
        .collect();
    assert_eq!(full["revoked"], json!(expected));
    assert_eq!(full["not_before"], json!({"agent:mailer": START}));
    assert_eq!(full["complete"], true);
}

#[tokio::test]
async fn entries_leave_when_the_tokens_would_have_expired() {
    let (issuer, mailer, _) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    revoke(&issuer, json!({"token_id": jti(&token)})).await;
    revoke(&issuer, json!({"subject": "agent:mailer"})).await;
    let sizes = async |issuer: &TestIssuer| {
        let claims = claims(issuer).await;
        let marks = claims["not_before"].as_object().unwrap().len();
        (claims["revoked"].as_array().unwrap().len(), marks)
    };
    assert_eq!(sizes(&issuer).await, (1, 1));
    // A verifier accepts a token for the skew longer than it states.
    issuer.clock.advance(929);
    assert_eq!(sizes(&issuer).await, (1, 1));
    issuer.clock.advance(11);
    assert_eq!(sizes(&issuer).await, (0, 1));
    issuer.clock.advance(43_230 - 941);
    assert_eq!(sizes(&issuer).await, (0, 1));
    issuer.clock.advance(11);
    assert_eq!(sizes(&issuer).await, (0, 0));
}

#[tokio::test]
async fn the_list_is_signed_anew_when_something_changed_and_seldom_otherwise() {
    let (issuer, mailer, _) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    let first = issuer.get(LIST).await;
    issuer.clock.advance(299);
    assert_eq!(issuer.get(LIST).await.text(), first.text());
    let known = [("if-none-match", first.header("etag"))];
    let answer = issuer.send(Method::GET, LIST, &known, "").await;
    assert_eq!((answer.status, answer.text().as_str()), (304, ""));
    assert_eq!(answer.header("cache-control"), "public, max-age=30");
    // A change of the registry that revokes nothing does not change it.
    let edit = json!({"description": "mails"});
    let edited = issuer
        .admin(Method::PATCH, "/agents/mailer", Some(&edit))
        .await;
    assert_eq!(edited.status, 200, "{edited}");
    assert_eq!(issuer.get(LIST).await.text(), first.text());
    revoke(&issuer, json!({"token_id": jti(&token)})).await;
    let second = issuer.send(Method::GET, LIST, &known, "").await;
    assert_eq!(second.status, 200);
    let told = verified(&issuer, &second.text()).await;
    assert_eq!(
        (&told["iat"], &told["exp"]),
        (&json!(START + 299), &json!(START + 299 + 3600))
    );
    issuer.clock.advance(310);
    assert_ne!(issuer.get(LIST).await.text(), second.text());
}

#[tokio::test]
async fn a_list_of_a_withdrawn_key_is_gone_at_once() {
    let issuer = mail_issuer().await;
    let before = issuer.get(LIST).await.text();
    let kid = decoded_part(&before, 0)["kid"].as_str().unwrap().to_owned();
    let reason = json!({"reason": "a test"});
    let revoked = issuer
        .admin(Method::POST, &format!("/keys/{kid}/revoke"), Some(&reason))
        .await;
    assert!(revoked.status < 300, "{revoked}");
    let _ = claims(&issuer).await;
}

#[tokio::test]
async fn the_list_is_read_like_the_key_set() {
    let issuer = mail_issuer().await;
    let whole = issuer.get(LIST).await;
    let head = issuer.send(Method::HEAD, LIST, &[], "").await;
    assert_list_headers(&head);
    assert_eq!(
        (head.status, head.text().as_str(), head.header("etag")),
        (200, "", whole.header("etag"))
    );
    let preflight = issuer
        .send(
            Method::OPTIONS,
            LIST,
            &[("origin", "https://app.example")],
            "",
        )
        .await;
    assert_eq!(
        (
            preflight.status,
            preflight.header("access-control-allow-methods")
        ),
        (204, "GET, HEAD")
    );
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = issuer.send(method, LIST, &[], "").await;
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_503_for_anyone_who_asks_about_a_token() {
    let (issuer, mailer, _) = two_agents().await;
    let token = token_of(&issuer, &mailer).await;
    issuer.host().store().close().await;
    let mut seen = Distinct::default();
    for endpoint in ["introspect", "revoke"] {
        seen.add(ask(&issuer, endpoint, &mailer, &[("token", &token)]).await);
    }
    assert_snapshot!(seen, @r#"503 {"error":"temporarily_unavailable","error_description":"temporarily unavailable; try again"}"#);
}

/// Hides a table from the issuer, or restores it.
async fn rename_table(issuer: &TestIssuer, statement: &'static str) {
    let file = format!("sqlite:{}", issuer.folder().join("firman.db").display());
    let mut database = sqlx::SqliteConnection::connect(&file).await.unwrap();
    sqlx::query(statement).execute(&mut database).await.unwrap();
    database.close().await.unwrap();
}

const AWAY: &str = "ALTER TABLE revoked_tokens RENAME TO revoked_tokens_away";
const BACK: &str = "ALTER TABLE revoked_tokens_away RENAME TO revoked_tokens";

#[tokio::test]
async fn while_the_database_cannot_be_read_the_last_list_is_returned_until_shortly_before_its_end()
{
    let (issuer, ..) = two_agents().await;
    rename_table(&issuer, AWAY).await;
    let none = issuer.get(LIST).await;
    assert_eq!(none.status, 503, "{none}");
    assert!(!none.header("retry-after").is_empty(), "{none}");
    rename_table(&issuer, BACK).await;
    let list = issuer.get(LIST).await;
    assert_eq!(list.status, 200, "{list}");

    rename_table(&issuer, AWAY).await;
    for _ in 0..2 {
        // A cache may keep it for 30 seconds more, which is when it ends.
        issuer.clock.advance(3569 / 2);
        let last = issuer.get(LIST).await;
        assert_list_headers(&last);
        assert_eq!(last.text(), list.text());
    }
    issuer.clock.advance(2);
    let none = issuer.get(LIST).await;
    assert_eq!(none.status, 503, "{none}");
    rename_table(&issuer, BACK).await;
    assert_eq!(claims(&issuer).await["iat"], START + 3570);
}

#[tokio::test]
async fn a_database_that_does_not_answer_holds_up_no_reader_of_the_list() {
    let (issuer, ..) = two_agents().await;
    let list = issuer.get(LIST).await.text();
    let mut taken = Vec::new();
    while let Ok(tx) =
        tokio::time::timeout(Duration::from_millis(200), issuer.host().store().read()).await
    {
        taken.push(tx.unwrap());
    }
    issuer.clock.advance(60);
    let began = Instant::now();
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let asked = reqwest::get(format!("{}{LIST}", issuer.url));
        readers.spawn(async { asked.await.unwrap().text().await.unwrap() });
    }
    for answer in readers.join_all().await {
        assert_eq!(answer, list);
    }
    // One after the other they would have waited for 20 times two seconds.
    assert!(began.elapsed() < Duration::from_secs(10), "{began:?}");
    drop(taken);
}
