//! Binds the listening socket and accepts connections on it.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use listenfd::ListenFd;
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio::time::{Instant, sleep};

use super::limits::ACCEPT_BACKLOG;
use super::socket::Socket;
use crate::config::Listen;

/// The pause after a failure to accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The shortest time between two warnings about failures to accept.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket, and its path if it was created here.
    Unix(UnixListener, Option<PathBuf>),
}

impl Listener {
    /// Binds an address, or takes a socket that systemd passed.
    pub fn bind(listen: &Listen, passed: &mut ListenFd) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let socket = match address {
                    SocketAddr::V4(_) => TcpSocket::new_v4()?,
                    SocketAddr::V6(_) => TcpSocket::new_v6()?,
                };
                // A restart must not wait for connections of the previous process.
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                Ok(Listener::Tcp(socket.listen(ACCEPT_BACKLOG)?))
            }
            Listen::Unix(path) => {
                remove_stale(path)?;
                Ok(Listener::Unix(UnixListener::bind(path)?, Some(path.clone())))
            }
            Listen::Systemd(name) => {
                let index = systemd_index(name.as_deref())?;
                if let Ok(Some(listener)) = passed.take_tcp_listener(index) {
                    return Self::tcp(listener);
                }
                match passed.take_unix_listener(index)? {
                    Some(listener) => {
                        listener.set_nonblocking(true)?;
                        Ok(Listener::Unix(UnixListener::from_std(listener)?, None))
                    }
                    None => Err(io::Error::other("systemd passed no such socket")),
                }
            }
        }
    }

    /// Accepts the next connection.
    pub async fn accept(&self) -> io::Result<Socket> {
        Ok(match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // This fails only on a closed connection, which fails by itself.
                let _ = stream.set_nodelay(true);
                Box::new(stream)
            }
            Listener::Unix(listener, _) => Box::new(listener.accept().await?.0),
        })
    }

    fn tcp(listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Listener::Tcp(TcpListener::from_std(listener)?))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Listener::Unix(_, Some(path)) = self {
            // If this fails, the next start finds a stale socket file and removes it.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Removes a socket file without a listener: a killed process left it. Any other file stays; connecting to it
/// is refused all the same, and then binding fails.
fn remove_stale(path: &Path) -> io::Result<()> {
    if !path.symlink_metadata().is_ok_and(|file| file.file_type().is_socket()) {
        return Ok(());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(_) => Ok(()),
    }
}

/// Returns the index of a socket by its name. `LISTEN_FDNAMES` contains the names, separated by colons:
/// sd_listen_fds_with_names(3).
fn systemd_index(name: Option<&str>) -> io::Result<usize> {
    let Some(name) = name else { return Ok(0) };
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    names
        .split(':')
        .position(|passed| passed == name)
        .ok_or_else(|| io::Error::other("systemd passed no socket of that name"))
}

/// Slows the accept loop down when accepting fails, and limits the warnings about it.
#[derive(Debug, Default)]
pub struct AcceptErrors {
    last_warning: Option<Instant>,
    since_warning: u64,
}

impl AcceptErrors {
    /// Waits after a failure. The most likely cause is a lack of file descriptors, which ending connections
    /// return.
    pub async fn back_off(&mut self, error: &io::Error) {
        // accept(2): errors of one connection that happened before it was accepted.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        ) {
            return;
        }
        self.since_warning += 1;
        if self.last_warning.is_none_or(|at| at.elapsed() >= WARN_INTERVAL) {
            tracing::warn!(%error, times = self.since_warning, "cannot accept a connection");
            *self = Self { last_warning: Some(Instant::now()), since_warning: 0 };
        }
        sleep(ACCEPT_PAUSE).await;
    }
}
