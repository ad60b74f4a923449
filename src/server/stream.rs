//! A TCP stream that ends when the client is too slow.
//!
//! hyper has one timer for "waiting for a request" and "receiving its headers", and none for a client that
//! does not read its answer. Here they are three: see [`Limits`].

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::Limits;

/// The state of a connection; the stream (bytes) and the exchange (requests) both update it.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<AtomicU8>);

const RECEIVING_HEAD: u8 = 0;
const SERVING: u8 = 1;
const RESTING: u8 = 2;
const CLOSING: u8 = 3;

impl Activity {
    /// The state of a new connection, which must send a request.
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(RECEIVING_HEAD)))
    }

    /// The headers of a request are complete.
    pub(super) fn request_began(&self) {
        self.0.store(SERVING, Ordering::Relaxed);
    }

    /// The answer is known; `is_last` when we close the connection after it.
    pub(super) fn request_ended(&self, is_last: bool) {
        self.0
            .store(if is_last { CLOSING } else { RESTING }, Ordering::Relaxed);
    }

    /// True when the last answer was a refusal that leaves the rest of the request unread.
    pub(super) fn is_closing(&self) -> bool {
        self.0.load(Ordering::Relaxed) == CLOSING
    }

    /// True from the end of a request's headers until its answer is known.
    pub(super) fn is_serving(&self) -> bool {
        self.0.load(Ordering::Relaxed) == SERVING
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct TimedStream {
    stream: TcpStream,
    activity: Activity,
    header_read_timeout: Duration,
    write_timeout: Duration,
    head_due: Pin<Box<Sleep>>,
    /// Set while the client reads nothing of its answer.
    write_due: Option<Pin<Box<Sleep>>>,
}

impl TimedStream {
    /// Starts the clock for the first request.
    pub(super) fn new(stream: TcpStream, activity: Activity, limits: &Limits) -> Self {
        Self {
            stream,
            activity,
            header_read_timeout: limits.header_read_timeout,
            write_timeout: limits.write_timeout,
            head_due: Box::pin(sleep_until(Instant::now() + limits.header_read_timeout)),
            write_due: None,
        }
    }

    /// The stream without its timers.
    pub(super) fn into_inner(self) -> TcpStream {
        self.stream
    }

    fn watch_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.write_due = None;
            return outcome;
        }
        let timeout = self.write_timeout;
        let due = self
            .write_due
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + timeout)));
        match due.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let activity = this.activity.0.load(Ordering::Relaxed);
        if activity == RECEIVING_HEAD && this.head_due.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let filled = buf.filled().len();
        let outcome = Pin::new(&mut this.stream).poll_read(cx, buf);
        if activity == RESTING && buf.filled().len() > filled {
            this.activity.0.store(RECEIVING_HEAD, Ordering::Relaxed);
            this.head_due
                .as_mut()
                .reset(Instant::now() + this.header_read_timeout);
        }
        outcome
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch_write(cx, outcome)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.watch_write(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
