//! Media as the format has them: addresses, of which `data:` ones are the bytes themselves.

use crate::wire::ir::{Media, MediaKind, Source};

/// Media without a name.
pub(crate) fn plain(kind: MediaKind, source: Source) -> Media {
    Media { kind, source, name: None, detail: None }
}

/// What an address stands for.
///
/// # Errors
///
/// When a `data:` address (RFC 2397) is not in base64; the reason as a sentence without subject.
pub(crate) fn source_of(url: &str) -> Result<Source, &'static str> {
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

/// A `data:` address.
pub(crate) fn data_url(media_type: &str, data: &str) -> String {
    format!("data:{media_type};base64,{data}")
}
