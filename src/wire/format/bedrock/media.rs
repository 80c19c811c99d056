//! The API's formats of media, and names of documents.

use crate::wire::ir::{Media, MediaKind, Source};

/// Media types and the API's formats. Of several rows with one format the first gives its media type, of several
/// with one type the first gives its format.
const IMAGES: &[(&str, &str)] = &[
    ("image/png", "png"),
    ("image/jpeg", "jpeg"),
    ("image/jpg", "jpeg"),
    ("image/gif", "gif"),
    ("image/webp", "webp"),
];
const DOCUMENTS: &[(&str, &str)] = &[
    ("application/pdf", "pdf"),
    ("text/plain", "txt"),
    ("text/csv", "csv"),
    ("text/html", "html"),
    ("text/markdown", "md"),
    ("application/msword", "doc"),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", "docx"),
    ("application/vnd.ms-excel", "xls"),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"),
];
const AUDIO: &[(&str, &str)] = &[
    ("audio/mpeg", "mp3"),
    ("audio/mp3", "mp3"),
    ("audio/wav", "wav"),
    ("audio/x-wav", "wav"),
    ("audio/opus", "opus"),
    ("audio/aac", "aac"),
    ("audio/x-aac", "x-aac"),
    ("audio/flac", "flac"),
    ("audio/ogg", "ogg"),
    ("audio/mp4", "mp4"),
    ("audio/m4a", "m4a"),
    ("audio/x-m4a", "m4a"),
    ("audio/webm", "webm"),
    ("audio/x-matroska", "mka"),
    ("audio/x-matroska", "mkv"),
    ("audio/mpeg", "mpeg"),
    ("audio/mpeg", "mpga"),
    ("audio/pcm", "pcm"),
    ("audio/pcm16", "pcm"),
];
const VIDEOS: &[(&str, &str)] = &[
    ("video/mp4", "mp4"),
    ("video/quicktime", "mov"),
    ("video/mov", "mov"),
    ("video/webm", "webm"),
    ("video/x-matroska", "mkv"),
    ("video/x-flv", "flv"),
    ("video/mpeg", "mpeg"),
    ("video/mpeg", "mpg"),
    ("video/x-ms-wmv", "wmv"),
    ("video/wmv", "wmv"),
    ("video/3gpp", "three_gp"),
];

fn table(kind: MediaKind) -> &'static [(&'static str, &'static str)] {
    match kind {
        MediaKind::Image => IMAGES,
        MediaKind::Document => DOCUMENTS,
        MediaKind::Audio => AUDIO,
        MediaKind::Video => VIDEOS,
    }
}

/// Returns the API's format of a piece of media; `None` if the API has none.
pub(super) fn format(media: &Media) -> Option<&'static str> {
    match &media.source {
        Source::Base64 { media_type, .. } => format_of_type(media.kind, media_type),
        Source::Url { url, media_type } => media_type
            .as_deref()
            .and_then(|media_type| format_of_type(media.kind, media_type))
            .or_else(|| format_of_url(media.kind, url)),
        Source::Text(_) => Some("txt"),
        Source::File { .. } => None,
    }
}

/// Returns the API's format of a media type, whose parameters do not matter.
pub(super) fn format_of_type(kind: MediaKind, media_type: &str) -> Option<&'static str> {
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let row = table(kind).iter().find(|row| row.0.eq_ignore_ascii_case(media_type))?;
    Some(row.1)
}

/// Returns the API's format of a URL by its extension.
fn format_of_url(kind: MediaKind, url: &str) -> Option<&'static str> {
    let (_, extension) = url.rsplit_once('.')?;
    let extension = if extension.eq_ignore_ascii_case("jpg") { "jpeg" } else { extension };
    let row = table(kind).iter().find(|row| row.1.eq_ignore_ascii_case(extension))?;
    Some(row.1)
}

/// Returns the media type of a format of the API.
pub(super) fn type_of_format(kind: MediaKind, format: &str) -> Option<&'static str> {
    let row = table(kind).iter().find(|row| row.1 == format)?;
    Some(row.0)
}

/// Returns a document's name as the API accepts it: letters, digits, single spaces, hyphens, parentheses and
/// square brackets; 200 at most. Names must differ within a request: `taken` holds those in use.
pub(super) fn document_name(name: Option<&str>, taken: &mut Vec<String>) -> String {
    let mut accepted = String::new();
    for c in name.unwrap_or_default().chars().take(180) {
        match c {
            _ if c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']') => {
                accepted.push(c);
            }
            _ if c.is_whitespace() => {
                if !accepted.ends_with(' ') {
                    accepted.push(' ');
                }
            }
            _ => accepted.push('-'),
        }
    }
    let base = match accepted.trim() {
        "" => format!("document {}", taken.len() + 1),
        name => name.to_owned(),
    };
    let mut name = base.clone();
    let mut number = 2;
    while taken.contains(&name) {
        name = format!("{base} ({number})");
        number += 1;
    }
    taken.push(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_and_formats_convert_both_ways() {
        assert_eq!(format_of_type(MediaKind::Image, "image/jpg"), Some("jpeg"));
        assert_eq!(format_of_type(MediaKind::Document, "text/plain; charset=utf-8"), Some("txt"));
        assert_eq!(format_of_type(MediaKind::Image, "image/svg+xml"), None);
        assert_eq!(type_of_format(MediaKind::Image, "jpeg"), Some("image/jpeg"));
        assert_eq!(type_of_format(MediaKind::Video, "three_gp"), Some("video/3gpp"));
        assert_eq!(format_of_url(MediaKind::Image, "s3://b/kiwi.JPG"), Some("jpeg"));
    }

    #[test]
    fn names_of_documents_are_unique() {
        let mut taken = Vec::new();
        assert_eq!(document_name(Some("a/b  c.pdf"), &mut taken), "a-b c-pdf");
        assert_eq!(document_name(Some("a/b c.pdf"), &mut taken), "a-b c-pdf (2)");
        assert_eq!(document_name(None, &mut taken), "document 3");
        assert_eq!(document_name(Some(" "), &mut taken), "document 4");
    }
}
