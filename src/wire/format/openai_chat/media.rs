//! Media, images of answers and Gemini's signatures in the form of the format and its vendors.

use serde_json::{Value, json};

use crate::wire::ir::{Media, MediaKind, Signature, Source};

/// Returns media without a name.
pub(super) fn unnamed(kind: MediaKind, source: Source) -> Media {
    Media { kind, source, name: None, detail: None }
}

/// Reads a URL, of which `data:` URLs are the bytes themselves.
///
/// # Errors
///
/// When a `data:` URL (RFC 2397) is not in base64; the reason as a sentence without subject.
pub(super) fn source_of(url: &str) -> Result<Source, &'static str> {
    let scheme = url.get(..5).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("data:") {
        return Ok(Source::Url { url: url.to_owned(), media_type: None });
    }
    let (head, data) = url[5..].split_once(',').ok_or("must have a comma before its data")?;
    let mut words = head.split(';');
    let media_type = words.next().unwrap_or_default();
    if !words.any(|word| word.trim().eq_ignore_ascii_case("base64")) {
        return Err("must be in base64");
    }
    let media_type = if media_type.is_empty() { "text/plain" } else { media_type };
    Ok(Source::Base64 { media_type: media_type.to_owned(), data: data.to_owned() })
}

/// Returns a `data:` URL.
pub(super) fn data_url(media_type: &str, data: &str) -> String {
    format!("data:{media_type};base64,{data}")
}

/// Returns the format's name of an audio type; `None` if it is no audio. OpenAI takes `wav` and `mp3`.
pub(super) fn audio_format(media_type: &str) -> Option<&str> {
    match media_type.strip_prefix("audio/")? {
        "wav" | "wave" | "x-wav" | "vnd.wave" => Some("wav"),
        "mp3" | "mpeg" => Some("mp3"),
        other => Some(other),
    }
}

/// Returns an image of an answer as OpenRouter writes it; OpenAI's format has none.
pub(super) fn answer_image(media: &Media) -> Option<Value> {
    let url = match &media.source {
        Source::Base64 { media_type, data } if media_type.starts_with("image/") => {
            data_url(media_type, data)
        }
        Source::Url { url, .. } => url.clone(),
        _ => return None,
    };
    Some(json!({ "type": "image_url", "image_url": { "url": url } }))
}

/// Returns the `extra_content` in which Google's own servers of the format have the signature of a call.
/// <https://ai.google.dev/gemini-api/docs/thought-signatures#openai>
pub(super) fn google_signature(signature: &Signature) -> Value {
    json!({ "google": { "thought_signature": signature.data } })
}
