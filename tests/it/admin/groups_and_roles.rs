//! Groups and roles.

use super::*;

async fn with_policy() -> TestIssuer {
    let issuer = TestIssuer::start().await;
    issuer.resource("api", &["read", "write"]).await;
    issuer.role("reader", "api", &["read"]).await;
    issuer
}

#[tokio::test]
async fn a_group_is_made_shown_edited_and_listed() {
    let issuer = with_policy().await;
    let created = post(
        &issuer,
        "/groups",
        json!({ "name": "ops", "description": "on call" }),
    )
    .await;
    let group = json!({
        "id": "…", "name": "ops", "description": "on call", "roles": [], "members": 0, "created_at": START, "updated_at": START, "version": "…"
    });
    assert_eq!((created.status, without_ids(created.json())), (201, group));
    assert_eq!(created.header("location"), "/admin/v1/groups/ops");
    issuer.clock.advance(1);
    let edited = patch(&issuer, "/groups/ops", json!({ "roles": ["reader"] }))
        .await
        .json();
    assert_eq!(
        (&edited["roles"], &edited["updated_at"]),
        (&json!(["reader"]), &json!(START + 1))
    );
    assert_eq!(get(&issuer, "/groups/ops").await.json(), edited);
    let list = get(&issuer, "/groups").await.json();
    assert_eq!(
        (&list["items"][0]["name"], list["items"][0].get("members")),
        (&json!("ops"), None)
    );
    let detail = "a group named `ops` exists\nhint: firman group edit ops";
    assert_problem(
        &post(&issuer, "/groups", json!({ "name": "ops" })).await,
        409,
        "conflict",
        detail,
    );
}

#[tokio::test]
async fn ad_025_a_group_in_use_is_removed_only_by_force_with_an_entry_for_each_member() {
    let issuer = with_policy().await;
    post(
        &issuer,
        "/groups",
        json!({ "name": "ops", "roles": ["reader"] }),
    )
    .await;
    for name in ["a", "b"] {
        assert_eq!(
            post(
                &issuer,
                "/agents",
                json!({ "name": name, "owner": "x", "groups": ["ops"] })
            )
            .await
            .status,
            201
        );
    }
    let detail = "the group `ops` has 2 agents; a forced removal removes each from it\nhint: firman group remove ops --force";
    assert_problem(
        &call(&issuer, Method::DELETE, "/groups/ops").await,
        409,
        "conflict",
        detail,
    );
    assert_eq!(
        call(&issuer, Method::DELETE, "/groups/ops?force=true")
            .await
            .status,
        204
    );
    for name in ["a", "b"] {
        assert_eq!(
            get(&issuer, &format!("/agents/{name}")).await.json()["groups"],
            json!([])
        );
        let entry = audited(
            &issuer,
            &format!("&event=agent.changed&agent={name}"),
            |_| true,
        )
        .await;
        assert_eq!(
            entry["detail"],
            json!({ "groups": { "from": ["ops"], "to": [] } })
        );
    }
    assert_problem(
        &get(&issuer, "/groups/ops").await,
        404,
        "not_found",
        "group `ops` not found",
    );
    let detail = "the name `ops` belonged to a group that was removed; a name is never reused, because relying parties may still trust it\nhint: choose another name";
    assert_problem(
        &post(&issuer, "/groups", json!({ "name": "ops" })).await,
        409,
        "conflict",
        detail,
    );
}

#[tokio::test]
async fn a_role_is_made_shown_edited_and_listed() {
    let issuer = with_policy().await;
    let grants = json!([{ "resource": "https://api.example", "scopes": ["write", "read"] }]);
    let created = post(
        &issuer,
        "/roles",
        json!({ "name": "writer", "grants": grants }),
    )
    .await;
    let role = json!({
        "id": "…", "name": "writer", "description": "",
        "grants": [{ "resource": "api", "identifier": "https://api.example", "scopes": ["read", "write"] }],
        "created_at": START, "updated_at": START, "version": "…"
    });
    assert_eq!((created.status, without_ids(created.json())), (201, role));
    for all in [
        json!([{ "resource": "api" }]),
        json!([{ "resource": "api", "scopes": "*" }]),
    ] {
        let edited = patch(&issuer, "/roles/writer", json!({ "grants": all }))
            .await
            .json();
        assert_eq!(
            edited["grants"],
            json!([{ "resource": "api", "identifier": "https://api.example", "scopes": "*" }])
        );
    }
    let entry = audited(&issuer, "&event=role.changed", |_| true).await;
    assert_eq!(
        entry["detail"],
        json!({ "grants": { "from": { "api": ["read", "write"] }, "to": { "api": "*" } } })
    );
    let list = get(&issuer, "/roles").await.json();
    assert_eq!(
        (&list["items"][0]["name"], &list["items"][1]["name"]),
        (&json!("reader"), &json!("writer"))
    );
}

