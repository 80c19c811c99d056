//! Reads the model and the stream flag of a `multipart/form-data` body (RFC 7578): audio and image uploads
//! contain the model as a form field.

use std::borrow::Cow;

use memchr::memmem::{Finder, find};

use super::model::{Encoding, Found, Member, Peek, PeekError};

/// The limit for the headers of a part. They contain a name, a file name and a type, so longer headers are
/// rejected.
const MAX_PART_HEAD: usize = 16 * 1024;

/// Returns the boundary of a `multipart/form-data` content type; `None` for other types, and for a boundary
/// that RFC 2046 does not allow.
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

/// Reads a form with this boundary.
///
/// # Errors
///
/// Returns an error if the form is malformed, contains `model` or `stream` twice, or gives them invalid
/// values.
pub fn peek<'b>(body: &'b [u8], boundary: &str) -> Result<Peek<'b>, PeekError> {
    let mut found = Found::new(Encoding::Raw);
    for field in Fields::new(body, boundary) {
        let Field { name, value, start, .. } = field?;
        match name.and_then(|name| Member::named(name, "model")) {
            Some(Member::Model) => found.model(text(value)?, start, start..start + value.len())?,
            Some(Member::Stream) => found.stream(flag(value)?)?,
            None => {}
        }
    }
    Ok(found.peek())
}

/// One part of a form.
#[derive(Clone, Copy, Debug)]
pub struct Field<'b> {
    /// The name; `None` if the headers contain none.
    pub name: Option<&'b str>,
    /// The file name, if the part is a file.
    pub file_name: Option<&'b str>,
    /// The content.
    pub value: &'b [u8],
    /// The offset of the content in the body.
    pub start: usize,
}

/// The parts of a form, in order, up to the closing boundary or the first error.
#[derive(Debug)]
pub struct Fields<'b> {
    body: &'b [u8],
    /// A line break, two dashes and the boundary.
    delimiter: Finder<'static>,
    /// The offset after the last delimiter; `None` before the first.
    at: Option<usize>,
    ended: bool,
}

impl<'b> Fields<'b> {
    /// Creates an iterator over a form with this boundary.
    pub fn new(body: &'b [u8], boundary: &str) -> Self {
        let delimiter = Finder::new(&format!("\r\n--{boundary}")).into_owned();
        Self { body, delimiter, at: None, ended: false }
    }

    fn field(&mut self) -> Result<Option<Field<'b>>, PeekError> {
        let (body, delimiter) = (self.body, self.delimiter.needle());
        let at = match self.at {
            Some(at) => at,
            // Without a preamble, the first delimiter has no line break before it.
            None if body.starts_with(&delimiter[2..]) => delimiter.len() - 2,
            None => {
                let start = self.delimiter.find(body);
                start.ok_or(PeekError::Multipart(0, "the boundary"))? + delimiter.len()
            }
        };
        if body[at..].starts_with(b"--") {
            return Ok(None);
        }
        let head = at + line_end(body, at)?;
        // The search begins at the line break before the headers, because a part may have no headers.
        let window = &body[head - 2..body.len().min(head + MAX_PART_HEAD)];
        let blank = find(window, b"\r\n\r\n")
            .filter(|blank| self.delimiter.find(&window[..*blank]).is_none())
            .ok_or(PeekError::Multipart(head, "the headers of a part and an empty line"))?;
        let (name, file_name) = names(&window[..blank]);
        let start = head + blank + 2;
        // An empty part shares its line break with the empty line before it.
        let end = self.delimiter.find(&body[start - 2..]).map(|length| start - 2 + length);
        let end = end.ok_or(PeekError::Multipart(body.len(), "the closing boundary"))?;
        self.at = Some(end + delimiter.len());
        Ok(Some(Field { name, file_name, value: &body[start..end.max(start)], start }))
    }
}

impl<'b> Iterator for Fields<'b> {
    type Item = Result<Field<'b>, PeekError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let field = self.field().transpose();
        self.ended = !matches!(field, Some(Ok(_)));
        field
    }
}

/// Returns the length up to and including the line break that ends a delimiter's line; blanks may precede
/// it.
fn line_end(body: &[u8], at: usize) -> Result<usize, PeekError> {
    let padding = body[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    if body[at + padding..].starts_with(b"\r\n") {
        Ok(padding + 2)
    } else {
        Err(PeekError::Multipart(at + padding, "a line break behind the boundary"))
    }
}

/// Returns `name` and `filename` from the headers of a field.
fn names(head: &[u8]) -> (Option<&str>, Option<&str>) {
    let head = std::str::from_utf8(head).unwrap_or_default();
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let disposition =
        lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
    let value = disposition.and_then(|(_, value)| value.split_once(';'));
    let Some((_, parameters)) =
        value.filter(|(kind, _)| kind.trim().eq_ignore_ascii_case("form-data"))
    else {
        return (None, None);
    };
    let parameter = |wanted: &str| {
        Parameters(parameters).find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, v)| v)
    };
    (parameter("name"), parameter("filename"))
}

fn text(value: &[u8]) -> Result<Cow<'_, str>, PeekError> {
    std::str::from_utf8(value).map(Cow::Borrowed).map_err(|_| PeekError::ModelNotText)
}

/// Parses a boolean. Forms have no boolean type; providers' form parsers write and accept these values.
fn flag(value: &[u8]) -> Result<bool, PeekError> {
    match value.to_ascii_lowercase().as_slice() {
        b"true" | b"1" => Ok(true),
        b"false" | b"0" | b"" => Ok(false),
        _ => Err(PeekError::StreamNotBool),
    }
}

/// Iterates over `name=value; name="value"`: removes the quotes and keeps the escapes within them.
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
        let files = Fields::new(FORM.as_bytes(), "XX").filter_map(|field| field.unwrap().file_name);
        assert_eq!(files.collect::<Vec<_>>(), [r#"a; name=\"model\".wav"#]);
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
