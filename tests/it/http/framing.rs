//! HT-004 to HT-007, HT-009, HT-010: requests that two programs could read as different ones.

use firman::server::AllowedHosts;

use super::*;

/// What hyper says to a head it cannot read.
const MALFORMED: &str = "HTTP/1.1 400 Bad Request\nconnection: close\ncontent-length: 0\n\n";

#[tokio::test]
async fn ht_004_a_request_without_exactly_one_host_line_is_refused() {
    for request in [
        "GET /ping HTTP/1.1\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    ] {
        let server = TestServer::start().await;
        let expected = refused(
            "400 Bad Request",
            "invalid_request",
            "exactly one `Host` header is required",
        );
        assert_eq!(server.exchange(request).await, expected, "{request}");
    }
}

#[tokio::test]
async fn ht_004_http_1_0_may_leave_the_host_out_where_its_value_is_ignored() {
    let server = TestServer::start().await;
    let received = server.exchange("GET /ping HTTP/1.0\r\n\r\n").await;
    assert_eq!(
        received,
        answered("pong", "").replace("HTTP/1.1", "HTTP/1.0")
    );
    let two = server
        .exchange("GET /ping HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n")
        .await;
    assert!(two.starts_with("HTTP/1.0 400 Bad Request\n"), "{two}");

    let hosts = AllowedHosts::new(SocketAddr::from(([127, 0, 0, 1], 8081)), []);
    let private = TestServer::with(short_limits(), HostPolicy::AllowList(hosts)).await;
    let expected = refused_as_problem(
        "400 Bad Request",
        "invalid",
        "exactly one `Host` header is required",
    );
    let received = private.exchange("GET /ping HTTP/1.0\r\n\r\n").await;
    assert_eq!(received, expected.replace("HTTP/1.1", "HTTP/1.0"));
}

#[tokio::test]
async fn ht_004_a_host_that_is_not_a_host_is_refused() {
    for host in ["a b", "a/b", "user@a", "a:b:c", "\u{fc}"] {
        let server = TestServer::start().await;
        let expected = refused(
            "400 Bad Request",
            "invalid_request",
            "the `Host` header is not a host with an optional port",
        );
        let request = format!("GET /ping HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(server.exchange(request).await, expected, "{host}");
    }
}

#[tokio::test]
async fn ht_004_a_private_listener_refuses_a_name_that_is_not_its_own() {
    for (target, host) in [
        ("/ping", "evil.example"),
        ("/ping", ""),
        ("http://evil.example/ping", "localhost"),
    ] {
        let hosts = AllowedHosts::new(SocketAddr::from(([127, 0, 0, 1], 8081)), []);
        let server = TestServer::with(short_limits(), HostPolicy::AllowList(hosts)).await;
        let expected = refused_as_problem(
            "421 Misdirected Request",
            "misdirected_request",
            "this listener does not accept that host name\nhint: add the name to `FIRMAN_ADMIN_HOSTS`",
        );
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(server.exchange(request).await, expected, "{target} {host}");
    }
}

#[tokio::test]
async fn ht_004_a_private_listener_answers_to_its_own_names() {
    for host in [
        "localhost:8081",
        "127.0.0.1:8081",
        "[::1]",
        "console.example.com",
    ] {
        let names = ["console.example.com".to_owned()];
        let hosts = AllowedHosts::new(SocketAddr::from(([127, 0, 0, 1], 8081)), names);
        let server = TestServer::with(short_limits(), HostPolicy::AllowList(hosts)).await;
        let request = format!("GET /ping HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(
            server.exchange(request).await,
            answered("pong", "connection: close\n"),
            "{host}"
        );
    }
}

#[tokio::test]
async fn ht_005_content_length_beside_chunked_is_read_as_chunked_and_nothing_after_it_is() {
    for headers in [
        "Content-Length: 6\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 6",
    ] {
        let server = TestServer::start().await;
        let request = format!(
            "POST /count HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n0\r\n\r\nGET /ping HTTP/1.1\r\nHost: a\r\n\r\n"
        );
        assert_eq!(
            server.exchange(request).await,
            answered("0", "connection: close\n"),
            "{headers}"
        );
    }
}

#[tokio::test]
async fn ht_006_a_content_length_that_is_not_one_number_is_refused() {
    let server = TestServer::start().await;
    for length in [
        "5\r\nContent-Length: 6",
        "+5",
        "-5",
        "0x5",
        "5, 6",
        "5 5",
        "",
        "18446744073709551616",
    ] {
        let request =
            format!("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\naaaaa");
        assert_eq!(server.exchange(request).await, MALFORMED, "{length:?}");
    }
}

#[tokio::test]
async fn ht_006_a_content_length_of_all_the_memory_in_the_world_is_refused() {
    // hyper keeps the last two numbers of 64 bits for itself and refuses them as too large.
    let server = TestServer::start().await;
    let request = "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n";
    assert_eq!(
        server.exchange(request).await,
        "HTTP/1.1 431 Request Header Fields Too Large\nconnection: close\ncontent-length: 0\n\n"
    );
}

#[tokio::test]
async fn ht_007_a_transfer_encoding_that_does_not_end_in_chunked_is_refused() {
    let server = TestServer::start().await;
    for line in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding: chunked, identity",
        "Transfer-Encoding: identity",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
    ] {
        let request = format!("POST /count HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n0\r\n\r\n");
        assert_eq!(server.exchange(request).await, MALFORMED, "{line:?}");
    }
    let old = "POST /count HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(
        server.exchange(old).await.lines().next(),
        Some("HTTP/1.1 400 Bad Request")
    );
}

