//! Keys of trusted issuers outlive a restart and a wall clock that is set.

use firman::issuer::Caller;
use firman::store::FetchedKeys;
use reqwest::Method;

use super::*;
use crate::oauth2::{REFUSED, mail_issuer_on_postgres};

/// Trusts a stand-in for agents and for users, with an agent that acts for those.
async fn platform(issuer: &TestIssuer) -> StandIn {
    let stand_in = StandIn::start().await;
    stand_in.publishes(&[TestKey::Es256]);
    let further = json!({
        "keys": { "type": "discovery" }, "jti": "reusable", "trust": ["client_auth", "subject"],
    });
    let added = trust(issuer, "platform", &stand_in.url, further).await;
    assert_eq!(added.status, 201, "{added}");
    let matching = json!({ "subject": "worker" });
    federate(issuer, "worker", "platform", matching).await;
    let delegation = json!({
        "actor": "worker", "subject": "user:platform:*", "resource": "mail", "expires_in": 864_000,
    });
    let added = issuer
        .admin(Method::POST, "/delegations", Some(&delegation))
        .await;
    assert_eq!(added.status, 201, "{added}");
    stand_in
}

fn now(issuer: &TestIssuer) -> i64 {
    firman::ports::time::Clock::now(&*issuer.clock).0
}

/// The answer to the worker, which proves itself by a token made now.
async fn work(issuer: &TestIssuer, stand_in: &StandIn, key: TestKey) -> Answer {
    let token = stand_in.token(issuer, key, now(issuer));
    present(issuer, None, &token).await
}

/// The answer to the worker that acts for a user of the platform.
async fn act(issuer: &TestIssuer, stand_in: &StandIn) -> Answer {
    let token = stand_in.token(issuer, TestKey::Es256, now(issuer));
    let claims = firman::testing::decoded_part(&token, 1);
    let user = with(&claims, json!({ "sub": "alice" }));
    let user = signed(TestKey::Es256, Some("JWT"), &user);
    issuer
        .token(&[
            (
                "grant_type",
                "urn:ietf:params:oauth:grant-type:token-exchange",
            ),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &token),
            ("subject_token", &user),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ])
        .await
}

/// What is kept of the platform's keys.
async fn kept(issuer: &TestIssuer) -> Option<FetchedKeys> {
    let policy = issuer.issuer().policy();
    let trusted = policy.trusted_issuers.values().next().expect("one");
    let mut tx = issuer.host().store().read().await.expect("a store");
    let kept = tx.trusted_issuer_keys(&policy.settings.id, &trusted.id);
    let kept = kept.await.expect("a store");
    tx.rollback().await.expect("a store");
    kept
}

/// Waits until keys are kept that were fetched at this second.
async fn keeping(issuer: &TestIssuer, fetched_at: i64) {
    let keeping = async {
        while kept(issuer).await.map(|kept| kept.fetched_at.0) != Some(fetched_at) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(20), keeping).await;
    waited.expect("the keys were kept");
}

async fn agents_outlive_a_restart_without_their_platform(issuer: TestIssuer) {
    let stand_in = platform(&issuer).await;
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    keeping(&issuer, START).await;
    stand_in.is_down();
    let issuer = issuer.restart().await;
    let asked = stand_in.connections();
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    let _ = act(&issuer, &stand_in).await.assert_issued();
    // They are still fresh: no fetch was needed.
    assert_eq!(stand_in.connections(), asked);
    // A day after their fetch they are too old, however often this process was started meanwhile.
    issuer.clock.advance(86_399);
    let issuer = issuer.restart().await;
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    issuer.clock.advance(1);
    assert_eq!(work(&issuer, &stand_in, TestKey::Es256).await.status, 503);
    let issuer = issuer.restart().await;
    assert_eq!(work(&issuer, &stand_in, TestKey::Es256).await.status, 503);
    assert_eq!(act(&issuer, &stand_in).await.status, 503);
}

