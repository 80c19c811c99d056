//! How an answer is divided into events.

use super::Operation;

/// How an answer falls into what can be read by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Not at all: one JSON object, or a file.
    Whole,
    /// `text/event-stream`
    Events,
    /// The elements of one JSON array: Gemini's streams, unless events are asked for.
    Array,
    /// `application/vnd.amazon.eventstream`
    Aws,
}

impl Framing {
    /// That of an answer to `operation` with this content type.
    pub fn of(operation: Operation, content_type: Option<&[u8]>) -> Framing {
        let media = content_type.unwrap_or_default().split(|byte| *byte == b';').next();
        let media = media.unwrap_or_default().trim_ascii();
        if media.eq_ignore_ascii_case(b"text/event-stream") {
            Framing::Events
        } else if media.eq_ignore_ascii_case(b"application/vnd.amazon.eventstream") {
            Framing::Aws
        } else if operation == Operation::StreamGenerateContent
            && media.eq_ignore_ascii_case(b"application/json")
        {
            Framing::Array
        } else {
            Framing::Whole
        }
    }

    /// Whether the answer comes event by event.
    pub fn is_stream(self) -> bool {
        self != Framing::Whole
    }
}
