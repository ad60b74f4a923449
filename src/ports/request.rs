//! What the server knows about a request besides its content; handlers take it as an extension.

use std::net::SocketAddr;

/// The id of a request: made here, in the answer's `X-Request-Id`, in the log and in the audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

/// The address of the peer, from the connection and never from a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddr(pub SocketAddr);
