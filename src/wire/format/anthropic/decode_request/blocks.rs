//! The blocks of messages and of the system text.

use serde_json::Value;

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::format::anthropic::signature;
use crate::wire::ir::{Block, Content, Media, MediaKind, Role, Source, ToolResult, Turn};
use crate::wire::json::fields::{Fields, Rejected, elements};

use super::{Decoded, decode_cache};

/// Decodes blocks.
#[derive(Debug)]
pub(super) struct BlockDecoder {
    /// Features that have no field in the request, and their places.
    pub(super) asked: Vec<(Feature, String)>,
}

impl BlockDecoder {
    /// Decodes a string, or a list of blocks.
    pub(super) fn content(&mut self, content: Value, at: String) -> Decoded<Vec<Block>> {
        let mut blocks = Vec::new();
        match content {
            Value::String(text) => blocks.push(Block::new(Content::text(text), at)),
            Value::Array(list) => {
                for (block, at) in elements(list, &at) {
                    self.block(block, at, &mut blocks)?;
                }
            }
            _ => return Err(Rejected::new(at, "must be a string or a list")),
        }
        Ok(blocks)
    }

    /// Decodes a message. Instructions within it (`mid_conv_system`) split it into turns.
    pub(super) fn message(
        &mut self,
        role: Role,
        content: Value,
        at: String,
        turns: &mut Vec<Turn>,
    ) -> Decoded<()> {
        let Value::Array(list) = content else {
            let blocks = self.content(content, at)?;
            turns.push(Turn { role, name: None, blocks });
            return Ok(());
        };
        let mut blocks = Vec::with_capacity(list.len());
        let turns_before = turns.len();
        for (block, at) in elements(list, &at) {
            if block.get("type").is_some_and(|kind| kind == "mid_conv_system") {
                let mut block = Fields::new(block, at)?;
                let at = block.at("content");
                let instructions = block.value("content").unwrap_or_default();
                let before = std::mem::take(&mut blocks);
                if !before.is_empty() {
                    turns.push(Turn { role, name: None, blocks: before });
                }
                let mut instructions = self.content(instructions, at)?;
                if let Some(last) = instructions.last_mut() {
                    last.cache = decode_cache(&mut block)?.or(last.cache.take());
                }
                turns.push(Turn { role: Role::System, name: None, blocks: instructions });
            } else {
                self.block(block, at, &mut blocks)?;
            }
        }
        if !blocks.is_empty() || turns.len() == turns_before {
            turns.push(Turn { role, name: None, blocks });
        }
        Ok(())
    }

    fn block(&mut self, block: Value, at: String, out: &mut Vec<Block>) -> Decoded<()> {
        let Some(kind) = block.get("type").and_then(Value::as_str) else {
            let at = if block.is_object() { format!("{at}/type") } else { at };
            return Err(Rejected::new(at, "must be a string"));
        };
        let kind = match kind {
            "text" => Known::Text,
            "image" => Known::Media(MediaKind::Image),
            "document" => Known::Media(MediaKind::Document),
            "tool_use" => Known::ToolUse,
            "tool_result" => Known::ToolResult,
            "thinking" => Known::Thinking,
            "redacted_thinking" => Known::Redacted,
            _ => {
                let content = Content::Foreign { format: Format::Anthropic, json: block };
                out.push(Block::new(content, at));
                return Ok(());
            }
        };
        let mut fields = Fields::new(block, at)?;
        let cache = decode_cache(&mut fields)?;
        let before = out.len();
        match kind {
            Known::Text => out.push(text(&mut fields)?),
            Known::Media(kind) => self.media(kind, &mut fields, out)?,
            Known::ToolUse => out.push(tool_use(&mut fields)?),
            Known::ToolResult => out.push(self.tool_result(&mut fields)?),
            Known::Thinking => thinking(&mut fields, out)?,
            Known::Redacted => out.push(redacted_thinking(&mut fields)?),
        }
        if let Some(last) = out.get_mut(before..).and_then(<[Block]>::last_mut) {
            last.cache = cache;
        }
        Ok(())
    }

