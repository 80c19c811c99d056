//! Encodes answers for a caller: chunks of a stream, or a whole answer, by one encoder.
//!
//! A call has no pieces in this format, so it is held until it is complete. A stream ends with one chunk that
//! has the finish reasons and the usage, and an empty text as Google's own: the chats of the official clients
//! forget a turn if one of its chunks has no content.

mod types;

use std::collections::BTreeMap;
use std::mem::{replace, take};

use serde::Serialize;
use serde_json::Value;

use self::types::{
    Answer, CandidateChunk, Content, Source, UsageMetadata, grounding_metadata, logprobs_result,
    source_of,
};
use super::part::{Part, PartFields, part};
use super::{signature, stop_reason};
use crate::wire::api::Framing;
use crate::wire::failure::ProviderError;
use crate::wire::format::context::ResponseContext;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir;
use crate::wire::ir::{Block, Event, Piece, Response, Stop};

/// The most bytes of a block that are held.
const MAX_HELD: usize = 16 * 1024 * 1024;
/// The most sources of a candidate.
const MAX_SOURCES: usize = 1024;

/// Encodes an answer for the caller, event by event.
#[derive(Debug)]
pub struct Encoder {
    context: ResponseContext,
    id: Option<String>,
    model: Option<String>,
    /// The open blocks by their numbers, each with its candidate and as far as it is held.
    open: BTreeMap<u32, (u32, Block)>,
    candidates: BTreeMap<u32, Candidate>,
    usage: Usage,
    tier: Option<String>,
    has_written: bool,
    is_over: bool,
}

/// What is written of a candidate at the end.
#[derive(Debug, Default)]
struct Candidate {
    stop: Option<Stop>,
    /// The function of a call whose arguments are not a JSON object.
    damaged_call: Option<String>,
    sources: Vec<Source>,
    /// Of a whole answer.
    parts: Vec<Part<'static>>,
    logprobs: Vec<Value>,
}

impl Candidate {
    /// A damaged call has its own finish reason, unless the token limit cut it off.
    fn finish_reason(&self) -> (Option<&'static str>, Option<String>) {
        match (self.stop, &self.damaged_call) {
            (Some(stop), Some(name)) if !matches!(stop, Stop::Length | Stop::Window) => {
                let message =
                    format!("The model called `{name}` with arguments that are not a JSON object.");
                (Some(stop_reason::encode(Stop::Malformed)), Some(message))
            }
            (stop, _) => (stop.map(stop_reason::encode), None),
        }
    }
}

/// Encodes a whole answer for the caller.
pub fn encode_whole(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let context = ResponseContext { framing: Framing::Whole, ..context.clone() };
    let (mut encoder, mut out) = (Encoder::new(context), Vec::new());
    if let Some(error) = &response.failed {
        encoder.fail(error, &mut out);
        return out;
    }
    for event in response.events() {
        encoder.event(&event, &mut out);
    }
    encoder.event(&Event::End, &mut out);
    out
}

impl Encoder {
    /// For one answer.
    pub fn new(context: ResponseContext) -> Encoder {
        Encoder {
            context,
            id: None,
            model: None,
            open: BTreeMap::new(),
            candidates: BTreeMap::new(),
            usage: Usage::default(),
            tier: None,
            has_written: false,
            is_over: false,
        }
    }

