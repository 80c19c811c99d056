//! The state of a caller's connection, and deadlines on what the caller does: a head that does not arrive, a
//! response that is not read, a connection left idle.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Version;
use hyper::body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::limits::{ConnectionTimeouts, IDLE};
use super::socket::Duplex;
use crate::gateway::deadline::DeadlineTimer;

/// The idle time after which an HTTP/1 connection is parked, see [`IdleDetector`]. It is longer than a caller
/// takes that sends its next request at once, so the buffers are not allocated again for each request. It is no
/// longer than that, because allocators keep the memory of all connections that were busy within that time.
const PARK_AFTER: Duration = Duration::from_millis(100);

/// The state of a connection between and during requests.
#[derive(Debug, Default)]
pub(super) struct ConnectionState {
    phase: AtomicU8,
    /// The number of requests whose head has arrived.
    started: AtomicU32,
    /// The number of those without a finished response; over HTTP/2 only.
    open: AtomicU32,
    /// True while written bytes may not have been flushed.
    unflushed: AtomicBool,
    /// True if the head that has arrived delimits its body twice.
    framed_twice: AtomicBool,
    /// True if an HTTP/2 connection was idle for [`IDLE`].
    idle_expired: AtomicBool,
}

/// Open, and no whole head has arrived yet.
const NEW: u8 = 0;
/// A response is being sent.
const BUSY: u8 = 1;
/// Between two requests.
const BETWEEN: u8 = 2;
/// The next head has begun to arrive.
const HEAD: u8 = 3;
/// An HTTP/2 connection, which carries concurrent requests.
const HTTP2: u8 = 4;

/// A request whose response is not finished. Dropping it tells the connection.
#[derive(Debug)]
pub(super) struct ActiveRequest {
    connection: Arc<ConnectionState>,
    http2: bool,
    framed_twice: bool,
}

impl ConnectionState {
    /// Records that a whole head has arrived.
    pub(super) fn start_request(self: &Arc<Self>, version: Version) -> ActiveRequest {
        let http2 = version == Version::HTTP_2;
        self.started.fetch_add(1, Ordering::Relaxed);
        if http2 {
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        self.phase.store(if http2 { HTTP2 } else { BUSY }, Ordering::Relaxed);
        let framed_twice = self.framed_twice.load(Ordering::Relaxed);
        if framed_twice {
            self.framed_twice.store(false, Ordering::Relaxed);
        }
        ActiveRequest { connection: self.clone(), http2, framed_twice }
    }

    /// Returns true if the next bytes belong to the first head or to one that has begun.
    pub(super) fn awaits_head(&self) -> bool {
        matches!(self.phase.load(Ordering::Relaxed), NEW | HEAD)
    }

    /// Returns true if the next bytes begin a head.
    pub(super) fn is_between_requests(&self) -> bool {
        self.phase.load(Ordering::Relaxed) == BETWEEN
    }

    /// Records that the head that has arrived delimits its body twice.
    pub(super) fn set_framed_twice(&self) {
        self.framed_twice.store(true, Ordering::Relaxed);
    }

    /// Returns true, once, if the HTTP/2 connection was idle for so long that it should be closed gracefully.
    pub(super) fn take_idle_expired(&self) -> bool {
        self.idle_expired.load(Ordering::Relaxed)
            && self.idle_expired.swap(false, Ordering::Relaxed)
    }
}

impl ActiveRequest {
    /// True if the head of the request delimits its body twice.
    pub(super) fn is_framed_twice(&self) -> bool {
        self.framed_twice
    }

    /// Ends the request when this body is dropped.
    pub(super) fn until_end_of<B>(self, body: B) -> ActiveBody<B> {
        ActiveBody { body, _request: self }
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        if self.http2 {
            self.connection.open.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.connection.phase.store(BETWEEN, Ordering::Relaxed);
        }
    }
}

/// A response body that holds its request active.
#[derive(Debug)]
pub(super) struct ActiveBody<B> {
    body: B,
    _request: ActiveRequest,
}

impl<B: Body<Data = Bytes> + Unpin> Body for ActiveBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Detects that an HTTP/1 connection is idle, with its last response flushed, so it can be parked. A deadline on
/// reads cannot detect it: once a response is out, hyper does not poll for reads if it has done so before.
#[derive(Debug, Default)]
pub(super) struct IdleDetector {
    /// The time since when it is idle, and the number of requests at that time.
    since: Option<(Instant, u32)>,
    timer: DeadlineTimer,
}

impl IdleDetector {
    /// Returns `Ready` once the connection was idle for [`PARK_AFTER`]. Call it after every poll of the
    /// connection.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, connection: &ConnectionState) -> Poll<()> {
        if !connection.is_between_requests() || connection.unflushed.load(Ordering::Relaxed) {
            self.since = None;
            return Poll::Pending;
        }
        let started = connection.started.load(Ordering::Relaxed);
        let since = match self.since {
            Some((since, then)) if then == started => since,
            _ => self.since.insert((Instant::now(), started)).0,
        };
        self.timer.poll(cx, since + PARK_AFTER)
    }
}

