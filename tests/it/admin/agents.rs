//! Agents.

use super::*;

async fn with_policy() -> TestIssuer {
    let issuer = TestIssuer::start().await;
    issuer.resource("api", &["read", "write"]).await;
    issuer.role("reader", "api", &["read"]).await;
    assert_eq!(
        post(
            &issuer,
            "/groups",
            json!({ "name": "ops", "roles": ["reader"] })
        )
        .await
        .status,
        201
    );
    issuer
}

#[tokio::test]
async fn an_agent_is_registered_and_shown_whole() {
    let issuer = with_policy().await;
    let created = post(
        &issuer,
        "/agents",
        json!({
            "name": "team-a.mailer", "owner": "team-a", "description": "sends mail", "attributes": { "team": "a" },
            "groups": ["ops"], "roles": ["reader"], "expires_in": 3600, "credential": { "kind": "client_secret", "expires_in": 600 }
        }),
    )
    .await;
    let credential = json!({
        "id": "…", "kind": "client_secret", "kid": null, "jwk": null, "thumbprint": null, "not_before": START,
        "expires_at": START + 600, "revoked_at": null, "status": "live", "created_at": START
    });
    let agent = json!({
        "id": "…", "name": "team-a.mailer", "subject": "agent:team-a.mailer", "owner": "team-a", "description": "sends mail",
        "attributes": { "team": "a" }, "status": "active", "status_since": null, "expires_at": START + 3600, "dpop_required": false, "assertion_audience": null,
        "groups": ["ops"], "roles": ["reader"],
        "effective_roles": [{ "role": "reader", "group": null }, { "role": "reader", "group": "ops" }],
        "credentials": [credential], "last_token_at": null,
        "created_at": START, "updated_at": START, "version": "…"
    });
    let body = without_ids(created.json());
    assert_eq!(
        body,
        json!({ "agent": agent, "client_id": "team-a.mailer", "client_secret": "…", "credential": credential })
    );
    assert_eq!(created.status, 201);
    assert_eq!(created.header("location"), "/admin/v1/agents/team-a.mailer");

    let shown = get(&issuer, "/agents/team-a.mailer").await;
    assert_eq!(shown.json(), created.json()["agent"]);
    assert_eq!(
        shown.header("etag"),
        format!("\"v{}\"", shown.json()["version"])
    );
    assert_eq!(shown.header("etag"), created.header("etag"));
    let list = get(
        &issuer,
        "/agents?group=ops&role=reader&status=active&search=MAIL",
    )
    .await
    .json();
    let mut listed = agent;
    listed
        .as_object_mut()
        .unwrap()
        .retain(|name, _| name != "credentials" && name != "last_token_at");
    assert_eq!(
        without_ids(list),
        json!({ "items": [listed], "next_cursor": null })
    );
}

#[tokio::test]
async fn holders_of_a_role_are_listed_with_the_way_to_it_page_by_page() {
    let issuer = with_policy().await;
    let agents = [
        ("z-direct", json!([]), json!(["reader"])),
        ("a-grouped", json!(["ops"]), json!([])),
        ("m-both", json!(["ops"]), json!(["reader"])),
        ("b-neither", json!([]), json!([])),
    ];
    for (name, groups, roles) in agents {
        let new = json!({ "name": name, "owner": "x", "groups": groups, "roles": roles });
        assert_eq!(post(&issuer, "/agents", new).await.status, 201);
        issuer.clock.advance(1);
    }
    let names = |list: &Value| {
        let items = list["items"].as_array().unwrap().iter();
        items
            .map(|agent| agent["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    for (query, expected) in [
        ("role=reader", &["z-direct", "a-grouped", "m-both"][..]),
        (
            "role=reader&direct=false",
            &["z-direct", "a-grouped", "m-both"],
        ),
        ("role=reader&direct=true", &["z-direct", "m-both"]),
        ("group=ops", &["a-grouped", "m-both"]),
        ("group=ops&role=reader", &["a-grouped", "m-both"]),
        ("group=ops&role=reader&direct=true", &["m-both"]),
        ("role=reader&search=a-", &["a-grouped"]),
        ("", &["a-grouped", "b-neither", "m-both", "z-direct"]),
    ] {
        let list = get(&issuer, &format!("/agents?{query}")).await.json();
        assert_eq!(names(&list), expected, "{query}");
    }
    let mut paged = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = get(&issuer, &format!("/agents?role=reader&limit=1{cursor}"))
            .await
            .json();
        paged.extend(names(&page));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(paged, ["z-direct", "a-grouped", "m-both"]);
    let of_all = get(&issuer, "/agents?limit=1").await.json();
    let of_all = of_all["next_cursor"].as_str().unwrap();
    for path in [
        format!("/agents?role=reader&cursor={of_all}"),
        "/agents?role=nobody".to_owned(),
        "/agents?direct=true".to_owned(),
        "/roles?resource=nobody".to_owned(),
        "/groups?role=nobody".to_owned(),
    ] {
        let refused = get(&issuer, &path).await;
        assert_eq!(kind_of(&refused), (400, "invalid".to_owned()), "{path}");
    }
}

#[tokio::test]
async fn ad_009_one_name_is_given_out_once_even_at_the_same_moment() {
    let issuer = TestIssuer::start().await;
    let new = json!({ "name": "mailer", "owner": "x" });
    let (a, b) = tokio::join!(
        post(&issuer, "/agents", new.clone()),
        post(&issuer, "/agents", new.clone())
    );
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409], "{a} {b}");
    let detail = "an agent named `mailer` exists\nhint: firman agent edit mailer";
    assert_problem(
        &post(&issuer, "/agents", new).await,
        409,
        "conflict",
        detail,
    );
}

