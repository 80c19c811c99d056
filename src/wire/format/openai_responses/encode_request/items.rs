//! The conversation of a fitted request as the items of `input`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::wire::api::Format;
use crate::wire::format::openai_responses::types::SummaryPart;
use crate::wire::ir::{Block, Content, Media, MediaKind, Request, Role, Source, ToolResult};

/// An item of `input`.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum InputItem<'r> {
    Message {
        role: &'static str,
        content: InputContent<'r>,
    },
    FunctionCall {
        call_id: &'r str,
        name: &'r str,
        arguments: &'r str,
    },
    FunctionCallOutput {
        call_id: &'r str,
        output: InputContent<'r>,
    },
    Reasoning {
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<&'r str>,
        summary: Vec<SummaryPart<'r>>,
        encrypted_content: &'r str,
    },
    /// An item of this format that the hub does not know.
    #[serde(untagged)]
    Foreign(&'r Value),
}

/// The parts of a message or of a call's output. A single text is written as a string.
#[derive(Debug)]
pub(super) struct InputContent<'r>(Vec<InputPart<'r>>);

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum InputPart<'r> {
    InputText {
        text: &'r str,
    },
    OutputText {
        text: &'r str,
    },
    Refusal {
        refusal: &'r str,
    },
    InputImage {
        #[serde(skip_serializing_if = "Option::is_none")]
        image_url: Option<Cow<'r, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        file_id: Option<&'r str>,
        detail: &'r str,
    },
    InputFile {
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

impl Serialize for InputContent<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match &*self.0 {
            [] => to.serialize_str(""),
            [InputPart::InputText { text } | InputPart::OutputText { text }] => {
                to.serialize_str(text)
            }
            parts => parts.serialize(to),
        }
    }
}

/// Returns the instructions if they are a single text.
pub(super) fn instructions(request: &Request) -> Option<&str> {
    match &*request.system {
        [Block { content: Content::Text { text, .. }, .. }] => Some(text),
        _ => None,
    }
}

/// Returns all items. Instructions of several blocks become a message.
pub(super) fn items(request: &Request) -> Vec<InputItem<'_>> {
    let mut items = Vec::new();
    if instructions(request).is_none() {
        push_blocks(Role::System, &request.system, &mut items);
    }
    for turn in &request.turns {
        push_blocks(turn.role, &turn.blocks, &mut items);
    }
    items
}

/// Texts and media in a row become one message; every other block is an item.
fn push_blocks<'r>(role: Role, blocks: &'r [Block], items: &mut Vec<InputItem<'r>>) {
    let mut parts = Vec::new();
    for block in blocks {
        match item(block) {
            Some(item) => {
                push_message(role, &mut parts, items);
                items.push(item);
            }
            None => parts.extend(part(role, &block.content)),
        }
    }
    push_message(role, &mut parts, items);
}

fn push_message<'r>(role: Role, parts: &mut Vec<InputPart<'r>>, items: &mut Vec<InputItem<'r>>) {
    if parts.is_empty() {
        return;
    }
    let role = match role {
        Role::User => "user",
        Role::Assistant => "assistant",
        // Not all vendors' models know `developer`; for OpenAI's models it is the same as `system`.
        Role::System => "system",
    };
    items.push(InputItem::Message { role, content: InputContent(std::mem::take(parts)) });
}

/// Returns the item that a block is; `None`: it is a part of a message.
fn item(block: &Block) -> Option<InputItem<'_>> {
    match &block.content {
        Content::ToolCall { id, name, arguments } => {
            let call_id = id.as_deref().unwrap_or_default();
            Some(InputItem::FunctionCall { call_id, name, arguments })
        }
        Content::ToolResult(ToolResult { id, content, .. }) => {
            let parts = content.iter().filter_map(|block| part(Role::User, &block.content));
            let output = InputContent(parts.collect());
            Some(InputItem::FunctionCallOutput { call_id: id, output })
        }
        Content::Reasoning { text } => {
            // The fitted request contains signed reasoning only.
            let signature = block.signature.as_ref()?;
            let text = Some(&**text).filter(|text| !text.is_empty());
            Some(InputItem::Reasoning {
                id: signature.id.as_deref(),
                summary: text.map(|text| SummaryPart::SummaryText { text }).into_iter().collect(),
                encrypted_content: &signature.data,
            })
        }
        Content::Foreign { format: Format::OpenAiResponses, json } => {
            Some(InputItem::Foreign(json))
        }
        Content::Foreign { .. }
        | Content::Text { .. }
        | Content::Refusal(_)
        | Content::Media(_) => None,
    }
}

fn part(role: Role, content: &Content) -> Option<InputPart<'_>> {
    match content {
        Content::Text { text, .. } if role == Role::Assistant => {
            Some(InputPart::OutputText { text })
        }
        Content::Text { text, .. } => Some(InputPart::InputText { text }),
        Content::Refusal(refusal) => Some(InputPart::Refusal { refusal }),
        Content::Media(media) => match media.kind {
            MediaKind::Image => Some(image(media)),
            // Audio and video are refused before.
            MediaKind::Document | MediaKind::Audio | MediaKind::Video => Some(file(media)),
        },
        // Items, and what is refused or removed before.
        Content::ToolCall { .. }
        | Content::ToolResult(_)
        | Content::Reasoning { .. }
        | Content::Foreign { .. } => None,
    }
}

fn image(media: &Media) -> InputPart<'_> {
    let (mut image_url, mut file_id) = (None, None);
    match &media.source {
        Source::Base64 { media_type, data } => {
            image_url = Some(Cow::Owned(data_url(media_type, data)));
        }
        Source::Url { url, .. } => image_url = Some(Cow::Borrowed(&**url)),
        Source::File { id, .. } => file_id = Some(&**id),
        // An image is never a text.
        Source::Text(_) => {}
    }
    // The reference requires it, and has this default.
    let detail = media.detail.as_deref().unwrap_or("auto");
    InputPart::InputImage { image_url, file_id, detail }
}

fn file(media: &Media) -> InputPart<'_> {
    let (mut filename, mut file_data, mut file_url, mut file_id) = (None, None, None, None);
    // A file in the body needs a name; next to a URL or an id the API refuses one.
    let name = |default| Some(media.name.as_deref().unwrap_or(default));
    match &media.source {
        Source::Base64 { media_type, data } => {
            let is_pdf = media_type == "application/pdf";
            filename = name(if is_pdf { "document.pdf" } else { "document.txt" });
            file_data = Some(data_url(media_type, data));
        }
        Source::Text(text) => {
            filename = name("document.txt");
            file_data = Some(data_url("text/plain", &BASE64_STANDARD.encode(text)));
        }
        Source::Url { url, .. } => file_url = Some(&**url),
        Source::File { id, .. } => file_id = Some(&**id),
    }
    InputPart::InputFile { filename, file_data, file_url, file_id }
}

fn data_url(media_type: &str, data: &str) -> String {
    format!("data:{media_type};base64,{data}")
}
