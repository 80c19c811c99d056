//! Decodes a provider's answer.

mod types;
mod whole;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use self::types::{
    ContentBlockDelta, ContentBlockStart, ContentBlockStop, Delta, MessageStop, Metadata,
    Reasoning, Start, ToolInput, ToolUse,
};
use super::{media, signature, stop_reason};
use crate::wire::api::Format;
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_named;
use crate::wire::format::quirks::Quirks;
use crate::wire::frame::Frame;
use crate::wire::inspect::token_counts::Tally;
use crate::wire::ir::block_writer::BlockWriter;
use crate::wire::ir::{Event, Kind, Media, MediaKind, Piece, Signature, Source};

pub use self::whole::decode_whole;

/// The most blocks of one answer; no model writes as many.
const MAX_BLOCKS: u32 = 1024;
/// The most blocks that are open at once.
const MAX_OPEN: usize = 128;
/// The most bytes of blocks that are gathered because the hub has them complete.
const MAX_GATHERED: usize = 16 * 1024 * 1024;

/// Decodes a provider's stream. The blocks of a whole answer take the same way.
#[derive(Debug)]
pub struct Decoder {
    writer: BlockWriter,
    open: Vec<OpenBlock>,
    gathered_bytes: usize,
}

#[derive(Debug)]
struct OpenBlock {
    /// The provider's number of it.
    index: u64,
    state: BlockState,
}

#[derive(Debug)]
enum BlockState {
    /// With the writer's number.
    Text(u32),
    Reasoning(u32),
    ToolCall(u32),
    /// A call of a tool that the provider runs: its head, and its arguments.
    ServerToolCall(Value, String),
    /// The result of such a call: its head, and its parts.
    ServerToolResult(Value, Vec<Value>),
    /// An image: its format, and its bytes.
    Image(String, Vec<u8>),
    Unknown,
}

impl Decoder {
    /// For one answer; this format has one vendor.
    pub fn new(_quirks: &'static Quirks) -> Decoder {
        let writer = BlockWriter::new(MAX_BLOCKS);
        Decoder { writer, open: Vec::new(), gathered_bytes: 0 }
    }

    /// Decodes a frame.
    pub fn frame(&mut self, frame: Frame<'_>, out: &mut Vec<Event>) {
        match frame {
            Frame::Exception { kind, payload } => self.exception(kind, payload, out),
            Frame::Event { name, data } => {
                if self.event(name, data, out).is_err() {
                    self.fail("The provider sent a malformed event.", out);
                }
            }
        }
    }

    /// Ends a stream that has ended in order: after `messageStop` it is complete even without `metadata`.
    pub fn end(&mut self, out: &mut Vec<Event>) {
        if self.writer.is_stopped(0) {
            self.writer.end(out);
        }
    }

    fn event(
        &mut self,
        name: &[u8],
        data: &[u8],
        out: &mut Vec<Event>,
    ) -> Result<(), serde_json::Error> {
        match name {
            b"contentBlockDelta" => {
                let ContentBlockDelta { content_block_index, delta } =
                    serde_json::from_slice(data)?;
                self.delta(content_block_index, delta, out);
            }
            b"contentBlockStart" => {
                let ContentBlockStart { content_block_index, start } =
                    serde_json::from_slice(data)?;
                self.start(content_block_index, start, out);
            }
            b"contentBlockStop" => {
                let ContentBlockStop { content_block_index } = serde_json::from_slice(data)?;
                self.stop(content_block_index, out);
            }
            b"messageStart" => self.message_start(out),
            b"messageStop" => self.message_stop(serde_json::from_slice(data)?, out),
            b"metadata" => {
                self.metadata(&serde_json::from_slice(data)?, out);
                self.end(out);
            }
            _ => {}
        }
        Ok(())
    }

    fn message_start(&mut self, out: &mut Vec<Event>) {
        self.writer.start(None, None, None, out);
    }

