//! Messages and system blocks of a caller's body.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{cache, member};
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::format::bedrock::{REDACTED, media_types};
use crate::wire::format::signature_transport;
use crate::wire::format::signature_transport::Carried;
use crate::wire::ir::{
    Block, Content, Media, MediaKind, Role, Signature, Source, ToolResult, Turn,
};
use crate::wire::json::fields::{Fields, Rejected, elements};

type Asked = Vec<(Feature, String)>;

pub(crate) fn system(body: &mut Fields, asked: &mut Asked) -> Result<Vec<Block>, Rejected> {
    let mut blocks = Vec::new();
    for (block, at) in body.list("system")? {
        push(block, at, &mut blocks, asked)?;
    }
    Ok(blocks)
}

pub(crate) fn turns(body: &mut Fields, asked: &mut Asked) -> Result<Vec<Turn>, Rejected> {
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

/// Adds a block, or the mark that it is to the block before it.
fn push(
    value: Value,
    at: String,
    blocks: &mut Vec<Block>,
    asked: &mut Asked,
) -> Result<(), Rejected> {
    let mut fields = Fields::new(value, at)?;
    if let Some(mark) = fields.fields("cachePoint")? {
        let mark = cache(mark)?;
        if let Some(before) = blocks.last_mut() {
            before.cache = Some(mark);
        }
        return Ok(());
    }
    let at = fields.place().to_owned();
    let mut signature = None;
    let content = if let Some(text) = fields.text("text")? {
        Content::text(text)
    } else if let Some(media) = media(&mut fields, asked)? {
        Content::Media(media)
    } else if let Some(thought) = fields.fields("reasoningContent")? {
        let (text, own) = reasoning(thought)?;
        match (own, blocks.last_mut()) {
            (Some(own), Some(before)) if own.of_block_before && before.signature.is_none() => {
                before.signature = Some(own.signature);
                return Ok(());
            }
            (own, _) => signature = own.map(|own| own.signature),
        }
        Content::Reasoning { text }
    } else if let Some(cited) = fields.fields("citationsContent")? {
        citations(cited)?
    } else if is_call(&fields) {
        call(&mut fields)?
    } else if is_outcome(&fields) {
        outcome(&mut fields, asked)?
    } else {
        if fields.has("guardContent") {
            asked.push((Feature::Guardrail, fields.at("guardContent")));
        }
        let json = fields.into_left();
        if member(&json).is_none() {
            return Err(Rejected::new(at, "holds no block"));
        }
        Content::Foreign { format: Format::Bedrock, json: Value::Object(json) }
    };
    blocks.push(Block { signature, ..Block::new(content, at) });
    Ok(())
}

/// Tools that Bedrock runs itself have a `type`.
fn is_call(fields: &Fields) -> bool {
    fields.peek("toolUse").is_some_and(|call| call["type"] != "server_tool_use")
}

fn is_outcome(fields: &Fields) -> bool {
    fields.peek("toolResult").is_some_and(|outcome| outcome["type"].is_null())
}

fn call(fields: &mut Fields) -> Result<Content, Rejected> {
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

fn outcome(fields: &mut Fields, asked: &mut Asked) -> Result<Content, Rejected> {
    let Some(mut outcome) = fields.fields("toolResult")? else {
        return Err(fields.must("toolResult", "is missing"));
    };
    let mut content = Vec::new();
    for (part, at) in outcome.list("content")? {
        let json = part.get("json").filter(|json| !json.is_null());
        if let Some(json) = json {
            content.push(Block::new(Content::text(json.to_string()), at));
        } else {
            push(part, at, &mut content, asked)?;
        }
    }
    Ok(Content::ToolResult(ToolResult {
        id: outcome.needed_text("toolUseId")?,
        name: None,
        content,
        is_error: outcome.text("status")?.is_some_and(|status| status == "error"),
    }))
}

fn reasoning(mut thought: Fields) -> Result<(String, Option<Carried>), Rejected> {
    if let Some(data) = thought.text("redactedContent")? {
        let data = format!("{REDACTED}{data}");
        let signature = Signature { format: Format::Bedrock, data, id: None };
        return Ok((String::new(), Some(Carried { signature, of_block_before: false })));
    }
    let Some(mut text) = thought.fields("reasoningText")? else {
        return Err(thought.must("reasoningText", "is missing"));
    };
    let signature =
        text.text("signature")?.and_then(|own| signature_transport::read(Format::Bedrock, &own));
    Ok((text.text("text")?.unwrap_or_default(), signature))
}

fn citations(mut cited: Fields) -> Result<Content, Rejected> {
    let mut text = String::new();
    for (part, at) in cited.list("content")? {
        text.push_str(&Fields::new(part, at)?.text("text")?.unwrap_or_default());
    }
    let citations = cited.list("citations")?.into_iter().map(|(citation, _)| citation).collect();
    Ok(Content::Text { text, citations })
}

fn media(fields: &mut Fields, asked: &mut Asked) -> Result<Option<Media>, Rejected> {
    for (name, kind) in [
        ("image", MediaKind::Image),
        ("document", MediaKind::Document),
        ("audio", MediaKind::Audio),
        ("video", MediaKind::Video),
    ] {
        let Some(mut media) = fields.fields(name)? else { continue };
        let format = media.text("format")?;
        let media_type = match &format {
            None => None,
            Some(word) => match media_types::type_of(kind, word) {
                Some(media_type) => Some(media_type.to_owned()),
                None => return Err(media.must("format", "is none of this kind of media")),
            },
        };
        let Some(from) = media.fields("source")? else {
            return Err(media.must("source", "is missing"));
        };
        let source = source(from, kind, media_type, asked)?;
        if media.value("context").is_some() {
            asked.push((Feature::ProviderFields, media.at("context")));
        }
        let wanted = media.fields("citations")?;
        if let Some(mut wanted) = wanted
            && wanted.flag("enabled")? == Some(true)
        {
            asked.push((Feature::Citations, wanted.place().to_owned()));
        }
        return Ok(Some(Media { kind, source, name: media.text("name")?, detail: None }));
    }
    Ok(None)
}

fn source(
    mut from: Fields,
    kind: MediaKind,
    media_type: Option<String>,
    asked: &mut Asked,
) -> Result<Source, Rejected> {
    if let Some(data) = from.text("bytes")? {
        let media_type = media_type.ok_or_else(|| from.must("bytes", "needs a format"))?;
        // A plain text may just as well be said as one.
        if kind == MediaKind::Document
            && media_type == "text/plain"
            && let Some(text) = STANDARD.decode(&data).ok().and_then(|b| String::from_utf8(b).ok())
        {
            return Ok(Source::Text(text));
        }
        return Ok(Source::Base64 { media_type, data });
    }
    if let Some(mut place) = from.fields("s3Location")? {
        if place.value("bucketOwner").is_some() {
            asked.push((Feature::ProviderFields, place.at("bucketOwner")));
        }
        return Ok(Source::Url { url: place.needed_text("uri")?, media_type });
    }
    if let Some(text) = from.text("text")? {
        return Ok(Source::Text(text));
    }
    if let Some(Value::Array(parts)) = from.value("content") {
        let mut texts = Vec::new();
        for (part, at) in elements(parts, &from.at("content")) {
            texts.push(Fields::new(part, at)?.needed_text("text")?);
        }
        return Ok(Source::Text(texts.join("\n")));
    }
    Err(Rejected::new(from.place(), "must be bytes, s3Location, text or content"))
}
