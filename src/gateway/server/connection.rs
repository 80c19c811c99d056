//! A caller's connection with deadlines on what the caller does: a head that does not come, an answer
//! that is not read, a connection left idle.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::gateway::deadline::Alarm;
use crate::gateway::server::listener::Duplex;

/// How long a connection may rest between two requests. Above the 90 s of Go's clients and the 60 s
/// of common load balancers, so that these close first and never race with a request.
const REST: Duration = Duration::from_secs(120);
/// How long an HTTP/1 connection rests before it is [`Quiet`]. Longer than a caller takes that asks again at
/// once, so that what is put away then is not made anew for each request; and no longer, because allocators
/// keep the room for as many as were busy within that time.
const QUIET: Duration = Duration::from_millis(100);

/// Where a connection stands between requests.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    at: AtomicU8,
    /// Requests that have begun.
    begun: AtomicU32,
    /// Those of them that are being answered; over HTTP/2 only.
    open: AtomicU32,
    /// Something was written of which it is not known that it is out.
    unsent: AtomicBool,
    /// The head that has come says twice where its body ends.
    framed_twice: AtomicBool,
    /// An HTTP/2 connection has rested for long enough.
    rested: AtomicBool,
}

/// Open, and no whole head has come yet.
const FRESH: u8 = 0;
/// A request is being answered.
const BUSY: u8 = 1;
/// Between two requests.
const RESTING: u8 = 2;
/// The next head has begun to come.
const HEAD: u8 = 3;
/// An HTTP/2 connection, which carries requests side by side.
const SHARED: u8 = 4;

/// Held while a request is being answered.
#[derive(Debug)]
pub(crate) struct Busy {
    stage: Arc<Stage>,
    shared: bool,
    framed_twice: bool,
}

impl Stage {
    /// A whole head has come.
    pub(crate) fn begin(self: &Arc<Self>, version: Version) -> Busy {
        let shared = version == Version::HTTP_2;
        self.begun.fetch_add(1, Ordering::Relaxed);
        if shared {
            self.open.fetch_add(1, Ordering::Relaxed);
        }
        self.at.store(if shared { SHARED } else { BUSY }, Ordering::Relaxed);
        let framed_twice = self.framed_twice.load(Ordering::Relaxed);
        if framed_twice {
            self.framed_twice.store(false, Ordering::Relaxed);
        }
        Busy { stage: self.clone(), shared, framed_twice }
    }

    /// Whether what comes next belongs to a head that has begun, or to the first one.
    pub(crate) fn awaits_head(&self) -> bool {
        matches!(self.at.load(Ordering::Relaxed), FRESH | HEAD)
    }

    /// Whether what comes next begins a head.
    pub(crate) fn is_resting(&self) -> bool {
        self.at.load(Ordering::Relaxed) == RESTING
    }

    /// The head that has come says twice where its body ends.
    pub(crate) fn set_framed_twice(&self) {
        self.framed_twice.store(true, Ordering::Relaxed);
    }

    /// Whether the connection should be closed in peace; true once.
    pub(crate) fn has_rested(&self) -> bool {
        self.rested.load(Ordering::Relaxed) && self.rested.swap(false, Ordering::Relaxed)
    }
}

/// Tells when an HTTP/1 connection has rested for a while, with its last answer written out. hyper reads no
/// further by itself once an answer is out, if it has tried before, so a deadline on reads does not tell.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    /// Since when, and how many requests had begun then.
    since: Option<(Instant, u32)>,
    alarm: Alarm,
}

impl Quiet {
    /// To be asked whenever the connection has been polled.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, stage: &Stage) -> Poll<()> {
        if !stage.is_resting() || stage.unsent.load(Ordering::Relaxed) {
            self.since = None;
            return Poll::Pending;
        }
        let begun = stage.begun.load(Ordering::Relaxed);
        let since = match self.since {
            Some((since, then)) if then == begun => since,
            _ => self.since.insert((Instant::now(), begun)).0,
        };
        self.alarm.poll(cx, since + QUIET)
    }
}

impl Busy {
    /// Whether the head of the request says twice where its body ends.
    pub(crate) fn is_framed_twice(&self) -> bool {
        self.framed_twice
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if self.shared {
            self.stage.open.fetch_sub(1, Ordering::Relaxed);
        } else {
            self.stage.at.store(RESTING, Ordering::Relaxed);
        }
    }
}

/// The limits of a connection, from `[server]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) head: Duration,
    pub(crate) write: Duration,
}

