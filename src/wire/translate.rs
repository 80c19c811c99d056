//! From one format to another, by way of [`ir`](super::ir): two halves a format, and no pair of formats
//! knows of the other.
//!
//! ```text
//! caller half     request::decode  ->  Request      Event  ->  Encoder, encode
//! provider half   request::encode  <-  Request      Event  <-  Decoder, decode
//! ```
//!
//! This file is the only place that names all formats; each match is without a wildcard, so a new one
//! cannot be forgotten. stream.rs: bytes in, bytes out.

mod forced;
mod stream;

use std::sync::Arc;

use super::api::{Framing, Api, Operation};
use super::feature::{Feature, Verdict};
use super::format::{anthropic, bedrock, cohere, gemini, openai_chat, openai_responses, replicate};
use super::format::quirks::Quirks;
use super::ir::{Echo, Event, Reply, Request};
use super::json::fields::{Rejected, child};

pub use forced::Forced;
pub use stream::Translation;

/// A request as a provider is to get it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Encoded {
    /// The body.
    pub body: Vec<u8>,
    /// What was left out, in the caller's names.
    pub dropped: Vec<String>,
    /// The tool that the model is made to call because the format has no schema for answers: its
    /// arguments are the answer.
    pub forced: Option<String>,
}

/// Reads a caller's request. `model` and `stream` are as routing found them: of some formats they stand in
/// the path.
///
/// # Errors
///
/// When the body is not what the format asks for.
pub fn decode_request(
    wire: Wire,
    body: &[u8],
    model: &str,
    stream: bool,
) -> Result<Request, Rejected> {
    let mut request = match wire {
        Wire::OpenAiChat => openai_chat::decode_request(body)?,
        Wire::OpenAiResponses => openai_responses::decode_request(body)?,
        Wire::Anthropic => anthropic::decode_request(body)?,
        Wire::Gemini => gemini::decode_request(body)?,
        Wire::Bedrock => bedrock::decode_request(body)?,
        Wire::Cohere | Wire::Replicate => {
            return Err(Rejected::new("", "is of a format that is not read here"));
        }
    };
    model.clone_into(&mut request.model);
    request.stream = stream;
    Ok(request)
}

/// Writes a request for a provider.
///
/// # Errors
///
/// When it asks for something that the format cannot say, and that may not be left out.
pub fn encode_request(
    wire: Wire,
    caller: Wire,
    request: &Request,
    quirks: &Quirks,
) -> Result<Encoded, Rejected> {
    let mut saying = Saying::new(wire, caller);
    for (feature, at) in &request.asked {
        saying.says(*feature, at)?;
    }
    for name in &request.unknown {
        saying.drop(&child("", name));
    }
    let body = match wire {
        Wire::OpenAiChat => openai_chat::encode_request(request, quirks, &mut saying)?,
        Wire::OpenAiResponses => openai_responses::encode_request(request, quirks, &mut saying)?,
        Wire::Anthropic => anthropic::encode_request(request, quirks, &mut saying)?,
        Wire::Gemini => gemini::encode_request(request, quirks, &mut saying)?,
        Wire::Bedrock => bedrock::encode_request(request, quirks, &mut saying)?,
        Wire::Cohere => cohere::encode_request(request, quirks, &mut saying)?,
        Wire::Replicate => replicate::encode_request(request, quirks, &mut saying)?,
    };
    Ok(Encoded { body, dropped: saying.dropped, forced: saying.forced })
}

/// What an encoder asks before it says something, and where it notes what it leaves out.
#[derive(Debug)]
pub struct Saying {
    wire: Wire,
    caller: Wire,
    dropped: Vec<String>,
    forced: Option<String>,
}

impl Saying {
    /// For a provider of `wire`, on behalf of a caller of `caller`.
    pub fn new(wire: Wire, caller: Wire) -> Saying {
        Saying { wire, caller, dropped: Vec::new(), forced: None }
    }

    /// Whether the feature that stands at `at` is to be said: by the format's table. An empty `at` stands
    /// for the place where the caller's format has the feature.
    ///
    /// # Errors
    ///
    /// When the format cannot say it, and it may not be left out.
    pub fn says(&mut self, feature: Feature, at: &str) -> Result<bool, Rejected> {
        match self.wire.verdict(feature) {
            Verdict::Said => Ok(true),
            Verdict::Dropped => {
                self.leave(feature, at);
                Ok(false)
            }
            Verdict::Refused => Err(self.refusal(feature, at)),
        }
    }

    /// Leaves out a feature that the format could say, in this one case (a vendor or a model that cannot).
    pub fn leave(&mut self, feature: Feature, at: &str) {
        let at = self.at(feature, at);
        self.drop(&at);
    }

    /// Refuses a feature that the format could say, in this one case.
    pub fn refusal(&self, feature: Feature, at: &str) -> Rejected {
        let why = format!(
            "cannot be said to a provider of the format {} ({})",
            self.wire.name(),
            feature.name()
        );
        Rejected::new(self.at(feature, at), why)
    }

    /// Names something that is left out, once.
    pub fn drop(&mut self, name: &str) {
        if !self.dropped.iter().any(|known| known == name) {
            self.dropped.push(name.to_owned());
        }
    }

    /// Notes the tool whose arguments are the answer.
    pub fn force(&mut self, tool: &str) {
        self.forced = Some(tool.to_owned());
    }

    fn at(&self, feature: Feature, at: &str) -> String {
        match at {
            "" => {
                let place = self.caller.place(feature).unwrap_or(feature.name());
                format!("/{}", place.replace("[]", "").replace('.', "/"))
            }
            at => at.to_owned(),
        }
    }
}

