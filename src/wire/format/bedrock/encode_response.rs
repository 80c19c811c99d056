//! Events -> a caller's answer.
//!
//! `metrics.latencyMs`, which the API's model has as required, is left out of both forms: no time is known
//! here, and the SDKs read answers without it.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::{Value, json};

use super::encode_request::messages::is_own_citation;
use super::{REDACTED, media_types};
use crate::wire::api::Format;
use crate::wire::failure::ProviderError;
use crate::wire::failure::class::Class;
use crate::wire::format::context::ResponseContext;
use crate::wire::format::signature_transport;
use crate::wire::frame::aws_event_stream;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::{
    Block, Content, Event, Kind, Media, MediaKind, Piece, Response, Signature, Source, Stop,
};

/// What waits for its turn may be as long as this; then blocks are told side by side, which the format
/// allows and few readers expect.
const MOST_HELD: usize = 1024 * 1024;

/// Makes a stream for the caller. Blocks are told one after the other.
#[derive(Debug)]
pub struct Encoder {
    id: String,
    /// The index of the next block.
    next: u32,
    calls: u32,
    current: Vec<Current>,
    waiting: VecDeque<Waiting>,
    held: usize,
    called: bool,
    usage: Usage,
    tier: Option<&'static str>,
}

/// A block that is being told.
#[derive(Debug)]
struct Current {
    block: u32,
    /// None until there is something to tell of it.
    index: Option<u32>,
    is_call: bool,
    is_thought: bool,
    has_text: bool,
    /// Written behind it.
    signature: Option<String>,
}

