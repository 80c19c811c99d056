//! HTTP/1 or HTTP/2 on a caller's connection, until it ends or is drained.
//!
//! hyper holds two buffers of 8 KiB for an HTTP/1 connection. While it is idle they are freed (the connection is
//! parked), so an idle connection costs little more than its socket. They are allocated again for the next
//! request.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use hyper::body::{Body, Incoming};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::connection::{ActiveRequest, ConnectionState, DeadlineIo, IdleDetector};
use super::flow_control::{self, FlowControlled};
use super::limits::{
    ConnectionTimeouts, FINAL_WRITES, HEAD_BYTES, HEAD_LINES, HTTP2_ERROR_STREAMS, HTTP2_PING,
    HTTP2_RESET_STREAMS, HTTP2_SEND_BUFFER, HTTP2_STREAMS, Phase,
};
use super::prefixed_io::PrefixedIo;
use super::request_head::RequestHeadIo;
use super::socket::Duplex;
use crate::gateway::Live;
use crate::gateway::catch_panic::CatchPanic;
use crate::gateway::request::handle::handle;
use crate::gateway::response::refusal::Refusal;

/// The first bytes of every HTTP/2 connection (RFC 9113, section 3.4).
const HTTP2_PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// hyper's settings for every connection.
pub(super) struct HttpSettings {
    http1: http1::Builder,
    http2: http2::Builder<StreamExecutor>,
}

impl HttpSettings {
    /// Limits what HTTP/2 callers can occupy. hyper bounds the rest itself: it answers no more pings and
    /// settings than it can write, counts the frames of a head and empty frames, and closes a connection whose
    /// streams are reset before they are served.
    pub(super) fn new(live: Arc<Live>, phase: watch::Receiver<Phase>) -> Self {
        let mut http1 = http1::Builder::new();
        http1.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(HEAD_BYTES);
        let mut http2 = http2::Builder::new(StreamExecutor { live, phase });
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(HTTP2_RESET_STREAMS)
            .max_local_error_reset_streams(HTTP2_ERROR_STREAMS)
            .max_send_buf_size(HTTP2_SEND_BUFFER)
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING);
        Self { http1, http2 }
    }
}

/// Serves a connection until its end. `due` is the deadline of the first head.
pub(super) async fn serve<S: Duplex + 'static>(
    live: &Arc<Live>,
    stream: S,
    timeouts: ConnectionTimeouts,
    due: Instant,
    settings: &HttpSettings,
    mut phase: watch::Receiver<Phase>,
) {
    let state = Arc::<ConnectionState>::default();
    let io = DeadlineIo::new(stream, state.clone(), timeouts, due);
    let mut io = PrefixedIo::new(RequestHeadIo::new(io, state.clone(), live.clone()));
    let is_http2 = tokio::select! {
        biased;
        is_http2 = detect_http2(&mut io) => is_http2,
        _ = phase.wait_for(|phase| *phase != Phase::Running) => return,
    };
    match is_http2 {
        Ok(false) => {}
        Ok(true) => return Box::pin(serve_http2(live, io, &state, settings, &mut phase)).await,
        Err(_) => return,
    }
    loop {
        // The box lives from the start of a request until the connection is parked again.
        let parked = Box::pin(serve_http1(live, io, &state, settings, &mut phase)).await;
        let Some(parked) = parked else { return };
        io = parked;
        if !is_readable_again(&mut io, &mut phase).await {
            // Sends the TLS close_notify to a caller that still reads.
            let _ = timeout(FINAL_WRITES, io.shutdown()).await;
            return;
        }
    }
}

/// Reads as many bytes as it takes to decide, and puts them back.
async fn detect_http2<S: AsyncRead + Unpin>(io: &mut PrefixedIo<S>) -> io::Result<bool> {
    let mut bytes = [0; HTTP2_PREFACE.len()];
    let mut length = 0;
    while length < bytes.len() && HTTP2_PREFACE.starts_with(&bytes[..length]) {
        match io.inner.read(&mut bytes[length..]).await? {
            0 => break,
            more => length += more,
        }
    }
    io.put_back(&bytes[..length]);
    Ok(bytes == *HTTP2_PREFACE)
}

/// Waits until a parked connection has bytes to read. Returns false if it should close. It reads nothing, so
/// bytes that arrive while it is parked, or just before, are still there.
async fn is_readable_again<S: Duplex>(
    io: &mut PrefixedIo<RequestHeadIo<DeadlineIo<S>>>,
    phase: &mut watch::Receiver<Phase>,
) -> bool {
    tokio::select! {
        biased;
        readable = poll_fn(|cx| io.inner.get_mut().poll_readable(cx)) => readable.is_ok(),
        _ = phase.wait_for(|phase| *phase != Phase::Running) => false,
    }
}

