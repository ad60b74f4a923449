//! The README's example of an issuer inside a test suite. `readme.rs` checks that the two are the same.

use firman::testing::{TestIssuer, TestKey};

#[tokio::test]
async fn an_agent_gets_a_token_that_my_service_accepts() {
    let issuer = TestIssuer::start().await;
    issuer.resource("reports", &["read", "write"]).await;
    issuer.role("reader", "reports", &["read"]).await;
    let mailer = issuer
        .agent("mailer")
        .role("reader")
        .with_public_key(TestKey::Es256)
        .await;

    let answer = issuer.token_with(&mailer.assertion().build()).await;

    // Point your service at `issuer.url` and give it this token.
    let token = answer.assert_issued();
    assert_eq!(token.split('.').count(), 3);
    assert_eq!(answer.claims()["aud"], "https://reports.example");
    assert_eq!(answer.claims()["scope"], "read");
}
