//! Writing a whole answer for a caller, and what a stream has in common with it.
//! <https://platform.claude.com/docs/en/api/messages/create>

use serde_json::Value;

use crate::wire::api::Format;
use crate::wire::format::context::ResponseContext;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::{Block, Content, Response, Stop};

use crate::wire::format::anthropic::{signature, stop_reason};
use crate::wire::json::write::{List, Object, put};

/// Writes a whole answer for the caller. Of several candidates the first: the format has one.
pub fn encode_whole(reply: &Response, shown: &ResponseContext) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    let mut message = Object::new(&mut out);
    if let Some(told) = &reply.failed {
        message.raw("type", r#""error""#);
        let mut error = message.object("error");
        error.put("type", stop_reason::error_type(told)).put("message", &told.message);
        error.end();
        message.end();
        return out;
    }
    head(&mut message, reply.id.as_deref(), reply.model.as_deref(), shown);
    let mut content = message.list("content");
    let first = reply.candidates.first();
    let (mut calls, mut refused) = (0, false);
    for block in first.map(|first| &*first.blocks).unwrap_or_default() {
        calls += u32::from(matches!(block.content, Content::ToolCall { .. }));
        refused |= matches!(block.content, Content::Refusal(_));
        write_block(block, shown, calls, &mut content);
    }
    content.end();
    let why = first.and_then(|first| first.stop);
    message.put("stop_reason", &why.map(|why| stop_reason(why, refused, calls > 0)));
    message.put("stop_sequence", &first.and_then(|first| first.sequence.as_deref()));
    usage(message.object("usage"), &reply.usage, reply.tier.as_deref());
    message.end();
    out
}

/// The members before the content. The id is the provider's, where it gave one.
pub(crate) fn head(
    message: &mut Object<'_>,
    id: Option<&str>,
    model: Option<&str>,
    shown: &ResponseContext,
) {
    match id {
        Some(id) => message.put("id", id),
        None => message.put("id", &format!("msg_{}", shown.id)),
    };
    message.raw("type", r#""message""#).raw("role", r#""assistant""#);
    message.put("model", model.unwrap_or(&shown.model));
}

/// A call's id: the provider's, or one of ours, the same for the same call.
pub(crate) fn call_id(
    block: &mut Object<'_>,
    id: Option<&str>,
    shown: &ResponseContext,
    calls: u32,
) {
    match id {
        Some(id) => block.put("id", id),
        None => block.put("id", &format!("call_{}_{}", shown.id, calls.saturating_sub(1))),
    };
}

/// Clients go by the reason: to one that runs tools an answer with calls is not over, and a refusal is one
/// whatever the provider calls its end.
pub(crate) fn stop_reason(why: Stop, refused: bool, calls: bool) -> &'static str {
    stop_reason::write(match why {
        Stop::End if calls => Stop::Calls,
        Stop::End if refused => Stop::Refusal,
        why => why,
    })
}

/// A usage as it stands in a message: both counts must be numbers.
pub(crate) fn usage(mut object: Object<'_>, usage: &Usage, tier: Option<&str>) {
    object.put("input_tokens", &own_input(usage).unwrap_or(0));
    shares(&mut object, usage);
    let tier = tier.and_then(|tier| match tier {
        "default" | "standard" => Some("standard"),
        "priority" => Some("priority"),
        "batch" => Some("batch"),
        _ => None,
    });
    object.put_some("service_tier", tier);
    object.end();
}

/// A usage as it stands in `message_delta`: what is `null` there leaves what the beginning told.
pub(crate) fn last_usage(mut object: Object<'_>, usage: &Usage) {
    object.put("input_tokens", &own_input(usage));
    shares(&mut object, usage);
    object.end();
}

fn shares(object: &mut Object<'_>, usage: &Usage) {
    object.put("cache_creation_input_tokens", &usage.cache_write);
    object.put("cache_read_input_tokens", &usage.cached_input);
    object.put("output_tokens", &usage.output.unwrap_or(0));
    if let Some(reasoning) = usage.reasoning {
        let mut details = object.object("output_tokens_details");
        details.put("thinking_tokens", &reasoning);
        details.end();
    }
}

/// Prompt tokens in the API's accounting, which leaves out those of the cache.
fn own_input(usage: &Usage) -> Option<u64> {
    let beside = usage.cached_input.unwrap_or(0).saturating_add(usage.cache_write.unwrap_or(0));
    Some(usage.input?.saturating_sub(beside))
}

/// Whether a citation has the form of this API's: each of its kinds is a place in something.
pub(crate) fn is_own_citation(citation: &Value) -> bool {
    let kind = citation.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| kind.ends_with("_location"))
}

fn write_block(block: &Block, shown: &ResponseContext, calls: u32, out: &mut List<'_>) {
    match &block.content {
        Content::Text { text, citations } => {
            let mut object = out.object();
            object.raw("type", r#""text""#).put("text", text);
            let own = || citations.iter().filter(|citation| is_own_citation(citation));
            if own().next().is_some() {
                let mut list = object.list("citations");
                own().for_each(|citation| put(list.element(), citation));
                list.end();
            }
            object.end();
        }
        Content::Refusal(text) => {
            let mut object = out.object();
            object.raw("type", r#""text""#).put("text", text);
            object.end();
        }
        Content::ToolCall { id, name, arguments } => {
            let mut object = out.object();
            object.raw("type", r#""tool_use""#);
            call_id(&mut object, id.as_deref(), shown, calls);
            object.put("name", name);
            match arguments.trim() {
                "" => object.raw("input", "{}"),
                json if is_json(json) => object.raw("input", json),
                damaged => object.put("input", damaged),
            };
            object.end();
        }
        Content::Reasoning { text } => {
            write_thought(text, block, out);
            return;
        }
        Content::Foreign { format: Format::Anthropic, json } => put(out.element(), json),
        Content::Foreign { .. } | Content::Media(_) | Content::ToolResult(_) => return,
    }
    if let Some(signature) =
        block.signature.as_ref().filter(|signature| signature.format != Format::Anthropic)
    {
        let mut object = out.object();
        object.raw("type", r#""thinking""#).raw("thinking", r#""""#);
        object.put("signature", &signature::write(signature, true));
        object.end();
    }
}

fn write_thought(text: &str, block: &Block, out: &mut List<'_>) {
    if text.is_empty() && block.signature.is_none() {
        return;
    }
    let mut object = out.object();
    match block.signature.as_ref().and_then(signature::as_redacted) {
        Some(data) if text.is_empty() => {
            object.raw("type", r#""redacted_thinking""#).put("data", data);
        }
        _ => {
            let signature =
                block.signature.as_ref().map(|signature| signature::write(signature, false));
            object.raw("type", r#""thinking""#).put("thinking", text);
            object.put("signature", &signature.unwrap_or_default());
        }
    }
    object.end();
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests;
