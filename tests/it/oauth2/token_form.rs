//! TE-001 to TE-006, TE-010, TE-025 to TE-036, TE-041: the form, its encoding and its bounds.

use firman::testing::{TestAgent, TestIssuer};
use insta::assert_snapshot;
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

async fn mailer() -> (TestIssuer, TestAgent) {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    (issuer, agent)
}

/// The answers to bodies that a right Authorization header goes with.
async fn refusals_of_bodies(bodies: &[&str]) -> Answers {
    let (issuer, agent) = mailer().await;
    let authorization = basic("mailer", agent.secret());
    let mut answers = Answers::default();
    for body in bodies {
        let headers = [FORM, ("authorization", authorization.as_str())];
        let answer = post_raw(&issuer, &headers, body).await;
        answers.add(body, &issuer, &refusal(&answer));
    }
    assert_tokens_issued(&issuer, 0).await;
    let headers = [FORM, ("authorization", authorization.as_str())];
    let control = post_raw(&issuer, &headers, "grant_type=client_credentials").await;
    let _ = control.assert_issued();
    answers
}

#[tokio::test]
async fn te_001_an_empty_body_is_an_invalid_request() {
    let (issuer, agent) = mailer().await;
    let mut answers = Answers::default();
    let authorization = basic("mailer", agent.secret());
    for (case, headers) in [
        ("a form", vec![FORM]),
        ("no media type", vec![]),
        (
            "a form and a right secret",
            vec![FORM, ("authorization", authorization.as_str())],
        ),
    ] {
        let answer = post_raw(&issuer, &headers, "").await;
        answers.add(case, &issuer, &refusal(&answer));
    }
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(answers, @r#"
a form: 400 {"error":"invalid_request","error_description":"`grant_type` is required"}
no media type: 400 {"error":"invalid_request","error_description":"`Content-Type` must be `application/x-www-form-urlencoded`"}
a form and a right secret: 400 {"error":"invalid_request","error_description":"`grant_type` is required"}
"#);
}

#[tokio::test]
async fn te_002_and_003_a_grant_type_that_is_missing_or_empty_is_an_invalid_request() {
    let answers = refusals_of_bodies(&[
        "",
        "scope=read",
        "grant_type=",
        "grant_type",
        "grant_type=&scope=read",
        "&&&",
        "=client_credentials",
        "Grant_Type=client_credentials",
    ])
    .await;
    assert_snapshot!(answers, @r#"
: 400 {"error":"invalid_request","error_description":"`grant_type` is required"}
scope=read: 400 {"error":"invalid_request","error_description":"`grant_type` is required"}
grant_type=: 400 {"error":"invalid_request","error_description":"`grant_type` is required"}
grant_type: 400 {"error":"invalid_request","error_description":"`grant_type` is required"}
grant_type=&scope=read: 400 {"error":"invalid_request","error_description":"`grant_type` is required"}
&&&: 400 {"error":"invalid_request","error_description":"`grant_type` is required"}
=client_credentials: 400 {"error":"invalid_request","error_description":"`grant_type` is required"}
Grant_Type=client_credentials: 400 {"error":"invalid_request","error_description":"`grant_type` is required"}
"#);
}

#[tokio::test]
async fn te_004_a_grant_type_that_is_not_ours_is_unsupported() {
    let answers = refusals_of_bodies(&[
        "grant_type=foo",
        "grant_type=password&username=a&password=b",
        "grant_type=authorization_code&code=x",
        "grant_type=client_credentials%20",
        "grant_type=CLIENT_CREDENTIALS",
        "grant_type=%3Cscript%3E",
    ])
    .await;
    assert_snapshot!(answers, @r#"
    grant_type=foo: 400 {"error":"unsupported_grant_type","error_description":"`grant_type` must be one of: client_credentials urn:ietf:params:oauth:grant-type:token-exchange"}
    grant_type=password&username=a&password=b: 400 {"error":"unsupported_grant_type","error_description":"`grant_type` must be one of: client_credentials urn:ietf:params:oauth:grant-type:token-exchange"}
    grant_type=authorization_code&code=x: 400 {"error":"unsupported_grant_type","error_description":"`grant_type` must be one of: client_credentials urn:ietf:params:oauth:grant-type:token-exchange"}
    grant_type=client_credentials%20: 400 {"error":"unsupported_grant_type","error_description":"`grant_type` must be one of: client_credentials urn:ietf:params:oauth:grant-type:token-exchange"}
    grant_type=CLIENT_CREDENTIALS: 400 {"error":"unsupported_grant_type","error_description":"`grant_type` must be one of: client_credentials urn:ietf:params:oauth:grant-type:token-exchange"}
    grant_type=%3Cscript%3E: 400 {"error":"unsupported_grant_type","error_description":"`grant_type` must be one of: client_credentials urn:ietf:params:oauth:grant-type:token-exchange"}
    "#);
}

#[tokio::test]
async fn te_005_a_repeated_grant_type_is_refused_whatever_the_values() {
    let answers = refusals_of_bodies(&[
        "grant_type=client_credentials&grant_type=client_credentials",
        "grant_type=client_credentials&grant_type=foo",
        "grant_type=foo&grant_type=client_credentials",
        "grant_type=client_credentials&grant_type=",
        "grant_type=&grant_type=client_credentials",
        "grant_type=client_credentials&grant%5Ftype=client_credentials",
    ])
    .await;
    assert_snapshot!(answers, @r#"
grant_type=client_credentials&grant_type=client_credentials: 400 {"error":"invalid_request","error_description":"a parameter is repeated"}
grant_type=client_credentials&grant_type=foo: 400 {"error":"invalid_request","error_description":"a parameter is repeated"}
grant_type=foo&grant_type=client_credentials: 400 {"error":"invalid_request","error_description":"a parameter is repeated"}
grant_type=client_credentials&grant_type=: 400 {"error":"invalid_request","error_description":"a parameter is repeated"}
grant_type=&grant_type=client_credentials: 400 {"error":"invalid_request","error_description":"a parameter is repeated"}
grant_type=client_credentials&grant%5Ftype=client_credentials: 400 {"error":"invalid_request","error_description":"a parameter is repeated"}
"#);
}

#[tokio::test]
async fn te_006_a_repeated_client_id_or_secret_is_refused_whichever_comes_first() {
    let (issuer, agent) = mailer().await;
    let secret = agent.secret();
    let mut seen = Distinct::default();
    for credentials in [
        format!("client_id=mailer&client_id=other&client_secret={secret}"),
        format!("client_id=other&client_id=mailer&client_secret={secret}"),
        format!("client_id=mailer&client_id=mailer&client_secret={secret}"),
        format!("client_id=mailer&client_secret={secret}&client_secret=wrong"),
        format!("client_id=mailer&client_secret=wrong&client_secret={secret}"),
        format!("client_id=mailer&client_secret={secret}&client_secret={secret}"),
    ] {
        let body = format!("grant_type=client_credentials&{credentials}");
        let answer = post_raw(&issuer, &[FORM], &body).await;
        seen.add(refusal(&answer));
    }
    assert_snapshot!(seen, @r#"400 {"error":"invalid_request","error_description":"a parameter is repeated"}"#);
    assert_tokens_issued(&issuer, 0).await;
    let _ = by_post(&issuer, "mailer", secret).await.assert_issued();
}

#[tokio::test]
async fn te_010_two_ways_of_authenticating_at_once_are_refused_even_if_both_are_right() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let signer = issuer
        .agent("signer")
        .role("mailer")
        .with_public_key(firman::testing::TestKey::Es256)
        .await;
    let secret = agent.secret();
    let assertion = signer.assertion().build();
    let with_assertion = [
        (
            "client_assertion_type",
            "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        ),
        ("client_assertion", assertion.as_str()),
    ];
    let post = [("client_id", "mailer"), ("client_secret", secret)];
    let mut answers = Answers::default();

    let answer = by_basic(&issuer, "mailer", secret, &post).await;
    answers.add("basic and post", &issuer, &refusal(&answer));
    let answer = by_basic(&issuer, "mailer", secret, &with_assertion).await;
    answers.add("basic and assertion", &issuer, &refusal(&answer));
    let form = [
        &[("grant_type", "client_credentials")],
        &post[..],
        &with_assertion[..],
    ]
    .concat();
    answers.add(
        "post and assertion",
        &issuer,
        &refusal(&issuer.token(&form).await),
    );

    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(answers, @r#"
basic and post: 400 {"error":"invalid_request","error_description":"the client must authenticate in exactly one way"}
basic and assertion: 400 {"error":"invalid_request","error_description":"the client must authenticate in exactly one way"}
post and assertion: 400 {"error":"invalid_request","error_description":"the client must authenticate in exactly one way"}
"#);
    let _ = issuer.token_with(&assertion).await.assert_issued();
}

#[tokio::test]
async fn te_018_a_basic_value_or_a_form_with_broken_encoding_is_refused() {
    let (issuer, agent) = mailer().await;
    let body = "grant_type=client_credentials";
    let mut answers = Answers::default();
    for (case, value) in [
        ("%zz", basic("mailer", "%zz")),
        ("cut escape", basic("mailer", "%4")),
        ("not UTF-8 once decoded", basic("mailer", "%ff")),
        (
            "not UTF-8",
            format!("Basic {}", STANDARD.encode(b"mailer:\xff\xfe")),
        ),
        ("no colon", format!("Basic {}", STANDARD.encode("mailer"))),
        ("not base64", "Basic !!!".to_owned()),
        ("no value", "Basic".to_owned()),
        ("another scheme", "Bearer abc".to_owned()),
        ("empty halves", format!("Basic {}", STANDARD.encode(":"))),
    ] {
        let answer = post_raw(&issuer, &[FORM, ("authorization", &value)], body).await;
        assert_eq!(
            answer.header("www-authenticate"),
            r#"Basic realm="firman", charset="UTF-8""#
        );
        answers.add(case, &issuer, &refusal(&answer));
    }
    let right = basic("mailer", agent.secret());
    let twice = [
        FORM,
        ("authorization", right.as_str()),
        ("authorization", right.as_str()),
    ];
    answers.add(
        "two headers",
        &issuer,
        &refusal(&post_raw(&issuer, &twice, body).await),
    );
    for form in [
        "grant_type=client_credentials&scope=%zz",
        "grant_type=client_credentials&x=%ff",
        "%=1",
    ] {
        let answer = post_raw(&issuer, &[FORM, ("authorization", &right)], form).await;
        answers.add(form, &issuer, &refusal(&answer));
    }
    assert_tokens_issued(&issuer, 0).await;
    assert_snapshot!(answers, @r#"
%zz: 401 {"error":"invalid_client","error_description":"client authentication failed"}
cut escape: 401 {"error":"invalid_client","error_description":"client authentication failed"}
not UTF-8 once decoded: 401 {"error":"invalid_client","error_description":"client authentication failed"}
not UTF-8: 401 {"error":"invalid_client","error_description":"client authentication failed"}
no colon: 401 {"error":"invalid_client","error_description":"client authentication failed"}
not base64: 401 {"error":"invalid_client","error_description":"client authentication failed"}
no value: 401 {"error":"invalid_client","error_description":"client authentication failed"}
another scheme: 401 {"error":"invalid_client","error_description":"client authentication failed"}
empty halves: 401 {"error":"invalid_client","error_description":"client authentication failed"}
two headers: 400 {"error":"invalid_request","error_description":"more than one `Authorization` header"}
grant_type=client_credentials&scope=%zz: 400 {"error":"invalid_request","error_description":"a parameter is not percent-encoded UTF-8"}
grant_type=client_credentials&x=%ff: 400 {"error":"invalid_request","error_description":"a parameter is not percent-encoded UTF-8"}
%=1: 400 {"error":"invalid_request","error_description":"a parameter is not percent-encoded UTF-8"}
"#);
}

#[tokio::test]
async fn te_025_an_unknown_parameter_is_ignored_and_not_echoed() {
    let (issuer, agent) = mailer().await;
    let unknown = [
        ("audit", "<script>alert(1)</script>"),
        ("code", "x"),
        ("é", "ü"),
        ("empty", ""),
    ];
    let answer = by_basic(&issuer, "mailer", agent.secret(), &unknown).await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
}

#[tokio::test]
async fn te_027_every_method_but_post_gets_405_and_no_token() {
    let (issuer, agent) = mailer().await;
    let path = format!(
        "/oauth2/token?grant_type=client_credentials&client_id=mailer&client_secret={}",
        agent.secret()
    );
    let authorization = basic("mailer", agent.secret());
    let mut seen = Distinct::default();
    for method in [
        Method::GET,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
        Method::OPTIONS,
    ] {
        let headers = [FORM, ("authorization", authorization.as_str())];
        let answer = issuer.send(method, &path, &headers, "").await;
        assert_eq!(answer.header("allow"), "POST");
        seen.add(refusal(&answer));
    }
    assert_snapshot!(seen, @r#"405 {"error":"invalid_request","error_description":"the token endpoint accepts only POST"}"#);
    let head = issuer
        .send(
            Method::HEAD,
            &path,
            &[("authorization", &authorization)],
            "",
        )
        .await;
    assert_eq!(
        (head.status, head.header("allow"), head.text().as_str()),
        (405, "POST", "")
    );
    // The query is not read: it would end up in logs.
    let answer = issuer
        .send(
            Method::POST,
            &path,
            &[FORM],
            "grant_type=client_credentials",
        )
        .await;
    assert_eq!(refusal(&answer), REFUSED);
    assert_tokens_issued(&issuer, 0).await;
}

#[tokio::test]
async fn te_028_a_preflight_from_a_foreign_origin_gets_nothing() {
    let (issuer, agent) = mailer().await;
    let preflight = [
        ("origin", "https://evil.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization"),
    ];
    let answer = issuer
        .send(Method::OPTIONS, "/oauth2/token", &preflight, "")
        .await;
    assert_snapshot!(refusal(&answer), @r#"405 {"error":"invalid_request","error_description":"the token endpoint accepts only POST"}"#);

    let authorization = basic("mailer", agent.secret());
    let headers = [
        ("origin", "https://evil.example"),
        ("authorization", authorization.as_str()),
    ];
    let answer = issuer
        .token_with_headers(&headers, &[("grant_type", "client_credentials")])
        .await;
    assert_snapshot!(granted(&answer), @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
}

#[tokio::test]
async fn te_029_another_media_type_than_a_form_is_refused() {
    let (issuer, agent) = mailer().await;
    let authorization = basic("mailer", agent.secret());
    let form = "grant_type=client_credentials";
    let mut seen = Distinct::default();
    for (media_type, body) in [
        (
            Some("application/json"),
            r#"{"grant_type":"client_credentials"}"#,
        ),
        (Some("application/json"), form),
        (
            Some("multipart/form-data; boundary=x"),
            "--x\r\nContent-Disposition: form-data; name=\"grant_type\"\r\n\r\nclient_credentials\r\n--x--\r\n",
        ),
        (Some("text/plain"), form),
        (Some("application/x-www-form-urlencoded-not"), form),
        (Some(""), form),
        (None, form),
    ] {
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(media_type.map(|media_type| ("content-type", media_type)));
        let answer = post_raw(&issuer, &headers, body).await;
        seen.add(refusal(&answer));
    }
    assert_snapshot!(seen, @r#"400 {"error":"invalid_request","error_description":"`Content-Type` must be `application/x-www-form-urlencoded`"}"#);
    assert_tokens_issued(&issuer, 0).await;
}

#[tokio::test]
async fn te_030_a_charset_or_another_case_of_the_media_type_is_accepted() {
    let (issuer, agent) = mailer().await;
    let authorization = basic("mailer", agent.secret());
    let mut seen = Distinct::default();
    for media_type in [
        "application/x-www-form-urlencoded;charset=UTF-8",
        "application/x-www-form-urlencoded; charset=utf-8",
        "Application/X-WWW-Form-URLEncoded",
    ] {
        let headers = [
            ("content-type", media_type),
            ("authorization", authorization.as_str()),
        ];
        let answer = post_raw(&issuer, &headers, "grant_type=client_credentials").await;
        seen.add(granted(&answer));
    }
    assert_snapshot!(seen, @r#"200 {"access_token":"[token]","expires_in":900,"scope":"read send","token_type":"Bearer"}"#);
}

#[tokio::test]
async fn te_031_a_body_above_the_limit_is_refused_before_it_is_sent_and_the_connection_closed() {
    let (issuer, _) = mailer().await;
    let mut seen = Distinct::default();
    for length in [65_537_u64, 1 << 20, 1 << 30] {
        let address = issuer.url.strip_prefix("http://").unwrap();
        let mut connection = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "POST /oauth2/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        // A reset after the answer is an end like any other.
        let _ = tokio::time::timeout(DEADLINE, connection.read_to_end(&mut answer))
            .await
            .unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        for line in [
            "HTTP/1.1 413 Payload Too Large",
            "cache-control: no-store",
            "content-type: application/json",
            "x-content-type-options: nosniff",
            "connection: close",
        ] {
            assert!(head.lines().any(|found| found == line), "{line} in {head}");
        }
        seen.add(body);
    }
    assert_snapshot!(seen, @r#"{"error":"content_too_large","error_description":"the request body must be at most 65536 bytes long"}"#);
    // The limit itself is a form like any other.
    let body = format!(
        "grant_type=client_credentials&x={}",
        "y".repeat(65_536 - 32)
    );
    assert_eq!(body.len(), 65_536);
    assert_eq!(refusal(&post_raw(&issuer, &[FORM], &body).await), REFUSED);
}

#[tokio::test]
async fn te_033_and_036_what_would_be_sql_or_nul_is_an_unknown_client() {
    let (issuer, agent) = mailer().await;
    refuse_strange_client_ids(&issuer).await;
    let _ = by_basic(&issuer, "mailer", agent.secret(), &[])
        .await
        .assert_issued();
}

#[tokio::test]
async fn te_033_and_036_postgresql_too_takes_sql_and_nul_for_an_unknown_client() {
    let issuer = mail_issuer_on_postgres().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    refuse_strange_client_ids(&issuer).await;
    let nul_elsewhere = [("scope", "re\0ad"), ("resource", "https://mail.example\0")];
    let mut answers = Answers::default();
    for (name, value) in nul_elsewhere {
        let answer = by_basic(&issuer, "mailer", agent.secret(), &[(name, value)]).await;
        answers.add(name, &issuer, &refusal(&answer));
    }
    assert_snapshot!(answers, @r#"
scope: 400 {"error":"invalid_scope","error_description":"scope: contains a character that a scope name cannot have (RFC 6749 section 3.3: printable ASCII without space, double quote and backslash)"}
resource: 400 {"error":"invalid_target","error_description":"https://mail.example? is not granted to this agent; granted: https://mail.example"}
"#);
    let _ = by_basic(&issuer, "mailer", agent.secret(), &[])
        .await
        .assert_issued();
    // Refusals reach the audit with whatever the caller said.
    issuer.issuer().flush_refusals();
    audited_in_time(&issuer, "client.refused", STRANGE.len()).await;
    audited_in_time(&issuer, "token.refused", 1).await;
}

const STRANGE: [&str; 10] = [
    "' OR '1'='1",
    "x'; DROP TABLE agents;--",
    "%",
    "_",
    "mailer\0",
    "\0",
    "mailer'--",
    "mailer\u{0}\u{1}",
    "MAILER",
    "ma\u{ad}iler",
];

async fn refuse_strange_client_ids(issuer: &TestIssuer) {
    let well_formed = issuer.agent("other").with_secret().await;
    for client_id in STRANGE {
        let answer = by_post(issuer, client_id, well_formed.secret()).await;
        assert_eq!(refusal(&answer), REFUSED, "{client_id:?}");
    }
    assert_tokens_issued(issuer, 0).await;
}

#[tokio::test]
async fn te_034_control_characters_in_a_client_id_become_one_audit_entry_each_escaped() {
    let (issuer, _) = mailer().await;
    let forged = "mailer\r\n2027-01-15T08:00:00Z token.issued agent:mailer";
    let ids = [
        forged,
        "mailer\u{1b}[2J\u{1b}[31mred",
        "mailer\u{2028}next",
        "mail\u{202e}er",
        "mail\u{200b}er",
    ];
    for client_id in ids {
        assert_eq!(
            refusal(&by_post(&issuer, client_id, "wrong").await),
            REFUSED
        );
        assert_eq!(
            refusal(&by_post(&issuer, client_id, "wrong").await),
            REFUSED
        );
    }
    issuer.issuer().flush_refusals();
    let entries = audited_in_time(&issuer, "client.refused", ids.len()).await;
    let shown: Vec<String> = entries
        .iter()
        .map(|entry| {
            format!(
                "{} {} {} {}",
                entry.draft.actor, entry.draft.target, entry.draft.address, entry.draft.detail
            )
        })
        .collect();
    assert_snapshot!(shown.join("\n"), @r#"
unknown mail\u{200b}er 127.0.0.1 {"count":2,"reason":"no such client"}
unknown mail\u{202e}er 127.0.0.1 {"count":2,"reason":"no such client"}
unknown mailer\u{1b}[2J\u{1b}[31mred 127.0.0.1 {"count":2,"reason":"no such client"}
unknown mailer\u{2028}next 127.0.0.1 {"count":2,"reason":"no such client"}
unknown mailer\u{d}\u{a}2027-01-15T08:00:00Z token.issued agent:mailer 127.0.0.1 {"count":2,"reason":"no such client"}
"#);
}

#[tokio::test]
async fn te_041_every_answer_forbids_storing_and_sniffing() {
    let (issuer, agent) = mailer().await;
    let right = basic("mailer", agent.secret());
    let wrong = basic("mailer", "wrong");
    let good = "grant_type=client_credentials";
    let mut statuses = Vec::new();
    for (authorization, method, body) in [
        (&right, Method::POST, good),
        (&right, Method::POST, ""),
        (&right, Method::POST, "grant_type=foo"),
        (
            &right,
            Method::POST,
            "grant_type=client_credentials&scope=admin",
        ),
        (
            &right,
            Method::POST,
            "grant_type=client_credentials&resource=urn%3Ax",
        ),
        (
            &right,
            Method::POST,
            "grant_type=client_credentials&expires_in=0",
        ),
        (&wrong, Method::POST, good),
        (&right, Method::GET, good),
        (&right, Method::POST, &"x".repeat(70_000)),
    ] {
        let headers = [FORM, ("authorization", authorization.as_str())];
        let answer = issuer.send(method, "/oauth2/token", &headers, body).await;
        assert_endpoint_headers(&answer);
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [200, 400, 400, 400, 400, 400, 401, 405, 413]);
}
