//! The audit as the API shows it.

use firman::domain::audit::{AuditDraft, AuditEvent, chain};
use firman::ports::time::UnixMillis;
use firman::testing::TestKey;

use super::*;

#[tokio::test]
async fn entries_are_listed_newest_first_in_pages_and_by_filter() {
    let issuer = TestIssuer::start().await;
    issuer.agent("a").with_secret().await;
    issuer.clock.advance(10);
    post(&issuer, "/agents", json!({ "name": "b", "owner": "x" })).await;
    let list = get(&issuer, "/audit?limit=2").await.json();
    let newest = &list["items"][0];
    assert_eq!(
        (&newest["event"], &newest["target"], &newest["actor"]),
        (
            &json!("agent.created"),
            &json!("agent:b"),
            &json!("administrator:bootstrap")
        )
    );
    assert_eq!(
        (&newest["at"], &newest["at_ms"]),
        (
            &json!("2027-01-15T08:00:10.000Z"),
            &json!((START + 10) * 1000)
        )
    );
    assert_eq!(newest["hash"].as_str().map(str::len), Some(64));
    let next = get(
        &issuer,
        &format!(
            "/audit?limit=200&cursor={}",
            list["next_cursor"].as_str().unwrap()
        ),
    )
    .await
    .json();
    assert_eq!(
        next["items"][0]["seq"].as_i64(),
        list["items"][1]["seq"].as_i64().map(|seq| seq - 1)
    );
    assert_eq!(next["next_cursor"], Value::Null);

    let count = async |query: &str| {
        get(&issuer, &format!("/audit?{query}")).await.json()["items"]
            .as_array()
            .map(Vec::len)
    };
    assert_eq!(count("agent=a").await, Some(2));
    assert_eq!(count("agent=a&event=credential.added").await, Some(1));
    assert_eq!(count("actor=administrator:bootstrap").await, Some(1));
    assert_eq!(count(&format!("since={}", START + 10)).await, Some(1));
    assert_eq!(
        count(&format!("since={}&until={}", START + 9, START + 10)).await,
        Some(0)
    );
    assert_eq!(count("token_id=nope").await, Some(0));
    assert_problem(
        &get(&issuer, "/audit?agent=nobody").await,
        404,
        "not_found",
        "agent `nobody` not found",
    );
    assert_eq!(
        kind_of(&get(&issuer, "/audit?event=nope").await),
        (400, "invalid".to_owned())
    );
}

