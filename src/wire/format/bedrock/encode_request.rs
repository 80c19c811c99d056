//! Prints a fitted request for a provider.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::media;
use super::model::Model;
use super::signature::as_redacted;
use super::types::{
    Body, CachePoint, CitedText, ContentBlock, InferenceConfig, InputSchema, MediaSource, Message,
    OutputConfig, ReasoningContent, ServiceTier, TextFormat, TextStructure, Tool, ToolChoice,
    ToolConfig, ToolInput,
};
use crate::wire::format::quirks::Quirks;
use crate::wire::ir;
use crate::wire::ir::{
    Block, Cache, Choice, Content, Effort, Form, Media, MediaKind, Request, Role, Signature,
    Source, ThinkingMode, Tier, ToolResult, Turn,
};
use crate::wire::json::write::put;

/// Writes a request that `fit` has fitted. The path has the model and whether to stream.
pub fn encode_request(request: &Request, _quirks: &Quirks) -> Vec<u8> {
    let model = Model::by_id(&request.model);
    let body = Body {
        messages: request.turns.iter().map(message).collect(),
        system: content_blocks(&request.system),
        inference_config: InferenceConfig {
            max_tokens: request.max_tokens,
            temperature: request.sampling.temperature.as_ref(),
            top_p: request.sampling.top_p.as_ref(),
            stop_sequences: &request.stop,
        },
        tool_config: tool_config(request),
        additional_model_request_fields: additional_fields(request, &model),
        output_config: OutputConfig {
            text_format: text_format(request.form.as_ref()),
            effort: effort(request).filter(|_| matches!(model, Model::Claude(..))),
        },
        request_metadata: request.metadata.as_ref().filter(|metadata| !metadata.is_empty()),
        service_tier: request.tier.as_ref().map(|tier| ServiceTier { r#type: tier_word(tier) }),
    };
    let mut out = Vec::with_capacity(4096);
    put(&mut out, &body);
    out
}

fn message(turn: &Turn) -> Message<'_> {
    let role = match turn.role {
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::System => "system",
    };
    Message { role, content: content_blocks(&turn.blocks) }
}

fn content_blocks(blocks: &[Block]) -> Vec<ContentBlock<'_>> {
    let mut content = Vec::with_capacity(blocks.len());
    for block in blocks {
        content.extend(content_block(block));
        content.extend(block.cache.as_ref().map(cache_point).map(ContentBlock::CachePoint));
    }
    content
}

/// Returns `None` for a block that a fitted request does not contain.
fn content_block(block: &Block) -> Option<ContentBlock<'_>> {
    Some(match &block.content {
        Content::Text { text, citations } if !citations.is_empty() => {
            ContentBlock::CitationsContent {
                content: vec![CitedText { text: text.into() }],
                citations: citations.iter().map(Cow::Borrowed).collect(),
            }
        }
        Content::Text { text, .. } | Content::Refusal(text) => ContentBlock::Text(text.into()),
        Content::Media(media) => media_block(media)?,
        Content::ToolCall { id, name, arguments } => ContentBlock::ToolUse {
            tool_use_id: id.as_deref()?.into(),
            name: name.into(),
            input: ToolInput(arguments.into()),
        },
        Content::ToolResult(ToolResult { id, content, is_error, name: _ }) => {
            ContentBlock::ToolResult {
                tool_use_id: id,
                content: content_blocks(content),
                status: is_error.then_some("error"),
            }
        }
        Content::Reasoning { text } => {
            ContentBlock::ReasoningContent(reasoning(text, block.signature.as_ref()?))
        }
        Content::Foreign { json, .. } => ContentBlock::Foreign(Cow::Borrowed(json)),
    })
}

fn reasoning<'r>(text: &'r str, signature: &'r Signature) -> ReasoningContent<'r> {
    match as_redacted(signature) {
        Some(data) => ReasoningContent::RedactedContent(data.into()),
        None => ReasoningContent::ReasoningText {
            text: text.into(),
            signature: Some((&signature.data).into()),
        },
    }
}

fn media_block(media: &Media) -> Option<ContentBlock<'_>> {
    let format = media::format(media)?;
    let source = match &media.source {
        Source::Base64 { data, .. } => MediaSource::Bytes(data.into()),
        // As bytes: only models that cite take `text`.
        Source::Text(text) => MediaSource::Bytes(STANDARD.encode(text).into()),
        Source::Url { url: uri, .. } => MediaSource::S3Location { uri },
        Source::File { .. } => return None,
    };
    Some(match media.kind {
        MediaKind::Image => ContentBlock::Image { format, source },
        MediaKind::Document => {
            let name = media.name.as_deref().unwrap_or_default();
            ContentBlock::Document { format, name, source }
        }
        MediaKind::Audio => ContentBlock::Audio { format, source },
        MediaKind::Video => ContentBlock::Video { format, source },
    })
}

