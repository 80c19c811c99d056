//! A request's conversation as the items of `input`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::call_ids::CallIds;
use super::named;
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::ir::{Block, Content, Media, MediaKind, Request, Role, Source, ToolResult, Turn};
use crate::wire::json::fields::Rejected;

/// An item.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Item<'r> {
    Message {
        r#type: &'static str,
        role: &'static str,
        content: Said<'r>,
    },
    Call {
        r#type: &'static str,
        call_id: Cow<'r, str>,
        name: &'r str,
        arguments: &'r str,
    },
    Output {
        r#type: &'static str,
        call_id: Cow<'r, str>,
        output: Said<'r>,
    },
    Reasoning {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'r str>,
        summary: Vec<Part<'r>>,
        encrypted_content: &'r str,
    },
    Foreign(&'r Value),
}

/// What a message or an output says: one text stands alone.
#[derive(Debug)]
pub(crate) struct Said<'r>(Vec<Part<'r>>);

/// A part of it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Part<'r> {
    Text {
        r#type: &'static str,
        text: &'r str,
    },
    Refusal {
        r#type: &'static str,
        refusal: &'r str,
    },
    Image {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        image_url: Option<Cow<'r, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_id: Option<&'r str>,
        detail: &'r str,
    },
    File {
        r#type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<&'r str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_data: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_url: Option<&'r str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_id: Option<&'r str>,
    },
}

impl Serialize for Said<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [] => to.serialize_str(""),
            [Part::Text { text, .. }] => to.serialize_str(text),
            parts => parts.serialize(to),
        }
    }
}

/// The instructions, where they are one text.
pub(crate) fn instructions(request: &Request) -> Option<&str> {
    match &*request.system {
        [Block { content: Content::Text { text, .. }, .. }] => Some(text),
        _ => None,
    }
}

/// All items.
pub(crate) fn items<'r>(
    request: &'r Request,
    fitting: &mut Fitting,
) -> Result<Vec<Item<'r>>, Rejected> {
    let mut out = Conversation { out: Vec::new(), parts: Vec::new(), ids: CallIds::default() };
    if instructions(request).is_none() {
        out.blocks(Role::System, &request.system, fitting)?;
    }
    for (place, turn) in request.turns.iter().enumerate() {
        out.turn(turn, place + 1 == request.turns.len(), fitting)?;
    }
    Ok(out.out)
}

struct Conversation<'r> {
    out: Vec<Item<'r>>,
    /// Of the message that is being written.
    parts: Vec<Part<'r>>,
    ids: CallIds<'r>,
}

impl<'r> Conversation<'r> {
    fn turn(&mut self, turn: &'r Turn, last: bool, fitting: &mut Fitting) -> Result<(), Rejected> {
        let Turn { role, name, blocks } = turn;
        if name.is_some() {
            fitting.keep(Feature::ParticipantName, "")?;
        }
        if *role == Role::System {
            fitting.keep(Feature::SystemTurn, blocks.first().map_or("", |block| &block.at))?;
        }
        if let (true, Role::Assistant, Some(Block { content: Content::Text { .. }, at, .. })) =
            (last, role, blocks.last())
        {
            fitting.keep(Feature::Prefill, at)?;
        }
        self.blocks(*role, blocks, fitting)
    }