    /// Encodes an event.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if self.is_over {
            return;
        }
        match event {
            Event::Start { id, model, created: _ } => {
                self.id.clone_from(id);
                self.model.clone_from(model);
            }
            Event::Open { block, candidate, kind } => {
                self.candidates.entry(*candidate).or_default();
                self.open.insert(*block, (*candidate, Block::opened(kind)));
            }
            Event::Delta { block, piece } => self.delta(*block, piece, out),
            Event::Close { block } => self.close(*block, out),
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Stop { candidate, why, .. } => {
                self.candidates.entry(*candidate).or_default().stop = Some(*why);
            }
            Event::Tier(tier) => self.tier = Some(tier.clone()),
            Event::End => self.end(out),
            Event::Fail(error) => self.fail(error, out),
            // Google sends none, and a client that looks for `data:` at the start of its buffer misses the
            // event after a comment.
            Event::Ping => {}
        }
    }

    fn delta(&mut self, number: u32, piece: &Piece, out: &mut Vec<u8>) {
        let is_whole = self.context.framing == Framing::Whole;
        let Some((candidate, block)) = self.open.get_mut(&number) else { return };
        let candidate = *candidate;
        let is_streamed = !is_whole && has_text(block);
        let thought = matches!(block.content, ir::Content::Reasoning { .. });
        match piece {
            Piece::Text(text) if is_streamed => {
                self.part(candidate, PartFields { thought, ..PartFields::text(text) }.into(), out);
            }
            Piece::Text(more) => {
                let Some(text) = block.text_mut() else { return };
                if text.len() + more.len() > MAX_HELD {
                    let message = "The model wrote a block of more than 16 MiB.";
                    return self.fail(&ProviderError::malformed(message), out);
                }
                text.push_str(more);
            }
            Piece::Signature(signature) if is_streamed => {
                let thought_signature = Some(signature::encode(signature));
                let text = PartFields::text("");
                self.part(candidate, PartFields { thought, thought_signature, ..text }.into(), out);
            }
            Piece::Signature(signature) => block.signature = Some(signature.clone()),
            Piece::Citation(citation) => {
                let sources = &mut self.candidates.entry(candidate).or_default().sources;
                if let Some(source) = source_of(citation).filter(|source| !sources.contains(source))
                    && sources.len() < MAX_SOURCES
                {
                    sources.push(source);
                }
            }
            Piece::Logprobs(tokens) if is_whole => {
                let logprobs = &mut self.candidates.entry(candidate).or_default().logprobs;
                logprobs.extend_from_slice(tokens);
            }
            Piece::Logprobs(tokens) => {
                let mut chunk = CandidateChunk::new(candidate, Content::empty_text());
                chunk.logprobs_result = logprobs_result(tokens);
                self.chunk(vec![chunk], None, out);
            }
        }
    }

    fn close(&mut self, number: u32, out: &mut Vec<u8>) {
        let Some((candidate, block)) = self.open.remove(&number) else { return };
        if self.context.framing != Framing::Whole && has_text(&block) {
            return;
        }
        match (part(&block), &block.content) {
            (Some(part), _) => self.part(candidate, part, out),
            (None, ir::Content::ToolCall { name, .. }) => {
                self.candidates.entry(candidate).or_default().damaged_call = Some(name.clone());
            }
            // Media and blocks of other formats, for which Gemini has no part.
            (None, _) => {}
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        let is_whole = self.context.framing == Framing::Whole;
        let candidates = take(&mut self.candidates).into_iter().map(|(index, mut candidate)| {
            let content = if is_whole {
                Content::new(take(&mut candidate.parts))
            } else {
                Content::empty_text()
            };
            let (finish_reason, finish_message) = candidate.finish_reason();
            CandidateChunk {
                finish_reason,
                finish_message,
                grounding_metadata: grounding_metadata(&candidate.sources),
                logprobs_result: logprobs_result(&candidate.logprobs),
                ..CandidateChunk::new(index, content)
            }
        });
        let usage = UsageMetadata::new(&self.usage, self.tier.as_deref());
        self.chunk(candidates.collect(), usage, out);
        self.finish(out);
    }

    fn fail(&mut self, error: &ProviderError, out: &mut Vec<u8>) {
        let has_written = replace(&mut self.has_written, true);
        write(&types::error(error), self.context.framing, has_written, out);
        self.finish(out);
    }

    fn finish(&mut self, out: &mut Vec<u8>) {
        if self.context.framing == Framing::Array {
            out.push(b']');
        }
        self.is_over = true;
    }

    /// Writes a part as a chunk of its own, or keeps it for the whole answer.
    fn part(&mut self, candidate: u32, part: Part<'_>, out: &mut Vec<u8>) {
        if self.context.framing == Framing::Whole {
            // Every part can be written: it has no maps with keys that are not strings.
            if let Ok(json) = serde_json::value::to_raw_value(&part) {
                self.candidates.entry(candidate).or_default().parts.push(Part::Written(json));
            }
            return;
        }
        let content = Content::new(vec![part]);
        self.chunk(vec![CandidateChunk::new(candidate, content)], None, out);
    }

    fn chunk(
        &mut self,
        candidates: Vec<CandidateChunk<'_>>,
        usage_metadata: Option<UsageMetadata>,
        out: &mut Vec<u8>,
    ) {
        let has_written = replace(&mut self.has_written, true);
        let answer = Answer {
            candidates,
            usage_metadata,
            model_version: self.model.as_deref().unwrap_or(&self.context.model),
            response_id: self.id.as_deref().unwrap_or(&self.context.id),
        };
        write(&answer, self.context.framing, has_written, out);
    }
}

/// Returns true for a block whose pieces a stream writes as they come.
fn has_text(block: &Block) -> bool {
    use ir::Content::{Reasoning, Refusal, Text};
    matches!(block.content, Text { .. } | Reasoning { .. } | Refusal(_))
}

/// Writes an event, an element of the array, or a whole answer.
fn write(value: &impl Serialize, framing: Framing, has_written: bool, out: &mut Vec<u8>) {
    let (before, after): (&[u8], &[u8]) = match (framing, has_written) {
        (Framing::Whole, _) => (b"", b""),
        (Framing::Array, false) => (b"[", b""),
        (Framing::Array, true) => (b",\n", b""),
        (Framing::Events | Framing::Aws, _) => (b"data: ", b"\n\n"),
    };
    out.extend_from_slice(before);
    let start = out.len();
    // Writing into memory cannot fail, and an answer has no maps with keys that are not strings.
    let _ = serde_json::to_writer(&mut *out, value);
    if framing != Framing::Whole {
        // Arguments are in the form that the model wrote. A line break between tokens means the same as a
        // space, and would end the event's line.
        for byte in &mut out[start..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }
    out.extend_from_slice(after);
}

#[cfg(test)]
mod tests;
