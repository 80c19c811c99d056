//! Prints a fitted request.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::media::{audio_format, data_url, google_signature};
use super::types;
use super::types::{
    Audio, CalledFunction, Content as MessageContent, File, Function, JsonSchema, Message, Part,
    ResponseFormat, ThinkingText, ToolCall, Url,
};
use crate::wire::api::Format;
use crate::wire::format::quirks::{Documents, Quirks, ReasoningHistory};
use crate::wire::ir::{
    Block, Choice, Content, Effort, Form, Media, MediaKind, Request, Role, Source, Tier, Tool, Turn,
};
use crate::wire::json::write::Object;

/// The name of a schema for which the caller has none: the API demands one.
const UNNAMED_SCHEMA: &str = "answer";

/// Writes the body for a vendor. The request must be fitted: what the vendor does not take is skipped.
pub fn encode_request(request: &Request, quirks: &Quirks) -> Vec<u8> {
    let mut out = Vec::new();
    let mut body = Object::new(&mut out);
    body.put("model", &request.model).put("messages", &messages(request, quirks));
    if !request.tools.is_empty() {
        body.put("tools", &request.tools.iter().map(tool).collect::<Vec<_>>());
    }
    let choice = request.choice.as_ref().and_then(|choice| tool_choice(choice, quirks));
    let sampling = &request.sampling;
    let candidates = request.candidates.filter(|count| *count > 1);
    let logprobs = request.logprobs;
    body.put_some("tool_choice", choice.as_ref())
        .put_some("parallel_tool_calls", request.parallel.as_ref())
        .put_some("response_format", request.form.as_ref().map(response_format).as_ref())
        .put_some(quirks.max_tokens, request.max_tokens.as_ref())
        .put_some("n", candidates.as_ref())
        .put_some("logprobs", logprobs.map(|_| true).as_ref())
        .put_some("top_logprobs", logprobs.and_then(|logprobs| logprobs.top).as_ref())
        .put_some("stop", Some(&request.stop).filter(|stop| !stop.is_empty()))
        .put_some("temperature", sampling.temperature.as_ref())
        .put_some("top_p", sampling.top_p.as_ref())
        .put_some("top_k", sampling.top_k.as_ref())
        .put_some(quirks.seed.unwrap_or("seed"), sampling.seed.as_ref())
        .put_some("frequency_penalty", sampling.frequency_penalty.as_ref())
        .put_some("presence_penalty", sampling.presence_penalty.as_ref());
    put_thinking(&mut body, request, quirks);
    body.put_some("user", request.user.as_ref())
        .put_some("prompt_cache_key", request.cache_key.as_ref())
        .put_some("service_tier", request.tier.as_ref().and_then(service_tier));
    if request.stream {
        body.put("stream", &true);
        if quirks.requests_stream_usage {
            // Always: a caller that did not request it does not get it.
            body.put("stream_options", &json!({ "include_usage": true }));
        }
    }
    body.end();
    out
}

fn put_thinking(body: &mut Object<'_>, request: &Request, quirks: &Quirks) {
    let Some(thinking) = &request.thinking else { return };
    let effort = thinking.effort;
    if quirks.thinking_switch {
        let kind = if effort == Some(Effort::None) { "disabled" } else { "enabled" };
        body.put("thinking", &json!({ "type": kind }));
    }
    let is_switched_off = quirks.thinking_switch && effort == Some(Effort::None);
    let word = effort.filter(|_| !is_switched_off).map(Effort::word);
    body.put_some("reasoning_effort", word);
}

fn service_tier(tier: &Tier) -> Option<&'static str> {
    match tier {
        Tier::Auto => Some("auto"),
        Tier::Standard => Some("default"),
        Tier::Flex => Some("flex"),
        Tier::Priority => Some("priority"),
        Tier::Other(_) => None,
    }
}

fn tool(tool: &Tool) -> types::Tool<'_> {
    match tool {
        Tool::Function { name, description, parameters, strict, cache: _, at: _ } => {
            // Mistral and others demand a schema even without parameters.
            let none = || Cow::Owned(json!({ "type": "object", "properties": {} }));
            types::Tool::Function {
                r#type: "function",
                function: Function {
                    name,
                    description: description.as_deref(),
                    parameters: parameters.as_ref().map_or_else(none, Cow::Borrowed),
                    strict: *strict,
                },
            }
        }
        // Only this format's own after `fit`.
        Tool::Foreign { json, .. } => types::Tool::Foreign(json),
    }
}

