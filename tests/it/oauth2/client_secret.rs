//! TE-007 to TE-020, TE-032, TE-042 to TE-044: clients that prove themselves by a secret.

use std::sync::Arc;

use firman::api::agent::NewAgent;
use firman::api::credential::NewCredential;
use firman::domain::audit::AuditEvent;
use firman::domain::credential::{Credential, CredentialKind};
use firman::domain::id::CredentialId;
use firman::issuer::change::Touches;
use firman::issuer::credentials::Rotation;
use firman::issuer::{Caller, IssuerError};
use firman::testing::TestKey;
use insta::assert_snapshot;
use secrecy::ExposeSecret as _;
use tokio::task::JoinSet;

use super::*;

const BASIC_CHALLENGE: &str = r#"Basic realm="firman", charset="UTF-8""#;

#[tokio::test]
async fn te_007_a_request_without_any_client_authentication_is_refused() {
    let issuer = mail_issuer().await;
    issuer.agent("mailer").role("mailer").with_secret().await;
    for form in [
        &[("grant_type", "client_credentials")][..],
        &[
            ("grant_type", "client_credentials"),
            ("client_id", "mailer"),
        ],
        &[
            ("grant_type", "client_credentials"),
            ("client_id", "mailer"),
            ("client_secret", ""),
        ],
    ] {
        let answer = issuer.token(form).await;
        assert_eq!(refusal(&answer), REFUSED);
        assert_eq!(answer.header("www-authenticate"), "");
    }
    let answer = issuer
        .token(&[("grant_type", "client_credentials"), ("client_secret", "x")])
        .await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"`client_secret` requires `client_id`"}"#);
    assert_tokens_issued(&issuer, 0).await;
}

#[tokio::test]
async fn te_008_a_wrong_secret_by_basic_is_refused_with_a_challenge() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let other = issuer.agent("other").role("mailer").with_secret().await;
    for (client_id, secret) in [
        ("mailer", "wrong"),
        ("mailer", ""),
        ("mailer", other.secret()),
        ("mailer", &agent.secret().to_lowercase()),
        ("mailer", &agent.secret()[..52]),
        ("nobody", agent.secret()),
        ("", agent.secret()),
    ] {
        let answer = by_basic(&issuer, client_id, secret, &[]).await;
        assert_eq!(refusal(&answer), REFUSED);
        assert_eq!(answer.header("www-authenticate"), BASIC_CHALLENGE);
    }
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(granted(&by_basic(&issuer, "mailer", agent.secret(), &[]).await), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
}

#[tokio::test]
async fn te_009_a_wrong_secret_in_the_form_is_refused_without_a_challenge() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let answer = by_post(&issuer, "mailer", "wrong").await;
    assert_eq!(refusal(&answer), REFUSED);
    assert_eq!(answer.header("www-authenticate"), "");
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(granted(&by_post(&issuer, "mailer", agent.secret()).await), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
}

#[tokio::test]
async fn te_011_basic_with_the_same_client_id_in_the_form_is_legal_and_with_another_is_not() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    issuer.agent("other").role("mailer").with_secret().await;
    let answer = by_basic(&issuer, "mailer", agent.secret(), &[("client_id", "other")]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"`client_id` is not the client of the `Authorization` header"}"#);
    assert_tokens_issued(&issuer, 0).await;
    let answer = by_basic(
        &issuer,
        "mailer",
        agent.secret(),
        &[("client_id", "mailer")],
    )
    .await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
}

#[tokio::test]
async fn te_012_the_secret_of_one_agent_does_not_prove_another() {
    let issuer = mail_issuer().await;
    let (a, b) = (
        issuer.agent("a").role("mailer").with_secret().await,
        issuer.agent("b").role("mailer").with_secret().await,
    );
    assert_eq!(
        refusal(&by_basic(&issuer, "b", a.secret(), &[]).await),
        REFUSED
    );
    assert_eq!(refusal(&by_post(&issuer, "a", b.secret()).await), REFUSED);
    // Also not once both are remembered.
    let _ = by_basic(&issuer, "a", a.secret(), &[])
        .await
        .assert_issued();
    let _ = by_basic(&issuer, "b", b.secret(), &[])
        .await
        .assert_issued();
    assert_eq!(
        refusal(&by_basic(&issuer, "b", a.secret(), &[]).await),
        REFUSED
    );
    assert_tokens_issued(&issuer, 2).await;
}

