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

use super::feature::{Feature, Support};
use super::format::quirks::Quirks;
use super::format::{anthropic, bedrock, cohere, gemini, openai_chat, openai_responses, replicate};
use super::ir::{Event, Request, Response};
use super::json::fields::{Rejected, child};
use crate::wire::api::Format;
use crate::wire::format::context::ResponseContext;
use crate::wire::frame::Frame;

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
    format: Format,
    body: &[u8],
    model: &str,
    stream: bool,
) -> Result<Request, Rejected> {
    let mut request = match format {
        Format::OpenAiChat => openai_chat::decode_request(body)?,
        Format::OpenAiResponses => openai_responses::decode_request(body)?,
        Format::Anthropic => anthropic::decode_request(body)?,
        Format::Gemini => gemini::decode_request(body)?,
        Format::Bedrock => bedrock::decode_request(body)?,
        Format::Cohere | Format::Replicate => {
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
    format: Format,
    caller: Format,
    request: &Request,
    quirks: &Quirks,
) -> Result<Encoded, Rejected> {
    let mut saying = Fitting::new(format, caller);
    for (feature, at) in &request.asked {
        saying.says(*feature, at)?;
    }
    for name in &request.unknown {
        saying.drop(&child("", name));
    }
    let body = match format {
        Format::OpenAiChat => openai_chat::encode_request(request, quirks, &mut saying)?,
        Format::OpenAiResponses => openai_responses::encode_request(request, quirks, &mut saying)?,
        Format::Anthropic => anthropic::encode_request(request, quirks, &mut saying)?,
        Format::Gemini => gemini::encode_request(request, quirks, &mut saying)?,
        Format::Bedrock => bedrock::encode_request(request, quirks, &mut saying)?,
        Format::Cohere => cohere::encode_request(request, quirks, &mut saying)?,
        Format::Replicate => replicate::encode_request(request, quirks, &mut saying)?,
    };
    Ok(Encoded { body, dropped: saying.dropped, forced: saying.forced })
}

/// What an encoder asks before it says something, and where it notes what it leaves out.
#[derive(Debug)]
pub struct Fitting {
    format: Format,
    caller: Format,
    dropped: Vec<String>,
    forced: Option<String>,
}

impl Fitting {
    /// For a provider of `wire`, on behalf of a caller of `caller`.
    pub fn new(format: Format, caller: Format) -> Fitting {
        Fitting { format, caller, dropped: Vec::new(), forced: None }
    }

    /// Whether the feature that stands at `at` is to be said: by the format's table. An empty `at` stands
    /// for the place where the caller's format has the feature.
    ///
    /// # Errors
    ///
    /// When the format cannot say it, and it may not be left out.
    pub fn says(&mut self, feature: Feature, at: &str) -> Result<bool, Rejected> {
        match feature.support(self.format) {
            Support::Supported => Ok(true),
            Support::Dropped => {
                self.leave(feature, at);
                Ok(false)
            }
            Support::Refused => Err(self.refusal(feature, at)),
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
            self.format.name(),
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
                let place = feature.place(self.caller).unwrap_or(feature.name());
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
    pub fn new(format: Format, quirks: &'static Quirks) -> Decoder {
        match format {
            Format::OpenAiChat => Decoder::OpenAiChat(openai_chat::Decoder::new(quirks)),
            Format::OpenAiResponses => {
                Decoder::OpenAiResponses(openai_responses::Decoder::new(quirks))
            }
            Format::Anthropic => Decoder::Anthropic(anthropic::Decoder::new(quirks)),
            Format::Gemini => Decoder::Gemini(gemini::Decoder::new(quirks)),
            Format::Bedrock => Decoder::Bedrock(bedrock::Decoder::new(quirks)),
            Format::Cohere => Decoder::Cohere(cohere::Decoder::new(quirks)),
            Format::Replicate => Decoder::Replicate(replicate::Decoder::new(quirks)),
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
pub fn decode_whole(format: Format, body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    match format {
        Format::OpenAiChat => openai_chat::decode_whole(body, quirks),
        Format::OpenAiResponses => openai_responses::decode_whole(body, quirks),
        Format::Anthropic => anthropic::decode_whole(body, quirks),
        Format::Gemini => gemini::decode_whole(body, quirks),
        Format::Bedrock => bedrock::decode_whole(body, quirks),
        Format::Cohere => cohere::decode_whole(body, quirks),
        Format::Replicate => replicate::decode_whole(body, quirks),
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
    pub fn new(format: Format, shown: ResponseContext) -> Option<Encoder> {
        Some(match format {
            Format::OpenAiChat => Encoder::OpenAiChat(openai_chat::Encoder::new(shown)),
            Format::OpenAiResponses => {
                Encoder::OpenAiResponses(openai_responses::Encoder::new(shown))
            }
            Format::Anthropic => Encoder::Anthropic(anthropic::Encoder::new(shown)),
            Format::Gemini => Encoder::Gemini(gemini::Encoder::new(shown)),
            Format::Bedrock => Encoder::Bedrock(bedrock::Encoder::new(shown)),
            Format::Cohere | Format::Replicate => return None,
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
pub fn encode_whole(format: Format, reply: &Response, shown: &ResponseContext) -> Option<Vec<u8>> {
    Some(match format {
        Format::OpenAiChat => openai_chat::encode_whole(reply, shown),
        Format::OpenAiResponses => openai_responses::encode_whole(reply, shown),
        Format::Anthropic => anthropic::encode_whole(reply, shown),
        Format::Gemini => gemini::encode_whole(reply, shown),
        Format::Bedrock => bedrock::encode_whole(reply, shown),
        Format::Cohere | Format::Replicate => return None,
    })
}