#[tokio::test]
async fn a_removed_agent_is_shown_without_rights_and_gets_no_token() {
    let issuer = with_policy().await;
    let new = json!({ "name": "old", "owner": "x", "subject": "spiffe://a/old", "groups": ["ops"], "roles": ["reader"], "credential": { "kind": "client_secret" } });
    let secret = post(&issuer, "/agents", new).await.json()["client_secret"]
        .as_str()
        .unwrap()
        .to_owned();
    issuer.clock.advance(10);
    let removed = call(&issuer, Method::DELETE, "/agents/old").await;
    assert_eq!(
        (removed.status, removed.body.as_slice()),
        (204, b"".as_slice())
    );
    assert_eq!(
        call(&issuer, Method::DELETE, "/agents/old").await.status,
        204,
        "twice is once"
    );

    let shown = get(&issuer, "/agents/old").await.json();
    assert_eq!(
        (&shown["status"], &shown["status_since"]),
        (&json!("removed"), &json!(START + 10))
    );
    assert_eq!(
        (
            &shown["groups"],
            &shown["roles"],
            &shown["credentials"][0]["status"]
        ),
        (&json!([]), &json!([]), &json!("revoked"))
    );
    assert_eq!(get(&issuer, "/agents").await.json()["items"], json!([]));
    assert_eq!(
        get(&issuer, "/agents?status=removed").await.json()["items"][0]["name"],
        "old"
    );
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "old"),
        ("client_secret", secret.as_str()),
    ];
    assert_eq!(issuer.token(&form).await.status, 401);
}

#[tokio::test]
async fn the_name_and_subject_of_a_removed_agent_are_never_given_out_again() {
    let issuer = TestIssuer::start().await;
    let new = json!({ "name": "old", "owner": "x", "subject": "spiffe://a/old" });
    assert_eq!(post(&issuer, "/agents", new).await.status, 201);
    issuer.clock.advance(10);
    assert_eq!(
        call(&issuer, Method::DELETE, "/agents/old").await.status,
        204
    );

    let detail = "the name `old` belonged to an agent that was removed; a name is never reused, because relying parties may still trust it\nhint: choose another name";
    assert_problem(
        &post(&issuer, "/agents", json!({ "name": "old", "owner": "x" })).await,
        409,
        "conflict",
        detail,
    );
    let detail = "the subject `spiffe://a/old` belongs or belonged to another agent; a subject is never reused";
    let again = json!({ "name": "new", "owner": "x", "subject": "spiffe://a/old" });
    assert_problem(
        &post(&issuer, "/agents", again).await,
        409,
        "conflict",
        detail,
    );
    let detail = "the agent `old` was removed at 2027-01-15T08:00:10Z and can no longer be changed\nhint: register one under another name";
    assert_problem(
        &patch(&issuer, "/agents/old", json!({ "owner": "y" })).await,
        409,
        "conflict",
        detail,
    );
    assert_problem(
        &call(&issuer, Method::POST, "/agents/old/resume").await,
        409,
        "conflict",
        detail,
    );
    assert_problem(
        &post(
            &issuer,
            "/agents/old/credentials",
            json!({ "kind": "client_secret" }),
        )
        .await,
        409,
        "conflict",
        detail,
    );
}