    fn media(&mut self, kind: MediaKind, fields: &mut Fields, out: &mut Vec<Block>) -> Decoded<()> {
        let name = fields.text("title")?;
        // A document's context is text for the model, like any other text before it.
        if let Some(context) = fields.text("context")? {
            out.push(Block::new(Content::text(context), fields.at("context")));
        }
        if let Some(mut citations) = fields.fields("citations")?
            && citations.flag("enabled")? == Some(true)
        {
            self.asked.push((Feature::Citations, fields.at("citations")));
        }
        let at = fields.place().to_owned();
        let is_blocks = |source: &Value| source.get("type").is_some_and(|kind| kind == "content");
        let whole =
            fields.peek("source").filter(|source| is_blocks(source)).map(|_| fields.clone());
        let Some(mut source) = fields.fields("source")? else {
            return Err(fields.must("source", "is missing"));
        };
        let source = match (&*source.needed_text("type")?, kind) {
            ("base64", _) => Source::Base64 {
                media_type: source.needed_text("media_type")?,
                data: source.needed_text("data")?,
            },
            ("url", _) => Source::Url { url: source.needed_text("url")?, media_type: None },
            ("file", _) => {
                Source::File { format: Format::Anthropic, id: source.needed_text("file_id")? }
            }
            ("text", MediaKind::Document) => Source::Text(source.needed_text("data")?),
            ("content", MediaKind::Document) => match (text_of_blocks(&mut source)?, whole) {
                (Some(text), _) => Source::Text(text),
                (None, whole) => {
                    let json = Value::Object(whole.map(Fields::into_left).unwrap_or_default());
                    out.push(Block::new(Content::Foreign { format: Format::Anthropic, json }, at));
                    return Ok(());
                }
            },
            _ => return Err(source.must("type", "must be a known type of source")),
        };
        let media = Media { kind, source, name, detail: None };
        out.push(Block::new(Content::Media(media), at));
        Ok(())
    }

    fn tool_result(&mut self, fields: &mut Fields) -> Decoded<Block> {
        let id = fields.needed_text("tool_use_id")?;
        let is_error = fields.flag("is_error")?.unwrap_or_default();
        let content = match fields.value("content") {
            Some(content) => self.content(content, fields.at("content"))?,
            None => Vec::new(),
        };
        let result = ToolResult { id, name: None, content, is_error };
        Ok(Block::new(Content::ToolResult(result), fields.place()))
    }
}

/// The types of blocks that the hub has a block for.
enum Known {
    Text,
    Media(MediaKind),
    ToolUse,
    ToolResult,
    Thinking,
    Redacted,
}

fn text(fields: &mut Fields) -> Decoded<Block> {
    let text = fields.needed_text("text")?;
    let citations = fields.list("citations")?.into_iter().map(|(citation, _)| citation).collect();
    Ok(Block::new(Content::Text { text, citations }, fields.place()))
}

fn tool_use(fields: &mut Fields) -> Decoded<Block> {
    let id = Some(fields.needed_text("id")?);
    let name = fields.needed_text("name")?;
    let arguments = match fields.value("input") {
        None => "{}".to_owned(),
        Some(input @ Value::Object(_)) => input.to_string(),
        Some(_) => return Err(fields.must("input", "must be an object")),
    };
    Ok(Block::new(Content::ToolCall { id, name, arguments }, fields.place()))
}

fn thinking(fields: &mut Fields, out: &mut Vec<Block>) -> Decoded<()> {
    let text = fields.text("thinking")?.unwrap_or_default();
    let carried = fields.text("signature")?.as_deref().and_then(signature::parse);
    let signature = match (carried, out.last_mut()) {
        (Some(carried), Some(before)) if carried.of_block_before && before.signature.is_none() => {
            before.signature = Some(carried.signature);
            if text.is_empty() {
                return Ok(());
            }
            None
        }
        (carried, _) => carried.map(|carried| carried.signature),
    };
    let content = Content::Reasoning { text };
    out.push(Block { signature, ..Block::new(content, fields.place()) });
    Ok(())
}

fn redacted_thinking(fields: &mut Fields) -> Decoded<Block> {
    let data = fields.needed_text("data")?;
    let signature = match signature::parse(&data) {
        Some(carried) if carried.signature.format != Format::Anthropic => carried.signature,
        _ => signature::redacted(&data),
    };
    let content = Content::Reasoning { text: String::new() };
    Ok(Block { signature: Some(signature), ..Block::new(content, fields.place()) })
}

/// Returns the text of a document that is a list of blocks; `None` if a block is not text.
fn text_of_blocks(source: &mut Fields) -> Decoded<Option<String>> {
    match source.value("content") {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Array(list)) => {
            let text_of = |block: &Value| Some(block.get("text")?.as_str()?.to_owned());
            let texts: Option<Vec<String>> = list.iter().map(text_of).collect();
            Ok(texts.map(|texts| texts.join("\n\n")))
        }
        _ => Err(source.must("content", "must be a string or a list")),
    }
}