#[tokio::test]
async fn a_restart_while_the_platform_is_down_is_not_an_outage_of_its_agents() {
    agents_outlive_a_restart_without_their_platform(mail_issuer().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_while_the_platform_is_down_is_not_an_outage_of_its_agents_on_postgresql() {
    agents_outlive_a_restart_without_their_platform(mail_issuer_on_postgres().await).await;
}

#[tokio::test]
async fn kept_keys_of_another_source_or_of_an_unknown_age_are_not_used() {
    let issuer = mail_issuer().await;
    let stand_in = platform(&issuer).await;
    // What the clock is set back to below must be later than the credential's beginning.
    issuer.clock.advance(10_000);
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    keeping(&issuer, START + 10_000).await;
    stand_in.is_down();
    // A small step back is within the clocks' tolerance; after a larger one the age of the keys is unknown.
    issuer.clock.set_wall(-30);
    let issuer = issuer.restart().await;
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    issuer.clock.set_wall(-1);
    let issuer = issuer.restart().await;
    assert_eq!(work(&issuer, &stand_in, TestKey::Es256).await.status, 503);
    issuer.clock.set_wall(31);
    let issuer = issuer.restart().await;
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    let elsewhere = format!("{}/others", stand_in.url);
    let body = json!({ "keys": { "type": "jwks_uri", "url": elsewhere } });
    let edited = issuer
        .admin(Method::PATCH, "/trusted-issuers/platform", Some(&body))
        .await;
    assert_eq!(edited.status, 200, "{edited}");
    assert_eq!(kept(&issuer).await, None);
    assert_eq!(work(&issuer, &stand_in, TestKey::Es256).await.status, 503);
    let issuer = issuer.restart().await;
    assert_eq!(work(&issuer, &stand_in, TestKey::Es256).await.status, 503);
}

#[tokio::test]
async fn keys_of_an_issuer_that_is_trusted_no_longer_are_forgotten() {
    let issuer = mail_issuer().await;
    let stand_in = platform(&issuer).await;
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    keeping(&issuer, START).await;
    let policy = issuer.issuer().policy();
    let trusted = policy.trusted_issuers.values().next().expect("one").clone();
    let path = "/trusted-issuers/platform?force=true";
    let removed = issuer.admin(Method::DELETE, path, None).await;
    assert_eq!(removed.status, 204, "{removed}");
    let mut tx = issuer.host().store().read().await.expect("a store");
    let kept = tx.trusted_issuer_keys(&policy.settings.id, &trusted.id);
    assert_eq!(kept.await.expect("a store"), None);
    tx.rollback().await.expect("a store");
    let issuer = issuer.restart().await;
    let answer = work(&issuer, &stand_in, TestKey::Es256).await;
    assert_eq!(refusal(&answer), REFUSED);
}

#[tokio::test]
async fn keys_that_cannot_be_read_back_cost_a_fetch_and_no_token() {
    let issuer = mail_issuer().await;
    let stand_in = platform(&issuer).await;
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    keeping(&issuer, START).await;
    let handle = issuer.issuer();
    let policy = handle.policy();
    let trusted = policy.trusted_issuers.values().next().expect("one");
    let damaged = FetchedKeys {
        keys: "{".to_owned(),
        ..kept(&issuer).await.expect("keys")
    };
    let touches = firman::issuer::change::Touches::Agent;
    let mut change = handle
        .begin(&Caller::system(), touches)
        .await
        .expect("a change");
    let id = &policy.settings.id;
    let put = change
        .tx
        .put_trusted_issuer_keys(id, &trusted.id, trusted.version, &damaged);
    assert!(put.await.expect("a store"));
    change.tx.commit().await.expect("a store");
    let issuer = issuer.restart().await;
    let asked = stand_in.key_set_requests();
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    assert_eq!(stand_in.key_set_requests(), asked + 1);
}

#[tokio::test]
async fn a_wall_clock_that_is_set_forward_makes_no_key_too_old() {
    let issuer = mail_issuer().await;
    let stand_in = platform(&issuer).await;
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    stand_in.is_down();
    issuer.clock.set_wall(100_000);
    let asked = stand_in.connections();
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    assert_eq!(stand_in.connections(), asked);
}

#[tokio::test]
async fn a_wall_clock_that_is_set_back_does_not_keep_a_withdrawn_key() {
    let issuer = mail_issuer().await;
    let stand_in = platform(&issuer).await;
    issuer.clock.advance(10_000);
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    issuer.clock.set_wall(-7200);
    stand_in.publishes(&[TestKey::Es256Second]);
    issuer.clock.advance(599);
    let _ = work(&issuer, &stand_in, TestKey::Es256)
        .await
        .assert_issued();
    issuer.clock.advance(1);
    let answer = work(&issuer, &stand_in, TestKey::Es256).await;
    assert_eq!(refusal(&answer), REFUSED);
    let new = work(&issuer, &stand_in, TestKey::Es256Second).await;
    let _ = new.assert_issued();
}
