//! Those who hold copies of the signing keys, and what waits for them.

use super::*;

const PUBLISH_AHEAD: i64 = 900;

async fn with_consumer() -> TestIssuer {
    let issuer = TestIssuer::start().await;
    let new = json!({ "name": "claude", "description": "inline at Claude" });
    let made = post(&issuer, "/key-consumers", new).await;
    assert_eq!(made.status, 201, "{made}");
    assert_eq!(made.header("location"), "/admin/v1/key-consumers/claude");
    assert_eq!(
        post(&issuer, "/key-consumers/claude/ack", json!({}))
            .await
            .status,
        200
    );
    issuer
}

/// The keys of an algorithm in that state.
async fn kids(issuer: &TestIssuer, algorithm: &str, state: &str) -> Vec<String> {
    let list = get(issuer, "/keys").await.json();
    let keys = list["items"].as_array().expect("a list").iter();
    keys.filter(|key| key["algorithm"] == algorithm && key["state"] == state)
        .map(|key| key["kid"].as_str().expect("a text").to_owned())
        .collect()
}

/// Prepares an ES256 key.
async fn prepared(issuer: &TestIssuer) -> String {
    let made = post(issuer, "/keys/rotate", json!({ "algorithm": "ES256" })).await;
    assert_eq!(made.status, 201, "{made}");
    let key = &made.json()["items"][0];
    assert_eq!(key["waiting_for"], json!(["claude"]));
    key["kid"].as_str().expect("a text").to_owned()
}

async fn after(issuer: &TestIssuer, seconds: i64) {
    issuer.clock.advance(seconds);
    issuer.host().maintain().await;
}

#[tokio::test]
async fn what_is_no_consumer_or_no_key_is_refused() {
    let issuer = with_consumer().await;
    let again = post(&issuer, "/key-consumers", json!({ "name": "claude" })).await;
    let detail = "a key consumer named `claude` exists; choose another name";
    assert_problem(&again, 409, "conflict", detail);
    let unknown = "key consumer `nobody` not found";
    let ack = post(&issuer, "/key-consumers/nobody/ack", json!({})).await;
    assert_problem(&ack, 404, "not_found", unknown);
    let removed = call(&issuer, Method::DELETE, "/key-consumers/nobody").await;
    assert_problem(&removed, 404, "not_found", unknown);
    for (body, field) in [
        (json!({ "name": "A" }), "name"),
        (
            json!({ "name": "a", "description": "a\u{202e}" }),
            "description",
        ),
    ] {
        let answer = post(&issuer, "/key-consumers", body).await;
        assert_eq!(kind_of(&answer), (400, "invalid".to_owned()));
        assert_eq!(answer.json()["field"], field);
    }
    let es256 = kids(&issuer, "ES256", "active").await.remove(0);
    let path = "/key-consumers/claude/ack";
    for (kids, detail) in [
        (
            json!([]),
            "kids: is empty; leave it out to acknowledge all keys that are published now"
                .to_owned(),
        ),
        (
            json!(vec![&es256; 65]),
            "kids: contains more than 64 ids".to_owned(),
        ),
    ] {
        let answer = post(&issuer, path, json!({ "kids": kids })).await;
        assert_problem(&answer, 400, "invalid", &detail);
    }
    let answer = post(&issuer, path, json!({ "kids": [es256, "x\u{1b}y"] })).await;
    assert_eq!(kind_of(&answer), (400, "invalid".to_owned()));
    let detail = answer.json()["detail"].as_str().expect("a text").to_owned();
    assert!(
        detail.starts_with("kids: contains `xy`, which is not a published key; published: "),
        "{detail}"
    );
}

