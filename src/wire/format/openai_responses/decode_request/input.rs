//! The items of a request's `input` become turns.
//!
//! One answer of a model is several consecutive items, which become one turn. An item of an unknown type is kept
//! unchanged, as [`Content::Foreign`].

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::format::openai_responses::signature::{self, Signed};
use crate::wire::format::openai_responses::types::FREEFORM;
use crate::wire::ir::{Block, Content, Media, MediaKind, Request, Role, Source, ToolResult, Turn};
use crate::wire::json::fields::{Fields, Rejected, elements};

/// Takes `input`.
pub(super) fn decode(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let at = body.at("input");
    let items = match body.value("input") {
        None => return Ok(()),
        Some(Value::String(text)) => {
            let blocks = vec![Block::new(Content::text(text), at)];
            request.turns.push(Turn { role: Role::User, name: None, blocks });
            return Ok(());
        }
        Some(Value::Array(items)) => elements(items, &at),
        Some(_) => return Err(Rejected::new(at, "must be a string or a list")),
    };
    for (item, at) in items {
        decode_item(item, at, request)?;
    }
    Ok(())
}

fn decode_item(item: Value, at: String, request: &mut Request) -> Result<(), Rejected> {
    let kind = item["type"].as_str().unwrap_or_default().to_owned();
    let mut item = Fields::new(item, at)?;
    let at = item.place().to_owned();
    match &*kind {
        "message" => decode_message(&mut item, request)?,
        "" if item.has("role") => decode_message(&mut item, request)?,
        "" => return Err(item.must("type", "is missing")),
        "function_call" => {
            let id = Some(item.needed_text("call_id")?);
            let name = item.needed_text("name")?;
            let arguments = item.text("arguments")?.unwrap_or_default();
            push_assistant_block(
                request,
                Block::new(Content::ToolCall { id, name, arguments }, at),
            );
        }
        "custom_tool_call" => {
            let id = Some(item.needed_text("call_id")?);
            let name = item.needed_text("name")?;
            let input = item.text("input")?.unwrap_or_default();
            let arguments = json!({ FREEFORM: input }).to_string();
            push_assistant_block(
                request,
                Block::new(Content::ToolCall { id, name, arguments }, at),
            );
        }
        "function_call_output" | "custom_tool_call_output" => {
            let id = item.needed_text("call_id")?;
            let content = decode_content(&mut item, "output")?;
            let result = ToolResult { id, name: None, content, is_error: false };
            push_user_block(request, Block::new(Content::ToolResult(result), at));
        }
        "reasoning" => decode_reasoning(&mut item, request)?,
        "item_reference" => request.asked.push((Feature::StoredConversation, at)),
        "image_generation_call" if item.has("result") => {
            let format = item.text("output_format")?.unwrap_or_else(|| "png".to_owned());
            let data = item.needed_text("result")?;
            let source = Source::Base64 { media_type: format!("image/{format}"), data };
            push_assistant_block(request, Block::new(media(MediaKind::Image, source), at));
        }
        _ => {
            let is_of_caller = kind.ends_with("_output") || kind == "mcp_approval_response";
            let json = Value::Object(item.into_left());
            let block = Block::new(Content::Foreign { format: Format::OpenAiResponses, json }, at);
            if is_of_caller {
                push_user_block(request, block);
            } else {
                push_assistant_block(request, block);
            }
        }
    }
    Ok(())
}

fn decode_message(item: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let role = match &*item.needed_text("role")? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" | "developer" => Role::System,
        _ => {
            return Err(item.must("role", "must be `user`, `assistant`, `system` or `developer`"));
        }
    };
    let blocks = decode_content(item, "content")?;
    if role == Role::System && request.turns.is_empty() {
        request.system.extend(blocks);
        return Ok(());
    }
    // A message after a message of the model stays a turn of its own.
    let is_text =
        |block: &Block| matches!(block.content, Content::Text { .. } | Content::Refusal(_));
    match request.turns.last_mut() {
        Some(Turn { role: Role::Assistant, blocks: earlier, .. })
            if role == Role::Assistant && !earlier.last().is_some_and(is_text) =>
        {
            earlier.extend(blocks);
        }
        _ => request.turns.push(Turn { role, name: None, blocks }),
    }
    Ok(())
}

/// Takes a string, or a list of parts.
fn decode_content(item: &mut Fields, name: &str) -> Result<Vec<Block>, Rejected> {
    let at = item.at(name);
    match item.value(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Block::new(Content::text(text), at)]),
        Some(Value::Array(parts)) => {
            elements(parts, &at).into_iter().map(|(part, at)| decode_part(part, at)).collect()
        }
        Some(_) => Err(Rejected::new(at, "must be a string or a list")),
    }
}

fn decode_part(part: Value, at: String) -> Result<Block, Rejected> {
    let mut part = Fields::new(part, at)?;
    let kind = part.needed_text("type")?;
    let content = match &*kind {
        "input_text" | "output_text" | "text" => {
            let text = part.needed_text("text")?;
            let annotations = part.list("annotations")?;
            let citations = annotations.into_iter().map(|(value, _)| value).collect();
            Content::Text { text, citations }
        }
        "refusal" => Content::Refusal(part.needed_text("refusal")?),
        "input_image" => decode_image(&mut part)?,
        "input_file" => decode_file(&mut part)?,
        "input_audio" => decode_audio(&mut part)?,
        _ => {
            let at = part.place().to_owned();
            let mut json = part.into_left();
            json.insert("type".to_owned(), Value::from(kind));
            let json = Value::Object(json);
            return Ok(Block::new(Content::Foreign { format: Format::OpenAiResponses, json }, at));
        }
    };
    Ok(Block::new(content, part.place()))
}

