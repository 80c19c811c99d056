//! The body of a provider's answer, from any source.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};
use hyper::body::{Body, Frame, SizeHint};

use super::client::{HttpBody, read_short};
use super::error::UpstreamError;
use crate::wire::format::anthropic_on_clouds;
use crate::wire::format::anthropic_on_clouds::FromBedrock;

/// The content type of Bedrock's streams.
const EVENT_STREAM: &[u8] = b"application/vnd.amazon.eventstream";

/// The body of an answer.
#[derive(Debug)]
pub enum ResponseBody {
    /// Arrives on a connection.
    Http(HttpBody),
    /// Is in memory, in chunks.
    Buffered(std::vec::IntoIter<Bytes>),
    /// Anthropic events inside the frames of a Bedrock stream; yields the events.
    Bedrock(Box<BedrockStream>),
}

/// See [`ResponseBody::Bedrock`].
#[derive(Debug)]
pub struct BedrockStream {
    frames: HttpBody,
    decoder: FromBedrock,
}

/// Converts Bedrock's answer to an Anthropic request to the form that Anthropic's API has. A stream and
/// an error change; a whole answer is the same in both.
pub(super) async fn anthropic_from_bedrock(
    response: Response<HttpBody>,
) -> Result<Response<ResponseBody>, UpstreamError> {
    let (mut head, body) = response.into_parts();
    let content_type = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_stream = content_type.is_some_and(|value| value.starts_with(EVENT_STREAM));
    let body = if !head.status.is_success() {
        head.headers.remove(CONTENT_LENGTH);
        let error = read_short(body).await?;
        let error = anthropic_on_clouds::error_for(head.status.as_u16(), &error);
        ResponseBody::Buffered(vec![error].into_iter())
    } else if is_stream {
        head.headers.remove(CONTENT_LENGTH);
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        let stream = BedrockStream { frames: body, decoder: FromBedrock::default() };
        ResponseBody::Bedrock(Box::new(stream))
    } else {
        ResponseBody::Http(body)
    };
    Ok(Response::from_parts(head, body))
}

impl BedrockStream {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        loop {
            let Some(frame) = ready!(Pin::new(&mut self.frames).poll_frame(cx)) else {
                return Poll::Ready(None);
            };
            let Ok(bytes) = frame?.into_data() else { continue };
            let mut events = Vec::with_capacity(bytes.len());
            self.decoder.push(&bytes, &mut events);
            if !events.is_empty() {
                return Poll::Ready(Some(Ok(events.into())));
            }
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            ResponseBody::Http(body) => Pin::new(body).poll_frame(cx),
            ResponseBody::Buffered(chunks) => {
                Poll::Ready(chunks.next().map(|bytes| Ok(Frame::data(bytes))))
            }
            ResponseBody::Bedrock(stream) => {
                stream.poll_data(cx).map(|next| next.map(|data| data.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            ResponseBody::Http(body) => body.is_end_stream(),
            ResponseBody::Buffered(chunks) => chunks.as_slice().is_empty(),
            ResponseBody::Bedrock(stream) => stream.frames.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            ResponseBody::Http(body) => body.size_hint(),
            ResponseBody::Buffered(chunks) => {
                SizeHint::with_exact(chunks.as_slice().iter().map(|chunk| chunk.len() as u64).sum())
            }
            ResponseBody::Bedrock(_) => SizeHint::default(),
        }
    }
}
