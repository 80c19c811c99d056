//! Decodes the messages and system blocks of a caller's request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::decode_cache_point;
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::format::bedrock::{media, signature};
use crate::wire::format::signature_transport;
use crate::wire::format::signature_transport::Carried;
use crate::wire::ir::{Block, Content, Media, MediaKind, Role, Source, ToolResult, Turn};
use crate::wire::json::fields::{Fields, Rejected, elements};

/// Features without a field in the hub, with their places.
type Asked = Vec<(Feature, String)>;

pub(super) fn system(body: &mut Fields, asked: &mut Asked) -> Result<Vec<Block>, Rejected> {
    let mut blocks = Vec::new();
    for (block, at) in body.list("system")? {
        push(block, at, &mut blocks, asked)?;
    }
    Ok(blocks)
}

pub(super) fn turns(body: &mut Fields, asked: &mut Asked) -> Result<Vec<Turn>, Rejected> {
    let mut turns = Vec::new();
    for (message, at) in body.list("messages")? {
        let mut message = Fields::new(message, at)?;
        let role = match &*message.needed_text("role")? {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(message.must("role", "must be user, assistant or system")),
        };
        let mut blocks = Vec::new();
        for (block, at) in message.list("content")? {
            push(block, at, &mut blocks, asked)?;
        }
        turns.push(Turn { role, name: None, blocks });
    }
    Ok(turns)
}

/// Adds a block; a cache point or a signature is added to the block before it.
fn push(
    value: Value,
    at: String,
    blocks: &mut Vec<Block>,
    asked: &mut Asked,
) -> Result<(), Rejected> {
    let mut fields = Fields::new(value, at)?;
    if let Some(point) = fields.fields("cachePoint")? {
        let point = decode_cache_point(point)?;
        if let Some(before) = blocks.last_mut() {
            before.cache = Some(point);
        }
        return Ok(());
    }
    let at = fields.place().to_owned();
    let mut signature = None;
    let content = if let Some(text) = fields.text("text")? {
        Content::text(text)
    } else if let Some(media) = decode_media(&mut fields, asked)? {
        Content::Media(media)
    } else if let Some(reasoning) = fields.fields("reasoningContent")? {
        let (text, carried) = decode_reasoning(reasoning)?;
        match (carried, blocks.last_mut()) {
            (Some(carried), Some(before))
                if carried.of_block_before && before.signature.is_none() =>
            {
                before.signature = Some(carried.signature);
                return Ok(());
            }
            (carried, _) => signature = carried.map(|carried| carried.signature),
        }
        Content::Reasoning { text }
    } else if let Some(cited) = fields.fields("citationsContent")? {
        decode_citations(cited)?
    } else if is_tool_call(&fields) {
        decode_tool_call(&mut fields)?
    } else if is_tool_result(&fields) {
        decode_tool_result(&mut fields, asked)?
    } else {
        if fields.has("guardContent") {
            asked.push((Feature::Guardrail, fields.at("guardContent")));
        }
        let json = fields.into_left();
        if json.values().all(Value::is_null) {
            return Err(Rejected::new(at, "must contain a block"));
        }
        Content::Foreign { format: Format::Bedrock, json: Value::Object(json) }
    };
    blocks.push(Block { signature, ..Block::new(content, at) });
    Ok(())
}

/// Tools that Bedrock runs itself have a `type`.
fn is_tool_call(fields: &Fields) -> bool {
    fields.peek("toolUse").is_some_and(|call| call["type"] != "server_tool_use")
}

fn is_tool_result(fields: &Fields) -> bool {
    fields.peek("toolResult").is_some_and(|result| result["type"].is_null())
}

fn decode_tool_call(fields: &mut Fields) -> Result<Content, Rejected> {
    let Some(mut call) = fields.fields("toolUse")? else {
        return Err(fields.must("toolUse", "is missing"));
    };
    let input = call.value("input").unwrap_or_else(|| json!({}));
    Ok(Content::ToolCall {
        id: Some(call.needed_text("toolUseId")?),
        name: call.needed_text("name")?,
        arguments: input.to_string(),
    })
}

