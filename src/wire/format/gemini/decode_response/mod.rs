//! Decodes a provider's answer: chunks of `GenerateContentResponse`, of which a whole answer is the only one.
//!
//! A stream has no terminal event, and some models have written a finish reason into every chunk, so blocks
//! stay open and stops are held until the stream ends.

mod annotations;
mod partial_arguments;
mod types;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use self::partial_arguments::PartialArguments;
use self::types::{Blob, CandidateChunk, Chunk, FunctionCall, Part};
use super::media::kind_of;
use super::{signature, stop_reason};
use crate::wire::api::{Api, Format};
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_told;
use crate::wire::frame::Frame;
use crate::wire::inspect::token_counts::Tally;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::block_writer::{BlockWriter, MOST_CANDIDATES, Shape};
use crate::wire::ir::{Event, Kind, Media, Piece, Signature, Source, Stop};
use crate::wire::json::walk::members;

/// More turns of thinking, writing and calling than a model takes within one answer.
const MOST_BLOCKS: u32 = 65_536;

/// Decodes a provider's stream into events.
#[derive(Debug)]
pub struct Decoder {
    writer: BlockWriter,
    candidates: BTreeMap<u32, Candidate>,
    tally: Tally,
    /// The usage of the latest event.
    reported: Usage,
    has_tier: bool,
}

#[derive(Debug, Default)]
struct Candidate {
    has_called: bool,
    /// The latest block that has its signature.
    signed: Option<u32>,
    /// The latest finish reason, decoded and by its name.
    stop: Option<(Stop, String)>,
    partial_call: Option<PartialCall>,
}

/// A call whose arguments arrive in pieces.
#[derive(Debug)]
struct PartialCall {
    block: u32,
    arguments: PartialArguments,
    signature: Option<Signature>,
}

/// Decodes a provider's whole answer into events. The body may also be the array of a stream.
pub fn decode_whole(body: &[u8]) -> Vec<Event> {
    let (mut decoder, mut out) = (Decoder::new(), Vec::new());
    let body = body.trim_ascii();
    if body.starts_with(b"[") {
        let elements: Vec<&RawValue> = serde_json::from_slice(body).unwrap_or_default();
        for data in elements {
            decoder.chunk(data.get().as_bytes(), &mut out);
        }
    } else {
        decoder.chunk(body, &mut out);
    }
    decoder.finish(true, &mut out);
    decoder.writer.fail(undecodable(), &mut out);
    out
}

impl Decoder {
    /// For one stream.
    pub(crate) fn new() -> Decoder {
        Decoder {
            writer: BlockWriter::new(MOST_BLOCKS),
            candidates: BTreeMap::new(),
            tally: Tally::default(),
            reported: Usage::default(),
            has_tier: false,
        }
    }

