//! Tokens that would be too long, and an audience that no resource may have.

use firman::api::resource::{NewResource, ResourceEdit};
use firman::issuer::Caller;
use firman::testing::{TestIssuer, TestKey};

use crate::storage::{assert_issued, with_resource};

#[tokio::test]
async fn te_046_a_token_that_would_be_too_long_is_the_requests_fault_and_says_so() {
    let issuer = with_resource().await;
    issuer.role("everything", "files", &[]).await;
    let agent = issuer
        .agent("greedy")
        .role("everything")
        .with_public_key(TestKey::Es256)
        .await;
    let scopes = (0..64).map(|n| format!("{n:0>120}")).collect();
    let changes = ResourceEdit {
        scopes: Some(scopes),
        ..ResourceEdit::default()
    };
    issuer
        .issuer()
        .edit_resource(&Caller::system(), "files", changes, None)
        .await
        .expect("a resource with many scopes");
    let answer = issuer.token_with(&agent.assertion().build()).await;
    assert_eq!(answer.status, 400, "{answer}");
    assert_eq!(answer.json()["error"], "invalid_request");
    let fewer = issuer
        .token(&[
            ("grant_type", "client_credentials"),
            ("scope", &format!("{:0>120}", 7)),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &agent.assertion().build()),
        ])
        .await;
    assert_issued(&fewer);
}

#[tokio::test]
async fn no_resource_is_the_issuer_itself_whose_audience_openid_gives_to_anyone() {
    let issuer = TestIssuer::start().await;
    let new = NewResource {
        name: "itself".to_owned(),
        identifier: Some(issuer.url.clone()),
        ..NewResource::default()
    };
    let refused = issuer
        .issuer()
        .create_resource(&Caller::system(), new)
        .await
        .expect_err("refused");
    assert_eq!(
        refused.to_string(),
        "identifier: is the issuer's own URL, which needs no resource"
    );
}
