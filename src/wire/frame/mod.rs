//! Decodes a stream of bytes into frames: server-sent events, AWS messages, elements of a JSON array.

pub mod aws_event_stream;
pub mod json_array;
pub mod sse;

/// One frame of a stream, of any framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'f> {
    /// An event, or an element of a JSON array.
    Event {
        /// The value of `event:` or `:event-type`; empty if there is none.
        name: &'f [u8],
        /// JSON, except OpenAI's `[DONE]`.
        data: &'f [u8],
    },
    /// An exception of an AWS event stream.
    Exception {
        /// `:exception-type`
        kind: &'f str,
        /// JSON.
        payload: &'f [u8],
    },
}
