//! The blocks of an answer that are open, by the provider's index.

use serde_json::Value;
use serde_json::value::RawValue;

use super::types::{ContentBlock, Delta, type_of, value_of};
use crate::wire::api::Format;
use crate::wire::format::anthropic::signature;
use crate::wire::ir::block_writer::BlockWriter;
use crate::wire::ir::{Event, Kind, Piece};

/// The API streams one block after another; no answer has more open at once.
const MAX_OPEN: usize = 64;
/// The most bytes that are gathered of blocks that become one event.
const MAX_GATHERED: usize = 16 << 20;

const TOO_LONG: &str = "The provider sent a block of more than 16 MiB.";

/// Open blocks.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    open: Vec<OpenBlock>,
    gathered: usize,
}

#[derive(Debug)]
struct OpenBlock {
    index: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// It streams. `is_bare`: a call of whose arguments nothing has arrived.
    Streamed { block: u32, is_bare: bool },
    /// It becomes one event when it is complete. `input` is JSON text that becomes the member of that name.
    Gathered { json: Value, input: String },
}

type Result = std::result::Result<(), &'static str>;

impl Blocks {
    /// Begins a block. It is usually empty; in a whole answer it is complete.
    pub(super) fn start(
        &mut self,
        index: u64,
        raw: &RawValue,
        writer: &mut BlockWriter,
        out: &mut Vec<Event>,
    ) -> Result {
        if self.open.len() >= MAX_OPEN {
            return Err("The provider's answer has too many open blocks.");
        }
        self.stop(index, writer, out);
        let kind = type_of(raw).ok_or("The provider began a block without a type.")?;
        if !matches!(&*kind, "text" | "thinking" | "redacted_thinking" | "tool_use") {
            self.gathered += raw.get().len();
            let state = State::Gathered { json: value_of(raw), input: String::new() };
            self.open.push(OpenBlock { index, state });
            return if self.gathered > MAX_GATHERED { Err(TOO_LONG) } else { Ok(()) };
        }
        let Ok(start) = serde_json::from_str::<ContentBlock<'_>>(raw.get()) else {
            return Err("The provider began a block that cannot be read.");
        };
        let mut is_bare = false;
        let (kind, text, signature) = match &*start.kind {
            "text" => (Kind::Text, start.text, None),
            "thinking" => {
                let signature = start.signature.as_deref().and_then(signature::own);
                (Kind::Reasoning, start.thinking, signature)
            }
            "redacted_thinking" => {
                (Kind::Reasoning, None, start.data.as_deref().map(signature::redacted))
            }
            _ => {
                let input = start.input.map(RawValue::get).filter(|json| !is_empty_object(json));
                is_bare = input.is_none();
                let kind = Kind::ToolCall { id: start.id, name: start.name.unwrap_or_default() };
                (kind, input.map(str::to_owned), None)
            }
        };
        let Some(block) = writer.open(0, kind, out) else { return Ok(()) };
        self.open.push(OpenBlock { index, state: State::Streamed { block, is_bare } });
        writer.extend(block, Piece::Text(text.unwrap_or_default()), out);
        for citation in start.citations.unwrap_or_default() {
            writer.extend(block, Piece::Citation(value_of(citation)), out);
        }
        if let Some(signature) = signature {
            writer.extend(block, Piece::Signature(signature), out);
        }
        Ok(())
    }

    /// Adds to a block. A delta of a block that is not open is ignored, as everything unknown is.
    pub(super) fn extend(
        &mut self,
        index: u64,
        delta: Delta<'_>,
        writer: &mut BlockWriter,
        out: &mut Vec<Event>,
    ) -> Result {
        let Some(open) = self.open.iter_mut().find(|open| open.index == index) else {
            return Ok(());
        };
        let (block, is_bare) = match &mut open.state {
            State::Streamed { block, is_bare } => (*block, is_bare),
            State::Gathered { json, input } => {
                self.gathered += gather(json, input, delta);
                return if self.gathered > MAX_GATHERED { Err(TOO_LONG) } else { Ok(()) };
            }
        };
        let piece = match &*delta.kind {
            "text_delta" => delta.text.map(Piece::Text),
            "thinking_delta" => delta.thinking.map(Piece::Text),
            "input_json_delta" => delta.partial_json.map(Piece::Text),
            "signature_delta" => {
                delta.signature.as_deref().and_then(signature::own).map(Piece::Signature)
            }
            "citations_delta" => delta.citation.map(|raw| Piece::Citation(value_of(raw))),
            _ => None,
        };
        if let Some(piece) = piece {
            *is_bare &= !matches!(&piece, Piece::Text(text) if !text.is_empty());
            writer.extend(block, piece, out);
        }
        Ok(())
    }

    /// Closes a block.
    pub(super) fn stop(&mut self, index: u64, writer: &mut BlockWriter, out: &mut Vec<Event>) {
        if let Some(at) = self.open.iter().position(|open| open.index == index) {
            let open = self.open.remove(at);
            self.close(open, writer, out);
        }
    }

    /// Closes all blocks.
    pub(super) fn stop_all(&mut self, writer: &mut BlockWriter, out: &mut Vec<Event>) {
        for open in std::mem::take(&mut self.open) {
            self.close(open, writer, out);
        }
    }

    fn close(&mut self, open: OpenBlock, writer: &mut BlockWriter, out: &mut Vec<Event>) {
        match open.state {
            State::Streamed { block, is_bare } => {
                // The block began with `"input": {}`, and that was all.
                if is_bare {
                    writer.extend(block, Piece::Text("{}".to_owned()), out);
                }
                writer.close(block, out);
            }
            State::Gathered { mut json, input } => {
                self.gathered = 0;
                let input = serde_json::from_str::<Value>(&input).ok();
                if let (Some(input), Value::Object(members)) = (input, &mut json) {
                    members.insert("input".to_owned(), input);
                }
                writer.whole(0, Kind::Foreign { format: Format::Anthropic, json }, out);
            }
        }
    }
}

/// Adds to a gathered block, and returns how many bytes were added.
fn gather(json: &mut Value, input: &mut String, delta: Delta<'_>) -> usize {
    let mut added = 0;
    if let Some(json) = delta.partial_json {
        added += json.len();
        input.push_str(&json);
    }
    let Value::Object(members) = json else { return added };
    for (name, raw) in [("content", delta.content), ("encrypted_content", delta.encrypted_content)]
    {
        if let Some(raw) = raw {
            added += raw.get().len();
            members.insert(name.to_owned(), value_of(raw));
        }
    }
    if let Some(text) = delta.text {
        added += text.len();
        match members.entry("text").or_insert_with(|| Value::String(String::new())) {
            Value::String(own) => own.push_str(&text),
            other => *other = Value::String(text),
        }
    }
    added
}

fn is_empty_object(json: &str) -> bool {
    let inner = json.trim().strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    inner.is_some_and(|inner| inner.trim().is_empty())
}
