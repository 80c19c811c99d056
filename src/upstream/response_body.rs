//! The body of an answer as it arrives from wherever it is made.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::Broken;
use super::client::h1_connection::Inline;
use crate::wire::envelope::{self, FromBedrock};

/// What Bedrock calls its streams.
const FRAMES: &[u8] = b"application/vnd.amazon.eventstream";
/// How much of an error is read; Bedrock's are a sentence.
const LONGEST_ERROR: usize = 64 * 1024;

/// An answer's body as it arrives.
#[derive(Debug)]
pub enum Arriving {
    /// From a connection that a task of its own drives.
    Http(Incoming),
    /// From a connection that is driven by whoever reads the body.
    Inline(Inline),
    /// Made in this process.
    Made(std::vec::IntoIter<Bytes>),
    /// Events of Anthropic's, taken out of Bedrock's frames.
    Unpacked(Box<Unpacked>),
}

/// See [`Arriving::Unpacked`].
#[derive(Debug)]
pub struct Unpacked {
    packed: Arriving,
    unpack: FromBedrock,
}

/// An answer of Bedrock's to Anthropic's messages as Anthropic would have sent it: a whole one is the
/// same, a stream and an error are not.
pub(super) async fn unpacked(response: Response<Arriving>) -> Result<Response<Arriving>, Broken> {
    let (mut head, mut packed) = response.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_stream = content_type.is_some_and(|value| value.starts_with(FRAMES));
    if !head.status.is_success() {
        let mut error = BytesMut::new();
        while let Some(frame) = packed.frame().await {
            let bytes = frame.map_err(|_| Broken::Lost)?.into_data().unwrap_or_default();
            let room = LONGEST_ERROR - error.len();
            error.extend_from_slice(&bytes[..bytes.len().min(room)]);
            if bytes.len() > room {
                break;
            }
        }
        head.headers.remove(CONTENT_LENGTH);
        let error = envelope::error_for(head.status.as_u16(), &error);
        return Ok(Response::from_parts(head, Arriving::Made(vec![error].into_iter())));
    }
    if !is_stream {
        return Ok(Response::from_parts(head, packed));
    }
    head.headers.remove(CONTENT_LENGTH);
    head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    let unpacked = Unpacked { packed, unpack: FromBedrock::default() };
    Ok(Response::from_parts(head, Arriving::Unpacked(Box::new(unpacked))))
}

impl Unpacked {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.packed).poll_frame(cx)) else {
                return Poll::Ready(None);
            };
            let Ok(bytes) = frame?.into_data() else { continue };
            let mut events = Vec::with_capacity(bytes.len());
            self.unpack.push(&bytes, &mut events);
            if !events.is_empty() {
                return Poll::Ready(Some(Ok(events.into())));
            }
        }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Arriving::Http(incoming) => Pin::new(incoming).poll_frame(cx),
            Arriving::Inline(inline) => {
                inline.poll_data(cx).map(|next| next.map(|data| data.map(Frame::data)))
            }
            Arriving::Unpacked(unpacked) => {
                unpacked.poll_data(cx).map(|next| next.map(|data| data.map(Frame::data)))
            }
            Arriving::Made(frames) => {
                Poll::Ready(frames.next().map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Arriving::Http(incoming) => incoming.is_end_stream(),
            Arriving::Inline(inline) => inline.is_over(),
            Arriving::Made(frames) => frames.as_slice().is_empty(),
            Arriving::Unpacked(unpacked) => unpacked.packed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Arriving::Http(incoming) => incoming.size_hint(),
            Arriving::Unpacked(_) => SizeHint::default(),
            Arriving::Inline(inline) => inline.left(),
            Arriving::Made(frames) => {
                SizeHint::with_exact(frames.as_slice().iter().map(|frame| frame.len() as u64).sum())
            }
        }
    }
}