#[tokio::test]
async fn a_new_key_does_not_sign_before_its_consumer_has_acknowledged_it() {
    let issuer = with_consumer().await;
    let old = kids(&issuer, "ES256", "active").await;
    let new = prepared(&issuer).await;
    after(&issuer, PUBLISH_AHEAD).await;
    after(&issuer, 7 * 86_400).await;
    assert_eq!(kids(&issuer, "ES256", "active").await, old);
    assert_eq!(
        super::readiness::readyz(&issuer).await,
        r#"200 {"status":"ready"}"#
    );
    let refused = post(&issuer, "/keys/rotate", json!({ "algorithm": "ES256" })).await;
    assert_problem(
        &refused,
        409,
        "conflict",
        "a new ES256 key is already prepared and will sign at 2027-01-15T08:15:00Z or later; it waits for key consumers: claude\nhint: publish the key set to each, then run `firman key consumer ack NAME`",
    );

    let other = kids(&issuer, "RS256", "active").await;
    let ack = json!({ "kids": other });
    post(&issuer, "/key-consumers/claude/ack", ack).await;
    after(&issuer, 1).await;
    assert_eq!(
        kids(&issuer, "ES256", "active").await,
        old,
        "that was another key"
    );
    let acknowledged = post(
        &issuer,
        "/key-consumers/claude/ack",
        json!({ "kids": [new] }),
    )
    .await;
    assert_eq!(acknowledged.json()["missing"], json!([]));
    after(&issuer, 1).await;
    assert_eq!(kids(&issuer, "ES256", "active").await, [new]);
    let entry = audited(&issuer, "&event=key.acknowledged", |_| true).await;
    assert_eq!(
        (&entry["target"], &entry["detail"]),
        (
            &json!("key-consumer:claude"),
            &json!({ "kids": kids(&issuer, "ES256", "active").await, "lost": [] })
        )
    );
}

#[tokio::test]
async fn a_key_that_was_acknowledged_in_time_signs_as_soon_as_it_was_published_long_enough() {
    let issuer = with_consumer().await;
    let new = prepared(&issuer).await;
    let ack = post(&issuer, "/key-consumers/claude/ack", json!({})).await;
    assert_eq!(ack.json()["missing"], json!([]));
    let same = post(&issuer, "/key-consumers/claude/ack", json!({})).await;
    assert_eq!(same.json(), ack.json(), "twice is once");
    after(&issuer, PUBLISH_AHEAD - 1).await;
    assert_eq!(kids(&issuer, "ES256", "prepared").await.join(" "), new);
    after(&issuer, 1).await;
    assert_eq!(kids(&issuer, "ES256", "active").await, [new]);
}

#[tokio::test]
async fn a_consumer_that_is_removed_is_not_waited_for_and_begins_anew_when_it_comes_back() {
    let issuer = with_consumer().await;
    let new = prepared(&issuer).await;
    after(&issuer, PUBLISH_AHEAD).await;
    assert_eq!(
        call(&issuer, Method::DELETE, "/key-consumers/claude")
            .await
            .status,
        204
    );
    after(&issuer, 1).await;
    assert_eq!(kids(&issuer, "ES256", "active").await.join(" "), new);
    let entry = audited(&issuer, "&event=key_consumer.removed", |_| true).await;
    assert_eq!(entry["detail"]["missing"], json!([new]));
    assert_eq!(
        get(&issuer, "/key-consumers").await.json()["items"],
        json!([])
    );
    let back = post(&issuer, "/key-consumers", json!({ "name": "claude" })).await;
    assert_eq!(
        (back.status, &back.json()["acknowledged"]),
        (201, &json!([]))
    );
}