/// Serves requests one after another. Returns the connection when it is idle, to be parked.
async fn serve_http1<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    live: &Arc<Live>,
    io: PrefixedIo<S>,
    state: &Arc<ConnectionState>,
    settings: &HttpSettings,
    phase: &mut watch::Receiver<Phase>,
) -> Option<PrefixedIo<S>> {
    let mut connection =
        settings.http1.serve_connection(TokioIo::new(io), service(live.clone(), state.clone()));
    let mut idle = IdleDetector::default();
    let is_idle = drive(Pin::new(&mut connection), phase, |connection, cx| {
        let connection = connection.get_mut();
        if Pin::new(&mut *connection).poll(cx).is_ready() {
            return Poll::Ready(false);
        }
        ready!(idle.poll(cx, state));
        // Nothing is left to write. If hyper ends at once on a graceful shutdown, it is between two requests
        // and reads no more. Otherwise it goes on to a regular end.
        Pin::new(&mut *connection).graceful_shutdown();
        connection.poll_without_shutdown(cx).map(|ended| ended.is_ok())
    });
    if !is_idle.await {
        return None;
    }
    let parts = connection.into_parts();
    let mut io = parts.io.into_inner();
    // The start of a head that arrived in one piece with the previous request.
    io.put_back(&parts.read_buf);
    Some(io)
}

/// Serves an HTTP/2 connection.
async fn serve_http2<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    live: &Arc<Live>,
    io: PrefixedIo<S>,
    state: &Arc<ConnectionState>,
    settings: &HttpSettings,
    phase: &mut watch::Receiver<Phase>,
) {
    let service = service(live.clone(), state.clone());
    let connection = pin!(settings.http2.serve_connection(TokioIo::new(io), service));
    drive(connection, phase, |mut connection, cx| {
        let ended = connection.as_mut().poll(cx);
        if ended.is_pending() && state.take_idle_expired() {
            connection.as_mut().graceful_shutdown();
            return connection.poll(cx).map(|_| false);
        }
        ended.map(|_| false)
    })
    .await;
}

/// Polls a connection until it ends, and shuts it down when the program stops. Errors of a caller's connection
/// are not logged here: the access line of its request contains how it ended.
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
                    let _ = timeout(FINAL_WRITES, connection.as_mut()).await;
                    return false;
                }
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Returns the service that handles the requests of a connection.
fn service(
    live: Arc<Live>,
    state: Arc<ConnectionState>,
) -> impl Service<
    Request<Incoming>,
    Response = Response<impl Body<Data = bytes::Bytes, Error = BoxError> + Send + 'static>,
    Error = Infallible,
    Future: Send + Unpin + 'static,
> + Unpin {
    service_fn(move |request: Request<Incoming>| {
        let active = state.start_request(request.version());
        let live = live.clone();
        // Boxed: it is large, and it is moved several times before it runs.
        Box::pin(async move {
            let checked = check_head(&request, &active);
            let response = handle(live, request, checked).await;
            let body = |body| FlowControlled(active.until_end_of(CatchPanic::new(body)));
            Ok(response.map(body))
        })
    })
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Refuses a head that breaks the rules of HTTP, or the limits that hyper checks only over HTTP/1.
fn check_head(request: &Request<Incoming>, active: &ActiveRequest) -> Result<(), Refusal> {
    if active.is_framed_twice() {
        return Err(Refusal::FramedTwice);
    }
    if request.headers().len() > HEAD_LINES {
        return Err(Refusal::LargeHead { bytes: HEAD_BYTES, lines: HEAD_LINES });
    }
    Ok(())
}

/// Runs the responses of HTTP/2 connections, each in its own task, and wakes them after the drain timeout, so
/// they can send their error event. A response over HTTP/1 is polled with its connection.
#[derive(Clone)]
struct StreamExecutor {
    live: Arc<Live>,
    phase: watch::Receiver<Phase>,
}

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, response: F) {
        let mut phase = self.phase.clone();
        let write_timeout = self.live.gateway().config.server.write_timeout;
        tokio::spawn(async move {
            let mut response = pin!(flow_control::send(response, write_timeout));
            let cut = async { drop(phase.wait_for(|phase| *phase == Phase::Cut).await) };
            tokio::select! {
                () = &mut response => return,
                () = cut => {}
            }
            response.await;
        });
    }
}
