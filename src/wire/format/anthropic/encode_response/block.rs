//! The block of the caller's stream that is open.

use std::borrow::Cow;

use super::Sink;
use crate::wire::api::Format;
use crate::wire::format::anthropic::fit::ID_RULE;
use crate::wire::format::anthropic::signature;
use crate::wire::format::anthropic::types::{
    ContentBlock, Delta, Input, StreamEvent, is_own_citation,
};
use crate::wire::ir::{Kind, Piece, Signature};

/// A block that is being written.
#[derive(Debug)]
pub(super) struct WrittenBlock {
    block: u32,
    kind: Kind,
    /// Its index in the stream; `None`: it has not begun there, because its first piece decides what it is.
    index: Option<u32>,
    /// The signature of a call or a text, for which the format has no field.
    signature: Option<Signature>,
}

impl WrittenBlock {
    /// Begins a block; `None`: the format has no such block. A call without an id gets one from `made_id`.
    pub(super) fn begin(
        block: u32,
        kind: &Kind,
        made_id: impl FnOnce() -> String,
        next_index: &mut u32,
        sink: &mut Sink<'_>,
    ) -> Option<WrittenBlock> {
        let mut index = None;
        let mut start = |content_block| index = Some(start_block(content_block, next_index, sink));
        match kind {
            Kind::Text | Kind::Refusal => start(ContentBlock::Text {
                text: Cow::Borrowed(""),
                citations: Vec::new(),
                cache_control: None,
            }),
            Kind::Reasoning => {}
            Kind::ToolCall { id, name } => start(ContentBlock::ToolUse {
                id: match id.as_deref() {
                    Some(id) if !id.is_empty() => ID_RULE.spell(id),
                    _ => Cow::Owned(made_id()),
                },
                name: name.into(),
                input: Input(Cow::Borrowed("")),
                cache_control: None,
            }),
            Kind::Foreign { format: Format::Anthropic, json } => {
                start(ContentBlock::Foreign(Cow::Borrowed(json)));
            }
            Kind::Foreign { .. } | Kind::Media(_) => return None,
        }
        Some(WrittenBlock { block, kind: kind.clone(), index, signature: None })
    }

    pub(super) fn block(&self) -> u32 {
        self.block
    }

    pub(super) fn is_call(&self) -> bool {
        matches!(self.kind, Kind::ToolCall { .. })
    }

    pub(super) fn extend(&mut self, piece: &Piece, next_index: &mut u32, sink: &mut Sink<'_>) {
        match (piece, &self.kind) {
            (Piece::Text(text), Kind::Text | Kind::Refusal) => {
                self.delta(Delta::Text { text }, sink);
            }
            (Piece::Text(partial_json), Kind::ToolCall { .. }) => {
                self.delta(Delta::InputJson { partial_json }, sink);
            }
            (Piece::Text(thinking), Kind::Reasoning) => {
                self.start_thinking(next_index, sink);
                self.delta(Delta::Thinking { thinking }, sink);
            }
            (Piece::Signature(signature), Kind::Reasoning) => {
                match signature::as_redacted(signature) {
                    Some(data) if self.index.is_none() => {
                        let block = ContentBlock::RedactedThinking { data: data.into() };
                        self.index = Some(start_block(block, next_index, sink));
                    }
                    _ => {
                        self.start_thinking(next_index, sink);
                        let signature = signature::write(signature, false);
                        self.delta(Delta::Signature { signature }, sink);
                    }
                }
            }
            (Piece::Signature(signature), Kind::Text | Kind::Refusal | Kind::ToolCall { .. }) => {
                self.signature = Some(signature.clone())
                    .filter(|signature| signature.format != Format::Anthropic);
            }
            (Piece::Citation(citation), Kind::Text) if is_own_citation(citation) => {
                self.delta(Delta::Citation { citation }, sink);
            }
            _ => {}
        }
    }

    /// Ends the block and returns its number and kind. A signature without a field follows as empty thinking.
    pub(super) fn end(mut self, next_index: &mut u32, sink: &mut Sink<'_>) -> (u32, Kind) {
        self.stop(sink);
        if let Some(signature) = self.signature.take() {
            self.index = None;
            self.start_thinking(next_index, sink);
            let signature = signature::write(&signature, true);
            self.delta(Delta::Signature { signature }, sink);
            self.stop(sink);
        }
        (self.block, self.kind)
    }

    fn start_thinking(&mut self, next_index: &mut u32, sink: &mut Sink<'_>) {
        if self.index.is_none() {
            let (thinking, signature) = (Cow::Borrowed(""), Cow::Borrowed(""));
            let block = ContentBlock::Thinking { thinking, signature };
            self.index = Some(start_block(block, next_index, sink));
        }
    }

    fn delta(&self, delta: Delta<'_>, sink: &mut Sink<'_>) {
        if let Some(index) = self.index {
            sink(StreamEvent::ContentBlockDelta { index, delta });
        }
    }

    fn stop(&self, sink: &mut Sink<'_>) {
        if let Some(index) = self.index {
            sink(StreamEvent::ContentBlockStop { index });
        }
    }
}

fn start_block(content_block: ContentBlock<'_>, next_index: &mut u32, sink: &mut Sink<'_>) -> u32 {
    let index = *next_index;
    *next_index += 1;
    sink(StreamEvent::ContentBlockStart { index, content_block });
    index
}
