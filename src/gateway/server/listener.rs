//! The accept loop: connections in, under their limits, until the stop signal has drained them.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use listenfd::ListenFd;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::{Listen, Tls};
use crate::gateway::Live;
use crate::gateway::server::connection::Limits;
use crate::gateway::server::http::{Settings, serve};

/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 4096;
/// How long to wait after a failure to accept, and until it is told again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// How far the program is on its way to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connections are accepted.
    Running,
    /// None is; what runs may finish.
    Draining,
    /// What still runs ends with an error now.
    Cut,
}

/// A bound socket.
#[derive(Debug)]
pub enum Listener {
    /// TCP.
    Tcp(TcpListener),
    /// A unix socket, and its path when it was made here.
    Unix(UnixListener, Option<PathBuf>),
}

/// A connection of either kind.
pub type Stream = Box<dyn Duplex>;

/// What a connection can do.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Sync + Unpin {
    /// Ready once there is something to read, or an end.
    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Duplex for TcpStream {
    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl Duplex for UnixStream {
    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_read_ready(cx)
    }
}

impl Duplex for Stream {
    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        (**self).poll_heard(cx)
    }
}

impl<S: Duplex> Duplex for TlsStream<S> {
    /// What is heard may be of TLS alone, with nothing to read in it. What came before has been taken from
    /// the socket and read, or else reading would not have had to wait.
    fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_ref().0.poll_heard(cx)
    }
}

impl Listener {
    /// Binds, or takes what systemd handed over.
    pub fn bind(listen: &Listen, handed: &mut ListenFd) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let socket = match address {
                    SocketAddr::V4(_) => TcpSocket::new_v4()?,
                    SocketAddr::V6(_) => TcpSocket::new_v6()?,
                };
                // A restart need not wait for the connections of the run before it.
                socket.set_reuseaddr(true)?;
                socket.bind(*address)?;
                Ok(Listener::Tcp(socket.listen(BACKLOG)?))
            }
            Listen::Unix(path) => {
                remove_stale(path)?;
                Ok(Listener::Unix(UnixListener::bind(path)?, Some(path.clone())))
            }
            Listen::Systemd(name) => {
                let at = handed_place(name.as_deref())?;
                if let Ok(Some(listener)) = handed.take_tcp_listener(at) {
                    return Self::tcp(listener);
                }
                match handed.take_unix_listener(at)? {
                    Some(listener) => {
                        listener.set_nonblocking(true)?;
                        Ok(Listener::Unix(UnixListener::from_std(listener)?, None))
                    }
                    None => Err(io::Error::other("systemd handed over no such socket")),
                }
            }
        }
    }

    /// The next connection.
    pub async fn accept(&self) -> io::Result<Stream> {
        Ok(match self {
            Listener::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // A connection that is gone already fails by itself.
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
            // A socket file that stays behind is found stale at the next start.
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A socket file nobody listens at is left over from a program that was killed. Any other file stays:
/// connecting to it is refused just the same, and binding then fails.
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

/// sd_listen_fds_with_names(3): the names stand in `LISTEN_FDNAMES`, separated by colons.
fn handed_place(name: Option<&str>) -> io::Result<usize> {
    let Some(name) = name else { return Ok(0) };
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    names
        .split(':')
        .position(|handed| handed == name)
        .ok_or_else(|| io::Error::other("systemd handed over no socket of that name"))
}

/// Accepts until `phase` leaves [`Phase::Running`], then waits for the connections to end.
pub async fn run(live: Arc<Live>, listener: Listener, mut phase: watch::Receiver<Phase>) {
    let most = live.gateway().config.server.max_connections;
    let free = Arc::new(Semaphore::new(most));
    let settings = Arc::new(Settings::new(live.clone(), phase.clone()));
    let mut trouble = Trouble::default();
    loop {
        let accepted = tokio::select! {
            _ = phase.wait_for(|phase| *phase != Phase::Running) => break,
            accepted = accept(&listener, &free) => accepted,
        };
        match accepted {
            Ok((stream, permit)) => {
                let (live, settings, phase) = (live.clone(), settings.clone(), phase.clone());
                tokio::spawn(async move {
                    let _counted = Counted::new(&live);
                    connection(&live, stream, &settings, phase).await;
                    drop(permit);
                });
            }
            Err(error) => trouble.rest(&error).await,
        }
    }
    drop(listener);
    // All permits are back when the last connection has ended.
    let all = u32::try_from(most).unwrap_or(u32::MAX);
    let _ = free.acquire_many(all).await;
}

/// A connection as it is counted.
struct Counted<'l>(&'l Live);

impl<'l> Counted<'l> {
    fn new(live: &'l Live) -> Self {
        live.metrics.connections.inc();
        Self(live)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
    }
}

/// Failures to accept a connection.
#[derive(Debug, Default)]
pub struct Trouble {
    told: Option<Instant>,
    since: u64,
}

impl Trouble {
    /// Waits for as long as the failure is likely to last. Out of file descriptors, most likely, and
    /// connections that end give some back; the log does not grow meanwhile.
    pub async fn rest(&mut self, error: &io::Error) {
        // accept(2): what went wrong with the one connection before it was accepted.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        ) {
            return;
        }
        self.since += 1;
        if self.told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            tracing::warn!(%error, times = self.since, "cannot accept a connection");
            *self = Self { told: Some(Instant::now()), since: 0 };
        }
        sleep(ACCEPT_AGAIN).await;
    }
}

async fn accept(
    listener: &Listener,
    free: &Arc<Semaphore>,
) -> io::Result<(Stream, OwnedSemaphorePermit)> {
    let permit = free.clone().acquire_owned().await.map_err(io::Error::other)?;
    Ok((listener.accept().await?, permit))
}

async fn connection(
    live: &Arc<Live>,
    stream: Stream,
    settings: &Settings,
    mut phase: watch::Receiver<Phase>,
) {
    let (limits, due) = {
        // A long-lived connection must not keep an old configuration alive.
        let gateway = live.gateway();
        let server = &gateway.config.server;
        let limits = Limits { head: server.head_timeout, write: server.write_timeout };
        (limits, Instant::now() + limits.head)
    };
    let heard = timeout_at(due, poll_fn(|cx| stream.poll_heard(cx)));
    tokio::select! {
        heard = heard => if !matches!(heard, Ok(Ok(()))) { return },
        _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
    }
    // In boxes: callers that have not said a word cost a tenth of the others.
    match live.gateway().tls.clone() {
        None => Box::pin(serve(live, stream, limits, due, settings, phase)).await,
        Some(config) => {
            let handshake = Box::pin(TlsAcceptor::from(config).accept(stream));
            if let Ok(Ok(stream)) = timeout_at(due, handshake).await {
                let due = Instant::now() + limits.head;
                Box::pin(serve(live, stream, limits, due, settings, phase)).await;
            }
        }
    }
}

/// The listener's side of TLS; certificates follow the configuration without a restart.
pub(crate) fn tls_config(tls: &Tls) -> io::Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(certificates) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates {
                roots.add(certificate.clone()).map_err(io::Error::other)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
                .build()
                .map_err(io::Error::other)?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(tls.cert.clone(), tls.key.clone_key())
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
