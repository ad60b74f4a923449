//! Bad inputs that any noun may get.

use firman::testing::TestKey;

use super::*;

fn new_agent(name: &str) -> Value {
    json!({ "name": name, "owner": "team" })
}

#[tokio::test]
async fn ad_010_and_011_names_that_deceive_are_refused() {
    let issuer = TestIssuer::start().await;
    for name in [
        "agent-é",
        "agent-e\u{301}",
        "Agent",
        "a\u{202e}b",
        "a\u{200b}b",
        "a\u{7}b",
        "",
        &"a".repeat(10_000),
    ] {
        let answer = post(&issuer, "/agents", new_agent(name)).await;
        assert_eq!(
            kind_of(&answer),
            (400, "invalid".to_owned()),
            "{name:?}: {answer}"
        );
        assert_eq!(answer.json()["field"], "name");
    }
    assert_eq!(
        get(&issuer, "/agents").await.json(),
        json!({ "items": [], "next_cursor": null })
    );
}

#[tokio::test]
async fn ad_012_members_that_are_not_a_callers_to_set_are_refused() {
    let issuer = TestIssuer::start().await;
    for member in [
        "id",
        "created_at",
        "version",
        "status",
        "secret_hash",
        "is_admin",
        "client_secret",
    ] {
        let mut body = new_agent("x");
        body[member] = json!("x");
        let answer = post(&issuer, "/agents", body).await;
        assert_eq!(
            kind_of(&answer),
            (400, "invalid".to_owned()),
            "{member}: {answer}"
        );
        let detail = answer.json()["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(
            detail.contains(&format!("unknown field `{member}`")),
            "{detail}"
        );
    }
    assert_eq!(get(&issuer, "/agents").await.json()["items"], json!([]));
}

