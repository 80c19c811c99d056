//! Decodes the messages of a request.

use serde_json::Value;

use super::tools::cache_point;
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::format::openai_chat::media::{source_of, unnamed};
use crate::wire::ir::{
    Block, Content, Media, MediaKind, Request, Role, Signature, Source, ToolResult, Turn,
};
use crate::wire::json::fields::{Fields, Rejected, child, elements};

pub(super) fn decode(message: Value, at: String, request: &mut Request) -> Result<(), Rejected> {
    let mut message = Fields::new(message, at)?;
    match message.needed_text("role")?.as_str() {
        "system" | "developer" => {
            let blocks = content(&mut message)?;
            if request.turns.is_empty() {
                if message.has("name") {
                    request.asked.push((Feature::ParticipantName, message.at("name")));
                }
                request.system.extend(blocks);
            } else {
                let name = message.text("name")?;
                request.turns.push(Turn { role: Role::System, name, blocks });
            }
        }
        "user" => {
            let blocks = content(&mut message)?;
            let name = message.text("name")?;
            request.turns.push(Turn { role: Role::User, name, blocks });
        }
        "assistant" => assistant(message, request)?,
        "tool" => {
            let id = message.needed_text("tool_call_id")?;
            tool_result(message, id, request)?;
        }
        // The form of 2023 has no ids.
        "function" => tool_result(message, String::new(), request)?,
        _ => {
            let why = "must be one of developer, system, user, assistant, tool and function";
            return Err(message.must("role", why));
        }
    }
    Ok(())
}

/// Adds a result to the user's turn; results in a row are one turn.
fn tool_result(mut message: Fields, id: String, request: &mut Request) -> Result<(), Rejected> {
    let result = ToolResult {
        id,
        name: message.text("name")?,
        content: content(&mut message)?,
        is_error: false,
    };
    let block = Block::new(Content::ToolResult(result), message.place());
    let of_results = request.turns.last_mut().filter(|turn| {
        let is_result = |block: &Block| matches!(block.content, Content::ToolResult(_));
        turn.role == Role::User && !turn.blocks.is_empty() && turn.blocks.iter().all(is_result)
    });
    if let Some(turn) = of_results {
        turn.blocks.push(block);
    } else {
        request.turns.push(Turn { role: Role::User, name: None, blocks: vec![block] });
    }
    Ok(())
}

fn assistant(mut message: Fields, request: &mut Request) -> Result<(), Rejected> {
    let mut blocks = Vec::new();
    reasoning(&mut message, &mut blocks)?;
    blocks.extend(content(&mut message)?);
    let at = message.at("refusal");
    if let Some(refusal) = message.text("refusal")?.filter(|text| !text.is_empty()) {
        blocks.push(Block::new(Content::Refusal(refusal), at));
    }
    if message.has("audio") {
        request.asked.push((Feature::Audio, message.at("audio")));
    }
    for (call, at) in message.list("tool_calls")? {
        blocks.push(tool_call(call, at)?);
    }
    if let Some(mut function) = message.fields("function_call")? {
        let content = called_function(None, &mut function)?;
        blocks.push(Block::new(content, function.place()));
    }
    let name = message.text("name")?;
    request.turns.push(Turn { role: Role::Assistant, name, blocks });
    Ok(())
}

/// Reads reasoning under the name of DeepSeek and most others, or that of Groq and Ollama; some clients send both.
fn reasoning(message: &mut Fields, blocks: &mut Vec<Block>) -> Result<(), Rejected> {
    let at = message.at("reasoning_content");
    let other = message.text("reasoning")?;
    let text = message.text("reasoning_content")?.or(other).unwrap_or_default();
    // OpenRouter wants its details back as it sent them.
    let details = message.value("reasoning_details").filter(Value::is_array);
    let signature = details.map(|details| Signature {
        format: Format::OpenAiChat,
        data: details.to_string(),
        id: None,
    });
    if !text.is_empty() || signature.is_some() {
        blocks.push(Block { signature, ..Block::new(Content::Reasoning { text }, at) });
    }
    Ok(())
}

fn tool_call(call: Value, at: String) -> Result<Block, Rejected> {
    let mut call = Fields::new(call, at.clone())?;
    if call.peek("type").and_then(Value::as_str).is_some_and(|kind| kind != "function") {
        let json = Value::Object(call.into_left());
        return Ok(Block::new(Content::Foreign { format: Format::OpenAiChat, json }, at));
    }
    let id = call.text("id")?.filter(|id| !id.is_empty());
    let missing = call.must("function", "is missing");
    let mut function = call.fields("function")?.ok_or(missing)?;
    let content = called_function(id, &mut function)?;
    let signature = match call.fields("extra_content")? {
        Some(mut extra) => match extra.fields("google")? {
            Some(mut google) => google.text("thought_signature")?,
            None => None,
        },
        None => None,
    };
    let signature = signature.map(|data| Signature { format: Format::Gemini, data, id: None });
    Ok(Block { signature, ..Block::new(content, at) })
}

