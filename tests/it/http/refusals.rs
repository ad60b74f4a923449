//! HT-012, HT-014 and what every answer carries.

use super::*;

#[tokio::test]
async fn ht_012_a_panic_is_a_500_and_the_connection_serves_on() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;

    client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;

    let body = r#"{"error":"server_error","error_description":"internal error; the log has the cause with this request id"}"#;
    assert_eq!(
        client.answer().await,
        format!(
            "HTTP/1.1 500 Internal Server Error\ncontent-type: application/json\ncache-control: no-store\n\
             x-request-id: {FIRST_ID}\nx-content-type-options: nosniff\ncontent-length: {}\n\n{body}",
            body.len()
        )
    );
    client.send("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.answer().await.ends_with("\n\npong"));
}

#[tokio::test]
async fn ht_014_trace_is_not_allowed_and_echoes_nothing() {
    let server = TestServer::start().await;
    let request =
        "TRACE /ping HTTP/1.1\r\nHost: a\r\nCookie: session=1\r\nConnection: close\r\n\r\n";
    assert_eq!(
        server.exchange(request).await,
        format!(
            "HTTP/1.1 405 Method Not Allowed\nallow: GET,HEAD\nx-request-id: {FIRST_ID}\n\
             x-content-type-options: nosniff\nconnection: close\ncontent-length: 0\n\n"
        )
    );
}

#[tokio::test]
async fn odd_targets_find_no_route() {
    for request in [
        "CONNECT a:443",
        "OPTIONS *",
        "GET /%ff",
        "GET //ping",
        "M\u{60}X /ping/",
    ] {
        let server = TestServer::start().await;
        let received = server
            .exchange(format!(
                "{request} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            ))
            .await;
        assert_eq!(
            received,
            format!(
                "HTTP/1.1 404 Not Found\nx-request-id: {FIRST_ID}\nx-content-type-options: nosniff\n\
                 connection: close\ncontent-length: 0\n\n"
            ),
            "{request}"
        );
    }
}

#[tokio::test]
async fn a_request_id_is_made_here_and_a_clients_own_is_ignored() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;

    client
        .send("GET /who HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n")
        .await;

    assert_eq!(
        client.answer().await,
        answered(&format!("127.0.0.1 {FIRST_ID}"), "")
    );
    client
        .send("GET /who HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n")
        .await;
    assert!(client.answer().await.ends_with("-000000000002"));
}
