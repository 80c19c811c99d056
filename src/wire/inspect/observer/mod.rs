//! Listening to an answer on its way through, for its usage, its errors and its end.
//!
//! The listener changes nothing and delays nothing. What it cannot read costs the usage figure and
//! nothing else: it goes on watching for the end.
//!
//! Each API has its own streams, and each file below reads those of one.

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

use self::progress::Course;
use crate::wire::api::Framing;
use crate::wire::api::{Api, Operation};
use crate::wire::failure::class::Failure;
use crate::wire::failure::error_event::Ending;
use crate::wire::failure::error_event::error_event;
use crate::wire::frame::sse::{field, next_line};
use crate::wire::inspect::usage::Usage;

pub use self::progress::Told;

/// An event longer than this that comes in several chunks is not gathered but scanned as it passes: images
/// in base64, or a response that repeats its long instructions. Of such an event choices are not read.
const GATHERED: usize = 256 * 1024;

/// Hears one answer. See the module.
#[derive(Debug)]
pub struct ResponseObserver {
    operation: Operation,
    framing: Framing,
    ear: Ear,
}

#[derive(Debug)]
enum Ear {
    Whole(whole::Body),
    OpenAi(openai::Stream),
    Anthropic(anthropic::Stream),
    Gemini(gemini::Stream),
    Bedrock(bedrock::Stream),
    Cohere(cohere::Stream),
    Replicate(replicate::Stream),
}

impl ResponseObserver {
    /// For the answer to `operation`, framed so.
    pub fn new(operation: Operation, framing: Framing) -> ResponseObserver {
        let ear = match (framing, operation.api()) {
            (Framing::Whole, _) => Ear::Whole(whole::Body::new(operation)),
            (Framing::Array, _) => Ear::Gemini(gemini::Stream::of_array()),
            (Framing::Aws, _) => Ear::Bedrock(bedrock::Stream::new()),
            // Bedrock has none of its own.
            (Framing::Events, Api::OpenAi | Api::Bedrock) => {
                Ear::OpenAi(openai::Stream::new(operation))
            }
            (Framing::Events, Api::Anthropic) => Ear::Anthropic(anthropic::Stream::new()),
            (Framing::Events, Api::Gemini) => Ear::Gemini(gemini::Stream::of_events()),
            (Framing::Events, Api::Cohere) => Ear::Cohere(cohere::Stream::new()),
            (Framing::Events, Api::Replicate) => Ear::Replicate(replicate::Stream::new()),
        };
        ResponseObserver { operation, framing, ear }
    }

