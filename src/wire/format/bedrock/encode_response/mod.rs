//! Writes an answer for a caller. A whole answer is the fold of the events of its stream.
//!
//! Blocks are written one after another: one that begins beside another waits, because few readers expect
//! blocks side by side, though the format allows them.

mod whole;

use std::borrow::Cow;
use std::collections::VecDeque;

use serde_json::{Value, json};

use super::types::{
    BlockStart, CitationDelta, Delta, MediaSource, Metadata, ReasoningDelta, ServiceTier,
    StreamEvent, TokenUsage, is_own_citation,
};
use super::{media, signature, stop_reason};
use crate::wire::api::Format;
use crate::wire::format::context::ResponseContext;
use crate::wire::format::signature_transport;
use crate::wire::frame::aws_event_stream;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::{Event, Kind, Media, MediaKind, Piece, Signature, Source};
use crate::wire::json::write::put;

pub use self::whole::encode_whole;

/// The most bytes that wait. When there are more, all waiting blocks are written side by side.
const MAX_WAITING: usize = 1024 * 1024;

/// Takes the events of the caller's stream.
type Sink<'s> = dyn FnMut(StreamEvent<'_>) + 's;

/// Writes a stream for a caller.
#[derive(Debug)]
pub struct Encoder {
    /// The id of the answer, for ids of calls that have none.
    id: String,
    next_index: u32,
    /// How many calls were written.
    calls: u32,
    current: Vec<WrittenBlock>,
    waiting: VecDeque<WaitingBlock>,
    waiting_bytes: usize,
    usage: Usage,
    tier: Option<&'static str>,
}

/// A block that is being written.
#[derive(Debug)]
struct WrittenBlock {
    block: u32,
    /// `None` until something of it is written.
    index: Option<u32>,
    shape: Shape,
    has_text: bool,
    /// Written after the block.
    signature: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Text,
    Reasoning,
    ToolCall,
    Complete,
}

/// A block that began beside another.
#[derive(Debug)]
struct WaitingBlock {
    block: u32,
    kind: Kind,
    pieces: Vec<Piece>,
    is_closed: bool,
}

impl Encoder {
    /// For the answer to one request.
    pub fn new(context: ResponseContext) -> Encoder {
        Encoder {
            id: context.id,
            next_index: 0,
            calls: 0,
            current: Vec::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            usage: Usage::default(),
            tier: None,
        }
    }

