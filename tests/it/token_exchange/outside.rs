//! TX-007, TX-022: tokens of trusted issuers as subject tokens, and of those that are not.

use firman::jose::digest::{base64url, sha256};
use firman::testing::TestKey;
use insta::assert_snapshot;
use reqwest::Method;
use serde_json::json;

use super::support::*;
use super::*;
use crate::oauth2::{Answers, Distinct, assert_tokens_issued, granted, refusal};

/// Tokens that this issuer has no reason to trust.
fn strangers(issuer: &TestIssuer) -> Vec<(&'static str, Outside)> {
    let token = outside(issuer, "alice");
    vec![
        (
            "a stranger",
            token.clone().claim("iss", "https://stranger.example"),
        ),
        (
            "an address of ours",
            token.clone().claim("iss", "http://169.254.169.254/latest"),
        ),
        (
            "a slash more",
            token.clone().claim("iss", format!("{PARTNER}/")),
        ),
        (
            "in capitals",
            token.clone().claim("iss", PARTNER.to_uppercase()),
        ),
        ("its name", token.clone().claim("iss", "partner")),
        ("no iss", token.clone().without("iss")),
        ("an array", token.clone().claim("iss", json!([PARTNER]))),
        (
            "trusted for other things",
            token.clone().claim("iss", "https://actors.example"),
        ),
        (
            "trusted for nothing",
            token.clone().claim("iss", "https://nothing.example"),
        ),
        (
            "this issuer with a foreign key",
            token.clone().claim("iss", issuer.url.as_str()),
        ),
        ("another key", token.clone().signed_by(TestKey::Es256)),
        (
            "another key under its kid",
            token
                .clone()
                .signed_by(TestKey::Es256)
                .header("kid", TestKey::EdDsa.signing_key().kid()),
        ),
        (
            "another key and a jku",
            token
                .clone()
                .signed_by(TestKey::Es256)
                .header("jku", "https://evil.example/jwks"),
        ),
        ("crit", token.clone().header("crit", json!(["exp"]))),
    ]
}

#[tokio::test]
async fn tx_007_a_token_of_an_issuer_that_is_not_trusted_for_subjects_is_refused() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    for (name, url, trusted) in [
        (
            "actors",
            "https://actors.example",
            json!({ "trust": ["actor", "client_auth"] }),
        ),
        ("nothing", "https://nothing.example", json!({ "trust": [] })),
    ] {
        let definition = with(trust(TestKey::EdDsa), &trusted);
        add_trusted(issuer, name, url, definition).await;
    }
    let mut answers = Answers::default();
    for (case, token) in strangers(issuer) {
        let answer = exchange_jwt(issuer, &scene.planner, &token.build(), &[]).await;
        answers.add(case, issuer, &refusal(&answer));
    }
    assert_tokens_issued(issuer, 0).await;
    assert_snapshot!(answers, @r#"
    a stranger: 400 {"error":"invalid_request","error_description":"subject_token: the token's issuer is not trusted"}
    an address of ours: 400 {"error":"invalid_request","error_description":"subject_token: the token's issuer is not trusted"}
    a slash more: 400 {"error":"invalid_request","error_description":"subject_token: the token's issuer is not trusted"}
    in capitals: 400 {"error":"invalid_request","error_description":"subject_token: the token's issuer is not trusted"}
    its name: 400 {"error":"invalid_request","error_description":"subject_token: the token's issuer is not trusted"}
    no iss: 400 {"error":"invalid_request","error_description":"subject_token: the token's issuer is not trusted"}
    an array: 400 {"error":"invalid_request","error_description":"subject_token: the token's issuer is not trusted"}
    trusted for other things: 400 {"error":"invalid_request","error_description":"subject_token: the token's issuer is not trusted for this"}
    trusted for nothing: 400 {"error":"invalid_request","error_description":"subject_token: the token's issuer is not trusted for this"}
    this issuer with a foreign key: 400 {"error":"invalid_request","error_description":"subject_token: its `kid` is not a key that this issuer publishes"}
    another key: 400 {"error":"invalid_request","error_description":"subject_token: no key of the token's issuer verifies it"}
    another key under its kid: 400 {"error":"invalid_request","error_description":"subject_token: no key of the token's issuer verifies it"}
    another key and a jku: 400 {"error":"invalid_request","error_description":"subject_token: no key of the token's issuer verifies it"}
    crit: 400 {"error":"invalid_request","error_description":"subject_token: the header member `crit` is not supported; leave it out"}
    "#);
}