#[tokio::test]
async fn te_013_a_suspended_agent_gets_the_answer_of_a_wrong_secret_and_works_again_once_resumed() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let system = Caller::system();
    let _ = by_basic(&issuer, "mailer", agent.secret(), &[])
        .await
        .assert_issued();

    issuer
        .issuer()
        .suspend_agent(&system, "mailer", None)
        .await
        .unwrap();
    for secret in [agent.secret(), "wrong"] {
        let answer = by_basic(&issuer, "mailer", secret, &[]).await;
        assert_eq!(refusal(&answer), REFUSED);
        assert_eq!(answer.header("www-authenticate"), BASIC_CHALLENGE);
    }
    assert_tokens_issued(&issuer, 1).await;

    issuer
        .issuer()
        .resume_agent(&system, "mailer", None)
        .await
        .unwrap();
    let _ = by_basic(&issuer, "mailer", agent.secret(), &[])
        .await
        .assert_issued();
}

#[tokio::test]
async fn te_014_a_removed_agents_secret_is_dead_and_its_name_is_never_given_out_again() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let system = Caller::system();
    issuer
        .issuer()
        .remove_agent(&system, "mailer", None)
        .await
        .unwrap();

    assert_eq!(
        refusal(&by_basic(&issuer, "mailer", agent.secret(), &[]).await),
        REFUSED
    );
    let newcomer = |name: &str, subject: Option<&str>| NewAgent {
        name: name.to_owned(),
        owner: "team-test".to_owned(),
        subject: subject.map(str::to_owned),
        ..NewAgent::default()
    };
    let same_name = issuer
        .issuer()
        .create_agent(&system, newcomer("mailer", None))
        .await;
    assert!(
        matches!(same_name, Err(IssuerError::Conflict { .. })),
        "{same_name:?}"
    );
    let same_subject = newcomer("other", Some("agent:mailer"));
    let same_subject = issuer.issuer().create_agent(&system, same_subject).await;
    assert!(same_subject.is_err(), "{same_subject:?}");
    assert_tokens_issued(&issuer, 0).await;
}

#[tokio::test]
async fn te_015_a_secret_past_its_expiry_is_refused_to_the_second() {
    let issuer = mail_issuer().await;
    issuer
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    let new = NewCredential {
        expires_in: Some(600),
        ..NewCredential::client_secret()
    };
    let added = issuer
        .issuer()
        .add_credential(&Caller::system(), "mailer", new, None)
        .await
        .unwrap();
    let secret = added.secret.unwrap();
    let secret = secret.expose_secret();

    issuer.clock.advance(599);
    let _ = by_basic(&issuer, "mailer", secret, &[])
        .await
        .assert_issued();
    issuer.clock.advance(1);
    assert_eq!(
        refusal(&by_basic(&issuer, "mailer", secret, &[]).await),
        REFUSED
    );
    assert_tokens_issued(&issuer, 1).await;
}

#[tokio::test]
async fn te_015_an_agent_past_its_own_expiry_is_refused_like_a_wrong_secret() {
    let issuer = mail_issuer().await;
    let new = NewAgent {
        name: "guest".to_owned(),
        owner: "team-test".to_owned(),
        roles: Some(vec!["mailer".to_owned()]),
        expires_in: Some(600),
        credential: Some(NewCredential::client_secret()),
        ..NewAgent::default()
    };
    let created = issuer
        .issuer()
        .create_agent(&Caller::system(), new)
        .await
        .unwrap();
    let secret = created.secret.unwrap();
    let _ = by_basic(&issuer, "guest", secret.expose_secret(), &[])
        .await
        .assert_issued();
    issuer.clock.advance(600);
    assert_eq!(
        refusal(&by_basic(&issuer, "guest", secret.expose_secret(), &[]).await),
        REFUSED
    );
    assert_tokens_issued(&issuer, 1).await;
}