/// A block that began while another was being told.
#[derive(Debug)]
struct Waiting {
    block: u32,
    kind: Kind,
    pieces: Vec<Piece>,
    closed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Grown<'e> {
    content_block_index: u32,
    delta: Delta<'e>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Delta<'e> {
    Text(&'e str),
    ToolUse { input: &'e str },
    ToolResult(&'e Value),
    ReasoningContent(Thought<'e>),
    Citation(Value),
    Image { source: Bytes<'e> },
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Thought<'e> {
    Text(&'e str),
    Signature(String),
    RedactedContent(&'e str),
}

#[derive(Serialize)]
struct Bytes<'e> {
    bytes: &'e str,
}

impl Encoder {
    /// Of an answer that shows this.
    pub fn new(shown: ResponseContext) -> Encoder {
        Encoder {
            id: shown.id,
            next: 0,
            calls: 0,
            current: Vec::new(),
            waiting: VecDeque::new(),
            held: 0,
            called: false,
            usage: Usage::default(),
            tier: None,
        }
    }

    /// Writes an event.
    pub fn event(&mut self, event: &Event, out: &mut Vec<u8>) {
        match event {
            Event::Start { .. } => write("messageStart", &json!({ "role": "assistant" }), out),
            Event::Open { block, candidate: 0, kind } if is_shown(kind) => {
                if self.current.is_empty() {
                    self.begin(*block, kind, out);
                } else {
                    let (block, kind) = (*block, kind.clone());
                    self.waiting.push_back(Waiting {
                        block,
                        kind,
                        pieces: Vec::new(),
                        closed: false,
                    });
                }
            }
            Event::Delta { block, piece } => self.delta(*block, piece, out),
            Event::Close { block } => self.close(*block, out),
            Event::Usage(usage) => self.usage.update(*usage),
            Event::Tier(tier) => self.tier = tier_of(tier),
            Event::Stop { candidate: 0, why, raw, .. } => {
                let reason = reason(*why, raw.as_deref(), self.called);
                write("messageStop", &json!({ "stopReason": reason }), out);
            }
            Event::End => {
                let tier = self.tier.map(|tier| json!({ "type": tier }));
                let usage = Counts::of(&self.usage);
                write("metadata", &Metadata { usage, service_tier: tier }, out);
            }
            Event::Fail(told) => {
                out.extend_from_slice(&aws_event_stream::exception(exception(told), &told.message));
            }
            // Of other answers than the first, and signs of life, for which there is no event.
            Event::Open { .. } | Event::Stop { .. } | Event::Ping => {}
        }
    }

    fn begin(&mut self, block: u32, kind: &Kind, out: &mut Vec<u8>) {
        let mut own = Current {
            block,
            index: None,
            is_call: false,
            is_thought: matches!(kind, Kind::Reasoning),
            has_text: false,
            signature: None,
        };
        match kind {
            Kind::Text | Kind::Refusal | Kind::Reasoning => {}
            Kind::ToolCall { id, name } => {
                self.calls += 1;
                self.called = true;
                let made = || format!("call_{}_{}", self.id, self.calls - 1);
                let id = id.clone().unwrap_or_else(made);
                own.is_call = true;
                let start = json!({ "toolUse": { "toolUseId": id, "name": name } });
                self.start(&mut own, &start, out);
            }
            Kind::Media(media) => {
                if let Some((format, data)) = image(media) {
                    self.start(&mut own, &json!({ "image": { "format": format } }), out);
                    self.grow(&mut own, Delta::Image { source: Bytes { bytes: data } }, out);
                }
            }
            Kind::Foreign { json, .. } => self.foreign(&mut own, json, out),
        }
        self.current.push(own);
    }

    /// A server tool's call or outcome of this very format.
    fn foreign(&mut self, own: &mut Current, block: &Value, out: &mut Vec<u8>) {
        for (name, whole) in [("toolUse", "input"), ("toolResult", "content")] {
            let Some(mut head) = block.get(name).and_then(Value::as_object).cloned() else {
                continue;
            };
            let whole = head.shift_remove(whole).unwrap_or_default();
            self.start(own, &json!({ name: head }), out);
            if name == "toolUse" {
                self.grow(own, Delta::ToolUse { input: &whole.to_string() }, out);
            } else {
                self.grow(own, Delta::ToolResult(&whole), out);
            }
            return;
        }
    }

    fn delta(&mut self, block: u32, piece: &Piece, out: &mut Vec<u8>) {
        if let Some(place) = self.current.iter().position(|own| own.block == block) {
            let mut own = self.current.swap_remove(place);
            self.tell(&mut own, piece, out);
            self.current.push(own);
        } else if let Some(waiting) = self.waiting.iter_mut().find(|own| own.block == block) {
            if let Piece::Text(text) = piece {
                self.held += text.len();
            }
            waiting.pieces.push(piece.clone());
            if self.held > MOST_HELD {
                while self.next_waiting(out) {}
            }
        }
    }

    fn close(&mut self, block: u32, out: &mut Vec<u8>) {
        if let Some(waiting) = self.waiting.iter_mut().find(|own| own.block == block) {
            waiting.closed = true;
        }
        self.finish(block, out);
        while self.current.is_empty() && self.next_waiting(out) {}
    }

    fn finish(&mut self, block: u32, out: &mut Vec<u8>) {
        let Some(place) = self.current.iter().position(|own| own.block == block) else { return };
        let mut own = self.current.swap_remove(place);
        if own.is_call && !own.has_text {
            // What is called without arguments is called with an empty object.
            self.grow(&mut own, Delta::ToolUse { input: "{}" }, out);
        }
        if let Some(index) = own.index {
            write("contentBlockStop", &json!({ "contentBlockIndex": index }), out);
        }
        if let Some(signature) = own.signature.take() {
            let index = self.next;
            self.next += 1;
            let delta = Delta::ReasoningContent(Thought::Signature(signature));
            write("contentBlockDelta", &Grown { content_block_index: index, delta }, out);
            write("contentBlockStop", &json!({ "contentBlockIndex": index }), out);
        }
    }

    /// Tells of the block that waits the longest; false: none does.
    fn next_waiting(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(Waiting { block, kind, pieces, closed }) = self.waiting.pop_front() else {
            self.held = 0;
            return false;
        };
        self.begin(block, &kind, out);
        for piece in &pieces {
            self.delta(block, piece, out);
        }
        if closed {
            self.finish(block, out);
        }
        true
    }

    fn tell(&mut self, own: &mut Current, piece: &Piece, out: &mut Vec<u8>) {
        match piece {
            Piece::Text(text) if text.is_empty() => {}
            Piece::Text(text) => {
                own.has_text = true;
                let delta = if own.is_call {
                    Delta::ToolUse { input: text }
                } else if own.is_thought {
                    Delta::ReasoningContent(Thought::Text(text))
                } else {
                    Delta::Text(text)
                };
                self.grow(own, delta, out);
            }
            Piece::Signature(signature) if own.is_thought => {
                let thought = match redacted(signature) {
                    Some(data) => Thought::RedactedContent(data),
                    None => Thought::Signature(signature_text(signature)),
                };
                self.grow(own, Delta::ReasoningContent(thought), out);
            }
            Piece::Citation(citation) => {
                if let Some(citation) = own_citation(citation) {
                    self.grow(own, Delta::Citation(citation), out);
                }
            }
            Piece::Signature(signature) => own.signature = borne_behind(signature),
            // There is no field for it.
            Piece::Logprobs(_) => {}
        }
    }

    fn index(&mut self, own: &mut Current) -> u32 {
        *own.index.get_or_insert_with(|| {
            self.next += 1;
            self.next - 1
        })
    }

    fn start(&mut self, own: &mut Current, start: &Value, out: &mut Vec<u8>) {
        let index = self.index(own);
        write("contentBlockStart", &json!({ "start": start, "contentBlockIndex": index }), out);
    }

    fn grow(&mut self, own: &mut Current, delta: Delta<'_>, out: &mut Vec<u8>) {
        let content_block_index = self.index(own);
        write("contentBlockDelta", &Grown { content_block_index, delta }, out);
    }
}

fn write(kind: &'static str, payload: &impl Serialize, out: &mut Vec<u8>) {
    let mut json = Vec::with_capacity(128);
    // Into memory, of types that always have a JSON form.
    if serde_json::to_writer(&mut json, payload).is_ok() {
        aws_event_stream::write_event(kind, json, out);
    }
}

fn is_shown(kind: &Kind) -> bool {
    match kind {
        Kind::Text | Kind::Reasoning | Kind::Refusal | Kind::ToolCall { .. } => true,
        Kind::Media(media) => image(media).is_some(),
        Kind::Foreign { format, .. } => *format == Format::Bedrock,
    }
}

/// An image's format and its bytes in base64.
fn image(media: &Media) -> Option<(&'static str, &str)> {
    match (&media.source, media.kind) {
        (Source::Base64 { media_type, data }, MediaKind::Image) => {
            Some((media_types::word_of(MediaKind::Image, media_type)?, data))
        }
        _ => None,
    }
}

fn redacted(signature: &Signature) -> Option<&str> {
    signature.data.strip_prefix(REDACTED).filter(|_| signature.format == Format::Bedrock)
}

fn signature_text(signature: &Signature) -> String {
    signature_transport::write(Format::Bedrock, signature, false)
}

/// A block has no field for a signature but a thought has: that of another format gets a thought of its own
/// behind the block.
fn borne_behind(signature: &Signature) -> Option<String> {
    (signature.format != Format::Bedrock)
        .then(|| signature_transport::write(Format::Bedrock, signature, true))
}

/// A citation in this format's words: its own, or one of a page by address and title.
fn own_citation(citation: &Value) -> Option<Value> {
    if is_own_citation(citation) {
        return Some(citation.clone());
    }
    let citation = citation.get("url_citation").unwrap_or(citation);
    let text = |name: &str| citation.get(name).and_then(Value::as_str);
    let url = text("url").or(text("uri"))?;
    let mut own = json!({ "location": { "web": { "url": url } } });
    if let Some(title) = text("title") {
        own["title"] = json!(title);
    }
    if let Some(cited) = text("cited_text") {
        own["sourceContent"] = json!([{ "text": cited }]);
    }
    Some(own)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Counts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<Value>,
}

/// `TokenUsage`: the input leaves the cache out, the total does not.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the API's names")]
struct Counts {
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_input_tokens: Option<u64>,
}

impl Counts {
    /// None where nothing was counted.
    fn of(usage: &Usage) -> Option<Counts> {
        let Usage { input, cached_input, cache_write, output, reasoning: _ } = *usage;
        if input.is_none() && output.is_none() {
            return None;
        }
        let beside = cached_input.unwrap_or(0).saturating_add(cache_write.unwrap_or(0));
        Some(Counts {
            input_tokens: input.map(|input| input.saturating_sub(beside)),
            output_tokens: output,
            total_tokens: input.zip(output).map(|(input, output)| input.saturating_add(output)),
            cache_read_input_tokens: cached_input,
            cache_write_input_tokens: cache_write,
        })
    }
}

/// `ServiceTierType`, of the words that others have for the same.
fn tier_of(word: &str) -> Option<&'static str> {
    Some(match word {
        "default" | "standard" => "default",
        "flex" => "flex",
        "priority" => "priority",
        "reserved" => "reserved",
        _ => return None,
    })
}

/// `StopReason`. A reason that the format lacks stays the provider's word: SDKs take unknown ones.
fn reason(why: Stop, raw: Option<&str>, called: bool) -> &str {
    match why {
        Stop::End => "end_turn",
        Stop::Sequence => "stop_sequence",
        Stop::Length => "max_tokens",
        Stop::Window => "model_context_window_exceeded",
        Stop::Calls => "tool_use",
        Stop::Filter if raw == Some("guardrail_intervened") => "guardrail_intervened",
        Stop::Refusal | Stop::Filter => "content_filtered",
        Stop::Malformed if raw == Some("malformed_model_output") => "malformed_model_output",
        Stop::Malformed => "malformed_tool_use",
        Stop::Pause => "pause_turn",
        Stop::Other if called => raw.unwrap_or("tool_use"),
        Stop::Other => raw.unwrap_or("end_turn"),
    }
}

/// The exceptions that a stream can end with are these five; the one of a model that failed stands for all
/// that is not the caller's doing.
fn exception(told: &ProviderError) -> &'static str {
    match told.failure.class {
        Class::Caller | Class::ContextTooLong => "validationException",
        Class::Throttled | Class::NoCredit => "throttlingException",
        Class::Trouble if matches!(told.status, Some(503 | 529)) => "serviceUnavailableException",
        Class::Trouble if told.status == Some(500) => "internalServerException",
        Class::Trouble | Class::BadCredential | Class::NoAccess => "modelStreamErrorException",
    }
}

/// Writes a whole answer for the caller.
pub fn encode_whole(reply: &Response, shown: &ResponseContext) -> Vec<u8> {
    let none = Vec::new();
    let candidate = reply.candidates.first();
    let blocks = candidate.map_or(&none, |own| &own.blocks);
    let mut content = Vec::with_capacity(blocks.len());
    let mut calls = 0;
    for block in blocks {
        let before = content.len();
        show(block, shown, &mut calls, &mut content);
        let is_sealed =
            content.len() > before && !matches!(block.content, Content::Reasoning { .. });
        if let Some(signature) =
            block.signature.as_ref().filter(|_| is_sealed).and_then(borne_behind)
        {
            let thought = json!({ "reasoningText": { "text": "", "signature": signature } });
            content.push(json!({ "reasoningContent": thought }));
        }
    }
    let mut whole = json!({ "output": { "message": { "role": "assistant", "content": content } } });
    if let Some((own, stop)) = candidate.and_then(|own| Some((own, own.stop?))) {
        whole["stopReason"] = json!(reason(stop, own.raw.as_deref(), calls > 0));
    }
    if let Some(usage) = Counts::of(&reply.usage) {
        whole["usage"] = json!(usage);
    }
    if let Some(tier) = reply.tier.as_deref().and_then(tier_of) {
        whole["serviceTier"] = json!({ "type": tier });
    }
    whole.to_string().into_bytes()
}

fn show(block: &Block, shown: &ResponseContext, calls: &mut u32, out: &mut Vec<Value>) {
    match &block.content {
        Content::Text { text, citations } => {
            let own: Vec<Value> = citations.iter().filter_map(own_citation).collect();
            let is_own = !citations.is_empty() && citations.iter().all(is_own_citation);
            if is_own {
                let content = json!([{ "text": text }]);
                let cited = json!({ "content": content, "citations": own });
                out.push(json!({ "citationsContent": cited }));
                return;
            }
            if !text.is_empty() {
                out.push(json!({ "text": text }));
            }
            // Of other formats: behind the text, which stays where readers look for it.
            if !own.is_empty() {
                out.push(json!({ "citationsContent": { "content": [], "citations": own } }));
            }
        }
        Content::Refusal(text) => out.push(json!({ "text": text })),
        Content::Reasoning { text } => {
            if let Some(data) = block.signature.as_ref().and_then(redacted) {
                out.push(json!({ "reasoningContent": { "redactedContent": data } }));
            } else if !text.is_empty() || block.signature.is_some() {
                let mut own = json!({ "text": text });
                if let Some(signature) = &block.signature {
                    own["signature"] = json!(signature_text(signature));
                }
                out.push(json!({ "reasoningContent": { "reasoningText": own } }));
            }
        }
        Content::ToolCall { id, name, arguments } => {
            let made = || format!("call_{}_{calls}", shown.id);
            let id = id.clone().unwrap_or_else(made);
            *calls += 1;
            // What is no JSON, since it was cut off, stays the text that it is.
            let input = match arguments.trim() {
                "" => json!({}),
                text => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
            };
            out.push(json!({ "toolUse": { "toolUseId": id, "name": name, "input": input } }));
        }
        Content::Media(media) => {
            if let Some((format, data)) = image(media) {
                let image = json!({ "format": format, "source": { "bytes": data } });
                out.push(json!({ "image": image }));
            }
        }
        Content::Foreign { format: Format::Bedrock, json } => out.push(json.clone()),
        Content::Foreign { .. } | Content::ToolResult(_) => {}
    }
}
