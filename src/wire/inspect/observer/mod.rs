//! Observes a response while it is forwarded: its token counts, its errors and its end.
//!
//! The observer changes nothing and delays nothing. If it cannot read an event, only the token counts are
//! lost; it continues to watch for the end.
//!
//! Each API has its own stream format; each file below reads one.

mod anthropic;
mod bedrock;
mod capture;
mod cohere;
mod gemini;
mod last_value;
mod openai;
mod progress;
mod replicate;
mod whole;

use bytes::{Bytes, BytesMut};

use self::progress::Progress;
use crate::wire::api::Framing;
use crate::wire::api::{Api, Operation};
use crate::wire::failure::class::Failure;
use crate::wire::failure::error_event::Ending;
use crate::wire::failure::error_event::error_event;
use crate::wire::frame::sse::{field, next_line};
use crate::wire::inspect::usage::Usage;

pub use self::progress::StreamError;

/// An event longer than this that arrives in several chunks is scanned in pieces, not gathered: images in
/// base64, or a response that repeats its long instructions. The choices of such an event are not read.
const GATHERED: usize = 256 * 1024;

/// Observes one response; see the module.
#[derive(Debug)]
pub struct ResponseObserver {
    operation: Operation,
    framing: Framing,
    inner: FormatObserver,
}

#[derive(Debug)]
enum FormatObserver {
    Whole(whole::Body),
    OpenAi(openai::Stream),
    Anthropic(anthropic::Stream),
    Gemini(gemini::Stream),
    Bedrock(bedrock::Stream),
    Cohere(cohere::Stream),
    Replicate(replicate::Stream),
}

impl ResponseObserver {
    /// Creates an observer for the response to `operation` with this framing.
    pub fn new(operation: Operation, framing: Framing) -> ResponseObserver {
        let inner = match (framing, operation.api()) {
            (Framing::Whole, _) => FormatObserver::Whole(whole::Body::new(operation)),
            (Framing::Array, _) => FormatObserver::Gemini(gemini::Stream::of_array()),
            (Framing::Aws, _) => FormatObserver::Bedrock(bedrock::Stream::new()),
            // Bedrock has no server-sent events of its own.
            (Framing::Events, Api::OpenAi | Api::Bedrock) => {
                FormatObserver::OpenAi(openai::Stream::new(operation))
            }
            (Framing::Events, Api::Anthropic) => {
                FormatObserver::Anthropic(anthropic::Stream::new())
            }
            (Framing::Events, Api::Gemini) => FormatObserver::Gemini(gemini::Stream::of_events()),
            (Framing::Events, Api::Cohere) => FormatObserver::Cohere(cohere::Stream::new()),
            (Framing::Events, Api::Replicate) => {
                FormatObserver::Replicate(replicate::Stream::new())
            }
        };
        ResponseObserver { operation, framing, inner }
    }

