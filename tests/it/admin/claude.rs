//! Which objects at Claude belong to an agent, and what a suspension leaves there.

use super::*;

const ORGANIZATION: &str = "2f1c0d6e-8f0a-4b7e-9c53-0a1b2c3d4e5f";
const LINK: &str = "/agents/mailer/claude-link";

fn link() -> Value {
    json!({ "rule_id": "fdrl_01AbC", "organization_id": ORGANIZATION, "service_account_id": "svac_01AbC" })
}

async fn put(issuer: &TestIssuer, path: &str, body: Value) -> Answer {
    issuer.admin(Method::PUT, path, Some(&body)).await
}

/// An issuer whose agent `mailer` may get tokens for Claude, and its secret.
async fn with_claude() -> (TestIssuer, String) {
    let issuer = TestIssuer::start().await;
    let claude = json!({ "name": "claude", "profile": "claude" });
    assert_eq!(post(&issuer, "/resources", claude).await.status, 201);
    issuer.role("claude-user", "claude", &[]).await;
    let agent = issuer
        .agent("mailer")
        .role("claude-user")
        .with_secret()
        .await;
    let secret = agent.secret().to_owned();
    (issuer, secret)
}

async fn get_token(issuer: &TestIssuer, secret: &str, expires_in: &str) {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "mailer"),
        ("client_secret", secret),
        ("expires_in", expires_in),
    ];
    assert_eq!(issuer.token(&form).await.status, 200);
}

/// The part of a suspension's answer about Claude.
async fn suspended(issuer: &TestIssuer) -> (Value, Value) {
    let answer = call(issuer, Method::POST, "/agents/mailer/suspend").await;
    let mut body = answer.json();
    assert_eq!((answer.status, &body["status"]), (200, &json!("suspended")));
    (
        body["claude_access_until_at_most"].take(),
        body["claude_rule_id"].take(),
    )
}

#[tokio::test]
async fn an_id_that_is_none_or_of_another_kind_is_refused_with_what_it_should_be() {
    let issuer = TestIssuer::start().await;
    issuer.agent("mailer").with_secret().await;
    let tagged = |field: &str, prefix: &str| {
        format!("{field}: must be an id of letters and digits that starts with `{prefix}`")
    };
    let account = " (this one starts with `svac_`, which is a service account)";
    for (member, value, detail) in [
        ("rule_id", json!("svac_01"), tagged("rule_id", "fdrl_") + account),
        ("rule_id", json!("fdrl_a/../b"), tagged("rule_id", "fdrl_")),
        ("service_account_id", json!(""), tagged("service_account_id", "svac_")),
        (
            "organization_id",
            json!("org_1"),
            "organization_id: must be the bare UUID that Claude's Console shows, such as 00000000-0000-4000-8000-000000000000 \
             (this one starts with `org_`, which is an organization in another notation)"
                .to_owned(),
        ),
        ("workspace_id", json!("main"), tagged("workspace_id", "wrkspc_") + ", or `default`"),
        ("issuer_id", json!("https://id.example"), tagged("issuer_id", "fdis_")),
        (
            "token_lifetime",
            json!(59),
            "token_lifetime: must be 60 to 86400 seconds, Claude's limits for a rule".to_owned(),
        ),
        ("rule_id", Value::Null, "rule_id: must be a string".to_owned()),
    ] {
        let mut body = link();
        body[member] = value;
        assert_problem(&put(&issuer, LINK, body).await, 400, "invalid", &detail);
    }
    let mut body = link();
    body["agent"] = json!("x");
    let answer = put(&issuer, LINK, body).await;
    assert_eq!(kind_of(&answer), (400, "invalid".to_owned()), "{answer}");
    let none = get(&issuer, LINK).await;
    let detail = "Claude link of agent `mailer` not found";
    assert_problem(&none, 404, "not_found", detail);
    assert_problem(
        &call(&issuer, Method::DELETE, LINK).await,
        404,
        "not_found",
        detail,
    );
    let unknown = put(&issuer, "/agents/nobody/claude-link", link()).await;
    assert_problem(&unknown, 404, "not_found", "agent `nobody` not found");
}

