//! How delegations end, and what ends with them.

use std::time::Duration;

use firman::api::delegation::DelegationEdit;
use firman::issuer::Caller;

use super::*;

#[tokio::test]
async fn a_suspended_delegation_takes_its_tokens_along_and_they_stay_ended() {
    let issuer = with_agents().await;
    let path = added(&issuer, new()).await;
    let other = added(&issuer, new()).await;

    issuer.clock.advance(1);
    let suspended = call(&issuer, Method::POST, &format!("{path}/suspend")).await;
    assert_eq!(
        without_ids(suspended.json()),
        json!({
            "id": "…", "actor": "mailer", "subject": "agent:triage", "trusted_issuer": null, "subject_claims": {},
            "resource": "api", "identifier": "https://api.example", "scopes": "*", "max_depth": 1, "status": "suspended",
            "status_since": START + 1, "expires_at": START + 3600, "created_at": START, "updated_at": START + 1,
            "version": "…", "tokens_ended_until": START + 1
        })
    );
    assert_eq!(ended_until(&issuer, &path).await, Some(1));
    assert_eq!(ended_until(&issuer, &other).await, None);
    let entry = audited(&issuer, "&event=delegation.suspended", |_| true).await;
    assert_eq!(
        entry["detail"],
        json!({ "actor": "mailer", "subject": "agent:triage", "resource": "api", "tokens_ended_until": START + 1 })
    );
    let again = call(&issuer, Method::POST, &format!("{path}/suspend")).await;
    assert_eq!(again.json().get("tokens_ended_until"), None);
    assert_eq!(again.json()["version"], suspended.json()["version"]);

    let resumed = call(&issuer, Method::POST, &format!("{path}/resume")).await;
    assert_eq!(
        (&resumed.json()["status"], &resumed.json()["status_since"]),
        (&json!("active"), &Value::Null)
    );
    assert_eq!(ended_until(&issuer, &path).await, Some(1));
    let entry = audited(&issuer, "&event=delegation.resumed", |_| true).await;
    assert_eq!(
        entry["detail"],
        json!({ "actor": "mailer", "subject": "agent:triage", "resource": "api", "suspended_at": START + 1 })
    );
    let again = call(&issuer, Method::POST, &format!("{path}/resume")).await;
    assert_eq!(again.json(), resumed.json(), "twice is once");
}

#[tokio::test]
async fn a_revoked_delegation_takes_its_tokens_along_for_good() {
    let issuer = with_agents().await;
    let path = added(&issuer, new()).await;
    let revoked = call(&issuer, Method::POST, &format!("{path}/revoke")).await;
    assert_eq!(
        (
            &revoked.json()["status"],
            &revoked.json()["status_since"],
            &revoked.json()["tokens_ended_until"]
        ),
        (&json!("revoked"), &json!(START), &json!(START))
    );
    assert_eq!(ended_until(&issuer, &path).await, Some(0));
    let entry = audited(&issuer, "&event=delegation.revoked&agent=mailer", |_| true).await;
    assert_eq!(
        (&entry["actor"], &entry["detail"]),
        (
            &json!("administrator:bootstrap"),
            &json!({ "actor": "mailer", "subject": "agent:triage", "resource": "api", "tokens_ended_until": START })
        )
    );
    let again = call(&issuer, Method::POST, &format!("{path}/revoke")).await;
    assert_eq!(
        (
            &again.json()["status"],
            again.json().get("tokens_ended_until")
        ),
        (&json!("revoked"), None)
    );
}

#[tokio::test]
async fn an_end_is_moved_and_the_same_end_is_not_a_change() {
    let issuer = with_agents().await;
    let path = added(&issuer, new()).await;
    let edited = patch(&issuer, &path, json!({ "expires_at": START + 60 })).await;
    assert_eq!(edited.json()["expires_at"], START + 60, "{edited}");
    let entry = audited(&issuer, "&event=delegation.changed", |_| true).await;
    assert_eq!(
        entry["detail"],
        json!({
            "actor": "mailer", "subject": "agent:triage", "resource": "api",
            "expires_at": { "from": START + 3600, "to": START + 60 }, "tokens_ended_until": START
        })
    );
    let same = patch(&issuer, &path, json!({ "expires_in": 60 })).await;
    assert_eq!(same.json(), edited.json());
}

