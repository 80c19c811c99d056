//! Bytes to frames: how a stream of bytes falls into events.

pub mod aws_event_stream;
pub mod json_array;
pub mod sse;

/// What a stream falls into, however it is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'f> {
    /// An event: its name, empty where it has none, and its JSON. Of an array an element.
    Event {
        /// `event:` or `:event-type`.
        name: &'f [u8],
        /// JSON, but for OpenAI's `[DONE]`.
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
