//! What load balancers and orchestrators send to learn whether the process answers, as they send it.

use firman::testing::TestIssuer;

use super::*;

/// The status line of an answer.
async fn first_line(server: &TestServer, request: &str) -> String {
    let answer = server.exchange(request).await;
    answer.lines().next().unwrap_or("closed").to_owned()
}

fn address(url: &str) -> SocketAddr {
    let url = url::Url::parse(url).unwrap();
    format!("127.0.0.1:{}", url.port().unwrap())
        .parse()
        .unwrap()
}

#[tokio::test]
async fn http_1_0_without_a_host_gets_its_answer_on_the_public_listener() {
    let issuer = TestIssuer::start().await;
    let server = TestServer::at(address(&issuer.url));
    for path in [
        "/healthz",
        "/.well-known/openid-configuration",
        "/.well-known/oauth-authorization-server",
        "/oauth2/jwks",
        "/oauth2/revocations",
    ] {
        let old = server
            .exchange(format!("GET {path} HTTP/1.0\r\n\r\n"))
            .await;
        let new = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let new = server.exchange(new).await;
        let body = |answer: &str| answer.split_once("\n\n").unwrap().1.to_owned();
        assert!(old.starts_with("HTTP/1.0 200 OK\n"), "{path}: {old}");
        if path != "/oauth2/revocations" {
            // The list is signed anew for each reading.
            assert_eq!(body(&old), body(&new), "{path}");
        }
        let head = server
            .exchange(format!("HEAD {path} HTTP/1.0\r\n\r\n"))
            .await;
        assert!(head.starts_with("HTTP/1.0 200 OK\n"), "{path}: {head}");
        assert_eq!(body(&head), "", "{path}");
    }
}

/// The caller, its request, and the status line of the answer.
const CHECKS: &[(&str, &str, &str)] = &[
    (
        "HAProxy, option httpchk",
        "OPTIONS / HTTP/1.0\r\n\r\n",
        "HTTP/1.0 204 No Content",
    ),
    (
        "HAProxy, option httpchk /healthz",
        "OPTIONS /healthz HTTP/1.0\r\n\r\n",
        "HTTP/1.0 204 No Content",
    ),
    (
        "HAProxy, http-check send",
        "GET /healthz HTTP/1.1\r\nHost: firman\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK",
    ),
    (
        "the server as a whole",
        "OPTIONS * HTTP/1.1\r\nHost: firman\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 204 No Content",
    ),
    (
        "AWS ALB",
        "GET /healthz HTTP/1.1\r\nHost: 10.0.0.7:8080\r\nConnection: close\r\nUser-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n",
        "HTTP/1.1 200 OK",
    ),
    (
        "AWS classic ELB",
        "GET /healthz HTTP/1.1\r\nHost: 10.0.0.7\r\nUser-Agent: ELB-HealthChecker/1.0\r\nAccept: */*\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK",
    ),
    (
        "Kubernetes",
        "GET /healthz HTTP/1.1\r\nHost: 10.0.0.7:8080\r\nUser-Agent: kube-probe/1.34\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK",
    ),
    (
        "an empty Host",
        "GET /healthz HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK",
    ),
    (
        "nginx as a proxy",
        "GET /healthz HTTP/1.0\r\nHost: firman_upstream\r\nConnection: close\r\n\r\n",
        "HTTP/1.0 200 OK",
    ),
    (
        "HEAD",
        "HEAD /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 200 OK",
    ),
    // What is still refused.
    (
        "HTTP/1.1 without a Host",
        "GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n",
        "HTTP/1.1 400 Bad Request",
    ),
    (
        "HTTP/1.0 with two Hosts",
        "GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",
        "HTTP/1.0 400 Bad Request",
    ),
    (
        "the root",
        "GET / HTTP/1.0\r\n\r\n",
        "HTTP/1.0 404 Not Found",
    ),
    (
        "another method",
        "POST /healthz HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.0 405 Method Not Allowed",
    ),
];

#[tokio::test]
async fn the_checks_of_load_balancers_find_the_public_listener_up() {
    let issuer = TestIssuer::start().await;
    let server = TestServer::at(address(&issuer.url));
    for (who, request, expected) in CHECKS {
        assert_eq!(first_line(&server, request).await, *expected, "{who}");
    }
}

#[tokio::test]
async fn the_private_listener_needs_a_host_of_its_own_from_every_version() {
    let issuer = TestIssuer::start().await;
    let server = TestServer::at(address(&issuer.admin_url));
    for (request, expected) in [
        ("GET /readyz HTTP/1.0\r\n\r\n", "HTTP/1.0 400 Bad Request"),
        ("OPTIONS / HTTP/1.0\r\n\r\n", "HTTP/1.0 400 Bad Request"),
        (
            "GET /readyz HTTP/1.0\r\nHost: evil.example\r\n\r\n",
            "HTTP/1.0 421 Misdirected Request",
        ),
        (
            "GET http://localhost/readyz HTTP/1.0\r\n\r\n",
            "HTTP/1.0 400 Bad Request",
        ),
        (
            "GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n",
            "HTTP/1.0 200 OK",
        ),
        (
            "HEAD /readyz HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n",
            "HTTP/1.0 200 OK",
        ),
    ] {
        assert_eq!(first_line(&server, request).await, expected, "{request}");
    }
}
