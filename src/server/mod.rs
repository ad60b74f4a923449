//! The listening side of the process: sockets, limits, request ids, traces and the graceful stop.
//!
//! Not `axum::serve`, which lets a half-sent header stay open indefinitely and accepts two `Host` lines: an
//! accept loop over hyper's HTTP/1.1 connection (RFC 9112), with a limit on everything. The router decides the
//! answer of a path; this room only decides whether a request is fit to be routed.

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
use crate::domain::remedy::Remedy;
use crate::ports::cause;
use crate::ports::random::Random;
use crate::ports::time::Clock;

pub use crate::ports::request::{PeerAddr, RequestId};
pub use host_policy::{AllowedHosts, HostPolicy};

/// A client that has not sent all its headers after this long is not legitimate (slowloris, CWE-400).
pub const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may rest between two requests: longer than the 60 s after which the usual load
/// balancers close theirs, so that the sending side decides.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// A body of 64 KiB arrives in less time on any usable link.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// A client that does not read its answer for this long only occupies a connection.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Room for a request line and its headers; the largest legitimate ones carry an 8 KiB assertion.
pub const MAX_BUFFER_BYTES: usize = 16 * 1024;
/// Proxies add a dozen headers; this leaves room for several of them.
pub const MAX_HEADERS: usize = 64;
/// The largest legitimate body is an 8 KiB assertion in a form; 64 KiB is eight of them.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Concurrent connections on a listener, unless configured.
pub const MAX_CONNECTIONS: usize = config::DEFAULT_MAX_CONNECTIONS as usize;
/// How long accepted requests may take to finish once the process is stopping, unless configured.
pub const DRAIN_GRACE: Duration = Duration::from_secs(config::DEFAULT_DRAIN_SECONDS as u64);

/// The resources that a client may use. Every field has a constant of the same meaning with its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From accepting a connection, or from the first byte of a later request, to the end of its headers.
    pub header_read_timeout: Duration,
    /// From the end of an answer to the first byte of the next request.
    pub idle_timeout: Duration,
    /// From the end of the headers to the end of the body.
    pub body_timeout: Duration,
    /// How long a client may read nothing of its answer.
    pub write_timeout: Duration,
    /// Request line and headers together; hyper requires at least 8 KiB.
    pub max_buffer_bytes: usize,
    /// Header lines of a request.
    pub max_headers: usize,
    /// Bytes of a request body, after chunked decoding.
    pub max_body_bytes: usize,
    /// Concurrent connections; with one more the oldest is asked to close.
    pub max_connections: usize,
    /// From the stop signal until running requests are cut.
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
    /// The limits with those that the operator configured.
    #[must_use]
    pub fn configured(config: &Config) -> Self {
        Self {
            max_connections: config.max_connections as usize,
            drain_grace: Duration::from_secs(config.drain_seconds.into()),
            ..Self::default()
        }
    }
}

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}`: {reason}")]
pub struct ServerError {
    address: SocketAddr,
    reason: String,
    remedy: &'static str,
}

impl ServerError {
    /// What an operator of `firman serve` can do about it.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        Remedy::action(self.remedy)
    }

    fn new(address: SocketAddr, error: &io::Error) -> Self {
        let kind = error.kind();
        let (reason, remedy) = if kind == io::ErrorKind::AddrInUse {
            (
                "address already in use".to_owned(),
                "stop the other process, or choose another address with `FIRMAN_LISTEN` (public) or `FIRMAN_ADMIN_LISTEN` (private)",
            )
        } else if kind == io::ErrorKind::PermissionDenied {
            (
                "permission denied".to_owned(),
                "choose a port from 1024 with `FIRMAN_LISTEN` (public) or `FIRMAN_ADMIN_LISTEN` (private), and put a proxy in front of it",
            )
        } else if kind == io::ErrorKind::AddrNotAvailable {
            (
                "not an address of this machine".to_owned(),
                "set `FIRMAN_LISTEN` or `FIRMAN_ADMIN_LISTEN` to an address of this machine: `127.0.0.1` for this machine only, `0.0.0.0` for all its addresses",
            )
        } else {
            (
                cause::reason(error),
                "choose another address with `FIRMAN_LISTEN` (public) or `FIRMAN_ADMIN_LISTEN` (private)",
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
    /// Listens on `address`; port 0 is any free port.
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

    /// The address that was bound, with its actual port.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// The service on a listener.
#[derive(Clone, Debug)]
pub struct Service {
    /// Which path has which answer.
    pub router: Router,
    /// Which `Host` values are accepted.
    pub hosts: HostPolicy,
    /// The resources that a client may use.
    pub limits: Limits,
    /// Dates the request ids.
    pub clock: Arc<dyn Clock>,
    /// Makes the request ids unguessable and distinct.
    pub random: Arc<dyn Random>,
}

/// Serves until `stop` turns true (or its sender is gone), then accepts no more connections, lets accepted
/// requests finish for [`Limits::drain_grace`], cuts the rest, and returns.
///
/// A router receives each request with its complete body, and with [`PeerAddr`] and [`RequestId`] among the
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
