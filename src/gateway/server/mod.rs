//! The server: it accepts connections under their limits, runs HTTP on them, and drains them at the stop
//! signal. Each file uses only those before it in this list:
//!
//! ```text
//! limits.rs        sizes and counts of what a caller may send
//! socket.rs        a TCP, unix or TLS connection as a stream of bytes
//! listener.rs      binds and accepts
//! connection.rs    the state of a connection, and deadlines on its reads and writes
//! request_head.rs  watches an HTTP/1 head for what hyper does not report
//! prefixed_io.rs   a connection with bytes put back in front
//! flow_control.rs  cuts HTTP/2 callers that do not take their response
//! http.rs          HTTP/1 or HTTP/2 on a connection, until it ends or is drained
//! accept.rs        the accept loop
//! ```

mod accept;
mod connection;
mod flow_control;
mod http;
mod limits;
mod listener;
mod prefixed_io;
mod request_head;
mod socket;

pub use accept::run;
pub use limits::Phase;
pub use listener::{AcceptErrors, Listener};
pub use socket::{Duplex, Socket};
