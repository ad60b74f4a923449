//! CA-001, CA-002, CA-006 to CA-023, CA-046 to CA-049: the claims of a client assertion, and the form
//! around it. A refused assertion is one whose signature is good, unless its case says otherwise.

use firman::issuer::Caller;
use firman::testing::{START, TestAgent, TestIssuer, TestKey};
use insta::assert_snapshot;

use super::*;

pub(super) async fn mailer() -> (TestIssuer, TestAgent) {
    let issuer = mail_issuer().await;
    let agent = issuer
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    (issuer, agent)
}

/// Presents each assertion; all must be refused, leave no token, and leave a plain one working.
pub(super) async fn refusals(
    issuer: &TestIssuer,
    agent: &TestAgent,
    cases: &[(&str, String)],
) -> Answers {
    let mut answers = Answers::default();
    for (case, assertion) in cases {
        let answer = issuer.token_with(assertion).await;
        assert_eq!(answer.header("www-authenticate"), "");
        answers.add(case, issuer, &refusal(&answer));
    }
    assert_tokens_issued(issuer, 0).await;
    let control = issuer.token_with(&agent.assertion().build()).await;
    let _ = control.assert_issued();
    answers
}

/// Assertions that differ from a good one in one claim.
async fn refused_claims(name: &str, values: &[Value]) -> Answers {
    let (issuer, agent) = mailer().await;
    let cases: Vec<(String, String)> = values
        .iter()
        .map(|value| {
            let case = format!("{name}={value}").replace(&issuer.url, "ISSUER");
            (case, agent.assertion().claim(name, value.clone()).build())
        })
        .collect();
    let mut cases: Vec<(&str, String)> = cases
        .iter()
        .map(|(case, assertion)| (case.as_str(), assertion.clone()))
        .collect();
    let without = format!("no {name}");
    if !matches!(name, "iat" | "nbf") {
        cases.push((&without, agent.assertion().without(name).build()));
    }
    refusals(&issuer, &agent, &cases).await
}