/// Makes events of a provider's stream, frame by frame.
#[derive(Debug)]
#[expect(missing_docs, reason = "one a format")]
pub enum Decoder {
    OpenAiChat(openai_chat::Decoder),
    OpenAiResponses(openai_responses::Decoder),
    Anthropic(anthropic::Decoder),
    Gemini(gemini::Decoder),
    Bedrock(bedrock::Decoder),
    Cohere(cohere::Decoder),
    Replicate(replicate::Decoder),
}

impl Decoder {
    /// For a stream of this format.
    pub fn new(wire: Wire, quirks: &'static Quirks) -> Decoder {
        match wire {
            Wire::OpenAiChat => Decoder::OpenAiChat(openai_chat::Decoder::new(quirks)),
            Wire::OpenAiResponses => {
                Decoder::OpenAiResponses(openai_responses::Decoder::new(quirks))
            }
            Wire::Anthropic => Decoder::Anthropic(anthropic::Decoder::new(quirks)),
            Wire::Gemini => Decoder::Gemini(gemini::Decoder::new(quirks)),
            Wire::Bedrock => Decoder::Bedrock(bedrock::Decoder::new(quirks)),
            Wire::Cohere => Decoder::Cohere(cohere::Decoder::new(quirks)),
            Wire::Replicate => Decoder::Replicate(replicate::Decoder::new(quirks)),
        }
    }

    /// Takes a frame, and gives what it tells.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        match self {
            Decoder::OpenAiChat(decoder) => decoder.frame(frame, out),
            Decoder::OpenAiResponses(decoder) => decoder.frame(frame, out),
            Decoder::Anthropic(decoder) => decoder.frame(frame, out),
            Decoder::Gemini(decoder) => decoder.frame(frame, out),
            Decoder::Bedrock(decoder) => decoder.frame(frame, out),
            Decoder::Cohere(decoder) => decoder.frame(frame, out),
            Decoder::Replicate(decoder) => decoder.frame(frame, out),
        }
    }

    /// The stream has ended in order: gives the [`Event::End`] that a format without terminal event, or a
    /// vendor that leaves it out, still owes behind its stop. Of a stream without a stop it gives nothing.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        match self {
            Decoder::OpenAiChat(decoder) => decoder.end(out),
            Decoder::OpenAiResponses(decoder) => decoder.end(out),
            Decoder::Anthropic(decoder) => decoder.end(out),
            Decoder::Gemini(decoder) => decoder.end(out),
            Decoder::Bedrock(decoder) => decoder.end(out),
            Decoder::Cohere(decoder) => decoder.end(out),
            Decoder::Replicate(decoder) => decoder.end(out),
        }
    }
}

/// Makes events of a provider's whole answer, ending with [`Event::End`], or with [`Event::Fail`] where the
/// body holds an error whatever its status, or is no answer of the format.
pub fn decode_whole(wire: Wire, body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    match wire {
        Wire::OpenAiChat => openai_chat::decode_whole(body, quirks),
        Wire::OpenAiResponses => openai_responses::decode_whole(body, quirks),
        Wire::Anthropic => anthropic::decode_whole(body, quirks),
        Wire::Gemini => gemini::decode_whole(body, quirks),
        Wire::Bedrock => bedrock::decode_whole(body, quirks),
        Wire::Cohere => cohere::decode_whole(body, quirks),
        Wire::Replicate => replicate::decode_whole(body, quirks),
    }
}

/// Makes a stream for the caller, event by event.
#[derive(Debug)]
#[expect(missing_docs, reason = "one a format")]
pub enum Encoder {
    OpenAiChat(openai_chat::Encoder),
    OpenAiResponses(openai_responses::Encoder),
    Anthropic(anthropic::Encoder),
    Gemini(gemini::Encoder),
    Bedrock(bedrock::Encoder),
}

impl Encoder {
    /// For a caller of this format; `None`: no caller speaks it.
    pub fn new(wire: Wire, shown: Shown) -> Option<Encoder> {
        Some(match wire {
            Wire::OpenAiChat => Encoder::OpenAiChat(openai_chat::Encoder::new(shown)),
            Wire::OpenAiResponses => {
                Encoder::OpenAiResponses(openai_responses::Encoder::new(shown))
            }
            Wire::Anthropic => Encoder::Anthropic(anthropic::Encoder::new(shown)),
            Wire::Gemini => Encoder::Gemini(gemini::Encoder::new(shown)),
            Wire::Bedrock => Encoder::Bedrock(bedrock::Encoder::new(shown)),
            Wire::Cohere | Wire::Replicate => return None,
        })
    }

    /// Writes what the event is in the caller's format, framed. Of [`Event::Fail`] the caller's error
    /// event; the terminal event only of [`Event::End`].
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match self {
            Encoder::OpenAiChat(encoder) => encoder.event(event, out),
            Encoder::OpenAiResponses(encoder) => encoder.event(event, out),
            Encoder::Anthropic(encoder) => encoder.event(event, out),
            Encoder::Gemini(encoder) => encoder.event(event, out),
            Encoder::Bedrock(encoder) => encoder.event(event, out),
        }
    }
}

/// Writes a whole answer for the caller; `None`: no caller speaks the format.
pub fn encode_whole(wire: Wire, reply: &Reply, shown: &Shown) -> Option<Vec<u8>> {
    Some(match wire {
        Wire::OpenAiChat => openai_chat::encode_whole(reply, shown),
        Wire::OpenAiResponses => openai_responses::encode_whole(reply, shown),
        Wire::Anthropic => anthropic::encode_whole(reply, shown),
        Wire::Gemini => gemini::encode_whole(reply, shown),
        Wire::Bedrock => bedrock::encode_whole(reply, shown),
        Wire::Cohere | Wire::Replicate => return None,
    })
}
