//! HTTP/1 or HTTP/2 on a caller's connection, until it ends or is drained.
//!
//! What hyper keeps of an HTTP/1 connection is mostly two buffers of 8 KiB. While nobody asks it is put away,
//! so that a connection that rests costs little more than its socket, and made anew when the next request
//! comes.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::gateway::Live;
use crate::gateway::catch_panic::Contained;
use crate::gateway::request::handle::handle;
use crate::gateway::response::relay::Body;
use crate::gateway::server::connection::{Guarded, Limits, Quiet, Stage};
use crate::gateway::server::flow_control::{self, Paced};
use crate::gateway::server::listener::{Duplex, Phase};
use crate::gateway::server::request_head::Watched;

/// Largest head of a request, over HTTP/1 and HTTP/2.
pub(crate) const HEAD: usize = 64 * 1024;
/// Most lines of it. The library's own limit over HTTP/1.
pub(crate) const HEAD_LINES: usize = 100;
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
/// How long answers may take to say that they are cut, once the drain time is over.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// With what every HTTP/2 connection begins (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What hyper is told of every connection.
pub(crate) struct Settings {
    http1: http1::Builder,
    http2: http2::Builder<Streams>,
}

impl Settings {
    /// What keeps HTTP/2 callers from more than they asked for. The library bounds the rest by itself: it
    /// answers no more pings and settings than it can write, counts the frames of a head and frames that say
    /// nothing, and closes a connection whose streams are reset before they are served.
    pub(crate) fn new(live: Arc<Live>, phase: watch::Receiver<Phase>) -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD);
        let mut http2 = http2::Builder::new(Streams { live, phase });
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS)
            .max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESET_STREAMS)
            .max_local_error_reset_streams(REFUSED_STREAMS)
            .max_send_buf_size(UNSENT)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PING);
        Self { http1, http2 }
    }
}

/// Serves a connection to its end; `due` is when the first head must be whole.
pub(crate) async fn serve<S: Duplex + 'static>(
    live: &Arc<Live>,
    stream: S,
    limits: Limits,
    due: Instant,
    settings: &Settings,
    mut phase: watch::Receiver<Phase>,
) {
    let stage = Arc::<Stage>::default();
    let guarded = Guarded::new(stream, stage.clone(), limits, due);
    let mut io = Rewound::new(Watched::new(guarded, stage.clone(), live.clone()));
    let begun = tokio::select! {
        biased;
        begun = begins_http2(&mut io) => begun,
        _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
    };
    match begun {
        Ok(false) => {}
        Ok(true) => return Box::pin(shared(live, io, &stage, settings, &mut phase)).await,
        Err(_) => return,
    }
    loop {
        // In a box that lasts from the beginning of a request until the connection is quiet again.
        let quiet = Box::pin(alone(live, io, &stage, settings, &mut phase)).await;
        let Some(quiet) = quiet else { return };
        io = quiet;
        if !is_heard_again(&mut io, &mut phase).await {
            // The end of TLS is said too, to a caller that listens.
            let _ = timeout(LAST_WORDS, io.shutdown()).await;
            return;
        }
    }
}

/// Reads as much as it takes to tell, and puts it back.
async fn begins_http2<S: AsyncRead + Unpin>(io: &mut Rewound<S>) -> io::Result<bool> {
    let mut bytes = [0; PREFACE.len()];
    let mut length = 0;
    while length < bytes.len() && PREFACE.starts_with(&bytes[..length]) {
        match io.inner.read(&mut bytes[length..]).await? {
            0 => break,
            more => length += more,
        }
    }
    io.put_back(&bytes[..length]);
    Ok(bytes == *PREFACE)
}

/// Waits for more of a connection that is put away; false when it is to end. It is not read from, so whatever
/// comes while it is put away, or just before, is still there to be read.
async fn is_heard_again<S: Duplex>(
    io: &mut Rewound<Watched<Guarded<S>>>,
    phase: &mut watch::Receiver<Phase>,
) -> bool {
    tokio::select! {
        biased;
        heard = poll_fn(|cx| io.inner.get_mut().poll_heard(cx)) => heard.is_ok(),
        _ = phase.wait_for(|phase| *phase != Phase::Running) => false,
    }
}