/// The connection itself; reads and writes fail when a deadline has passed.
#[derive(Debug)]
pub(crate) struct Guarded<S> {
    inner: S,
    stage: Arc<Stage>,
    limits: Limits,
    /// When the head must be whole, once it has been waited for.
    head_due: Option<Instant>,
    rest_due: Option<Instant>,
    /// How many requests had begun when a rest was first due; over HTTP/2 only.
    rest_after: u32,
    reading: Alarm,
    write_due: Option<Instant>,
    writing: Alarm,
}

impl<S> Guarded<S> {
    /// `due`: when the first head must be whole.
    pub(crate) fn new(inner: S, stage: Arc<Stage>, limits: Limits, due: Instant) -> Self {
        Self {
            inner,
            stage,
            limits,
            head_due: Some(due),
            rest_due: None,
            rest_after: 0,
            reading: Alarm::default(),
            write_due: None,
            writing: Alarm::default(),
        }
    }

    /// Nothing to read: ready when the caller has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.stage.at.load(Ordering::Relaxed) {
            FRESH | HEAD => {
                let due = *self.head_due.get_or_insert_with(|| Instant::now() + self.limits.head);
                self.reading.poll(cx, due)
            }
            // Whoever still takes an answer does not rest; the deadline on writes holds.
            RESTING if self.stage.unsent.load(Ordering::Relaxed) => Poll::Pending,
            RESTING => {
                let due = *self.rest_due.get_or_insert_with(|| Instant::now() + REST);
                self.reading.poll(cx, due)
            }
            SHARED => self.poll_shared_rest(cx),
            _ => Poll::Pending,
        }
    }

    /// An HTTP/2 connection without an open request is told that it ends, and is cut when its caller goes
    /// on not to read what was said before. Pings keep it alive only while a request is open.
    fn poll_shared_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let begun = self.stage.begun.load(Ordering::Relaxed);
        if self.stage.open.load(Ordering::Relaxed) > 0 {
            self.rest_due = None;
            return Poll::Pending;
        }
        if self.rest_after != begun {
            self.rest_after = begun;
            self.rest_due = None;
        }
        let due = *self.rest_due.get_or_insert_with(|| Instant::now() + REST);
        if due > Instant::now() {
            ready!(self.reading.poll(cx, due));
        }
        self.stage.rested.store(true, Ordering::Relaxed);
        self.reading.poll(cx, due + self.limits.write)
    }

    /// Something was read: a resting connection has begun its next head.
    fn heard(&mut self) {
        match self.stage.at.load(Ordering::Relaxed) {
            // Pings and what else is no request.
            SHARED => return,
            RESTING => {
                self.stage.at.store(HEAD, Ordering::Relaxed);
                self.head_due = None;
            }
            _ => {}
        }
        self.rest_due = None;
    }

    fn set_unsent(&self, unsent: bool) {
        self.stage.unsent.store(unsent, Ordering::Relaxed);
    }

    /// The outcome of a write, or an error when none has got through for too long.
    fn progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_due = None;
            return written;
        }
        let due = *self.write_due.get_or_insert_with(|| Instant::now() + self.limits.write);
        ready!(self.writing.poll(cx, due));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: Duplex> Guarded<S> {
    /// For a connection that is [`Quiet`]: ready once there is something to read, or an end; an error when the
    /// caller has been silent for too long.
    pub(crate) fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(heard) = self.inner.poll_heard(cx) {
            return Poll::Ready(heard);
        }
        self.rest_due.get_or_insert_with(|| Instant::now() + REST.saturating_sub(QUIET));
        ready!(self.poll_silence(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
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
                    this.heard();
                }
                Poll::Ready(read)
            }
            Poll::Pending => {
                ready!(this.poll_silence(cx));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.set_unsent(true);
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.progress(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.set_unsent(true);
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper flushes once it has nothing left to write itself.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        if let Poll::Ready(Ok(())) = flushed {
            self.set_unsent(false);
        }
        self.progress(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing may begin behind an end.
        self.set_unsent(true);
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.progress(cx, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    const LIMITS: Limits = Limits { head: Duration::from_secs(10), write: Duration::from_secs(60) };

    fn guarded() -> (DuplexStream, Guarded<DuplexStream>, Arc<Stage>) {
        let (caller, server) = duplex(16);
        let stage = Arc::<Stage>::default();
        (caller, Guarded::new(server, stage.clone(), LIMITS, Instant::now() + LIMITS.head), stage)
    }

    async fn fails_after(io: &mut Guarded<DuplexStream>) -> Duration {
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
    async fn a_caller_that_sends_nothing_is_cut_after_the_head_timeout() {
        let (_caller, mut io, _) = guarded();
        assert_eq!(fails_after(&mut io).await.as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_in_drips_is_cut_after_the_head_timeout() {
        let (mut caller, mut io, _) = guarded();
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
    async fn a_connection_may_rest_between_requests_but_its_next_head_is_timed() {
        let (mut caller, mut io, stage) = guarded();
        drop(stage.begin(Version::HTTP_11));
        let writer = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(100)).await;
            caller.write_u8(b'x').await.unwrap();
            caller
        });
        assert_eq!(fails_after(&mut io).await.as_secs(), 110);
        drop(writer.await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_resting_connection_is_closed_in_the_end() {
        let (_caller, mut io, stage) = guarded();
        drop(stage.begin(Version::HTTP_11));
        assert_eq!(fails_after(&mut io).await, REST);
    }

    async fn quiet_after(quiet: &mut Quiet, stage: &Stage) -> Duration {
        let start = Instant::now();
        std::future::poll_fn(|cx| quiet.poll(cx, stage)).await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_quiet_a_while_after_its_last_request() {
        let (stage, mut quiet) = (Arc::<Stage>::default(), Quiet::default());
        assert!(tokio::time::timeout(REST, quiet_after(&mut quiet, &stage)).await.is_err());
        for _ in 0..5 {
            drop(stage.begin(Version::HTTP_11));
            let wait = tokio::time::timeout(QUIET / 2, quiet_after(&mut quiet, &stage));
            assert!(wait.await.is_err());
        }
        assert_eq!(quiet_after(&mut quiet, &stage).await, QUIET / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_quiet_while_its_answer_is_not_out() {
        let (mut caller, mut io, stage) = guarded();
        let mut quiet = Quiet::default();
        drop(stage.begin(Version::HTTP_11));
        io.write_all(&[0; 16]).await.unwrap();
        assert!(tokio::time::timeout(REST, quiet_after(&mut quiet, &stage)).await.is_err());
        assert!(tokio::time::timeout(2 * REST, io.read_u8()).await.is_err(), "nor does it rest");
        caller.read_exact(&mut [0; 16]).await.unwrap();
        io.flush().await.unwrap();
        assert_eq!(quiet_after(&mut quiet, &stage).await, QUIET);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_not_quiet_when_a_head_has_begun_to_come() {
        let (mut caller, mut io, stage) = guarded();
        drop(stage.begin(Version::HTTP_11));
        caller.write_u8(b'G').await.unwrap();
        io.read_u8().await.unwrap();
        let waited = tokio::time::timeout(REST, quiet_after(&mut Quiet::default(), &stage)).await;
        assert!(waited.is_err());
    }

    /// Nothing is ever heard of it.
    impl Duplex for DuplexStream {
        fn poll_heard(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_connection_is_closed_in_the_end() {
        let (_caller, mut io, stage) = guarded();
        drop(stage.begin(Version::HTTP_11));
        let start = Instant::now();
        quiet_after(&mut Quiet::default(), &stage).await;
        let heard = std::future::poll_fn(|cx| io.poll_heard(cx)).await;
        assert_eq!(heard.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), REST);
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_without_a_request_is_told_to_end_and_then_cut() {
        let (mut caller, mut io, stage) = guarded();
        drop(stage.begin(Version::HTTP_2));
        let pings = tokio::spawn(async move {
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                caller.write_u8(b'p').await.unwrap();
            }
            caller
        });
        let start = Instant::now();
        let told = std::future::poll_fn(|cx| {
            let mut byte = [0; 1];
            while Pin::new(&mut io).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_ready() {}
            if stage.has_rested() { Poll::Ready(start.elapsed()) } else { Poll::Pending }
        });
        assert_eq!(told.await, REST);
        assert_eq!(fails_after(&mut io).await, LIMITS.write);
        drop(pings.await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_http2_connection_does_not_rest_while_a_request_is_open() {
        let (_caller, mut io, stage) = guarded();
        drop(stage.begin(Version::HTTP_2));
        let _busy = stage.begin(Version::HTTP_2);
        let waited = tokio::time::timeout(Duration::from_secs(3600), io.read_u8()).await;
        assert!(waited.is_err() && !stage.has_rested());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_cut_while_a_request_is_answered() {
        let (_caller, mut io, stage) = guarded();
        let _busy = stage.begin(Version::HTTP_11);
        let waited = tokio::time::timeout(Duration::from_secs(3600), io.read_u8()).await;
        assert!(waited.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_reads_nothing_is_cut_after_the_write_timeout() {
        let (_caller, mut io, _) = guarded();
        let start = Instant::now();
        let error = io.write_all(&[0; 64]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 60);
    }
}