    /// Begins a block that has a start; text and reasoning begin with their first delta.
    fn start(&mut self, index: u64, start: Start, out: &mut Vec<Event>) {
        self.stop(index, out);
        let state = if let Some(ToolUse { id, name, r#type }) = start.tool_use {
            if r#type.as_deref() == Some("server_tool_use") {
                let head = json!({ "toolUseId": id, "name": name, "type": r#type });
                BlockState::ServerToolCall(head, String::new())
            } else {
                match self.writer.open(0, Kind::ToolCall { id, name }, out) {
                    Some(block) => BlockState::ToolCall(block),
                    None => return,
                }
            }
        } else if let Some(head) = start.tool_result {
            BlockState::ServerToolResult(head, Vec::new())
        } else if let Some(image) = start.image {
            BlockState::Image(image.format, Vec::new())
        } else {
            BlockState::Unknown
        };
        self.message_start(out);
        self.push(index, state, out);
    }

    fn push(&mut self, index: u64, state: BlockState, out: &mut Vec<Event>) {
        if self.writer.is_over() || self.writer.is_stopped(0) {
            return;
        }
        if self.open.len() >= MAX_OPEN {
            return self.fail("The provider sent too many blocks at once.", out);
        }
        self.open.push(OpenBlock { index, state });
    }

    fn delta(&mut self, index: u64, delta: Delta, out: &mut Vec<Event>) {
        if let Some(text) = delta.text {
            if let Some(block) = self.text_block(index, out) {
                self.writer.extend(block, Piece::Text(text), out);
            }
        } else if let Some(ToolInput { input }) = delta.tool_use {
            self.input(index, input, out);
        } else if let Some(reasoning) = delta.reasoning_content {
            self.reasoning(index, reasoning, out);
        } else if let Some(citation) = delta.citation {
            if let Some(block) = self.text_block(index, out) {
                self.writer.extend(block, Piece::Citation(citation), out);
            }
        } else if let Some(parts) = delta.tool_result {
            // Their size is about that of their JSON.
            let size: usize = parts.iter().map(|part| part.to_string().len()).sum();
            if let Some(BlockState::ServerToolResult(_, all)) = self.state_mut(index) {
                all.extend(parts);
                self.count_gathered(size, out);
            }
        } else if let Some(bytes) = delta.image.and_then(|image| image.source?.bytes)
            && let Some(BlockState::Image(_, all)) = self.state_mut(index)
            && let Ok(more) = STANDARD.decode(bytes)
        {
            all.extend_from_slice(&more);
            self.count_gathered(more.len(), out);
        }
    }

    fn input(&mut self, index: u64, input: String, out: &mut Vec<Event>) {
        match self.state_mut(index) {
            Some(BlockState::ToolCall(block)) => {
                let block = *block;
                self.writer.extend(block, Piece::Text(input), out);
            }
            Some(BlockState::ServerToolCall(_, all)) => {
                all.push_str(&input);
                self.count_gathered(input.len(), out);
            }
            _ => {}
        }
    }

    fn reasoning(&mut self, index: u64, reasoning: Reasoning, out: &mut Vec<Event>) {
        let Some(block) = self.reasoning_block(index, out) else { return };
        let Reasoning { text, signature, redacted_content } = reasoning;
        self.writer.extend(block, Piece::Text(text.unwrap_or_default()), out);
        let redacted = redacted_content.as_deref().map(signature::of_redacted);
        let signature = signature.map(|data| Signature { format: Format::Bedrock, data, id: None });
        if let Some(signature) = redacted.or(signature) {
            self.writer.extend(block, Piece::Signature(signature), out);
        }
    }

    /// Returns the text block of this index, which begins here unless it is open.
    fn text_block(&mut self, index: u64, out: &mut Vec<Event>) -> Option<u32> {
        match self.state_mut(index) {
            Some(BlockState::Text(block)) => Some(*block),
            Some(BlockState::Unknown) => None,
            _ => self.open_block(index, Kind::Text, BlockState::Text, out),
        }
    }

    fn reasoning_block(&mut self, index: u64, out: &mut Vec<Event>) -> Option<u32> {
        match self.state_mut(index) {
            Some(BlockState::Reasoning(block)) => Some(*block),
            Some(BlockState::Unknown) => None,
            _ => self.open_block(index, Kind::Reasoning, BlockState::Reasoning, out),
        }
    }

    fn open_block(
        &mut self,
        index: u64,
        kind: Kind,
        state: fn(u32) -> BlockState,
        out: &mut Vec<Event>,
    ) -> Option<u32> {
        self.stop(index, out);
        let block = self.writer.open(0, kind, out)?;
        self.push(index, state(block), out);
        Some(block)
    }

    fn state_mut(&mut self, index: u64) -> Option<&mut BlockState> {
        self.open.iter_mut().find(|open| open.index == index).map(|open| &mut open.state)
    }

    /// Closes the block of this index, if it is open.
    fn stop(&mut self, index: u64, out: &mut Vec<Event>) {
        if let Some(at) = self.open.iter().position(|open| open.index == index) {
            let state = self.open.remove(at).state;
            self.close(state, out);
        }
    }

    fn close(&mut self, state: BlockState, out: &mut Vec<Event>) {
        let kind = match state {
            BlockState::Text(block)
            | BlockState::Reasoning(block)
            | BlockState::ToolCall(block) => {
                return self.writer.close(block, out);
            }
            BlockState::ServerToolCall(mut head, input) => {
                // Text that is not JSON stays a string.
                head["input"] = match &*input {
                    "" => json!({}),
                    input => serde_json::from_str(input).unwrap_or_else(|_| json!(input)),
                };
                foreign(json!({ "toolUse": head }))
            }
            BlockState::ServerToolResult(mut head, parts) => {
                if head.is_object() {
                    head["content"] = Value::Array(parts);
                }
                foreign(json!({ "toolResult": head }))
            }
            BlockState::Image(format, bytes) => match image(&format, STANDARD.encode(bytes)) {
                Some(image) => image,
                None => return,
            },
            BlockState::Unknown => return,
        };
        self.whole(kind, out);
    }

    fn whole(&mut self, kind: Kind, out: &mut Vec<Event>) {
        self.writer.whole(0, kind, out);
    }

    fn message_stop(&mut self, stop: MessageStop, out: &mut Vec<Event>) {
        for open in std::mem::take(&mut self.open) {
            self.close(open.state, out);
        }
        let MessageStop { stop_reason, additional_model_response_fields: fields } = stop;
        // Only callers that ask for it get the stop sequence.
        let sequence = fields.and_then(|fields| Some(fields["stop_sequence"].as_str()?.to_owned()));
        let why = stop_reason::decode(&stop_reason);
        self.writer.stop(0, why, Some(stop_reason), sequence, out);
    }

    fn metadata(&mut self, metadata: &Metadata<'_>, out: &mut Vec<Event>) {
        if self.writer.is_over() {
            return;
        }
        self.message_start(out);
        if let Some(usage) = metadata.usage {
            let mut tally = Tally::default();
            tally.of_bedrock(Some(usage.get().as_bytes()));
            out.push(Event::Usage(tally.usage()));
        }
        if let Some(tier) = &metadata.service_tier {
            out.push(Event::Tier(tier.r#type.clone()));
        }
    }

    fn exception(&mut self, kind: &str, payload: &[u8], out: &mut Vec<Event>) {
        let error = ProviderError {
            failure: classify_named(kind, payload),
            status: stop_reason::exception_status(kind),
            kind: Some(kind.to_owned()),
            ..ProviderError::malformed(error_message(payload).unwrap_or_else(|| kind.to_owned()))
        };
        self.writer.fail(error, out);
    }

    fn fail(&mut self, message: &str, out: &mut Vec<Event>) {
        self.writer.fail(ProviderError::malformed(message), out);
    }

    fn count_gathered(&mut self, more: usize, out: &mut Vec<Event>) {
        self.gathered_bytes += more;
        if self.gathered_bytes > MAX_GATHERED {
            self.open.clear();
            self.fail("The provider sent blocks of more than 16 MiB.", out);
        }
    }
}

fn foreign(json: Value) -> Kind {
    Kind::Foreign { format: Format::Bedrock, json }
}

/// Returns `None` for a format that is not known.
fn image(format: &str, data: String) -> Option<Kind> {
    let media_type = media::type_of_format(MediaKind::Image, format)?.to_owned();
    let source = Source::Base64 { media_type, data };
    Some(Kind::Media(Media { kind: MediaKind::Image, source, name: None, detail: None }))
}

/// Returns the message of an error, or of the model's vendor.
fn error_message(payload: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Error {
        #[serde(alias = "Message")]
        message: Option<String>,
        original_message: Option<String>,
    }
    let error: Error = serde_json::from_slice(payload).ok()?;
    error.message.or(error.original_message)
}
