//! A whole answer: the fold of its stream.

use std::borrow::Cow;

use super::{Encoder, error_event};
use crate::wire::fit::tool_arguments::object_of;
use crate::wire::format::anthropic::types::{
    Answer, ContentBlock, Delta, Input, MessageDelta, StreamEvent,
};
use crate::wire::format::context::ResponseContext;
use crate::wire::ir::Response;
use crate::wire::json::write::put;

/// Writes a whole answer for a caller; of one that failed an error body.
pub fn encode_whole(response: &Response, context: &ResponseContext) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    if let Some(error) = &response.failed {
        put(&mut out, &error_event(error));
        return out;
    }
    let mut answer = Answer {
        id: Cow::Borrowed(""),
        role: "assistant",
        model: Cow::Borrowed(""),
        content: Vec::new(),
        stop_reason: None,
        stop_sequence: None,
        usage: response.usage.into(),
    };
    let mut encoder = Encoder::new(context.clone());
    for event in &response.events() {
        encoder.encode(event, &mut |event| fold(&mut answer, event));
    }
    for block in &mut answer.content {
        if let ContentBlock::ToolUse { input, .. } = block {
            *input = Input(Cow::Owned(object_of(&input.0).into_owned()));
        }
    }
    answer.usage.input_tokens.get_or_insert(0);
    answer.usage.service_tier = response.tier.as_deref().and_then(service_tier);
    put(&mut out, &answer);
    out
}

fn fold(answer: &mut Answer<'static>, event: StreamEvent<'_>) {
    match event {
        StreamEvent::MessageStart { message } => {
            answer.id = Cow::Owned(message.id.into_owned());
            answer.model = Cow::Owned(message.model.into_owned());
        }
        StreamEvent::ContentBlockStart { content_block, .. } => {
            answer.content.extend(to_owned(content_block));
        }
        // Only the last block is open.
        StreamEvent::ContentBlockDelta { delta, .. } => {
            if let Some(block) = answer.content.last_mut() {
                extend(block, delta);
            }
        }
        StreamEvent::MessageDelta {
            delta: MessageDelta { stop_reason, stop_sequence }, ..
        } => {
            answer.stop_reason = Some(stop_reason);
            answer.stop_sequence = stop_sequence.map(str::to_owned);
        }
        StreamEvent::ContentBlockStop { .. }
        | StreamEvent::MessageStop
        | StreamEvent::Ping
        | StreamEvent::Error { .. } => {}
    }
}

/// Returns `None` for a block that no answer contains.
fn to_owned(block: ContentBlock<'_>) -> Option<ContentBlock<'static>> {
    let own = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    Some(match block {
        ContentBlock::Text { text, .. } => {
            ContentBlock::Text { text: own(text), citations: Vec::new(), cache_control: None }
        }
        ContentBlock::ToolUse { id, name, input, .. } => ContentBlock::ToolUse {
            id: own(id),
            name: own(name),
            input: Input(own(input.0)),
            cache_control: None,
        },
        ContentBlock::Thinking { thinking, signature } => {
            ContentBlock::Thinking { thinking: own(thinking), signature: own(signature) }
        }
        ContentBlock::RedactedThinking { data } => {
            ContentBlock::RedactedThinking { data: own(data) }
        }
        ContentBlock::Foreign(json) => ContentBlock::Foreign(Cow::Owned(json.into_owned())),
        ContentBlock::Image { .. }
        | ContentBlock::Document { .. }
        | ContentBlock::ToolResult { .. } => return None,
    })
}

fn extend(block: &mut ContentBlock<'static>, delta: Delta<'_>) {
    match (block, delta) {
        (ContentBlock::Text { text: all, .. }, Delta::Text { text: more })
        | (ContentBlock::Thinking { thinking: all, .. }, Delta::Thinking { thinking: more })
        | (
            ContentBlock::ToolUse { input: Input(all), .. },
            Delta::InputJson { partial_json: more },
        ) => all.to_mut().push_str(more),
        (ContentBlock::Thinking { signature, .. }, Delta::Signature { signature: own }) => {
            *signature = Cow::Owned(own);
        }
        (ContentBlock::Text { citations, .. }, Delta::Citation { citation }) => {
            citations.push(Cow::Owned(citation.clone()));
        }
        _ => {}
    }
}

/// The tiers of other APIs that this one has a word for.
fn service_tier(tier: &str) -> Option<&'static str> {
    match tier {
        "default" | "standard" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => None,
    }
}
