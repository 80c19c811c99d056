//! The same look at a `multipart/form-data` body (RFC 7578): audio and image uploads carry the model as
//! a form field.

use std::borrow::Cow;

use memchr::memmem::{Finder, find};

use super::peek::{Encoding, Found, Member, Peek, PeekError};

/// A part's headers are a name, a file name and a type: longer than this is not meant well.
const MAX_PART_HEAD: usize = 16 * 1024;

/// The boundary that a `multipart/form-data` content type names; `None` for other types, and for a
/// boundary that RFC 2046 does not allow.
pub fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = Parameters(parameters).find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?.1;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    (matches!(value.len(), 1..=70) && !value.ends_with(' ') && value.bytes().all(allowed))
        .then_some(value)
}

/// Looks at a form with this boundary.
///
/// # Errors
///
/// When the form is broken, gives `model` or `stream` twice, or gives them values that they cannot have.
pub fn peek<'b>(body: &'b [u8], boundary: &str) -> Result<Peek<'b>, PeekError> {
    let mut found = Found::new(Encoding::Raw);
    let delimiter = format!("\r\n--{boundary}");
    let finder = Finder::new(&delimiter);
    // The line break before the first delimiter is missing when no preamble stands before it.
    let mut at = if body.starts_with(&delimiter.as_bytes()[2..]) {
        delimiter.len() - 2
    } else {
        let start = finder.find(body).ok_or(PeekError::Multipart(0, "the boundary"))?;
        start + delimiter.len()
    };
    while !body[at..].starts_with(b"--") {
        let head = at + line_end(body, at)?;
        // The search begins on the line break before the head: a part may have no header at all.
        let window = &body[head - 2..body.len().min(head + MAX_PART_HEAD)];
        let blank = find(window, b"\r\n\r\n")
            .ok_or(PeekError::Multipart(head, "the headers of a part and an empty line"))?;
        if finder.find(&window[..blank]).is_some() {
            return Err(PeekError::Multipart(head, "an empty line behind the headers of a part"));
        }
        let (name, content) = (field_name(&window[..blank]), head + blank + 2);
        let length = finder
            .find(&body[content - 2..])
            .ok_or(PeekError::Multipart(body.len(), "the closing boundary"))?;
        // An empty part shares its line break with the empty line before it.
        let value = content..content.max(content - 2 + length);
        match name.and_then(Member::named) {
            Some(Member::Model) => found.model(text(&body[value.clone()])?, value)?,
            Some(Member::Stream) => found.stream(flag(&body[value])?)?,
            None => {}
        }
        at = content - 2 + length + delimiter.len();
    }
    Ok(found.peek())
}

/// Behind the line break that ends a delimiter's line; blanks may stand before it.
fn line_end(body: &[u8], at: usize) -> Result<usize, PeekError> {
    let padding = body[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if body[at + padding..].starts_with(b"\r\n") {
        Ok(padding + 2)
    } else {
        Err(PeekError::Multipart(at + padding, "a line break behind the boundary"))
    }
}

/// The `name` of the field whose headers these are.
fn field_name(head: &[u8]) -> Option<&str> {
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let (_, value) =
        lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"))?;
    let (kind, parameters) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    Some(Parameters(parameters).find(|(name, _)| name.eq_ignore_ascii_case("name"))?.1)
}

fn text(value: &[u8]) -> Result<Cow<'_, str>, PeekError> {
    std::str::from_utf8(value).map(Cow::Borrowed).map_err(|_| PeekError::ModelNotText)
}

/// Forms know no booleans: these are the ways in which the readers behind providers write and take them.
fn flag(value: &[u8]) -> Result<bool, PeekError> {
    match value.to_ascii_lowercase().as_slice() {
        b"true" | b"1" => Ok(true),
        b"false" | b"0" | b"" => Ok(false),
        _ => Err(PeekError::StreamNotBool),
    }
}

/// `name=value; name="value"`: quotes are taken off, escapes within them stay.
struct Parameters<'h>(&'h str);

impl<'h> Iterator for Parameters<'h> {
    type Item = (&'h str, &'h str);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.0.split_once('=')?;
        let name = name.rsplit(';').next().unwrap_or(name).trim();
        let rest = rest.trim_start();
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let end = closing_quote(quoted)?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => rest.split_once(';').unwrap_or((rest, "")),
        };
        self.0 = rest;
        Some((name, value.trim_end()))
    }
}

fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const FORM: &str = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a; name=\\\"model\\\".wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--X\r\n\r\n\r\n--XX \r\ncontent-disposition:form-data;name=model\r\n\r\nwhisper-1\r\n--XX\r\nContent-Disposition: form-data; name=\"stream\"\r\n\r\nTrue\r\n--XX\r\nContent-Disposition: form-data; name=\"prompt\"\r\n\r\n\r\n--XX--\r\n";

    fn error(body: &str) -> String {
        peek(body.as_bytes(), "XX").unwrap_err().to_string()
    }

    fn field(name: &str, value: &str) -> String {
        format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    }

    #[test]
    fn the_boundary_is_read_from_the_content_type() {
        assert_eq!(boundary("multipart/form-data; boundary=a1-_b"), Some("a1-_b"));
        assert_eq!(boundary("Multipart/Form-Data;charset=utf-8; Boundary=\"a b\""), Some("a b"));
        for bad in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=\"a",
            "multipart/form-data; boundary=a\u{e9}",
            "multipart/mixed; boundary=a",
            "application/json",
        ] {
            assert_eq!(boundary(bad), None, "{bad}");
        }
        assert_eq!(boundary(&format!("multipart/form-data; boundary={}", "x".repeat(71))), None);
    }

    #[test]
    fn fields_are_found_and_files_passed_over() {
        let found = peek(FORM.as_bytes(), "XX").unwrap();
        assert_eq!(found.model.as_deref(), Some("whisper-1"));
        assert!(found.stream);
        let preamble = format!("ignored\r\n{FORM}ignored");
        assert_eq!(peek(preamble.as_bytes(), "XX").unwrap().model.as_deref(), Some("whisper-1"));
        let none = peek(b"--XX--", "XX").unwrap();
        assert_eq!((none.model, none.stream), (None, false));
    }

    #[test]
    fn only_the_models_bytes_are_replaced() {
        let body = Bytes::from_static(FORM.as_bytes());
        let replaced = peek(&body, "XX").unwrap().replace_model(&body, "large \"v3\"").concat();
        assert_eq!(replaced, FORM.replace("whisper-1", "large \"v3\"").as_bytes());
    }

    #[test]
    fn what_cannot_be_routed_is_said() {
        let twice = [field("model", "a"), field("model", "b"), "--XX--".into()].concat();
        assert_eq!(error(&twice), "'model' is given twice in the request body.");
        let empty = [field("model", ""), "--XX--".into()].concat();
        assert_eq!(error(&empty), "'model' must not be empty.");
        let stream = [field("stream", "perhaps"), "--XX--".into()].concat();
        assert_eq!(error(&stream), "'stream' must be true or false.");
        assert!(error("nothing").contains("expected the boundary at byte 0"));
        assert!(error("--XXY\r\n").contains("expected a line break behind the boundary at byte 4"));
        assert!(error("--XX\r\na: b\r\n--XX--").contains("and an empty line at byte 6"));
    }

    #[test]
    fn every_prefix_is_an_error() {
        let whole = FORM.find("--XX--").unwrap() + "--XX--".len();
        for end in 0..whole {
            assert!(peek(&FORM.as_bytes()[..end], "XX").is_err(), "cut at {end}");
        }
    }
}
