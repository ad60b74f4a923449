//! What the server knows of a request and the rooms above it need for the audit and for problems.

/// The id of a request, in its answer, in its log lines and in its audit entries.
#[derive(Clone, Debug)]
pub struct RequestId(pub String);

/// The address of the peer of the connection; never taken from a header.
#[derive(Clone, Copy, Debug)]
pub struct PeerAddr(pub std::net::SocketAddr);
