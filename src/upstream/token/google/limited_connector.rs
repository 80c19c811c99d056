//! Connections that yield a limited number of bytes: yup-oauth2 reads answers without a limit.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

use crate::upstream::client::connect::{BoxError, Connecting, Connector, Stream};

/// Bytes read of one connection, including heads of answers and HTTP/2 framing.
const LIMIT: usize = 256 * 1024;

/// Opens [`LimitedStream`]s.
#[derive(Clone)]
pub(super) struct LimitedConnector(pub(super) Connector);

/// A connection that fails after [`LIMIT`] bytes.
pub(super) struct LimitedStream {
    stream: TokioIo<Stream>,
    remaining: usize,
}

impl Service<Uri> for LimitedConnector {
    type Response = TokioIo<LimitedStream>;
    type Error = BoxError;
    type Future = Connecting<TokioIo<LimitedStream>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async {
            let stream = TokioIo::new(connecting.await?);
            Ok(TokioIo::new(LimitedStream { stream, remaining: LIMIT }))
        })
    }
}

impl Connection for LimitedStream {
    fn connected(&self) -> Connected {
        self.stream.inner().connected()
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.remaining == 0 {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.remaining = self.remaining.saturating_sub(buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