    /// Writes an event as messages of `application/vnd.amazon.eventstream`.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        if let Event::Fail(error) = event {
            let exception = stop_reason::exception(error);
            out.extend_from_slice(&aws_event_stream::exception(exception, &error.message));
            return;
        }
        self.encode(event, &mut |event| write(&event, out));
    }

    fn encode(&mut self, event: &Event, sink: &mut Sink<'_>) {
        match event {
            Event::Start { .. } => sink(StreamEvent::MessageStart { role: "assistant" }),
            Event::Open { block, candidate: 0, kind } if is_supported(kind) => {
                if self.current.is_empty() {
                    self.begin(*block, kind, sink);
                } else {
                    let (block, kind, pieces) = (*block, kind.clone(), Vec::new());
                    self.waiting.push_back(WaitingBlock { block, kind, pieces, is_closed: false });
                }
            }
            Event::Delta { block, piece } => self.extend(*block, piece, sink),
            Event::Close { block } => self.close(*block, sink),
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Tier(tier) => self.tier = tier_word(tier),
            Event::Stop { candidate: 0, why, raw, .. } => {
                let stop_reason = stop_reason::encode(*why, raw.as_deref(), self.calls > 0);
                sink(StreamEvent::MessageStop { stop_reason });
            }
            Event::End => sink(StreamEvent::Metadata(metadata(&self.usage, self.tier))),
            // The format has one candidate, no ping, and an exception for a failure.
            Event::Open { .. } | Event::Stop { .. } | Event::Ping | Event::Fail(_) => {}
        }
    }

    fn begin(&mut self, block: u32, kind: &Kind, sink: &mut Sink<'_>) {
        let shape = match kind {
            Kind::Text | Kind::Refusal => Shape::Text,
            Kind::Reasoning => Shape::Reasoning,
            Kind::ToolCall { .. } => Shape::ToolCall,
            Kind::Media(_) | Kind::Foreign { .. } => Shape::Complete,
        };
        let mut written =
            WrittenBlock { block, index: None, shape, has_text: false, signature: None };
        match kind {
            Kind::Text | Kind::Refusal | Kind::Reasoning => {}
            Kind::ToolCall { id, name } => {
                // The same id for the same call, also of a whole answer.
                let made_id = || format!("call_{}_{}", self.id, self.calls).into();
                let id: Cow<'_, str> = id.as_deref().map_or_else(made_id, Cow::Borrowed);
                self.calls += 1;
                let content_block_index = written.index(&mut self.next_index);
                let start = BlockStart::ToolUse { tool_use_id: &id, name };
                sink(StreamEvent::ContentBlockStart { start, content_block_index });
            }
            Kind::Media(media) => {
                if let Some((format, data)) = image(media) {
                    let content_block_index = written.index(&mut self.next_index);
                    let start = BlockStart::Image { format };
                    sink(StreamEvent::ContentBlockStart { start, content_block_index });
                    let source = MediaSource::Bytes(Cow::Borrowed(data));
                    let delta = Delta::Image { source };
                    sink(StreamEvent::ContentBlockDelta { content_block_index, delta });
                }
            }
            Kind::Foreign { json, .. } => {
                let content_block_index = written.index(&mut self.next_index);
                sink(StreamEvent::ForeignBlock { content_block_index, json });
            }
        }
        self.current.push(written);
    }

    fn extend(&mut self, block: u32, piece: &Piece, sink: &mut Sink<'_>) {
        if let Some(written) = self.current.iter_mut().find(|other| other.block == block) {
            written.extend(piece, &mut self.next_index, sink);
        } else if let Some(waiting) = self.waiting.iter_mut().find(|other| other.block == block) {
            if let Piece::Text(text) = piece {
                self.waiting_bytes += text.len();
            }
            waiting.pieces.push(piece.clone());
            if self.waiting_bytes > MAX_WAITING {
                while self.write_waiting(sink) {}
            }
        }
    }

    fn close(&mut self, block: u32, sink: &mut Sink<'_>) {
        if let Some(waiting) = self.waiting.iter_mut().find(|other| other.block == block) {
            waiting.is_closed = true;
        }
        self.end_block(block, sink);
        while self.current.is_empty() && self.write_waiting(sink) {}
    }

    fn end_block(&mut self, block: u32, sink: &mut Sink<'_>) {
        if let Some(at) = self.current.iter().position(|other| other.block == block) {
            self.current.swap_remove(at).end(&mut self.next_index, sink);
        }
    }

    /// Writes the block that waits the longest; returns false if none waits.
    fn write_waiting(&mut self, sink: &mut Sink<'_>) -> bool {
        let Some(WaitingBlock { block, kind, pieces, is_closed }) = self.waiting.pop_front() else {
            self.waiting_bytes = 0;
            return false;
        };
        self.begin(block, &kind, sink);
        for piece in &pieces {
            self.extend(block, piece, sink);
        }
        if is_closed {
            self.end_block(block, sink);
        }
        true
    }
}

impl WrittenBlock {
    fn extend(&mut self, piece: &Piece, next_index: &mut u32, sink: &mut Sink<'_>) {
        let delta = match piece {
            Piece::Text(text) if text.is_empty() => return,
            Piece::Text(text) => {
                self.has_text = true;
                match self.shape {
                    Shape::ToolCall => Delta::ToolUse { input: text },
                    Shape::Reasoning => Delta::ReasoningContent(ReasoningDelta::Text(text)),
                    Shape::Text | Shape::Complete => Delta::Text(text),
                }
            }
            Piece::Signature(signature) if self.shape == Shape::Reasoning => {
                Delta::ReasoningContent(if let Some(data) = signature::as_redacted(signature) {
                    ReasoningDelta::RedactedContent(data)
                } else {
                    let text = signature_transport::write(Format::Bedrock, signature, false);
                    ReasoningDelta::Signature(text)
                })
            }
            Piece::Signature(signature) => {
                self.signature = signature_after(signature);
                return;
            }
            Piece::Citation(citation) => match citation_delta(citation) {
                Some(citation) => Delta::Citation(citation),
                None => return,
            },
            // The format has no field for them.
            Piece::Logprobs(_) => return,
        };
        sink(StreamEvent::ContentBlockDelta { content_block_index: self.index(next_index), delta });
    }

    fn end(mut self, next_index: &mut u32, sink: &mut Sink<'_>) {
        if self.shape == Shape::ToolCall && !self.has_text {
            let content_block_index = self.index(next_index);
            let delta = Delta::ToolUse { input: "{}" };
            sink(StreamEvent::ContentBlockDelta { content_block_index, delta });
        }
        if let Some(content_block_index) = self.index {
            sink(StreamEvent::ContentBlockStop { content_block_index });
        }
        if let Some(signature) = self.signature.take() {
            self.index = None;
            let content_block_index = self.index(next_index);
            let delta = Delta::ReasoningContent(ReasoningDelta::Signature(signature));
            sink(StreamEvent::ContentBlockDelta { content_block_index, delta });
            sink(StreamEvent::ContentBlockStop { content_block_index });
        }
    }

