//! HT-001, HT-002, HT-003, HT-008, HT-013: what a client may cost.

use super::*;

const TOO_SLOW: (&str, &str, &str) = (
    "408 Request Timeout",
    "request_timeout",
    "the request body did not arrive in time",
);
const TOO_LARGE: (&str, &str, &str) = (
    "413 Payload Too Large",
    "content_too_large",
    "the request body must be at most 65536 bytes long",
);

fn refused_as((status, error, description): (&str, &str, &str)) -> String {
    refused(status, error, description)
}

#[tokio::test]
async fn ht_001_headers_that_drip_in_are_cut_without_an_answer() {
    let server = TestServer::start().await;
    let request = format!("GET /ping HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(5000));

    assert_eq!(
        within(server.connect().await.dribble(request.as_bytes())).await,
        ""
    );
    assert!(server.is_alive().await);
}

#[tokio::test]
async fn ht_001_a_connection_that_sends_nothing_is_cut() {
    let server = TestServer::start().await;

    assert_eq!(server.connect().await.rest().await, "");
}

#[tokio::test]
async fn ht_001_headers_of_a_second_request_that_drip_in_are_cut() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    client.send("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await, answered("pong", ""));
    let request = format!("GET /ping HTTP/1.1\r\nHost: a\r\nX: {}", "a".repeat(5000));

    assert_eq!(within(client.dribble(request.as_bytes())).await, "");
}

#[tokio::test]
async fn ht_002_a_body_that_drips_in_is_refused_when_its_time_is_up() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    client
        .send("POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n")
        .await;

    assert_eq!(
        within(client.dribble(&[b'a'; 5000])).await,
        refused_as(TOO_SLOW)
    );
}

#[tokio::test]
async fn ht_002_a_chunked_body_that_never_ends_is_refused_when_its_time_is_up() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    client
        .send("POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")
        .await;

    assert_eq!(client.rest().await, refused_as(TOO_SLOW));
}

#[tokio::test]
async fn ht_002_a_client_that_does_not_read_its_answer_is_cut() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    client
        .send("GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await;
    // The time of a client that looks away for longer than the write time limit.
    tokio::time::sleep(Duration::from_secs(2)).await;

    let received = client.rest().await;

    assert!(
        received.starts_with("HTTP/1.1 200 OK\n"),
        "{}",
        &received[..100]
    );
    assert!(
        received.len() < 64 << 20,
        "{} bytes came through",
        received.len()
    );
}

#[tokio::test]
async fn ht_003_idle_connections_make_room_for_one_with_a_request() {
    let limits = Limits {
        max_connections: 10,
        header_read_timeout: DEADLINE * 2,
        idle_timeout: DEADLINE * 2,
        ..short_limits()
    };
    let server = TestServer::with(limits, HostPolicy::AnySingle).await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(server.connect().await);
    }

    assert!(server.is_alive().await);
    assert_eq!(idle.remove(0).rest().await, "", "the oldest is closed");
}

#[tokio::test]
async fn ht_003_a_request_being_served_is_not_cut_to_make_room() {
    let limits = Limits {
        max_connections: 2,
        ..short_limits()
    };
    let server = TestServer::with(limits, HostPolicy::AnySingle).await;
    let mut busy = server.connect().await;
    busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    within(server.arrived.acquire()).await.unwrap().forget();
    let mut idle = Vec::new();
    for _ in 0..20 {
        idle.push(server.connect().await);
    }
    assert!(server.is_alive().await);

    server.gate.add_permits(1);

    assert_eq!(busy.rest().await, answered("done", "connection: close\n"));
}

#[tokio::test]
async fn ht_003_a_connection_that_rests_too_long_between_requests_is_closed() {
    let server = TestServer::start().await;
    let mut client = server.connect().await;
    client.send("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(client.answer().await, answered("pong", ""));

    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn ht_008_headers_beyond_their_limits_are_refused() {
    let server = TestServer::start().await;
    let many: String = (0..200).map(|i| format!("X-{i}: a\r\n")).collect();
    for request in [
        format!(
            "GET /ping HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
            "a".repeat(64 * 1024)
        ),
        format!("GET /ping HTTP/1.1\r\nHost: a\r\n{many}\r\n"),
        format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(32 * 1024)),
    ] {
        assert_eq!(
            server.exchange(&request).await,
            "HTTP/1.1 431 Request Header Fields Too Large\nconnection: close\ncontent-length: 0\n\n",
            "{}",
            &request[..40]
        );
    }
}

#[tokio::test]
async fn ht_008_an_announced_body_beyond_the_limit_is_refused_before_it_comes() {
    let server = TestServer::start().await;
    let request = "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n";

    assert_eq!(server.exchange(request).await, refused_as(TOO_LARGE));
}

#[tokio::test]
async fn ht_008_a_body_beyond_the_limit_is_refused_and_its_sender_can_read_why() {
    let server = TestServer::start().await;
    let request = format!(
        "POST /count HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n{}",
        "a".repeat(500_000)
    );

    assert_eq!(server.exchange(request).await, refused_as(TOO_LARGE));
}

#[tokio::test]
async fn ht_008_a_chunked_body_beyond_the_limit_is_refused() {
    let server = TestServer::start().await;
    let request = format!(
        "POST /count HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n{}\r\n0\r\n\r\n",
        "a".repeat(65_537)
    );

    assert_eq!(server.exchange(request).await, refused_as(TOO_LARGE));
}

#[tokio::test]
async fn ht_008_a_body_at_the_limit_is_served() {
    let server = TestServer::start().await;
    let request = format!(
        "POST /count HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 65536\r\n\r\n{}",
        "a".repeat(65_536)
    );

    assert_eq!(
        server.exchange(request).await,
        answered("65536", "connection: close\n")
    );
}

#[tokio::test]
async fn ht_013_silence_after_expect_100_continue_ends_with_the_body_time_limit() {
    let server = TestServer::start().await;
    let request =
        "POST /count HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";

    let expected = format!("HTTP/1.1 100 Continue\n\n{}", refused_as(TOO_SLOW));
    let received = server.exchange(request).await;
    let without_date: Vec<&str> = received
        .lines()
        .filter(|line| !line.starts_with("date: "))
        .collect();
    assert_eq!(without_date.join("\n"), expected);
}

#[tokio::test]
async fn ht_013_a_body_beyond_the_limit_is_not_asked_for() {
    let server = TestServer::start().await;
    let request =
        "POST /count HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 65537\r\n\r\n";

    assert_eq!(server.exchange(request).await, refused_as(TOO_LARGE));
}