fn decode_tool_result(fields: &mut Fields, asked: &mut Asked) -> Result<Content, Rejected> {
    let Some(mut result) = fields.fields("toolResult")? else {
        return Err(fields.must("toolResult", "is missing"));
    };
    let mut content = Vec::new();
    for (part, at) in result.list("content")? {
        let json = part.get("json").filter(|json| !json.is_null());
        if let Some(json) = json {
            content.push(Block::new(Content::text(json.to_string()), at));
        } else {
            push(part, at, &mut content, asked)?;
        }
    }
    Ok(Content::ToolResult(ToolResult {
        id: result.needed_text("toolUseId")?,
        name: None,
        content,
        is_error: result.text("status")?.is_some_and(|status| status == "error"),
    }))
}

fn decode_reasoning(mut reasoning: Fields) -> Result<(String, Option<Carried>), Rejected> {
    if let Some(data) = reasoning.text("redactedContent")? {
        let signature = signature::of_redacted(&data);
        return Ok((String::new(), Some(Carried { signature, of_block_before: false })));
    }
    let Some(mut text) = reasoning.fields("reasoningText")? else {
        return Err(reasoning.must("reasoningText", "is missing"));
    };
    let signature =
        text.text("signature")?.and_then(|text| signature_transport::read(Format::Bedrock, &text));
    Ok((text.text("text")?.unwrap_or_default(), signature))
}

fn decode_citations(mut cited: Fields) -> Result<Content, Rejected> {
    let mut text = String::new();
    for (part, at) in cited.list("content")? {
        text.push_str(&Fields::new(part, at)?.text("text")?.unwrap_or_default());
    }
    let citations = cited.list("citations")?.into_iter().map(|(citation, _)| citation).collect();
    Ok(Content::Text { text, citations })
}

fn decode_media(fields: &mut Fields, asked: &mut Asked) -> Result<Option<Media>, Rejected> {
    for (name, kind) in [
        ("image", MediaKind::Image),
        ("document", MediaKind::Document),
        ("audio", MediaKind::Audio),
        ("video", MediaKind::Video),
    ] {
        let Some(mut fields) = fields.fields(name)? else { continue };
        let media_type = match fields.text("format")? {
            None => None,
            Some(format) => match media::type_of_format(kind, &format) {
                Some(media_type) => Some(media_type.to_owned()),
                None => return Err(fields.must("format", format!("is not a format of {name}"))),
            },
        };
        let Some(source) = fields.fields("source")? else {
            return Err(fields.must("source", "is missing"));
        };
        let source = decode_source(source, kind, media_type, asked)?;
        if fields.value("context").is_some() {
            asked.push((Feature::ProviderFields, fields.at("context")));
        }
        if let Some(mut citations) = fields.fields("citations")?
            && citations.flag("enabled")? == Some(true)
        {
            asked.push((Feature::Citations, citations.place().to_owned()));
        }
        return Ok(Some(Media { kind, source, name: fields.text("name")?, detail: None }));
    }
    Ok(None)
}

fn decode_source(
    mut source: Fields,
    kind: MediaKind,
    media_type: Option<String>,
    asked: &mut Asked,
) -> Result<Source, Rejected> {
    if let Some(data) = source.text("bytes")? {
        let media_type = media_type.ok_or_else(|| source.must("bytes", "needs a format"))?;
        // More targets accept text than files.
        if kind == MediaKind::Document
            && media_type == "text/plain"
            && let Some(text) = STANDARD.decode(&data).ok().and_then(|b| String::from_utf8(b).ok())
        {
            return Ok(Source::Text(text));
        }
        return Ok(Source::Base64 { media_type, data });
    }
    if let Some(mut location) = source.fields("s3Location")? {
        if location.value("bucketOwner").is_some() {
            asked.push((Feature::ProviderFields, location.at("bucketOwner")));
        }
        return Ok(Source::Url { url: location.needed_text("uri")?, media_type });
    }
    if let Some(text) = source.text("text")? {
        return Ok(Source::Text(text));
    }
    if let Some(Value::Array(parts)) = source.value("content") {
        let mut texts = Vec::new();
        for (part, at) in elements(parts, &source.at("content")) {
            texts.push(Fields::new(part, at)?.needed_text("text")?);
        }
        return Ok(Source::Text(texts.join("\n")));
    }
    Err(Rejected::new(source.place(), "must have bytes, s3Location, text or content"))
}