fn cache_point(cache: &Cache) -> CachePoint<'_> {
    CachePoint { r#type: "default", ttl: cache.ttl.as_deref() }
}

fn tool_config(request: &Request) -> Option<ToolConfig<'_>> {
    if request.tools.is_empty() {
        return None;
    }
    let mut tools = Vec::with_capacity(request.tools.len());
    for tool in &request.tools {
        let (name, description, json, strict, cache) = match tool {
            ir::Tool::Function { name, description, parameters, strict, cache, at: _ } => {
                (name, description, parameters, strict, cache)
            }
            ir::Tool::Foreign { json, .. } => {
                tools.push(Tool::Foreign(json));
                continue;
            }
        };
        tools.push(Tool::Function {
            name,
            description: description.as_deref().filter(|text| !text.is_empty()),
            input_schema: InputSchema { json: json.as_ref() },
            strict: strict.filter(|strict| *strict),
        });
        tools.extend(cache.as_ref().map(cache_point).map(Tool::CachePoint));
    }
    let tool_choice = request.choice.as_ref().and_then(|choice| match choice {
        Choice::Auto => Some(ToolChoice::Auto {}),
        Choice::Any => Some(ToolChoice::Any {}),
        Choice::Tool(name) => Some(ToolChoice::Tool { name }),
        // Expressed by the tools that are offered.
        Choice::None | Choice::AnyOf(_) => None,
    });
    Some(ToolConfig { tools, tool_choice })
}

/// Returns the settings for which the format has no field, in the fields of the model's family.
fn additional_fields(request: &Request, model: &Model) -> Map<String, Value> {
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| fields.insert(name.to_owned(), value);
    let top_k = request.sampling.top_k.as_ref();
    match model {
        Model::Claude(..) => {
            top_k.map(|top_k| put("top_k", json!(top_k)));
            request.thinking_mode.map(|mode| put("thinking", claude_thinking(mode, request)));
        }
        Model::Nova(_) => {
            top_k.map(|top_k| put("inferenceConfig", json!({ "topK": top_k })));
            effort(request).map(|effort| put("reasoningConfig", nova_reasoning(effort)));
        }
        Model::GptOss => {
            effort(request).map(|effort| put("reasoning_effort", json!(effort)));
        }
        Model::OpenWithSchemas | Model::Other => {}
    }
    fields
}

fn claude_thinking(mode: ThinkingMode, request: &Request) -> Value {
    let mut thinking = match mode {
        ThinkingMode::Disabled => json!({ "type": "disabled" }),
        ThinkingMode::BetweenTools => json!({ "type": "between_tools" }),
        ThinkingMode::Adaptive => json!({ "type": "adaptive" }),
        ThinkingMode::Budget(budget) => json!({ "type": "enabled", "budget_tokens": budget }),
    };
    if let Some(shown) = request.thinking.as_ref().and_then(|thinking| thinking.shown) {
        thinking["display"] = json!(if shown { "summarized" } else { "omitted" });
    }
    thinking
}

fn nova_reasoning(effort: &str) -> Value {
    match effort {
        "none" => json!({ "type": "disabled" }),
        effort => json!({ "type": "enabled", "maxReasoningEffort": effort }),
    }
}

fn effort(request: &Request) -> Option<&'static str> {
    request.thinking.as_ref()?.effort.map(Effort::word)
}

fn text_format(form: Option<&Form>) -> Option<TextFormat<'_>> {
    match form? {
        Form::Schema { name, description, schema, strict: _ } => {
            let structure = TextStructure::JsonSchema {
                name: name.as_deref().unwrap_or_default(),
                schema: schema.to_string(),
                description: description.as_deref(),
            };
            Some(TextFormat { r#type: "json_schema", structure })
        }
        // A tool by now.
        Form::Json => None,
    }
}

fn tier_word(tier: &Tier) -> &str {
    match tier {
        Tier::Auto | Tier::Standard => "default",
        Tier::Flex => "flex",
        Tier::Priority => "priority",
        Tier::Other(word) => word,
    }
}
