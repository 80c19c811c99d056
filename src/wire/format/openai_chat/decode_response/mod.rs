//! Events of a provider's answer. A whole answer is read as one chunk.

pub(super) mod error;
mod tool_calls;
mod types;

use std::collections::BTreeMap;

use serde_json::Value;
use serde_json::value::RawValue;

use self::tool_calls::Calls;
use self::types::{Choice, Chunk, Content, Delta, Image, Part};
use super::{media, stop_reason};
use crate::wire::api::Format;
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_named;
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::inspect::usage::{Usage, read as read_usage};
use crate::wire::ir::block_writer::{BlockWriter, MOST_CANDIDATES};
use crate::wire::ir::{Event, Kind, MediaKind, Piece, Signature, Stop};

/// The most blocks of an answer.
const MOST_BLOCKS: u32 = 65_536;
/// The most bytes of signed details that are kept until their reasoning ends.
const MAX_DETAILS_LEN: usize = 1024 * 1024;

/// Returns the events of a provider's whole answer.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let mut decoder = Decoder::new(quirks);
    let mut out = Vec::new();
    match serde_json::from_slice::<Chunk<'_>>(body) {
        Ok(chunk) => decoder.chunk(&chunk, body, true, &mut out),
        Err(_) => decoder.fail("The provider's answer cannot be read.", &mut out),
    }
    decoder.finish(&mut out);
    out
}

/// Decodes a provider's stream.
///
/// A finish reason becomes a stop when the stream ends: vendors repeat it, correct it, and let more follow (a
/// usage chunk with the same choice again; recorded from OpenRouter and Cerebras).
#[derive(Debug)]
pub struct Decoder {
    blocks: BlockWriter,
    candidates: BTreeMap<u32, Candidate>,
    usage: Usage,
    tier: String,
}

#[derive(Debug, Default)]
struct Candidate {
    /// The open block of text.
    text: Option<(u32, TextKind)>,
    calls: Calls,
    has_refusal: bool,
    /// Signed details of the open reasoning, each as written.
    details: Vec<String>,
    finish: Option<Finish>,
}

/// The kind of a block of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TextKind {
    Text,
    Reasoning,
    Refusal,
}

#[derive(Debug, Default)]
struct Finish {
    reason: String,
    sequence: Option<String>,
}

