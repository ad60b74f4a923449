//! What is refused, and with which words.

use firman::domain::administrator::AdministratorRole;

use super::*;

#[tokio::test]
async fn a_delegation_that_cannot_be_is_refused_with_the_reason() {
    let issuer = with_agents().await;
    trust(&issuer, "okta", true).await;
    for (members, detail) in [
        (
            json!({ "actor": "nobody" }),
            "actor: agent `nobody` not found\nhint: firman agent add nobody",
        ),
        (
            json!({ "subject": "" }),
            "subject: is empty, which would match every subject; name a subject such as `agent:mailer`, or a prefix such as `agent:team-a.*`",
        ),
        (
            json!({ "subject": "*" }),
            "subject: is empty, which would match every subject; name a subject such as `agent:mailer`, or a prefix such as `agent:team-a.*`",
        ),
        (
            json!({ "subject": "agent:*.x" }),
            "subject: contains a character that is not printable ASCII, or a `*` that is not at its end",
        ),
        (
            json!({ "subject": "agent:mailer" }),
            "subject: is the actor's own: to act for itself an agent uses `client_credentials` and needs no delegation",
        ),
        (
            json!({ "subject": "user:okta:*", "subject_claims": { "department": "sales" } }),
            "subject: compares claims, which only tokens of a trusted issuer have; name the trusted issuer too",
        ),
        (
            json!({ "subject": "user:entra:*", "trusted_issuer": "entra" }),
            "trusted_issuer: trusted issuer `entra` not found\nhint: firman trusted-issuer list",
        ),
        (
            json!({ "subject": "user:entra:*", "trusted_issuer": "okta" }),
            "subject: matches no user of the trusted issuer `okta`, whose subjects all begin with `user:okta:`",
        ),
        (
            json!({ "trusted_issuer": "okta" }),
            "subject: matches no user of the trusted issuer `okta`, whose subjects all begin with `user:okta:`",
        ),
        (
            json!({ "resource": "disk" }),
            "resource: resource `disk` not found\nhint: firman resource list",
        ),
        (
            json!({ "scopes": ["read", "send"] }),
            "scopes: the resource `api` has the scopes read write, not `send`",
        ),
        (
            json!({ "scopes": [] }),
            "scopes: contains no scope of `api`\nhint: leave the scopes out to grant all of them",
        ),
    ] {
        let answer = post(&issuer, "/delegations", new_but(members)).await;
        assert_problem(&answer, 400, "invalid", detail);
    }
    assert_eq!(
        get(&issuer, "/delegations").await.json(),
        json!({ "items": [], "next_cursor": null })
    );
}

#[tokio::test]
async fn a_depth_or_an_end_out_of_bounds_is_refused() {
    let issuer = with_agents().await;
    for (members, detail) in [
        (json!({ "max_depth": 0 }), "max_depth: must be 1 to 4"),
        (json!({ "max_depth": 5 }), "max_depth: must be 1 to 4"),
        (
            json!({ "expires_in": null }),
            "expires_at: `expires_at` (a time) or `expires_in` (seconds) is required",
        ),
        (
            json!({ "expires_at": START + 60 }),
            "expires_in: cannot be combined with `expires_at`",
        ),
        (
            json!({ "expires_in": 400 * 86_400 + 1 }),
            "expires_in: must be between now and 2028-02-19T08:00:00Z, 400 days from now: a delegation is reviewed once a year",
        ),
        (
            json!({ "expires_in": null, "expires_at": START }),
            "expires_at: must be between now and 2028-02-19T08:00:00Z, 400 days from now: a delegation is reviewed once a year",
        ),
    ] {
        let answer = post(&issuer, "/delegations", new_but(members)).await;
        assert_problem(&answer, 400, "invalid", detail);
    }
}

#[tokio::test]
async fn a_removed_agent_gets_no_delegation() {
    let issuer = with_agents().await;
    call(&issuer, Method::DELETE, "/agents/mailer").await;
    assert_problem(
        &post(&issuer, "/delegations", new()).await,
        409,
        "conflict",
        "the agent `mailer` was removed at 2027-01-15T08:00:00Z and can no longer be changed\nhint: register one under another name",
    );
}

