//! TX-026: every exchange, good or refused, is in the audit with subject, actor, chain, audience and the
//! numbers of the tokens, and never with a token.

use firman::domain::audit::AuditEntry;
use firman::issuer::Caller;
use insta::assert_snapshot;
use serde_json::json;

use super::support::*;
use super::*;
use crate::oauth2::{audited, audited_in_time, refusal};

/// An entry as it is compared: actor, target and detail, numbers of tokens by their names in `known`.
fn shown(scene: &Scene, entry: &AuditEntry, known: &[(&str, &str)]) -> String {
    let draft = &entry.draft;
    let mut detail: Value = serde_json::from_str(&draft.detail).unwrap();
    for generated in ["kid", "credential", "delegation"] {
        if detail.get(generated).is_some_and(Value::is_string) {
            detail[generated] = json!(format!("[{generated}]"));
        }
    }
    let token = draft.token_id.as_deref().unwrap_or("none");
    let mut text = format!("{} {} {token} {detail}", draft.actor, draft.target);
    for (value, name) in known {
        text = text.replace(value, name);
    }
    text.replace(&scene.issuer.url, "ISSUER")
}

#[tokio::test]
async fn tx_026_a_good_exchange_is_audited_with_its_whole_chain_and_both_numbers() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let first = scene.planner_for_alice(&[]).await;
    let second = exchange(
        issuer,
        &scene.mailer,
        &first.assert_issued(),
        &[("scope", "read")],
    )
    .await;
    let third = exchange(
        issuer,
        &scene.filer,
        &second.assert_issued(),
        &[("requested_token_type", ID_TOKEN)],
    )
    .await;
    let numbers =
        [&first, &second, &third].map(|answer| answer.claims()["jti"].as_str().unwrap().to_owned());
    let mut entries = audited(issuer, "token.issued").await;
    entries.extend(audited(issuer, "id_token.issued").await);
    let outside_number =
        serde_json::from_str::<Value>(&entries[0].draft.detail).unwrap()["subject_token"]
            .as_str()
            .unwrap()
            .to_owned();
    assert!(outside_number.starts_with("partner:"), "{outside_number}");
    assert_eq!(outside_number.len(), "partner:".len() + 22);
    let known = [
        (outside_number.as_str(), "[outside]"),
        (numbers[0].as_str(), "[first]"),
        (numbers[1].as_str(), "[second]"),
        (numbers[2].as_str(), "[third]"),
    ];
    let lines: Vec<String> = entries
        .iter()
        .map(|entry| shown(&scene, entry, &known))
        .collect();
    assert_snapshot!(lines.join("\n"), @r#"
    agent:planner user:partner:alice [first] {"act":{"iss":"ISSUER","sub":"agent:planner","sub_profile":"ai_agent"},"aud":"https://mail.example","credential":"[credential]","delegation":"[delegation]","exp":1800000600,"grant_type":"urn:ietf:params:oauth:grant-type:token-exchange","kid":"[kid]","method":"client_secret_basic","scope":"read send","subject_token":"[outside]"}
    agent:mailer user:partner:alice [second] {"act":{"act":{"iss":"ISSUER","sub":"agent:planner","sub_profile":"ai_agent"},"iss":"ISSUER","sub":"agent:mailer","sub_profile":"ai_agent"},"aud":"https://files.example","credential":"[credential]","delegation":"[delegation]","exp":1800000600,"grant_type":"urn:ietf:params:oauth:grant-type:token-exchange","kid":"[kid]","method":"client_secret_basic","scope":"read","subject_token":"[first]"}
    agent:filer user:partner:alice [third] {"act":{"act":{"act":{"iss":"ISSUER","sub":"agent:planner","sub_profile":"ai_agent"},"iss":"ISSUER","sub":"agent:mailer","sub_profile":"ai_agent"},"iss":"ISSUER","sub":"agent:filer","sub_profile":"ai_agent"},"aud":"filer","credential":"[credential]","delegation":"[delegation]","exp":1800000600,"grant_type":"urn:ietf:params:oauth:grant-type:token-exchange","kid":"[kid]","method":"client_secret_basic","scope":"","subject_token":"[second]"}
    "#);
}

/// An exchange for every kind of refusal, in the end with the token `first` revoked; which they were.
async fn refuse_all(
    scene: &Scene,
    [used, first, second, long]: [&str; 4],
    first_number: &str,
) -> Vec<&'static str> {
    let issuer = &scene.issuer;
    let bare = issuer.agent("bare").with_secret().await;
    let actor = [("actor_token", "x"), ("actor_token_type", JWT)];
    let to_mail = [("resource", MAIL)];
    let (planner, mailer, filer) = (&scene.planner, &scene.mailer, &scene.filer);
    let strange = outside(issuer, "alice")
        .claim("iss", "https://stranger.example")
        .build();
    let mut cases = Vec::new();
    for (case, agent, token, further) in [
        ("no delegation at all", &bare, first, &to_mail[..]),
        ("no token", planner, "x", &to_mail),
        ("an issuer that is not trusted", planner, &strange, &[]),
        ("a subject that is too long", planner, long, &[]),
        ("sent to somebody else", planner, second, &[]),
        ("a resource that is not delegated", mailer, first, &to_mail),
        (
            "a scope that is not there",
            filer,
            second,
            &[("scope", "admin")],
        ),
        ("used before", planner, used, &[]),
        ("a bad actor token", filer, second, &actor),
    ] {
        let _ = refusal(&exchange_jwt(issuer, agent, token, further).await);
        cases.push(case);
    }
    let (handle, system) = (issuer.issuer(), Caller::system());
    handle
        .suspend_agent(&system, "planner", None)
        .await
        .unwrap();
    let _ = refusal(&exchange_jwt(issuer, filer, second, &[]).await);
    cases.push("an actor that is switched off");
    handle.resume_agent(&system, "planner", None).await.unwrap();
    revoke(issuer, first_number).await;
    issuer.clock.advance(1);
    let _ = refusal(&exchange_jwt(issuer, filer, second, &[]).await);
    cases.push("revoked with its parent");
    cases
}