#[tokio::test]
async fn te_016_the_old_secret_works_until_the_end_of_the_overlap_and_there_are_never_three() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let system = Caller::system();
    let old = issuer
        .issuer()
        .credentials("mailer")
        .await
        .unwrap()
        .remove(0);
    let rotation = |overlap| Rotation {
        credential: old.id.to_string(),
        overlap,
        expires_in: None,
        key: None,
    };
    let rotated = issuer
        .issuer()
        .rotate_credential(&system, "mailer", rotation(3600), None)
        .await
        .unwrap();
    let new = rotated.secret.unwrap();
    let new = new.expose_secret();

    let _ = by_basic(&issuer, "mailer", agent.secret(), &[])
        .await
        .assert_issued();
    let _ = by_basic(&issuer, "mailer", new, &[]).await.assert_issued();
    let third = NewCredential::client_secret();
    let third = issuer
        .issuer()
        .add_credential(&system, "mailer", third, None)
        .await;
    assert!(
        matches!(third, Err(IssuerError::Conflict { .. })),
        "{third:?}"
    );

    issuer.clock.advance(3599);
    let _ = by_basic(&issuer, "mailer", agent.secret(), &[])
        .await
        .assert_issued();
    issuer.clock.advance(1);
    assert_eq!(
        refusal(&by_basic(&issuer, "mailer", agent.secret(), &[]).await),
        REFUSED
    );
    let _ = by_basic(&issuer, "mailer", new, &[]).await.assert_issued();
    assert_tokens_issued(&issuer, 4).await;
}

#[tokio::test]
async fn te_016_a_revoked_secret_is_dead_at_once_although_it_was_remembered() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let _ = by_basic(&issuer, "mailer", agent.secret(), &[])
        .await
        .assert_issued();
    let held = issuer
        .issuer()
        .credentials("mailer")
        .await
        .unwrap()
        .remove(0);
    issuer
        .issuer()
        .revoke_credential(&Caller::system(), "mailer", held.id.as_str(), None)
        .await
        .unwrap();
    assert_eq!(
        refusal(&by_basic(&issuer, "mailer", agent.secret(), &[]).await),
        REFUSED
    );
    assert_tokens_issued(&issuer, 1).await;
}

#[tokio::test]
async fn te_019_the_scheme_is_read_in_any_case() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let value = basic("mailer", agent.secret());
    let mut seen = Distinct::default();
    for scheme in ["basic", "BASIC", "bAsIc", "Basic "] {
        let authorization = value.replacen("Basic", scheme, 1);
        let answer = issuer
            .token_with_headers(
                &[("authorization", &authorization)],
                &[("grant_type", "client_credentials")],
            )
            .await;
        seen.add(granted(&answer));
    }
    assert_snapshot!(seen, @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
}

#[tokio::test]
async fn te_020_an_agent_registered_with_a_key_is_not_proved_by_any_secret() {
    let issuer = mail_issuer().await;
    let other = issuer.agent("other").role("mailer").with_secret().await;
    let agent = issuer
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    for secret in [other.secret(), "wrong", "x"] {
        assert_eq!(
            refusal(&by_basic(&issuer, "mailer", secret, &[]).await),
            REFUSED
        );
        assert_eq!(refusal(&by_post(&issuer, "mailer", secret).await), REFUSED);
    }
    // Nor is one with a secret by an assertion of somebody's key.
    let foreign = agent
        .assertion()
        .claim("iss", "other")
        .claim("sub", "other")
        .build();
    assert_eq!(refusal(&issuer.token_with(&foreign).await), REFUSED);
    assert_tokens_issued(&issuer, 0).await;
}

