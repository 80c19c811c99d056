//! The body of a response, as hyper polls it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::relay::{Cut, Relay};
use super::rescue::HeldStream;
use crate::gateway::record::Record;

/// The body of a response. Dropping it drops the record, which writes the access line.
#[derive(Debug)]
pub(crate) struct CallerBody {
    content: Content,
    record: Option<Box<Record>>,
}

#[derive(Debug)]
enum Content {
    Whole(Option<Bytes>),
    Relay(Box<Relay>),
    KeyReservation(Box<HeldStream>),
}

impl CallerBody {
    /// A response of our own.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self { content: Content::Whole(Some(bytes)), record: None }
    }

    /// A provider's response.
    pub(crate) fn relay(relay: Relay) -> Self {
        Self { content: Content::Relay(Box::new(relay)), record: None }
    }

    /// A stream that is held until it is complete.
    pub(crate) fn held(stream: HeldStream) -> Self {
        Self { content: Content::KeyReservation(Box::new(stream)), record: None }
    }

    /// Gives the record of the request to the body, which drops it at its end.
    pub(crate) fn with_record(mut self, mut record: Box<Record>) -> Self {
        if let Content::Whole(Some(bytes)) = &self.content {
            record.bytes_out = bytes.len() as u64;
        }
        match &mut self.content {
            // It makes further attempts, which the record counts.
            Content::KeyReservation(stream) => stream.start(record),
            Content::Whole(_) | Content::Relay(_) => self.record = Some(record),
        }
        self
    }
}

impl Body for CallerBody {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let body = &mut *self;
        let next = match (&mut body.content, body.record.as_deref_mut()) {
            (Content::Whole(bytes), Some(_)) => Poll::Ready(bytes.take().map(Ok)),
            (Content::Relay(relay), Some(record)) => relay.poll(cx, record),
            (Content::KeyReservation(stream), _) => stream.poll(cx),
            (_, None) => Poll::Ready(None),
        };
        next.map(|next| next.map(|next| next.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Content::Relay(relay) => relay.has_ended(),
            Content::KeyReservation(stream) => stream.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Content::Relay(relay) => relay.size_hint(),
            Content::KeyReservation(_) => SizeHint::default(),
        }
    }
}

impl Drop for CallerBody {
    fn drop(&mut self) {
        if let (Content::Relay(relay), Some(record)) = (&self.content, &mut self.record) {
            record.usage = relay.passage().usage();
        }
    }
}
