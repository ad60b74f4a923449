//! `/oauth2/authorize`: the authorization-code grant is not supported, and the endpoint says so.

use firman::testing::TestIssuer;
use insta::assert_snapshot;
use reqwest::Method;

use super::*;

#[tokio::test]
async fn the_authorization_endpoint_answers_any_request_with_one_page_and_never_redirects() {
    let issuer = TestIssuer::start().await;
    let metadata = issuer.get("/.well-known/openid-configuration").await.json();
    let endpoint = metadata["authorization_endpoint"].as_str().unwrap();
    let path = endpoint.strip_prefix(&issuer.url).unwrap();
    assert_eq!(path, "/oauth2/authorize");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let json = [("content-type", "application/json")];
    let request = "response_type=code&client_id=mailer&redirect_uri=https%3A%2F%2Fevil.example%2F&state=%3Cscript%3E";
    let mut seen = Distinct::default();
    for (method, path, headers, body) in [
        (Method::GET, path.to_owned(), &[][..], ""),
        (Method::GET, format!("{path}?{request}"), &[], ""),
        (Method::GET, format!("{path}?%zz=%ff&&=&a"), &[], ""),
        (
            Method::GET,
            format!("{path}?prompt=none&response_mode=form_post&{request}"),
            &[],
            "",
        ),
        (Method::POST, path.to_owned(), &form, request),
        (Method::POST, path.to_owned(), &form, "%zz"),
        (Method::POST, path.to_owned(), &json, "{"),
        (Method::PUT, path.to_owned(), &[], "<script>"),
        (Method::DELETE, path.to_owned(), &[], ""),
        (Method::OPTIONS, path.to_owned(), &[], ""),
    ] {
        let answer = issuer.send(method.clone(), &path, headers, body).await;
        let names = [
            "content-type",
            "cache-control",
            "content-security-policy",
            "referrer-policy",
            "x-content-type-options",
            "location",
        ];
        assert_eq!(
            names.map(|name| answer.header(name)),
            [
                "text/plain; charset=utf-8",
                "no-store",
                "default-src 'none'; frame-ancestors 'none'",
                "no-referrer",
                "nosniff",
                ""
            ],
            "{method} {path}"
        );
        seen.add(answer.to_string().replace(&issuer.url, "ISSUER"));
    }
    assert_snapshot!(seen, @"
    400 error: unsupported_response_type
    error_description: this issuer has no authorization-code grant

    Agents request tokens at ISSUER/oauth2/token
    ");
    let head = issuer.send(Method::HEAD, path, &[], "").await;
    assert_eq!((head.status, head.text().as_str()), (400, ""));
}