    /// Returns the framing of the response.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Reads the token counts from the response head; Bedrock puts the counts of a complete response there.
    /// `header` returns the value of a header by its lower-case name.
    pub fn read_head<'h>(&mut self, header: &dyn Fn(&str) -> Option<&'h str>) {
        if let (FormatObserver::Whole(body), Api::Bedrock) = (&mut self.inner, self.operation.api())
        {
            body.read_head(header);
        }
    }

    /// Reads the next bytes of the response.
    pub fn observe(&mut self, bytes: &[u8]) {
        match &mut self.inner {
            FormatObserver::Whole(body) => body.observe(bytes),
            FormatObserver::OpenAi(stream) => stream.observe(bytes),
            FormatObserver::Anthropic(stream) => stream.observe(bytes),
            FormatObserver::Gemini(stream) => stream.observe(bytes),
            FormatObserver::Bedrock(stream) => stream.observe(bytes),
            FormatObserver::Cohere(stream) => stream.observe(bytes),
            FormatObserver::Replicate(stream) => stream.observe(bytes),
        }
    }

    /// Returns true if the response has begun: an event with content for the client has arrived, or any
    /// byte of a response that is not a stream. Opening events before the model's first output do not
    /// count, because an error often follows them.
    pub fn begun(&self) -> bool {
        match (&self.inner, self.progress()) {
            (FormatObserver::Whole(body), _) => body.begun(),
            (_, progress) => progress.is_some_and(|progress| progress.begun),
        }
    }

    /// Returns the first error in the stream.
    pub fn failure(&self) -> Option<Failure> {
        self.progress()?.failure
    }

    /// Returns that error in the form of an error response, unless it cannot be converted.
    pub fn error_body(&self) -> Option<&StreamError> {
        self.progress()?.error.as_ref()
    }

    /// Returns true if the response is complete when it ends here without a transport error: the provider
    /// has sent its end, or the events of the stream are unknown. For a response that is not a stream, HTTP
    /// itself shows if it is complete.
    pub fn complete(&self) -> bool {
        self.progress().is_none_or(Progress::complete)
    }

    /// Returns true if the provider has sent its end: nothing relevant can follow. Unlike
    /// [`ResponseObserver::complete`], it is never true for a stream with unknown events or a stream that
    /// only HTTP ends.
    pub fn finished(&self) -> bool {
        self.progress().is_some_and(Progress::finished)
    }

    /// Returns true if the event that ends the stream was seen: `[DONE]` or the operation's own.
    pub fn done(&self) -> bool {
        self.progress().is_some_and(|progress| progress.done)
    }

    /// Returns true if the stream is between two events, so that another event can be appended.
    pub fn at_boundary(&self) -> bool {
        match &self.inner {
            FormatObserver::Whole(_) => false,
            FormatObserver::OpenAi(stream) => stream.at_boundary(),
            FormatObserver::Anthropic(stream) => stream.at_boundary(),
            FormatObserver::Gemini(stream) => stream.at_boundary(),
            FormatObserver::Bedrock(stream) => stream.at_boundary(),
            FormatObserver::Cohere(stream) => stream.at_boundary(),
            FormatObserver::Replicate(stream) => stream.at_boundary(),
        }
    }

    /// Returns the length so far of the event whose end has not arrived. AWS frames contain their own
    /// length and have a separate limit.
    pub fn open_event(&self) -> usize {
        match &self.inner {
            FormatObserver::Whole(_) | FormatObserver::Bedrock(_) => 0,
            FormatObserver::OpenAi(stream) => stream.open(),
            FormatObserver::Anthropic(stream) => stream.open(),
            FormatObserver::Gemini(stream) => stream.open(),
            FormatObserver::Cohere(stream) => stream.open(),
            FormatObserver::Replicate(stream) => stream.open(),
        }
    }

    /// Returns the tokens that the provider has counted so far.
    pub fn usage(&self) -> Usage {
        match &self.inner {
            FormatObserver::Whole(body) => body.usage(),
            FormatObserver::OpenAi(stream) => stream.usage(),
            FormatObserver::Anthropic(stream) => stream.heard().tally.usage(),
            FormatObserver::Gemini(stream) => stream.tally().usage(),
            FormatObserver::Bedrock(stream) => stream.tally().usage(),
            FormatObserver::Cohere(stream) => stream.tally().usage(),
            FormatObserver::Replicate(_) => Usage::default(),
        }
    }

    /// Returns the bytes that end a response cut off here: an error in the client's own format, where one
    /// can be appended. A partial message or element cannot be ended, and no client accepts it as complete;
    /// a partial server-sent event can be ended.
    pub fn cut(&self, message: &str, code: &str) -> Ending {
        let broken = Ending { bytes: Bytes::new(), breaks: true };
        let before: &[u8] = match (self.framing, self.at_boundary()) {
            (Framing::Whole, _) | (Framing::Array | Framing::Aws, false) => return broken,
            (Framing::Events, false) => b"\n\n",
            (Framing::Events | Framing::Array | Framing::Aws, true) => match &self.inner {
                FormatObserver::Gemini(stream) => stream.separator(),
                _ => b"",
            },
        };
        let event = error_event(self.operation, self.framing, message, code);
        let mut bytes = BytesMut::with_capacity(before.len() + event.len());
        bytes.extend_from_slice(before);
        bytes.extend_from_slice(&event);
        Ending { bytes: bytes.freeze(), breaks: self.operation.api() == Api::Cohere }
    }

    fn progress(&self) -> Option<&Progress> {
        match &self.inner {
            FormatObserver::Whole(_) => None,
            FormatObserver::OpenAi(stream) => Some(stream.progress()),
            FormatObserver::Anthropic(stream) => Some(&stream.heard().progress),
            FormatObserver::Gemini(stream) => Some(stream.progress()),
            FormatObserver::Bedrock(stream) => Some(stream.progress()),
            FormatObserver::Cohere(stream) => Some(stream.progress()),
            FormatObserver::Replicate(stream) => Some(stream.progress()),
        }
    }
}

/// Returns a string without its quotes.
fn as_text(value: Option<&[u8]>) -> &[u8] {
    match value {
        Some([b'"', text @ .., b'"']) => text,
        _ => &[],
    }
}

/// Returns the name of an event from its first piece, which contains all lines before the data.
fn name_of_long(piece: &[u8]) -> &[u8] {
    let mut rest = piece;
    while !rest.is_empty() {
        match field(next_line(&mut rest)) {
            (b"event", name) => return name,
            (b"data", _) => break,
            _ => {}
        }
    }
    &[]
}

#[cfg(test)]
mod tests;
