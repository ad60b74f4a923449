//! One damaged row is refused alone.

use firman::api::agent::AgentEdit;
use firman::api::credential::NewCredential;
use firman::issuer::Caller;
use firman::testing::{Answer, START, TestKey};
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{assert_issued, database_of, execute, secret_form, with_resource};
use crate::admin::{assert_hinted, assert_problem, call, get, patch, post, without_ids};

#[tokio::test]
async fn a_damaged_agent_is_refused_alone() {
    let issuer = with_resource().await;
    let damaged = issuer
        .agent("damaged")
        .role("reader")
        .with_public_key(TestKey::Es256)
        .await;
    let sound = issuer
        .agent("sound")
        .role("reader")
        .with_public_key(TestKey::Es256Second)
        .await;
    assert_issued(&issuer.token_with(&damaged.assertion().build()).await);
    assert_eq!(
        execute(
            &issuer,
            "UPDATE credentials SET jwk = '{}' WHERE agent_id = (SELECT id FROM agents WHERE name = 'damaged')"
        )
        .await,
        1
    );
    // Its next change makes every replica read it again.
    let changes = AgentEdit {
        description: Some("changed".to_owned()),
        ..AgentEdit::default()
    };
    let _ = issuer
        .issuer()
        .edit_agent(&Caller::system(), "damaged", changes, None)
        .await;
    let answer = issuer.token_with(&damaged.assertion().build()).await;
    assert_eq!(answer.status, 503, "{answer}");
    assert_issued(&issuer.token_with(&sound.assertion().build()).await);
    // What cannot be shown can still be switched off.
    let suspended = issuer
        .admin(Method::POST, "/agents/damaged/suspend", None)
        .await;
    assert_not_shown(&suspended, "firman agent list --search damaged");
    let listed = issuer
        .admin(Method::GET, "/agents?status=suspended", None)
        .await;
    assert_eq!(listed.json()["items"][0]["name"], "damaged", "{listed}");
}

/// The answer to a change that was made and left what cannot be shown.
fn assert_not_shown(answer: &Answer, hint: &str) {
    let detail =
        "the change was made, but its result cannot be shown; see the log under this request id";
    assert_hinted(answer, 500, "result_not_shown", detail, &hint.into());
}

#[tokio::test]
async fn an_agent_whose_credential_is_not_even_of_the_right_type_can_be_suspended() {
    let issuer = with_resource().await;
    let _ = issuer.agent("damaged").with_secret().await;
    let damage = "UPDATE credentials SET not_before = 'x'";
    assert_eq!(execute(&issuer, damage).await, 1);
    let suspended = call(&issuer, Method::POST, "/agents/damaged/suspend").await;
    assert_not_shown(&suspended, "firman agent list --search damaged");
    let listed = get(&issuer, "/agents").await;
    assert_eq!(listed.json()["items"][0]["status"], "suspended", "{listed}");
}

#[tokio::test]
async fn a_suspension_says_that_it_was_made_when_the_agents_link_is_damaged() {
    let issuer = with_resource().await;
    let _ = issuer.agent("mailer").with_secret().await;
    let link = json!({
        "rule_id": "fdrl_1", "organization_id": "2f1c0d6e-8f0a-4b7e-9c53-0a1b2c3d4e5f", "service_account_id": "svac_1",
    });
    let linked = issuer
        .admin(Method::PUT, "/agents/mailer/claude-link", Some(&link))
        .await;
    assert!(matches!(linked.status, 200 | 201), "{linked}");
    let damage = "UPDATE claude_links SET rule_id = 'x'";
    assert_eq!(execute(&issuer, damage).await, 1);
    let suspended = call(&issuer, Method::POST, "/agents/mailer/suspend").await;
    assert_not_shown(&suspended, "firman agent show mailer");
    let shown = get(&issuer, "/agents/mailer").await;
    assert_eq!(shown.json()["status"], "suspended", "{shown}");
    // A second call changes nothing, so it does not claim a change.
    let again = call(&issuer, Method::POST, "/agents/mailer/suspend").await;
    assert_problem(
        &again,
        503,
        "unavailable",
        "temporarily unavailable; nothing was changed\nhint: try again in a second",
    );
}

