//! The settings of a resource for delegation: whether it accepts delegated tokens, and which agent it is.

use super::*;

#[tokio::test]
async fn a_resource_server_must_be_an_agent_that_is_there() {
    let issuer = with_agents().await;
    let gone = json!({ "name": "old", "owner": "ops" });
    post(&issuer, "/agents", gone).await;
    call(&issuer, Method::DELETE, "/agents/old").await;
    let unknown = "server: agent `nobody` not found\nhint: firman agent add nobody";
    let removed = "the agent `old` was removed at 2027-01-15T08:00:00Z and can no longer be changed\nhint: register one under another name";
    for (server, status, kind, detail) in [
        ("nobody", 400, "invalid", unknown),
        ("old", 409, "conflict", removed),
    ] {
        let new = json!({ "name": "disk", "identifier": "https://disk.example", "server": server });
        let made = post(&issuer, "/resources", new).await;
        assert_problem(&made, status, kind, detail);
        let edited = patch(&issuer, "/resources/api", json!({ "server": server })).await;
        assert_problem(&edited, status, kind, detail);
    }
    let shown = get(&issuer, "/resources/api").await.json();
    assert_eq!(shown["server"], Value::Null);
}

#[tokio::test]
async fn a_key_can_be_demanded_of_an_agent_and_for_a_resource() {
    let issuer = with_agents().await;
    for (path, new, event) in [
        (
            "/agents",
            json!({ "name": "bound", "owner": "ops", "dpop_required": true }),
            "agent.changed",
        ),
        (
            "/resources",
            json!({ "name": "bound", "identifier": "urn:x:bound", "dpop_required": true }),
            "resource.changed",
        ),
    ] {
        assert_eq!(post(&issuer, path, new).await.status, 201);
        let path = format!("{path}/bound");
        assert_eq!(get(&issuer, &path).await.json()["dpop_required"], true);
        let edited = patch(&issuer, &path, json!({ "dpop_required": false })).await;
        assert_eq!(edited.json()["dpop_required"], false);
        let entry = audited(&issuer, &format!("&event={event}"), |_| true).await;
        assert_eq!(
            entry["detail"],
            json!({ "dpop_required": { "from": true, "to": false } })
        );
        let null = patch(&issuer, &path, json!({ "dpop_required": null })).await;
        assert_problem(&null, 400, "invalid", "dpop_required: must be a boolean");
    }
}

#[tokio::test]
async fn a_resource_has_a_server_and_says_whether_it_accepts_delegated_tokens() {
    let issuer = with_agents().await;
    let new = json!({ "name": "disk", "identifier": "https://disk.example", "server": "triage", "allow_delegation": false });
    let made = post(&issuer, "/resources", new).await;
    assert_eq!(
        without_ids(made.json()),
        json!({
            "id": "…", "name": "disk", "identifier": "https://disk.example", "description": "", "profile": "generic",
            "scopes": [], "lifetime": null, "algorithm": null, "token_lifetime": 900, "token_algorithm": "ES256", "typ": null, "token_typ": "at+jwt",
            "allow_delegation": false, "delegation_allowed": false, "server": "triage", "dpop_required": false,
            "created_at": START, "updated_at": START, "version": "…"
        })
    );
    assert_eq!(get(&issuer, "/resources/disk").await.json(), made.json());
    let list = get(&issuer, "/resources").await.json();
    assert_eq!(
        (&list["items"][0]["server"], &list["items"][1]),
        (&Value::Null, &made.json())
    );
    let edit = json!({ "server": "mailer", "allow_delegation": null });
    let edited = patch(&issuer, "/resources/disk", edit.clone()).await.json();
    assert_eq!(
        (
            &edited["server"],
            &edited["allow_delegation"],
            &edited["delegation_allowed"]
        ),
        (&json!("mailer"), &Value::Null, &json!(true))
    );
    let entry = audited(&issuer, "&event=resource.changed", |_| true).await;
    assert_eq!(
        entry["detail"],
        json!({
            "server": { "from": "triage", "to": "mailer" },
            "allow_delegation": { "from": false, "to": null }
        })
    );
    let same = patch(&issuer, "/resources/disk", edit).await.json();
    assert_eq!(same, edited);
    let none = patch(&issuer, "/resources/disk", json!({ "server": null })).await;
    assert_eq!(none.json()["server"], Value::Null);
}
