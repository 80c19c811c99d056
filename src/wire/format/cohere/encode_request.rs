//! Prints a fitted request for a provider.

use std::borrow::Cow;

use super::types::{
    Body, Document, DocumentData, Function, FunctionCall, ImageUrl, Message, Part, ResponseFormat,
    Thinking, Tool, ToolCall,
};
use crate::wire::ir;
use crate::wire::ir::{
    Block, Choice, Content, Form, Media, MediaKind, Request, Role, Source, ThinkingMode, ToolResult,
};
use crate::wire::json::write::put;

/// Writes a request that `fit` has fitted.
pub fn encode_request(request: &Request) -> Vec<u8> {
    let sampling = &request.sampling;
    let body = Body {
        model: &request.model,
        stream: request.stream,
        messages: messages(request),
        documents: documents(request),
        tools: request.tools.iter().filter_map(tool).collect(),
        strict_tools: is_strict(request).then_some(true),
        tool_choice: match request.choice {
            None | Some(Choice::Auto) => None,
            Some(Choice::None) => Some("NONE"),
            Some(Choice::Any | Choice::Tool(_) | Choice::AnyOf(_)) => Some("REQUIRED"),
        },
        response_format: request.form.as_ref().map(response_format),
        thinking: request.thinking_mode.map(thinking),
        max_tokens: request.max_tokens,
        stop_sequences: &request.stop,
        temperature: sampling.temperature.as_ref(),
        p: sampling.top_p.as_ref(),
        k: sampling.top_k.as_ref(),
        seed: sampling.seed.as_ref(),
        frequency_penalty: sampling.frequency_penalty.as_ref(),
        presence_penalty: sampling.presence_penalty.as_ref(),
        logprobs: request.logprobs.map(|_| true),
    };
    let mut out = Vec::with_capacity(4096);
    put(&mut out, &body);
    out
}

fn tool(tool: &ir::Tool) -> Option<Tool<'_>> {
    match tool {
        ir::Tool::Function { name, description, parameters, .. } => Some(Tool {
            r#type: "function",
            function: Function {
                name,
                description: description.as_deref(),
                parameters: parameters.as_ref(),
            },
        }),
        // Refused.
        ir::Tool::Foreign { .. } => None,
    }
}

/// The format has one switch for all tools.
fn is_strict(request: &Request) -> bool {
    matches!(request.tools.first(), Some(ir::Tool::Function { strict: Some(true), .. }))
}

fn response_format(form: &Form) -> ResponseFormat<'_> {
    let json_schema = match form {
        Form::Json => None,
        Form::Schema { schema, .. } => Some(schema),
    };
    ResponseFormat { r#type: "json_object", json_schema }
}

fn thinking(mode: ThinkingMode) -> Thinking {
    match mode {
        ThinkingMode::Disabled | ThinkingMode::BetweenTools => {
            Thinking { r#type: "disabled", token_budget: None }
        }
        ThinkingMode::Adaptive => Thinking { r#type: "enabled", token_budget: None },
        ThinkingMode::Budget(budget) => Thinking { r#type: "enabled", token_budget: Some(budget) },
    }
}

fn messages(request: &Request) -> Vec<Message<'_>> {
    let mut messages = Vec::new();
    put_message("system", &request.system, &mut messages);
    for turn in &request.turns {
        let role = match turn.role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
        };
        put_message(role, &turn.blocks, &mut messages);
    }
    messages
}

/// Writes a message for each tool result, and one for all other blocks of a turn.
fn put_message<'r>(role: &'static str, blocks: &'r [Block], out: &mut Vec<Message<'r>>) {
    // Reasoning before a call is the call's plan.
    let has_calls = blocks.iter().any(|block| matches!(block.content, Content::ToolCall { .. }));
    let (mut content, mut plan, mut tool_calls) = (Vec::new(), String::new(), Vec::new());
    for block in blocks {
        match &block.content {
            Content::Text { text, .. } | Content::Refusal(text) => {
                content.push(Part::Text { text });
            }
            Content::Media(media) => content.extend(image(media)),
            Content::Reasoning { text } if has_calls => plan.push_str(text),
            Content::Reasoning { text } => content.push(Part::Thinking { thinking: text }),
            Content::ToolCall { id, name, arguments } => tool_calls.push(ToolCall {
                id: id.as_deref().unwrap_or_default(),
                r#type: "function",
                function: FunctionCall { name, arguments },
            }),
            Content::ToolResult(result) => out.push(tool_message(result)),
            // Refused.
            Content::Foreign { .. } => {}
        }
    }
    if !content.is_empty() || has_calls {
        out.push(Message {
            role,
            tool_call_id: None,
            tool_plan: Some(plan).filter(|plan| !plan.is_empty()),
            tool_calls,
            content: Some(content).filter(|content| !content.is_empty()),
        });
    }
}

fn tool_message(result: &ToolResult) -> Message<'_> {
    let texts = result.content.iter().filter_map(|block| match &block.content {
        Content::Text { text, .. } => Some(Part::Text { text }),
        // Refused.
        _ => None,
    });
    let mut content: Vec<_> = texts.collect();
    if content.is_empty() {
        // The API requires content.
        content.push(Part::Text { text: "" });
    }
    let (tool_call_id, content) = (Some(result.id.as_str()), Some(content));
    Message { role: "tool", tool_call_id, content, ..Message::default() }
}

/// Returns `None` for a document, which is not part of the conversation.
fn image(media: &Media) -> Option<Part<'_>> {
    let url = match (media.kind, &media.source) {
        (MediaKind::Image, Source::Base64 { media_type, data }) => {
            Cow::Owned(format!("data:{media_type};base64,{data}"))
        }
        (MediaKind::Image, Source::Url { url, .. }) => Cow::Borrowed(url.as_str()),
        (MediaKind::Image | MediaKind::Document | MediaKind::Audio | MediaKind::Video, _) => {
            return None;
        }
    };
    Some(Part::ImageUrl { image_url: ImageUrl { url, detail: media.detail.as_deref() } })
}

fn documents(request: &Request) -> Vec<Document<'_>> {
    let turns = request.turns.iter().flat_map(|turn| &turn.blocks);
    let blocks = request.system.iter().chain(turns);
    let documents = blocks.filter_map(|block| match &block.content {
        Content::Media(Media { source: Source::Text(text), name, .. }) => {
            Some(Document { data: DocumentData { text, title: name.as_deref() } })
        }
        _ => None,
    });
    documents.collect()
}
