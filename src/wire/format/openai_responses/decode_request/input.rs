//! The items of a request's `input` as turns.
//!
//! What a model has said in one answer is several items, one behind the other: they become one turn. What
//! this cannot read is kept as it stands, a [`Content::Foreign`].

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::format::openai_responses::signature::Of;
use crate::wire::format::openai_responses::{FREEFORM, signature};
use crate::wire::ir::{Block, Content, Media, MediaKind, Request, Role, Source, ToolResult, Turn};
use crate::wire::json::fields::{Fields, Rejected, elements};

/// Takes `input`.
pub(crate) fn read(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
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
        read_item(item, at, request)?;
    }
    Ok(())
}

fn read_item(item: Value, at: String, request: &mut Request) -> Result<(), Rejected> {
    let kind = item["type"].as_str().unwrap_or_default().to_owned();
    let mut item = Fields::new(item, at)?;
    let at = item.place().to_owned();
    match &*kind {
        "message" => message(&mut item, request)?,
        "" if item.has("role") => message(&mut item, request)?,
        "" => return Err(item.must("type", "is missing")),
        "function_call" => {
            let id = Some(item.needed_text("call_id")?);
            let name = item.needed_text("name")?;
            let arguments = item.text("arguments")?.unwrap_or_default();
            said(request, Block::new(Content::ToolCall { id, name, arguments }, at));
        }
        "custom_tool_call" => {
            let id = Some(item.needed_text("call_id")?);
            let name = item.needed_text("name")?;
            let input = item.text("input")?.unwrap_or_default();
            let arguments = json!({ FREEFORM: input }).to_string();
            said(request, Block::new(Content::ToolCall { id, name, arguments }, at));
        }
        "function_call_output" | "custom_tool_call_output" => {
            let id = item.needed_text("call_id")?;
            let content = content(&mut item, "output")?;
            let outcome = ToolResult { id, name: None, content, is_error: false };
            answered(request, Block::new(Content::ToolResult(outcome), at));
        }
        "reasoning" => reasoning(&mut item, request)?,
        "item_reference" => request.asked.push((Feature::StoredConversation, at)),
        "image_generation_call" if item.has("result") => {
            let format = item.text("output_format")?.unwrap_or_else(|| "png".to_owned());
            let data = item.needed_text("result")?;
            let source = Source::Base64 { media_type: format!("image/{format}"), data };
            said(request, Block::new(media(MediaKind::Image, source), at));
        }
        _ => {
            let of_caller = kind.ends_with("_output") || kind == "mcp_approval_response";
            let json = Value::Object(item.into_left());
            let block = Block::new(Content::Foreign { format: Format::OpenAiResponses, json }, at);
            if of_caller { answered(request, block) } else { said(request, block) }
        }
    }
    Ok(())
}

fn message(item: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let role = match &*item.needed_text("role")? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" | "developer" => Role::System,
        _ => {
            return Err(item.must("role", "must be `user`, `assistant`, `system` or `developer`"));
        }
    };
    let blocks = content(item, "content")?;
    if role == Role::System && request.turns.is_empty() {
        request.system.extend(blocks);
        return Ok(());
    }
    // A second message of the model's in a row stays one of its own.
    let speaks =
        |block: &Block| matches!(block.content, Content::Text { .. } | Content::Refusal(_));
    match request.turns.last_mut() {
        Some(Turn { role: Role::Assistant, blocks: own, .. })
            if role == Role::Assistant && !own.last().is_some_and(speaks) =>
        {
            own.extend(blocks);
        }
        _ => request.turns.push(Turn { role, name: None, blocks }),
    }
    Ok(())
}

/// A string, or parts.
fn content(item: &mut Fields, name: &str) -> Result<Vec<Block>, Rejected> {
    let at = item.at(name);
    match item.value(name) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Block::new(Content::text(text), at)]),
        Some(Value::Array(parts)) => {
            elements(parts, &at).into_iter().map(|(part, at)| read_part(part, at)).collect()
        }
        Some(_) => Err(Rejected::new(at, "must be a string or a list")),
    }
}

