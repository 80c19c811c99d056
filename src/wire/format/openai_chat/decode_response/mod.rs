//! A provider's answer, event by event. A whole one goes the same way, as one chunk.

pub(crate) mod error;
pub(crate) mod tool_calls;
pub(crate) mod types;

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use self::tool_calls::Calls;
use self::types::{Choice, Chunk, Content, Delta, Image, Part};
use super::media;
use crate::wire::api::Format;
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_named;
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::inspect::usage::{Usage, read as read_usage};
use crate::wire::ir::{Event, Kind, MediaKind, Piece, Signature, Stop};

/// OpenAI's limit of `n`.
const MOST_CANDIDATES: u64 = 128;
/// Signed details of one thought that are kept until it ends.
const LONGEST_DETAILS: usize = 1024 * 1024;

/// Makes events of a provider's stream.
///
/// A finish reason is told when the stream ends: vendors repeat it, correct it, and let more follow (a
/// usage chunk with the same choice once more; recorded of OpenRouter and Cerebras).
#[derive(Debug)]
pub struct Decoder {
    started: bool,
    over: bool,
    /// The number of the next block.
    next: u32,
    candidates: BTreeMap<u32, Candidate>,
    usage: Usage,
    tier: String,
}

#[derive(Debug, Default)]
struct Candidate {
    /// The open block of text.
    text: Option<(u32, Spoken)>,
    calls: Calls,
    refused: bool,
    /// Signed details of the open thought, each as written.
    details: Vec<String>,
    finish: Option<Finish>,
}

/// What a block of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spoken {
    Text,
    Thought,
    Refusal,
}

#[derive(Debug, Default)]
struct Finish {
    word: String,
    sequence: Option<String>,
}

