//! What a message is made of.

use serde_json::Value;

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::format::anthropic::signature;
use crate::wire::ir::{Block, Content, Media, MediaKind, Role, Source, ToolResult, Turn};
use crate::wire::json::fields::{Fields, Rejected, elements};

use super::{Read, read_cache};

/// What is noted on the way.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) asked: Vec<(Feature, String)>,
}

impl Reading {
    /// A string, or a list of blocks.
    pub(crate) fn content(&mut self, content: Value, at: String) -> Read<Vec<Block>> {
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

    /// A message. Instructions within it (`mid_conv_system`) part it into turns.
    pub(crate) fn message(
        &mut self,
        role: Role,
        content: Value,
        at: String,
        turns: &mut Vec<Turn>,
    ) -> Read<()> {
        let Value::Array(list) = content else {
            let blocks = self.content(content, at)?;
            turns.push(Turn { role, name: None, blocks });
            return Ok(());
        };
        let mut blocks = Vec::with_capacity(list.len());
        let before = turns.len();
        for (block, at) in elements(list, &at) {
            if block.get("type").is_some_and(|kind| kind == "mid_conv_system") {
                let mut block = Fields::new(block, at)?;
                let at = block.at("content");
                let said = block.value("content").unwrap_or_default();
                let own = std::mem::take(&mut blocks);
                if !own.is_empty() {
                    turns.push(Turn { role, name: None, blocks: own });
                }
                let mut said = self.content(said, at)?;
                if let Some(last) = said.last_mut() {
                    last.cache = read_cache(&mut block)?.or(last.cache.take());
                }
                turns.push(Turn { role: Role::System, name: None, blocks: said });
            } else {
                self.block(block, at, &mut blocks)?;
            }
        }
        if !blocks.is_empty() || turns.len() == before {
            turns.push(Turn { role, name: None, blocks });
        }
        Ok(())
    }

    fn block(&mut self, block: Value, at: String, out: &mut Vec<Block>) -> Read<()> {
        let Some(kind) = block.get("type").and_then(Value::as_str) else {
            let at = if block.is_object() { format!("{at}/type") } else { at };
            return Err(Rejected::new(at, "is missing, or no string"));
        };
        let kind = match kind {
            "text" => Known::Text,
            "image" => Known::Media(MediaKind::Image),
            "document" => Known::Media(MediaKind::Document),
            "tool_use" => Known::Call,
            "tool_result" => Known::ToolResult,
            "thinking" => Known::Thought,
            "redacted_thinking" => Known::Redacted,
            _ => {
                let content = Content::Foreign { format: Format::Anthropic, json: block };
                out.push(Block::new(content, at));
                return Ok(());
            }
        };
        let mut fields = Fields::new(block, at)?;
        let cache = read_cache(&mut fields)?;
        let before = out.len();
        match kind {
            Known::Text => out.push(text(&mut fields)?),
            Known::Media(kind) => self.media(kind, &mut fields, out)?,
            Known::Call => out.push(call(&mut fields)?),
            Known::ToolResult => out.push(self.outcome(&mut fields)?),
            Known::Thought => thought(&mut fields, out)?,
            Known::Redacted => {
                let data = fields.needed_text("data")?;
                let signature =
                    signature::read(&data).filter(|own| own.signature.format != Format::Anthropic);
                let signature =
                    signature.map_or_else(|| signature::redacted(&data), |other| other.signature);
                let content = Content::Reasoning { text: String::new() };
                out.push(Block {
                    signature: Some(signature),
                    ..Block::new(content, fields.place())
                });
            }
        }
        if let Some(last) = out.get_mut(before..).and_then(<[Block]>::last_mut) {
            last.cache = cache;
        }
        Ok(())
    }

    fn media(&mut self, kind: MediaKind, fields: &mut Fields, out: &mut Vec<Block>) -> Read<()> {
        let name = fields.text("title")?;
        // A document's context is text for the model, as any other before it.
        if let Some(context) = fields.text("context")? {
            out.push(Block::new(Content::text(context), fields.at("context")));
        }
        if let Some(mut citations) = fields.fields("citations")?
            && citations.flag("enabled")? == Some(true)
        {
            self.asked.push((Feature::Citations, fields.at("citations")));
        }
        let at = fields.place().to_owned();
        let in_pieces = |source: &Value| source.get("type").is_some_and(|kind| kind == "content");
        let whole =
            fields.peek("source").filter(|source| in_pieces(source)).map(|_| fields.clone());
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
            ("content", MediaKind::Document) => match (chunks(&mut source)?, whole) {
                (Some(text), _) => Source::Text(text),
                (None, whole) => {
                    let json = Value::Object(whole.map(Fields::into_left).unwrap_or_default());
                    out.push(Block::new(Content::Foreign { format: Format::Anthropic, json }, at));
                    return Ok(());
                }
            },
            _ => return Err(source.must("type", "is no source that is known")),
        };
        let media = Media { kind, source, name, detail: None };
        out.push(Block::new(Content::Media(media), at));
        Ok(())
    }

    fn outcome(&mut self, fields: &mut Fields) -> Read<Block> {
        let id = fields.needed_text("tool_use_id")?;
        let is_error = fields.flag("is_error")?.unwrap_or_default();
        let content = match fields.value("content") {
            Some(content) => self.content(content, fields.at("content"))?,
            None => Vec::new(),
        };
        let outcome = ToolResult { id, name: None, content, is_error };
        Ok(Block::new(Content::ToolResult(outcome), fields.place()))
    }
}

enum Known {
    Text,
    Media(MediaKind),
    Call,
    ToolResult,
    Thought,
    Redacted,
}

fn text(fields: &mut Fields) -> Read<Block> {
    let text = fields.needed_text("text")?;
    let citations = fields.list("citations")?.into_iter().map(|(citation, _)| citation).collect();
    Ok(Block::new(Content::Text { text, citations }, fields.place()))
}

fn call(fields: &mut Fields) -> Read<Block> {
    let id = Some(fields.needed_text("id")?);
    let name = fields.needed_text("name")?;
    let arguments = match fields.value("input") {
        None => "{}".to_owned(),
        Some(input @ Value::Object(_)) => input.to_string(),
        Some(_) => return Err(fields.must("input", "must be an object")),
    };
    Ok(Block::new(Content::ToolCall { id, name, arguments }, fields.place()))
}

fn thought(fields: &mut Fields, out: &mut Vec<Block>) -> Read<()> {
    let text = fields.text("thinking")?.unwrap_or_default();
    let carried = fields.text("signature")?.as_deref().and_then(signature::read);
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

/// The text of a document in pieces; `None`: there is more in it than text.
fn chunks(source: &mut Fields) -> Read<Option<String>> {
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
