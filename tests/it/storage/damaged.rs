//! One damaged row is refused alone.

use firman::api::agent::AgentEdit;
use firman::api::credential::NewCredential;
use firman::issuer::Caller;
use firman::testing::TestKey;
use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{assert_issued, execute, secret_form, with_resource};

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
    assert_eq!(suspended.status, 503, "{suspended}");
    let listed = issuer
        .admin(Method::GET, "/agents?status=suspended", None)
        .await;
    assert_eq!(listed.json()["items"][0]["name"], "damaged", "{listed}");
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