fn tool_choice(choice: &Choice, quirks: &Quirks) -> Option<Value> {
    let function = |name: &String| json!({ "type": "function", "function": { "name": name } });
    Some(match choice {
        Choice::Auto => "auto".into(),
        Choice::None => "none".into(),
        Choice::Any => quirks.required_choice?.into(),
        Choice::Tool(name) => function(name),
        Choice::AnyOf(names) => {
            let tools: Vec<Value> = names.iter().map(function).collect();
            let allowed = json!({ "mode": "required", "tools": tools });
            json!({ "type": "allowed_tools", "allowed_tools": allowed })
        }
    })
}

fn response_format(form: &Form) -> ResponseFormat<'_> {
    match form {
        Form::Json => ResponseFormat::JsonObject,
        Form::Schema { name, description, schema, strict } => ResponseFormat::JsonSchema {
            json_schema: JsonSchema {
                name: name.as_deref().unwrap_or(UNNAMED_SCHEMA),
                description: description.as_deref(),
                schema,
                strict: *strict,
            },
        },
    }
}

fn messages<'r>(request: &'r Request, quirks: &Quirks) -> Vec<Message<'r>> {
    let mut messages = Vec::with_capacity(request.turns.len() + 1);
    messages.extend(message("system", None, &request.system, quirks));
    for turn in &request.turns {
        let name = turn.name.as_deref();
        match turn.role {
            Role::User => {
                messages.extend(turn.blocks.iter().filter_map(tool_message));
                messages.extend(message("user", name, &turn.blocks, quirks));
            }
            Role::System => messages.extend(message("system", name, &turn.blocks, quirks)),
            Role::Assistant => messages.push(assistant_message(turn, quirks)),
        }
    }
    if request.turns.last().is_some_and(|turn| turn.role == Role::Assistant)
        && let Some(last) = messages.last_mut()
    {
        last.prefix = quirks.prefix;
    }
    messages
}

/// Returns a message of the blocks' parts; `None` if there are none.
fn message<'r>(
    role: &'static str,
    name: Option<&'r str>,
    blocks: &'r [Block],
    quirks: &Quirks,
) -> Option<Message<'r>> {
    let parts: Vec<Part<'_>> = blocks.iter().filter_map(|block| part(block, quirks)).collect();
    let content = (!parts.is_empty()).then(|| Some(content_of(parts)))?;
    Some(Message { role, content: Some(content), name, ..Message::default() })
}

/// The content is text only: `fit` has moved everything else out.
fn tool_message(block: &Block) -> Option<Message<'_>> {
    let Content::ToolResult(result) = &block.content else { return None };
    let texts = result.content.iter().filter_map(|part| match &part.content {
        Content::Text { text, .. } => Some(Part::Text { text }),
        _ => None,
    });
    let texts: Vec<Part<'_>> = texts.collect();
    let content = if texts.is_empty() { MessageContent::Text("") } else { content_of(texts) };
    let (content, tool_call_id) = (Some(Some(content)), Some(result.id.as_str()));
    Some(Message { role: "tool", content, tool_call_id, ..Message::default() })
}

fn assistant_message<'r>(turn: &'r Turn, quirks: &Quirks) -> Message<'r> {
    let name = turn.name.as_deref();
    let mut message = Message { role: "assistant", name, ..Message::default() };
    let mut parts = Vec::new();
    for block in &turn.blocks {
        match &block.content {
            Content::Text { text, .. } => parts.push(Part::Text { text }),
            Content::Refusal(text) => message.refusal.get_or_insert_default().push_str(text),
            Content::Reasoning { text } => {
                put_reasoning(text, quirks.reasoning, &mut message, &mut parts);
                if let Some(signature) = &block.signature {
                    message.reasoning_details = reasoning_details(&signature.data, text);
                }
            }
            Content::ToolCall { id, name, arguments } => {
                message.tool_calls.push(ToolCall::Function {
                    id: id.as_deref().unwrap_or_default(),
                    r#type: "function",
                    function: CalledFunction { name, arguments },
                    extra_content: block.signature.as_ref().map(google_signature),
                });
            }
            Content::Foreign { format: Format::OpenAiChat, json } => {
                message.tool_calls.push(ToolCall::Foreign(json));
            }
            // Refused by `fit`.
            Content::Foreign { .. } | Content::Media(_) | Content::ToolResult(_) => {}
        }
    }
    if let ReasoningHistory::RequiredMember(_) = quirks.reasoning
        && !message.tool_calls.is_empty()
    {
        message.reasoning_content.get_or_insert_default();
    }
    let has_other_content = message.refusal.is_some() || !message.tool_calls.is_empty();
    message.content = match parts.is_empty() {
        true if has_other_content => Some(None),
        true => Some(Some(MessageContent::Text(""))),
        false => Some(Some(content_of(parts))),
    };
    message
}

