//! An HTTP/1.1 connection that is driven by the task whose request it serves.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Stream;
use crate::upstream::request_body::RequestBody;

/// Bytes read ahead of a caller that is slower than its provider, and the largest head of an answer. The
/// library's own limit is 408 KiB.
const BUFFER: usize = 64 * 1024;

type Driver = Pin<Box<Connection<TokioIo<ReadTracker>, RequestBody>>>;

/// A connection and the future that drives it.
pub(super) struct H1Connection {
    sender: SendRequest<RequestBody>,
    /// `None` when the connection has ended.
    driver: Option<Driver>,
    gate: Arc<PollGate>,
    /// The gate as the waker that the driver is polled with.
    waker: Waker,
    /// Set when a byte was read since the last request was sent.
    has_read: Arc<AtomicBool>,
}

impl H1Connection {
    pub(super) async fn new(stream: Stream) -> hyper::Result<Self> {
        let has_read = Arc::new(AtomicBool::new(false));
        let io = ReadTracker { stream: TokioIo::new(stream), has_read: has_read.clone() };
        let (sender, driver) =
            Builder::new().max_buf_size(BUFFER).handshake(TokioIo::new(io)).await?;
        let gate = Arc::<PollGate>::default();
        let waker = Waker::from(gate.clone());
        Ok(Self { sender, driver: Some(Box::pin(driver)), gate, waker, has_read })
    }

    /// Sends a request and waits for the head of its answer.
    pub(super) fn send(
        &mut self,
        request: Request<RequestBody>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> {
        self.has_read.store(false, Ordering::Relaxed);
        let answer = self.sender.send_request(request);
        let (driver, gate, waker) = (&mut self.driver, &self.gate, &self.waker);
        async move {
            let mut answer = pin!(answer);
            poll_fn(|cx| {
                gate.set_task(cx.waker());
                while gate.take_wake() {
                    drive(driver, waker);
                    if let Poll::Ready(answer) = gate.quietly(|cx| answer.as_mut().poll(cx)) {
                        return Poll::Ready(answer);
                    }
                }
                Poll::Pending
            })
            .await
        }
    }

    /// Returns true if a byte was read since the last request was sent.
    pub(super) fn has_read(&self) -> bool {
        self.has_read.load(Ordering::Relaxed)
    }

    /// Returns true if another request can be sent. Polls the socket, so that a connection closed by the
    /// provider is detected.
    pub(super) fn is_usable(&mut self) -> bool {
        while self.drive_if_woken() {}
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Makes the connection wake this task from now on. Call it before
    /// [`drive_if_woken`](Self::drive_if_woken).
    pub(super) fn set_waker(&self, waker: &Waker) {
        self.gate.set_task(waker);
    }

    /// Polls the connection if something happened to it since the last poll; returns false if not.
    pub(super) fn drive_if_woken(&mut self) -> bool {
        let is_woken = self.gate.take_wake();
        if is_woken {
            drive(&mut self.driver, &self.waker);
        }
        is_woken
    }

    /// See [`PollGate::quietly`].
    pub(super) fn poll_quietly<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.gate.quietly(poll)
    }
}

impl fmt::Debug for H1Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("H1Connection").finish_non_exhaustive()
    }
}

/// Polls the connection. One that has ended is dropped, which resolves everything that waits for it.
fn drive(driver: &mut Option<Driver>, waker: &Waker) {
    let mut cx = Context::from_waker(waker);
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(&mut cx).is_ready()) {
        *driver = None;
    }
}

/// The waker between a connection and the task that drives it: the connection is polled only when
/// something happened to it, not each time the task is polled for another reason.
#[derive(Debug)]
struct PollGate {
    /// Set when something happened to the connection since the last poll.
    is_woken: AtomicBool,
    /// Set while the task itself causes the events, so that it need not be woken.
    is_quiet: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Default for PollGate {
    fn default() -> Self {
        Self {
            is_woken: AtomicBool::new(true),
            is_quiet: AtomicBool::new(false),
            task: Mutex::default(),
        }
    }
}

impl PollGate {
    /// Wakes this task from now on. Call it before [`PollGate::take_wake`].
    fn set_task(&self, waker: &Waker) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if !task.as_ref().is_some_and(|task| task.will_wake(waker)) {
            *task = Some(waker.clone());
        }
    }

    /// Returns true if the connection must be polled, once for each event.
    fn take_wake(&self) -> bool {
        self.is_woken.swap(false, Ordering::AcqRel)
    }

    /// Runs `poll`, which may take something that the connection has handed over. Taking it sets
    /// `is_woken` but wakes no task, and no task waits for it: only driving the connection hands anything
    /// over. So the caller must check [`PollGate::take_wake`] again before it returns `Pending`.
    fn quietly<T>(&self, poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
        self.is_quiet.store(true, Ordering::Release);
        let polled = poll(&mut Context::from_waker(Waker::noop()));
        self.is_quiet.store(false, Ordering::Release);
        polled
    }
}

impl Wake for PollGate {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        if !self.is_quiet.load(Ordering::Acquire)
            && let Some(task) = &*self.task.lock().unwrap_or_else(PoisonError::into_inner)
        {
            task.wake_by_ref();
        }
    }
}

/// A stream that records that something was read from it: after that a request is not sent again.
struct ReadTracker {
    stream: TokioIo<Stream>,
    has_read: Arc<AtomicBool>,
}

impl AsyncRead for ReadTracker {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.has_read.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl AsyncWrite for ReadTracker {
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
