//! A whole answer: the fold of its stream.

use std::borrow::Cow;

use serde_json::Value;

use super::{Encoder, metadata, tier_word};
use crate::wire::fit::tool_arguments;
use crate::wire::format::bedrock::types::{
    Answer, BlockStart, CitedText, ContentBlock, Delta, MediaSource, Message, Output,
    ReasoningContent, ReasoningDelta, StreamEvent, ToolInput,
};
use crate::wire::format::context::ResponseContext;
use crate::wire::ir::Response;
use crate::wire::json::write::put;

/// Writes a whole answer for a caller.
pub fn encode_whole(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let mut fold = Fold::default();
    let mut encoder = Encoder::new(context.clone());
    for event in &response.events() {
        encoder.encode(event, &mut |event| fold.event(event));
    }
    let answer = Answer {
        output: Output { message: Message { role: "assistant", content: fold.content } },
        stop_reason: fold.stop_reason,
        metadata: metadata(&response.usage, response.tier.as_deref().and_then(tier_word)),
    };
    let mut out = Vec::with_capacity(1024);
    put(&mut out, &answer);
    out
}

/// Gathers the events of a stream whose blocks come one after another.
#[derive(Default)]
struct Fold {
    content: Vec<ContentBlock<'static>>,
    current: Option<ContentBlock<'static>>,
    /// Of the current block.
    citations: Vec<Cow<'static, Value>>,
    has_translated_citations: bool,
    stop_reason: Option<String>,
}

impl Fold {
    fn event(&mut self, event: StreamEvent<'_>) {
        match event {
            StreamEvent::ContentBlockStart { start, .. } => self.current = start_block(&start),
            StreamEvent::ContentBlockDelta { delta, .. } => self.extend(delta),
            StreamEvent::ContentBlockStop { .. } => self.close(),
            StreamEvent::ForeignBlock { json, .. } => {
                self.current = Some(ContentBlock::Foreign(Cow::Owned(json.clone())));
            }
            StreamEvent::MessageStop { stop_reason } => {
                self.stop_reason = Some(stop_reason.to_owned());
            }
            StreamEvent::MessageStart { .. } | StreamEvent::Metadata(_) => {}
        }
    }

    fn extend(&mut self, delta: Delta<'_>) {
        match delta {
            Delta::Text(more) => match &mut self.current {
                Some(ContentBlock::Text(text)) => text.to_mut().push_str(more),
                _ => self.current = Some(ContentBlock::Text(Cow::Owned(more.to_owned()))),
            },
            Delta::ToolUse { input: more } => {
                if let Some(ContentBlock::ToolUse { input, .. }) = &mut self.current {
                    input.0.to_mut().push_str(more);
                }
            }
            Delta::ReasoningContent(delta) => self.extend_reasoning(delta),
            Delta::Citation(citation) => {
                self.has_translated_citations |= citation.is_translated;
                self.citations.push(Cow::Owned(citation.citation.into_owned()));
            }
            Delta::Image { source: MediaSource::Bytes(more) } => {
                if let Some(ContentBlock::Image { source: MediaSource::Bytes(bytes), .. }) =
                    &mut self.current
                {
                    bytes.to_mut().push_str(&more);
                }
            }
            // The writer has no others: a foreign block comes complete.
            Delta::Image { .. } | Delta::ToolResult(_) => {}
        }
    }

    fn extend_reasoning(&mut self, delta: ReasoningDelta<'_>) {
        let current = self.current.get_or_insert_with(|| {
            let text = Cow::Borrowed("");
            ContentBlock::ReasoningContent(ReasoningContent::ReasoningText {
                text,
                signature: None,
            })
        });
        let ContentBlock::ReasoningContent(reasoning) = current else { return };
        match (reasoning, delta) {
            (ReasoningContent::ReasoningText { text, .. }, ReasoningDelta::Text(more)) => {
                text.to_mut().push_str(more);
            }
            (
                ReasoningContent::ReasoningText { signature, .. },
                ReasoningDelta::Signature(text),
            ) => {
                *signature = Some(Cow::Owned(text));
            }
            (reasoning, ReasoningDelta::RedactedContent(data)) => {
                *reasoning = ReasoningContent::RedactedContent(Cow::Owned(data.to_owned()));
            }
            (ReasoningContent::RedactedContent(_), _) => {}
        }
    }

    /// Text with citations of this format becomes a `citationsContent`. Citations of other formats become one after
    /// the text, which stays where readers look for it.
    fn close(&mut self) {
        let mut block = self.current.take();
        if let Some(ContentBlock::ToolUse { input, .. }) = &mut block {
            *input = ToolInput(Cow::Owned(tool_arguments::object_of(&input.0).into_owned()));
        }
        let citations = std::mem::take(&mut self.citations);
        if citations.is_empty() {
            self.content.extend(block);
            return;
        }
        let mut content = Vec::new();
        if std::mem::take(&mut self.has_translated_citations) {
            self.content.extend(block);
        } else {
            let text = match block {
                Some(ContentBlock::Text(text)) => text,
                _ => Cow::Borrowed(""),
            };
            content.push(CitedText { text });
        }
        self.content.push(ContentBlock::CitationsContent { content, citations });
    }
}

/// Returns the block that a start begins.
fn start_block(start: &BlockStart<'_>) -> Option<ContentBlock<'static>> {
    match start {
        BlockStart::ToolUse { tool_use_id, name } => Some(ContentBlock::ToolUse {
            tool_use_id: Cow::Owned((*tool_use_id).to_owned()),
            name: Cow::Owned((*name).to_owned()),
            input: ToolInput(Cow::Borrowed("")),
        }),
        BlockStart::Image { format } => {
            let source = MediaSource::Bytes(Cow::Borrowed(""));
            Some(ContentBlock::Image { format, source })
        }
        // The writer has none: a foreign block comes complete.
        BlockStart::Foreign(_) => None,
    }
}