fn read_part(part: Value, at: String) -> Result<Block, Rejected> {
    let mut part = Fields::new(part, at)?;
    let kind = part.needed_text("type")?;
    let content = match &*kind {
        "input_text" | "output_text" | "text" => {
            let text = part.needed_text("text")?;
            let citations = part.list("annotations")?.into_iter().map(|(own, _)| own).collect();
            Content::Text { text, citations }
        }
        "refusal" => Content::Refusal(part.needed_text("refusal")?),
        "input_image" => image(&mut part)?,
        "input_file" => file(&mut part)?,
        "input_audio" => audio(&mut part)?,
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

fn image(part: &mut Fields) -> Result<Content, Rejected> {
    let source = match (part.text("image_url")?, part.text("file_id")?) {
        (Some(url), _) => source(url, &part.at("image_url"))?,
        (None, Some(id)) => Source::File { format: Format::OpenAiResponses, id },
        (None, None) => return Err(part.must("image_url", "is missing")),
    };
    let detail = part.text("detail")?;
    Ok(Content::Media(Media { kind: MediaKind::Image, source, name: None, detail }))
}

fn file(part: &mut Fields) -> Result<Content, Rejected> {
    let source = match (part.text("file_data")?, part.text("file_url")?, part.text("file_id")?) {
        (Some(data), ..) if data.starts_with("data:") => source(data, &part.at("file_data"))?,
        (Some(_), ..) => return Err(part.must("file_data", "must be a data URL")),
        (None, Some(url), _) => source(url, &part.at("file_url"))?,
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

fn audio(part: &mut Fields) -> Result<Content, Rejected> {
    let Some(mut own) = part.fields("input_audio")? else {
        return Err(part.must("input_audio", "is missing"));
    };
    let (data, format) = (own.needed_text("data")?, own.needed_text("format")?);
    let source = Source::Base64 { media_type: format!("audio/{format}"), data };
    Ok(media(MediaKind::Audio, source))
}

fn media(kind: MediaKind, source: Source) -> Content {
    Content::Media(Media { kind, source, name: None, detail: None })
}

/// An address, or what stands in it (RFC 2397).
fn source(url: String, at: &str) -> Result<Source, Rejected> {
    let Some(rest) = url.strip_prefix("data:") else {
        return Ok(Source::Url { url, media_type: None });
    };
    let (media_type, data) = rest
        .split_once(";base64,")
        .ok_or_else(|| Rejected::new(at, "must be a data URL in base64"))?;
    let media_type = media_type.split(';').next().unwrap_or_default();
    if media_type.starts_with("text/")
        && let Some(text) =
            BASE64_STANDARD.decode(data).ok().and_then(|own| String::from_utf8(own).ok())
    {
        return Ok(Source::Text(text));
    }
    Ok(Source::Base64 { media_type: media_type.to_owned(), data: data.to_owned() })
}

/// Its texts are shown by themselves or in a summary; of the two the summary is what the API takes back.
fn reasoning(item: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
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
    let sealed = item.text("encrypted_content")?.filter(|data| !data.is_empty());
    match sealed.map(|data| signature::read(data, id)) {
        Some((own, Of::Before)) => {
            let before = request.turns.last_mut().filter(|turn| turn.role == Role::Assistant);
            if let Some(block) = before.and_then(|turn| turn.blocks.last_mut()) {
                block.signature = Some(own);
            }
        }
        sealed => {
            let mut block = Block::new(Content::Reasoning { text }, item.place());
            block.signature = sealed.map(|(own, _)| own);
            said(request, block);
        }
    }
    Ok(())
}

/// Something that the model has said.
fn said(request: &mut Request, block: Block) {
    put(request, Role::Assistant, block, |_| true);
}

/// Something that the caller has brought of a call.
fn answered(request: &mut Request, block: Block) {
    put(request, Role::User, block, |own| {
        matches!(own.content, Content::ToolResult(_) | Content::Foreign { .. })
    });
}

/// Puts a block behind one that goes with it, or into a new turn.
fn put(request: &mut Request, role: Role, block: Block, with: impl Fn(&Block) -> bool) {
    match request.turns.last_mut() {
        Some(turn) if turn.role == role && turn.blocks.last().is_some_and(with) => {
            turn.blocks.push(block);
        }
        _ => request.turns.push(Turn { role, name: None, blocks: vec![block] }),
    }
}
