//! The accept loop: connections in, under their limits, until the stop signal has drained them.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use listenfd::ListenFd;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;

use super::Live;
use super::conn::{Guarded, Limits, Stage};
use super::contain::Contained;
use super::handle::handle;
use super::head::Watched;
use super::pace::{self, Paced};
use crate::config::{Listen, Tls};

/// Largest head of a request, over HTTP/1 and HTTP/2.
pub(super) const HEAD: usize = 64 * 1024;
/// Most lines of it. The library's own limit over HTTP/1.
pub(super) const HEAD_LINES: usize = 100;
/// Requests that one HTTP/2 connection may have open.
const STREAMS: u32 = 256;
/// Streams of one HTTP/2 connection that may be reset before they are served, at a time: more is an
/// attack (CVE-2023-44487), and the connection is closed.
const RESET_STREAMS: usize = 20;
/// Streams that the library may have to reset on one connection, because its caller breaks the protocol.
const REFUSED_STREAMS: usize = 256;
/// What may wait to be sent on one HTTP/2 stream.
const UNSENT: usize = 64 * 1024;
/// An HTTP/2 connection is asked that often whether its caller is there, and ends when no answer comes
/// within the same time.
const PING: Duration = Duration::from_secs(20);
/// Connections that may wait to be accepted; the system may allow fewer.
const BACKLOG: u32 = 4096;
/// How long to wait after a failure to accept, and until it is told again.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
const TELL_AGAIN: Duration = Duration::from_secs(10);
/// How long answers may take to say that they are cut, once the drain time is over.
const LAST_WORDS: Duration = Duration::from_secs(1);

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
    let settings = Arc::new(settings(Streams { live: live.clone(), phase: phase.clone() }));
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

/// Runs the answers of HTTP/2 connections, each a task of its own, and wakes them when the drain time
/// is over, so that they can say that they are cut. An answer over HTTP/1 is polled with its connection.
#[derive(Clone)]
struct Streams {
    live: Arc<Live>,
    phase: watch::Receiver<Phase>,
}

impl<F> Executor<F> for Streams
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, answer: F) {
        let mut phase = self.phase.clone();
        let patience = self.live.gateway().config.server.write_timeout;
        tokio::spawn(async move {
            let mut answer = pin!(pace::send(answer, patience));
            let cut = async { drop(phase.wait_for(|phase| *phase == Phase::Cut).await) };
            tokio::select! {
                () = &mut answer => return,
                () = cut => {}
            }
            answer.await;
        });
    }
}

/// What keeps HTTP/2 callers from more than they asked for. The library bounds the rest by itself: it
/// answers no more pings and settings than it can write, counts the frames of a head and frames that say
/// nothing, and closes a connection whose streams are reset before they are served.
fn settings(streams: Streams) -> auto::Builder<Streams> {
    let mut settings = auto::Builder::new(streams);
    settings.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD);
    settings
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESET_STREAMS)
        .max_local_error_reset_streams(REFUSED_STREAMS)
        .max_send_buf_size(UNSENT)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    settings
}

async fn connection(
    live: &Arc<Live>,
    stream: Stream,
    settings: &auto::Builder<Streams>,
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
        None => Box::pin(http(live, stream, limits, due, settings, phase)).await,
        Some(config) => {
            let handshake = Box::pin(TlsAcceptor::from(config).accept(stream));
            if let Ok(Ok(stream)) = timeout_at(due, handshake).await {
                let due = Instant::now() + limits.head;
                Box::pin(http(live, stream, limits, due, settings, phase)).await;
            }
        }
    }
}

async fn http<S>(
    live: &Arc<Live>,
    stream: S,
    limits: Limits,
    due: Instant,
    settings: &auto::Builder<Streams>,
    mut phase: watch::Receiver<Phase>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stage = Arc::<Stage>::default();
    let guarded = Guarded::new(stream, stage.clone(), limits, due);
    let io = TokioIo::new(Watched::new(guarded, stage.clone(), live.clone()));
    let service = service_fn(|request| {
        let busy = stage.begin(request.version());
        let live = live.clone();
        // In a box: it is moved several times before it runs, and it is large.
        let answering = Box::pin(handle(live, request, busy));
        async move {
            let answer = answering.await;
            Ok::<_, Infallible>(answer.map(|body| Paced(Contained::new(body))))
        }
    });
    let mut connection = pin!(settings.serve_connection(io, service));
    loop {
        let served = poll_fn(|cx| {
            let ended = connection.as_mut().poll(cx);
            if ended.is_pending() && stage.has_rested() {
                connection.as_mut().graceful_shutdown();
                return connection.as_mut().poll(cx);
            }
            ended
        });
        tokio::select! {
            biased;
            // What goes wrong on a caller's connection is the caller's business; the access line of
            // its request tells how it ended.
            _ = served => break,
            changed = phase.changed() => {
                if changed.is_err() || *phase.borrow() == Phase::Cut {
                    let _ = timeout(LAST_WORDS, connection.as_mut()).await;
                    break;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// The listener's side of TLS; certificates follow the configuration without a restart.
pub(super) fn tls_config(tls: &Tls) -> io::Result<Arc<ServerConfig>> {
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
