//! The body of an answer that arrives on a connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::h1_connection::H1Connection;
use super::pool::Host;

/// The body of an answer that arrives on a connection.
#[derive(Debug)]
pub enum HttpBody {
    /// From hyper-util's client, whose own task drives the connection.
    Pooled(Incoming),
    /// From an HTTP/1.1 connection that the reader of the body drives.
    H1(H1Body),
}

/// A body that drives its own connection. Dropped before its end, it closes the connection; read to its
/// end, it returns the connection to the pool.
#[derive(Debug)]
pub struct H1Body {
    body: Incoming,
    connection: Option<H1Connection>,
    host: Arc<Host>,
    is_finished: bool,
}

impl H1Body {
    pub(super) fn new(body: Incoming, connection: H1Connection, host: Arc<Host>) -> Self {
        let mut new = Self { body, connection: Some(connection), host, is_finished: false };
        if new.body.is_end_stream() {
            new.finish();
        }
        new
    }

    /// Returns the next chunk. Chunks that arrived together still leave in one write: the caller's
    /// connection polls again before it writes.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Bytes>>> {
        if let Some(connection) = &self.connection {
            connection.set_waker(cx.waker());
        }
        // Bytes that arrived with the head are there before the connection is polled.
        loop {
            if let Poll::Ready(next) = self.take() {
                return Poll::Ready(next);
            }
            let Some(connection) = &mut self.connection else { return Poll::Pending };
            if !connection.drive_if_woken() {
                return Poll::Pending;
            }
        }
    }

    /// Returns what the connection has handed over so far.
    fn take(&mut self) -> Poll<Option<hyper::Result<Bytes>>> {
        while !self.is_finished {
            let body = &mut self.body;
            let polled = match &self.connection {
                Some(connection) => connection.poll_quietly(|cx| Pin::new(body).poll_frame(cx)),
                None => Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop())),
            };
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => self.finish(),
                Poll::Ready(Some(Err(error))) => {
                    self.is_finished = true;
                    self.connection = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(frame))) => {
                    // These APIs define no trailers.
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

    /// Returns the connection to the pool after the last byte of the answer.
    fn finish(&mut self) {
        self.is_finished = true;
        if let Some(mut connection) = self.connection.take()
            && connection.is_usable()
        {
            self.host.push(connection);
        }
    }
}

impl Body for HttpBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut *self {
            HttpBody::Pooled(body) => Pin::new(body).poll_frame(cx),
            HttpBody::H1(body) => {
                body.poll_data(cx).map(|next| next.map(|data| data.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            HttpBody::Pooled(body) => body.is_end_stream(),
            HttpBody::H1(body) => body.is_finished,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            HttpBody::Pooled(body) => body.size_hint(),
            HttpBody::H1(body) => body.body.size_hint(),
        }
    }
}
