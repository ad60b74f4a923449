//! The accept loop: one task per connection, never more than the cap, and no failure of `accept` ends it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};

use super::connection;
use super::crowd::Crowd;
use super::exchange::Exchange;
use super::{Listener, stopped};

/// Pause after `accept` failed for want of descriptors: long enough not to spin, short enough that no client in
/// the backlog gives up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(25);
/// How many connections are asked to close each time that happens.
const EVICTED_PER_PAUSE: usize = 8;
/// Pause between two log lines about failures of `accept`.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);
/// How long to wait for a free place before the next oldest connection is asked to close as well.
const EVICTION_INTERVAL: Duration = Duration::from_millis(50);

/// Accepts until `stop`, then waits until the last connection is closed. Each connection keeps the drain
/// grace itself, so that this wait ends.
pub(super) async fn accept_loop(
    listener: Listener,
    exchange: Arc<Exchange>,
    mut stop: watch::Receiver<bool>,
) {
    let cap = u32::try_from(exchange.limits().max_connections)
        .unwrap_or(u32::MAX)
        .max(1);
    let places = Arc::new(Semaphore::new(cap as usize));
    let crowd = Arc::new(Crowd::default());
    let for_connections = stop.clone();

    tokio::select! {
        () = stopped(&mut stop) => {}
        () = accept_for_ever(&listener, &exchange, Arc::clone(&places), &crowd, for_connections) => {}
    }
    // Refuses new connections while the accepted ones finish.
    drop(listener);
    // An error would mean that the semaphore is closed, which never happens.
    let _ = places.acquire_many(cap).await;
}

async fn accept_for_ever(
    listener: &Listener,
    exchange: &Arc<Exchange>,
    places: Arc<Semaphore>,
    crowd: &Arc<Crowd>,
    stop: watch::Receiver<bool>,
) {
    let mut warned = None;
    loop {
        let (stream, peer) = accept(listener, crowd, &mut warned).await;
        // Only now, so that no connection closes before another one has arrived.
        let place = free_place(&places, crowd).await;
        let connection = connection::Connection {
            peer,
            exchange: Arc::clone(exchange),
            membership: crowd.join(),
            stop: stop.clone(),
        };
        tokio::spawn(async move {
            connection.run(stream).await;
            drop(place);
        });
    }
}

/// A place under the cap. When all are in use, the oldest connections are asked to close, one by one, so that
/// many idle ones cannot keep out a client with a request.
async fn free_place(places: &Arc<Semaphore>, crowd: &Crowd) -> OwnedSemaphorePermit {
    const NEVER_CLOSED: &str = "this semaphore is never closed";
    if let Ok(place) = Arc::clone(places).try_acquire_owned() {
        return place;
    }
    let mut waiting = std::pin::pin!(Arc::clone(places).acquire_owned());
    loop {
        crowd.evict_oldest();
        if let Ok(place) = timeout(EVICTION_INTERVAL, waiting.as_mut()).await {
            return place.expect(NEVER_CLOSED);
        }
    }
}

async fn accept(
    listener: &Listener,
    crowd: &Crowd,
    warned: &mut Option<Instant>,
) -> (TcpStream, SocketAddr) {
    loop {
        match listener.socket.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if concerns_one_client(&error) => {}
            Err(error) => {
                // Out of descriptors or memory. The backlog stays readable, so without a pause this would
                // spin; without evictions it might never end.
                if warned.is_none_or(|at| at.elapsed() >= WARNING_INTERVAL) {
                    tracing::warn!(%error, address = %listener.address, "cannot accept connections; closing old ones");
                    *warned = Some(Instant::now());
                }
                for _ in 0..EVICTED_PER_PAUSE {
                    crowd.evict_oldest();
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// True when the client closed the connection between its handshake and our `accept`.
fn concerns_one_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}
