//! One connection from accept to close: HTTP/1.1 only, with a time limit on every phase.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Sleep, sleep, timeout};

use super::crowd::Membership;
use super::exchange::Exchange;
use super::stream::{Activity, TimedStream};
use super::{Limits, stopped};

/// How long a connection that is closed may still send (see [`linger`]).
const LINGER_TIME: Duration = Duration::from_secs(1);
/// How much of that is read before the connection is cut.
const LINGER_BYTES: usize = 1024 * 1024;
/// Time in which an evicted connection may finish sending an answer that is already known.
const EVICTION_GRACE: Duration = Duration::from_secs(1);

/// An accepted connection.
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) exchange: Arc<Exchange>,
    pub(super) membership: Membership,
    pub(super) stop: watch::Receiver<bool>,
}

impl Connection {
    /// Serves the requests on `stream` until either side ends it.
    pub(super) async fn run(self, stream: TcpStream) {
        // An answer is written at once and completely; waiting for more to send only delays it.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let Self {
            peer,
            exchange,
            mut membership,
            mut stop,
        } = self;
        let limits = *exchange.limits();
        let activity = Activity::new();
        let io = TokioIo::new(TimedStream::new(stream, activity.clone(), &limits));
        let serving = activity.clone();
        let service = service_fn(move |request| {
            answer(Arc::clone(&exchange), serving.clone(), request, peer)
        });
        let mut http = protocol(&limits).serve_connection(io, service);

        let mut stopping = std::pin::pin!(stopped(&mut stop));
        let mut cut = std::pin::pin!(None);
        let (mut is_stopping, mut is_evicted) = (false, false);
        let outcome = loop {
            tokio::select! {
                outcome = poll_fn(|cx| http.poll_without_shutdown(cx)) => break outcome,
                () = &mut stopping, if !is_stopping => {
                    is_stopping = true;
                    Pin::new(&mut http).graceful_shutdown();
                    cut.set(Some(sleep(limits.drain_grace)));
                }
                Ok(()) = &mut membership.eviction, if !is_evicted && !is_stopping => {
                    is_evicted = true;
                    Pin::new(&mut http).graceful_shutdown();
                    cut.set(Some(sleep(EVICTION_GRACE)));
                }
                () = poll_fn(|cx| poll_optional(cut.as_mut(), cx)) => {
                    // A request that is being served outlives an eviction, but not the drain grace.
                    if is_stopping || !activity.is_serving() {
                        return;
                    }
                    cut.set(Some(sleep(EVICTION_GRACE)));
                }
            }
        };
        if let Err(error) = &outcome {
            tracing::debug!(%peer, error = %error, "connection ended early");
        }
        // A client whose request was refused must be able to read why; any other has nothing left to read.
        if activity.is_closing() || outcome.is_err_and(|error| error.is_parse()) {
            let stream = http.into_parts().io.into_inner().into_inner();
            tokio::select! {
                () = linger(stream) => {}
                _ = &mut membership.eviction, if !is_evicted => {}
            }
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

fn answer(
    exchange: Arc<Exchange>,
    activity: Activity,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Answer {
    activity.request_began();
    Box::pin(async move {
        let response = exchange.answer(request, peer).await;
        activity.request_ended(response.headers().contains_key(CONNECTION));
        Ok(response)
    })
}

/// Only HTTP/1.1: HTTP/2 and its floods (RUSTSEC-2024-0003, -0332) are not compiled in.
fn protocol(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // hyper counts from the end of the previous answer; `TimedStream` from the first byte.
        .header_read_timeout(limits.idle_timeout.max(limits.header_read_timeout))
        .max_buf_size(limits.max_buffer_bytes)
        .max_headers(limits.max_headers);
    builder
}

fn poll_optional(timer: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<()> {
    timer
        .as_pin_mut()
        .map_or(Poll::Pending, |timer| timer.poll(cx))
}

/// Closes our half, then reads on for a moment. A socket closed with unread bytes in it is reset, and a
/// reset can take the answer from the client before it was read (RFC 9112 §9.6).
async fn linger(mut stream: TcpStream) {
    let read_on = async {
        let mut scrap = vec![0; 4096];
        let mut total = 0;
        stream.shutdown().await?;
        while total < LINGER_BYTES {
            match stream.read(&mut scrap).await? {
                0 => break,
                read => total += read,
            }
        }
        Ok::<_, io::Error>(())
    };
    // Whatever the outcome, the connection is over.
    let _ = timeout(LINGER_TIME, read_on).await;
}
