//! A provider's stream on its way to a caller of another format: bytes in, bytes out, nothing held back
//! but the event that is not whole yet.

use super::{Decoder, Encoder, Forced};
use crate::wire::api::Framing;
use crate::wire::failure::ProviderError;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::frame::json_array::{Element, Elements};
use crate::wire::frame::sse::Sse;
use crate::wire::frame::{Frame, aws_event_stream, sse};
use crate::wire::ir::Event;

/// The longest event that is read.
const LONGEST: usize = aws_event_stream::LONGEST;

/// One stream.
#[derive(Debug)]
pub struct Translation {
    frames: Frames,
    decoder: Decoder,
    encoder: Encoder,
    forced: Option<Forced>,
    events: Vec<Event>,
    state: State,
    framing: Framing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Going,
    Ended,
    Failed(Failure),
}

#[derive(Debug)]
enum Frames {
    Events(Sse),
    Array(Elements),
    Aws(aws_event_stream::Frames),
}

impl Translation {
    /// From a stream framed so, to one framed as `to`; `None`: it is no stream.
    pub fn new(
        framing: Framing,
        to: Framing,
        decoder: Decoder,
        encoder: Encoder,
        forced: Option<Forced>,
    ) -> Option<Translation> {
        let frames = match framing {
            Framing::Events => Frames::Events(Sse::new(LONGEST)),
            Framing::Array => Frames::Array(Elements::new(LONGEST)),
            Framing::Aws => Frames::Aws(aws_event_stream::Frames::new(LONGEST)),
            Framing::Whole => return None,
        };
        Some(Translation {
            frames,
            decoder,
            encoder,
            forced,
            events: Vec::new(),
            state: State::Going,
            framing: to,
        })
    }

    /// Takes the next bytes, and writes what they are to the caller.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let Self { frames, decoder, events, .. } = self;
        match frames {
            Frames::Events(sse) => sse.push(bytes, |frame| match frame {
                sse::Frame::Event(event) => {
                    let data = match decoder {
                        // Its data are text, in which every space counts.
                        Decoder::Replicate(_) => &*event.data,
                        _ => event.data.trim_ascii(),
                    };
                    decoder.frame(Frame::Event { name: event.name, data }, events);
                }
                sse::Frame::Long { .. } => events.push(too_long()),
            }),
            Frames::Array(elements) => elements.push(bytes, |element| match element {
                Element::Whole(data) => decoder.frame(Frame::Event { name: b"", data }, events),
                Element::Piece { .. } => events.push(too_long()),
            }),
            Frames::Aws(frames) => frames.push(bytes, |frame| match frame {
                aws_event_stream::Frame::Event { kind, payload } => {
                    decoder.frame(Frame::Event { name: kind.as_bytes(), data: payload }, events);
                }
                aws_event_stream::Frame::Exception { kind, payload } => {
                    decoder.frame(Frame::Exception { kind, payload }, events);
                }
                aws_event_stream::Frame::Error { code, message } => {
                    events.push(fail(Some(code), message))
                }
                aws_event_stream::Frame::Broken(_) => {
                    events.push(fail(None, "The provider's stream is damaged."));
                }
            }),
        }
        self.write(out);
    }

    /// The provider has ended its stream in order. Afterwards [`Translation::is_over`] says whether the
    /// answer was whole.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        self.decoder.end(&mut self.events);
        self.write(out);
    }

    /// The stream broke off: the caller's error event, unless its last word was said.
    pub fn cut(&mut self, message: &str, out: &mut Vec<u8>) {
        self.events.push(fail(None, message));
        self.write(out);
    }

    /// Whether the caller has had its last event: the end, or an error.
    pub fn is_over(&self) -> bool {
        self.state != State::Going
    }

    /// What that meant, if it was an error.
    pub fn failure(&self) -> Option<Failure> {
        match self.state {
            State::Failed(failure) => Some(failure),
            State::Going | State::Ended => None,
        }
    }

    /// How it is framed for the caller.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    fn write(&mut self, out: &mut Vec<u8>) {
        for mut event in self.events.drain(..) {
            if self.state != State::Going {
                continue;
            }
            if let Some(forced) = &mut self.forced {
                forced.undo(&mut event);
            }
            match &event {
                Event::End => self.state = State::Ended,
                Event::Fail(told) => self.state = State::Failed(told.failure),
                _ => {}
            }
            self.encoder.event(&event, out);
        }
    }
}

fn too_long() -> Event {
    fail(None, "The provider sent an event of more than 16 MiB.")
}

fn fail(kind: Option<&str>, message: &str) -> Event {
    Event::Fail(ProviderError {
        failure: Failure { class: Class::Trouble, retry_after: None },
        status: None,
        kind: kind.map(str::to_owned),
        code: None,
        param: None,
        message: message.to_owned(),
    })
}