#[tokio::test]
async fn te_032_very_long_ids_and_secrets_are_refused_without_work() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let long_id = "a".repeat(10_000);
    assert_eq!(
        refusal(&by_post(&issuer, &long_id, agent.secret()).await),
        REFUSED
    );
    assert_eq!(
        refusal(&by_post(&issuer, "mailer", &"x".repeat(60_000)).await),
        REFUSED
    );
    let padded = format!("{}{}", agent.secret(), "x".repeat(50_000));
    assert_eq!(refusal(&by_post(&issuer, "mailer", &padded).await), REFUSED);
    let megabyte = by_post(&issuer, "mailer", &"x".repeat(1 << 20)).await;
    assert_snapshot!(refusal(&megabyte), @r#"413 {"error":"content_too_large","error_description":"the request body must be at most 65536 bytes long"}"#);
    assert_tokens_issued(&issuer, 0).await;
    // The audit holds the beginning of the id and no more.
    issuer.issuer().flush_refusals();
    let entries = audited_in_time(&issuer, "client.refused", 3).await;
    assert!(
        entries.iter().all(|entry| entry.draft.target.len() <= 160),
        "{entries:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn te_042_too_many_failures_are_slowed_down_for_known_and_unknown_alike_and_lock_no_one_out()
{
    let issuer = Arc::new(mail_issuer().await);
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let mut seen = Distinct::default();
    for client_id in ["mailer", "nobody"] {
        let mut attempts = JoinSet::new();
        for _ in 0..300 {
            let issuer = Arc::clone(&issuer);
            attempts.spawn(async move { by_basic(&issuer, client_id, "wrong", &[]).await });
        }
        let answers = attempts.join_all().await;
        let slowed: Vec<_> = answers
            .iter()
            .filter(|answer| answer.status == 429)
            .collect();
        assert!(!slowed.is_empty(), "{client_id} was never slowed down");
        for answer in &answers {
            if answer.status == 429 {
                assert_eq!(answer.header("retry-after"), "1");
                seen.add(refusal(answer));
            } else {
                assert_eq!(refusal(answer), REFUSED);
            }
        }
    }
    assert_snapshot!(seen, @r#"429 {"error":"temporarily_unavailable","error_description":"too many failed attempts for this client from this address"}"#);
    assert_tokens_issued(&issuer, 0).await;
    assert_eq!(
        refusal(&by_basic(&issuer, "somebody-else", "wrong", &[]).await),
        REFUSED
    );
    let _ = by_basic(&issuer, "mailer", agent.secret(), &[])
        .await
        .assert_issued();
}

#[tokio::test]
async fn te_043_a_stored_hash_that_asks_for_gigabytes_is_refused_and_spoils_no_other_secret() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let system = Caller::system();
    let held = issuer
        .issuer()
        .credentials("mailer")
        .await
        .unwrap()
        .remove(0);
    let CredentialKind::ClientSecret { hash } = &held.kind else {
        panic!("{held:?}")
    };
    let dear = hash.replace("m=64,t=1", "m=4194304,t=1000");
    assert_ne!(&dear, hash);

    let settings = issuer.issuer().settings().await.unwrap();
    let mut change = issuer
        .issuer()
        .begin(&system, Touches::Agent)
        .await
        .unwrap();
    let altered = Credential {
        id: CredentialId::from_text("00000000-0000-7000-8000-000000000000"),
        kind: CredentialKind::ClientSecret { hash: dear },
        created_at: firman::ports::time::UnixTime(0),
        ..held.clone()
    };
    assert!(
        change
            .tx
            .insert_credential(&settings.id, &altered)
            .await
            .unwrap()
    );
    change
        .tx
        .touch_agent(&settings.id, &held.agent, change.version, change.now())
        .await
        .unwrap();
    change.audit(
        AuditEvent::CredentialAdded,
        "agent:mailer",
        Some(&held.agent),
        &json!({}),
    );
    issuer.issuer().end(change).await.unwrap();

    let _ = by_basic(&issuer, "mailer", agent.secret(), &[])
        .await
        .assert_issued();
    issuer
        .issuer()
        .revoke_credential(&system, "mailer", held.id.as_str(), None)
        .await
        .unwrap();
    let began = Instant::now();
    assert_eq!(
        refusal(&by_basic(&issuer, "mailer", agent.secret(), &[]).await),
        REFUSED
    );
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_tokens_issued(&issuer, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn te_044_two_hundred_logins_at_once_are_all_served_and_so_is_the_jwks() {
    let issuer = Arc::new(mail_issuer().await);
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let mut logins = JoinSet::new();
    for number in 0..200 {
        let (issuer, agent) = (Arc::clone(&issuer), agent.clone());
        logins.spawn(async move {
            if number % 4 == 0 {
                assert_eq!(issuer.get("/oauth2/jwks").await.status, 200);
            }
            by_basic(&issuer, "mailer", agent.secret(), &[]).await
        });
    }
    let mut seen = Distinct::default();
    for answer in logins.join_all().await {
        seen.add(granted(&answer));
    }
    assert_snapshot!(seen, @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
    assert_tokens_issued(&issuer, 200).await;
}
