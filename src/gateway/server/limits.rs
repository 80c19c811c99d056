//! Limits of what callers may send, and the phases of a shutdown.

use std::time::Duration;

/// Largest head of a request in bytes, over HTTP/1 and HTTP/2.
pub(super) const HEAD_BYTES: usize = 64 * 1024;
/// Most header lines of a request. Over HTTP/1 hyper has the same limit.
pub(super) const HEAD_LINES: usize = 100;
/// Most concurrent requests on one HTTP/2 connection.
pub(super) const HTTP2_STREAMS: u32 = 256;
/// Most streams of one HTTP/2 connection that are reset before they are served, at a time. More is an attack
/// (CVE-2023-44487), and the connection is closed.
pub(super) const HTTP2_RESET_STREAMS: usize = 20;
/// Most streams that hyper resets on one connection because its caller violates the protocol.
pub(super) const HTTP2_ERROR_STREAMS: usize = 256;
/// Most bytes buffered for sending on one HTTP/2 stream.
pub(super) const HTTP2_SEND_BUFFER: usize = 64 * 1024;
/// Interval of pings on an HTTP/2 connection, and the time in which each must be answered.
pub(super) const HTTP2_PING: Duration = Duration::from_secs(20);
/// Connections that may wait to be accepted; the system may allow fewer.
pub(super) const ACCEPT_BACKLOG: u32 = 4096;
/// The longest idle time between two requests. It is above the 90 s of Go's clients and the 60 s of common load
/// balancers, so these close first and never race with a request.
pub(super) const IDLE: Duration = Duration::from_secs(120);
/// The time in which responses may send their error event after the drain timeout.
pub(super) const FINAL_WRITES: Duration = Duration::from_secs(1);

/// The timeouts of a connection, from `[server]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionTimeouts {
    /// For a whole request head.
    pub(super) head: Duration,
    /// For progress of a write.
    pub(super) write: Duration,
}

/// The phase of the program's shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connections are accepted.
    Running,
    /// No connections are accepted; running requests may finish.
    Draining,
    /// Requests that still run end with an error.
    Cut,
}