fn decode_image(part: &mut Fields) -> Result<Content, Rejected> {
    let source = match (part.text("image_url")?, part.text("file_id")?) {
        (Some(url), _) => decode_url(url, &part.at("image_url"))?,
        (None, Some(id)) => Source::File { format: Format::OpenAiResponses, id },
        (None, None) => return Err(part.must("image_url", "is missing")),
    };
    let detail = part.text("detail")?;
    Ok(Content::Media(Media { kind: MediaKind::Image, source, name: None, detail }))
}

fn decode_file(part: &mut Fields) -> Result<Content, Rejected> {
    let source = match (part.text("file_data")?, part.text("file_url")?, part.text("file_id")?) {
        (Some(data), ..) if data.starts_with("data:") => decode_url(data, &part.at("file_data"))?,
        (Some(_), ..) => return Err(part.must("file_data", "must be a data URL")),
        (None, Some(url), _) => decode_url(url, &part.at("file_url"))?,
        (None, None, Some(id)) => Source::File { format: Format::OpenAiResponses, id },
        (None, None, None) => return Err(part.must("file_data", "is missing")),
    };
    let kind = match &source {
        Source::Base64 { media_type, .. } if media_type.starts_with("image/") => MediaKind::Image,
        Source::Base64 { media_type, .. } if media_type.starts_with("audio/") => MediaKind::Audio,
        Source::Base64 { media_type, .. } if media_type.starts_with("video/") => MediaKind::Video,
        _ => MediaKind::Document,
    };
    let (name, detail) = (part.text("filename")?, part.text("detail")?);
    Ok(Content::Media(Media { kind, source, name, detail }))
}

fn decode_audio(part: &mut Fields) -> Result<Content, Rejected> {
    let Some(mut audio) = part.fields("input_audio")? else {
        return Err(part.must("input_audio", "is missing"));
    };
    let (data, format) = (audio.needed_text("data")?, audio.needed_text("format")?);
    let source = Source::Base64 { media_type: format!("audio/{format}"), data };
    Ok(media(MediaKind::Audio, source))
}

fn media(kind: MediaKind, source: Source) -> Content {
    Content::Media(Media { kind, source, name: None, detail: None })
}

/// Decodes a URL; a `data:` URL (RFC 2397) becomes its contents.
fn decode_url(url: String, at: &str) -> Result<Source, Rejected> {
    let Some(rest) = url.strip_prefix("data:") else {
        return Ok(Source::Url { url, media_type: None });
    };
    let (media_type, data) = rest
        .split_once(";base64,")
        .ok_or_else(|| Rejected::new(at, "must be a data URL in base64"))?;
    let media_type = media_type.split(';').next().unwrap_or_default();
    if media_type.starts_with("text/")
        && let Some(text) =
            BASE64_STANDARD.decode(data).ok().and_then(|bytes| String::from_utf8(bytes).ok())
    {
        return Ok(Source::Text(text));
    }
    Ok(Source::Base64 { media_type: media_type.to_owned(), data: data.to_owned() })
}

/// The text of a reasoning item is in `summary` or in `content`. If both are there, the summary is taken, because
/// the API takes it back.
fn decode_reasoning(item: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let mut texts = Vec::new();
    for name in ["summary", "content"] {
        for (part, at) in item.list(name)? {
            texts.extend(Fields::new(part, at)?.text("text")?);
        }
        if !texts.is_empty() {
            break;
        }
    }
    let text = texts.join("\n\n");
    let id = item.text("id")?;
    let encrypted = item.text("encrypted_content")?.filter(|data| !data.is_empty());
    match encrypted.map(|data| signature::decode(data, id)) {
        Some((signature, Signed::ItemBefore)) => {
            let before = request.turns.last_mut().filter(|turn| turn.role == Role::Assistant);
            if let Some(block) = before.and_then(|turn| turn.blocks.last_mut()) {
                block.signature = Some(signature);
            }
        }
        signature => {
            let mut block = Block::new(Content::Reasoning { text }, item.place());
            block.signature = signature.map(|(signature, _)| signature);
            push_assistant_block(request, block);
        }
    }
    Ok(())
}

/// Adds a block of the model.
fn push_assistant_block(request: &mut Request, block: Block) {
    push(request, Role::Assistant, block, |_| true);
}

/// Adds a result that the caller sends.
fn push_user_block(request: &mut Request, block: Block) {
    push(request, Role::User, block, |last| {
        matches!(last.content, Content::ToolResult(_) | Content::Foreign { .. })
    });
}

/// Adds a block to the last turn, if the turn has this role and its last block `joins`, or else to a new turn.
fn push(request: &mut Request, role: Role, block: Block, joins: impl Fn(&Block) -> bool) {
    match request.turns.last_mut() {
        Some(turn) if turn.role == role && turn.blocks.last().is_some_and(joins) => {
            turn.blocks.push(block);
        }
        _ => request.turns.push(Turn { role, name: None, blocks: vec![block] }),
    }
}
