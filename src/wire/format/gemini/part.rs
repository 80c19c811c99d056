//! The parts of a content as they are written, in requests and in answers alike.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::wire::api::Format;
use crate::wire::ir::{Media, MediaKind, Source};

/// One part.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Part<'p> {
    Own(Box<Own<'p>>),
    /// Of this format already.
    Foreign(&'p Value),
}

impl<'p> From<Own<'p>> for Part<'p> {
    fn from(own: Own<'p>) -> Part<'p> {
        Part::Own(Box::new(own))
    }
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Own<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<Cow<'p, str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) thought: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) inline_data: Option<Blob<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) file_data: Option<FileData<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) function_call: Option<Call<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) function_response: Option<Response<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) thought_signature: Option<Cow<'p, str>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Blob<'p> {
    pub(crate) mime_type: Cow<'p, str>,
    pub(crate) data: Cow<'p, str>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileData<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mime_type: Option<&'p str>,
    pub(crate) file_uri: &'p str,
}

#[derive(Debug, Serialize)]
pub(crate) struct Call<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'p str>,
    pub(crate) name: &'p str,
    pub(crate) args: &'p RawValue,
}

#[expect(clippy::struct_field_names, reason = "Google's names")]
#[derive(Debug, Serialize)]
pub(crate) struct Response<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<&'p str>,
    pub(crate) name: &'p str,
    pub(crate) response: ProviderError<'p>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) parts: Vec<Part<'p>>,
}

/// An outcome must be an object.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ProviderError<'p> {
    Object(&'p RawValue),
    Output { output: Cow<'p, str> },
    Error { error: Error<'p> },
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Error<'p> {
    Object(&'p RawValue),
    Text(Cow<'p, str>),
}

/// JSON text that is an object; the empty text is an empty one.
pub(crate) fn object(text: &str) -> Option<&RawValue> {
    let text = text.trim_ascii();
    if text.is_empty() {
        return serde_json::from_str("{}").ok();
    }
    if !text.starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// A part for media; `None`: their bytes or address are not ones that Google can read.
pub(crate) fn media(media: &Media) -> Option<Own<'_>> {
    let mut own = Own::default();
    match &media.source {
        Source::Base64 { media_type, data } => {
            let (mime_type, data) = (Cow::Borrowed(&**media_type), Cow::Borrowed(&**data));
            own.inline_data = Some(Blob { mime_type, data });
        }
        Source::Text(text) => {
            let data = Cow::Owned(BASE64_STANDARD.encode(text));
            own.inline_data = Some(Blob { mime_type: Cow::Borrowed("text/plain"), data });
        }
        Source::Url { url, media_type } => {
            if !["https:", "http:", "gs:"].iter().any(|scheme| url.starts_with(scheme)) {
                return None;
            }
            let mime_type = media_type.as_deref().or(media_type_of(url));
            own.file_data = Some(FileData { mime_type, file_uri: url });
        }
        Source::File { format: Format::Gemini, id } => {
            own.file_data = Some(FileData { mime_type: None, file_uri: id });
        }
        Source::File { .. } => return None,
    }
    Some(own)
}

/// The sort of what has this media type.
pub(crate) fn kind_of(media_type: &str) -> MediaKind {
    match media_type.split('/').next() {
        Some("image") => MediaKind::Image,
        Some("audio") => MediaKind::Audio,
        Some("video") => MediaKind::Video,
        _ => MediaKind::Document,
    }
}

/// What an address says of the media type, which Vertex wants beside it.
pub(crate) fn media_type_of(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let (_, extension) = path.rsplit('/').next()?.rsplit_once('.')?;
    Some(match &*extension.to_ascii_lowercase() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "gif" => "image/gif",
        "heic" => "image/heic",
        "heif" => "image/heif",
        "pdf" => "application/pdf",
        "txt" => "text/plain",
        "mp3" => "audio/mp3",
        "wav" => "audio/wav",
        "flac" => "audio/flac",
        "ogg" => "audio/ogg",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "mov" => "video/quicktime",
        _ => return None,
    })
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

    #[test]
    fn an_address_says_its_media_type() {
        assert_eq!(media_type_of("https://x.y/a.b/c.PNG?d=e.pdf"), Some("image/png"));
        assert_eq!(media_type_of("https://x.com"), None);
        assert_eq!(media_type_of("https://x/y"), None);
    }
}