#[tokio::test]
async fn a_resource_accepts_delegated_tokens_only_when_it_or_its_profile_says_so() {
    let issuer = with_agents().await;
    let claude = json!({ "name": "claude", "profile": "claude" });
    let claude = post(&issuer, "/resources", claude).await.json();
    assert_eq!(
        (&claude["allow_delegation"], &claude["delegation_allowed"]),
        (&Value::Null, &json!(false))
    );
    let edited = patch(
        &issuer,
        "/resources/api",
        json!({ "allow_delegation": false }),
    )
    .await;
    assert_eq!(edited.json()["delegation_allowed"], false);
    for resource in ["claude", "api"] {
        let answer = post(
            &issuer,
            "/delegations",
            new_but(json!({ "resource": resource })),
        )
        .await;
        let detail = format!(
            "the resource `{resource}` does not accept delegated tokens\nhint: firman resource edit {resource} --allow-delegation"
        );
        assert_problem(&answer, 409, "conflict", &detail);
        let path = format!("/resources/{resource}");
        patch(&issuer, &path, json!({ "allow_delegation": true })).await;
        added(&issuer, new_but(json!({ "resource": resource }))).await;
    }
}

#[tokio::test]
async fn an_agent_has_at_most_so_many_delegations_that_are_not_over() {
    let issuer = with_agents().await;
    let first = added(&issuer, new_but(json!({ "expires_in": 1800 }))).await;
    for _ in 1..64 {
        added(&issuer, new()).await;
    }
    let detail = "the agent `mailer` already has 64 delegations, the most there can be
hint: revoke one that is no longer needed (`firman delegation list --actor mailer`), or use a prefix for several subjects";
    assert_problem(
        &post(&issuer, "/delegations", new()).await,
        409,
        "conflict",
        detail,
    );
    let others = json!({ "actor": "triage", "subject": "agent:mailer" });
    added(&issuer, new_but(others)).await;
    call(&issuer, Method::POST, &format!("{first}/suspend")).await;
    assert_eq!(post(&issuer, "/delegations", new()).await.status, 409);
    issuer.clock.advance(1800);
    let second = added(&issuer, new()).await;
    assert_eq!(post(&issuer, "/delegations", new()).await.status, 409);
    call(&issuer, Method::POST, &format!("{second}/revoke")).await;
    added(&issuer, new()).await;
}

#[tokio::test]
async fn an_unknown_delegation_is_not_found() {
    let issuer = with_agents().await;
    let id = "0199d6b1-0000-7000-8000-000000000000";
    let path = format!("/delegations/{id}");
    let detail = format!("delegation `{id}` not found");
    assert_problem(&get(&issuer, &path).await, 404, "not_found", &detail);
    let edited = patch(&issuer, &path, json!({ "expires_in": 60 })).await;
    assert_problem(&edited, 404, "not_found", &detail);
    for verb in ["suspend", "resume", "revoke"] {
        let answer = call(&issuer, Method::POST, &format!("{path}/{verb}")).await;
        assert_problem(&answer, 404, "not_found", &detail);
    }
    let strange = get(&issuer, "/delegations/%00%1b").await;
    assert_problem(&strange, 404, "not_found", "delegation `` not found");
}

#[tokio::test]
async fn a_filter_or_cursor_that_fits_nothing_is_refused() {
    let issuer = with_agents().await;
    for (query, detail) in [
        ("actor=nobody", "actor: agent `nobody` never existed"),
        (
            "subject=*",
            "subject: is empty, which would match every subject; name a subject such as `agent:mailer`, or a prefix such as `agent:team-a.*`",
        ),
        (
            "cursor=YWdlbnRzOngh",
            "cursor: is not a cursor of this list\nhint: send `next_cursor` unchanged, or omit `cursor` to start again",
        ),
        ("limit=0", "limit: must be 1 to 200"),
    ] {
        let answer = get(&issuer, &format!("/delegations?{query}")).await;
        assert_problem(&answer, 400, "invalid", detail);
    }
}