#[tokio::test]
async fn what_an_agent_gets_must_exist() {
    let issuer = with_policy().await;
    for (member, value, detail) in [
        (
            "groups",
            json!(["nope"]),
            "groups: group `nope` not found\nhint: firman group list",
        ),
        (
            "roles",
            json!(["reader", "nope"]),
            "roles: role `nope` not found\nhint: firman role list",
        ),
        (
            "subject",
            json!("agent:boss"),
            "subject: starts with `agent:`, which is reserved for subjects that this issuer makes; leave out the subject to get one",
        ),
        ("owner", json!("  "), "owner: is empty"),
        (
            "attributes",
            json!({ "sub": "x" }),
            "attributes: contains `sub`, a claim that the issuer sets",
        ),
        (
            "attributes",
            json!({ "team": 5 }),
            "attributes.team: must be a string",
        ),
        ("roles", json!("reader"), "roles: must be an array"),
    ] {
        let mut body = json!({ "name": "x", "owner": "x" });
        body[member] = value;
        assert_problem(
            &post(&issuer, "/agents", body).await,
            400,
            "invalid",
            detail,
        );
    }
    let many: Vec<String> = (0..65).map(|n| format!("g{n}")).collect();
    let body = json!({ "name": "x", "owner": "x", "groups": many });
    assert_problem(
        &post(&issuer, "/agents", body).await,
        400,
        "invalid",
        "groups: contains more than 64 groups",
    );
    assert_eq!(get(&issuer, "/agents").await.json()["items"], json!([]));
}

#[tokio::test]
async fn te_046_an_assignment_that_makes_tokens_too_large_is_refused() {
    let issuer = TestIssuer::start().await;
    let attributes = |n: usize| {
        (0..n)
            .map(|i| (format!("attribute{i}"), json!("x".repeat(256))))
            .collect::<serde_json::Map<_, _>>()
    };
    let created = post(
        &issuer,
        "/agents",
        json!({ "name": "x", "owner": "x", "attributes": attributes(15) }),
    )
    .await;
    assert_eq!(created.status, 201, "{created}");
    let answer = patch(
        &issuer,
        "/agents/x",
        json!({ "attributes": attributes(32) }),
    )
    .await;
    assert_eq!(kind_of(&answer), (409, "conflict".to_owned()));
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.starts_with("a token of the agent `x` would have about ")
            && detail.contains("more than the 8192"),
        "{detail}"
    );
}

#[tokio::test]
async fn an_edit_changes_what_it_names_and_is_audited_with_old_and_new() {
    let issuer = with_policy().await;
    issuer
        .agent("mailer")
        .attribute("team", "a")
        .with_secret()
        .await;
    issuer.clock.advance(5);
    let edited = patch(
        &issuer,
        "/agents/mailer",
        json!({ "owner": "team-b", "groups": ["ops"], "expires_in": 60 }),
    )
    .await;
    let body = edited.json();
    assert_eq!(edited.status, 200, "{edited}");
    assert_eq!(
        (&body["owner"], &body["groups"], &body["expires_at"]),
        (&json!("team-b"), &json!(["ops"]), &json!(START + 65))
    );
    assert_eq!(
        (&body["attributes"], &body["updated_at"]),
        (&json!({ "team": "a" }), &json!(START + 5))
    );
    let entry = audited(&issuer, "&event=agent.changed&agent=mailer", |_| true).await;
    assert_eq!(
        entry["detail"],
        json!({
            "owner": { "from": "team-test", "to": "team-b" },
            "groups": { "from": [], "to": ["ops"] },
            "expires_at": { "from": null, "to": START + 65 }
        })
    );
    assert_eq!(
        (&entry["actor"], &entry["target"]),
        (&json!("administrator:bootstrap"), &json!("agent:mailer"))
    );
    assert_eq!(entry["request_id"], edited.header("x-request-id"));

    let unchanged = patch(&issuer, "/agents/mailer", json!({ "owner": "team-b" })).await;
    assert_eq!(
        unchanged.json()["version"],
        body["version"],
        "nothing changed, nothing written"
    );
    let never = patch(&issuer, "/agents/mailer", json!({ "expires_in": null })).await;
    assert_eq!(never.json()["expires_at"], Value::Null);
    let null = patch(&issuer, "/agents/mailer", json!({ "owner": null })).await;
    assert_problem(&null, 400, "invalid", "owner: must be a string");
    assert_problem(
        &patch(&issuer, "/agents/nobody", json!({})).await,
        404,
        "not_found",
        "agent `nobody` not found",
    );
}

