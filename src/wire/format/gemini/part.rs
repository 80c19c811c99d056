//! The parts of a content as they are written, in requests and in answers alike.
//! <https://ai.google.dev/api/caching#Part>

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{media, signature};
use crate::wire::api::Format;
use crate::wire::ir::{Block, Content, Media, Source, ToolResult};

/// One part.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Part<'p> {
    Fields(Box<PartFields<'p>>),
    /// JSON of this format.
    Verbatim(&'p Value),
    Written(Box<RawValue>),
}

impl<'p> From<PartFields<'p>> for Part<'p> {
    fn from(fields: PartFields<'p>) -> Part<'p> {
        Part::Fields(Box::new(fields))
    }
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartFields<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<Cow<'p, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) inline_data: Option<Blob<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file_data: Option<FileData<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function_call: Option<FunctionCall<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) function_response: Option<FunctionResponse<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thought_signature: Option<Cow<'p, str>>,
}

impl<'p> PartFields<'p> {
    pub(super) fn text(text: &'p str) -> PartFields<'p> {
        PartFields { text: Some(Cow::Borrowed(text)), ..PartFields::default() }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blob<'p> {
    mime_type: &'p str,
    data: Cow<'p, str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileData<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'p str>,
    file_uri: &'p str,
}

#[derive(Debug, Serialize)]
pub(super) struct FunctionCall<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'p str>,
    name: &'p str,
    args: &'p RawValue,
}

#[derive(Debug, Serialize)]
pub(super) struct FunctionResponse<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'p str>,
    name: &'p str,
    response: ResultObject<'p>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part<'p>>,
}

/// A tool's result. It must be an object: "Use "output" key to specify function output and "error" key to
/// specify error details"; other objects pass as they are.
/// <https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/Content#functionresponse>
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ResultObject<'p> {
    Object(&'p RawValue),
    Output { output: Cow<'p, str> },
    Error { error: ErrorDetails<'p> },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ErrorDetails<'p> {
    Object(&'p RawValue),
    Text(Cow<'p, str>),
}

/// Returns the parts of these blocks.
pub(super) fn parts<'p>(blocks: impl IntoIterator<Item = &'p Block>) -> Vec<Part<'p>> {
    blocks.into_iter().filter_map(part).collect()
}

/// Returns the part that holds a block. `None`: no part can hold it, because it is a call whose arguments are
/// not a JSON object, media that Google cannot read, or a block of another format.
pub(super) fn part(block: &Block) -> Option<Part<'_>> {
    let fields = match &block.content {
        Content::Text { text, .. } | Content::Refusal(text) => PartFields::text(text),
        // An empty text that only carries a signature is not marked.
        Content::Reasoning { text } => {
            PartFields { thought: !text.is_empty(), ..PartFields::text(text) }
        }
        Content::ToolCall { id, name, arguments } => {
            let call = FunctionCall { id: id.as_deref(), name, args: object(arguments)? };
            PartFields { function_call: Some(call), ..PartFields::default() }
        }
        Content::ToolResult(result) => {
            let response = Some(function_response(result));
            PartFields { function_response: response, ..PartFields::default() }
        }
        Content::Media(media) => media_part(media)?,
        Content::Foreign { format: Format::Gemini, json } => return Some(Part::Verbatim(json)),
        Content::Foreign { .. } => return None,
    };
    let thought_signature = block.signature.as_ref().map(signature::encode);
    Some(PartFields { thought_signature, ..fields }.into())
}

/// Returns JSON text that is an object; for the empty text an empty object.
fn object(text: &str) -> Option<&RawValue> {
    let text = match text.trim_ascii() {
        "" => "{}",
        text => text,
    };
    text.starts_with('{').then(|| serde_json::from_str(text).ok())?
}

fn function_response(result: &ToolResult) -> FunctionResponse<'_> {
    let texts = result.content.iter().filter_map(|block| match &block.content {
        Content::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let texts: Vec<_> = texts.collect();
    let text = match texts[..] {
        [one] => Cow::Borrowed(one),
        _ => Cow::Owned(texts.join("\n")),
    };
    let object = match &text {
        Cow::Borrowed(text) if !text.trim_ascii().is_empty() => object(text),
        _ => None,
    };
    let response = match (object, result.is_error) {
        (Some(object), false) => ResultObject::Object(object),
        (None, false) => ResultObject::Output { output: text },
        (Some(object), true) => ResultObject::Error { error: ErrorDetails::Object(object) },
        (None, true) => ResultObject::Error { error: ErrorDetails::Text(text) },
    };
    let media = result.content.iter().filter(|block| matches!(block.content, Content::Media(_)));
    FunctionResponse {
        id: Some(&*result.id).filter(|id| !id.is_empty()),
        name: result.name.as_deref().unwrap_or_default(),
        response,
        parts: parts(media),
    }
}

/// Returns a part for media. `None`: Google cannot read their bytes or their address.
pub(super) fn media_part(media: &Media) -> Option<PartFields<'_>> {
    let mut fields = PartFields::default();
    match &media.source {
        Source::Base64 { media_type, data } => {
            fields.inline_data = Some(Blob { mime_type: media_type, data: Cow::Borrowed(data) });
        }
        Source::Text(text) => {
            let data = Cow::Owned(BASE64_STANDARD.encode(text));
            fields.inline_data = Some(Blob { mime_type: "text/plain", data });
        }
        Source::Url { url, media_type } => {
            if !["https:", "http:", "gs:"].iter().any(|scheme| url.starts_with(scheme)) {
                return None;
            }
            // Vertex demands it.
            let mime_type = media_type.as_deref().or(media::type_of_url(url));
            fields.file_data = Some(FileData { mime_type, file_uri: url });
        }
        Source::File { format: Format::Gemini, id } => {
            fields.file_data = Some(FileData { mime_type: None, file_uri: id });
        }
        Source::File { .. } => return None,
    }
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_are_arguments() {
        assert_eq!(object(" {\"a\": 1.0} ").unwrap().get(), "{\"a\": 1.0}");
        assert_eq!(object("").unwrap().get(), "{}");
        for other in ["[]", "\"a\"", "{\"a\":", "{}{}", "null"] {
            assert!(object(other).is_none(), "{other}");
        }
    }
}