#[tokio::test]
async fn an_edit_of_a_group_says_that_it_was_made_when_its_members_cannot_be_counted() {
    let issuer = with_resource().await;
    let made = post(&issuer, "/groups", json!({ "name": "ops" })).await;
    assert_eq!(made.status, 201, "{made}");
    let mut database = database_of(&issuer).await;
    sqlx::query("ALTER TABLE agent_groups RENAME TO lost")
        .execute(&mut database)
        .await
        .expect("the table is there");
    let edited = patch(&issuer, "/groups/ops", json!({ "description": "changed" })).await;
    assert_not_shown(&edited, "firman group show ops");
    let listed = get(&issuer, "/groups").await;
    assert_eq!(
        listed.json()["items"][0]["description"],
        "changed",
        "{listed}"
    );
}

#[tokio::test]
async fn a_damaged_credential_is_listed_as_damaged_beside_the_others() {
    let issuer = with_resource().await;
    let _ = issuer.agent("keyed").with_public_key(TestKey::Es256).await;
    // Ids of one millisecond are in no certain order.
    issuer.clock.advance(1);
    let _ = issuer.agent("secretive").with_secret().await;
    let damage = "UPDATE credentials SET jwk = '{}' WHERE kind = 'public_key'";
    assert_eq!(execute(&issuer, damage).await, 1);
    let listed = get(&issuer, "/credentials").await;
    assert_eq!(listed.status, 200, "{listed}");
    let listed = without_ids(listed.json());
    assert_eq!(
        listed["items"],
        json!([
            {
                "agent": "keyed", "id": "…", "kind": "public_key", "kid": null, "jwk": null, "thumbprint": null,
                "not_before": START, "expires_at": null, "revoked_at": null, "status": "damaged", "created_at": START
            },
            {
                "agent": "secretive", "id": "…", "kind": "client_secret", "kid": null, "jwk": null, "thumbprint": null,
                "not_before": START + 1, "expires_at": null, "revoked_at": null, "status": "live", "created_at": START + 1
            },
        ])
    );
    // A page ends where it would end without the damage.
    let first = get(&issuer, "/credentials?limit=1").await.json();
    let next = first["next_cursor"].as_str().expect("a second page");
    let second = get(&issuer, &format!("/credentials?limit=1&cursor={next}")).await;
    assert_eq!(second.json()["items"][0]["agent"], "secretive", "{second}");
}

#[tokio::test]
async fn a_damaged_administrator_does_not_keep_the_issuer_from_starting() {
    let issuer = with_resource().await;
    let viewer = json!({ "name": "viewer", "role": "viewer" });
    let added = issuer
        .admin(Method::POST, "/administrators", Some(&viewer))
        .await;
    assert_eq!(added.status, 201, "{added}");
    let damaged = "UPDATE administrators SET name = 'no name' WHERE name = 'viewer'";
    assert_eq!(execute(&issuer, damaged).await, 1);
    let issuer = issuer.restart().await;
    let resources = issuer.admin(Method::GET, "/resources", None).await;
    assert_eq!(resources.status, 200, "{resources}");
}

#[tokio::test]
async fn te_043_a_stored_hash_that_asks_for_too_much_matches_no_secret_and_spares_the_others() {
    let issuer = with_resource().await;
    let agent = issuer.agent("mailer").role("reader").with_secret().await;
    assert_eq!(
        execute(
            &issuer,
            "UPDATE credentials SET secret_hash = '$argon2id$v=19$m=4194304,t=1000,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'"
        )
        .await,
        1
    );
    let second = issuer
        .issuer()
        .add_credential(
            &Caller::system(),
            "mailer",
            NewCredential::client_secret(),
            None,
        )
        .await
        .expect("a second secret")
        .secret
        .expect("a secret");
    let answer = issuer.token(&secret_form("mailer", agent.secret())).await;
    assert_eq!(answer.status, 401, "{answer}");
    assert_eq!(answer.json()["error"], "invalid_client");
    assert_issued(
        &issuer
            .token(&secret_form("mailer", second.expose_secret()))
            .await,
    );
}