/// A connection whose reads and writes fail when a deadline has passed.
#[derive(Debug)]
pub(super) struct DeadlineIo<S> {
    inner: S,
    connection: Arc<ConnectionState>,
    timeouts: ConnectionTimeouts,
    /// The deadline for the whole head, once it is waited for.
    head_due: Option<Instant>,
    idle_due: Option<Instant>,
    /// The number of requests when `idle_due` was set; over HTTP/2 only.
    idle_after: u32,
    read_timer: DeadlineTimer,
    write_due: Option<Instant>,
    write_timer: DeadlineTimer,
}

impl<S> DeadlineIo<S> {
    /// `due` is the deadline of the first head.
    pub(super) fn new(
        inner: S,
        connection: Arc<ConnectionState>,
        timeouts: ConnectionTimeouts,
        due: Instant,
    ) -> Self {
        Self {
            inner,
            connection,
            timeouts,
            head_due: Some(due),
            idle_due: None,
            idle_after: 0,
            read_timer: DeadlineTimer::default(),
            write_due: None,
            write_timer: DeadlineTimer::default(),
        }
    }

    /// Returns `Ready` when the caller has sent nothing for too long. Call it when there is nothing to read.
    fn poll_read_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.connection.phase.load(Ordering::Relaxed) {
            NEW | HEAD => {
                let due = *self.head_due.get_or_insert_with(|| Instant::now() + self.timeouts.head);
                self.read_timer.poll(cx, due)
            }
            // A caller that still takes a response is not idle; the deadline on writes applies.
            BETWEEN if self.connection.unflushed.load(Ordering::Relaxed) => Poll::Pending,
            BETWEEN => {
                let due = *self.idle_due.get_or_insert_with(|| Instant::now() + IDLE);
                self.read_timer.poll(cx, due)
            }
            HTTP2 => self.poll_http2_idle(cx),
            _ => Poll::Pending,
        }
    }

    /// Marks an HTTP/2 connection without open requests as expired, so that it is closed gracefully. Returns
    /// `Ready` when its caller then reads nothing for the write timeout. Pings do not keep it alive while no
    /// request is open.
    fn poll_http2_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let started = self.connection.started.load(Ordering::Relaxed);
        if self.connection.open.load(Ordering::Relaxed) > 0 {
            self.idle_due = None;
            return Poll::Pending;
        }
        if self.idle_after != started {
            self.idle_after = started;
            self.idle_due = None;
        }
        let due = *self.idle_due.get_or_insert_with(|| Instant::now() + IDLE);
        if due > Instant::now() {
            ready!(self.read_timer.poll(cx, due));
        }
        self.connection.idle_expired.store(true, Ordering::Relaxed);
        self.read_timer.poll(cx, due + self.timeouts.write)
    }

    /// Records that bytes were read: an idle connection has begun its next head.
    fn record_read(&mut self) {
        match self.connection.phase.load(Ordering::Relaxed) {
            // The bytes may be pings and other frames that are no request.
            HTTP2 => return,
            BETWEEN => {
                self.connection.phase.store(HEAD, Ordering::Relaxed);
                self.head_due = None;
            }
            _ => {}
        }
        self.idle_due = None;
    }

    fn set_unflushed(&self, unflushed: bool) {
        self.connection.unflushed.store(unflushed, Ordering::Relaxed);
    }

    /// Returns the result of a write, or an error if no write has succeeded for too long.
    fn with_write_deadline<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_due = None;
            return written;
        }
        let due = *self.write_due.get_or_insert_with(|| Instant::now() + self.timeouts.write);
        ready!(self.write_timer.poll(cx, due));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: Duplex> DeadlineIo<S> {
    /// Waits on a parked connection: `Ready` once there are bytes to read or the end, an error when the caller
    /// has sent nothing for too long.
    pub(super) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(readable) = self.inner.poll_readable(cx) {
            return Poll::Ready(readable);
        }
        self.idle_due.get_or_insert_with(|| Instant::now() + IDLE.saturating_sub(PARK_AFTER));
        ready!(self.poll_read_deadline(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for DeadlineIo<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(read) => {
                if buf.filled().len() > before {
                    this.record_read();
                }
                Poll::Ready(read)
            }
            Poll::Pending => {
                ready!(this.poll_read_deadline(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for DeadlineIo<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.set_unflushed(true);
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.with_write_deadline(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.set_unflushed(true);
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.with_write_deadline(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper flushes once it has nothing left to write.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.set_unflushed(false);
        }
        self.with_write_deadline(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Keeps the connection from being parked: no request may follow a shutdown.
        self.set_unflushed(true);
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.with_write_deadline(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const TIMEOUTS: ConnectionTimeouts =
        ConnectionTimeouts { head: Duration::from_secs(10), write: Duration::from_secs(60) };

    fn connection() -> (DuplexStream, DeadlineIo<DuplexStream>, Arc<ConnectionState>) {
        let (caller, server) = duplex(16);
        let state = Arc::<ConnectionState>::default();
        (
            caller,
            DeadlineIo::new(server, state.clone(), TIMEOUTS, Instant::now() + TIMEOUTS.head),
            state,
        )
    }

    async fn fails_after(io: &mut DeadlineIo<DuplexStream>) -> Duration {
        let start = Instant::now();
        let error = loop {
            if let Err(error) = io.read_u8().await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_caller_is_cut_after_the_head_timeout() {
        let (_caller, mut io, _) = connection();
        assert_eq!(fails_after(&mut io).await.as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_head_is_cut_after_the_head_timeout() {
        let (mut caller, mut io, _) = connection();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_secs(3)).await;
                if caller.write_u8(b'x').await.is_err() {
                    break;
                }
            }
        });
        assert_eq!(fails_after(&mut io).await.as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_has_a_new_head_timeout_for_its_next_request() {
        let (mut caller, mut io, state) = connection();
        drop(state.start_request(Version::HTTP_11));
        let writer = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(100)).await;
            caller.write_u8(b'x').await.unwrap();
            caller
        });
        assert_eq!(fails_after(&mut io).await.as_secs(), 110);
        drop(writer.await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_closed_after_the_idle_timeout() {
        let (_caller, mut io, state) = connection();
        drop(state.start_request(Version::HTTP_11));
        assert_eq!(fails_after(&mut io).await, IDLE);
    }

    async fn idle_after(idle: &mut IdleDetector, state: &ConnectionState) -> Duration {
        let start = Instant::now();
        std::future::poll_fn(|cx| idle.poll(cx, state)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_parked_some_time_after_its_last_request() {
        let (state, mut idle) = (Arc::<ConnectionState>::default(), IdleDetector::default());
        assert!(tokio::time::timeout(IDLE, idle_after(&mut idle, &state)).await.is_err());
        for _ in 0..5 {
            drop(state.start_request(Version::HTTP_11));
            let wait = tokio::time::timeout(PARK_AFTER / 2, idle_after(&mut idle, &state));
            assert!(wait.await.is_err());
        }
        assert_eq!(idle_after(&mut idle, &state).await, PARK_AFTER / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_an_unflushed_response_is_not_parked() {
        let (mut caller, mut io, state) = connection();
        let mut idle = IdleDetector::default();
        drop(state.start_request(Version::HTTP_11));
        io.write_all(&[0; 16]).await.unwrap();
        assert!(tokio::time::timeout(IDLE, idle_after(&mut idle, &state)).await.is_err());
        assert!(
            tokio::time::timeout(2 * IDLE, io.read_u8()).await.is_err(),
            "it is not idle either"
        );
        caller.read_exact(&mut [0; 16]).await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(idle_after(&mut idle, &state).await, PARK_AFTER);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_parked_while_a_head_arrives() {
        let (mut caller, mut io, state) = connection();
        drop(state.start_request(Version::HTTP_11));
        caller.write_u8(b'G').await.unwrap();
        io.read_u8().await.unwrap();
        let waited =
            tokio::time::timeout(IDLE, idle_after(&mut IdleDetector::default(), &state)).await;
        assert!(waited.is_err());
    }

    /// It never becomes readable.
    impl Duplex for DuplexStream {
        fn poll_readable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_parked_connection_is_closed_after_the_idle_timeout() {
        let (_caller, mut io, state) = connection();
        drop(state.start_request(Version::HTTP_11));
        let start = Instant::now();
        idle_after(&mut IdleDetector::default(), &state).await;
        let readable = std::future::poll_fn(|cx| io.poll_readable(cx)).await;
        assert_eq!(readable.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_http2_connection_is_closed_gracefully_and_then_cut() {
        let (mut caller, mut io, state) = connection();
        drop(state.start_request(Version::HTTP_2));
        let pings = tokio::spawn(async move {
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                caller.write_u8(b'p').await.unwrap();
            }
            caller
        });
        let start = Instant::now();
        let expired = std::future::poll_fn(|cx| {
            let mut byte = [0; 1];
            while Pin::new(&mut io).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_ready() {}
            if state.take_idle_expired() { Poll::Ready(start.elapsed()) } else { Poll::Pending }
        });
        assert_eq!(expired.await, IDLE);
        assert_eq!(fails_after(&mut io).await, TIMEOUTS.write);
        drop(pings.await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_with_an_open_request_is_not_idle() {
        let (_caller, mut io, state) = connection();
        drop(state.start_request(Version::HTTP_2));
        let _active = state.start_request(Version::HTTP_2);
        let waited = tokio::time::timeout(Duration::from_secs(3600), io.read_u8()).await;
        assert!(waited.is_err() && !state.take_idle_expired());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_cut_while_a_response_is_sent() {
        let (_caller, mut io, state) = connection();
        let _active = state.start_request(Version::HTTP_11);
        let waited = tokio::time::timeout(Duration::from_secs(3600), io.read_u8()).await;
        assert!(waited.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_reads_nothing_is_cut_after_the_write_timeout() {
        let (_caller, mut io, _) = connection();
        let start = Instant::now();
        let error = io.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 60);
    }
}
