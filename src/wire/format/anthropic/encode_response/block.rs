//! The block that is being written.

use crate::wire::api::Wire;
use crate::wire::format::anthropic::signature;
use crate::wire::format::context::Shown;
use crate::wire::ir::{Kind, Piece, Seal};
use crate::wire::json::write::{Object, put};
use super::whole;

use super::framed;

/// A block of the stream.
#[derive(Debug)]
pub(crate) struct Writing {
    block: u32,
    kind: Kind,
    /// Its number in the stream; `None`: it has not begun there, because what it is hangs on its first piece.
    index: Option<u32>,
    /// The signature of a call or a text, for which the format has no field.
    seal: Option<Seal>,
}

impl Writing {
    /// Begins a block; `None`: the format has no such thing.
    pub(crate) fn begin(
        block: u32,
        kind: &Kind,
        shown: &Shown,
        calls: u32,
        next: &mut u32,
        out: &mut Vec<u8>,
    ) -> Option<Writing> {
        let mut writing = Writing { block, kind: kind.clone(), index: None, seal: None };
        match kind {
            Kind::Text | Kind::Refusal => {
                writing.index = Some(started(next, out, |content| {
                    content.raw("type", r#""text""#).raw("text", r#""""#);
                }));
            }
            Kind::Thought => {}
            Kind::Call { id, name } => {
                writing.index = Some(started(next, out, |content| {
                    content.raw("type", r#""tool_use""#);
                    whole::call_id(content, id.as_deref(), shown, calls);
                    content.put("name", name).raw("input", "{}");
                }));
            }
            Kind::Foreign { wire: Wire::Anthropic, json } => {
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
        matches!(self.kind, Kind::Call { .. })
    }

    pub(crate) fn piece(&mut self, piece: &Piece, next: &mut u32, out: &mut Vec<u8>) {
        match (piece, &self.kind) {
            (Piece::Text(text), Kind::Text | Kind::Refusal) => {
                self.delta(out, "text_delta", "text", text);
            }
            (Piece::Text(json), Kind::Call { .. }) => {
                self.delta(out, "input_json_delta", "partial_json", json);
            }
            (Piece::Text(text), Kind::Thought) => {
                self.think(next, out);
                self.delta(out, "thinking_delta", "thinking", text);
            }
            (Piece::Seal(seal), Kind::Thought) => {
                if let (None, Some(data)) = (self.index, signature::as_redacted(seal)) {
                    self.index = Some(started(next, out, |content| {
                        content.raw("type", r#""redacted_thinking""#).put("data", data);
                    }));
                } else {
                    self.think(next, out);
                    self.delta(out, "signature_delta", "signature", &signature::write(seal, false));
                }
            }
            (Piece::Seal(seal), Kind::Text | Kind::Refusal | Kind::Call { .. }) => {
                self.seal = Some(seal.clone()).filter(|seal| seal.wire != Wire::Anthropic);
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
        if let Some(seal) = self.seal {
            let mut thought = Writing { kind: Kind::Thought, index: None, seal: None, ..self };
            thought.think(next, out);
            thought.delta(out, "signature_delta", "signature", &signature::write(&seal, true));
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