    fn blocks(
        &mut self,
        role: Role,
        blocks: &'r [Block],
        fitting: &mut Fitting,
    ) -> Result<(), Rejected> {
        for block in blocks {
            if block.cache.is_some() {
                fitting.keep(Feature::CachePoint, "")?;
            }
            let item = match &block.content {
                Content::Text { text, .. } => {
                    self.parts.push(Part::Text { r#type: spoken(role), text });
                    continue;
                }
                Content::Refusal(refusal) => {
                    self.parts.push(Part::Refusal { r#type: "refusal", refusal });
                    continue;
                }
                Content::Media(media) => {
                    self.parts.push(part(media, &block.at, fitting)?);
                    continue;
                }
                Content::ToolCall { id, name, arguments } => {
                    let arguments = if arguments.is_empty() { "{}" } else { arguments };
                    let call_id = self.ids.call(id.as_deref());
                    named(name, &block.at)?;
                    Some(Item::Call { r#type: "function_call", call_id, name, arguments })
                }
                Content::ToolResult(outcome) => Some(self.outcome(outcome, &block.at, fitting)?),
                Content::Reasoning { text } => thought(text, block, fitting)?,
                Content::Foreign { format: Format::OpenAiResponses, json } => {
                    Some(Item::Foreign(json))
                }
                Content::Foreign { .. } => {
                    fitting.keep(Feature::ServerToolBlock, &block.at)?;
                    None
                }
            };
            self.message(role);
            self.out.extend(item);
        }
        self.message(role);
        Ok(())
    }

    /// Ends the message that is being written.
    fn message(&mut self, role: Role) {
        if self.parts.is_empty() {
            return;
        }
        let content = Said(std::mem::take(&mut self.parts));
        let role = match role {
            Role::User => "user",
            Role::Assistant => "assistant",
            // The vendors' models know `system`, and not all of them `developer`; to OpenAI's both are one.
            Role::System => "system",
        };
        self.out.push(Item::Message { r#type: "message", role, content });
    }

    fn outcome(
        &mut self,
        outcome: &'r ToolResult,
        at: &str,
        fitting: &mut Fitting,
    ) -> Result<Item<'r>, Rejected> {
        let ToolResult { id, name: _, content, is_error } = outcome;
        if *is_error {
            fitting.keep(Feature::ToolResultError, "")?;
        }
        let Some(call_id) = self.ids.outcome(id) else {
            return Err(Rejected::new(at, "is the result of a call that is not there"));
        };
        let mut parts = Vec::with_capacity(content.len());
        for block in content {
            parts.push(match &block.content {
                Content::Text { text, .. } => Part::Text { r#type: "input_text", text },
                Content::Media(media) => {
                    fitting.keep(Feature::ToolResultMedia, &block.at)?;
                    part(media, &block.at, fitting)?
                }
                _ => return Err(fitting.refuse(Feature::ServerToolBlock, &block.at)),
            });
        }
        Ok(Item::Output { r#type: "function_call_output", call_id, output: Said(parts) })
    }
}

fn spoken(role: Role) -> &'static str {
    if role == Role::Assistant { "output_text" } else { "input_text" }
}

/// A thought that this API has signed; all others are left out.
fn thought<'r>(
    text: &'r str,
    block: &'r Block,
    fitting: &mut Fitting,
) -> Result<Option<Item<'r>>, Rejected> {
    match &block.signature {
        Some(signature) if signature.format == Format::OpenAiResponses => {
            Ok(Some(Item::Reasoning {
                r#type: "reasoning",
                id: signature.id.as_deref(),
                summary: match text {
                    "" => Vec::new(),
                    text => vec![Part::Text { r#type: "summary_text", text }],
                },
                encrypted_content: &signature.data,
            }))
        }
        Some(_) => fitting.keep(Feature::ForeignSignatures, "").map(|_| None),
        None => fitting.keep(Feature::Reasoning, "").map(|_| None),
    }
}

fn part<'r>(media: &'r Media, at: &str, fitting: &mut Fitting) -> Result<Part<'r>, Rejected> {
    match media.kind {
        MediaKind::Image => image(media, at, fitting),
        MediaKind::Document => file(media, at, fitting),
        MediaKind::Audio => Err(fitting.refuse(Feature::Audio, at)),
        MediaKind::Video => Err(fitting.refuse(Feature::Video, at)),
    }
}

fn image<'r>(media: &'r Media, at: &str, fitting: &mut Fitting) -> Result<Part<'r>, Rejected> {
    let (mut image_url, mut file_id) = (None, None);
    match &media.source {
        Source::Base64 { media_type, data } => {
            image_url = Some(Cow::Owned(data_url(media_type, data)));
        }
        Source::Url { url, .. } => {
            image_url = Some(Cow::Borrowed(reachable(url, Feature::ImageUrl, at, fitting)?));
        }
        Source::File { format, id } => file_id = Some(own_file(*format, id, at, fitting)?),
        Source::Text(_) => return Err(fitting.refuse(Feature::DocumentText, at)),
    }
    // The reference requires it, and has this default.
    let detail = media.detail.as_deref().unwrap_or("auto");
    Ok(Part::Image { r#type: "input_image", image_url, file_id, detail })
}

fn file<'r>(media: &'r Media, at: &str, fitting: &mut Fitting) -> Result<Part<'r>, Rejected> {
    let (mut file_data, mut file_url, mut file_id) = (None, None, None);
    let mut filename = media.name.as_deref();
    match &media.source {
        Source::Base64 { media_type, data } => {
            // A file in the body is not taken without a name.
            filename = filename.or(Some(unnamed(media_type)));
            file_data = Some(data_url(media_type, data));
        }
        Source::Text(text) => {
            filename = filename.or(Some(unnamed("text/plain")));
            file_data = Some(data_url("text/plain", &BASE64_STANDARD.encode(text)));
        }
        Source::Url { url, .. } => {
            file_url = Some(reachable(url, Feature::DocumentUrl, at, fitting)?);
        }
        Source::File { format, id } => file_id = Some(own_file(*format, id, at, fitting)?),
    }
    // Next to an address or an id the API refuses a name.
    let filename = filename.filter(|_| file_data.is_some());
    Ok(Part::File { r#type: "input_file", filename, file_data, file_url, file_id })
}

fn data_url(media_type: &str, data: &str) -> String {
    format!("data:{media_type};base64,{data}")
}

fn unnamed(media_type: &str) -> &'static str {
    match media_type {
        "application/pdf" => "document.pdf",
        _ => "document.txt",
    }
}

/// The API fetches from the web, and not from the stores of other clouds.
fn reachable<'r>(
    url: &'r str,
    feature: Feature,
    at: &str,
    fitting: &Fitting,
) -> Result<&'r str, Rejected> {
    let web = url.starts_with("https:") || url.starts_with("http:");
    if web { Ok(url) } else { Err(fitting.refuse(feature, at)) }
}

/// OpenAI's files are the same in both of its formats.
fn own_file<'r>(
    format: Format,
    id: &'r str,
    at: &str,
    fitting: &Fitting,
) -> Result<&'r str, Rejected> {
    match format {
        Format::OpenAiResponses | Format::OpenAiChat => Ok(id),
        _ => Err(fitting.refuse(Feature::FileId, at)),
    }
}
