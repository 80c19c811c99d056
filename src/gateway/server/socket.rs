//! A caller's connection as a stream of bytes, whatever carries it.

use std::io;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

/// A connection of any kind.
pub type Socket = Box<dyn Duplex>;

/// The operations of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {
    /// Returns `Ready` once there are bytes to read, or the end. It reads nothing.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Duplex for TcpStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl Duplex for UnixStream {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl Duplex for Socket {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_readable(cx)
    }
}

impl<S: Duplex> Duplex for TlsStream<S> {
    /// May be `Ready` for a TLS record without application data. No earlier data is missed: rustls had read
    /// everything from the socket, or else the last read would not have been pending.
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_ref().0.poll_readable(cx)
    }
}
