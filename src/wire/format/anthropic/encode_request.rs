//! Prints a fitted request for a provider.

use std::borrow::Cow;

use super::signature;
use super::types::{
    Body, CacheControl, ContentBlock, Input, Message, Metadata, OutputConfig, OutputFormat,
    ResultContent, Source, Thinking, Tool, ToolChoice,
};
use crate::wire::format::quirks::Quirks;
use crate::wire::ir;
use crate::wire::ir::{
    Block, Cache, Choice, Content, Effort, Form, Media, MediaKind, Request, Role, ThinkingMode,
    Tier, ToolResult,
};
use crate::wire::json::write::put;

/// Writes a request that `fit` has fitted.
pub fn encode_request(request: &Request, _quirks: &Quirks) -> Vec<u8> {
    let sampling = &request.sampling;
    let body = Body {
        model: &request.model,
        stream: request.stream,
        max_tokens: request.max_tokens,
        tools: request.tools.iter().map(tool).collect(),
        tool_choice: tool_choice(request),
        system: request.system.iter().filter_map(content_block).collect(),
        messages: request.turns.iter().map(message).collect(),
        thinking: thinking(request),
        output_config: output_config(request),
        temperature: sampling.temperature.as_ref(),
        top_p: sampling.top_p.as_ref(),
        top_k: sampling.top_k.as_ref(),
        stop_sequences: &request.stop,
        metadata: request.user.as_deref().map(|user_id| Metadata { user_id }),
        service_tier: match &request.tier {
            Some(Tier::Auto) => Some("auto"),
            Some(Tier::Standard) => Some("standard_only"),
            Some(Tier::Flex | Tier::Priority | Tier::Other(_)) | None => None,
        },
    };
    let mut out = Vec::with_capacity(4096);
    put(&mut out, &body);
    out
}

fn tool(tool: &ir::Tool) -> Tool<'_> {
    match tool {
        ir::Tool::Function { name, description, parameters, strict, cache, at: _ } => {
            Tool::Custom {
                name,
                description: description.as_deref(),
                input_schema: parameters.as_ref(),
                strict: strict.filter(|strict| *strict),
                cache_control: cache_control(cache.as_ref()),
            }
        }
        ir::Tool::Foreign { json, .. } => Tool::Server(json),
    }
}

fn tool_choice(request: &Request) -> Option<ToolChoice<'_>> {
    let (kind, name) = match request.choice.as_ref()? {
        Choice::Auto => ("auto", None),
        Choice::Any | Choice::AnyOf(_) => ("any", None),
        Choice::None => ("none", None),
        Choice::Tool(name) => ("tool", Some(name.as_str())),
    };
    let disable_parallel_tool_use = request.parallel == Some(false);
    Some(ToolChoice { kind, name, disable_parallel_tool_use })
}

fn thinking(request: &Request) -> Option<Thinking> {
    let (kind, budget_tokens) = match request.thinking_mode? {
        ThinkingMode::Disabled => ("disabled", None),
        ThinkingMode::BetweenTools => ("between_tools", None),
        ThinkingMode::Adaptive => ("adaptive", None),
        ThinkingMode::Budget(budget) => ("enabled", Some(budget)),
    };
    let shown = request.thinking.as_ref().and_then(|thinking| thinking.shown);
    let display = shown.map(|shown| if shown { "summarized" } else { "omitted" });
    Some(Thinking { kind, budget_tokens, display })
}

fn output_config(request: &Request) -> OutputConfig<'_> {
    let effort = request.thinking.as_ref().and_then(|thinking| thinking.effort);
    let format = match &request.form {
        Some(Form::Schema { schema, .. }) => Some(OutputFormat::JsonSchema { schema }),
        // A tool by now.
        Some(Form::Json) | None => None,
    };
    OutputConfig { effort: effort.map(Effort::word), format }
}

fn message(turn: &ir::Turn) -> Message<'_> {
    let role = match turn.role {
        Role::Assistant => "assistant",
        Role::User | Role::System => "user",
    };
    Message { role, content: turn.blocks.iter().filter_map(content_block).collect() }
}

/// Returns `None` for a block that a fitted request does not contain.
fn content_block(block: &Block) -> Option<ContentBlock<'_>> {
    let cache_control = cache_control(block.cache.as_ref());
    Some(match &block.content {
        Content::Text { text, citations } => ContentBlock::Text {
            text: text.into(),
            citations: citations.iter().map(Cow::Borrowed).collect(),
            cache_control,
        },
        Content::Refusal(text) => {
            ContentBlock::Text { text: text.into(), citations: Vec::new(), cache_control }
        }
        Content::Media(media) => media_block(media, cache_control)?,
        Content::ToolCall { id, name, arguments } => ContentBlock::ToolUse {
            id: id.as_deref()?.into(),
            name: name.into(),
            input: Input(arguments.into()),
            cache_control,
        },
        Content::ToolResult(result) => ContentBlock::ToolResult {
            tool_use_id: &result.id,
            is_error: result.is_error,
            content: result_content(result),
            cache_control,
        },
        Content::Reasoning { text } => {
            let signature = block.signature.as_ref()?;
            match signature::as_redacted(signature) {
                Some(data) => ContentBlock::RedactedThinking { data: data.into() },
                None => ContentBlock::Thinking {
                    thinking: text.into(),
                    signature: (&signature.data).into(),
                },
            }
        }
        Content::Foreign { json, .. } => ContentBlock::Foreign(Cow::Borrowed(json)),
    })
}

fn cache_control(cache: Option<&Cache>) -> Option<CacheControl<'_>> {
    cache.map(|cache| CacheControl { ttl: cache.ttl.as_deref() })
}

fn result_content(result: &ToolResult) -> Option<ResultContent<'_>> {
    match &*result.content {
        [] => None,
        [Block { content: Content::Text { text, .. }, cache: None, .. }] => {
            Some(ResultContent::Text(text))
        }
        blocks => Some(ResultContent::Blocks(blocks.iter().filter_map(content_block).collect())),
    }
}

fn media_block<'r>(
    media: &'r Media,
    cache_control: Option<CacheControl<'r>>,
) -> Option<ContentBlock<'r>> {
    let source = match &media.source {
        ir::Source::Base64 { media_type, data } => Source::Base64 { media_type, data },
        ir::Source::Url { url, .. } => Source::Url { url },
        ir::Source::File { id, .. } => Source::File { file_id: id },
        ir::Source::Text(text) => Source::Text { media_type: "text/plain", data: text },
    };
    match media.kind {
        MediaKind::Image => Some(ContentBlock::Image { source, cache_control }),
        MediaKind::Document => {
            Some(ContentBlock::Document { source, title: media.name.as_deref(), cache_control })
        }
        MediaKind::Audio | MediaKind::Video => None,
    }
}