#[tokio::test]
async fn ad_021_a_change_of_a_stale_version_is_refused() {
    let issuer = TestIssuer::start().await;
    issuer.agent("mailer").with_secret().await;
    let authorization = format!("Bearer {}", issuer.admin_token());
    let tag = get(&issuer, "/agents/mailer")
        .await
        .header("etag")
        .to_owned();
    let headers = [
        ("authorization", authorization.as_str()),
        ("if-match", tag.as_str()),
    ];
    let body = json!({ "owner": "a" });
    let other = json!({ "owner": "b" });
    let (a, b) = tokio::join!(
        call_with(
            &issuer,
            (Method::PATCH, "/agents/mailer"),
            &headers,
            Some(&body)
        ),
        call_with(
            &issuer,
            (Method::PATCH, "/agents/mailer"),
            &headers,
            Some(&other)
        ),
    );
    let mut statuses = [a.status, b.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412], "{a} {b}");
    let present = get(&issuer, "/agents/mailer").await.json()["version"].clone();
    let detail = format!(
        "the agent was changed by another request: it is now at version {present}\nhint: read it again and repeat the change"
    );
    for (method, path) in [
        (Method::DELETE, "/agents/mailer"),
        (Method::POST, "/agents/mailer/suspend"),
        (Method::POST, "/agents/mailer/resume"),
    ] {
        assert_problem(
            &call_with(&issuer, (method, path), &headers, None).await,
            412,
            "precondition_failed",
            &detail,
        );
    }
    for bad in ["W/\"v1\"", "v1", "\"x\"", "\"v1\", \"v2\""] {
        let headers = [("authorization", authorization.as_str()), ("if-match", bad)];
        let answer = call_with(&issuer, (Method::DELETE, "/agents/mailer"), &headers, None).await;
        assert_problem(
            &answer,
            400,
            "invalid",
            "If-Match: must be one ETag as it was given, such as \"v12\"",
        );
    }
    let headers = [("authorization", authorization.as_str()), ("if-match", "*")];
    assert_eq!(
        call_with(
            &issuer,
            (Method::POST, "/agents/mailer/suspend"),
            &headers,
            None
        )
        .await
        .status,
        200
    );
}

#[tokio::test]
async fn ad_028_a_suspended_agent_gets_no_token_from_then_on() {
    let issuer = with_policy().await;
    let agent = issuer.agent("mailer").role("reader").with_secret().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "mailer"),
        ("client_secret", agent.secret()),
    ];
    assert_eq!(issuer.token(&form).await.status, 200);
    assert_eq!(
        get(&issuer, "/agents/mailer").await.json()["last_token_at"],
        START
    );

    let suspended = call(&issuer, Method::POST, "/agents/mailer/suspend").await;
    assert_eq!(
        (
            &suspended.json()["status"],
            &suspended.json()["status_since"]
        ),
        (&json!("suspended"), &json!(START))
    );
    assert_eq!(issuer.token(&form).await.status, 401);
    let again = call(&issuer, Method::POST, "/agents/mailer/suspend").await;
    assert_eq!(again.json(), suspended.json(), "twice is once");
    let resumed = call(&issuer, Method::POST, "/agents/mailer/resume").await;
    assert_eq!(
        (&resumed.json()["status"], &resumed.json()["status_since"]),
        (&json!("active"), &Value::Null)
    );
    assert_eq!(issuer.token(&form).await.status, 200);
}

