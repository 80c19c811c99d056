//! A caller's connection with deadlines on what the caller does: a head that does not come, an answer
//! that is not read, a connection left idle.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::alarm::Alarm;

/// How long a connection may rest between two requests. Above the 90 s of Go's clients and the 60 s
/// of common load balancers, so that these close first and never race with a request.
const REST: Duration = Duration::from_secs(120);

/// Where a connection stands between requests.
#[derive(Debug, Default)]
pub(super) struct Stage(AtomicU8);

/// Open, and no whole head has come yet.
const FRESH: u8 = 0;
/// A request is being answered.
const BUSY: u8 = 1;
/// Between two requests.
const RESTING: u8 = 2;
/// The next head has begun to come.
const HEAD: u8 = 3;

/// Held while a request is being answered.
#[derive(Debug)]
pub(super) struct Busy(Option<Arc<Stage>>);

impl Stage {
    /// A whole head has come. An HTTP/2 connection carries requests side by side and is watched by
    /// its own pings, so it stays busy.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> Busy {
        self.0.store(BUSY, Ordering::Relaxed);
        Busy((version != Version::HTTP_2).then(|| self.clone()))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        if let Some(stage) = &self.0 {
            stage.0.store(RESTING, Ordering::Relaxed);
        }
    }
}

/// The limits of a connection, from `[server]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) head: Duration,
    pub(super) write: Duration,
}

/// The connection itself; reads and writes fail when a deadline has passed.
#[derive(Debug)]
pub(super) struct Guarded<S> {
    inner: S,
    stage: Arc<Stage>,
    limits: Limits,
    /// When the head must be whole, once it has been waited for.
    head_due: Option<Instant>,
    rest_due: Option<Instant>,
    reading: Alarm,
    write_due: Option<Instant>,
    writing: Alarm,
}

impl<S> Guarded<S> {
    pub(super) fn new(inner: S, stage: Arc<Stage>, limits: Limits) -> Self {
        Self {
            inner,
            stage,
            limits,
            head_due: None,
            rest_due: None,
            reading: Alarm::default(),
            write_due: None,
            writing: Alarm::default(),
        }
    }

    /// Nothing to read: ready when the caller has been silent for too long.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.stage.0.load(Ordering::Relaxed) {
            FRESH | HEAD => {
                let due = *self.head_due.get_or_insert_with(|| Instant::now() + self.limits.head);
                self.reading.poll(cx, due)
            }
            RESTING => {
                let due = *self.rest_due.get_or_insert_with(|| Instant::now() + REST);
                self.reading.poll(cx, due)
            }
            _ => Poll::Pending,
        }
    }

    /// Something was read: a resting connection has begun its next head.
    fn heard(&mut self) {
        self.rest_due = None;
        if self.stage.0.load(Ordering::Relaxed) == RESTING {
            self.stage.0.store(HEAD, Ordering::Relaxed);
            self.head_due = None;
        }
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
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.progress(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.progress(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.progress(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
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
        (caller, Guarded::new(server, stage.clone(), LIMITS), stage)
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
