//! The audit as the API shows it.

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
        "there is no agent 'nobody'",
    );
    assert_eq!(
        kind_of(&get(&issuer, "/audit?event=nope").await),
        (400, "invalid".to_owned())
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