/// Serves requests one after another; gives the connection back when it has become quiet.
async fn alone<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    live: &Arc<Live>,
    io: Rewound<S>,
    stage: &Arc<Stage>,
    settings: &Settings,
    phase: &mut watch::Receiver<Phase>,
) -> Option<Rewound<S>> {
    let mut connection =
        settings.http1.serve_connection(TokioIo::new(io), answering(live.clone(), stage.clone()));
    let mut quiet = Quiet::default();
    let is_quiet = drive(Pin::new(&mut connection), phase, |connection, cx| {
        let connection = connection.get_mut();
        if Pin::new(&mut *connection).poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        ready!(quiet.poll(cx, stage));
        // Nothing is left to write. hyper agrees that it stands between two requests if it ends at once when
        // it is told to; it reads no more then. Otherwise it goes on to a regular end.
        Pin::new(&mut *connection).graceful_shutdown();
        connection.poll_without_shutdown(cx).map(|ended| ended.is_ok())
    });
    if !is_quiet.await {
        return None;
    }
    let parts = connection.into_parts();
    let mut io = parts.io.into_inner();
    // A part of a head that came in one piece with the request before it.
    io.put_back(&parts.read_buf);
    Some(io)
}

/// Serves an HTTP/2 connection.
async fn shared<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    live: &Arc<Live>,
    io: Rewound<S>,
    stage: &Arc<Stage>,
    settings: &Settings,
    phase: &mut watch::Receiver<Phase>,
) {
    let service = answering(live.clone(), stage.clone());
    let connection = pin!(settings.http2.serve_connection(TokioIo::new(io), service));
    drive(connection, phase, |mut connection, cx| {
        let ended = connection.as_mut().poll(cx);
        if ended.is_pending() && stage.has_rested() {
            connection.as_mut().graceful_shutdown();
            return connection.poll(cx).map(|_| false);
        }
        ended.map(|_| false)
    })
    .await;
}

/// Polls a connection until it ends, and lets it end when the program does. What goes wrong on a caller's
/// connection is the caller's business; the access line of its request tells how it ended.
async fn drive<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    phase: &mut watch::Receiver<Phase>,
    mut poll: impl FnMut(Pin<&mut C>, &mut Context<'_>) -> Poll<bool>,
) -> bool {
    loop {
        tokio::select! {
            biased;
            ended = poll_fn(|cx| poll(connection.as_mut(), cx)) => return ended,
            changed = phase.changed() => {
                if changed.is_err() || *phase.borrow() == Phase::Cut {
                    let _ = timeout(LAST_WORDS, connection.as_mut()).await;
                    return false;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// What answers the requests of a connection.
fn answering(
    live: Arc<Live>,
    stage: Arc<Stage>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Paced<Contained<Body>>>,
    Error = Infallible,
    Future: Send + Unpin + 'static,
> + Unpin {
    service_fn(move |request: Request<Incoming>| {
        let busy = stage.begin(request.version());
        let live = live.clone();
        // In a box: it is moved several times before it runs, and it is large.
        Box::pin(async move {
            let answer = handle(live, request, busy).await;
            Ok(answer.map(|body| Paced(Contained::new(body))))
        })
    })
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
            let mut answer = pin!(flow_control::send(answer, patience));
            let cut = async { drop(phase.wait_for(|phase| *phase == Phase::Cut).await) };
            tokio::select! {
                () = &mut answer => return,
                () = cut => {}
            }
            answer.await;
        });
    }
}

/// A connection of which something was read too early.
#[derive(Debug)]
struct Rewound<S> {
    early: Bytes,
    inner: S,
}

impl<S> Rewound<S> {
    fn new(inner: S) -> Self {
        Self { early: Bytes::new(), inner }
    }

    /// Bytes to be read again before all others.
    fn put_back(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.early = [bytes, &self.early].concat().into();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let taken = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..taken]);
        self.early.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
