//! An HTTP/1.1 connection that is driven by the task whose request it serves, and the body of an
//! answer read from it.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Incoming, SizeHint};
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Stream;
use super::pool::Place;
use crate::upstream::request_body::Outgoing;

/// What is read ahead of a caller that is slower than its provider, and the largest head of an answer. The
/// library's own limit is 408 KiB.
const BUFFER: usize = 64 * 1024;

type Driven = Pin<Box<Connection<TokioIo<Heard>, Outgoing>>>;

/// A connection and the future that drives it.
pub(super) struct Link {
    sender: SendRequest<Outgoing>,
    /// `None` when the connection is over.
    conn: Option<Driven>,
    gate: Arc<Gate>,
    /// The gate's, which the connection is driven with.
    waker: Waker,
    heard: Arc<AtomicBool>,
}

impl Link {
    pub(super) async fn new(stream: Stream) -> hyper::Result<Self> {
        let heard = Arc::new(AtomicBool::new(false));
        let io = Heard { stream: TokioIo::new(stream), heard: heard.clone() };
        let (sender, conn) =
            Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(io)).await?;
        let gate = Arc::<Gate>::default();
        let waker = Waker::from(gate.clone());
        Ok(Self { sender, conn: Some(Box::pin(conn)), gate, waker, heard })
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> {
        self.heard.store(false, Ordering::Relaxed);
        let answer = self.sender.send_request(request);
        let (conn, gate, waker) = (&mut self.conn, &self.gate, &self.waker);
        async move {
            let mut answer = pin!(answer);
            poll_fn(|cx| {
                gate.serves(cx.waker());
                while gate.opens() {
                    drive(conn, waker);
                    if let Poll::Ready(answer) = gate.quietly(|cx| answer.as_mut().poll(cx)) {
                        return Poll::Ready(answer);
                    }
                }
                Poll::Pending
            })
            .await
        }
    }

    /// Whether nothing has been read since the last request was sent.
    pub(super) fn is_unheard(&self) -> bool {
        !self.heard.load(Ordering::Relaxed)
    }

    /// Whether another request can be sent. Looks at the socket, so that a connection that the
    /// provider has closed shows.
    pub(super) fn is_usable(&mut self) -> bool {
        while self.gate.opens() {
            drive(&mut self.conn, &self.waker);
        }
        self.conn.is_some() && self.sender.is_ready()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// Polls the connection. One that is over is dropped, which resolves all that waits for it.
fn drive(conn: &mut Option<Driven>, waker: &Waker) {
    let mut cx = Context::from_waker(waker);
    if conn.as_mut().is_some_and(|conn| conn.as_mut().poll(&mut cx).is_ready()) {
        *conn = None;
    }
}

/// Between a connection and the task that drives it: the connection is polled when something has
/// happened to it, and not whenever the task is polled for another reason.
#[derive(Debug)]
struct Gate {
    /// Something has happened to the connection since it was polled last.
    open: AtomicBool,
    /// What happens now is the task's own doing, so it need not be woken for it.
    quiet: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Default for Gate {
    fn default() -> Self {
        Self { open: AtomicBool::new(true), quiet: AtomicBool::new(false), task: Mutex::default() }
    }
}

impl Gate {
    /// Wakes this task from now on. To be called before [`Gate::opens`] is asked.
    fn serves(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    /// Whether the connection is to be polled; it is asked once for each time.
    fn opens(&self) -> bool {
        self.open.swap(false, Ordering::AcqRel)
    }

    /// Takes something that the connection may have handed over. That it was taken opens the gate, but
    /// wakes nobody, and nobody waits for it: nothing is handed over but by driving the connection. So
    /// whoever takes must ask [`Gate::opens`] again before it waits.
    fn quietly<T>(&self, take: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.quiet.store(true, Ordering::Release);
        let taken = take(&mut Context::from_waker(Waker::noop()));
        self.quiet.store(false, Ordering::Release);
        taken
    }
}

impl Wake for Gate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.open.store(true, Ordering::Release);
        if !self.quiet.load(Ordering::Acquire)
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
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
}

impl Inline {
    pub(super) fn new(body: Incoming, link: Link, place: Arc<Place>) -> Self {
        let mut inline = Self { body, link: Some(link), place, over: false };
        if inline.body.is_end_stream() {
            inline.finish();
        }
        inline
    }

    /// The next bytes. Those that are there together leave together all the same: the caller's
    /// connection asks again before it writes.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
        if let Some(link) = &self.link {
            link.gate.serves(cx.waker());
        }
        // Whatever the head's reading brought along is there without the connection being polled.
        loop {
            if let Poll::Ready(next) = self.take() {
                return Poll::Ready(next);
            }
            let Some(link) = &mut self.link else { return Poll::Pending };
            if !link.gate.opens() {
                return Poll::Pending;
            }
            drive(&mut link.conn, &link.waker);
        }
    }

    /// Whether all has been handed over.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    /// How much is still to come.
    pub(crate) fn left(&self) -> SizeHint {
        self.body.size_hint()
    }

    /// What the connection has handed over.
    fn take(&mut self) -> Poll<Option<hyper::Result<Bytes>>> {
        while !self.over {
            let body = &mut self.body;
            let polled = match &self.link {
                Some(link) => link.gate.quietly(|cx| Pin::new(body).poll_frame(cx)),
                None => Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())),
            };
            match polled {
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
