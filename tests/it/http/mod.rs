//! The transport, over raw sockets: what no well-behaved client would send.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod framing;
mod health_checks;
mod lifecycle;
mod limits;
mod process;
mod refusals;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::routing::{get, post};
use axum::{Extension, Router};
use firman::ports::random::Random;
use firman::ports::time::{Clock, UnixMillis};
use firman::server::{HostPolicy, Limits, Listener, PeerAddr, RequestId, Service, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Nothing in these tests may take longer; all time limits of the server are well below.
const DEADLINE: Duration = Duration::from_secs(10);
/// The id of the first request of a [`TestServer`].
const FIRST_ID: &str = "01a3185c-5000-7000-8000-000000000001";

async fn within<F: Future>(future: F) -> F::Output {
    timeout(DEADLINE, future)
        .await
        .expect("the deadline of the test passed")
}

fn short_limits() -> Limits {
    Limits {
        header_read_timeout: Duration::from_millis(700),
        idle_timeout: Duration::from_millis(1200),
        body_timeout: Duration::from_millis(700),
        write_timeout: Duration::from_millis(500),
        drain_grace: Duration::from_secs(5),
        max_connections: 100,
        ..Limits::default()
    }
}

#[derive(Debug)]
struct FixedClock;

impl Clock for FixedClock {
    fn now_millis(&self) -> UnixMillis {
        UnixMillis(1_800_000_000_000)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[derive(Debug, Default)]
struct CountingRandom(AtomicU64);

impl Random for CountingRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let count = self.0.fetch_add(1, Ordering::Relaxed) + 1;
        bytes.fill(0);
        for (byte, from) in bytes.iter_mut().rev().zip(count.to_le_bytes()) {
            *byte = from;
        }
    }
}

struct TestServer {
    address: SocketAddr,
    /// Each permit lets one request to `/wait` finish.
    gate: Arc<Semaphore>,
    /// Each request that reached `/wait` adds one.
    arrived: Arc<Semaphore>,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
}

impl TestServer {
    async fn start() -> Self {
        Self::with(short_limits(), HostPolicy::AnySingle).await
    }

    async fn with(limits: Limits, hosts: HostPolicy) -> Self {
        let listener = Listener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .await
            .unwrap();
        let address = listener.local_addr();
        let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let service = Service {
            router: router(Arc::clone(&gate), Arc::clone(&arrived)),
            hosts,
            limits,
            clock: Arc::new(FixedClock),
            random: Arc::new(CountingRandom::default()),
        };
        let (stop, stopped) = watch::channel(false);
        let serving = tokio::spawn(serve(listener, service, stopped));
        Self {
            address,
            gate,
            arrived,
            stop,
            serving,
        }
    }

    /// One that runs elsewhere.
    fn at(address: SocketAddr) -> Self {
        let (gate, arrived) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        Self {
            address,
            gate,
            arrived,
            stop: watch::channel(false).0,
            serving: tokio::spawn(async {}),
        }
    }

    /// A connection of its own: sends `request`, returns all that comes until the server closes.
    async fn exchange(&self, request: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(request).await;
        client.rest().await
    }

    async fn connect(&self) -> Client {
        Client {
            stream: within(TcpStream::connect(self.address)).await.unwrap(),
        }
    }

    /// True when a client that comes now is served.
    async fn is_alive(&self) -> bool {
        self.exchange("GET /ping HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .await
            .ends_with("\n\npong")
    }
}

fn router(gate: Arc<Semaphore>, arrived: Arc<Semaphore>) -> Router {
    let wait = move || async move {
        arrived.add_permits(1);
        gate.acquire().await.unwrap().forget();
        "done"
    };
    let who = |Extension(PeerAddr(peer)): Extension<PeerAddr>,
               Extension(RequestId(id)): Extension<RequestId>| async move {
        format!("{} {id}", peer.ip())
    };
    Router::new()
        .route("/ping", get(|| async { "pong" }))
        .route("/who", get(who))
        .route(
            "/count",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route("/wait", get(wait))
        .route("/large", get(|| async { vec![b'x'; 64 << 20] }))
        .route("/panic", get(panics))
}

async fn panics() -> &'static str {
    panic!("a fault in a handler")
}

struct Client {
    stream: TcpStream,
}

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// One byte after the other until the server closes or answers; then the rest.
    async fn dribble(mut self, bytes: &[u8]) -> String {
        for byte in bytes {
            if self.stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            // The pace of the slow client; the reading ends it early.
            let pause = Duration::from_millis(30);
            if timeout(pause, self.stream.readable()).await.is_ok() {
                break;
            }
        }
        self.rest().await
    }

    /// What comes until the server closes or resets; the `Date` left out, line ends as `\n`.
    async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        // A reset after the answer is an end like any other.
        let _ = within(self.stream.read_to_end(&mut bytes)).await;
        readable(&bytes)
    }

    /// One whole answer that has a `content-length`, on a connection that stays open.
    async fn answer(&mut self) -> String {
        let mut bytes = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&bytes);
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .lines()
                    .find_map(|line| line.strip_prefix("content-length: "));
                if length.is_some_and(|length| body.len() >= length.parse().unwrap()) {
                    return readable(&bytes);
                }
            }
            let mut buffer = [0; 4096];
            match within(self.stream.read(&mut buffer)).await.unwrap() {
                0 => panic!("closed after {text:?}"),
                read => bytes.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let head: Vec<&str> = head
        .lines()
        .filter(|line| !line.starts_with("date: "))
        .collect();
    if head.is_empty() {
        String::new()
    } else {
        format!("{}\n\n{body}", head.join("\n"))
    }
}

/// The whole answer when the transport refuses the first request of a server.
fn refused(status: &str, error: &str, description: &str) -> String {
    let body = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
    format!(
        "HTTP/1.1 {status}\ncontent-type: application/json\ncache-control: no-store\nconnection: close\n\
         x-request-id: {FIRST_ID}\nx-content-type-options: nosniff\ncontent-length: {}\n\n{body}",
        body.len()
    )
}

/// The same on a private listener, whose errors are RFC 9457 problems.
fn refused_as_problem(status: &str, kind: &str, told: &str) -> String {
    let (detail, hint) = match told.split_once("\nhint: ") {
        Some((detail, hint)) => (detail, format!(r#""hint":"{hint}","#)),
        None => (told, String::new()),
    };
    let (code, title) = status.split_once(' ').unwrap();
    let body = format!(
        r#"{{"detail":"{detail}",{hint}"request_id":"{FIRST_ID}","status":{code},"title":"{title}","type":"urn:firman:problem:{kind}"}}"#
    );
    format!(
        "HTTP/1.1 {status}\ncontent-type: application/problem+json\ncache-control: no-store\nconnection: close\n\
         x-request-id: {FIRST_ID}\nx-content-type-options: nosniff\ncontent-length: {}\n\n{body}",
        body.len()
    )
}

/// The whole answer of a handler to the first request of a server.
fn answered(body: &str, further: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\ncontent-type: text/plain; charset=utf-8\ncontent-length: {}\nx-request-id: {FIRST_ID}\n\
         x-content-type-options: nosniff\n{further}\n{body}",
        body.len()
    )
}
