//! TE-021 to TE-024, TE-026, TE-037 to TE-040, TE-046: the requested and the granted scope.

use firman::api::agent::AgentEdit;
use firman::api::group::{GroupEdit, NewGroup};
use firman::api::issuer::IssuerEdit;
use firman::issuer::{Caller, IssuerError};
use firman::testing::{TestAgent, TestIssuer};
use insta::assert_snapshot;

use super::*;

async fn mailer() -> (TestIssuer, TestAgent) {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    (issuer, agent)
}

async fn ask(issuer: &TestIssuer, agent: &TestAgent, further: &[(&str, &str)]) -> Answer {
    by_basic(issuer, &agent.name, agent.secret(), further).await
}

#[tokio::test]
async fn te_021_and_026_without_scope_the_answer_states_what_was_granted() {
    let (issuer, agent) = mailer().await;
    let mut seen = Distinct::default();
    for further in [&[][..], &[("scope", "")], &[("scope", "   ")]] {
        let answer = ask(&issuer, &agent, further).await;
        seen.add(granted(&answer));
        assert_eq!(answer.claims()["scope"], "read send");
    }
    assert_snapshot!(seen, @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
    issuer.role("reader", "mail", &["read"]).await;
    let reader = issuer.agent("reader").role("reader").with_secret().await;
    let answer = ask(&issuer, &reader, &[]).await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read","token_type":"Bearer"}"#);
    assert_eq!(answer.claims()["scope"], "read");
}

#[tokio::test]
async fn te_022_a_scope_beyond_what_is_held_is_refused_and_what_is_held_is_named() {
    let (issuer, _) = mailer().await;
    issuer.role("reader", "mail", &["read"]).await;
    let reader = issuer.agent("reader").role("reader").with_secret().await;
    let bare = issuer.agent("bare").with_secret().await;
    let mut answers = Answers::default();
    for scope in [
        "send",
        "read send",
        "admin",
        "*",
        "READ",
        "openid send",
        "re\u{e9}d",
        "a\"b",
        "read\tsend",
    ] {
        let answer = ask(&issuer, &reader, &[("scope", scope)]).await;
        answers.add(scope, &issuer, &refusal(&answer));
    }
    let answer = ask(&issuer, &bare, &[("scope", "read")]).await;
    answers.add("an agent without a role", &issuer, &refusal(&answer));
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(answers, @r#"
    send: 400 {"error":"invalid_scope","error_description":"not granted for https://mail.example: send; granted: read"}
    read send: 400 {"error":"invalid_scope","error_description":"not granted for https://mail.example: send; granted: read"}
    admin: 400 {"error":"invalid_scope","error_description":"not granted for https://mail.example: admin; granted: read"}
    *: 400 {"error":"invalid_scope","error_description":"scope: is `*`, which stands for all scopes in role grants"}
    READ: 400 {"error":"invalid_scope","error_description":"not granted for https://mail.example: READ; granted: read"}
    openid send: 400 {"error":"invalid_scope","error_description":"not granted for https://mail.example: send; granted: read"}
    reéd: 400 {"error":"invalid_scope","error_description":"scope: contains a character that a scope name cannot have (RFC 6749 section 3.3: printable ASCII without space, double quote and backslash)"}
    a"b: 400 {"error":"invalid_scope","error_description":"scope: contains a character that a scope name cannot have (RFC 6749 section 3.3: printable ASCII without space, double quote and backslash)"}
    read	send: 400 {"error":"invalid_scope","error_description":"scope: contains a character that a scope name cannot have (RFC 6749 section 3.3: printable ASCII without space, double quote and backslash)"}
    an agent without a role: 400 {"error":"invalid_target","error_description":"no resource is granted to this agent"}
    "#);
}

#[tokio::test]
async fn te_023_a_repeated_scope_in_any_order_and_spacing_is_a_set() {
    let (issuer, agent) = mailer().await;
    let mut seen = Distinct::default();
    for scope in [
        "read send",
        "send read",
        "read read send",
        "  send   read ",
        "send read send read",
    ] {
        let answer = ask(&issuer, &agent, &[("scope", scope)]).await;
        seen.add(granted(&answer));
        assert_eq!(answer.claims()["scope"], "read send");
    }
    assert_snapshot!(seen, @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
    let answer = ask(&issuer, &agent, &[("scope", "read read")]).await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read","token_type":"Bearer"}"#);
    assert_eq!(answer.claims()["scope"], "read");
}

#[tokio::test]
async fn te_024_hundreds_of_scopes_or_one_of_twenty_kilobytes_are_refused() {
    let (issuer, agent) = mailer().await;
    let many = (0..300)
        .map(|n| format!("s{n}"))
        .collect::<Vec<_>>()
        .join(" ");
    let mut answers = Answers::default();
    for (case, scope) in [
        ("300 names", many),
        ("one of 20 kB", "x".repeat(20_000)),
        ("20 kB of names", "abcdefg ".repeat(2500)),
    ] {
        let answer = ask(&issuer, &agent, &[("scope", &scope)]).await;
        answers.add(case, &issuer, &refusal(&answer));
    }
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(answers, @r#"
    300 names: 400 {"error":"invalid_scope","error_description":"scope: contains more than 64 scopes"}
    one of 20 kB: 400 {"error":"invalid_scope","error_description":"scope: is longer than 128 characters"}
    20 kB of names: 400 {"error":"invalid_scope","error_description":"not granted for https://mail.example: abcdefg; granted: read send"}
    "#);
}

#[tokio::test]
async fn te_037_an_agent_taken_out_of_a_group_lacks_it_in_the_next_token() {
    let issuer = mail_issuer().await;
    let system = Caller::system();
    let group = NewGroup {
        name: "senders".to_owned(),
        roles: Some(vec!["mailer".to_owned()]),
        ..NewGroup::default()
    };
    issuer.issuer().create_group(&system, group).await.unwrap();
    let agent = issuer.agent("mailer").with_secret().await;
    let groups = |names: &[&str]| AgentEdit {
        groups: Some(names.iter().map(|&name| name.to_owned()).collect()),
        ..AgentEdit::default()
    };
    issuer
        .issuer()
        .edit_agent(&system, "mailer", groups(&["senders"]), None)
        .await
        .unwrap();
    let answer = ask(&issuer, &agent, &[]).await;
    assert_eq!(answer.claims()["groups"], json!(["senders"]));

    issuer
        .issuer()
        .edit_agent(&system, "mailer", groups(&[]), None)
        .await
        .unwrap();
    assert_snapshot!(refusal(&ask(&issuer, &agent, &[]).await), @r#"400 {"error":"invalid_target","error_description":"no resource is granted to this agent"}"#);
    let answer = ask(&issuer, &agent, &[("scope", "openid")]).await;
    assert_eq!(
        (&answer.claims()["groups"], &answer.claims()["roles"]),
        (&json!([]), &json!([]))
    );
}

#[tokio::test]
async fn te_038_an_audience_that_is_not_granted_is_refused_and_is_in_no_token() {
    let (issuer, agent) = mailer().await;
    issuer.resource("vault", &["open"]).await;
    issuer.role("vault-role", "vault", &[]).await;
    let both = issuer
        .agent("both")
        .role("mailer")
        .role("vault-role")
        .with_secret()
        .await;
    let bare = issuer.agent("bare").with_secret().await;
    let mut answers = Answers::default();
    for (name, value) in [
        ("resource", "https://vault.example"),
        ("audience", "https://vault.example"),
        ("resource", "https://nowhere.example"),
        ("resource", "https://mail.example/"),
        ("resource", "HTTPS://MAIL.EXAMPLE"),
        ("resource", "mail"),
        ("resource", "<script>\u{e9}\"\\"),
        ("resource", "urn:firman:admin"),
    ] {
        let answer = ask(&issuer, &agent, &[(name, value)]).await;
        answers.add(&format!("{name}={value}"), &issuer, &refusal(&answer));
    }
    let long = "x".repeat(600);
    answers.add(
        "600 characters",
        &issuer,
        &refusal(&ask(&issuer, &agent, &[("resource", &long)]).await),
    );
    answers.add(
        "several, none named",
        &issuer,
        &refusal(&ask(&issuer, &both, &[]).await),
    );
    answers.add(
        "none at all",
        &issuer,
        &refusal(&ask(&issuer, &bare, &[]).await),
    );
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(answers, @r#"
    resource=https://vault.example: 400 {"error":"invalid_target","error_description":"https://vault.example is not granted to this agent; granted: https://mail.example"}
    audience=https://vault.example: 400 {"error":"invalid_target","error_description":"https://vault.example is not granted to this agent; granted: https://mail.example"}
    resource=https://nowhere.example: 400 {"error":"invalid_target","error_description":"https://nowhere.example is not granted to this agent; granted: https://mail.example"}
    resource=https://mail.example/: 400 {"error":"invalid_target","error_description":"https://mail.example/ is not granted to this agent; granted: https://mail.example"}
    resource=HTTPS://MAIL.EXAMPLE: 400 {"error":"invalid_target","error_description":"HTTPS://MAIL.EXAMPLE is not granted to this agent; granted: https://mail.example"}
    resource=mail: 400 {"error":"invalid_target","error_description":"mail is not granted to this agent; granted: https://mail.example"}
    resource=<script>é"\: 400 {"error":"invalid_target","error_description":"<script>??? is not granted to this agent; granted: https://mail.example"}
    resource=urn:firman:admin: 400 {"error":"invalid_target","error_description":"urn:firman:admin is not granted to this agent; granted: https://mail.example"}
    600 characters: 400 {"error":"invalid_request","error_description":"`resource` is longer than 512 characters"}
    several, none named: 400 {"error":"invalid_target","error_description":"several resources are granted; name one with the parameter `resource`: https://mail.example https://vault.example"}
    none at all: 400 {"error":"invalid_target","error_description":"no resource is granted to this agent"}
    "#);

    let answer = ask(&issuer, &both, &[("audience", "https://vault.example")]).await;
    assert_eq!(answer.claims()["aud"], "https://vault.example");
}

#[tokio::test]
async fn te_039_two_resources_are_refused_by_name_for_a_token_has_one_audience() {
    let (issuer, _) = mailer().await;
    issuer.resource("vault", &["open"]).await;
    issuer.role("vault-role", "vault", &[]).await;
    let both = issuer
        .agent("both")
        .role("mailer")
        .role("vault-role")
        .with_secret()
        .await;
    let (mail, vault) = ("https://mail.example", "https://vault.example");
    let mut answers = Answers::default();
    for (case, further) in [
        ("two resources", [("resource", mail), ("resource", vault)]),
        ("two audiences", [("audience", mail), ("audience", vault)]),
        (
            "resource and another audience",
            [("resource", mail), ("audience", vault)],
        ),
        (
            "the first is good",
            [("resource", mail), ("resource", "<b>\"\\")],
        ),
        (
            "only the case differs",
            [("resource", mail), ("audience", "https://MAIL.example")],
        ),
    ] {
        answers.add(
            case,
            &issuer,
            &refusal(&ask(&issuer, &both, &further).await),
        );
    }
    let long = "x".repeat(600);
    let further = [("resource", mail), ("resource", &long)];
    answers.add(
        "the second is too long",
        &issuer,
        &refusal(&ask(&issuer, &both, &further).await),
    );
    let crowd: Vec<_> = (0..65).map(|_| ("resource", mail)).collect();
    answers.add(
        "too many",
        &issuer,
        &refusal(&ask(&issuer, &both, &crowd).await),
    );
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(answers, @r#"
    two resources: 400 {"error":"invalid_target","error_description":"the request names https://mail.example and https://vault.example; a token has one audience: send one request for each"}
    two audiences: 400 {"error":"invalid_target","error_description":"the request names https://mail.example and https://vault.example; a token has one audience: send one request for each"}
    resource and another audience: 400 {"error":"invalid_target","error_description":"the request names https://mail.example and https://vault.example; a token has one audience: send one request for each"}
    the first is good: 400 {"error":"invalid_target","error_description":"the request names https://mail.example and <b>??; a token has one audience: send one request for each"}
    only the case differs: 400 {"error":"invalid_target","error_description":"the request names https://mail.example and https://MAIL.example; a token has one audience: send one request for each"}
    the second is too long: 400 {"error":"invalid_request","error_description":"`resource` is longer than 512 characters"}
    too many: 400 {"error":"invalid_request","error_description":"more than 64 parameters"}
    "#);
    for same in [
        &[("resource", mail), ("audience", mail)][..],
        &[("resource", mail), ("resource", mail)],
        &[("audience", mail), ("audience", mail), ("resource", mail)],
        &[("resource", ""), ("resource", mail), ("audience", "")],
    ] {
        let answer = ask(&issuer, &both, same).await;
        assert_eq!(answer.claims()["aud"], mail, "{same:?}");
    }
}

/// An agent with mail (`read`, `send`), files (`read`, `write`) and a resource without scopes.
async fn several() -> (TestIssuer, TestAgent) {
    let issuer = mail_issuer().await;
    issuer.resource("files", &["read", "write"]).await;
    issuer.role("filing", "files", &[]).await;
    issuer.resource("bare", &[]).await;
    issuer.role("barely", "bare", &[]).await;
    let agent = issuer
        .agent("both")
        .role("mailer")
        .role("filing")
        .role("barely")
        .with_secret()
        .await;
    (issuer, agent)
}

#[tokio::test]
async fn scopes_that_one_resource_alone_has_mean_that_resource() {
    let (issuer, agent) = several().await;
    let mut answers = Answers::default();
    for scope in [
        "read",
        "send write",
        "admin",
        "send admin",
        "",
        "profile",
        "openid read",
    ] {
        let answer = ask(&issuer, &agent, &[("scope", scope)]).await;
        answers.add(scope, &issuer, &refusal(&answer));
    }
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(answers, @r#"
    read: 400 {"error":"invalid_target","error_description":"several resources are granted; name one with the parameter `resource`: https://bare.example https://files.example https://mail.example"}
    send write: 400 {"error":"invalid_target","error_description":"several resources are granted; name one with the parameter `resource`: https://bare.example https://files.example https://mail.example"}
    admin: 400 {"error":"invalid_target","error_description":"several resources are granted; name one with the parameter `resource`: https://bare.example https://files.example https://mail.example"}
    send admin: 400 {"error":"invalid_target","error_description":"several resources are granted; name one with the parameter `resource`: https://bare.example https://files.example https://mail.example"}
    : 400 {"error":"invalid_target","error_description":"several resources are granted; name one with the parameter `resource`: https://bare.example https://files.example https://mail.example"}
    profile: 400 {"error":"invalid_target","error_description":"several resources are granted; name one with the parameter `resource`: https://bare.example https://files.example https://mail.example"}
    openid read: 400 {"error":"invalid_target","error_description":"several resources are granted; name one with the parameter `resource`: https://bare.example https://files.example https://mail.example"}
    "#);
    for (scope, audience, given) in [
        ("send", "https://mail.example", "send"),
        ("read send", "https://mail.example", "read send"),
        ("write", "https://files.example", "write"),
        (
            "openid profile send",
            "https://mail.example",
            "openid profile send",
        ),
        ("openid", issuer.url.as_str(), "openid"),
    ] {
        let answer = ask(&issuer, &agent, &[("scope", scope)]).await;
        let claims = answer.claims();
        assert_eq!(
            (&claims["aud"], &claims["scope"]),
            (&json!(audience), &json!(given)),
            "{scope}"
        );
        let has_id_token = answer.json().get("id_token").is_some();
        assert_eq!(has_id_token, scope.contains("openid"), "{scope}");
    }
}

#[tokio::test]
async fn explain_finds_the_resource_that_scopes_mean_as_the_token_endpoint_does() {
    let (issuer, agent) = several().await;
    for scope in ["send", "read", "write", "openid send", "openid", "admin"] {
        let answer = ask(&issuer, &agent, &[("scope", scope)]).await;
        let path = format!("/agents/both/explain?scope={}", scope.replace(' ', "+"));
        let explained = issuer.admin(reqwest::Method::GET, &path, None).await.json();
        if answer.status == 200 {
            let (minted, shown) = (answer.claims(), &explained["claims"]);
            assert_eq!(
                (&minted["aud"], &minted["scope"]),
                (&shown["aud"], &shown["scope"]),
                "{scope}"
            );
        } else {
            assert_eq!(answer.json(), explained["refusal"], "{scope}");
        }
    }
}

#[tokio::test]
async fn te_040_a_lifetime_outside_the_bounds_is_refused_and_never_wraps() {
    let (issuer, agent) = mailer().await;
    let mut answers = Answers::default();
    for seconds in [
        "0",
        "-1",
        "59",
        "3601",
        "10000000000",
        "1e10",
        "60s",
        "60.0",
        " 60",
        "0x3c",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
    ] {
        let answer = ask(&issuer, &agent, &[("expires_in", seconds)]).await;
        answers.add(seconds, &issuer, &refusal(&answer));
    }
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(answers, @r#"
0: 400 {"error":"invalid_request","error_description":"`expires_in` must be 60 to 3600 seconds here"}
-1: 400 {"error":"invalid_request","error_description":"`expires_in` must be 60 to 3600 seconds here"}
59: 400 {"error":"invalid_request","error_description":"`expires_in` must be 60 to 3600 seconds here"}
3601: 400 {"error":"invalid_request","error_description":"`expires_in` must be 60 to 3600 seconds here"}
10000000000: 400 {"error":"invalid_request","error_description":"`expires_in` must be 60 to 3600 seconds here"}
1e10: 400 {"error":"invalid_request","error_description":"`expires_in` must be a whole number of seconds"}
60s: 400 {"error":"invalid_request","error_description":"`expires_in` must be a whole number of seconds"}
60.0: 400 {"error":"invalid_request","error_description":"`expires_in` must be a whole number of seconds"}
 60: 400 {"error":"invalid_request","error_description":"`expires_in` must be a whole number of seconds"}
0x3c: 400 {"error":"invalid_request","error_description":"`expires_in` must be a whole number of seconds"}
9223372036854775807: 400 {"error":"invalid_request","error_description":"`expires_in` must be 60 to 3600 seconds here"}
9223372036854775808: 400 {"error":"invalid_request","error_description":"`expires_in` must be a whole number of seconds"}
-9223372036854775808: 400 {"error":"invalid_request","error_description":"`expires_in` must be 60 to 3600 seconds here"}
"#);

    for (asked, expected) in [
        (Some("60"), 60),
        (Some("3600"), 3600),
        (Some(""), 900),
        (None, 900),
    ] {
        let further: Vec<_> = asked
            .map(|seconds| ("expires_in", seconds))
            .into_iter()
            .collect();
        let answer = ask(&issuer, &agent, &further).await;
        let claims = answer.claims();
        assert_eq!(answer.json()["expires_in"], expected);
        assert_eq!(
            claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(),
            expected
        );
        assert_eq!(claims["nbf"], claims["iat"]);
    }
    let lower = IssuerEdit {
        default_lifetime: Some(120),
        max_lifetime: Some(120),
        ..IssuerEdit::default()
    };
    issuer
        .issuer()
        .edit_settings(&Caller::system(), lower, None)
        .await
        .unwrap();
    let answer = ask(&issuer, &agent, &[("expires_in", "121")]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"`expires_in` must be 60 to 120 seconds here"}"#);
}

#[tokio::test]
async fn te_046_groups_that_would_make_a_token_too_long_are_refused_when_they_are_assigned() {
    let (issuer, agent) = mailer().await;
    let system = Caller::system();
    let names: Vec<String> = (0..64)
        .map(|n| format!("{}-{n:02}", "g".repeat(120)))
        .collect();
    for name in &names {
        let group = NewGroup {
            name: name.clone(),
            ..NewGroup::default()
        };
        issuer.issuer().create_group(&system, group).await.unwrap();
    }
    let changes = AgentEdit {
        groups: Some(names),
        ..AgentEdit::default()
    };
    let refused = issuer
        .issuer()
        .edit_agent(&system, "mailer", changes, None)
        .await;
    let Err(IssuerError::Conflict { what: said, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_snapshot!(said, @"a token of the agent `mailer` would have about 11588 bytes, more than the 8192 that proxies and servers commonly accept (attributes 0, groups 8064, roles 9, audience and scopes 30 bytes)");
    assert_eq!(
        ask(&issuer, &agent, &[]).await.claims()["groups"],
        json!([])
    );
}

#[tokio::test]
async fn te_046_roles_that_come_by_a_group_and_make_a_token_too_long_are_refused_with_the_reason_in_the_audit()
 {
    let (issuer, agent) = mailer().await;
    let system = Caller::system();
    let roles: Vec<String> = (0..64)
        .map(|n| format!("{}-{n:02}", "r".repeat(120)))
        .collect();
    for name in &roles {
        issuer.role(name, "mail", &["read"]).await;
    }
    let group = NewGroup {
        name: "crowd".to_owned(),
        ..NewGroup::default()
    };
    issuer.issuer().create_group(&system, group).await.unwrap();
    let member = AgentEdit {
        groups: Some(vec!["crowd".to_owned()]),
        ..AgentEdit::default()
    };
    issuer
        .issuer()
        .edit_agent(&system, "mailer", member, None)
        .await
        .unwrap();
    let changes = GroupEdit {
        roles: Some(roles),
        ..GroupEdit::default()
    };
    // The members are not looked at here: there may be thousands. Their tokens are refused.
    issuer
        .issuer()
        .edit_group(&system, "crowd", changes, None)
        .await
        .unwrap();

    let answer = ask(&issuer, &agent, &[]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"the token would have 11385 bytes, more than 8192; request fewer scopes, or give the agent fewer groups, roles or attributes"}"#);
    assert_tokens_issued(&issuer, 0).await;
    let refused = audited_in_time(&issuer, "token.refused", 1).await;
    assert_snapshot!(refused[0].draft.detail, @r#"{"error":"invalid_request","reason":"the token would have 11385 bytes, more than 8192; request fewer scopes, or give the agent fewer groups, roles or attributes"}"#);
}