#[tokio::test]
async fn tx_026_a_refused_exchange_is_audited_as_far_as_it_is_proven() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let used = outside(issuer, "alice").build();
    let first = exchange_jwt(issuer, &scene.planner, &used, &[]).await;
    let first_number = first.claims()["jti"].as_str().unwrap().to_owned();
    let second = exchange(issuer, &scene.mailer, &first.assert_issued(), &[]).await;
    let second_number = second.claims()["jti"].as_str().unwrap().to_owned();
    let (first, second) = (first.assert_issued(), second.assert_issued());
    let long = outside(issuer, &"x".repeat(250))
        .claim("jti", "long")
        .build();
    let tokens = [&used, &first, &second, &long].map(String::as_str);
    let refused = refuse_all(&scene, tokens, &first_number).await;
    let entries = audited_in_time(issuer, "token.refused", refused.len()).await;
    let issued = audited(issuer, "token.issued").await;
    let parent: Value = serde_json::from_str(&issued[0].draft.detail).unwrap();
    let known = [
        (parent["subject_token"].as_str().unwrap(), "[outside]"),
        (first_number.as_str(), "[first]"),
        (second_number.as_str(), "[second]"),
    ];
    let lines: Vec<String> = entries
        .iter()
        .zip(&refused)
        .map(|(entry, case)| format!("{case}: {}", shown(&scene, entry, &known)))
        .collect();
    assert_snapshot!(lines.join("\n"), @r#"
    no delegation at all: agent:bare agent:bare none {"aud":"https://mail.example","error":"unauthorized_client","reason":"this agent has no delegation"}
    no token: agent:planner agent:planner none {"aud":"https://mail.example","error":"invalid_request","reason":"subject_token: the token is not a compact JWS: it must have three parts joined by dots"}
    an issuer that is not trusted: agent:planner agent:planner none {"aud":null,"cause":"the token's issuer is not trusted: `iss` is `https://stranger.example`","error":"invalid_request","reason":"subject_token: the token's issuer is not trusted"}
    a subject that is too long: agent:planner agent:planner none {"aud":null,"error":"invalid_request","reason":"subject_token: sub is empty, or too long: the subject made from it would have more than 255 characters"}
    sent to somebody else: agent:planner agent:planner none {"act":"…","aud":null,"error":"invalid_request","reason":"subject_token: it was issued for https://files.example, and this agent is not the server of that resource","subject":"user:partner:alice","subject_token":"[second]"}
    a resource that is not delegated: agent:mailer agent:mailer none {"act":"…","aud":"https://mail.example","error":"invalid_target","reason":"no delegation lets this agent act for user:partner:alice at https://mail.example","subject":"user:partner:alice","subject_token":"[first]"}
    a scope that is not there: agent:filer agent:filer none {"act":"…","aud":null,"error":"invalid_scope","reason":"not available for user:partner:alice at https://mail.example: admin; subject, agent and deleg…","subject":"user:partner:alice","subject_token":"[second]"}
    used before: agent:planner agent:planner none {"act":"…","aud":"https://mail.example","error":"invalid_request","reason":"the subject token was used before","subject":"user:partner:alice","subject_token":"[outside]"}
    a bad actor token: agent:filer agent:filer none {"act":"…","aud":null,"error":"invalid_request","reason":"actor_token: the token is not a compact JWS: it must have three parts joined by dots","subject":"user:partner:alice","subject_token":"[second]"}
    an actor that is switched off: agent:filer agent:filer none {"act":"…","aud":null,"error":"invalid_request","reason":"subject_token: the agent agent:planner is suspended, removed or past its expiry","subject":"user:partner:alice","subject_token":"[second]"}
    revoked with its parent: agent:filer agent:filer none {"act":"…","aud":"https://mail.example","error":"invalid_request","reason":"the subject token was revoked","subject":"user:partner:alice","subject_token":"[second]"}
    "#);
    for entry in entries.iter().chain(&issued) {
        let text = format!("{entry:?}");
        for token in tokens {
            let (_, signature) = token.rsplit_once('.').unwrap();
            assert!(!text.contains(signature), "{text}");
        }
        assert!(!text.contains("eyJ"), "{text}");
    }
}