#[tokio::test]
async fn explain_shows_what_an_agent_would_get_and_through_what() {
    let issuer = with_policy().await;
    let new = json!({ "name": "mailer", "owner": "team-a", "groups": ["ops"], "attributes": { "team": "a" } });
    assert_eq!(post(&issuer, "/agents", new).await.status, 201);
    let through = json!([{ "role": "reader", "group": "ops" }]);
    let resources = json!([{
        "resource": "api", "identifier": "https://api.example", "through": through,
        "granted": [{ "scope": "read", "through": through }], "not_granted": ["write"],
        "refusal": null
    }]);
    let claims = json!({
        "iss": issuer.url, "sub": "agent:mailer", "aud": "https://api.example", "client_id": "mailer", "scope": "read",
        "groups": ["ops"], "roles": ["reader"], "owner": "team-a", "team": "a", "sub_profile": "ai_agent", "acting_agent": "agent:mailer"
    });
    for query in [
        "",
        "?resource=api",
        "?resource=https://api.example",
        "?scope=read",
    ] {
        let answer = get(&issuer, &format!("/agents/mailer/explain{query}")).await;
        assert_eq!(
            answer.json(),
            json!({ "agent": "mailer", "active": true, "resources": resources, "claims": claims, "refusal": null, "delegations": [] }),
            "{query}"
        );
    }
    let refused = get(&issuer, "/agents/mailer/explain?scope=read+write")
        .await
        .json();
    let refusal = json!({ "error": "invalid_scope", "error_description": "not granted for https://api.example: write; granted: read" });
    assert_eq!(
        (&refused["claims"], &refused["refusal"]),
        (&Value::Null, &refusal)
    );

    issuer.resource("other", &["x"]).await;
    let refused = get(&issuer, "/agents/mailer/explain?resource=other")
        .await
        .json();
    assert_eq!(refused["refusal"]["error"], "invalid_target");
    let other = json!({
        "resource": "other", "identifier": "https://other.example", "through": [], "granted": [], "not_granted": ["x"],
        "refusal": refused["refusal"],
    });
    assert_eq!(refused["resources"][1], other);
    assert_problem(
        &get(&issuer, "/agents/mailer/explain?resource=no").await,
        404,
        "not_found",
        "resource `no` not found",
    );

    call(&issuer, Method::POST, "/agents/mailer/suspend").await;
    let refused = get(&issuer, "/agents/mailer/explain").await.json();
    let description = "the agent was suspended at 2027-01-15T08:00:00Z";
    assert_eq!(
        (&refused["active"], &refused["refusal"]),
        (
            &json!(false),
            &json!({
                "error": "invalid_client",
                "error_description": description,
                "hint": "firman agent resume mailer",
            })
        )
    );
}

#[tokio::test]
async fn explain_decides_about_the_issuer_itself_as_the_token_endpoint_does() {
    let issuer = with_policy().await;
    let agent = issuer.agent("mailer").with_secret().await;
    for scope in ["openid", "openid profile", "read", ""] {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "mailer"),
            ("client_secret", agent.secret()),
            ("resource", issuer.url.as_str()),
            ("scope", scope),
        ];
        let answer = issuer.token(&form).await;
        let path = format!(
            "/agents/mailer/explain?resource={}&scope={}",
            issuer.url,
            scope.replace(' ', "+")
        );
        let explained = get(&issuer, &path).await.json();
        if answer.status == 200 {
            let (minted, shown) = (answer.claims(), &explained["claims"]);
            assert_eq!(
                (&minted["aud"], &minted["scope"]),
                (&shown["aud"], &shown["scope"]),
                "{scope}"
            );
        } else {
            assert_eq!(answer.json(), explained["refusal"], "{scope}");
        }
    }
}

#[tokio::test]
async fn te_046_explain_reports_a_token_that_became_too_large() {
    let issuer = with_policy().await;
    let agent = issuer.agent("mailer").role("reader").with_secret().await;
    assert_eq!(
        post(&issuer, "/groups", json!({ "name": "many" }))
            .await
            .status,
        201
    );
    let member = json!({ "groups": ["many"] });
    assert_eq!(patch(&issuer, "/agents/mailer", member).await.status, 200);
    let mut roles = Vec::new();
    for n in 0..60 {
        roles.push(format!("{n}-{}", "r".repeat(90)));
        let role = json!({ "name": roles[n] });
        assert_eq!(post(&issuer, "/roles", role).await.status, 201);
    }
    let mut outcomes = Vec::new();
    for held in 0..=roles.len() {
        let group = json!({ "roles": roles[..held] });
        assert_eq!(patch(&issuer, "/groups/many", group).await.status, 200);
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "mailer"),
            ("client_secret", agent.secret()),
        ];
        let answer = issuer.token(&form).await;
        let explained = get(&issuer, "/agents/mailer/explain").await.json();
        if answer.status == 200 {
            assert_eq!(explained["refusal"], Value::Null, "{held}");
        } else {
            assert_eq!(explained["refusal"], answer.json(), "{held}");
        }
        outcomes.push(answer.status);
    }
    outcomes.dedup();
    assert_eq!(outcomes, [200, 400]);
}