impl Decoder {
    /// For a stream of a vendor. Its quirks are about requests: all shapes of answers are read from everybody.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        Decoder {
            blocks: BlockWriter::new(MOST_BLOCKS),
            candidates: BTreeMap::new(),
            usage: Usage::default(),
            tier: String::new(),
        }
    }

    /// Decodes a frame.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        if self.blocks.is_over() {
            return;
        }
        match frame {
            Frame::Event { data: [], .. } => {}
            Frame::Event { data, .. } if data.starts_with(b"[DONE]") => self.finish(out),
            Frame::Event { name: b"ping", .. } => out.push(Event::Ping),
            Frame::Event { name, data } => match serde_json::from_slice::<Chunk<'_>>(data) {
                Ok(chunk) if name == b"error" && chunk.error.is_none() => {
                    self.blocks.fail(error::decode(data), out);
                }
                Ok(chunk) => self.chunk(&chunk, data, false, out),
                Err(_) => self.fail("The provider sent an event that cannot be read.", out),
            },
            Frame::Exception { kind, payload } => {
                let failure = classify_named(kind, payload);
                let kind = Some(kind.to_owned());
                let error = ProviderError { failure, kind, ..error::decode(payload) };
                self.blocks.fail(error, out);
            }
        }
    }

    /// Ends a stream that was closed in order. Some vendors send no `[DONE]`; after the finish reasons of all
    /// candidates nothing is missing.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        let is_finished = self.candidates.values().all(|candidate| candidate.finish.is_some());
        if is_finished && !self.candidates.is_empty() {
            self.finish(out);
        }
    }

    fn chunk(&mut self, chunk: &Chunk<'_>, data: &[u8], whole: bool, out: &mut Vec<Event>) {
        let choices = chunk.choices.as_deref().unwrap_or_default();
        let error = chunk.error.or_else(|| choices.iter().find_map(|choice| choice.error));
        if let Some(error) = error.filter(|error| is_error(error)) {
            return self.blocks.fail(error::decode(error.get().as_bytes()), out);
        }
        // vLLM's errors before 0.10: the error's members beside the object's name.
        if chunk.object.as_str() == "error" {
            return self.blocks.fail(error::decode(data), out);
        }
        let usage = chunk.usage.or_else(|| chunk.x_groq.as_ref()?.usage);
        // Azure begins with its content filter's results for the prompt, without id or model.
        if choices.is_empty() && usage.is_none() {
            return;
        }
        if !self.blocks.is_started() {
            let created = chunk.created.as_ref().and_then(serde_json::Number::as_u64);
            let created = created.filter(|created| *created != 0);
            self.blocks.start(chunk.id.non_empty(), chunk.model.non_empty(), created, out);
        }
        for choice in choices {
            self.choice(choice, chunk.search_results, whole, out);
        }
        if self.blocks.is_over() {
            return;
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

    fn choice(
        &mut self,
        choice: &Choice<'_>,
        sources: Option<&RawValue>,
        whole: bool,
        out: &mut Vec<Event>,
    ) {
        let index = u32::try_from(choice.index.unwrap_or(0)).unwrap_or(u32::MAX);
        if index >= MOST_CANDIDATES {
            return self.fail("The provider sent too many candidates.", out);
        }
        let candidate = self.candidates.entry(index).or_default();
        let mut output = Output { candidate: index, blocks: &mut self.blocks, out };
        let none = Delta::default();
        // Perplexity has both: a delta with nothing in it beside a whole message.
        let (delta, message) = (choice.delta.as_ref(), choice.message.as_ref());
        let delta = if whole { message.or(delta) } else { delta.or(message) };
        candidate.delta(delta.unwrap_or(&none), whole, &mut output);
        if let Some(logprobs) = &choice.logprobs {
            for tokens in [&logprobs.content, &logprobs.refusal].into_iter().flatten() {
                candidate.logprobs(tokens, &mut output);
            }
        }
        if !choice.finish_reason.is_empty() {
            candidate.finish = Some(Finish::new(choice));
            candidate.search_results(sources.map(RawValue::get), &mut output);
        }
    }

    /// Ends the answer, because of `[DONE]` or of its finish reasons.
    fn finish(&mut self, out: &mut Vec<Event>) {
        if self.candidates.is_empty() {
            return self.fail("The provider's answer is empty.", out);
        }
        for (index, candidate) in &mut self.candidates {
            candidate.stop(&mut Output { candidate: *index, blocks: &mut self.blocks, out });
        }
        self.blocks.end(out);
    }

    fn fail(&mut self, message: &str, out: &mut Vec<Event>) {
        self.blocks.fail(ProviderError::malformed(message), out);
    }
}

/// `false` and empty strings and objects are some vendors' null.
fn is_error(error: &RawValue) -> bool {
    !matches!(error.get(), "null" | "false" | "\"\"" | "{}")
}

/// Where a candidate's events go.
struct Output<'w> {
    candidate: u32,
    blocks: &'w mut BlockWriter,
    out: &'w mut Vec<Event>,
}

impl Output<'_> {
    fn open(&mut self, kind: Kind) -> Option<u32> {
        self.blocks.open(self.candidate, kind, self.out)
    }

    fn extend(&mut self, block: u32, piece: Piece) {
        self.blocks.extend(block, piece, self.out);
    }

    fn close(&mut self, block: u32) {
        self.blocks.close(block, self.out);
    }

    fn fail(&mut self, message: &str) {
        self.blocks.fail(ProviderError::malformed(message), self.out);
    }
}