#[tokio::test]
async fn ad_013_json_that_two_parsers_read_differently_or_that_is_too_much_is_refused() {
    let issuer = TestIssuer::start().await;
    let authorization = format!("Bearer {}", issuer.admin_token());
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let deep = format!(
        r#"{{"name":"x","owner":"x","attributes":{}1{}}}"#,
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    for (body, detail) in [
        (
            r#"{"name":"a","owner":"x","name":"b"}"#,
            "the body has a member twice",
        ),
        (
            r#"{"name":"a","owner":"x","attributes":{"t":"1","t":"2"}}"#,
            "the body has a member twice",
        ),
        (deep.as_str(), "the body is nested deeper than 16 levels"),
        ("[]", "the body is not a JSON object"),
        ("", "the body is not valid JSON"),
        (
            r#"{"name":"a","owner":"x"} x"#,
            "the body is not valid JSON",
        ),
        (
            r#"{"name":"a","owner":"\ud800"}"#,
            "the body is not valid JSON",
        ),
        (r#"{"name":"a"}"#, "the body has missing field `owner`"),
    ] {
        let answer = issuer
            .admin_raw(Method::POST, "/agents", &headers, body)
            .await;
        assert_problem(&answer, 400, "invalid", detail);
    }
    let large = issuer
        .admin_raw(Method::POST, "/agents", &headers, vec![b' '; 70_000])
        .await;
    assert_problem(
        &large,
        413,
        "too_large",
        "the request body must be at most 65536 bytes long",
    );
    assert_eq!(get(&issuer, "/agents").await.json()["items"], json!([]));
}

#[tokio::test]
async fn ad_014_a_life_in_seconds_is_a_bounded_integer() {
    let issuer = TestIssuer::start().await;
    let authorization = format!("Bearer {}", issuer.admin_token());
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    for seconds in [
        "-1",
        "0",
        "315360001",
        "9223372036854775807",
        "9223372036854775808",
        "1e999",
        "0.5",
        "\"60\"",
        "NaN",
        "1e2",
        "true",
    ] {
        let body = format!(r#"{{"name":"x","owner":"x","expires_in":{seconds}}}"#);
        let answer = issuer
            .admin_raw(Method::POST, "/agents", &headers, body)
            .await;
        assert_eq!(
            kind_of(&answer),
            (400, "invalid".to_owned()),
            "{seconds}: {answer}"
        );
        let body =
            format!(r#"{{"name":"x","identifier":"https://x.example","lifetime":{seconds}}}"#);
        let answer = issuer
            .admin_raw(Method::POST, "/resources", &headers, body)
            .await;
        assert_eq!(
            kind_of(&answer),
            (400, "invalid".to_owned()),
            "{seconds}: {answer}"
        );
    }
    let body = r#"{"name":"x","owner":"x","expires_in":"60"}"#;
    let answer = issuer
        .admin_raw(Method::POST, "/agents", &headers, body)
        .await;
    assert_problem(
        &answer,
        400,
        "invalid",
        "expires_in: must be an integer of at most 63 bits",
    );
    assert_eq!(get(&issuer, "/agents").await.json()["items"], json!([]));
}

#[tokio::test]
async fn ad_015_pages_are_bounded_and_cursors_belong_to_their_list() {
    let issuer = TestIssuer::start().await;
    for n in 0..5 {
        assert_eq!(
            post(&issuer, "/agents", new_agent(&format!("a{n}")))
                .await
                .status,
            201
        );
    }
    let mut names = Vec::new();
    let mut path = "/agents?limit=2".to_owned();
    let cursor = loop {
        let page = get(&issuer, &path).await.json();
        names.extend(
            page["items"]
                .as_array()
                .unwrap()
                .iter()
                .map(|agent| agent["name"].as_str().unwrap().to_owned()),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/agents?limit=2&cursor={cursor}"),
            None => break path.rsplit_once('=').unwrap().1.to_owned(),
        }
    };
    assert_eq!(names, ["a0", "a1", "a2", "a3", "a4"]);

    let forged = "cursor: is not a cursor of this list\nhint: send `next_cursor` unchanged, or omit `cursor` to start again";
    assert_problem(
        &get(&issuer, &format!("/groups?cursor={cursor}")).await,
        400,
        "invalid",
        forged,
    );
    assert_problem(
        &get(&issuer, &format!("/audit?cursor={cursor}")).await,
        400,
        "invalid",
        forged,
    );
    let audit = get(&issuer, "/audit?limit=1").await.json()["next_cursor"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_problem(
        &get(&issuer, &format!("/agents?cursor={audit}")).await,
        400,
        "invalid",
        forged,
    );
    // "agents:' OR 1=1", "agents:", not base64url, too long
    for cursor in [
        "YWdlbnRzOicgT1IgMT0x",
        "YWdlbnRzOg",
        "!!",
        "%00",
        "",
        &"A".repeat(300),
    ] {
        assert_problem(
            &get(&issuer, &format!("/agents?cursor={cursor}")).await,
            400,
            "invalid",
            forged,
        );
    }
}

#[tokio::test]
async fn ad_015_a_page_of_no_or_too_many_items_is_refused() {
    let issuer = TestIssuer::start().await;
    for limit in ["0", "-1", "201", "1000000000"] {
        assert_problem(
            &get(&issuer, &format!("/agents?limit={limit}")).await,
            400,
            "invalid",
            "limit: must be 1 to 200",
        );
    }
    for query in [
        "limit=x",
        "limit=99999999999999999999",
        "limit=1&limit=2",
        "page=-1",
        "page_size=10",
    ] {
        assert_eq!(
            kind_of(&get(&issuer, &format!("/agents?{query}")).await),
            (400, "invalid".to_owned()),
            "{query}"
        );
    }
}

#[tokio::test]
async fn ad_016_sql_in_a_query_is_refused() {
    let issuer = TestIssuer::start().await;
    for query in [
        "sort=name%3BDROP%20TABLE%20agents",
        "filter=%27%20OR%201%3D1",
        "search=%27%20OR%201%3D1",
        "search=%25",
        "search=_",
        "search=%00",
    ] {
        assert_eq!(
            kind_of(&get(&issuer, &format!("/agents?{query}")).await),
            (400, "invalid".to_owned()),
            "{query}"
        );
    }
    assert_problem(
        &get(&issuer, "/agents?group=nobody").await,
        400,
        "invalid",
        "group: group `nobody` not found\nhint: firman group list",
    );
    assert_problem(
        &get(&issuer, "/agents?status=on").await,
        400,
        "invalid",
        "status: must be `active`, `suspended` or `removed`",
    );
    assert_eq!(get(&issuer, "/agents").await.status, 200);
}

#[tokio::test]
async fn ad_017_odd_paths_lead_nowhere() {
    let issuer = TestIssuer::start().await;
    let long = format!("/agents/{}", "a".repeat(8192));
    let names = [
        "/agents/..%2f..%2fkeys",
        "/agents/%00",
        "/agents/%ff",
        "/agents/a%0d%0ab",
        "/agents/A",
        &long,
        "/groups/%27",
        "/roles/%2e%2e%2fx",
        "/resources/%00",
    ];
    for path in names {
        assert_eq!(
            kind_of(&get(&issuer, path).await),
            (404, "not_found".to_owned()),
            "{path}"
        );
    }
    let nowhere = "not found\nhint: see the paths at `/admin/v1/openapi.json`";
    for path in ["/", "/agents/", "/nothing", "/agents/a/b/c", "//agents"] {
        assert_problem(&get(&issuer, path).await, 404, "not_found", nowhere);
    }
    assert_eq!(
        call(&issuer, Method::POST, "/keys/%00/revoke").await.status,
        415
    );
    let reason = json!({ "reason": "x" });
    for kid in ["%00", "x", "..%2f"] {
        assert_eq!(
            kind_of(&post(&issuer, &format!("/keys/{kid}/revoke"), reason.clone()).await),
            (404, "not_found".to_owned()),
            "{kid}"
        );
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_accept_gets_the_allowed_methods() {
    let issuer = TestIssuer::start().await;
    let answer = call(&issuer, Method::PUT, "/agents/mailer").await;
    assert_problem(
        &answer,
        405,
        "method_not_allowed",
        "this path does not accept this method\nhint: use a method of the `Allow` header",
    );
    let mut allowed: Vec<&str> = answer.header("allow").split(',').map(str::trim).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["DELETE", "GET", "HEAD", "PATCH"]);
}

/// A public key that is good but for its `kid`.
fn key_with_kid(kid: &str) -> Value {
    let mut jwk = TestKey::Es256.signing_key().public_jwk().to_value();
    jwk["kid"] = json!(kid);
    jwk
}

#[tokio::test]
async fn ad_018_nul_and_formatting_characters_are_refused_in_every_text() {
    let issuer = TestIssuer::start().await;
    for bad in ["a\0b", "a\u{202e}b", "a\nb", "\u{1b}[31m"] {
        for (path, body) in [
            ("/agents", json!({ "name": "x", "owner": bad })),
            (
                "/agents",
                json!({ "name": "x", "owner": "x", "description": bad }),
            ),
            (
                "/agents",
                json!({ "name": "x", "owner": "x", "subject": bad }),
            ),
            (
                "/agents",
                json!({ "name": "x", "owner": "x", "attributes": { "team": bad } }),
            ),
            (
                "/agents",
                json!({ "name": "x", "owner": "x", "attributes": { bad: "x" } }),
            ),
            (
                "/agents",
                json!({ "name": "x", "owner": "x", "groups": [bad] }),
            ),
            (
                "/agents",
                json!({ "name": "x", "owner": "x", "roles": [bad] }),
            ),
            (
                "/agents",
                json!({ "name": "x", "owner": "x", "credential": { "kind": "public_key", "jwk": key_with_kid(bad) } }),
            ),
            ("/groups", json!({ "name": "x", "description": bad })),
            ("/roles", json!({ "name": "x", "description": bad })),
            (
                "/roles",
                json!({ "name": "x", "grants": [{ "resource": bad }] }),
            ),
            ("/resources", json!({ "name": "x", "identifier": bad })),
            (
                "/resources",
                json!({ "name": "x", "identifier": "https://x.example", "scopes": [bad] }),
            ),
            (
                "/resources",
                json!({ "name": "x", "identifier": "https://x.example", "profile": bad }),
            ),
        ] {
            let answer = post(&issuer, path, body.clone()).await;
            assert_eq!(
                kind_of(&answer),
                (400, "invalid".to_owned()),
                "{body}: {answer}"
            );
            assert!(
                !answer.text().contains("DROP") && !answer.text().contains("\\u0000"),
                "{answer}"
            );
        }
    }
    for query in ["token_id=%00", "actor=%00", "event=%00", "agent=%00"] {
        let answer = get(&issuer, &format!("/audit?{query}")).await;
        assert!(
            answer.status == 400 || answer.status == 404,
            "{query}: {answer}"
        );
    }
}

#[tokio::test]
async fn ad_023_a_body_that_is_not_said_to_be_json_is_refused() {
    let issuer = TestIssuer::start().await;
    let authorization = format!("Bearer {}", issuer.admin_token());
    let body = new_agent("x").to_string();
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/jsonx",
        "",
    ] {
        let headers = [
            ("authorization", authorization.as_str()),
            ("content-type", content_type),
        ];
        let answer = issuer
            .admin_raw(Method::POST, "/agents", &headers, body.clone())
            .await;
        assert_problem(
            &answer,
            415,
            "unsupported_media_type",
            "the `Content-Type` of the body must be `application/json`",
        );
    }
    let answer = issuer
        .admin_raw(
            Method::POST,
            "/agents",
            &[("authorization", &authorization)],
            body.clone(),
        )
        .await;
    assert_eq!(kind_of(&answer), (415, "unsupported_media_type".to_owned()));
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "Application/JSON; charset=UTF-8"),
    ];
    assert_eq!(
        issuer
            .admin_raw(Method::POST, "/agents", &headers, body)
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn ad_024_a_method_is_not_overridden_by_a_header() {
    let issuer = TestIssuer::start().await;
    issuer.agent("mailer").with_secret().await;
    let authorization = format!("Bearer {}", issuer.admin_token());
    let headers = [
        ("authorization", authorization.as_str()),
        ("x-http-method-override", "DELETE"),
        ("x-method-override", "DELETE"),
    ];
    let answer = call_with(&issuer, (Method::GET, "/agents/mailer"), &headers, None).await;
    assert_eq!(
        (answer.status, answer.json()["status"].clone()),
        (200, json!("active"))
    );
    assert_eq!(
        get(&issuer, "/agents/mailer").await.json()["status"],
        "active"
    );
}

#[tokio::test]
async fn what_is_not_found_is_repeated_without_what_deceives_a_reader() {
    let issuer = TestIssuer::start().await;
    for path in [
        "/agents/%E2%80%AEx%1B%5B",
        "/groups/%E2%80%AEx%1B%5B",
        "/agents?group=%E2%80%AEx",
    ] {
        let answer = get(&issuer, path).await;
        assert!(answer.text().is_ascii(), "{path}: {answer}");
    }
    assert_problem(
        &get(&issuer, "/agents/%E2%80%AEx%1B%5B").await,
        404,
        "not_found",
        "agent `x[` not found",
    );
}