    /// How the answer is framed.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Reads the counts that the answer's head has; Bedrock has those of a whole answer there. `header`
    /// gives a header's value by its lower-case name.
    pub fn read_head<'h>(&mut self, header: &dyn Fn(&str) -> Option<&'h str>) {
        if let (Ear::Whole(body), Api::Bedrock) = (&mut self.ear, self.operation.api()) {
            body.read_head(header);
        }
    }

    /// Takes the next bytes of the answer.
    pub fn hear(&mut self, bytes: &[u8]) {
        match &mut self.ear {
            Ear::Whole(body) => body.hear(bytes),
            Ear::OpenAi(stream) => stream.hear(bytes),
            Ear::Anthropic(stream) => stream.hear(bytes),
            Ear::Gemini(stream) => stream.hear(bytes),
            Ear::Bedrock(stream) => stream.hear(bytes),
            Ear::Cohere(stream) => stream.hear(bytes),
            Ear::Replicate(stream) => stream.hear(bytes),
        }
    }

    /// Whether the answer has begun: an event that a caller waits for, or any byte of an answer that is no
    /// stream. What a stream opens with before the model has said a word is no beginning, since an error
    /// often follows it.
    pub fn begun(&self) -> bool {
        match (&self.ear, self.course()) {
            (Ear::Whole(body), _) => body.begun(),
            (_, course) => course.is_some_and(|course| course.begun),
        }
    }

    /// The first error that the stream carried.
    pub fn failure(&self) -> Option<Failure> {
        self.course()?.failure
    }

    /// That error in the form of an error answer, unless it cannot be brought into one.
    pub fn told(&self) -> Option<&Told> {
        self.course()?.told.as_ref()
    }

    /// Whether the answer would be whole if it ended here, and in order: the provider has said its end, or
    /// speaks in events that are unknown here. Of an answer that is no stream, HTTP itself says whether it
    /// is whole.
    pub fn complete(&self) -> bool {
        self.course().is_none_or(Course::complete)
    }

    /// Whether the provider has said its end: nothing that matters can follow. Other than
    /// [`ResponseObserver::complete`], it never holds of a stream whose events are unknown here, nor of one that
    /// only HTTP ends.
    pub fn finished(&self) -> bool {
        self.course().is_some_and(Course::finished)
    }

    /// Whether the event that ends the stream was seen, `[DONE]` or the operation's own.
    pub fn done(&self) -> bool {
        self.course().is_some_and(|course| course.done)
    }

    /// Whether the stream stands between two events, so that another can be put behind it.
    pub fn at_boundary(&self) -> bool {
        match &self.ear {
            Ear::Whole(_) => false,
            Ear::OpenAi(stream) => stream.at_boundary(),
            Ear::Anthropic(stream) => stream.at_boundary(),
            Ear::Gemini(stream) => stream.at_boundary(),
            Ear::Bedrock(stream) => stream.at_boundary(),
            Ear::Cohere(stream) => stream.at_boundary(),
            Ear::Replicate(stream) => stream.at_boundary(),
        }
    }

    /// How long the event is of which the end has not come. Frames of AWS say their length themselves, and
    /// have a limit of their own.
    pub fn open_event(&self) -> usize {
        match &self.ear {
            Ear::Whole(_) | Ear::Bedrock(_) => 0,
            Ear::OpenAi(stream) => stream.open(),
            Ear::Anthropic(stream) => stream.open(),
            Ear::Gemini(stream) => stream.open(),
            Ear::Cohere(stream) => stream.open(),
            Ear::Replicate(stream) => stream.open(),
        }
    }

    /// The tokens that the provider has counted so far.
    pub fn usage(&self) -> Usage {
        match &self.ear {
            Ear::Whole(body) => body.usage(),
            Ear::OpenAi(stream) => stream.usage(),
            Ear::Anthropic(stream) => stream.heard().tally.usage(),
            Ear::Gemini(stream) => stream.tally().usage(),
            Ear::Bedrock(stream) => stream.tally().usage(),
            Ear::Cohere(stream) => stream.tally().usage(),
            Ear::Replicate(_) => Usage::default(),
        }
    }

    /// What ends the answer when it breaks off here: an error in the caller's own format, where there is
    /// room for one. Half a message or element cannot be ended, and a client that would take it for whole
    /// does not exist; half a server-sent event can.
    pub fn cut(&self, message: &str, code: &str) -> Ending {
        let broken = Ending { bytes: Bytes::new(), breaks: true };
        let before: &[u8] = match (self.framing, self.at_boundary()) {
            (Framing::Whole, _) | (Framing::Array | Framing::Aws, false) => return broken,
            (Framing::Events, false) => b"\n\n",
            (Framing::Events | Framing::Array | Framing::Aws, true) => match &self.ear {
                Ear::Gemini(stream) => stream.separator(),
                _ => b"",
            },
        };
        let event = error_event(self.operation, self.framing, message, code);
        let mut bytes = BytesMut::with_capacity(before.len() + event.len());
        bytes.extend_from_slice(before);
        bytes.extend_from_slice(&event);
        Ending { bytes: bytes.freeze(), breaks: self.operation.api() == Api::Cohere }
    }

    fn course(&self) -> Option<&Course> {
        match &self.ear {
            Ear::Whole(_) => None,
            Ear::OpenAi(stream) => Some(stream.course()),
            Ear::Anthropic(stream) => Some(&stream.heard().course),
            Ear::Gemini(stream) => Some(stream.course()),
            Ear::Bedrock(stream) => Some(stream.course()),
            Ear::Cohere(stream) => Some(stream.course()),
            Ear::Replicate(stream) => Some(stream.course()),
        }
    }
}

/// A string without its quotes.
fn as_text(value: Option<&[u8]>) -> &[u8] {
    match value {
        Some([b'"', text @ .., b'"']) => text,
        _ => &[],
    }
}

/// The name of an event of which this is the first piece, in which all lines before the data stand.
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