impl Candidate {
    fn delta(&mut self, delta: &Delta<'_>, whole: bool, output: &mut Output<'_>) {
        // Reasoning that comes twice, under two names, is read once.
        let names = [&delta.reasoning_content, &delta.reasoning];
        match names.into_iter().find(|text| !text.is_empty()) {
            Some(text) => self.text(TextKind::Reasoning, text.as_str(), output),
            None => self.text_of_details(delta.reasoning_details, output),
        }
        self.keep_signed_details(delta.reasoning_details);
        match &delta.content {
            Content::None => {}
            Content::Text(text) => self.text(TextKind::Text, text, output),
            Content::Parts(parts) => parts.iter().for_each(|part| self.part(part, output)),
        }
        if let Some(audio) = &delta.audio {
            self.text(TextKind::Text, audio.transcript.as_str(), output);
        }
        self.text(TextKind::Refusal, delta.refusal.as_str(), output);
        for citation in delta.annotations.iter().flatten() {
            self.citation(citation.clone(), output);
        }
        if let (Some(data), Some((block, _))) =
            (delta.extra_content.as_ref().and_then(|extra| extra.signature()), self.text)
        {
            output.extend(block, google_signature(data.to_owned()));
        }
        delta.images.iter().flatten().for_each(|image| self.image(image, output));
        self.tool_calls(delta, whole, output);
    }

    fn tool_calls(&mut self, delta: &Delta<'_>, whole: bool, output: &mut Output<'_>) {
        let of_2023 = delta.function_call.as_ref().map(|function| types::Call {
            index: None,
            id: types::Text::default(),
            function: Some(types::Function {
                name: types::Text(function.name.as_str().into()),
                arguments: function.arguments,
            }),
            extra_content: None,
        });
        for call in delta.tool_calls.iter().flatten().chain(&of_2023) {
            self.close_text(output);
            self.hidden_reasoning(output);
            self.calls.take(call, whole, output);
        }
    }

    fn text(&mut self, kind: TextKind, text: &str, output: &mut Output<'_>) {
        if text.is_empty() {
            return;
        }
        let block = match self.text {
            Some((block, open)) if open == kind => block,
            _ => {
                self.close_text(output);
                if kind != TextKind::Reasoning {
                    self.hidden_reasoning(output);
                }
                self.calls.settle(output);
                self.has_refusal |= kind == TextKind::Refusal;
                let opened = output.open(match kind {
                    TextKind::Text => Kind::Text,
                    TextKind::Reasoning => Kind::Reasoning,
                    TextKind::Refusal => Kind::Refusal,
                });
                let Some(block) = opened else { return };
                self.text = Some((block, kind));
                block
            }
        };
        output.extend(block, Piece::Text(text.to_owned()));
    }

    fn part(&mut self, part: &Part<'_>, output: &mut Output<'_>) {
        match (part.kind.as_str(), part.thinking.as_deref()) {
            ("thinking", Some(Content::Text(text))) => {
                self.text(TextKind::Reasoning, text, output);
            }
            ("thinking", Some(Content::Parts(parts))) => {
                for part in parts {
                    self.text(TextKind::Reasoning, part.text.as_str(), output);
                }
            }
            ("refusal", _) => self.text(TextKind::Refusal, part.refusal.as_str(), output),
            _ => self.text(TextKind::Text, part.text.as_str(), output),
        }
    }

    /// Reads reasoning that is only in OpenRouter's details.
    fn text_of_details(&mut self, details: Option<&RawValue>, output: &mut Output<'_>) {
        for detail in read_details(details) {
            let text = ["text", "summary"].iter().find_map(|name| detail.get(name)?.as_str());
            self.text(TextKind::Reasoning, text.unwrap_or_default(), output);
        }
    }