/// Tokens of `partner` that are faulty in one respect each, and of `strict`, which needs a claim.
fn faulty(issuer: &TestIssuer) -> Vec<(&'static str, Outside)> {
    let strict = outside(issuer, "alice")
        .claim("iss", "https://strict.example")
        .signed_by(TestKey::Es256);
    let now = firman::testing::START;
    let token = outside(issuer, "alice");
    vec![
        (
            "for somebody else",
            token.clone().claim("aud", "https://other.example"),
        ),
        (
            "for us and somebody else",
            token.clone().claim("aud", json!([issuer.url, "x"])),
        ),
        ("for nobody", token.clone().without("aud")),
        ("an empty aud", token.clone().claim("aud", json!([]))),
        ("no exp", token.clone().without("exp")),
        (
            "expired",
            token.clone().claim("exp", now - 60).claim("iat", now - 600),
        ),
        ("from the future", token.clone().claim("iat", now + 60)),
        ("not yet", token.clone().claim("nbf", now + 60)),
        ("too long a life", token.clone().claim("exp", now + 3601)),
        (
            "an old one with a long life",
            token.clone().claim("iat", now - 3600),
        ),
        (
            "the beginning of time",
            token.clone().claim("iat", i64::MIN),
        ),
        ("the end of time", token.clone().claim("exp", i64::MAX)),
        ("no jti", token.clone().without("jti")),
        ("an empty jti", token.clone().claim("jti", "")),
        ("a long jti", token.clone().claim("jti", "x".repeat(257))),
        ("a jti that is a number", token.clone().claim("jti", 7)),
        ("another typ", token.clone().header("typ", "logout+jwt")),
        ("an access token", token.clone().header("typ", "at+jwt")),
        ("no sub", token.clone().without("sub")),
        ("an empty sub", token.clone().claim("sub", "")),
        ("a sub with NUL", token.clone().claim("sub", "ali\u{0}ce")),
        ("a sub that is a number", token.clone().claim("sub", 7)),
        ("a long sub", token.clone().claim("sub", "x".repeat(244))),
        (
            "a sub that is long when encoded",
            token.clone().claim("sub", "é".repeat(50)),
        ),
        ("without what is required", strict.clone()),
        ("with something else", strict.clone().claim("tenant", "red")),
        (
            "with it in an array",
            strict.claim("tenant", json!(["blue"])),
        ),
    ]
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_that_is_not_as_it_must_be_is_refused_and_the_fault_is_named() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let required = json!({ "required_claims": { "tenant": "blue" } });
    let definition = with(trust(TestKey::Es256), &required);
    add_trusted(issuer, "strict", "https://strict.example", definition).await;
    let mut answers = Answers::default();
    for (case, token) in faulty(issuer) {
        let answer = exchange_jwt(issuer, &scene.planner, &token.build(), &[]).await;
        answers.add(case, issuer, &refusal(&answer));
    }
    assert_tokens_issued(issuer, 0).await;
    assert_snapshot!(answers, @r#"
    for somebody else: 400 {"error":"invalid_request","error_description":"subject_token: `aud` must be ISSUER alone"}
    for us and somebody else: 400 {"error":"invalid_request","error_description":"subject_token: `aud` must be ISSUER alone"}
    for nobody: 400 {"error":"invalid_request","error_description":"subject_token: `aud` must be ISSUER alone"}
    an empty aud: 400 {"error":"invalid_request","error_description":"subject_token: `aud` must be a string or a non-empty array of strings"}
    no exp: 400 {"error":"invalid_request","error_description":"subject_token: `exp` is missing; state when the token expires"}
    expired: 400 {"error":"invalid_request","error_description":"subject_token: the token has expired (`exp`); make a new one, and check the clock of the machine that makes it"}
    from the future: 400 {"error":"invalid_request","error_description":"subject_token: the token was issued in the future (`iat`); check the clock of the machine that makes it"}
    not yet: 400 {"error":"invalid_request","error_description":"subject_token: the token is not valid yet (`nbf`); check the clock of the machine that makes it"}
    too long a life: 400 {"error":"invalid_request","error_description":"subject_token: the token's lifetime exceeds the 3600 seconds that the trusted issuer `partner` is allowed"}
    an old one with a long life: 400 {"error":"invalid_request","error_description":"subject_token: the token's lifetime exceeds the 3600 seconds that the trusted issuer `partner` is allowed"}
    the beginning of time: 400 {"error":"invalid_request","error_description":"subject_token: `iat` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
    the end of time: 400 {"error":"invalid_request","error_description":"subject_token: `exp` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
    no jti: 400 {"error":"invalid_request","error_description":"subject_token: `jti` is required, with 1 to 256 bytes: each token of the trusted issuer `partner` is accepted once"}
    an empty jti: 400 {"error":"invalid_request","error_description":"subject_token: `jti` is required, with 1 to 256 bytes: each token of the trusted issuer `partner` is accepted once"}
    a long jti: 400 {"error":"invalid_request","error_description":"subject_token: `jti` is required, with 1 to 256 bytes: each token of the trusted issuer `partner` is accepted once"}
    a jti that is a number: 400 {"error":"invalid_request","error_description":"subject_token: `jti` must be a string"}
    another typ: 400 {"error":"invalid_request","error_description":"subject_token: `typ` must be JWT for tokens of the trusted issuer `partner`"}
    an access token: 400 {"error":"invalid_request","error_description":"subject_token: `typ` must be JWT for tokens of the trusted issuer `partner`"}
    no sub: 400 {"error":"invalid_request","error_description":"subject_token: `sub` is required, as a string"}
    an empty sub: 400 {"error":"invalid_request","error_description":"subject_token: `sub` is required, as a string"}
    a sub with NUL: 400 {"error":"invalid_request","error_description":"subject_token: `sub` is required, as a string"}
    a sub that is a number: 400 {"error":"invalid_request","error_description":"subject_token: `sub` must be a string"}
    a long sub: 400 {"error":"invalid_request","error_description":"subject_token: sub is empty, or too long: the subject made from it would have more than 255 characters"}
    a sub that is long when encoded: 400 {"error":"invalid_request","error_description":"subject_token: sub is empty, or too long: the subject made from it would have more than 255 characters"}
    without what is required: 400 {"error":"invalid_request","error_description":"subject_token: the token does not have the claims that are required of the trusted issuer `strict`: tenant"}
    with something else: 400 {"error":"invalid_request","error_description":"subject_token: the token does not have the claims that are required of the trusted issuer `strict`: tenant"}
    with it in an array: 400 {"error":"invalid_request","error_description":"subject_token: the token does not have the claims that are required of the trusted issuer `strict`: tenant"}
    "#);
}

#[tokio::test]
async fn the_claims_of_a_foreign_token_are_never_read_as_our_own() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let token = outside(issuer, "alice")
        .claim("acting_agent", "agent:filer")
        .claim("sub_profile", "ai_agent")
        .claim("client_id", "filer")
        .claim("scope", "read send admin")
        .claim("groups", json!(["admins"]))
        .claim("roles", json!(["admin"]))
        .claim("owner", "root")
        .claim("email", "root@example.com")
        .build();
    let answer = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
    assert_eq!(
        without_jti(answer.claims()),
        json!({
            "iss": issuer.url, "sub": ALICE, "aud": MAIL,
            "exp": 1_800_000_600, "iat": 1_800_000_000, "nbf": 1_800_000_000,
            "client_id": "planner", "scope": "read send", "groups": [], "roles": [],
            "sub_profile": "user", "acting_agent": "agent:planner",
            "act": scene.actor("planner", None),
        })
    );
}

#[tokio::test]
async fn tx_022_a_foreign_act_is_refused_and_never_dropped() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let ours = scene.actor("filer", Some(scene.actor("mailer", None)));
    let mut seen = Distinct::default();
    for act in [
        ours.clone(),
        json!({"iss": PARTNER, "sub": "agent:filer", "sub_profile": "ai_agent"}),
        json!({"sub": "admin"}),
        json!("agent:filer"),
        json!(null),
        json!([ours]),
    ] {
        let token = outside(issuer, "alice").claim("act", act).build();
        seen.add(refusal(
            &exchange_jwt(issuer, &scene.planner, &token, &[]).await,
        ));
    }
    assert_tokens_issued(issuer, 0).await;
    assert_snapshot!(seen, @r#"400 {"error":"invalid_request","error_description":"subject_token: `act` is not accepted from the trusted issuer `partner`"}"#);
}

#[tokio::test]
async fn tx_022_an_accepted_foreign_act_is_carried_on_under_its_issuer_and_counts() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    let url = "https://okta.example";
    let carried = json!({ "accept_act": true, "jti": "reusable" });
    let definition = with(trust(TestKey::Es256), &carried);
    add_trusted(issuer, "okta", url, definition).await;
    delegate("planner", "user:okta:*", "mail")
        .depth(3)
        .add(issuer)
        .await;
    // The foreign actor is named like an agent of ours that is suspended, and is none of ours.
    let path = "/agents/filer/suspend";
    let suspended = issuer.admin(reqwest::Method::POST, path, None).await;
    assert_eq!(suspended.status, 200, "{suspended}");
    let with = |act: Value| {
        outside(issuer, "alice")
            .claim("iss", url)
            .claim("act", act)
            .signed_by(TestKey::Es256)
            .build()
    };
    let two = json!({
        "sub": "agent:filer", "sub_profile": "ai_agent", "client_id": "filer",
        "act": {"iss": url, "sub": "portal"},
    });
    let answer = exchange_jwt(issuer, &scene.planner, &with(two.clone()), &[]).await;
    let carried = json!({
        "iss": url, "sub": "agent:filer", "sub_profile": "ai_agent",
        "act": {"iss": url, "sub": "portal"},
    });
    let claims = answer.claims();
    assert_eq!(claims["act"], scene.actor("planner", Some(carried)));
    assert_eq!(claims["sub"], "user:okta:alice");
    // On the next hop, too, the foreign actor is not looked up among our agents.
    delegate("mailer", "user:okta:*", "files")
        .depth(4)
        .add(issuer)
        .await;
    let second = exchange(issuer, &scene.mailer, &answer.assert_issued(), &[]).await;
    let expected = scene.actor("mailer", Some(claims["act"].clone()));
    assert_eq!(second.claims()["act"], expected);
    let mut answers = Answers::default();
    for (case, act) in [
        ("one too many", json!({"sub": "a", "act": two})),
        ("one of ours", scene.actor("filer", None)),
        (
            "one of ours within",
            json!({"sub": "a", "act": scene.actor("filer", None)}),
        ),
        (
            "of a third",
            json!({"iss": "https://third.example", "sub": "a"}),
        ),
        ("no sub", json!({"client_id": "a"})),
        ("a text", json!("agent:filer")),
        ("null", json!(null)),
    ] {
        let answer = exchange_jwt(issuer, &scene.planner, &with(act), &[]).await;
        answers.add(case, issuer, &refusal(&answer));
    }
    assert_snapshot!(answers, @r#"
    one too many: 400 {"error":"invalid_request","error_description":"subject_token: the chain of actors would have more than 3 links; chains are rejected, never shortened"}
    one of ours: 400 {"error":"invalid_request","error_description":"subject_token: `act` names an actor of another issuer than the token's own; leave out its `iss`, or use the token's"}
    one of ours within: 400 {"error":"invalid_request","error_description":"subject_token: `act` names an actor of another issuer than the token's own; leave out its `iss`, or use the token's"}
    of a third: 400 {"error":"invalid_request","error_description":"subject_token: `act` names an actor of another issuer than the token's own; leave out its `iss`, or use the token's"}
    no sub: 400 {"error":"invalid_request","error_description":"subject_token: each `act` must be an object with `sub`, a string of 1 to 512 bytes without control characters, and an optional `sub_profile` of the same kind"}
    a text: 400 {"error":"invalid_request","error_description":"subject_token: each `act` must be an object with `sub`, a string of 1 to 512 bytes without control characters, and an optional `sub_profile` of the same kind"}
    null: 400 {"error":"invalid_request","error_description":"subject_token: each `act` must be an object with `sub`, a string of 1 to 512 bytes without control characters, and an optional `sub_profile` of the same kind"}
    "#);
}

#[tokio::test]
async fn a_subject_from_outside_never_looks_like_one_of_ours_and_brings_only_mapped_claims() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    let map = [
        ("department", "department"),
        ("team", "https://partner.example/team"),
        ("level", "level"),
        ("owner", "department"),
        ("email", "email"),
        ("missing", "missing"),
    ];
    add_trusted(
        issuer,
        "okta",
        "https://okta.example",
        trust(TestKey::Es256),
    )
    .await;
    map_reserved_claims(issuer, "okta", &map).await;
    delegate("planner", "user:okta:*", "mail").add(issuer).await;
    delegate("mailer", "user:okta:*", "files").add(issuer).await;
    let token = outside(issuer, "agent:mailer/\u{e9}*")
        .claim("iss", "https://okta.example")
        .claim("department", "sales")
        .claim("https://partner.example/team", "north")
        .claim("level", 7)
        .claim("email", "alice@example.com")
        .signed_by(TestKey::Es256)
        .build();
    let first = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
    let claims = |client: &str, audience: &str, scope: &str, act: &Value| {
        json!({
            "iss": issuer.url, "sub": "user:okta:agent%3Amailer%2F%C3%A9%2A", "aud": audience,
            "exp": 1_800_000_600, "iat": 1_800_000_000, "nbf": 1_800_000_000,
            "client_id": client, "scope": scope, "groups": [], "roles": [],
            "department": "sales", "team": "north", "sub_profile": "user",
            "acting_agent": format!("agent:{client}"), "act": act,
        })
    };
    let planner = scene.actor("planner", None);
    assert_eq!(
        without_jti(first.claims()),
        claims("planner", MAIL, "read send", &planner)
    );
    // The subject's attributes are passed on.
    let second = exchange(issuer, &scene.mailer, &first.assert_issued(), &[]).await;
    assert_eq!(
        without_jti(second.claims()),
        claims(
            "mailer",
            FILES,
            "read write",
            &scene.actor("mailer", Some(planner))
        )
    );
}

#[tokio::test]
async fn attributes_that_make_the_token_too_long_are_refused_and_not_left_out() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    let mapped = json!({ "claims": { "a": "long", "b": "long", "c": "long" } });
    let definition = with(trust(TestKey::Es256), &mapped);
    add_trusted(issuer, "okta", "https://okta.example", definition).await;
    delegate("planner", "user:okta:*", "mail").add(issuer).await;
    let token = outside(issuer, "alice")
        .claim("iss", "https://okta.example")
        .claim("long", "x".repeat(4000))
        .signed_by(TestKey::Es256)
        .build();
    let answer = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"the token would have 16852 bytes, more than 8192; request fewer scopes, or give the agent fewer groups, roles or attributes"}"#);
}

