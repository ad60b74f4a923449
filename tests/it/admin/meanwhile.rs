//! What becomes of an administrator's call under way when the administrator may no longer do it: it changes nothing.

use std::sync::Arc;
use std::time::Duration;

use firman::ports::fetch::{FetchError, Fetcher, Fetching};
use firman::testing::TestOptions;
use tokio::sync::Semaphore;

use super::engines::database_url;
use super::*;

const NOT_LIVE: &str = "the token is not a valid administrator token";

/// Holds each fetch open until it is let go: so long does a call wait between its admission and its change.
#[derive(Debug)]
struct HeldOpen {
    begun: Semaphore,
    let_go: Semaphore,
}

impl Fetcher for HeldOpen {
    fn check(&self, _: &str) -> Result<(), FetchError> {
        Ok(())
    }

    fn fetch<'f>(&'f self, _: &'f str) -> Fetching<'f> {
        Box::pin(async {
            self.begun.add_permits(1);
            self.let_go.acquire().await.expect("open").forget();
            Err(FetchError::Failed("the stand-in has no keys".to_owned()))
        })
    }
}

/// What happens to the owner whose call waits.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Nothing,
    Revoked,
    Demoted,
    Rotated,
    Expired,
}

async fn happens(issuer: &TestIssuer, meanwhile: Meanwhile) {
    let answer = match meanwhile {
        Meanwhile::Nothing => return,
        Meanwhile::Revoked => call(issuer, Method::POST, "/administrators/olga/revoke").await,
        Meanwhile::Demoted => {
            patch(issuer, "/administrators/olga", json!({"role": "operator"})).await
        }
        Meanwhile::Rotated => post(issuer, "/administrators/olga/rotate", json!({})).await,
        Meanwhile::Expired => {
            issuer.clock.advance(3600);
            return;
        }
    };
    assert!(matches!(answer.status, 200 | 201), "{answer}");
}

/// The answer to an owner's call during whose wait something happens.
async fn answered(database_url: Option<String>, meanwhile: Meanwhile) -> (TestIssuer, Answer) {
    let held = Arc::new(HeldOpen {
        begun: Semaphore::new(0),
        let_go: Semaphore::new(0),
    });
    let issuer = TestIssuer::start_with(TestOptions {
        database_url,
        fetcher: Some(Arc::clone(&held) as Arc<dyn Fetcher>),
        ..TestOptions::default()
    })
    .await;
    let owner = AdministratorRole::Owner;
    let olga = administrator(&issuer, "olga", owner, Some(START + 3600)).await;
    let new = json!({
        "name": "cluster", "url": "https://id.example.com", "keys": {"type": "jwks_uri", "url": "https://id.example.com/jwks"},
    });
    let headers = [("authorization", olga.as_str())];
    let waiting = call_with(
        &issuer,
        (Method::POST, "/trusted-issuers"),
        &headers,
        Some(&new),
    );
    let stir = async {
        held.begun.acquire().await.expect("open").forget();
        happens(&issuer, meanwhile).await;
        held.let_go.add_permits(100);
    };
    let both = async { tokio::join!(waiting, stir) };
    let (answer, ()) = tokio::time::timeout(Duration::from_secs(60), both)
        .await
        .expect("an answer");
    (issuer, answer)
}

async fn nothing_is_changed_after(database_url: Option<String>, meanwhile: Meanwhile) {
    let (issuer, answer) = answered(database_url, meanwhile).await;
    let too_low = "an administrator with the role `owner` is required; `olga` is `operator`";
    let (status, kind, detail, reason) = match meanwhile {
        Meanwhile::Nothing => unreachable!("it is not refused"),
        Meanwhile::Revoked => (401, "unauthorized", NOT_LIVE, "revoked token"),
        Meanwhile::Demoted => (403, "forbidden", too_low, "role too low"),
        Meanwhile::Rotated => (401, "unauthorized", NOT_LIVE, "unknown token"),
        Meanwhile::Expired => (401, "unauthorized", NOT_LIVE, "expired token"),
    };
    assert_problem(&answer, status, kind, detail);
    if status == 401 {
        let challenge = r#"Bearer realm="firman", error="invalid_token""#;
        assert_eq!(answer.header("www-authenticate"), challenge);
    }
    let entry = audited(&issuer, "&event=admin.refused", |_| true).await;
    assert_eq!(
        json!([
            entry["actor"],
            entry["target"],
            entry["detail"],
            entry["address"]
        ]),
        json!([
            "administrator:olga",
            "POST /admin/v1/trusted-issuers",
            {"status": status, "reason": reason},
            "127.0.0.1"
        ])
    );
    assert_eq!(entry["request_id"], answer.json()["request_id"]);
    let trusted = get(&issuer, "/trusted-issuers").await;
    assert_eq!(trusted.json()["items"], json!([]));
    let verdict = get(&issuer, "/audit/verify").await;
    assert_eq!(verdict.json()["ok"], true, "{verdict}");
}

#[tokio::test]
async fn a_call_changes_nothing_once_its_administrator_was_revoked() {
    nothing_is_changed_after(None, Meanwhile::Revoked).await;
    nothing_is_changed_after(Some(database_url().await), Meanwhile::Revoked).await;
}

#[tokio::test]
async fn a_call_changes_nothing_once_its_administrator_has_a_lower_role() {
    nothing_is_changed_after(None, Meanwhile::Demoted).await;
    nothing_is_changed_after(Some(database_url().await), Meanwhile::Demoted).await;
}

#[tokio::test]
async fn a_call_changes_nothing_once_its_token_was_replaced() {
    nothing_is_changed_after(None, Meanwhile::Rotated).await;
}

#[tokio::test]
async fn a_call_changes_nothing_once_its_administrator_has_expired() {
    nothing_is_changed_after(None, Meanwhile::Expired).await;
}

#[tokio::test]
async fn a_call_that_waited_succeeds_while_its_administrator_may_do_it() {
    let (_, answer) = answered(None, Meanwhile::Nothing).await;
    assert_eq!(answer.status, 201, "{answer}");
}