    fn index(&mut self, next_index: &mut u32) -> u32 {
        *self.index.get_or_insert_with(|| {
            *next_index += 1;
            *next_index - 1
        })
    }
}

fn write(event: &StreamEvent<'_>, out: &mut Vec<u8>) {
    if let StreamEvent::ForeignBlock { content_block_index, json } = event {
        return write_foreign(*content_block_index, json, out);
    }
    let mut payload = Vec::with_capacity(128);
    put(&mut payload, event);
    aws_event_stream::write_event(event.name(), payload, out);
}

/// Writes a server tool's call or result. The stream has no events for other blocks of the format.
fn write_foreign(content_block_index: u32, block: &Value, out: &mut Vec<u8>) {
    for (name, body) in [("toolUse", "input"), ("toolResult", "content")] {
        let Some(mut head) = block.get(name).and_then(Value::as_object).cloned() else { continue };
        let body = head.shift_remove(body).unwrap_or_default();
        let start =
            BlockStart::Foreign([(name.to_owned(), Value::Object(head))].into_iter().collect());
        write(&StreamEvent::ContentBlockStart { start, content_block_index }, out);
        let input = body.to_string();
        let delta = match name {
            "toolUse" => Delta::ToolUse { input: &input },
            _ => Delta::ToolResult(&body),
        };
        write(&StreamEvent::ContentBlockDelta { content_block_index, delta }, out);
        return;
    }
}

fn is_supported(kind: &Kind) -> bool {
    match kind {
        Kind::Text | Kind::Reasoning | Kind::Refusal | Kind::ToolCall { .. } => true,
        Kind::Media(media) => image(media).is_some(),
        Kind::Foreign { format, .. } => *format == Format::Bedrock,
    }
}

/// Returns an image's format and its bytes in base64.
fn image(media: &Media) -> Option<(&'static str, &str)> {
    match (&media.source, media.kind) {
        (Source::Base64 { media_type, data }, MediaKind::Image) => {
            Some((media::format_of_type(MediaKind::Image, media_type)?, data))
        }
        _ => None,
    }
}

/// Only reasoning has a field for a signature: that of another format's text or call is written as reasoning
/// without text after the block.
fn signature_after(signature: &Signature) -> Option<String> {
    (signature.format != Format::Bedrock)
        .then(|| signature_transport::write(Format::Bedrock, signature, true))
}

/// Returns a citation in this format. One of another format needs a URL, or it is left out.
fn citation_delta(citation: &Value) -> Option<CitationDelta<'_>> {
    if is_own_citation(citation) {
        return Some(CitationDelta { citation: Cow::Borrowed(citation), is_translated: false });
    }
    let citation = citation.get("url_citation").unwrap_or(citation);
    let text = |name: &str| citation.get(name).and_then(Value::as_str);
    let url = text("url").or(text("uri"))?;
    let mut translated = json!({ "location": { "web": { "url": url } } });
    if let Some(title) = text("title") {
        translated["title"] = json!(title);
    }
    if let Some(cited) = text("cited_text") {
        translated["sourceContent"] = json!([{ "text": cited }]);
    }
    Some(CitationDelta { citation: Cow::Owned(translated), is_translated: true })
}

fn metadata(usage: &Usage, tier: Option<&'static str>) -> Metadata {
    Metadata { usage: token_usage(usage), service_tier: tier.map(|r#type| ServiceTier { r#type }) }
}

/// Returns `None` if nothing was counted. A count that is missing beside another is zero: providers leave zeros
/// out.
fn token_usage(usage: &Usage) -> Option<TokenUsage> {
    let Usage { input, cached_input, cache_write, output, reasoning: _ } = *usage;
    if input.is_none() && output.is_none() {
        return None;
    }
    let (input, output) = (input.unwrap_or(0), output.unwrap_or(0));
    let of_cache = cached_input.unwrap_or(0).saturating_add(cache_write.unwrap_or(0));
    Some(TokenUsage {
        input_tokens: input.saturating_sub(of_cache),
        output_tokens: output,
        total_tokens: input.saturating_add(output),
        cache_read_input_tokens: cached_input,
        cache_write_input_tokens: cache_write,
    })
}

/// Returns the `ServiceTierType` for a tier in any API's word.
fn tier_word(word: &str) -> Option<&'static str> {
    Some(match word {
        "default" | "standard" => "default",
        "flex" => "flex",
        "priority" => "priority",
        "reserved" => "reserved",
        _ => return None,
    })
}
