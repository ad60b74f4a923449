//! How delegations are made, shown, found and explained.

use super::*;

#[tokio::test]
async fn a_delegation_is_made_shown_and_listed() {
    let issuer = with_agents().await;
    trust(&issuer, "okta", true).await;
    let body = json!({
        "actor": "mailer", "subject": "user:okta:*", "trusted_issuer": "okta", "subject_claims": { "department": "sales" },
        "resource": "https://api.example", "scopes": ["write", "read"], "max_depth": 2, "expires_at": START + 86_400
    });
    let created = post(&issuer, "/delegations", body).await;
    let mut delegation = json!({
        "id": "…", "actor": "mailer", "subject": "user:okta:*", "trusted_issuer": "okta",
        "subject_claims": { "department": "sales" }, "resource": "api", "identifier": "https://api.example",
        "scopes": ["read", "write"], "max_depth": 2, "status": "active", "status_since": null,
        "expires_at": START + 86_400, "created_at": START, "updated_at": START, "version": "…", "warnings": []
    });
    assert_eq!(created.status, 201, "{created}");
    assert_eq!(without_ids(created.json()), delegation);
    let members = delegation.as_object_mut().expect("an object");
    members.remove("warnings");
    let id = created.json()["id"].as_str().expect("an id").to_owned();
    let shown = get(&issuer, &format!("/delegations/{id}")).await;
    assert_eq!(shown.header("etag"), created.header("etag"));
    assert_eq!(without_ids(shown.json()), delegation);
    assert_eq!(
        get(&issuer, "/delegations").await.json(),
        json!({ "items": [shown.json()], "next_cursor": null })
    );
    let entry = audited(&issuer, "&event=delegation.added&agent=mailer", |_| true).await;
    assert_eq!(
        (&entry["target"], &entry["detail"]),
        (
            &json!(format!("delegation:{id}")),
            &json!({
                "actor": "mailer", "subject": "user:okta:*", "trusted_issuer": "okta", "subject_claims": { "department": "sales" },
                "resource": "api", "scopes": ["read", "write"], "max_depth": 2, "expires_at": START + 86_400
            })
        )
    );
}

#[tokio::test]
async fn what_is_left_out_is_all_scopes_and_one_actor() {
    let issuer = with_agents().await;
    let made = post(&issuer, "/delegations", new()).await.json();
    assert_eq!(
        without_ids(made),
        json!({
            "id": "…", "actor": "mailer", "subject": "agent:triage", "trusted_issuer": null, "subject_claims": {},
            "resource": "api", "identifier": "https://api.example", "scopes": "*", "max_depth": 1, "status": "active",
            "status_since": null, "expires_at": START + 3600, "created_at": START, "updated_at": START, "version": "…",
            "warnings": []
        })
    );
}

#[tokio::test]
async fn a_delegation_without_effect_is_reported_when_it_is_made() {
    let issuer = with_agents().await;
    trust(&issuer, "okta", true).await;
    trust(&issuer, "idle", false).await;
    let removed = json!({ "name": "old", "owner": "ops" });
    post(&issuer, "/agents", removed).await;
    call(&issuer, Method::DELETE, "/agents/old").await;
    for (members, warning) in [
        (
            json!({ "actor": "triage", "subject": "agent:mailer" }),
            json!({
                "text": "no role of the agent `triage` grants the resource `api`, so every exchange is rejected",
                "hint": "firman agent edit triage --add-role ROLE",
            }),
        ),
        (
            json!({ "subject": "agent:nobody" }),
            json!({ "text": "no agent has the subject `agent:nobody` yet", "hint": "firman agent list" }),
        ),
        (
            json!({ "subject": "agent:old" }),
            json!({ "text": "the agent with the subject `agent:old` was removed, and its subject is never reused" }),
        ),
        (
            json!({ "subject": "user:entra:*" }),
            json!({
                "text": "no trusted issuer is named `entra` yet, so no user has this subject",
                "hint": "firman trusted-issuer list",
            }),
        ),
        (
            json!({ "subject": "user:idle:*", "trusted_issuer": "idle" }),
            json!({
                "text": "the trusted issuer `idle` is not trusted for subjects, so every exchange of its tokens is rejected",
                "hint": "firman trusted-issuer edit idle --trust subject",
            }),
        ),
        (
            json!({ "subject": "user:okta:alice@example.com" }),
            json!({ "text": "the delegation matches no user: the part after the second `:` must be percent-encoded, as in `user:okta:alice%40example.com`" }),
        ),
    ] {
        let answer = post(&issuer, "/delegations", new_but(members)).await;
        assert_eq!(answer.status, 201, "{answer}");
        assert_eq!(answer.json()["warnings"], json!([warning]));
    }
    for subject in [
        "agent:team-a.*",
        "user:okta:alice%40example.com",
        "user:okta:*",
        "urn:x",
    ] {
        let body = new_but(json!({ "subject": subject }));
        let answer = post(&issuer, "/delegations", body).await;
        assert_eq!(answer.json()["warnings"], json!([]), "{subject}");
    }
}