#[tokio::test]
async fn entries_are_found_by_a_bare_actor_and_by_their_target() {
    let issuer = TestIssuer::start().await;
    issuer.resource("api", &["read"]).await;
    issuer.role("reader", "api", &["read"]).await;
    post(&issuer, "/groups", json!({ "name": "ops" })).await;
    let agent = issuer
        .agent("mailer")
        .role("reader")
        .with_public_key(TestKey::Es256)
        .await;
    let _ = issuer
        .token_with(&agent.assertion().build())
        .await
        .assert_issued();
    let found = async |query: &str| {
        let list = get(&issuer, &format!("/audit?{query}")).await.json();
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|entry| entry["event"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let by_bootstrap = found("actor=administrator:bootstrap").await;
    assert_eq!(by_bootstrap, ["group.created"]);
    assert_eq!(found("actor=bootstrap").await, by_bootstrap);
    assert_eq!(found("actor=mailer").await, ["token.issued"]);
    assert_eq!(found("target=role:reader").await, ["role.created"]);
    assert_eq!(found("target=role:reader&actor=unknown").await, [""; 0]);
    // Its tokens are about it as well.
    let about = ["token.issued", "credential.added", "agent.created"];
    assert_eq!(found("target=agent:mailer").await, about);
    assert_problem(
        &get(&issuer, "/audit?actor=nobody").await,
        400,
        "invalid",
        "actor: no administrator or agent is named `nobody`; an actor is `administrator:NAME`, `agent:NAME`, `system` or `unknown`",
    );
    post(
        &issuer,
        "/agents",
        json!({ "name": "bootstrap", "owner": "x" }),
    )
    .await;
    assert_problem(
        &get(&issuer, "/audit?actor=bootstrap").await,
        400,
        "invalid",
        "actor: `bootstrap` is an administrator and an agent: write `administrator:bootstrap` or `agent:bootstrap`",
    );
}

/// More entries than are looked at by one call, 100 of them before the rest.
async fn with_a_long_audit(issuer: &TestIssuer) {
    let store = issuer.host().store();
    let mut tx = store.write().await.expect("a working store");
    let id = tx.issuers().await.expect("a working store")[0].id.clone();
    let head = tx
        .lock_head(&id)
        .await
        .expect("a working store")
        .expect("a working store");
    let drafts = (0..50_100).map(|number| {
        let at = UnixMillis((START + 10 * number) * 1000);
        AuditDraft::new(at, AuditEvent::ClientRefused, "unknown", &json!({}))
    });
    let entries = chain(id.as_str(), head.chain(), drafts.collect());
    for part in entries.chunks(1000) {
        tx.append_audit(&id, part).await.expect("a working store");
    }
    let last = entries.last().expect("a working store");
    tx.set_head(&id, last.into(), None)
        .await
        .expect("a working store");
    tx.commit().await.expect("a working store");
}

#[tokio::test]
async fn a_search_without_an_index_reads_a_part_of_the_audit_at_a_time() {
    let issuer = TestIssuer::start().await;
    post(&issuer, "/roles", json!({ "name": "early" })).await;
    with_a_long_audit(&issuer).await;
    // Rare events have no index: the first page is empty and leads on.
    let first = get(&issuer, "/audit?event=role.created").await.json();
    assert_eq!(first["items"], json!([]));
    let cursor = first["next_cursor"].as_str().unwrap();
    let next = get(
        &issuer,
        &format!("/audit?event=role.created&cursor={cursor}"),
    )
    .await
    .json();
    assert_eq!(
        (&next["items"][0]["target"], &next["next_cursor"]),
        (&json!("role:early"), &Value::Null)
    );
    // What has an index is found at once, and what is older than the time that was named is not looked for.
    let indexed = get(&issuer, "/audit?target=role:early").await.json();
    assert_eq!(indexed["items"], next["items"]);
    let since = format!("/audit?event=role.created&since={}", START + 400_000);
    let recent = get(&issuer, &since).await.json();
    assert_eq!(recent, json!({ "items": [], "next_cursor": null }));
    let tail = get(&issuer, "/audit/tail?after=0&event=key.revoked")
        .await
        .json();
    assert_eq!(
        tail,
        json!({ "items": [], "after": 50_000, "caught_up": false })
    );
}

#[tokio::test]
async fn entries_are_followed_from_a_number_on() {
    let issuer = TestIssuer::start().await;
    issuer.agent("a").with_secret().await;
    let newest = get(&issuer, "/audit?limit=1").await.json()["items"][0]["seq"].clone();
    let nothing = json!({ "items": [], "after": newest, "caught_up": true });
    assert_eq!(get(&issuer, "/audit/tail").await.json(), nothing);
    assert_eq!(
        get(&issuer, &format!("/audit/tail?after={newest}"))
            .await
            .json(),
        nothing
    );
    assert_eq!(
        get(&issuer, "/audit/tail?after=1000000").await.json(),
        nothing
    );

    post(&issuer, "/groups", json!({ "name": "ops" })).await;
    let next = newest.as_i64().unwrap() + 1;
    let tail = get(&issuer, &format!("/audit/tail?after={newest}"))
        .await
        .json();
    assert_eq!(
        (&tail["after"], &tail["caught_up"]),
        (&json!(next), &json!(true))
    );
    assert_eq!(tail["items"][0]["target"], "group:ops");
    let first = get(&issuer, "/audit/tail?after=0&limit=1").await.json();
    assert_eq!(
        (&first["after"], &first["caught_up"]),
        (&json!(1), &json!(false))
    );
    let filtered = get(&issuer, "/audit/tail?after=0&target=group:ops")
        .await
        .json();
    assert_eq!(filtered["items"], tail["items"]);
    assert_problem(
        &get(&issuer, "/audit/tail?after=-1").await,
        400,
        "invalid",
        "after: must be 0 or the number of an entry",
    );
}

#[tokio::test]
async fn the_chain_is_verified_to_its_head() {
    let issuer = TestIssuer::start().await;
    for name in ["a", "b", "c"] {
        issuer.agent(name).with_secret().await;
    }
    let newest = get(&issuer, "/audit?limit=1").await.json()["items"][0].clone();
    let verdict = get(&issuer, "/audit/verify").await.json();
    assert_eq!(
        verdict,
        json!({ "ok": true, "entries": newest["seq"], "head_hash": newest["hash"], "first_bad": null })
    );
}

#[tokio::test]
async fn ad_029_no_call_changes_or_removes_an_entry() {
    let issuer = TestIssuer::start().await;
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        assert_eq!(
            call(&issuer, method.clone(), "/audit").await.status,
            405,
            "{method}"
        );
        assert_eq!(
            call(&issuer, method.clone(), "/audit/verify").await.status,
            405,
            "{method}"
        );
        assert_eq!(
            call(&issuer, method.clone(), "/audit/1").await.status,
            404,
            "{method}"
        );
    }
}