fn called_function(id: Option<String>, function: &mut Fields) -> Result<Content, Rejected> {
    let name = function.needed_text("name")?;
    let arguments = match function.value("arguments") {
        None => String::new(),
        Some(Value::String(text)) => text,
        // Some clients send the object itself.
        Some(object @ Value::Object(_)) => object.to_string(),
        Some(_) => return Err(function.must("arguments", "must be a string")),
    };
    Ok(Content::ToolCall { id, name, arguments })
}

fn content(message: &mut Fields) -> Result<Vec<Block>, Rejected> {
    let at = message.at("content");
    match message.value("content") {
        None => Ok(Vec::new()),
        Some(Value::String(text)) if text.is_empty() => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![Block::new(Content::text(text), at)]),
        Some(Value::Array(list)) => {
            elements(list, &at).into_iter().map(|(part, at)| self::part(part, at)).collect()
        }
        Some(_) => Err(Rejected::new(at, "must be a string or a list of parts")),
    }
}

fn part(part: Value, at: String) -> Result<Block, Rejected> {
    if let Value::String(text) = part {
        return Ok(Block::new(Content::text(text), at));
    }
    let mut part = Fields::new(part, at)?;
    let cache = cache_point(&mut part)?;
    let at = part.place().to_owned();
    let kind = part.needed_text("type")?;
    let content = match kind.as_str() {
        // The latter two are of the Responses API.
        "text" | "input_text" | "output_text" => Content::text(part.needed_text("text")?),
        "refusal" => Content::Refusal(part.needed_text("refusal")?),
        "thinking" => Content::Reasoning { text: thinking(&mut part)? },
        "image_url" => Content::Media(media_url(&mut part, "image_url", MediaKind::Image)?),
        "video_url" => Content::Media(media_url(&mut part, "video_url", MediaKind::Video)?),
        "document_url" => {
            Content::Media(media_url(&mut part, "document_url", MediaKind::Document)?)
        }
        "input_audio" => Content::Media(audio(&mut part)?),
        "file" => Content::Media(file(&mut part)?),
        _ => {
            let mut json = part.into_left();
            json.insert("type".to_owned(), Value::String(kind));
            Content::Foreign { format: Format::OpenAiChat, json: Value::Object(json) }
        }
    };
    Ok(Block { cache, ..Block::new(content, at) })
}

/// Reads Mistral's reasoning, which comes in parts of text.
fn thinking(part: &mut Fields) -> Result<String, Rejected> {
    let mut text = String::new();
    for (piece, at) in part.list("thinking")? {
        text.push_str(&Fields::new(piece, at)?.text("text")?.unwrap_or_default());
    }
    Ok(text)
}

/// Reads a URL in an object, or alone, which Mistral also takes.
fn media_url(part: &mut Fields, name: &str, kind: MediaKind) -> Result<Media, Rejected> {
    let at = part.at(name);
    let (url, at, detail) = match part.value(name) {
        None => return Err(Rejected::new(at, "is missing")),
        Some(Value::String(url)) => (url, at, None),
        Some(value) => {
            let mut object = Fields::new(value, at.clone())?;
            (object.needed_text("url")?, child(&at, "url"), object.text("detail")?)
        }
    };
    let source = source_of(&url).map_err(|why| Rejected::new(at, why))?;
    Ok(Media { detail, ..unnamed(kind, source) })
}

fn audio(part: &mut Fields) -> Result<Media, Rejected> {
    let missing = part.must("input_audio", "is missing");
    let mut audio = part.fields("input_audio")?.ok_or(missing)?;
    let media_type = format!("audio/{}", audio.needed_text("format")?);
    let data = audio.needed_text("data")?;
    Ok(unnamed(MediaKind::Audio, Source::Base64 { media_type, data }))
}

fn file(part: &mut Fields) -> Result<Media, Rejected> {
    let missing = part.must("file", "is missing");
    let mut file = part.fields("file")?.ok_or(missing)?;
    let name = file.text("filename")?;
    let source = if let Some(id) = file.text("file_id")? {
        Source::File { format: Format::OpenAiChat, id }
    } else {
        let data = file.needed_text("file_data")?;
        let at = file.at("file_data");
        match source_of(&data).map_err(|why| Rejected::new(at, why))? {
            // Base64 without a URL: the file's name shows the type.
            Source::Url { url, .. } if !url.contains("://") => {
                let pdf = name.as_deref().is_none_or(|name| name.to_lowercase().ends_with(".pdf"));
                let media_type = if pdf { "application/pdf" } else { "application/octet-stream" };
                Source::Base64 { media_type: media_type.to_owned(), data: url }
            }
            source => source,
        }
    };
    Ok(Media { name, ..unnamed(MediaKind::Document, source) })
}