#[tokio::test]
async fn delegations_are_found_by_actor_and_by_the_subjects_that_they_take() {
    let issuer = with_agents().await;
    for (actor, subject) in [
        ("mailer", "agent:team-a.x"),
        ("mailer", "agent:team-a.*"),
        ("triage", "agent:team-a.x"),
        ("triage", "agent:team-b.*"),
        ("triage", "agent:team-a.x.y"),
    ] {
        let members = json!({ "actor": actor, "subject": subject });
        added(&issuer, new_but(members)).await;
        issuer.clock.advance(1);
    }
    for (query, found) in [
        (
            "actor=mailer",
            &["mailer agent:team-a.x", "mailer agent:team-a.*"][..],
        ),
        (
            "subject=agent:team-a.x",
            &[
                "mailer agent:team-a.x",
                "mailer agent:team-a.*",
                "triage agent:team-a.x",
            ],
        ),
        ("subject=agent:team-b.z", &["triage agent:team-b.*"]),
        ("subject=agent:team-b", &[]),
        (
            "subject=agent:team-a.x.*&actor=triage",
            &["triage agent:team-a.x.y"],
        ),
        (
            "subject=agent:team-a.x*",
            &[
                "mailer agent:team-a.x",
                "mailer agent:team-a.*",
                "triage agent:team-a.x",
                "triage agent:team-a.x.y",
            ],
        ),
    ] {
        let list = get(&issuer, &format!("/delegations?{query}")).await.json();
        assert_eq!(pairs(&list), found, "{query}");
    }
    let first = get(&issuer, "/delegations?limit=3&actor=triage").await;
    assert_eq!(first.json()["next_cursor"], Value::Null);
    let first = get(&issuer, "/delegations?limit=4").await.json();
    let cursor = first["next_cursor"].as_str().expect("there is one more");
    let rest = get(&issuer, &format!("/delegations?limit=4&cursor={cursor}")).await;
    assert_eq!(pairs(&rest.json()), ["triage agent:team-a.x.y"]);
    assert_eq!(rest.json()["next_cursor"], Value::Null);
}

fn pairs(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().expect("a list").iter();
    let text = |item: &Value, name: &str| item[name].as_str().expect("a text").to_owned();
    items
        .map(|item| format!("{} {}", text(item, "actor"), text(item, "subject")))
        .collect()
}

#[tokio::test]
async fn explain_shows_the_delegations_that_hold() {
    let issuer = with_agents().await;
    let held = added(&issuer, new_but(json!({ "scopes": ["read"] }))).await;
    let suspended = added(&issuer, new()).await;
    call(&issuer, Method::POST, &format!("{suspended}/suspend")).await;
    let revoked = added(&issuer, new()).await;
    call(&issuer, Method::POST, &format!("{revoked}/revoke")).await;
    added(&issuer, new_but(json!({ "expires_in": 10 }))).await;
    issuer.clock.advance(10);
    let explained = get(&issuer, "/agents/mailer/explain").await.json();
    let held = get(&issuer, &held).await.json();
    assert_eq!(explained["delegations"], json!([held]));
    let explained = get(&issuer, "/agents/triage/explain").await.json();
    assert_eq!(explained["delegations"], json!([]));
}
