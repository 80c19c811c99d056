//! What a message is made of.

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::anthropic::encode_response::whole;
use crate::wire::format::anthropic::signature;
use crate::wire::ir::{Block, Cache, Content, Media, MediaKind, Source, ToolResult};
use crate::wire::json::fields::Rejected;
use crate::wire::json::write::{List, Object, put};

use super::{Written, write_mark};

/// The longest title of a document, in characters.
const LONGEST_TITLE: usize = 500;

/// What is noted while the blocks are written.
#[derive(Debug)]
pub(crate) struct Said<'s> {
    pub(crate) fitting: &'s mut Fitting,
    /// How many marks are over the limit. The first ones give way: a later one covers all that they cover.
    over: usize,
}

impl<'s> Said<'s> {
    pub(crate) fn new(fitting: &'s mut Fitting, over: usize) -> Said<'s> {
        Said { fitting, over }
    }

    pub(crate) fn mark(&mut self, cache: &Cache, at: &str, object: &mut Object<'_>) {
        if self.over > 0 {
            self.over -= 1;
            self.fitting.omit(Feature::CachePoint, at);
        } else {
            write_mark(cache, object);
        }
    }
}

/// Whether nothing is said; the API refuses an empty text.
pub(crate) fn is_empty(block: &Block) -> bool {
    match &block.content {
        Content::Text { text, .. } | Content::Refusal(text) => text.is_empty(),
        _ => false,
    }
}

/// A block, and what it needs that the conversation around it decides.
#[derive(Debug)]
pub(crate) struct Entry<'r> {
    pub(crate) block: &'r Block,
    /// The id of a call or an outcome.
    pub(crate) id: String,
    /// White space at its end is left out.
    pub(crate) trimmed: bool,
}