#[tokio::test]
async fn a_single_use_token_buys_one_token_and_a_reusable_one_as_many_as_are_asked_for() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let token = outside(issuer, "alice").build();
    // What is refused before uses nothing up.
    let refused = exchange_jwt(issuer, &scene.planner, &token, &[("scope", "admin")]).await;
    let mut answers = Answers::default();
    answers.add("refused for another reason", issuer, &refusal(&refused));
    for case in ["first", "again", "and again"] {
        let answer = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
        let shown = if case == "first" {
            granted(&answer)
        } else {
            refusal(&answer)
        };
        answers.add(case, issuer, &shown);
    }
    // Another text with the same jti is the same token; another issuer's is another.
    let copy = outside(issuer, "alice");
    let copy = copy.claim(
        "jti",
        firman::testing::decoded_part(&token, 1)["jti"].clone(),
    );
    let answer = exchange_jwt(issuer, &scene.planner, &copy.build(), &[]).await;
    answers.add("the same jti", issuer, &refusal(&answer));
    let definition = with(trust(TestKey::Es256), &json!({ "jti": "reusable" }));
    add_trusted(issuer, "reused", "https://reused.example", definition).await;
    delegate("planner", "user:reused:*", "mail")
        .add(issuer)
        .await;
    let reusable = copy
        .claim("iss", "https://reused.example")
        .signed_by(TestKey::Es256);
    assert_snapshot!(answers, @r#"
    refused for another reason: 400 {"error":"invalid_scope","error_description":"not available for user:partner:alice at https://mail.example: admin; subject, agent and delegation all allow: read send"}
    first: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read send","token_type":"Bearer"}
    again: 400 {"error":"invalid_request","error_description":"subject_token: its `jti` was used before; each token of its issuer is accepted once"}
    and again: 400 {"error":"invalid_request","error_description":"subject_token: its `jti` was used before; each token of its issuer is accepted once"}
    the same jti: 400 {"error":"invalid_request","error_description":"subject_token: its `jti` was used before; each token of its issuer is accepted once"}
    "#);
    let mut seen = Distinct::default();
    for token in [reusable.build(), reusable.without("jti").build()] {
        for _ in 0..3 {
            seen.add(granted(
                &exchange_jwt(issuer, &scene.planner, &token, &[]).await,
            ));
        }
    }
    assert_eq!(
        seen.to_string(),
        granted(&scene.planner_for_alice(&[]).await)
    );
}

#[tokio::test]
async fn a_token_from_outside_can_be_revoked_by_its_number_in_the_record() {
    let scene = Scene::new().await;
    let issuer = &scene.issuer;
    let token = outside(issuer, "alice")
        .claim("jti", "to-be-revoked")
        .build();
    let answer = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
    answer.assert_issued();
    let digest = base64url(&sha256(b"to-be-revoked")[..16]);
    revoke(issuer, &format!("partner:{digest}")).await;
    // A reusable token has another number, and its first one still counts.
    let reusable = json!({ "jti": "reusable" });
    let edited = issuer
        .admin(Method::PATCH, "/trusted-issuers/partner", Some(&reusable))
        .await;
    assert_eq!(edited.status, 200, "{edited}");
    let answer = exchange_jwt(issuer, &scene.planner, &token, &[]).await;
    assert_snapshot!(refusal(&answer), @r#"400 {"error":"invalid_request","error_description":"subject_token: it was revoked"}"#);
}
