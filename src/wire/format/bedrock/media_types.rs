//! The format's words for media, and the alphabets of its names.

use std::fmt::Write as _;

use crate::wire::ir::MediaKind;
use crate::wire::json::digest::Digest;

/// Media type and the API's word for it. Of several rows with one word the first is what a caller's word
/// is read as, of several with one type the first is what is written.
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
const SOUNDS: &[(&str, &str)] = &[
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
const FILMS: &[(&str, &str)] = &[
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
        MediaKind::Audio => SOUNDS,
        MediaKind::Video => FILMS,
    }
}

/// The API's word for a media type, whose parameters do not matter.
pub(crate) fn word_of(kind: MediaKind, media_type: &str) -> Option<&'static str> {
    let media_type = media_type.split(';').next().unwrap_or_default().trim();
    let row = table(kind).iter().find(|row| row.0.eq_ignore_ascii_case(media_type))?;
    Some(row.1)
}

/// The API's word for the ending of an address.
pub(crate) fn word_of_ending(kind: MediaKind, address: &str) -> Option<&'static str> {
    let (_, ending) = address.rsplit_once('.')?;
    let ending = if ending.eq_ignore_ascii_case("jpg") { "jpeg" } else { ending };
    let row = table(kind).iter().find(|row| row.1.eq_ignore_ascii_case(ending))?;
    Some(row.1)
}

/// The media type of a word of the API's.
pub(crate) fn type_of(kind: MediaKind, word: &str) -> Option<&'static str> {
    let row = table(kind).iter().find(|row| row.1 == word)?;
    Some(row.0)
}

/// `ToolName`: one to 64 of these.
pub(crate) fn is_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// `ToolUseId`: one to 64 of letters, digits and `_.:-`. An id of another form becomes one that is made from
/// all of it, so that a call and its outcome stay together in every request.
pub(crate) fn tool_use_id(id: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
    if (1..=64).contains(&id.len()) && id.chars().all(fits) {
        return id.to_owned();
    }
    let mut made: String = id.chars().take(40).map(|c| if fits(c) { c } else { '_' }).collect();
    let hash = Digest::default().text(id.as_bytes()).finish();
    let _ = write!(made, "_{hash:016x}");
    made
}

/// A document's name in the alphabet of the API: letters, digits, single spaces, hyphens, parentheses and
/// square brackets; 200 at most. Names must differ within a request: `taken` holds those that are used up.
pub(crate) fn document_name(name: Option<&str>, taken: &mut Vec<String>) -> String {
    let mut made = String::new();
    for c in name.unwrap_or_default().chars().take(180) {
        match c {
            _ if c.is_ascii_alphanumeric() || matches!(c, '-' | '(' | ')' | '[' | ']') => {
                made.push(c);
            }
            _ if c.is_whitespace() => {
                if !made.ends_with(' ') {
                    made.push(' ');
                }
            }
            _ => made.push('-'),
        }
    }
    let base = match made.trim() {
        "" => format!("document {}", taken.len() + 1),
        made => made.to_owned(),
    };
    let mut name = base.clone();
    let mut again = 2;
    while taken.contains(&name) {
        name = format!("{base} ({again})");
        again += 1;
    }
    taken.push(name.clone());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_and_words_find_each_other() {
        assert_eq!(word_of(MediaKind::Image, "image/jpg"), Some("jpeg"));
        assert_eq!(word_of(MediaKind::Document, "text/plain; charset=utf-8"), Some("txt"));
        assert_eq!(word_of(MediaKind::Image, "image/svg+xml"), None);
        assert_eq!(type_of(MediaKind::Image, "jpeg"), Some("image/jpeg"));
        assert_eq!(type_of(MediaKind::Video, "three_gp"), Some("video/3gpp"));
        assert_eq!(word_of_ending(MediaKind::Image, "s3://b/kiwi.JPG"), Some("jpeg"));
    }

    #[test]
    fn ids_keep_apart_and_fit() {
        assert_eq!(tool_use_id("tooluse_a.b:c-1"), "tooluse_a.b:c-1");
        let (one, two) = (tool_use_id("call|1"), tool_use_id("call/1"));
        assert_ne!(one, two);
        assert_eq!(one, tool_use_id("call|1"));
        let long = tool_use_id(&"x".repeat(500));
        assert!(long.len() <= 64 && tool_use_id(&long) == long);
    }

    #[test]
    fn documents_have_names_of_their_own() {
        let mut taken = Vec::new();
        assert_eq!(document_name(Some("a/b  c.pdf"), &mut taken), "a-b c-pdf");
        assert_eq!(document_name(Some("a/b c.pdf"), &mut taken), "a-b c-pdf (2)");
        assert_eq!(document_name(None, &mut taken), "document 3");
        assert_eq!(document_name(Some(" "), &mut taken), "document 4");
    }
}
