//! HT-011 and how a listener begins and ends.

use super::*;

const WAIT: &str = "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn ht_011_requests_in_flight_finish_and_new_ones_are_refused() {
    let server = TestServer::start().await;
    let mut resting = server.connect().await;
    resting.send("GET /ping HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(resting.answer().await, answered("pong", ""));
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = server.connect().await;
        client.send(WAIT).await;
        clients.push(client);
    }
    within(server.arrived.acquire_many(50))
        .await
        .unwrap()
        .forget();

    server.stop.send(true).unwrap();

    assert_eq!(resting.rest().await, "", "a resting connection is closed");
    let refused = within(TcpStream::connect(server.address)).await;
    assert_eq!(
        refused.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionRefused
    );
    assert!(
        !server.serving.is_finished(),
        "requests are still being served"
    );

    server.gate.add_permits(50);

    for client in &mut clients {
        let received = client.rest().await;
        assert!(
            received.starts_with("HTTP/1.1 200 OK\n") && received.ends_with("\n\ndone"),
            "{received}"
        );
        assert!(received.contains("\nconnection: close\n"), "{received}");
    }
    within(server.serving).await.unwrap();
}

#[tokio::test]
async fn ht_011_a_request_that_outlasts_the_grace_is_cut() {
    let limits = Limits {
        drain_grace: Duration::from_millis(200),
        ..short_limits()
    };
    let server = TestServer::with(limits, HostPolicy::AnySingle).await;
    let mut client = server.connect().await;
    client.send(WAIT).await;
    within(server.arrived.acquire()).await.unwrap().forget();

    server.stop.send(true).unwrap();

    within(server.serving).await.unwrap();
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_server_whose_owner_is_gone_stops() {
    let server = TestServer::start().await;
    assert!(server.is_alive().await);

    drop(server.stop);

    within(server.serving).await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_way_out() {
    let first = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .await
        .unwrap();
    let address = first.local_addr();

    let error = Listener::bind(address).await.unwrap_err();

    assert_eq!(
        format!("{error}\nhint: {}", error.remedy()),
        format!(
            "cannot listen on `{address}`: address already in use\nhint: stop the other process, or choose another \
             address with `FIRMAN_LISTEN` (public) or `FIRMAN_ADMIN_LISTEN` (private)"
        )
    );
}

#[tokio::test]
async fn an_address_of_another_machine_is_named_with_the_way_out() {
    let error = Listener::bind("192.0.2.1:0".parse().unwrap())
        .await
        .unwrap_err();

    assert_eq!(
        format!("{error}\nhint: {}", error.remedy()),
        "cannot listen on `192.0.2.1:0`: not an address of this machine\nhint: set `FIRMAN_LISTEN` or \
         `FIRMAN_ADMIN_LISTEN` to an address of this machine: `127.0.0.1` for this machine only, `0.0.0.0` for all \
         its addresses"
    );
}
