//! The block that is being written.

use super::whole;
use crate::wire::api::Format;
use crate::wire::format::anthropic::signature;
use crate::wire::format::context::ResponseContext;
use crate::wire::ir::{Kind, Piece, Signature};
use crate::wire::json::write::{Object, put};

use super::framed;

/// A block of the stream.
#[derive(Debug)]
pub(crate) struct Writing {
    block: u32,
    kind: Kind,
    /// Its number in the stream; `None`: it has not begun there, because what it is hangs on its first piece.
    index: Option<u32>,
    /// The signature of a call or a text, for which the format has no field.
    signature: Option<Signature>,
}

impl Writing {
    /// Begins a block; `None`: the format has no such thing.
    pub(crate) fn begin(
        block: u32,
        kind: &Kind,
        shown: &ResponseContext,
        calls: u32,
        next: &mut u32,
        out: &mut Vec<u8>,
    ) -> Option<Writing> {
        let mut writing = Writing { block, kind: kind.clone(), index: None, signature: None };
        match kind {
            Kind::Text | Kind::Refusal => {
                writing.index = Some(started(next, out, |content| {
                    content.raw("type", r#""text""#).raw("text", r#""""#);
                }));
            }
            Kind::Reasoning => {}
            Kind::ToolCall { id, name } => {
                writing.index = Some(started(next, out, |content| {
                    content.raw("type", r#""tool_use""#);
                    whole::call_id(content, id.as_deref(), shown, calls);
                    content.put("name", name).raw("input", "{}");
                }));
            }
            Kind::Foreign { format: Format::Anthropic, json } => {
                writing.index = Some(*next);
                start(next, out, |event| put(event.member("content_block"), json));
            }
            Kind::Foreign { .. } | Kind::Media(_) => return None,
        }
        Some(writing)
    }

    pub(crate) fn block(&self) -> u32 {
        self.block
    }

    pub(crate) fn is_call(&self) -> bool {
        matches!(self.kind, Kind::ToolCall { .. })
    }

    pub(crate) fn piece(&mut self, piece: &Piece, next: &mut u32, out: &mut Vec<u8>) {
        match (piece, &self.kind) {
            (Piece::Text(text), Kind::Text | Kind::Refusal) => {
                self.delta(out, "text_delta", "text", text);
            }
            (Piece::Text(json), Kind::ToolCall { .. }) => {
                self.delta(out, "input_json_delta", "partial_json", json);
            }
            (Piece::Text(text), Kind::Reasoning) => {
                self.think(next, out);
                self.delta(out, "thinking_delta", "thinking", text);
            }
            (Piece::Signature(signature), Kind::Reasoning) => {
                if let (None, Some(data)) = (self.index, signature::as_redacted(signature)) {
                    self.index = Some(started(next, out, |content| {
                        content.raw("type", r#""redacted_thinking""#).put("data", data);
                    }));
                } else {
                    self.think(next, out);
                    self.delta(
                        out,
                        "signature_delta",
                        "signature",
                        &signature::write(signature, false),
                    );
                }
            }
            (Piece::Signature(signature), Kind::Text | Kind::Refusal | Kind::ToolCall { .. }) => {
                self.signature = Some(signature.clone())
                    .filter(|signature| signature.format != Format::Anthropic);
            }
            (Piece::Citation(citation), Kind::Text) if whole::is_own_citation(citation) => {
                if let Some(index) = self.index {
                    framed("content_block_delta", out, |event| {
                        let mut delta = event.put("index", &index).object("delta");
                        delta.raw("type", r#""citations_delta""#).put("citation", citation);
                        delta.end();
                    });
                }
            }
            _ => {}
        }
    }

    /// Ends it; a signature that found no place follows as an empty thought. Gives what it was.
    pub(crate) fn end(self, next: &mut u32, out: &mut Vec<u8>) -> (u32, Kind) {
        if let Some(index) = self.index {
            framed("content_block_stop", out, |event| {
                event.put("index", &index);
            });
        }
        if let Some(signature) = self.signature {
            let mut thought =
                Writing { kind: Kind::Reasoning, index: None, signature: None, ..self };
            thought.think(next, out);
            thought.delta(out, "signature_delta", "signature", &signature::write(&signature, true));
            thought.end(next, out);
        }
        (self.block, self.kind)
    }

    fn think(&mut self, next: &mut u32, out: &mut Vec<u8>) {
        if self.index.is_none() {
            self.index = Some(started(next, out, |content| {
                content.raw("type", r#""thinking""#).raw("thinking", r#""""#);
                content.raw("signature", r#""""#);
            }));
        }
    }

    fn delta(&self, out: &mut Vec<u8>, kind: &str, name: &str, text: &str) {
        let Some(index) = self.index else { return };
        framed("content_block_delta", out, |event| {
            let mut delta = event.put("index", &index).object("delta");
            delta.put("type", kind).put(name, text);
            delta.end();
        });
    }
}

/// Writes the beginning of a block with these members, and gives its number.
fn started(next: &mut u32, out: &mut Vec<u8>, members: impl FnOnce(&mut Object<'_>)) -> u32 {
    let index = *next;
    start(next, out, |event| {
        let mut content = event.object("content_block");
        members(&mut content);
        content.end();
    });
    index
}

fn start(next: &mut u32, out: &mut Vec<u8>, block: impl FnOnce(&mut Object<'_>)) {
    framed("content_block_start", out, |event| {
        event.put("index", next);
        block(event);
    });
    *next += 1;
}