#[tokio::test]
async fn an_end_that_a_token_could_outlive_ends_the_tokens_so_far_and_no_other_end_does() {
    let issuer = with_agents().await;
    let path = added(&issuer, new()).await;
    // No token lives for half a day and longer.
    for far in [86_400, 43_201, 90_000] {
        patch(&issuer, &path, json!({ "expires_at": START + far })).await;
        assert_eq!(ended_until(&issuer, &path).await, None, "{far}");
    }
    issuer.clock.advance(5);
    let edited = patch(&issuer, &path, json!({ "expires_at": START + 60 })).await;
    assert_eq!(edited.json()["expires_at"], START + 60, "{edited}");
    assert_eq!(ended_until(&issuer, &path).await, Some(5));
    let entry = audited(&issuer, "&event=delegation.changed", |entry| {
        entry["detail"]["tokens_ended_until"] == START + 5
    })
    .await;
    assert_eq!(entry["detail"]["expires_at"]["to"], START + 60);
}

#[tokio::test]
async fn every_change_is_a_change_of_the_actor() {
    let issuer = with_agents().await;
    let before = version(&issuer, "/agents/mailer").await;
    let path = added(&issuer, new()).await;
    let mut last = version(&issuer, "/agents/mailer").await;
    assert!(last > before);
    for verb in ["suspend", "resume", "revoke"] {
        call(&issuer, Method::POST, &format!("{path}/{verb}")).await;
        let present = version(&issuer, "/agents/mailer").await;
        assert!(present > last, "{verb}");
        assert_eq!(present, version(&issuer, &path).await, "{verb}");
        last = present;
    }
}

#[tokio::test]
async fn a_removed_agent_leaves_no_delegation_behind() {
    let issuer = with_agents().await;
    let path = added(&issuer, new()).await;
    let about_it = json!({ "actor": "triage", "subject": "agent:mailer" });
    let about_it = added(&issuer, new_but(about_it)).await;
    let removed = call(&issuer, Method::DELETE, "/agents/mailer").await;
    assert_eq!(removed.status, 204, "{removed}");
    let shown = get(&issuer, &path).await.json();
    assert_eq!(
        (&shown["actor"], &shown["status"]),
        (&json!("mailer"), &json!("revoked"))
    );
    assert_eq!(ended_until(&issuer, &path).await, Some(0));
    let entry = audited(&issuer, "&event=delegation.revoked", |_| true).await;
    assert_eq!(
        entry["detail"],
        json!({
            "actor": "mailer", "subject": "agent:triage", "resource": "api", "tokens_ended_until": START,
            "why": "its actor was removed"
        })
    );
    let list = get(&issuer, "/delegations?actor=mailer").await.json();
    assert_eq!(list["items"], json!([shown]));
    assert_eq!(get(&issuer, &about_it).await.json()["status"], "active");
}

#[tokio::test]
async fn a_resource_that_delegations_name_is_removed_only_by_force() {
    let issuer = with_agents().await;
    call(&issuer, Method::DELETE, "/roles/reader?force=true").await;
    let path = added(&issuer, new()).await;
    let answer = call(&issuer, Method::DELETE, "/resources/api").await;
    assert_problem(
        &answer,
        409,
        "conflict",
        "one delegation names the resource `api`; a forced removal revokes them and ends their tokens\nhint: firman resource remove api --force",
    );
    let before = version(&issuer, "/agents/mailer").await;
    let forced = call(&issuer, Method::DELETE, "/resources/api?force=true").await;
    assert_eq!(forced.status, 204, "{forced}");
    let shown = get(&issuer, &path).await.json();
    assert_eq!(
        (&shown["resource"], &shown["status"]),
        (&json!("api"), &json!("revoked"))
    );
    assert_eq!(ended_until(&issuer, &path).await, Some(0));
    assert!(version(&issuer, "/agents/mailer").await > before);
    let entry = audited(&issuer, "&event=delegation.revoked", |_| true).await;
    assert_eq!(entry["detail"]["why"], "its resource was removed");
}