#[tokio::test]
async fn an_owner_overrides_consumers_but_never_the_time_of_publishing() {
    let issuer = with_consumer().await;
    let old = kids(&issuer, "ES256", "active").await.remove(0);
    let new = prepared(&issuer).await;
    let path = format!("/keys/{new}/activate");
    let overriding = json!({ "override_consumers": true });
    assert_problem(
        &post(&issuer, &path, overriding.clone()).await,
        409,
        "conflict",
        &format!(
            "key `{new}` may not sign before 2027-01-15T08:15:00Z, when every verifier can have fetched it; this cannot be overridden"
        ),
    );
    after(&issuer, PUBLISH_AHEAD).await;
    for body in [json!({}), json!({ "override_consumers": false })] {
        assert_problem(
            &post(&issuer, &path, body).await,
            409,
            "conflict",
            &format!(
                "key `{new}` waits for key consumers: claude\nhint: publish the key set to each and run `firman key consumer ack NAME`, or override them with `firman key activate {new} --override-consumers`"
            ),
        );
    }
    let unknown = post(&issuer, "/keys/unknown/activate", overriding.clone()).await;
    assert_problem(&unknown, 404, "not_found", "key `unknown` not found");
    let active = post(&issuer, &path, overriding.clone()).await;
    assert_eq!(
        (active.status, &active.json()["state"]),
        (200, &json!("active"))
    );
    assert_eq!(kids(&issuer, "ES256", "retiring").await.join(" "), old);
    for (kid, state) in [(&new, "active"), (&old, "retiring")] {
        let again = post(
            &issuer,
            &format!("/keys/{kid}/activate"),
            overriding.clone(),
        )
        .await;
        let detail = format!("key `{kid}` is {state}; only a prepared key can be activated");
        assert_problem(&again, 409, "conflict", &detail);
    }
    let entry = audited(&issuer, "&event=key.activated", |entry| {
        entry["target"] == format!("key:{new}")
    })
    .await;
    assert_eq!(
        (&entry["actor"], &entry["detail"]),
        (
            &json!("administrator:bootstrap"),
            &json!({ "algorithm": "ES256", "why": "was activated by an administrator", "overridden_consumers": ["claude"] })
        )
    );
}

#[tokio::test]
async fn an_emergency_waits_for_no_one_and_reports_whose_copy_is_wrong() {
    let issuer = with_consumer().await;
    for name in ["behind", "ahead"] {
        post(&issuer, "/key-consumers", json!({ "name": name })).await;
    }
    let leaked = kids(&issuer, "ES256", "active").await.remove(0);
    let made = post(&issuer, "/keys/rotate", json!({ "algorithm": "ES256" })).await;
    let new = made.json()["items"][0]["kid"].clone();
    assert_eq!(
        made.json()["items"][0]["waiting_for"],
        json!(["ahead", "behind", "claude"])
    );
    post(
        &issuer,
        "/key-consumers/ahead/ack",
        json!({ "kids": [new] }),
    )
    .await;
    let path = format!("/keys/{leaked}/revoke");
    let revoked = post(&issuer, &path, json!({ "reason": "leaked" })).await;
    let body = revoked.json();
    assert_eq!((revoked.status, &body["active"]["kid"]), (200, &new));
    assert_eq!(body["stale_consumers"], json!(["behind", "claude"]));
    let list = get(&issuer, "/key-consumers").await.json();
    let claude = &list["items"][2];
    assert_eq!(
        (&claude["name"], &claude["missing"], &claude["revoked"]),
        (&json!("claude"), &json!([new]), &json!([leaked]))
    );
    let path = "/key-consumers/claude/ack";
    let added = post(&issuer, path, json!({ "kids": [new] })).await.json();
    assert_eq!(
        (&added["missing"], &added["revoked"]),
        (&json!([]), &json!([leaked]))
    );
    let replaced = post(&issuer, path, json!({})).await.json();
    assert_eq!(replaced["revoked"], json!([]));
    let entry = audited(&issuer, "&event=key.acknowledged", |_| true).await;
    assert_eq!(entry["detail"], json!({ "kids": [], "lost": [leaked] }));
}

#[tokio::test]
async fn a_key_waits_on_after_a_restart() {
    let issuer = with_consumer().await;
    let new = prepared(&issuer).await;
    let issuer = issuer.restart().await;
    after(&issuer, PUBLISH_AHEAD).await;
    assert_eq!(kids(&issuer, "ES256", "prepared").await, [new]);
}