#[tokio::test]
async fn an_agent_is_linked_changed_listed_and_unlinked() {
    let issuer = TestIssuer::start().await;
    issuer.agent("mailer").with_secret().await;
    issuer.agent("another").with_secret().await;
    let made = put(&issuer, LINK, link()).await;
    let expected = json!({
        "agent": "mailer", "rule_id": "fdrl_01AbC", "organization_id": ORGANIZATION, "service_account_id": "svac_01AbC",
        "workspace_id": null, "issuer_id": null, "token_lifetime": null, "created_at": START, "updated_at": START, "version": "…"
    });
    assert_eq!((made.status, without_ids(made.json())), (201, expected));
    assert_eq!(
        made.header("location"),
        "/admin/v1/agents/mailer/claude-link"
    );
    let again = put(&issuer, LINK, link()).await;
    assert_eq!(
        (again.status, again.json()),
        (200, made.json()),
        "nothing changed"
    );

    issuer.clock.advance(5);
    let whole = json!({
        "rule_id": "fdrl_02", "organization_id": ORGANIZATION.to_uppercase(), "service_account_id": "svac_02",
        "workspace_id": "wrkspc_02", "issuer_id": "fdis_02", "token_lifetime": 600
    });
    let changed = put(&issuer, LINK, whole.clone()).await;
    let mut expected = whole;
    expected["agent"] = json!("mailer");
    expected["organization_id"] = json!(ORGANIZATION);
    expected["created_at"] = json!(START);
    expected["updated_at"] = json!(START + 5);
    expected["version"] = json!("…");
    assert_eq!(
        (changed.status, without_ids(changed.json())),
        (200, expected.clone())
    );
    assert_ne!(changed.header("etag"), made.header("etag"));
    let shown = get(&issuer, LINK).await;
    assert_eq!(shown.json(), changed.json());
    assert_eq!(shown.header("etag"), changed.header("etag"));
    let entry = audited(&issuer, "&event=claude.linked", |_| true).await;
    assert_eq!(
        (&entry["target"], &entry["actor"]),
        (&json!("agent:mailer"), &json!("administrator:bootstrap"))
    );
    assert_eq!(
        (
            &entry["detail"]["rule_id"],
            &entry["detail"]["before"]["rule_id"]
        ),
        (&json!("fdrl_02"), &json!("fdrl_01AbC"))
    );

    put(&issuer, "/agents/another/claude-link", link()).await;
    let list = get(&issuer, "/claude-links?limit=1").await.json();
    assert_eq!(list["items"][0]["agent"], "another");
    let cursor = list["next_cursor"].as_str().expect("there are more");
    let rest = get(&issuer, &format!("/claude-links?cursor={cursor}"))
        .await
        .json();
    assert_eq!(
        without_ids(rest),
        json!({ "items": [expected], "next_cursor": null })
    );

    assert_eq!(call(&issuer, Method::DELETE, LINK).await.status, 204);
    assert_eq!(get(&issuer, LINK).await.status, 404);
    let entry = audited(&issuer, "&event=claude.unlinked", |_| true).await;
    assert_eq!(entry["detail"]["rule_id"], "fdrl_02");
}

#[tokio::test]
async fn a_stale_change_of_a_link_is_refused() {
    let issuer = TestIssuer::start().await;
    issuer.agent("mailer").with_secret().await;
    let made = put(&issuer, LINK, link()).await;
    let other = json!({ "rule_id": "fdrl_02", "organization_id": ORGANIZATION, "service_account_id": "svac_01AbC" });
    put(&issuer, LINK, other).await;
    let authorization = format!("Bearer {}", issuer.admin_token());
    let headers = [
        ("authorization", authorization.as_str()),
        ("if-match", made.header("etag")),
    ];
    for (method, body) in [(Method::PUT, Some(link())), (Method::DELETE, None)] {
        let answer = call_with(&issuer, (method, LINK), &headers, body.as_ref()).await;
        assert_eq!(kind_of(&answer), (412, "precondition_failed".to_owned()));
    }
    assert_eq!(get(&issuer, LINK).await.json()["rule_id"], "fdrl_02");
}

#[tokio::test]
async fn a_removed_agent_has_no_link_and_gets_none() {
    let issuer = TestIssuer::start().await;
    issuer.agent("mailer").with_secret().await;
    put(&issuer, LINK, link()).await;
    assert_eq!(
        call(&issuer, Method::DELETE, "/agents/mailer").await.status,
        204
    );
    assert_eq!(get(&issuer, LINK).await.status, 404);
    let entry = audited(&issuer, "&event=claude.unlinked", |_| true).await;
    assert_eq!(entry["detail"]["rule_id"], "fdrl_01AbC");
    let refused = put(&issuer, LINK, link()).await;
    assert_problem(
        &refused,
        409,
        "conflict",
        "the agent `mailer` was removed at 2027-01-15T08:00:00Z and can no longer be changed\nhint: register one under another name",
    );
}

#[tokio::test]
async fn a_suspension_reports_how_long_claude_access_may_outlive_it() {
    let (issuer, secret) = with_claude().await;
    get_token(&issuer, &secret, "600").await;
    issuer.clock.advance(300);
    // Exchanged when it was new, it was worth twice its life.
    assert_eq!(suspended(&issuer).await, (json!(START + 1200), Value::Null));
    let mut known = link();
    known["token_lifetime"] = json!(600);
    put(&issuer, LINK, known).await;
    // The rule allows 600 s: exchanged half of that before its end.
    assert_eq!(
        suspended(&issuer).await,
        (json!(START + 900), json!("fdrl_01AbC")),
        "a suspended agent is told again"
    );
    issuer.clock.advance(600);
    assert_eq!(suspended(&issuer).await, (Value::Null, json!("fdrl_01AbC")));
}

#[tokio::test]
async fn an_earlier_token_that_lives_longer_counts_and_one_for_another_resource_does_not() {
    let (issuer, secret) = with_claude().await;
    get_token(&issuer, &secret, "3600").await;
    issuer.clock.advance(10);
    get_token(&issuer, &secret, "60").await;
    assert_eq!(suspended(&issuer).await.0, json!(START + 7200));

    let issuer = TestIssuer::start().await;
    issuer.resource("api", &["read"]).await;
    issuer.role("reader", "api", &[]).await;
    let agent = issuer.agent("mailer").role("reader").with_secret().await;
    get_token(&issuer, agent.secret(), "600").await;
    assert_eq!(suspended(&issuer).await, (Value::Null, Value::Null));
}

#[tokio::test]
async fn the_shortest_token_that_claude_issues_counts_after_the_last_moment() {
    let (issuer, secret) = with_claude().await;
    get_token(&issuer, &secret, "60").await;
    assert_eq!(suspended(&issuer).await.0, json!(START + 60 + 30 + 60));
}