#[tokio::test]
async fn a_resource_whose_delegations_are_over_is_removed_without_force() {
    let issuer = with_agents().await;
    call(&issuer, Method::DELETE, "/roles/reader?force=true").await;
    let revoked = added(&issuer, new()).await;
    call(&issuer, Method::POST, &format!("{revoked}/revoke")).await;
    let expired = added(&issuer, new_but(json!({ "expires_in": 10 }))).await;
    issuer.clock.advance(10);
    let removed = call(&issuer, Method::DELETE, "/resources/api").await;
    assert_eq!(removed.status, 204, "{removed}");
    assert_eq!(get(&issuer, &expired).await.json()["status"], "expired");
}

fn id_of(path: &str) -> &str {
    path.trim_start_matches("/delegations/")
}

/// Every connection that reads, so that no read can begin.
async fn all_readers(issuer: &TestIssuer) -> Vec<Tx> {
    let (mut readers, wait) = (Vec::new(), Duration::from_millis(300));
    let store = issuer.host().store();
    while let Ok(reader) = tokio::time::timeout(wait, store.read()).await {
        readers.push(reader.expect("a store"));
    }
    readers
}

#[tokio::test]
async fn a_call_that_changes_nothing_shows_what_it_found_and_does_not_read_again() {
    let issuer = with_agents().await;
    let (active, suspended, revoked) = (
        added(&issuer, new()).await,
        added(&issuer, new()).await,
        added(&issuer, new()).await,
    );
    for (path, verb) in [(&suspended, "suspend"), (&revoked, "revoke")] {
        let answer = call(&issuer, Method::POST, &format!("{path}/{verb}")).await;
        assert_eq!(answer.status, 200, "{answer}");
    }
    let (handle, system) = (issuer.issuer(), Caller::system());
    // What is read from here on could be what another administrator did meanwhile.
    let readers = all_readers(&issuer).await;
    let found = async {
        let same_end = DelegationEdit {
            expires_at: Some(START + 3600),
            expires_in: None,
        };
        let edited = handle.edit_delegation(&system, id_of(&active), same_end, None);
        let resumed = handle.resume_delegation(&system, id_of(&active), None);
        let suspended = handle.suspend_delegation(&system, id_of(&suspended), None);
        let revoked = handle.revoke_delegation(&system, id_of(&revoked), None);
        [
            edited.await.expect("a delegation"),
            resumed.await.expect("a delegation"),
            suspended.await.expect("a delegation").delegation,
            revoked.await.expect("a delegation").delegation,
        ]
    };
    let found = tokio::time::timeout(Duration::from_secs(20), found).await;
    let found = found.expect("nothing was read");
    drop(readers);
    assert_eq!(
        found.map(|view| (view.status, view.status_since)),
        [
            ("active".to_owned(), None),
            ("active".to_owned(), None),
            ("suspended".to_owned(), Some(START)),
            ("revoked".to_owned(), Some(START)),
        ]
    );
}

#[tokio::test]
async fn a_clock_that_runs_ahead_deletes_no_delegation_until_a_token_confirms_the_time() {
    const DAY: i64 = 86_400;
    let issuer = with_agents().await;
    let path = added(&issuer, new()).await;
    let client = issuer.agent("clock").with_secret().await;
    let token = async || {
        let answer = issuer
            .token(&[
                ("grant_type", "client_credentials"),
                ("client_id", "clock"),
                ("client_secret", client.secret()),
                ("scope", "openid"),
                ("resource", issuer.url.as_str()),
            ])
            .await;
        assert_eq!(answer.status, 200, "{answer}");
    };
    token().await;
    issuer.clock.advance(500 * DAY);
    issuer.host().maintain().await;
    issuer.clock.advance(-500 * DAY);
    assert_eq!(get(&issuer, &path).await.json()["status"], "active");

    issuer.clock.advance(93 * DAY);
    issuer.host().maintain().await;
    assert_eq!(get(&issuer, &path).await.json()["status"], "expired");
    token().await;
    issuer.host().maintain().await;
    assert_eq!(get(&issuer, &path).await.status, 404);
}