impl Decoder {
    /// Of a vendor with these quirks. None of them changes how answers are read: all shapes are known
    /// whoever sends them.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder {
            started: false,
            over: false,
            next: 0,
            candidates: BTreeMap::new(),
            usage: Usage::default(),
            tier: String::new(),
        }
    }

    /// Takes a frame.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        if self.over {
            return;
        }
        match frame {
            Frame::Event { data: [], .. } => {}
            Frame::Event { data, .. } if data.starts_with(b"[DONE]") => self.finish(out),
            Frame::Event { name: b"ping", .. } => out.push(Event::Ping),
            Frame::Event { name, data } => match serde_json::from_slice::<Chunk<'_>>(data) {
                Ok(chunk) if name == b"error" && chunk.error.is_none() => {
                    self.fail(error::of_error(data), out);
                }
                Ok(chunk) => self.chunk(&chunk, data, false, out),
                Err(_) => {
                    let message = "The provider sent an event that cannot be read.";
                    self.fail(error::trouble(message), out);
                }
            },
            Frame::Exception { kind, payload } => {
                let failure = classify_named(kind, payload);
                let told = error::of_error(payload);
                self.fail(ProviderError { failure, kind: Some(kind.to_owned()), ..told }, out);
            }
        }
    }

    /// The stream has ended in order. Some vendors have no `[DONE]`; behind all finish reasons nothing is
    /// missing.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        let stopped = self.candidates.values().all(|own| own.finish.is_some());
        if !self.over && stopped && !self.candidates.is_empty() {
            self.finish(out);
        }
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, data: &[u8], whole: bool, out: &mut Vec<Event>) {
        let choices = chunk.choices.as_deref().unwrap_or_default();
        let error = chunk.error.or_else(|| choices.iter().find_map(|choice| choice.error));
        if let Some(error) = error.filter(|error| is_told(error)) {
            return self.fail(error::of_error(error.get().as_bytes()), out);
        }
        // vLLM's errors before 0.10: the error's members beside the object's name.
        if chunk.object.as_str() == "error" {
            return self.fail(error::of_error(data), out);
        }
        let usage = chunk.usage.or_else(|| chunk.x_groq.as_ref()?.usage);
        // Azure opens with what it thinks of the prompt, without id or model.
        if choices.is_empty() && usage.is_none() {
            return;
        }
        self.start(chunk, out);
        for choice in choices {
            if !self.choice(choice, chunk.search_results, whole, out) {
                return;
            }
        }
        if !chunk.service_tier.is_empty() && self.tier != chunk.service_tier.as_str() {
            chunk.service_tier.as_str().clone_into(&mut self.tier);
            out.push(Event::Tier(self.tier.clone()));
        }
        let usage = usage.map_or_else(Usage::default, |usage| read_usage(usage.get().as_bytes()));
        if usage != Usage::default() && usage != self.usage {
            self.usage = usage;
            out.push(Event::Usage(usage));
        }
    }

    fn start(&mut self, chunk: &Chunk<'_>, out: &mut Vec<Event>) {
        if !self.started {
            self.started = true;
            let created = chunk.created.as_ref().and_then(serde_json::Number::as_u64);
            out.push(Event::Start {
                id: chunk.id.told(),
                model: chunk.model.told(),
                created: created.filter(|created| *created != 0),
            });
        }
    }

    /// Whether the stream goes on.
    fn choice(
        &mut self,
        choice: &Choice<'_>,
        sources: Option<&RawValue>,
        whole: bool,
        out: &mut Vec<Event>,
    ) -> bool {
        let index = choice.index.unwrap_or(0);
        let Some(at) = u32::try_from(index).ok().filter(|_| index < MOST_CANDIDATES) else {
            self.fail(error::trouble("The provider sent more answers than there can be."), out);
            return false;
        };
        let own = self.candidates.entry(at).or_default();
        let mut writer = Writer { candidate: at, next: &mut self.next, out };
        let none = Delta::default();
        // Perplexity has both: a delta with nothing in it beside a whole message.
        let (delta, message) = (choice.delta.as_ref(), choice.message.as_ref());
        let told = if whole { message.or(delta) } else { delta.or(message) };
        let delta = told.unwrap_or(&none);
        let kept = own.delta(delta, whole, &mut writer);
        if let Some(logprobs) = &choice.logprobs {
            for tokens in [&logprobs.content, &logprobs.refusal].into_iter().flatten() {
                own.logprobs(tokens, &mut writer);
            }
        }
        if !choice.finish_reason.is_empty() {
            own.finish = Some(Finish::of(choice));
            own.cite(sources.map(RawValue::get), &mut writer);
        }
        if !kept {
            self.fail(error::trouble("The provider sent more tool calls than there can be."), out);
        }
        kept
    }

    /// The answer is whole, by `[DONE]` or by its finish reasons.
    fn finish(&mut self, out: &mut Vec<Event>) {
        if self.candidates.is_empty() {
            return self.fail(error::trouble("The provider's answer is empty."), out);
        }
        self.over = true;
        for (at, own) in &mut self.candidates {
            let mut writer = Writer { candidate: *at, next: &mut self.next, out };
            own.stop(&mut writer);
        }
        out.push(Event::End);
    }

    fn fail(&mut self, told: ProviderError, out: &mut Vec<Event>) {
        self.over = true;
        out.push(Event::Fail(told));
    }
}

/// Makes events of a provider's whole answer.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let mut decoder = Decoder::new(quirks);
    let mut out = Vec::new();
    match serde_json::from_slice::<Chunk<'_>>(body) {
        Ok(chunk) => decoder.chunk(&chunk, body, true, &mut out),
        Err(_) => decoder.fail(error::trouble("The provider's answer cannot be read."), &mut out),
    }
    if !decoder.over {
        decoder.finish(&mut out);
    }
    out
}

/// `false` and empty words are some vendors' null.
fn is_told(error: &RawValue) -> bool {
    !matches!(error.get(), "null" | "false" | "\"\"" | "{}")
}

/// Where a candidate's events go.
struct Writer<'w> {
    candidate: u32,
    next: &'w mut u32,
    out: &'w mut Vec<Event>,
}

impl Writer<'_> {
    fn open(&mut self, kind: Kind) -> u32 {
        let block = *self.next;
        *self.next += 1;
        self.out.push(Event::Open { block, candidate: self.candidate, kind });
        block
    }

    fn piece(&mut self, block: u32, piece: Piece) {
        self.out.push(Event::Delta { block, piece });
    }
}