#[tokio::test]
async fn a_stale_version_changes_nothing() {
    let issuer = with_agents().await;
    let path = added(&issuer, new()).await;
    let stale = [("authorization", &*bearer(&issuer)), ("if-match", "\"v1\"")];
    let present = version(&issuer, &path).await;
    let detail = format!(
        "the delegation was changed by another request: it is now at version {present}\nhint: read it again and repeat the change"
    );
    let end = json!({ "expires_in": 60 });
    let edited = call_with(&issuer, (Method::PATCH, &path), &stale, Some(&end)).await;
    assert_problem(&edited, 412, "precondition_failed", &detail);
    for verb in ["suspend", "resume", "revoke"] {
        let path = format!("{path}/{verb}");
        let answer = call_with(&issuer, (Method::POST, &path), &stale, None).await;
        assert_problem(&answer, 412, "precondition_failed", &detail);
    }
    assert_eq!(version(&issuer, &path).await, present);
}

fn bearer(issuer: &TestIssuer) -> String {
    format!("Bearer {}", issuer.admin_token().trim())
}

#[tokio::test]
async fn a_viewer_sees_delegations_and_changes_none() {
    let issuer = with_agents().await;
    let path = added(&issuer, new()).await;
    let viewer = administrator(&issuer, "viewer", AdministratorRole::Viewer, None).await;
    let headers = [("authorization", viewer.as_str())];
    for shown in ["/delegations", &path] {
        let answer = call_with(&issuer, (Method::GET, shown), &headers, None).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    let body = new();
    let end = json!({ "expires_in": 60 });
    for (method, path, body) in [
        (Method::POST, "/delegations".to_owned(), Some(&body)),
        (Method::PATCH, path.clone(), Some(&end)),
        (Method::POST, format!("{path}/suspend"), None),
        (Method::POST, format!("{path}/resume"), None),
        (Method::POST, format!("{path}/revoke"), None),
    ] {
        let answer = call_with(&issuer, (method, &path), &headers, body).await;
        assert_eq!(kind_of(&answer), (403, "forbidden".to_owned()), "{answer}");
    }
}

#[tokio::test]
async fn one_that_is_over_cannot_be_changed_but_its_tokens_can_still_be_ended() {
    let issuer = with_agents().await;
    let revoked = added(&issuer, new()).await;
    call(&issuer, Method::POST, &format!("{revoked}/revoke")).await;
    let expired = added(&issuer, new_but(json!({ "expires_in": 60 }))).await;
    issuer.clock.advance(60);
    for (path, ended) in [
        (&revoked, "was revoked at 2027-01-15T08:00:00Z"),
        (&expired, "expired at 2027-01-15T08:01:00Z"),
    ] {
        let id = path.trim_start_matches("/delegations/");
        let detail = format!(
            "delegation `{id}` {ended} and can no longer be changed\nhint: firman delegation add"
        );
        let edited = patch(&issuer, path, json!({ "expires_in": 60 })).await;
        assert_problem(&edited, 409, "conflict", &detail);
        for verb in ["suspend", "resume"] {
            let answer = call(&issuer, Method::POST, &format!("{path}/{verb}")).await;
            assert_problem(&answer, 409, "conflict", &detail);
        }
    }
    let shown = get(&issuer, &expired).await.json();
    assert_eq!(
        (&shown["status"], &shown["status_since"]),
        (&json!("expired"), &json!(START + 60))
    );
    let ended = call(&issuer, Method::POST, &format!("{expired}/revoke")).await;
    assert_eq!(
        (&ended.json()["status"], &ended.json()["tokens_ended_until"]),
        (&json!("revoked"), &json!(START + 60))
    );
    assert_eq!(ended_until(&issuer, &expired).await, Some(60));
}