fn put_reasoning<'r>(
    text: &'r str,
    place: ReasoningHistory,
    message: &mut Message<'r>,
    parts: &mut Vec<Part<'r>>,
) {
    match place {
        _ if text.is_empty() => {}
        ReasoningHistory::Member("reasoning") => {
            message.reasoning.get_or_insert_default().push_str(text);
        }
        ReasoningHistory::Member(_) | ReasoningHistory::RequiredMember(_) => {
            message.reasoning_content.get_or_insert_default().push_str(text);
        }
        ReasoningHistory::Part => {
            parts.push(Part::Thinking { thinking: [ThinkingText { r#type: "text", text }] });
        }
        // Left out by `fit`.
        ReasoningHistory::Dropped => {}
    }
}

/// Returns OpenRouter's signed details as they came. A detail that was sent apart from its text gets the text
/// back.
fn reasoning_details(data: &str, text: &str) -> Option<Value> {
    let mut details: Value = serde_json::from_str(data).ok()?;
    for detail in details.as_array_mut()? {
        let has_text = detail.get("type").and_then(Value::as_str) == Some("reasoning.text");
        if let Some(members) = detail.as_object_mut().filter(|_| has_text)
            && members.get("text").and_then(Value::as_str).is_none_or(str::is_empty)
        {
            members.insert("text".to_owned(), text.into());
        }
    }
    Some(details)
}

/// Writes a single text as a string, which all servers support.
fn content_of(parts: Vec<Part<'_>>) -> MessageContent<'_> {
    match parts[..] {
        [Part::Text { text }] => MessageContent::Text(text),
        _ => MessageContent::Parts(parts),
    }
}

fn part<'r>(block: &'r Block, quirks: &Quirks) -> Option<Part<'r>> {
    match &block.content {
        Content::Text { text, .. } => Some(Part::Text { text }),
        Content::Media(media) => media_part(media, quirks),
        // A result is a message of its own; `fit` has rewritten or refused the others.
        Content::ToolResult(_)
        | Content::Refusal(_)
        | Content::Reasoning { .. }
        | Content::ToolCall { .. }
        | Content::Foreign { .. } => None,
    }
}

fn media_part<'r>(media: &'r Media, quirks: &Quirks) -> Option<Part<'r>> {
    let image = |url| {
        let detail = media.detail.as_deref();
        Part::ImageUrl { image_url: Url { url, detail } }
    };
    Some(match (media.kind, &media.source) {
        (_, Source::Text(text)) => Part::Text { text },
        (MediaKind::Image, Source::Base64 { media_type, data }) => {
            image(data_url(media_type, data).into())
        }
        (MediaKind::Image, Source::Url { url, .. }) => image(url.into()),
        (MediaKind::Audio, Source::Base64 { media_type, data }) => {
            Part::InputAudio { input_audio: Audio { data, format: audio_format(media_type)? } }
        }
        (MediaKind::Document, Source::Base64 { media_type, data }) => {
            let url = data_url(media_type, data);
            if quirks.documents == Documents::Urls {
                Part::DocumentUrl { document_url: url.into() }
            } else {
                // The file's name is required beside its data.
                let filename = Some(media.name.as_deref().unwrap_or("document.pdf"));
                Part::File { file: File { filename, file_data: Some(url), file_id: None } }
            }
        }
        (MediaKind::Document, Source::Url { url, .. }) => {
            Part::DocumentUrl { document_url: url.into() }
        }
        (MediaKind::Document, Source::File { id, .. }) => {
            Part::File { file: File { filename: None, file_data: None, file_id: Some(id) } }
        }
        // Refused by `fit`.
        (MediaKind::Audio | MediaKind::Video, _) | (MediaKind::Image, Source::File { .. }) => {
            return None;
        }
    })
}