impl Candidate {
    /// Whether it is within the limits.
    fn delta(&mut self, delta: &Delta<'_>, whole: bool, writer: &mut Writer<'_>) -> bool {
        // Of a thought that is told twice, under two names, one is enough.
        let thought = [&delta.reasoning_content, &delta.reasoning].into_iter();
        match thought.into_iter().find(|thought| !thought.is_empty()) {
            Some(thought) => self.say(Spoken::Thought, thought.as_str(), writer),
            None => self.details_as_text(delta.reasoning_details, writer),
        }
        self.keep_signed(delta.reasoning_details);
        match &delta.content {
            Content::None => {}
            Content::Text(text) => self.say(Spoken::Text, text, writer),
            Content::Parts(parts) => parts.iter().for_each(|part| self.part(part, writer)),
        }
        if let Some(audio) = &delta.audio {
            self.say(Spoken::Text, audio.transcript.as_str(), writer);
        }
        self.say(Spoken::Refusal, delta.refusal.as_str(), writer);
        self.refused |= !delta.refusal.is_empty();
        for citation in delta.annotations.iter().flatten() {
            self.cited(citation.clone(), writer);
        }
        if let (Some(signature), Some((block, _))) =
            (delta.extra_content.as_ref().and_then(|extra| extra.signature()), self.text)
        {
            let signature =
                Signature { format: Format::Gemini, data: signature.to_owned(), id: None };
            writer.piece(block, Piece::Signature(signature));
        }
        delta.images.iter().flatten().for_each(|image| self.image(image, writer));
        self.call(delta, whole, writer)
    }

    fn call(&mut self, delta: &Delta<'_>, whole: bool, writer: &mut Writer<'_>) -> bool {
        let legacy = delta.function_call.as_ref().map(|function| types::Call {
            index: None,
            id: types::Text::default(),
            function: Some(types::Function {
                name: types::Text(function.name.as_str().into()),
                arguments: function.arguments,
            }),
            extra_content: None,
        });
        let pieces = delta.tool_calls.iter().flatten().chain(&legacy);
        for piece in pieces {
            self.close_text(writer);
            self.hidden(writer);
            let Writer { candidate, next, out } = writer;
            if self.calls.take(piece, whole, *candidate, next, out).is_err() {
                return false;
            }
        }
        true
    }

    fn say(&mut self, what: Spoken, text: &str, writer: &mut Writer<'_>) {
        if text.is_empty() {
            return;
        }
        let block = match self.text {
            Some((block, open)) if open == what => block,
            _ => {
                self.close_text(writer);
                if what != Spoken::Thought {
                    self.hidden(writer);
                }
                self.calls.settle(writer.candidate, writer.next, writer.out);
                let block = writer.open(match what {
                    Spoken::Text => Kind::Text,
                    Spoken::Thought => Kind::Reasoning,
                    Spoken::Refusal => Kind::Refusal,
                });
                self.text = Some((block, what));
                block
            }
        };
        writer.piece(block, Piece::Text(text.to_owned()));
    }

    fn part(&mut self, part: &Part<'_>, writer: &mut Writer<'_>) {
        match (part.kind.as_str(), part.thinking.as_deref()) {
            ("thinking", Some(Content::Text(text))) => self.say(Spoken::Thought, text, writer),
            ("thinking", Some(Content::Parts(parts))) => {
                for part in parts {
                    self.say(Spoken::Thought, part.text.as_str(), writer);
                }
            }
            ("refusal", _) => {
                self.refused = true;
                self.say(Spoken::Refusal, part.refusal.as_str(), writer);
            }
            _ => self.say(Spoken::Text, part.text.as_str(), writer),
        }
    }

    /// Of thoughts that stand in OpenRouter's details only.
    fn details_as_text(&mut self, details: Option<&RawValue>, writer: &mut Writer<'_>) {
        for detail in read_details(details) {
            let text = ["text", "summary"].iter().find_map(|name| detail.get(name)?.as_str());
            self.say(Spoken::Thought, text.unwrap_or_default(), writer);
        }
    }