#[tokio::test]
async fn a_grant_of_what_there_is_not_is_refused() {
    let issuer = with_policy().await;
    for (grants, detail) in [
        (
            json!([{ "resource": "nope" }]),
            "grants: resource `nope` not found\nhint: firman resource list",
        ),
        (
            json!([{ "resource": "https://nope.example" }]),
            "grants: resource `https://nope.example` not found\nhint: firman resource list",
        ),
        (
            json!([{ "resource": "api", "scopes": ["admin"] }]),
            "grants: the resource `api` has the scopes read write, not `admin`",
        ),
        (
            json!([{ "resource": "api", "scopes": [] }]),
            "grants: contains no scope of `api`\nhint: leave the scopes out to grant all of them",
        ),
        (
            json!([{ "resource": "api" }, { "resource": "https://api.example" }]),
            "grants: names the resource `api` twice\nhint: put its scopes into one grant",
        ),
        (
            json!([{ "resource": "api", "scopes": "read" }]),
            "grants[0].scopes: must be an array of scope names, or \"*\" for all of them",
        ),
    ] {
        assert_problem(
            &post(&issuer, "/roles", json!({ "name": "x", "grants": grants })).await,
            400,
            "invalid",
            detail,
        );
    }
}

#[tokio::test]
async fn ad_025_a_role_in_use_is_removed_only_by_force_with_an_entry_for_each_holder() {
    let issuer = with_policy().await;
    post(
        &issuer,
        "/groups",
        json!({ "name": "ops", "roles": ["reader"] }),
    )
    .await;
    issuer.agent("mailer").role("reader").with_secret().await;
    let detail = "2 agents and groups hold the role `reader`; a forced removal removes the role from each\nhint: firman role remove reader --force";
    assert_problem(
        &call(&issuer, Method::DELETE, "/roles/reader").await,
        409,
        "conflict",
        detail,
    );
    assert_eq!(
        call(&issuer, Method::DELETE, "/roles/reader?force=true")
            .await
            .status,
        204
    );
    assert_eq!(
        get(&issuer, "/agents/mailer").await.json()["roles"],
        json!([])
    );
    assert_eq!(get(&issuer, "/groups/ops").await.json()["roles"], json!([]));
    let taken = json!({ "roles": { "from": ["reader"], "to": [] } });
    assert_eq!(
        audited(&issuer, "&event=agent.changed", |_| true).await["detail"],
        taken
    );
    assert_eq!(
        audited(&issuer, "&event=group.changed", |_| true).await["detail"],
        taken
    );
    assert_eq!(
        audited(&issuer, "&event=role.removed", |_| true).await["detail"],
        json!({ "grants": { "api": ["read"] }, "holders_taken_from": 2 })
    );
}

#[tokio::test]
async fn te_037_an_agent_taken_out_of_a_group_loses_its_rights_with_the_next_request() {
    let issuer = with_policy().await;
    post(
        &issuer,
        "/groups",
        json!({ "name": "ops", "roles": ["reader"] }),
    )
    .await;
    let agent = issuer.agent("mailer").with_secret().await;
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", "mailer"),
        ("client_secret", agent.secret()),
    ];
    assert_eq!(issuer.token(&form).await.status, 400);
    patch(&issuer, "/agents/mailer", json!({ "groups": ["ops"] })).await;
    assert_eq!(issuer.token(&form).await.claims()["groups"], json!(["ops"]));
    patch(&issuer, "/agents/mailer", json!({ "groups": [] })).await;
    assert_eq!(issuer.token(&form).await.status, 400);
}