impl<'r> Entry<'r> {
    pub(crate) fn new(block: &'r Block) -> Entry<'r> {
        Entry { block, id: String::new(), trimmed: false }
    }

    pub(crate) fn write(&self, list: &mut List<'_>, said: &mut Said<'_>) -> Written {
        let block = self.block;
        let mut object;
        match &block.content {
            Content::Text { text, citations } => {
                object = list.object();
                let text = if self.trimmed { text.trim_end() } else { text };
                object.raw("type", r#""text""#).put("text", text);
                let own = || citations.iter().filter(|citation| whole::is_own_citation(citation));
                if own().next().is_some() {
                    let mut list = object.list("citations");
                    own().for_each(|citation| put(list.element(), citation));
                    list.end();
                }
            }
            Content::Refusal(text) => {
                object = list.object();
                object.raw("type", r#""text""#).put("text", text);
            }
            Content::Media(media) => {
                object = media_object(media, &block.at, list, said)?;
            }
            Content::ToolCall { name, arguments, .. } => {
                object = list.object();
                object.raw("type", r#""tool_use""#).put("id", &self.id).put("name", name);
                object.raw("input", input(arguments, &block.at)?);
            }
            Content::ToolResult(outcome) => {
                object = list.object();
                object.raw("type", r#""tool_result""#).put("tool_use_id", &self.id);
                write_outcome(outcome, &block.at, &mut object, said)?;
            }
            Content::Reasoning { text } => {
                write_thought(text, block, list, said);
                return Ok(());
            }
            Content::Foreign { format: Format::Anthropic, json } => {
                put(list.element(), json);
                return Ok(());
            }
            Content::Foreign { .. } => {
                return Err(said.fitting.refuse(Feature::ServerToolBlock, &block.at));
            }
        }
        if let Some(cache) = &block.cache {
            said.mark(cache, &block.at, &mut object);
        }
        object.end();
        Ok(())
    }
}

/// Writes a block that stands for itself.
pub(crate) fn write(block: &Block, list: &mut List<'_>, said: &mut Said<'_>) -> Written {
    if is_empty(block) { Ok(()) } else { Entry::new(block).write(list, said) }
}

/// Whether a thought can be said again: one without a signature of the API's own cannot. What is left out
/// is noted.
pub(crate) fn can_say_thought(block: &Block, fitting: &mut Fitting) -> bool {
    let feature = match &block.signature {
        Some(signature) if signature.format == Format::Anthropic => return true,
        Some(_) => Feature::ForeignSignatures,
        None => Feature::Reasoning,
    };
    fitting.omit(feature, &block.at);
    false
}

fn write_thought(text: &str, block: &Block, list: &mut List<'_>, said: &mut Said<'_>) {
    if !can_say_thought(block, said.fitting) {
        return;
    }
    let Some(own) = &block.signature else { return };
    let mut object = list.object();
    match signature::as_redacted(own) {
        Some(data) => object.raw("type", r#""redacted_thinking""#).put("data", data),
        None => {
            object.raw("type", r#""thinking""#).put("thinking", text).put("signature", &own.data)
        }
    };
    object.end();
}

/// The arguments of a call, which must be an object.
fn input<'a>(arguments: &'a str, at: &str) -> Result<&'a str, Rejected> {
    let json = arguments.trim();
    if json.is_empty() {
        return Ok("{}");
    }
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(json).is_ok();
    if is_json && json.starts_with('{') {
        return Ok(json);
    }
    Err(Rejected::new(at, "must have a JSON object for arguments"))
}

fn write_outcome(
    outcome: &ToolResult,
    at: &str,
    object: &mut Object<'_>,
    said: &mut Said<'_>,
) -> Written {
    if outcome.is_error && said.fitting.keep(Feature::ToolResultError, at)? {
        object.raw("is_error", "true");
    }
    let plain = |block: &Block| block.cache.is_none();
    match &*outcome.content {
        [] => {}
        [only] if plain(only) && matches!(&only.content, Content::Text { .. }) => {
            if let Content::Text { text, .. } = &only.content {
                object.put("content", text);
            }
        }
        blocks => {
            let mut list = object.list("content");
            for block in blocks {
                match &block.content {
                    Content::Media(_) => {
                        said.fitting.keep(Feature::ToolResultMedia, &block.at)?;
                    }
                    Content::Text { .. } | Content::Foreign { .. } | Content::Refusal(_) => {}
                    Content::ToolCall { .. }
                    | Content::ToolResult(_)
                    | Content::Reasoning { .. } => {
                        return Err(said.fitting.refuse(Feature::ServerToolBlock, &block.at));
                    }
                }
                write(block, &mut list, said)?;
            }
            list.end();
        }
    }
    Ok(())
}

fn media_object<'o>(
    media: &Media,
    at: &str,
    list: &'o mut List<'_>,
    said: &mut Said<'_>,
) -> Result<Object<'o>, Rejected> {
    let kind = match media.kind {
        MediaKind::Image => r#""image""#,
        MediaKind::Document => r#""document""#,
        MediaKind::Audio => return Err(said.fitting.refuse(Feature::Audio, at)),
        MediaKind::Video => return Err(said.fitting.refuse(Feature::Video, at)),
    };
    if media.detail.as_deref().is_some_and(|detail| detail != "auto") {
        said.fitting.keep(Feature::ImageDetail, at)?;
    }
    let source = source(media, at, said.fitting)?;
    let mut object = list.object();
    object.raw("type", kind).put("source", &source);
    if media.kind == MediaKind::Document {
        let title = media.name.as_deref().filter(|name| !name.is_empty());
        let title = title.map(|name| name.chars().take(LONGEST_TITLE).collect::<String>());
        object.put_some("title", title.as_ref());
    }
    Ok(object)
}

/// A source as it is written.
#[derive(Debug, serde::Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Sourced<'r> {
    Base64 { media_type: &'r str, data: &'r str },
    Url { url: &'r str },
    File { file_id: &'r str },
    Text { media_type: &'static str, data: std::borrow::Cow<'r, str> },
}

fn source<'r>(media: &'r Media, at: &str, fitting: &mut Fitting) -> Result<Sourced<'r>, Rejected> {
    let image = media.kind == MediaKind::Image;
    match &media.source {
        Source::Base64 { media_type, data } if image => {
            fitting.keep(Feature::ImageBytes, at)?;
            Ok(Sourced::Base64 { media_type, data })
        }
        Source::Base64 { media_type, data } if media_type == "application/pdf" => {
            fitting.keep(Feature::DocumentBytes, at)?;
            Ok(Sourced::Base64 { media_type, data })
        }
        Source::Base64 { media_type, data } if media_type.starts_with("text/") => {
            fitting.keep(Feature::DocumentText, at)?;
            let Some(text) = text_of(data) else {
                return Err(Rejected::new(at, "must be UTF-8 text in base64"));
            };
            Ok(Sourced::Text { media_type: "text/plain", data: text.into() })
        }
        // The API reads PDF and plain text.
        Source::Base64 { .. } => Err(fitting.refuse(Feature::DocumentBytes, at)),
        Source::Url { url, .. } => {
            let feature = if image { Feature::ImageUrl } else { Feature::DocumentUrl };
            fitting.keep(feature, at)?;
            if !url.starts_with("https://") && !url.starts_with("http://") {
                return Err(fitting.refuse(feature, at));
            }
            Ok(Sourced::Url { url })
        }
        Source::File { format: Format::Anthropic, id } => {
            fitting.keep(Feature::FileId, at)?;
            Ok(Sourced::File { file_id: id })
        }
        Source::File { .. } => Err(fitting.refuse(Feature::FileId, at)),
        Source::Text(text) => {
            fitting.keep(Feature::DocumentText, at)?;
            Ok(Sourced::Text { media_type: "text/plain", data: text.into() })
        }
    }
}

fn text_of(base64: &str) -> Option<String> {
    use base64::Engine as _;
    let bytes = base64::prelude::BASE64_STANDARD.decode(base64).ok()?;
    String::from_utf8(bytes).ok()
}