#[tokio::test]
async fn ht_007_a_transfer_coding_besides_chunked_is_not_implemented() {
    for line in [
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    ] {
        let server = TestServer::start().await;
        let request = format!("POST /count HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n0\r\n\r\n");
        let expected = refused(
            "501 Not Implemented",
            "not_implemented",
            "the only supported transfer coding is `chunked`",
        );
        assert_eq!(server.exchange(request).await, expected, "{line:?}");
    }
}

#[tokio::test]
async fn ht_007_chunks_with_broken_sizes_are_refused() {
    for chunks in [
        "x\r\n",
        "-1\r\na\r\n0\r\n\r\n",
        "11111111111111111\r\n",
        "2\r\nabc\r\n0\r\n\r\n",
    ] {
        let server = TestServer::start().await;
        let request = format!(
            "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        );
        let expected = refused(
            "400 Bad Request",
            "invalid_request",
            "the request body is incomplete or malformed",
        );
        assert_eq!(server.exchange(request).await, expected, "{chunks:?}");
    }
}

#[tokio::test]
async fn ht_009_control_characters_and_folded_lines_are_refused() {
    let server = TestServer::start().await;
    for request in [
        "GET /ping HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: a\r\nX\0: a\r\n\r\n",
        "GET /pi\0ng HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET /ping HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n",
        "GET /ping HTTP/1.1\r\n Host: a\r\n\r\n",
        "GET  /ping HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /ping\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(server.exchange(request).await, MALFORMED, "{request:?}");
    }
}

#[tokio::test]
async fn ht_009_bare_line_feeds_end_lines_as_rfc_9112_allows() {
    let server = TestServer::start().await;
    let request = "GET /ping HTTP/1.1\nHost: a\nConnection: close\n\n";
    assert_eq!(
        server.exchange(request).await,
        answered("pong", "connection: close\n")
    );
}

#[tokio::test]
async fn ht_010_http_2_is_closed_without_an_answer() {
    let server = TestServer::start().await;
    let preface_and_settings = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    assert_eq!(server.exchange(preface_and_settings).await, "");
    assert!(server.is_alive().await);
}

#[tokio::test]
async fn ht_010_an_upgrade_to_http_2_is_ignored() {
    let server = TestServer::start().await;
    let request = "GET /ping HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\
                   Connection: Upgrade, HTTP2-Settings, close\r\n\r\n";
    assert_eq!(
        server.exchange(request).await,
        answered("pong", "connection: close\n")
    );
}