    /// Decodes a frame.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        match frame {
            Frame::Event { data, .. } => self.chunk(data, out),
            // Google frames no stream like that.
            Frame::Exception { .. } => self.writer.fail(undecodable(), out),
        }
    }

    /// Ends the answer if the stream ended after a finish reason of every candidate.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        self.finish(false, out);
    }

    fn chunk(&mut self, data: &[u8], out: &mut Vec<Event>) {
        let data = data.trim_ascii();
        if self.writer.is_over() || data.is_empty() {
            return;
        }
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else {
            return self.writer.fail(undecodable(), out);
        };
        if let Some(error) = chunk.error {
            return self.writer.fail(decode_error(data, error.get()), out);
        }
        let is_known = chunk.candidates.is_some()
            || chunk.prompt_feedback.is_some()
            || chunk.usage_metadata.is_some();
        if !is_known {
            return;
        }
        let text = |raw: Option<&RawValue>| serde_json::from_str(raw?.get()).ok();
        self.writer.start(text(chunk.response_id), text(chunk.model_version), None, out);
        for candidate in chunk.candidates.unwrap_or_default() {
            if self.candidate(candidate, out).is_none() {
                return self.writer.fail(undecodable(), out);
            }
        }
        if let Some(feedback) = chunk.prompt_feedback
            && self.candidates.is_empty()
        {
            self.blocked_prompt(feedback.get());
        }
        if let Some(usage) = chunk.usage_metadata {
            self.usage(usage.get().as_bytes(), out);
        }
    }

    /// The answer to a blocked prompt has no candidates.
    fn blocked_prompt(&mut self, feedback: &str) {
        if let Some(reason) = string_member(feedback.as_bytes(), "blockReason") {
            let stop = Some((Stop::Filter, reason));
            self.candidates.insert(0, Candidate { stop, ..Candidate::default() });
        }
    }

    fn usage(&mut self, usage: &[u8], out: &mut Vec<Event>) {
        self.tally.of_gemini(Some(usage));
        let counted = self.tally.usage();
        if counted != self.reported {
            self.reported = counted;
            out.push(Event::Usage(counted));
        }
        if !self.has_tier
            && let Some(tier) = string_member(usage, "serviceTier")
        {
            self.has_tier = true;
            out.push(Event::Tier(tier));
        }
    }

    /// `None`: it cannot be decoded.
    fn candidate(&mut self, chunk: CandidateChunk<'_>, out: &mut Vec<Event>) -> Option<()> {
        let at = chunk.index.unwrap_or(0);
        if at >= MOST_CANDIDATES {
            return None;
        }
        self.candidates.entry(at).or_default();
        for raw in chunk.content.and_then(|content| content.parts).unwrap_or_default() {
            self.part(at, raw, out)?;
        }
        if let Some((block, Shape::Text)) = self.writer.current(at) {
            let citations = [chunk.grounding_metadata, chunk.citation_metadata];
            for citation in citations.into_iter().flatten().flat_map(annotations::citations) {
                self.writer.extend(block, Piece::Citation(citation), out);
            }
            let logprobs = chunk.logprobs_result.map(annotations::logprobs).unwrap_or_default();
            if !logprobs.is_empty() {
                self.writer.extend(block, Piece::Logprobs(logprobs), out);
            }
        }
        let candidate = self.candidates.get_mut(&at)?;
        candidate.stop = chunk.finish_reason.and_then(|reason| {
            let name = stop_reason::name_of(reason.get())?;
            Some((stop_reason::decode(&name, candidate.has_called)?, name))
        });
        Some(())
    }

    fn part(&mut self, at: u32, raw: &RawValue, out: &mut Vec<Event>) -> Option<()> {
        let part: Part<'_> = serde_json::from_str(raw.get()).ok()?;
        let is_thought = part.thought == Some(true);
        let signature = part.thought_signature.filter(|data| !data.is_empty());
        let signature = signature.map(|data| Signature { format: Format::Gemini, data, id: None });
        if let Some(call) = part.function_call {
            return self.call(at, call, signature, out);
        }
        self.finish_call(at, out);
        if let Some(text) = part.text {
            return self.text(at, text, is_thought, signature, out);
        }
        // An image of a thought is not part of the answer.
        if let Some(Blob { mime_type, data }) = part.inline_data.filter(|_| !is_thought) {
            let kind = kind_of(&mime_type);
            let data = signature::standard_base64(data);
            let source = Source::Base64 { media_type: mime_type, data };
            let media = Media { kind, source, name: None, detail: None };
            self.whole(at, Kind::Media(media), None, signature, out);
            return Some(());
        }
        let json: Value = serde_json::from_str(raw.get()).ok()?;
        if json.as_object().is_some_and(|members| members.values().any(Value::is_object)) {
            self.whole(at, Kind::Foreign { format: Format::Gemini, json }, None, None, out);
        }
        Some(())
    }

    fn text(
        &mut self,
        at: u32,
        text: String,
        is_thought: bool,
        signature: Option<Signature>,
        out: &mut Vec<Event>,
    ) -> Option<()> {
        let candidate = self.candidates.get_mut(&at)?;
        let current = self.writer.current(at).map(|(block, _)| block);
        let is_signed = current.is_some() && candidate.signed == current;
        // An empty text that only carries a signature belongs to the block before it.
        if text.is_empty() {
            let Some(signature) = signature else { return Some(()) };
            match current {
                Some(block) if !is_signed => {
                    candidate.signed = current;
                    self.writer.extend(block, Piece::Signature(signature), out);
                }
                _ => self.whole(at, Kind::Reasoning, None, Some(signature), out),
            }
            return Some(());
        }
        if is_signed && signature.is_some() {
            self.writer.close_candidate(at, out);
        }
        let kind = if is_thought { Kind::Reasoning } else { Kind::Text };
        let block = self.writer.continue_or_open(at, kind, out)?;
        self.writer.extend(block, Piece::Text(text), out);
        if let Some(signature) = signature {
            candidate.signed = Some(block);
            self.writer.extend(block, Piece::Signature(signature), out);
        }
        Some(())
    }

    /// Decodes a whole call, or a piece of one (Vertex). The first piece has the name, the last lacks
    /// `willContinue`. Recorded: pieces without arguments, and an empty last one.
    fn call(
        &mut self,
        at: u32,
        call: FunctionCall<'_>,
        signature: Option<Signature>,
        out: &mut Vec<Event>,
    ) -> Option<()> {
        let name = call.name.filter(|name| !name.is_empty());
        let will_continue = call.will_continue == Some(true);
        let pieces = call.partial_args.unwrap_or_default();
        if let Some(name) = name {
            self.finish_call(at, out);
            self.candidates.get_mut(&at)?.has_called = true;
            let kind = Kind::ToolCall { id: call.id.filter(|id| !id.is_empty()), name };
            if !will_continue && pieces.is_empty() {
                let arguments = call.args.map_or("{}", RawValue::get).to_owned();
                self.whole(at, kind, Some(arguments), signature, out);
                return Some(());
            }
            self.writer.close_candidate(at, out);
            let block = self.writer.open(at, kind, out)?;
            let arguments = PartialArguments::new(call.args.map(RawValue::get));
            let partial = PartialCall { block, arguments, signature };
            self.candidates.get_mut(&at)?.partial_call = Some(partial);
        }
        let Some(partial) = &mut self.candidates.get_mut(&at)?.partial_call else {
            return Some(());
        };
        for piece in pieces {
            partial.arguments.add(piece)?;
        }
        if will_continue {
            out.push(Event::Ping);
        } else {
            self.finish_call(at, out);
        }
        Some(())
    }

    /// Ends a call whose arguments arrived in pieces.
    fn finish_call(&mut self, at: u32, out: &mut Vec<Event>) {
        let partial =
            self.candidates.get_mut(&at).and_then(|candidate| candidate.partial_call.take());
        if let Some(PartialCall { block, arguments, signature }) = partial {
            self.writer.extend(block, Piece::Text(arguments.into_text()), out);
            if let Some(signature) = signature {
                self.writer.extend(block, Piece::Signature(signature), out);
            }
            self.writer.close(block, out);
        }
    }

    /// Writes a block that arrives in one piece.
    fn whole(
        &mut self,
        at: u32,
        kind: Kind,
        text: Option<String>,
        signature: Option<Signature>,
        out: &mut Vec<Event>,
    ) {
        self.writer.close_candidate(at, out);
        let Some(block) = self.writer.open(at, kind, out) else { return };
        let pieces = [text.map(Piece::Text), signature.map(Piece::Signature)];
        for piece in pieces.into_iter().flatten() {
            self.writer.extend(block, piece, out);
        }
        self.writer.close(block, out);
    }

    /// Ends the answer. A stream is complete if all candidates have stopped; a whole answer is by HTTP.
    fn finish(&mut self, is_whole: bool, out: &mut Vec<Event>) {
        let is_stopped = !self.candidates.is_empty()
            && self.candidates.values().all(|candidate| candidate.stop.is_some());
        if !self.writer.is_started() || !(is_whole || is_stopped) {
            return;
        }
        if self.candidates.is_empty() {
            self.candidates.insert(0, Candidate::default());
        }
        let candidates: Vec<u32> = self.candidates.keys().copied().collect();
        for at in candidates {
            self.finish_call(at, out);
            let stop = self.candidates.get_mut(&at).and_then(|candidate| candidate.stop.take());
            let (why, raw) = stop.map_or((Stop::Other, None), |(why, raw)| (why, Some(raw)));
            self.writer.stop(at, why, raw, None, out);
        }
        self.writer.end(out);
    }
}

fn string_member(json: &[u8], name: &str) -> Option<String> {
    let [Some([b'"', text @ .., b'"'])] = members(json, [name]) else { return None };
    Some(String::from_utf8_lossy(text).into_owned())
}

/// <https://cloud.google.com/apis/design/errors>
fn decode_error(data: &[u8], error: &str) -> ProviderError {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Error {
        code: Value,
        status: Option<String>,
        message: Option<String>,
        details: Vec<Value>,
    }
    let error: Error = serde_json::from_str(error).unwrap_or_default();
    let reason = error.details.iter().find_map(|detail| detail["reason"].as_str());
    ProviderError {
        failure: classify_told(Api::Gemini, data),
        status: error.code.as_u64().and_then(|code| u16::try_from(code).ok()),
        kind: error.status,
        code: reason.map(str::to_owned),
        param: None,
        message: error.message.unwrap_or_else(|| "The provider failed.".to_owned()),
    }
}

fn undecodable() -> ProviderError {
    ProviderError::malformed("The provider sent an answer that cannot be decoded.")
}

#[cfg(test)]
mod tests;
