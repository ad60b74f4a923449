//! Which caller may call what.

use super::*;

const NO_TOKEN: &str = "exactly one header `Authorization` is required\nhint: send `Authorization: Bearer TOKEN`; the first token is in the file `admin-token` of the data directory";
const BAD_TOKEN: &str = "the token is not a valid administrator token";

#[tokio::test]
async fn ad_001_a_call_without_a_good_token_is_refused() {
    let issuer = TestIssuer::start().await;
    let expiring = administrator(
        &issuer,
        "expiring",
        AdministratorRole::Owner,
        Some(START + 60),
    )
    .await;
    let good = format!("Bearer {}", issuer.admin_token());
    assert_eq!(
        call_with(
            &issuer,
            (Method::GET, "/agents"),
            &[("authorization", &expiring)],
            None
        )
        .await
        .status,
        200
    );
    issuer.clock.advance(60);

    let none = call_with(&issuer, (Method::GET, "/agents"), &[], None).await;
    assert_problem(&none, 401, "unauthorized", NO_TOKEN);
    assert_eq!(none.header("www-authenticate"), r#"Bearer realm="firman""#);

    let cut = &good[..good.len() - 1];
    for bad in [cut, "Bearer x", &expiring, &format!("{good}x")] {
        let answer = call_with(
            &issuer,
            (Method::GET, "/agents"),
            &[("authorization", bad)],
            None,
        )
        .await;
        assert_problem(&answer, 401, "unauthorized", BAD_TOKEN);
        assert_eq!(
            answer.header("www-authenticate"),
            r#"Bearer realm="firman", error="invalid_token""#
        );
    }
}

#[tokio::test]
async fn ad_001_a_header_that_holds_no_bearer_token_is_refused() {
    let issuer = TestIssuer::start().await;
    let good = format!("Bearer {}", issuer.admin_token());
    for malformed in [
        "",
        "Bearer",
        "Bearer  ",
        "Basic Ym9vdHN0cmFwOng=",
        "Bearer a b",
        &format!("Bearer {}", "x".repeat(600)),
    ] {
        let answer = call_with(
            &issuer,
            (Method::GET, "/agents"),
            &[("authorization", malformed)],
            None,
        )
        .await;
        assert_problem(
            &answer,
            401,
            "unauthorized",
            "the header `Authorization` is not `Bearer TOKEN`",
        );
    }
    let twice = call_with(
        &issuer,
        (Method::GET, "/agents"),
        &[("authorization", &good), ("authorization", &good)],
        None,
    )
    .await;
    assert_problem(&twice, 401, "unauthorized", NO_TOKEN);
    assert_eq!(
        call_with(
            &issuer,
            (Method::GET, "/agents"),
            &[("authorization", &good)],
            None
        )
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn ad_003_an_agents_own_token_opens_nothing() {
    let issuer = TestIssuer::start().await;
    issuer.resource("api", &["read"]).await;
    issuer.role("reader", "api", &[]).await;
    let agent = issuer.agent("mailer").role("reader").with_secret().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "mailer"),
        ("client_secret", agent.secret()),
    ];
    let token = issuer.token(&form).await.assert_issued();
    let answer = call_with(
        &issuer,
        (Method::GET, "/agents"),
        &[("authorization", &format!("Bearer {token}"))],
        None,
    )
    .await;
    assert_eq!(kind_of(&answer), (401, "unauthorized".to_owned()));
}

#[tokio::test]
async fn ad_005_a_revoked_bootstrap_token_stays_revoked_after_a_restart() {
    let issuer = TestIssuer::start().await;
    let bootstrap = format!("Bearer {}", issuer.admin_token());
    let other = administrator(&issuer, "ann", AdministratorRole::Owner, None).await;

    let revoked = call_with(
        &issuer,
        (Method::POST, "/administrators/bootstrap/revoke"),
        &[("authorization", &other)],
        None,
    )
    .await;
    assert_eq!(revoked.status, 200, "{revoked}");
    assert_eq!(revoked.json()["revoked_at"], START);
    let answer = call_with(
        &issuer,
        (Method::GET, "/agents"),
        &[("authorization", &bootstrap)],
        None,
    )
    .await;
    assert_problem(&answer, 401, "unauthorized", BAD_TOKEN);

    let issuer = issuer.restart().await;
    assert_eq!(
        format!("Bearer {}", issuer.admin_token()),
        bootstrap,
        "no second token was made"
    );
    let answer = call_with(
        &issuer,
        (Method::GET, "/agents"),
        &[("authorization", &bootstrap)],
        None,
    )
    .await;
    assert_problem(&answer, 401, "unauthorized", BAD_TOKEN);
    let all = call_with(
        &issuer,
        (Method::GET, "/administrators"),
        &[("authorization", &other)],
        None,
    )
    .await
    .json();
    assert_eq!(all["items"].as_array().map(Vec::len), Some(2), "{all}");
}

#[tokio::test]
async fn ad_006_a_viewer_reads_and_changes_nothing() {
    let issuer = TestIssuer::start().await;
    issuer.agent("mailer").with_secret().await;
    let viewer = administrator(&issuer, "vera", AdministratorRole::Viewer, None).await;
    let viewer = [("authorization", viewer.as_str())];
    for path in [
        "/agents",
        "/agents/mailer",
        "/groups",
        "/roles",
        "/resources",
        "/keys",
        "/key-consumers",
        "/claude-links",
        "/audit",
        "/audit/verify",
        "/issuer",
        "/administrators",
    ] {
        assert_eq!(
            call_with(&issuer, (Method::GET, path), &viewer, None)
                .await
                .status,
            200,
            "{path}"
        );
    }
    let detail = "an administrator with the role `operator` is required; `vera` is `viewer`";
    let new = json!({ "name": "x", "owner": "x" });
    assert_problem(
        &call_with(&issuer, (Method::POST, "/agents"), &viewer, Some(&new)).await,
        403,
        "forbidden",
        detail,
    );
    let edit = json!({ "owner": "x" });
    assert_problem(
        &call_with(
            &issuer,
            (Method::PATCH, "/agents/mailer"),
            &viewer,
            Some(&edit),
        )
        .await,
        403,
        "forbidden",
        detail,
    );
    assert_problem(
        &call_with(&issuer, (Method::DELETE, "/agents/mailer"), &viewer, None).await,
        403,
        "forbidden",
        detail,
    );
    let detail = "an administrator with the role `owner` is required; `vera` is `viewer`";
    assert_problem(
        &call_with(&issuer, (Method::POST, "/keys/rotate"), &viewer, None).await,
        403,
        "forbidden",
        detail,
    );
    assert_eq!(
        get(&issuer, "/agents/mailer").await.json()["owner"],
        "team-test"
    );
}

#[tokio::test]
async fn ad_006_a_viewer_neither_links_nor_acknowledges() {
    let issuer = TestIssuer::start().await;
    issuer.agent("mailer").with_secret().await;
    let viewer = administrator(&issuer, "vera", AdministratorRole::Viewer, None).await;
    let viewer = [("authorization", viewer.as_str())];
    let detail = "an administrator with the role `operator` is required; `vera` is `viewer`";
    for (method, path) in [
        (Method::PUT, "/agents/mailer/claude-link"),
        (Method::DELETE, "/agents/mailer/claude-link"),
        (Method::POST, "/key-consumers/claude/ack"),
    ] {
        let answer = call_with(&issuer, (method, path), &viewer, Some(&json!({}))).await;
        assert_problem(&answer, 403, "forbidden", detail);
    }
}

#[tokio::test]
async fn ad_007_an_operator_does_not_reach_what_only_owners_may() {
    let issuer = TestIssuer::start().await;
    let operator = administrator(&issuer, "olga", AdministratorRole::Operator, None).await;
    let operator = [("authorization", operator.as_str())];
    let kid = get(&issuer, "/keys").await.json()["items"][0]["kid"]
        .as_str()
        .unwrap()
        .to_owned();
    let reason = json!({ "reason": "test" });
    let settings = json!({ "max_lifetime": 43200 });
    let consumer = json!({ "name": "claude" });
    let activation = json!({ "override_consumers": true });
    let detail = "an administrator with the role `owner` is required; `olga` is `operator`";
    for (method, path, body) in [
        (Method::POST, "/keys/rotate".to_owned(), None),
        (Method::POST, format!("/keys/{kid}/revoke"), Some(&reason)),
        (
            Method::POST,
            format!("/keys/{kid}/activate"),
            Some(&activation),
        ),
        (Method::POST, "/key-consumers".to_owned(), Some(&consumer)),
        (Method::DELETE, "/key-consumers/claude".to_owned(), None),
        (Method::PATCH, "/issuer".to_owned(), Some(&settings)),
        (
            Method::POST,
            "/administrators/bootstrap/revoke".to_owned(),
            None,
        ),
    ] {
        assert_problem(
            &call_with(&issuer, (method, &path), &operator, body).await,
            403,
            "forbidden",
            detail,
        );
    }
    let made = json!({ "name": "x", "owner": "x" });
    assert_eq!(
        call_with(&issuer, (Method::POST, "/agents"), &operator, Some(&made))
            .await
            .status,
        201
    );
    let admin = json!({ "name": "admin", "identifier": "urn:firman:admin", "scopes": ["owner"] });
    let refused = call_with(
        &issuer,
        (Method::POST, "/resources"),
        &operator,
        Some(&admin),
    )
    .await;
    assert_problem(
        &refused,
        400,
        "invalid",
        "identifier: starts with `urn:firman:`, which is reserved for firman's own resources",
    );
}

#[tokio::test]
async fn ad_008_the_last_owner_is_not_revoked() {
    let issuer = TestIssuer::start().await;
    administrator(&issuer, "olga", AdministratorRole::Operator, None).await;
    administrator(&issuer, "past", AdministratorRole::Owner, Some(START)).await;
    let answer = call(&issuer, Method::POST, "/administrators/bootstrap/revoke").await;
    let detail = "`bootstrap` is the last owner that does not expire; an issuer without an owner cannot rotate keys or manage administrators";
    let hint = json!("firman administrator add NAME --role owner");
    assert_hinted(&answer, 409, "conflict", detail, &hint);
    assert_eq!(
        call(&issuer, Method::POST, "/administrators/olga/revoke")
            .await
            .status,
        200
    );
    assert_eq!(
        call(&issuer, Method::POST, "/administrators/olga/revoke")
            .await
            .status,
        200,
        "twice is once"
    );
    let answer = call(&issuer, Method::POST, "/administrators/nobody/revoke").await;
    assert_problem(
        &answer,
        404,
        "not_found",
        "administrator `nobody` not found",
    );
}

#[tokio::test]
async fn ad_030_every_refused_call_is_audited_with_actor_address_and_target() {
    let issuer = TestIssuer::start().await;
    let viewer = administrator(&issuer, "vera", AdministratorRole::Viewer, None).await;
    let forwarded = ("x-forwarded-for", "1.2.3.4");
    let refused = call_with(
        &issuer,
        (Method::DELETE, "/agents/mailer"),
        &[("authorization", &viewer), forwarded],
        None,
    )
    .await;
    assert_eq!(refused.status, 403);
    let entry = audited(&issuer, "&event=admin.refused", |entry| {
        entry["actor"] == "administrator:vera"
    })
    .await;
    assert_eq!(entry["target"], "DELETE /admin/v1/agents/mailer");
    assert_eq!(
        entry["address"], "127.0.0.1",
        "AD-032: the peer's address, not a header's"
    );
    assert_eq!(entry["request_id"], refused.json()["request_id"]);
    assert_eq!(
        entry["detail"],
        json!({ "status": 403, "reason": "role too low" })
    );

    call_with(
        &issuer,
        (Method::GET, "/agents?search=x"),
        &[("authorization", "Bearer nonsense")],
        None,
    )
    .await;
    issuer.issuer().flush_refusals();
    let entry = audited(&issuer, "&event=admin.refused", |entry| {
        entry["actor"] == "unknown"
    })
    .await;
    assert_eq!(entry["target"], "GET /admin/v1/agents");
    assert_eq!(
        entry["detail"],
        json!({ "reason": "unknown token", "count": 1 })
    );
}
