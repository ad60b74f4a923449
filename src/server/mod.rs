//! The listening side of the process: sockets, limits, request ids, traces and the graceful stop.
//!
//! Not `axum::serve`, which lets a half-sent header stay open indefinitely and accepts two `Host` lines: an
//! accept loop over hyper's HTTP/1.1 connection (RFC 9112), one limit on everything. Which answer a
//! path gets is the router's business; this room only decides whether a request is fit to be routed.

mod accept;
mod connection;
mod crowd;
mod exchange;
mod host_policy;
pub mod process;
mod refusal;
mod stream;
pub mod telemetry;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::config::{self, Config};
use crate::ports::random::Random;
use crate::ports::time::Clock;

pub use crate::ports::request::{PeerAddr, RequestId};
pub use host_policy::{AllowedHosts, HostPolicy};

/// A client that has not sent a whole header block after this long is not a client (slowloris, CWE-400).
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may rest between two requests: longer than the 60 s after which the usual load
/// balancers close theirs, so that the one who sends is the one who decides.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// A whole body of 64 KiB takes less than this on any link worth serving.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that takes nothing of its answer for this long holds a connection for nothing.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Room for a request line and its headers; the largest honest ones carry an 8 KiB assertion.
pub const MAX_BUFFER_BYTES: usize = 16 * 1024;
/// Proxies add a dozen headers; this leaves room for several of them.
pub const MAX_HEADERS: usize = 64;
/// The largest honest body is an 8 KiB assertion with its form around it; 64 KiB is eight of them.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Connections at once on a listener, unless configured.
pub const MAX_CONNECTIONS: usize = config::DEFAULT_MAX_CONNECTIONS as usize;
/// How long accepted requests may take to finish once the process is stopping, unless configured.
pub const DRAIN_GRACE: Duration = Duration::from_secs(config::DEFAULT_DRAIN_SECONDS as u64);

/// What a client may cost. Every field has a constant of the same meaning that says why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From accepting a connection, or from the first byte of a later request, to the end of its headers.
    pub header_read_timeout: Duration,
    /// From the end of an answer to the first byte of the next request.
    pub idle_timeout: Duration,
    /// From the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// For how long a client may take nothing of what is being sent to it.
    pub write_timeout: Duration,
    /// Request line and headers together; hyper wants at least 8 KiB.
    pub max_buffer_bytes: usize,
    /// Header lines of a request.
    pub max_headers: usize,
    /// Bytes of a request body, after chunked decoding.
    pub max_body_bytes: usize,
    /// Connections at once; one more and the oldest is asked to go.
    pub max_connections: usize,
    /// From the stop signal until what is still running is cut.
    pub drain_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_read_timeout: HEADER_READ_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            body_timeout: BODY_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            max_buffer_bytes: MAX_BUFFER_BYTES,
            max_headers: MAX_HEADERS,
            max_body_bytes: MAX_BODY_BYTES,
            max_connections: MAX_CONNECTIONS,
            drain_grace: DRAIN_GRACE,
        }
    }
}

impl Limits {
    /// The limits with what the operator has chosen of them.
    #[must_use]
    pub fn configured(config: &Config) -> Self {
        Self {
            max_connections: config.max_connections as usize,
            drain_grace: Duration::from_secs(config.drain_seconds.into()),
            ..Self::default()
        }
    }
}

/// Why a listener could not be bound. Printed as it is: it says what to do next.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {reason}. {remedy}")]
pub struct ServerError {
    address: SocketAddr,
    reason: String,
    remedy: &'static str,
}

impl ServerError {
    /// The sentence with another remedy, for a program whose address has another name.
    #[must_use]
    pub fn with_remedy(&self, remedy: &str) -> String {
        format!(
            "cannot listen on {}: {}. {remedy}",
            self.address, self.reason
        )
    }

    fn new(address: SocketAddr, error: &io::Error) -> Self {
        let kind = error.kind();
        let (reason, remedy) = if kind == io::ErrorKind::AddrInUse {
            (
                "address already in use".to_owned(),
                "Stop the other process, or choose another address with FIRMAN_LISTEN (public) or FIRMAN_ADMIN_LISTEN (private).",
            )
        } else if kind == io::ErrorKind::PermissionDenied {
            (
                "permission denied".to_owned(),
                "Ports below 1024 are reserved: choose a higher one with FIRMAN_LISTEN or FIRMAN_ADMIN_LISTEN and let a proxy hold the low one.",
            )
        } else if kind == io::ErrorKind::AddrNotAvailable {
            (
                "this machine does not have that address".to_owned(),
                "Use one of its own, 127.0.0.1 for this machine only, or 0.0.0.0 for all of them, in FIRMAN_LISTEN or FIRMAN_ADMIN_LISTEN.",
            )
        } else {
            (
                error.to_string(),
                "Choose another address with FIRMAN_LISTEN (public) or FIRMAN_ADMIN_LISTEN (private).",
            )
        };
        Self {
            address,
            reason,
            remedy,
        }
    }
}

/// A bound socket. Clients can connect from here on; they are answered once [`serve`] runs.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `address`; port 0 takes any free one.
    ///
    /// # Errors
    ///
    /// When the address is in use, reserved or not this machine's.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let failed = |error| ServerError::new(address, &error);
        let socket = TcpListener::bind(address).await.map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address })
    }

    /// The address that was bound, with the port that was really taken.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// What is served on a listener.
#[derive(Clone, Debug)]
pub struct Service {
    /// Which path gets which answer.
    pub router: Router,
    /// Which `Host` values are let in.
    pub hosts: HostPolicy,
    /// What a client may cost.
    pub limits: Limits,
    /// Dates the request ids.
    pub clock: Arc<dyn Clock>,
    /// Makes the request ids unguessable and distinct.
    pub random: Arc<dyn Random>,
}

/// Serves until `stop` turns true (or its sender is gone), then takes no more connections, lets accepted
/// requests finish for [`Limits::drain_grace`], and returns; what is still running then is cut.
///
/// A router sees each request with its body wholly read, and with [`PeerAddr`] and [`RequestId`] among the
/// extensions.
pub async fn serve(listener: Listener, service: Service, stop: watch::Receiver<bool>) {
    let Service {
        router,
        hosts,
        limits,
        clock,
        random,
    } = service;
    let exchange = exchange::Exchange::new(
        router,
        hosts,
        limits,
        exchange::RequestIds { clock, random },
    );
    accept::accept_loop(listener, Arc::new(exchange), stop).await;
}

/// Resolves when the process is to stop. A sender that is gone means that the owner of this process is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    while !*stop.borrow_and_update() {
        if stop.changed().await.is_err() {
            return;
        }
    }
}
