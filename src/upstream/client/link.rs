//! An HTTP/1.1 connection that is driven by the task whose request it serves, and the body of an
//! answer read from it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming, SizeHint};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Stream;
use super::pool::Place;
use crate::upstream::outgoing::Outgoing;

type Driven = Pin<Box<Connection<TokioIo<Heard>, Outgoing>>>;

/// A connection and the future that drives it.
pub(super) struct Link {
    sender: SendRequest<Outgoing>,
    /// `None` when the connection is over.
    conn: Option<Driven>,
    heard: Arc<AtomicBool>,
}

impl Link {
    pub(super) async fn new(stream: Stream) -> hyper::Result<Self> {
        let heard = Arc::new(AtomicBool::new(false));
        let io = Heard { stream: TokioIo::new(stream), heard: heard.clone() };
        let (sender, conn) = handshake(TokioIo::new(io)).await?;
        Ok(Self { sender, conn: Some(Box::pin(conn)), heard })
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> hyper::Result<Response<Incoming>> {
        self.heard.store(false, Ordering::Relaxed);
        let mut answer = pin!(self.sender.send_request(request));
        let conn = &mut self.conn;
        poll_fn(|cx| {
            drive(conn, cx);
            answer.as_mut().poll(cx)
        })
        .await
    }

    /// Whether nothing has been read since the last request was sent.
    pub(super) fn is_unheard(&self) -> bool {
        !self.heard.load(Ordering::Relaxed)
    }

    /// Whether another request can be sent. Looks at the socket, so that a connection that the
    /// provider has closed shows.
    pub(super) fn is_usable(&mut self) -> bool {
        drive(&mut self.conn, &mut Context::from_waker(Waker::noop()));
        self.conn.is_some() && self.sender.is_ready()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// Polls the connection. One that is over is dropped, which resolves all that waits for it.
fn drive(conn: &mut Option<Driven>, cx: &mut Context<'_>) {
    if conn.as_mut().is_some_and(|conn| conn.as_mut().poll(cx).is_ready()) {
        *conn = None;
    }
}

/// The body of an answer. Dropped before its end it closes the connection; read to its end it leaves
/// the connection to the next request.
#[derive(Debug)]
pub struct Inline {
    body: Incoming,
    link: Option<Link>,
    place: Arc<Place>,
    over: bool,
    /// The task waits for this body: when it is polled again, something has most likely come.
    waiting: bool,
}

impl Inline {
    pub(super) fn new(body: Incoming, link: Link, place: Arc<Place>) -> Self {
        let mut inline = Self { body, link: Some(link), place, over: false, waiting: false };
        if inline.body.is_end_stream() {
            inline.finish();
        }
        inline
    }

    /// The next bytes. Those that are there together leave together all the same: the caller's
    /// connection asks again before it writes.
    ///
    /// Taking a frame from hyper wakes whoever drove the connection last, which here is the task that
    /// takes the frame: it would be polled once more for nothing. So the connection is driven quietly
    /// where a frame is expected, and with the task's waker before every `Pending`.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
        if self.waiting {
            let polled = self.poll_one(&mut Context::from_waker(Waker::noop()));
            if polled.is_ready() {
                self.waiting = false;
                return polled;
            }
        }
        let polled = self.poll_one(cx);
        self.waiting = polled.is_pending();
        polled
    }

    /// Whether all has been handed over.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// How much is still to come.
    pub(crate) fn left(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn poll_one(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
        while !self.over {
            if let Some(link) = &mut self.link {
                drive(&mut link.conn, cx);
            }
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.finish(),
                Poll::Ready(Some(Err(error))) => {
                    self.over = true;
                    self.link = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    // Trailers say nothing to callers of these APIs.
                    let Ok(bytes) = frame.into_data() else { continue };
                    if self.body.is_end_stream() {
                        self.finish();
                    }
                    return Poll::Ready(Some(Ok(bytes)));
                }
            }
        }
        Poll::Ready(None)
    }

    /// The answer has been read to its end.
    fn finish(&mut self) {
        self.over = true;
        if let Some(mut link) = self.link.take()
            && link.is_usable()
        {
            self.place.push(link);
        }
    }
}

/// A stream that notes when something was read from it: after that a request is not sent again.
struct Heard {
    stream: TokioIo<Stream>,
    heard: Arc<AtomicBool>,
}

impl AsyncRead for Heard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for Heard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