#[tokio::test]
async fn ca_001_every_algorithm_is_accepted_from_an_agent_registered_with_such_a_key() {
    let issuer = mail_issuer().await;
    let mut seen = Distinct::default();
    for (name, key) in [
        ("es256", TestKey::Es256),
        ("es384", TestKey::Es384),
        ("rs256", TestKey::Rs256),
        ("eddsa", TestKey::EdDsa),
    ] {
        let agent = issuer.agent(name).role("mailer").with_public_key(key).await;
        let answer = issuer.token_with(&agent.assertion().build()).await;
        seen.add(granted(&answer));
        assert_eq!(answer.claims()["sub"], format!("agent:{name}"));
    }
    assert_snapshot!(seen, @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
    // The same key under its newer name (RFC 9864).
    let header = |agent: &TestAgent| agent.assertion().header("alg", "Ed25519");
    let issuer = mail_issuer().await;
    let agent = issuer.agent("ed25519").role("mailer");
    let agent = agent.with_public_key(TestKey::EdDsa).await;
    let answer = issuer.token_with(&header(&agent).build()).await;
    assert_eq!(answer.claims()["sub"], "agent:ed25519");
    // The RSA key of PS256 is that of RS256, and a key belongs to one agent.
    let issuer = mail_issuer().await;
    let agent = issuer
        .agent("ps256")
        .role("mailer")
        .with_public_key(TestKey::Ps256)
        .await;
    let _ = issuer
        .token_with(&agent.assertion().build())
        .await
        .assert_issued();
}

#[tokio::test]
async fn ca_002_the_type_of_an_assertion_may_be_absent_or_one_of_two() {
    let (issuer, agent) = mailer().await;
    let _ = issuer
        .token_with(&agent.assertion().build())
        .await
        .assert_issued();
    for typ in [
        "client-authentication+jwt",
        "JWT",
        "jwt",
        "application/jwt",
        "application/client-authentication+jwt",
    ] {
        let assertion = agent.assertion().header("typ", typ).build();
        let _ = issuer.token_with(&assertion).await.assert_issued();
    }
    assert_tokens_issued(&issuer, 6).await;
}

#[tokio::test]
async fn ca_002_the_type_of_another_kind_of_token_is_refused_and_named() {
    let (issuer, agent) = mailer().await;
    let cases = ["at+jwt", "secevent+jwt", "dpop+jwt", "", "JOSE"]
        .map(|typ| (typ, agent.assertion().header("typ", typ).build()));
    assert_snapshot!(refusals(&issuer, &agent, &cases).await, @r#"
at+jwt: 401 {"error":"invalid_client","error_description":"`typ` of the assertion must be absent, `JWT` or `client-authentication+jwt`"}
secevent+jwt: 401 {"error":"invalid_client","error_description":"`typ` of the assertion must be absent, `JWT` or `client-authentication+jwt`"}
dpop+jwt: 401 {"error":"invalid_client","error_description":"`typ` of the assertion must be absent, `JWT` or `client-authentication+jwt`"}
: 401 {"error":"invalid_client","error_description":"`typ` of the assertion must be absent, `JWT` or `client-authentication+jwt`"}
JOSE: 401 {"error":"invalid_client","error_description":"`typ` of the assertion must be absent, `JWT` or `client-authentication+jwt`"}
"#);
}

#[tokio::test]
async fn ca_006_the_same_jti_from_two_agents_is_two_numbers() {
    let issuer = mail_issuer().await;
    let a = issuer
        .agent("a")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    let b = issuer
        .agent("b")
        .role("mailer")
        .with_public_key(TestKey::Es256Second)
        .await;
    for agent in [&a, &b] {
        let _ = issuer
            .token_with(&agent.assertion().claim("jti", "one").build())
            .await
            .assert_issued();
    }
    assert_tokens_issued(&issuer, 2).await;
}

#[tokio::test]
async fn ca_007_a_jti_must_be_there_and_at_most_256_bytes_long() {
    let values = [
        json!("x".repeat(257)),
        json!("é".repeat(129)),
        json!(""),
        json!(7),
        json!(null),
        json!(["a"]),
    ];
    let answers = refused_claims("jti", &values).await.to_string();
    let answers = answers
        .replace(&"x".repeat(257), "x*257")
        .replace(&"é".repeat(129), "é*129");
    assert_snapshot!(answers, @r#"
    jti="x*257": 401 {"error":"invalid_client","error_description":"`jti` is required, with 1 to 256 bytes, and new in each assertion"}
    jti="é*129": 401 {"error":"invalid_client","error_description":"`jti` is required, with 1 to 256 bytes, and new in each assertion"}
    jti="": 401 {"error":"invalid_client","error_description":"`jti` is required, with 1 to 256 bytes, and new in each assertion"}
    jti=7: 401 {"error":"invalid_client","error_description":"`jti` must be a string"}
    jti=null: 401 {"error":"invalid_client","error_description":"`jti` must be a string"}
    jti=["a"]: 401 {"error":"invalid_client","error_description":"`jti` must be a string"}
    no jti: 401 {"error":"invalid_client","error_description":"`jti` is required, with 1 to 256 bytes, and new in each assertion"}
    "#);

    let (issuer, agent) = mailer().await;
    let longest = agent.assertion().claim("jti", "x".repeat(256)).build();
    let _ = issuer.token_with(&longest).await.assert_issued();
    assert_snapshot!(refusal(&issuer.token_with(&longest).await), @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
}

#[tokio::test]
async fn ca_008_jtis_that_differ_in_case_or_unicode_form_or_nul_are_different() {
    let (issuer, agent) = mailer().await;
    let forms = [
        "one",
        "ONE",
        "One",
        "one ",
        "caf\u{e9}",
        "cafe\u{301}",
        "one\0",
        "one\0two",
        "'; --",
        "\u{2028}",
    ];
    for jti in forms {
        let _ = issuer
            .token_with(&agent.assertion().claim("jti", jti).build())
            .await
            .assert_issued();
    }
    let mut seen = Distinct::default();
    for jti in forms {
        let answer = issuer
            .token_with(&agent.assertion().claim("jti", jti).build())
            .await;
        seen.add(refusal(&answer));
    }
    assert_snapshot!(seen, @r#"401 {"error":"invalid_client","error_description":"`jti` was used before; each assertion is accepted once"}"#);
    assert_tokens_issued(&issuer, forms.len()).await;
}

#[tokio::test]
async fn ca_009_to_012_an_expiry_that_is_missing_past_too_far_ahead_or_no_number_is_refused() {
    let values = [
        json!(START - 61),
        json!(START - 300),
        json!(0),
        json!(-1),
        json!(START + 3600 + 61),
        json!(START + 86_400),
        json!(i64::MAX),
        json!(u64::MAX),
        json!((START + 60).to_string()),
        json!(null),
        json!(true),
        json!([START + 60]),
        json!(1e300),
    ];
    assert_snapshot!(refused_claims("exp", &values).await, @r#"
    exp=1799999939: 401 {"error":"invalid_client","error_description":"the token has expired (`exp`); make a new one, and check the clock of the machine that makes it"}
    exp=1799999700: 401 {"error":"invalid_client","error_description":"the token has expired (`exp`); make a new one, and check the clock of the machine that makes it"}
    exp=0: 401 {"error":"invalid_client","error_description":"the token has expired (`exp`); make a new one, and check the clock of the machine that makes it"}
    exp=-1: 401 {"error":"invalid_client","error_description":"`exp` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
    exp=1800003661: 401 {"error":"invalid_client","error_description":"`exp` must be at most 3600 seconds ahead"}
    exp=1800086400: 401 {"error":"invalid_client","error_description":"`exp` must be at most 3600 seconds ahead"}
    exp=9223372036854775807: 401 {"error":"invalid_client","error_description":"`exp` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
    exp=18446744073709551615: 401 {"error":"invalid_client","error_description":"`exp` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
    exp="1800000060": 401 {"error":"invalid_client","error_description":"`exp` must be a JSON number: seconds since 1970, without quotes"}
    exp=null: 401 {"error":"invalid_client","error_description":"`exp` must be a JSON number: seconds since 1970, without quotes"}
    exp=true: 401 {"error":"invalid_client","error_description":"`exp` must be a JSON number: seconds since 1970, without quotes"}
    exp=[1800000060]: 401 {"error":"invalid_client","error_description":"`exp` must be a JSON number: seconds since 1970, without quotes"}
    exp=1e+300: 401 {"error":"invalid_client","error_description":"`exp` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
    no exp: 401 {"error":"invalid_client","error_description":"`exp` is missing; state when the token expires"}
    "#);
}

#[tokio::test]
async fn ca_010_and_011_an_expiry_within_the_skew_or_an_hour_ahead_is_accepted() {
    let (issuer, agent) = mailer().await;
    for exp in [START - 10, START + 3600] {
        let _ = issuer
            .token_with(&agent.assertion().claim("exp", exp).build())
            .await
            .assert_issued();
    }
}

#[tokio::test]
async fn times_with_a_fraction_are_accepted_and_never_for_longer_than_they_say() {
    let (issuer, agent) = mailer().await;
    let raw = |name: &str, value: &str| {
        let claims = agent.assertion().claim(name, "?").claims_text();
        let claims = claims.replace(r#""?""#, value);
        agent
            .assertion()
            .build_from(&agent.assertion().header_text(), &claims)
    };
    for (name, value) in [
        ("exp", "1800000060.5"),
        ("exp", "18000000605e-1"),
        ("iat", "1.8e9"),
        ("iat", "1799999999.999"),
        ("nbf", "1800000000.25"),
    ] {
        let answer = issuer.token_with(&raw(name, value)).await;
        assert_eq!(answer.status, 200, "{name}={value}: {answer}");
    }
    let mut answers = Answers::default();
    for (name, value) in [
        // Half a second within the skew of 30 s, had each been rounded to the other side.
        ("exp", "1799999970.5"),
        ("nbf", "1800000030.5"),
        ("exp", "1799999000.5"),
        ("exp", "1800000060000"),
        ("iat", "-0.5"),
        ("iat", "1e400"),
    ] {
        let answer = issuer.token_with(&raw(name, value)).await;
        answers.add(&format!("{name}={value}"), &issuer, &refusal(&answer));
    }
    assert_snapshot!(answers, @r#"
    exp=1799999970.5: 401 {"error":"invalid_client","error_description":"the token has expired (`exp`); make a new one, and check the clock of the machine that makes it"}
    nbf=1800000030.5: 401 {"error":"invalid_client","error_description":"the token is not valid yet (`nbf`); check the clock of the machine that makes it"}
    exp=1799999000.5: 401 {"error":"invalid_client","error_description":"the token has expired (`exp`); make a new one, and check the clock of the machine that makes it"}
    exp=1800000060000: 401 {"error":"invalid_client","error_description":"`exp` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
    iat=-0.5: 401 {"error":"invalid_client","error_description":"`iat` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
    iat=1e400: 401 {"error":"invalid_client","error_description":"client authentication failed"}
    "#);
}

#[tokio::test]
async fn ca_013_a_not_before_ahead_or_of_another_type_is_refused() {
    let values = [
        json!(START + 61),
        json!(START.to_string()),
        json!(null),
        json!(true),
        json!(i64::MAX),
    ];
    assert_snapshot!(refused_claims("nbf", &values).await, @r#"
nbf=1800000061: 401 {"error":"invalid_client","error_description":"the token is not valid yet (`nbf`); check the clock of the machine that makes it"}
nbf="1800000000": 401 {"error":"invalid_client","error_description":"`nbf` must be a JSON number: seconds since 1970, without quotes"}
nbf=null: 401 {"error":"invalid_client","error_description":"`nbf` must be a JSON number: seconds since 1970, without quotes"}
nbf=true: 401 {"error":"invalid_client","error_description":"`nbf` must be a JSON number: seconds since 1970, without quotes"}
nbf=9223372036854775807: 401 {"error":"invalid_client","error_description":"`nbf` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
"#);
}

#[tokio::test]
async fn ca_014_an_issue_time_ahead_or_of_another_type_is_refused() {
    let values = [
        json!(START + 61),
        json!(START.to_string()),
        json!(null),
        json!({}),
        json!(i64::MAX),
    ];
    assert_snapshot!(refused_claims("iat", &values).await, @r#"
iat=1800000061: 401 {"error":"invalid_client","error_description":"the token was issued in the future (`iat`); check the clock of the machine that makes it"}
iat="1800000000": 401 {"error":"invalid_client","error_description":"`iat` must be a JSON number: seconds since 1970, without quotes"}
iat=null: 401 {"error":"invalid_client","error_description":"`iat` must be a JSON number: seconds since 1970, without quotes"}
iat={}: 401 {"error":"invalid_client","error_description":"`iat` must be a JSON number: seconds since 1970, without quotes"}
iat=9223372036854775807: 401 {"error":"invalid_client","error_description":"`iat` must be between 1970 and the year 9999, in seconds and not in milliseconds"}
"#);
}

#[tokio::test]
async fn ca_015_clocks_that_differ_by_ten_seconds_are_accepted() {
    let (issuer, agent) = mailer().await;
    for ahead in [8, 10, 30] {
        let assertion = agent
            .assertion()
            .claim("iat", START + ahead)
            .claim("nbf", START + ahead);
        let _ = issuer.token_with(&assertion.build()).await.assert_issued();
    }
    let _ = issuer
        .token_with(&agent.assertion().without("iat").build())
        .await
        .assert_issued();
}

#[tokio::test]
async fn ca_016_ca_018_and_ca_019_an_issuer_claim_that_is_not_exactly_the_client_is_refused() {
    let values = [
        json!("nobody"),
        json!("other"),
        json!(7),
        json!({ "id": "mailer" }),
        json!(["mailer", "other"]),
        json!(["mailer"]),
        json!(null),
        json!("mailer\0"),
        json!("MAILER"),
    ];
    assert_snapshot!(refused_claims("iss", &values).await, @r#"
iss="nobody": 401 {"error":"invalid_client","error_description":"client authentication failed"}
iss="other": 401 {"error":"invalid_client","error_description":"client authentication failed"}
iss=7: 401 {"error":"invalid_client","error_description":"client authentication failed"}
iss={"id":"mailer"}: 401 {"error":"invalid_client","error_description":"client authentication failed"}
iss=["mailer","other"]: 401 {"error":"invalid_client","error_description":"client authentication failed"}
iss=["mailer"]: 401 {"error":"invalid_client","error_description":"client authentication failed"}
iss=null: 401 {"error":"invalid_client","error_description":"client authentication failed"}
iss="mailer\u0000": 401 {"error":"invalid_client","error_description":"client authentication failed"}
iss="MAILER": 401 {"error":"invalid_client","error_description":"client authentication failed"}
no iss: 401 {"error":"invalid_client","error_description":"client authentication failed"}
"#);
}

#[tokio::test]
async fn ca_016_an_unknown_client_that_names_itself_consistently_is_refused() {
    let (issuer, agent) = mailer().await;
    issuer.agent("other").role("mailer").with_secret().await;
    let named = |name: &str| {
        agent
            .assertion()
            .claim("iss", name)
            .claim("sub", name)
            .build()
    };
    let cases = [
        ("unknown", named("nobody")),
        ("another agent", named("other")),
        ("its subject", named("agent:mailer")),
        ("no name at all", named("")),
        ("sql", named("' OR '1'='1")),
        ("10,000 characters", named(&"a".repeat(4000))),
    ];
    assert_snapshot!(refusals(&issuer, &agent, &cases).await, @r#"
unknown: 401 {"error":"invalid_client","error_description":"client authentication failed"}
another agent: 401 {"error":"invalid_client","error_description":"client authentication failed"}
its subject: 401 {"error":"invalid_client","error_description":"client authentication failed"}
no name at all: 401 {"error":"invalid_client","error_description":"client authentication failed"}
sql: 401 {"error":"invalid_client","error_description":"client authentication failed"}
10,000 characters: 401 {"error":"invalid_client","error_description":"client authentication failed"}
"#);
}

#[tokio::test]
async fn ca_017_and_018_a_subject_that_is_missing_or_not_the_client_is_refused() {
    let values = [
        json!(7),
        json!("agent:mailer"),
        json!(["mailer"]),
        json!(null),
        json!(""),
    ];
    assert_snapshot!(refused_claims("sub", &values).await, @r#"
sub=7: 401 {"error":"invalid_client","error_description":"client authentication failed"}
sub="agent:mailer": 401 {"error":"invalid_client","error_description":"client authentication failed"}
sub=["mailer"]: 401 {"error":"invalid_client","error_description":"client authentication failed"}
sub=null: 401 {"error":"invalid_client","error_description":"client authentication failed"}
sub="": 401 {"error":"invalid_client","error_description":"client authentication failed"}
no sub: 401 {"error":"invalid_client","error_description":"client authentication failed"}
"#);
}

#[tokio::test]
async fn ca_020_to_023_an_audience_that_is_not_the_issuer_alone_is_refused_and_told_so() {
    let (issuer, agent) = mailer().await;
    let url = &issuer.url;
    let audience = |value: Value| agent.assertion().claim("aud", value).build();
    let cases = [
        ("missing", agent.assertion().without("aud").build()),
        ("another issuer", audience(json!("https://other.example"))),
        (
            "the token endpoint",
            audience(json!(format!("{url}/oauth2/token"))),
        ),
        (
            "issuer and token endpoint",
            audience(json!([url, format!("{url}/oauth2/token")])),
        ),
        ("an empty array", audience(json!([]))),
        ("a trailing slash", audience(json!(format!("{url}/")))),
        ("upper case", audience(json!(url.to_uppercase()))),
        ("a number", audience(json!(7))),
        ("null", audience(json!(null))),
        ("a space behind", audience(json!(format!("{url} ")))),
    ];
    assert_snapshot!(refusals(&issuer, &agent, &cases).await, @r#"
    missing: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER; it is missing"}
    another issuer: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER; it names another audience"}
    the token endpoint: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER, not the token endpoint"}
    issuer and token endpoint: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER alone; it names 2 audiences"}
    an empty array: 401 {"error":"invalid_client","error_description":"`aud` must be a string or a non-empty array of strings"}
    a trailing slash: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER; it names another audience"}
    upper case: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER; it names another audience"}
    a number: 401 {"error":"invalid_client","error_description":"`aud` must be a string or a non-empty array of strings"}
    null: 401 {"error":"invalid_client","error_description":"`aud` must be a string or a non-empty array of strings"}
    a space behind: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER; it names another audience"}
    "#);
}

#[tokio::test]
async fn ca_023_an_issuer_with_a_path_wants_its_path_in_the_audience() {
    let options = TestOptions {
        issuer_path: "/tenant".to_owned(),
        ..TestOptions::default()
    };
    let issuer = TestIssuer::start_with(options).await;
    grant_mail(&issuer).await;
    let agent = issuer
        .agent("mailer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    let root = issuer.url.strip_suffix("/tenant").unwrap().to_owned();
    let cases = [
        ("the root", agent.assertion().claim("aud", root).build()),
        (
            "a slash behind",
            agent
                .assertion()
                .claim("aud", format!("{}/", issuer.url))
                .build(),
        ),
    ];
    assert_snapshot!(refusals(&issuer, &agent, &cases).await, @r#"
the root: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER; it names another audience"}
a slash behind: 401 {"error":"invalid_client","error_description":"`aud` must be ISSUER; it names another audience"}
"#);
}

#[tokio::test]
async fn ca_046_a_token_of_this_issuer_is_not_a_client_assertion() {
    let (issuer, agent) = mailer().await;
    let secret = issuer.agent("other").role("mailer").with_secret().await;
    let answer = by_basic(
        &issuer,
        "other",
        secret.secret(),
        &[("scope", "openid read")],
    )
    .await;
    for token in ["access_token", "id_token"] {
        let token = answer.json()[token].as_str().unwrap().to_owned();
        assert_eq!(refusal(&issuer.token_with(&token).await), REFUSED);
    }
    assert_eq!(audited(&issuer, "token.issued").await.len(), 1);
    let _ = issuer
        .token_with(&agent.assertion().build())
        .await
        .assert_issued();
}

#[tokio::test]
async fn ca_047_an_assertion_needs_the_one_type_once() {
    let (issuer, agent) = mailer().await;
    let assertion = agent.assertion().build();
    const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    const SAML: &str = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer";
    let mut answers = Answers::default();
    for (case, form) in [
        ("no type", vec![("client_assertion", assertion.as_str())]),
        (
            "the SAML type",
            vec![
                ("client_assertion_type", SAML),
                ("client_assertion", &assertion),
            ],
        ),
        (
            "an empty type",
            vec![
                ("client_assertion_type", ""),
                ("client_assertion", &assertion),
            ],
        ),
        (
            "the type twice",
            vec![
                ("client_assertion_type", TYPE),
                ("client_assertion_type", TYPE),
                ("client_assertion", &assertion),
            ],
        ),
        (
            "the assertion twice",
            vec![
                ("client_assertion_type", TYPE),
                ("client_assertion", &assertion),
                ("client_assertion", &assertion),
            ],
        ),
        ("no assertion", vec![("client_assertion_type", TYPE)]),
        (
            "the type in capitals",
            vec![
                (
                    "client_assertion_type",
                    "URN:IETF:PARAMS:OAUTH:CLIENT-ASSERTION-TYPE:JWT-BEARER",
                ),
                ("client_assertion", &assertion),
            ],
        ),
    ] {
        let form = [vec![("grant_type", "client_credentials")], form].concat();
        answers.add(case, &issuer, &refusal(&issuer.token(&form).await));
    }
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(answers, @r#"
    no type: 400 {"error":"invalid_request","error_description":"`client_assertion_type` must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer, or urn:ietf:params:oauth:client-assertion-type:jwt-spiffe for a JWT-SVID"}
    the SAML type: 400 {"error":"invalid_request","error_description":"`client_assertion_type` must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer, or urn:ietf:params:oauth:client-assertion-type:jwt-spiffe for a JWT-SVID"}
    an empty type: 400 {"error":"invalid_request","error_description":"`client_assertion_type` must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer, or urn:ietf:params:oauth:client-assertion-type:jwt-spiffe for a JWT-SVID"}
    the type twice: 400 {"error":"invalid_request","error_description":"a parameter is repeated"}
    the assertion twice: 400 {"error":"invalid_request","error_description":"a parameter is repeated"}
    no assertion: 400 {"error":"invalid_request","error_description":"`client_assertion` is required"}
    the type in capitals: 400 {"error":"invalid_request","error_description":"`client_assertion_type` must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer, or urn:ietf:params:oauth:client-assertion-type:jwt-spiffe for a JWT-SVID"}
    "#);
    // None of these used the assertion up.
    let _ = issuer.token_with(&assertion).await.assert_issued();
}

#[tokio::test]
async fn ca_048_a_client_id_beside_the_assertion_must_be_the_same() {
    let (issuer, agent) = mailer().await;
    issuer.agent("other").role("mailer").with_secret().await;
    let ask = async |client_id: &str| {
        let assertion = agent.assertion().build();
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", client_id),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &assertion),
        ];
        issuer.token(&form).await
    };
    for client_id in ["other", "nobody", "MAILER", "agent:mailer"] {
        assert_eq!(refusal(&ask(client_id).await), REFUSED, "{client_id}");
    }
    assert_tokens_issued(&issuer, 0).await;
    let _ = ask("mailer").await.assert_issued();
}

#[tokio::test]
async fn ca_049_a_suspended_agent_or_a_revoked_key_proves_nothing_at_once() {
    let (issuer, agent) = mailer().await;
    let system = Caller::system();
    let _ = issuer
        .token_with(&agent.assertion().build())
        .await
        .assert_issued();

    issuer
        .issuer()
        .suspend_agent(&system, "mailer", None)
        .await
        .unwrap();
    let unused = agent.assertion().build();
    assert_eq!(refusal(&issuer.token_with(&unused).await), REFUSED);
    issuer
        .issuer()
        .resume_agent(&system, "mailer", None)
        .await
        .unwrap();
    // A refusal does not use an assertion up.
    let _ = issuer.token_with(&unused).await.assert_issued();

    let key = issuer
        .issuer()
        .credentials("mailer")
        .await
        .unwrap()
        .remove(0);
    issuer
        .issuer()
        .revoke_credential(&system, "mailer", key.id.as_str(), None)
        .await
        .unwrap();
    assert_eq!(
        refusal(&issuer.token_with(&agent.assertion().build()).await),
        REFUSED
    );
    assert_tokens_issued(&issuer, 2).await;
}

#[tokio::test]
async fn a_scope_that_is_refused_does_not_use_the_assertion_up() {
    let (issuer, agent) = mailer().await;
    let assertion = agent.assertion().build();
    let form = [
        ("grant_type", "client_credentials"),
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", &assertion),
        ("scope", "admin"),
    ];
    assert_snapshot!(refusal(&issuer.token(&form).await), @r#"400 {"error":"invalid_scope","error_description":"not granted for https://mail.example: admin; granted: read send"}"#);
    let _ = issuer.token_with(&assertion).await.assert_issued();
}