    fn keep_signed_details(&mut self, details: Option<&RawValue>) {
        let may_be_signed = details.is_some_and(|details| {
            [r#""signature""#, r#""data""#].iter().any(|name| details.get().contains(name))
        });
        if !may_be_signed {
            return;
        }
        let mut len: usize = self.details.iter().map(String::len).sum();
        for detail in read_details(details) {
            let has = |name: &str| detail.get(name).is_some_and(Value::is_string);
            let written = detail.to_string();
            if (has("signature") || has("data")) && len + written.len() < MAX_DETAILS_LEN {
                len += written.len();
                self.details.push(written);
            }
        }
    }

    fn image(&mut self, image: &Image<'_>, output: &mut Output<'_>) {
        let Some(url) = &image.image_url else { return };
        if let Ok(source) = media::source_of(url.url.as_str()) {
            self.close_text(output);
            let kind = Kind::Media(media::unnamed(MediaKind::Image, source));
            output.blocks.whole(output.candidate, kind, output.out);
        }
    }

    fn logprobs(&mut self, tokens: &[Value], output: &mut Output<'_>) {
        if let (Some((block, _)), false) = (self.text, tokens.is_empty()) {
            output.extend(block, Piece::Logprobs(tokens.to_vec()));
        }
    }

    fn citation(&mut self, citation: Value, output: &mut Output<'_>) {
        if let Some((block, TextKind::Text)) = self.text {
            output.extend(block, Piece::Citation(citation));
        }
    }

    /// Reads Perplexity's sources, of which each chunk has all.
    fn search_results(&mut self, sources: Option<&str>, output: &mut Output<'_>) {
        let sources = sources.and_then(|sources| serde_json::from_str::<Vec<Value>>(sources).ok());
        for source in sources.into_iter().flatten() {
            self.citation(source, output);
        }
    }

    fn close_text(&mut self, output: &mut Output<'_>) {
        let Some((block, kind)) = self.text.take() else { return };
        if kind == TextKind::Reasoning {
            self.signature(block, output);
        }
        output.close(block);
    }

    fn signature(&mut self, block: u32, output: &mut Output<'_>) {
        if !self.details.is_empty() {
            let data = format!("[{}]", self.details.join(","));
            self.details.clear();
            let signature = Signature { format: Format::OpenAiChat, data, id: None };
            output.extend(block, Piece::Signature(signature));
        }
    }

    /// Writes reasoning of which nothing is shown but its signature.
    fn hidden_reasoning(&mut self, output: &mut Output<'_>) {
        if !self.details.is_empty()
            && let Some(block) = output.open(Kind::Reasoning)
        {
            self.signature(block, output);
            output.close(block);
        }
    }

    fn stop(&mut self, output: &mut Output<'_>) {
        self.close_text(output);
        self.hidden_reasoning(output);
        self.calls.close(output);
        let Finish { reason, sequence } = self.finish.take().unwrap_or_default();
        let why = match stop_reason::decode(&reason) {
            Stop::End if sequence.is_some() => Stop::Sequence,
            Stop::End if self.has_refusal => Stop::Refusal,
            // Some servers finish calls with `stop`, with an empty reason, or with none before `[DONE]`.
            Stop::End if self.calls.any() => Stop::Calls,
            Stop::Other if reason.is_empty() && self.calls.any() => Stop::Calls,
            why => why,
        };
        let raw = Some(reason).filter(|reason| !reason.is_empty());
        output.blocks.stop(output.candidate, why, raw, sequence, output.out);
    }
}

fn google_signature(data: String) -> Piece {
    Piece::Signature(Signature { format: Format::Gemini, data, id: None })
}

fn read_details(details: Option<&RawValue>) -> Vec<Value> {
    details.and_then(|details| serde_json::from_str(details.get()).ok()).unwrap_or_default()
}

impl Finish {
    fn new(choice: &Choice<'_>) -> Finish {
        let matched = choice.stop_reason.as_ref().or(choice.matched_stop.as_ref());
        let sequence = matched.and_then(Value::as_str).map(str::to_owned);
        Finish { reason: choice.finish_reason.as_str().to_owned(), sequence }
    }
}
