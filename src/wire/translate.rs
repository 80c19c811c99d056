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

mod stream;

use super::feature::Feature;
use super::fit;
use super::format::quirks::Quirks;
use super::format::{anthropic, bedrock, cohere, gemini, openai_chat, openai_responses, replicate};
use super::ir::{Event, Request, Response};
use super::json::fields::Rejected;
use crate::wire::api::Format;
use crate::wire::format::context::ResponseContext;
use crate::wire::frame::Frame;

pub use super::fit::Fitting;
pub use super::fit::forced_tool::Forced;
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

/// Fits a request to a provider of `format`, and encodes it.
///
/// # Errors
///
/// When it asks for something that the provider does not support and that may not be left out.
pub fn encode_request(
    format: Format,
    caller: Format,
    request: &Request,
    quirks: &Quirks,
) -> Result<Encoded, Rejected> {
    let mut fitting = Fitting::new(format, caller);
    if format == Format::OpenAiChat && quirks.top_k {
        fitting.allow(Feature::TopK);
    }
    let mut request = request.clone();
    fit::generic::fit(&mut request, &mut fitting)?;
    let body = match format {
        Format::OpenAiChat => {
            openai_chat::fit(&mut request, quirks, &mut fitting)?;
            openai_chat::encode_request(&request, quirks)
        }
        Format::OpenAiResponses => {
            openai_responses::fit(&mut request, &mut fitting)?;
            openai_responses::encode_request(&request)
        }
        Format::Anthropic => {
            anthropic::fit(&mut request, quirks, &mut fitting)?;
            anthropic::encode_request(&request, quirks)
        }
        Format::Gemini => {
            gemini::fit(&mut request, &mut fitting)?;
            gemini::encode_request(&request)
        }
        Format::Bedrock => {
            bedrock::fit(&mut request, quirks, &mut fitting)?;
            bedrock::encode_request(&request, quirks)
        }
        Format::Cohere => {
            cohere::fit(&mut request, &mut fitting)?;
            cohere::encode_request(&request)
        }
        Format::Replicate => {
            replicate::fit(&mut request, &mut fitting)?;
            replicate::encode_request(&request)
        }
    };
    let (dropped, forced_tool) = fitting.finish();
    Ok(Encoded { body, dropped, forced: forced_tool })
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
            Format::OpenAiResponses => Decoder::OpenAiResponses(openai_responses::Decoder::new()),
            Format::Anthropic => Decoder::Anthropic(anthropic::Decoder::new(quirks)),
            Format::Gemini => Decoder::Gemini(gemini::Decoder::new()),
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
        Format::OpenAiResponses => openai_responses::decode_whole(body),
        Format::Anthropic => anthropic::decode_whole(body, quirks),
        Format::Gemini => gemini::decode_whole(body),
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