    fn keep_signed(&mut self, details: Option<&RawValue>) {
        let signed = details.is_some_and(|details| {
            [r#""signature""#, r#""data""#].iter().any(|name| details.get().contains(name))
        });
        if !signed {
            return;
        }
        let mut kept: usize = self.details.iter().map(String::len).sum();
        for detail in read_details(details) {
            let told = |name: &str| detail.get(name).is_some_and(Value::is_string);
            let written = detail.to_string();
            if (told("signature") || told("data")) && kept + written.len() < LONGEST_DETAILS {
                kept += written.len();
                self.details.push(written);
            }
        }
    }

    fn image(&mut self, image: &Image<'_>, writer: &mut Writer<'_>) {
        let Some(url) = &image.image_url else { return };
        if let Ok(source) = media::source_of(url.url.as_str()) {
            self.close_text(writer);
            let block = writer.open(Kind::Media(media::plain(MediaKind::Image, source)));
            writer.out.push(Event::Close { block });
        }
    }

    fn logprobs(&mut self, tokens: &[Value], writer: &mut Writer<'_>) {
        if let (Some((block, _)), false) = (self.text, tokens.is_empty()) {
            writer.piece(block, Piece::Logprobs(tokens.to_vec()));
        }
    }

    fn cited(&mut self, citation: Value, writer: &mut Writer<'_>) {
        if let Some((block, Spoken::Text)) = self.text {
            writer.piece(block, Piece::Citation(citation));
        }
    }

    /// Perplexity's sources, each chunk of which has them all.
    fn cite(&mut self, sources: Option<&str>, writer: &mut Writer<'_>) {
        let sources = sources.and_then(|sources| serde_json::from_str::<Vec<Value>>(sources).ok());
        for source in sources.into_iter().flatten() {
            self.cited(source, writer);
        }
    }

    fn close_text(&mut self, writer: &mut Writer<'_>) {
        let Some((block, what)) = self.text.take() else { return };
        if what == Spoken::Thought {
            self.signature(block, writer);
        }
        writer.out.push(Event::Close { block });
    }

    fn signature(&mut self, block: u32, writer: &mut Writer<'_>) {
        if !self.details.is_empty() {
            let data = format!("[{}]", self.details.join(","));
            self.details.clear();
            writer.piece(
                block,
                Piece::Signature(Signature { format: Format::OpenAiChat, data, id: None }),
            );
        }
    }

    /// A thought of which nothing is shown but its signature.
    fn hidden(&mut self, writer: &mut Writer<'_>) {
        if !self.details.is_empty() {
            let block = writer.open(Kind::Reasoning);
            self.signature(block, writer);
            writer.out.push(Event::Close { block });
        }
    }

    fn stop(&mut self, writer: &mut Writer<'_>) {
        self.close_text(writer);
        self.hidden(writer);
        self.calls.close(writer.candidate, writer.next, writer.out);
        let Finish { word, sequence } = self.finish.take().unwrap_or_default();
        let why = match why(&word) {
            Stop::End if sequence.is_some() => Stop::Sequence,
            Stop::End if self.refused => Stop::Refusal,
            // Some servers finish with `stop` whatever was called.
            Stop::End if self.calls.any() => Stop::Calls,
            why => why,
        };
        let raw = Some(word).filter(|word| !word.is_empty());
        writer.out.push(Event::Stop { candidate: writer.candidate, why, raw, sequence });
    }
}

fn read_details(details: Option<&RawValue>) -> Vec<Value> {
    details.and_then(|details| serde_json::from_str(details.get()).ok()).unwrap_or_default()
}

impl Finish {
    fn of(choice: &Choice<'_>) -> Finish {
        let matched = choice.stop_reason.as_ref().or(choice.matched_stop.as_ref());
        let sequence = matched.and_then(Value::as_str).map(str::to_owned);
        Finish { word: choice.finish_reason.as_str().to_owned(), sequence }
    }
}

/// The words of OpenAI, Mistral (`model_length`), Together (`eos`), DeepSeek
/// (`insufficient_system_resource`), Z.ai (`sensitive`, `model_context_window_exceeded`, `network_error`),
/// vLLM and SGLang (`abort`), and of the APIs behind OpenRouter and Vertex.
fn why(word: &str) -> Stop {
    match word.to_ascii_lowercase().as_str() {
        "stop" | "eos" | "end_turn" | "stop_token" | "complete" => Stop::End,
        "stop_sequence" => Stop::Sequence,
        "length" | "max_tokens" => Stop::Length,
        "model_length" | "model_context_window_exceeded" => Stop::Window,
        "tool_calls" | "function_call" | "tool_use" => Stop::Calls,
        "refusal" => Stop::Refusal,
        "content_filter" | "sensitive" | "safety" | "recitation" | "blocklist"
        | "prohibited_content" | "spii" | "image_safety" => Stop::Filter,
        "malformed_function_call" => Stop::Malformed,
        _ => Stop::Other,
    }
}
