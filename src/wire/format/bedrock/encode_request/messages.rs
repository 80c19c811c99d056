//! System text and turns as a provider is to get them.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::bedrock::models::Model;
use crate::wire::format::bedrock::{REDACTED, media_types};
use crate::wire::ir::{Block, Cache, Content, Media, MediaKind, Role, Source, ToolResult, Turn};
use crate::wire::json::fields::Rejected;

/// A message.
#[derive(Debug, Serialize)]
pub(crate) struct Message<'r> {
    pub role: &'static str,
    pub content: Vec<Said<'r>>,
}

/// A `ContentBlock`, a `SystemContentBlock` or a `ToolResultContentBlock`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Said<'r> {
    Text(&'r str),
    Image {
        format: &'static str,
        source: Place<'r>,
    },
    Document {
        format: &'static str,
        name: String,
        source: Place<'r>,
    },
    Audio {
        format: &'static str,
        source: Place<'r>,
    },
    Video {
        format: &'static str,
        source: Place<'r>,
    },
    ToolUse {
        tool_use_id: String,
        name: &'r str,
        input: &'r RawValue,
    },
    ToolResult {
        tool_use_id: String,
        content: Vec<Said<'r>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<&'static str>,
    },
    ReasoningContent(Reasoning<'r>),
    CitationsContent {
        content: [Cited<'r>; 1],
        citations: &'r [Value],
    },
    CachePoint(CachePoint<'r>),
    #[serde(untagged)]
    Foreign(&'r Value),
}

/// Where the bytes of media are.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Place<'r> {
    Bytes(Cow<'r, str>),
    S3Location { uri: &'r str },
}

/// A thought.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Reasoning<'r> {
    ReasoningText { text: &'r str, signature: &'r str },
    RedactedContent(&'r str),
}

/// Text that has citations.
#[derive(Debug, Serialize)]
pub(crate) struct Cited<'r> {
    text: &'r str,
}

/// A mark behind what is to be cached.
#[derive(Debug, Serialize)]
pub(crate) struct CachePoint<'r> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'r str>,
}

impl<'r> CachePoint<'r> {
    /// Claude alone has a choice of how long.
    pub(crate) fn new(cache: &'r Cache, model: Model) -> CachePoint<'r> {
        let ttl = cache.ttl.as_deref().filter(|ttl| matches!(*ttl, "5m" | "1h"));
        let ttl = ttl.filter(|_| matches!(model, Model::Claude(..)));
        CachePoint { r#type: "default", ttl }
    }
}

/// Says blocks, one after the other.
#[derive(Debug)]
pub(crate) struct Sayer<'s> {
    pub fitting: &'s mut Fitting,
    pub model: Model,
    /// Names of documents.
    names: Vec<String>,
    /// Ids made for calls that had none, with their tools: their outcomes have none either.
    made: Vec<(String, String)>,
    /// How many were made.
    count: usize,
}

impl<'s> Sayer<'s> {
    pub(crate) fn new(fitting: &'s mut Fitting, model: Model) -> Sayer<'s> {
        Sayer { fitting, model, names: Vec::new(), made: Vec::new(), count: 0 }
    }

    pub(crate) fn system<'r>(&mut self, blocks: &'r [Block]) -> Result<Vec<Said<'r>>, Rejected> {
        let mut said = Vec::new();
        for block in blocks {
            match &block.content {
                Content::Text { text, .. } if is_blank(text) => {}
                Content::Text { text, .. } => said.push(Said::Text(text)),
                Content::Foreign { format: Format::Bedrock, json } => {
                    said.push(Said::Foreign(json))
                }
                _ => return Err(self.fitting.refuse(Feature::ServerToolBlock, &block.at)),
            }
            self.mark(block.cache.as_ref(), &block.at, &mut said)?;
        }
        Ok(said)
    }

    /// Messages: those of one side in a row become one, since sides must alternate, and a message must not
    /// be empty. Outcomes come first in theirs: nothing may stand between them and their calls.
    pub(crate) fn messages<'r>(&mut self, turns: &'r [Turn]) -> Result<Vec<Message<'r>>, Rejected> {
        let mut sides: Vec<(Role, Vec<&'r Block>)> = Vec::new();
        for turn in turns {
            if turn.name.is_some() {
                self.fitting.keep(Feature::ParticipantName, "")?;
            }
            let mut blocks = Vec::with_capacity(turn.blocks.len());
            for block in &turn.blocks {
                if self.can_say(block)? {
                    blocks.push(block);
                }
            }
            match sides.last_mut() {
                _ if blocks.is_empty() => {}
                Some((role, said)) if *role == turn.role => said.append(&mut blocks),
                _ => sides.push((turn.role, blocks)),
            }
        }
        if let Some((Role::Assistant, blocks)) = sides.last() {
            self.fitting.keep(Feature::Prefill, &blocks[0].at)?;
        }
        let mut messages = Vec::with_capacity(sides.len());
        for (role, mut blocks) in sides {
            let role = match role {
                Role::User => "user",
                Role::Assistant => "assistant",
                Role::System => {
                    self.fitting.keep(Feature::SystemTurn, &blocks[0].at)?;
                    "system"
                }
            };
            blocks.sort_by_key(|block| !matches!(block.content, Content::ToolResult(_)));
            let mut content = Vec::with_capacity(blocks.len());
            for block in blocks {
                self.block(block, &mut content)?;
            }
            messages.push(Message { role, content });
        }
        Ok(messages)
    }

    /// Whether there is anything to say: blank texts are refused by the API, and thoughts are taken back
    /// with their signature only.
    fn can_say(&mut self, block: &Block) -> Result<bool, Rejected> {
        match (&block.content, &block.signature) {
            (Content::Text { text, .. } | Content::Refusal(text), _) => Ok(!is_blank(text)),
            (Content::Reasoning { .. }, Some(signature)) if signature.format == Format::Bedrock => {
                Ok(true)
            }
            (Content::Reasoning { .. }, Some(_)) => {
                self.fitting.keep(Feature::ForeignSignatures, &block.at)?;
                Ok(false)
            }
            (Content::Reasoning { .. }, None) => {
                self.fitting.omit(Feature::Reasoning, &block.at);
                Ok(false)
            }
            _ => Ok(true),
        }
    }

    fn block<'r>(&mut self, block: &'r Block, out: &mut Vec<Said<'r>>) -> Result<(), Rejected> {
        let mut cache = block.cache.as_ref();
        let said = match &block.content {
            Content::Text { text, citations } if citations.iter().any(is_own_citation) => {
                Said::CitationsContent { content: [Cited { text }], citations }
            }
            Content::Text { text, .. } | Content::Refusal(text) => Said::Text(text),
            Content::Media(media) => self.media(media, &block.at)?,
            Content::ToolCall { id, name, arguments } => {
                self.call(id.as_deref(), name, arguments, &block.at)?
            }
            Content::ToolResult(outcome) => {
                cache = cache.or(outcome.content.iter().rev().find_map(|part| part.cache.as_ref()));
                self.outcome(outcome, &block.at)?
            }
            Content::Reasoning { text } => {
                let data = block
                    .signature
                    .as_ref()
                    .map(|signature| signature.data.as_str())
                    .unwrap_or_default();
                Said::ReasoningContent(match data.strip_prefix(REDACTED) {
                    Some(data) => Reasoning::RedactedContent(data),
                    None => Reasoning::ReasoningText { text, signature: data },
                })
            }
            Content::Foreign { format: Format::Bedrock, json } => Said::Foreign(json),
            Content::Foreign { .. } => {
                return Err(self.fitting.refuse(Feature::ServerToolBlock, &block.at));
            }
        };
        out.push(said);
        self.mark(cache, &block.at, out)
    }

    fn mark<'r>(
        &mut self,
        cache: Option<&'r Cache>,
        at: &str,
        out: &mut Vec<Said<'r>>,
    ) -> Result<(), Rejected> {
        let Some(cache) = cache else { return Ok(()) };
        if !self.model.caches() {
            self.fitting.omit(Feature::CachePoint, at);
        } else if self.fitting.keep(Feature::CachePoint, at)? && !out.is_empty() {
            out.push(Said::CachePoint(CachePoint::new(cache, self.model)));
        }
        Ok(())
    }

    fn call<'r>(
        &mut self,
        id: Option<&str>,
        name: &'r str,
        arguments: &'r str,
        at: &str,
    ) -> Result<Said<'r>, Rejected> {
        if !media_types::is_tool_name(name) {
            return Err(bad_name(at));
        }
        let arguments = if is_blank(arguments) { "{}" } else { arguments.trim() };
        let input = serde_json::from_str(arguments).ok().filter(|_| arguments.starts_with('{'));
        let input = input.ok_or_else(|| Rejected::new(at, "has arguments that are no object"))?;
        let tool_use_id = if let Some(id) = id {
            media_types::tool_use_id(id)
        } else {
            self.count += 1;
            let id = format!("call_{}", self.count);
            self.made.push((name.to_owned(), id.clone()));
            id
        };
        Ok(Said::ToolUse { tool_use_id, name, input })
    }

    fn outcome<'r>(&mut self, outcome: &'r ToolResult, at: &str) -> Result<Said<'r>, Rejected> {
        let tool_use_id = if outcome.id.is_empty() {
            self.id_of(outcome.name.as_deref()).ok_or_else(|| {
                Rejected::new(at, "is the outcome of a call that is not in the conversation")
            })?
        } else {
            media_types::tool_use_id(&outcome.id)
        };
        let mut content = Vec::with_capacity(outcome.content.len());
        for part in &outcome.content {
            match &part.content {
                Content::Text { text, .. } if is_blank(text) => {}
                Content::Text { text, .. } => content.push(Said::Text(text)),
                Content::Media(media) => {
                    self.fitting.keep(Feature::ToolResultMedia, &part.at)?;
                    content.push(self.media(media, &part.at)?);
                }
                Content::Foreign { format: Format::Bedrock, json } => {
                    content.push(Said::Foreign(json))
                }
                _ => return Err(self.fitting.refuse(Feature::ServerToolBlock, &part.at)),
            }
        }
        let mut status = None;
        if outcome.is_error {
            if self.model.takes_status() {
                status = self.fitting.keep(Feature::ToolResultError, at)?.then_some("error");
            } else {
                self.fitting.omit(Feature::ToolResultError, at);
            }
        }
        Ok(Said::ToolResult { tool_use_id, content, status })
    }

    /// That of the first call of the tool of which the outcome is still to come.
    fn id_of(&mut self, tool: Option<&str>) -> Option<String> {
        let of_tool = self.made.iter().position(|(name, _)| tool == Some(name));
        let place = of_tool.or(if self.made.is_empty() { None } else { Some(0) })?;
        Some(self.made.remove(place).1)
    }

    fn media<'r>(&mut self, media: &'r Media, at: &str) -> Result<Said<'r>, Rejected> {
        let kind = media.kind;
        if media.detail.is_some() {
            self.fitting.keep(Feature::ImageDetail, at)?;
        }
        let (bytes, url) = match kind {
            MediaKind::Image => (Feature::ImageBytes, Feature::ImageUrl),
            MediaKind::Document => (Feature::DocumentBytes, Feature::DocumentUrl),
            MediaKind::Audio => (Feature::Audio, Feature::Audio),
            MediaKind::Video => (Feature::Video, Feature::Video),
        };
        let (format, source) = match &media.source {
            Source::Base64 { media_type, data } => {
                self.fitting.keep(bytes, at)?;
                (media_types::word_of(kind, media_type), Place::Bytes(Cow::Borrowed(data)))
            }
            Source::Url { url: uri, media_type } if uri.starts_with("s3://") => {
                let told = media_type.as_deref().and_then(|own| media_types::word_of(kind, own));
                let format = told.or_else(|| media_types::word_of_ending(kind, uri));
                (format, Place::S3Location { uri })
            }
            Source::Url { .. } => return Err(self.fitting.refuse(url, at)),
            Source::File { .. } => return Err(self.fitting.refuse(Feature::FileId, at)),
            // As bytes: a text as such is taken by models that cite only.
            Source::Text(text) => {
                self.fitting.keep(Feature::DocumentText, at)?;
                (Some("txt"), Place::Bytes(Cow::Owned(STANDARD.encode(text))))
            }
        };
        let Some(format) = format else {
            return Err(Rejected::new(at, "has a media type that the provider's format lacks"));
        };
        Ok(match kind {
            MediaKind::Image => Said::Image { format, source },
            MediaKind::Audio => Said::Audio { format, source },
            MediaKind::Video => Said::Video { format, source },
            MediaKind::Document => {
                let name = media_types::document_name(media.name.as_deref(), &mut self.names);
                Said::Document { format, name, source }
            }
        })
    }
}

/// Why a tool's name is refused: its answers would have another.
pub(crate) fn bad_name(at: &str) -> Rejected {
    Rejected::new(at, "has a tool's name that is not 1 to 64 letters, digits, `_` and `-`")
}

/// A citation of this format: citations of others stay out of what is said, which means the same.
pub(crate) fn is_own_citation(citation: &Value) -> bool {
    citation.as_object().is_some_and(|members| {
        let mut names = members.keys().map(String::as_str);
        names.all(|name| matches!(name, "title" | "source" | "sourceContent" | "location"))
            && members.get("location").is_none_or(Value::is_object)
    })
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}
