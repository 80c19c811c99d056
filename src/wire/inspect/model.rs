//! Finds the model and the stream flag of a request, and replaces the model.
//!
//! The rest of the body is not read. It is sent to the provider as the client wrote it, so order, spacing,
//! numbers and unknown keys are preserved.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::wire::json::walk::{Fault, Part, Scanner, is_named};

/// The facts that routing needs from a request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peek<'b> {
    /// The requested model; `None` if the body names none.
    pub model: Option<Cow<'b, str>>,
    /// True if the client requests a streamed response.
    pub stream: bool,
    /// True if the body has `input` and no `messages`: a body of OpenAI's Responses API, which some clients
    /// send to the chat completions path.
    pub is_of_responses: bool,
    /// The range of the model's value in the body, including the quotes; empty if there is no model.
    value: Range<usize>,
    /// The offset of the model's key.
    name: usize,
    encoding: Encoding,
}

/// The encoding of a value in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// A JSON string.
    Json,
    /// The bytes of a form field.
    Raw,
}

/// Reads a JSON body.
///
/// # Errors
///
/// Returns an error if the body is not one JSON object, contains `model` or `stream` twice (also with
/// escapes, as `"mo\u0064el"`), or gives them values of a wrong type. Values of other members are skipped
/// without a check.
pub fn peek(body: &[u8]) -> Result<Peek<'_>, PeekError> {
    look(body, "model")
}

/// Reads the JSON body of a Replicate prediction, where `version` is the model.
///
/// # Errors
///
/// Returns the same errors as [`peek`].
pub fn peek_version(body: &[u8]) -> Result<Peek<'_>, PeekError> {
    look(body, "version")
}

fn look<'b>(body: &'b [u8], model: &str) -> Result<Peek<'b>, PeekError> {
    let mut found = Found::new(Encoding::Json);
    let (mut scanner, mut rest) = (Scanner::new(), body);
    let (mut member, mut name) = (None, 0);
    while let Some(piece) = scanner.next(&mut rest)? {
        match (piece.part, member) {
            // The body ends within this piece; `finish` returns the error.
            _ if !piece.ends => {}
            (Part::Key, _) => {
                (member, name) = (Member::of_key(piece.bytes, model), piece.start);
                found.messages |= is_named(piece.bytes, "messages");
                found.input |= is_named(piece.bytes, "input");
            }
            (Part::Value, Some(Member::Model)) => {
                let value = piece.start..piece.start + piece.bytes.len();
                found.model(model_of(piece.bytes)?, name, value)?;
            }
            (Part::Value, Some(Member::Stream)) => found.stream(match piece.bytes {
                b"true" => true,
                b"false" | b"null" => false,
                _ => return Err(PeekError::StreamNotBool),
            })?,
            (Part::Value, None) => {}
        }
    }
    scanner.finish()?;
    Ok(found.peek())
}

impl Peek<'_> {
    /// Replaces the model with `name`. Returns the bytes before the value, the new value, and the bytes
    /// after it. The first and last are slices of `body`, which must be the body that was read. A body
    /// without a model stays unchanged.
    pub fn replace_model(&self, body: &Bytes, name: &str) -> [Bytes; 3] {
        if self.model.is_none() {
            return [body.clone(), Bytes::new(), Bytes::new()];
        }
        let value = match self.encoding {
            // Serializing a string to memory cannot fail.
            Encoding::Json => Bytes::from(serde_json::to_vec(name).unwrap_or_default()),
            Encoding::Raw => Bytes::copy_from_slice(name.as_bytes()),
        };
        [body.slice(..self.value.start), value, body.slice(self.value.end..)]
    }

    /// Replaces the whole member `model` with `members`, written as JSON without the braces. A body without
    /// a model and a form stay unchanged.
    pub fn replace_member(&self, body: &Bytes, members: Bytes) -> [Bytes; 3] {
        if self.model.is_none() || self.encoding == Encoding::Raw {
            return [body.clone(), Bytes::new(), Bytes::new()];
        }
        [body.slice(..self.name), members, body.slice(self.value.end..)]
    }

    /// Inserts `model` as the first member or field of a body that has none.
    pub fn insert_model(&self, body: &Bytes, name: &str) -> [Bytes; 3] {
        match self.encoding {
            Encoding::Json => {
                let Some(brace) = body.iter().position(|byte| *byte == b'{') else {
                    return [body.clone(), Bytes::new(), Bytes::new()];
                };
                let behind = body.slice(brace + 1..);
                let empty = behind.trim_ascii_start().starts_with(b"}");
                let name = serde_json::to_string(name).unwrap_or_default();
                let member = format!(r#""model":{name}{}"#, if empty { "" } else { "," });
                [body.slice(..=brace), Bytes::from(member), behind]
            }
            Encoding::Raw => {
                // The form begins with its boundary, without a preamble: RFC 2046, section 5.1.1.
                let line = body.iter().position(|byte| *byte == b'\n').unwrap_or_default();
                let boundary = body[..line].trim_ascii_end();
                let mut part = boundary.to_vec();
                part.extend_from_slice(
                    b"\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n",
                );
                part.extend_from_slice(name.as_bytes());
                part.extend_from_slice(b"\r\n");
                [Bytes::from(part), body.clone(), Bytes::new()]
            }
        }
    }

    /// Returns the facts of a body that need not be read, because the path contains them.
    pub fn unread(stream: bool) -> Peek<'static> {
        let (is_of_responses, encoding) = (false, Encoding::Json);
        Peek { model: None, stream, is_of_responses, value: 0..0, name: 0, encoding }
    }
}

/// The reason why a body cannot be routed. Its text is a sentence for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeekError {
    /// The body ends too early; the offset is its length.
    Truncated(usize),
    /// At this offset the body does not contain the expected JSON.
    Unexpected(usize, &'static str),
    /// Brackets nest too deep at this offset.
    TooDeep(usize),
    /// `model` or `stream` occurs twice.
    Twice(&'static str),
    /// The model is not a string.
    ModelNotString,
    /// The model is an empty string.
    ModelEmpty,
    /// The model's string is not valid: broken escapes or broken UTF-8.
    ModelNotText,
    /// `stream` is neither true nor false.
    StreamNotBool,
    /// The multipart body is malformed at this offset; the text names what is expected there.
    Multipart(usize, &'static str),
}

impl PeekError {
    /// Returns the parameter that caused the error, if there is one.
    pub fn param(&self) -> Option<&'static str> {
        match self {
            PeekError::Twice(name) => Some(name),
            PeekError::ModelNotString | PeekError::ModelEmpty | PeekError::ModelNotText => {
                Some("model")
            }
            PeekError::StreamNotBool => Some("stream"),
            PeekError::Truncated(_)
            | PeekError::Unexpected(..)
            | PeekError::TooDeep(_)
            | PeekError::Multipart(..) => None,
        }
    }
}

impl fmt::Display for PeekError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeekError::Truncated(0) => {
                f.write_str("The request body is empty; it must be a JSON object.")
            }
            PeekError::Truncated(at) => {
                write!(
                    f,
                    "The request body is not whole: its JSON object is still open at its end, byte {at}."
                )
            }
            PeekError::Unexpected(at, wanted) => write!(
                f,
                "The request body is not one valid JSON object: expected {wanted} at byte {at}."
            ),
            PeekError::TooDeep(at) => {
                write!(f, "The request body nests brackets too deep, at byte {at}.")
            }
            PeekError::Twice(name) => write!(f, "'{name}' is given twice in the request body."),
            PeekError::ModelNotString => f.write_str("'model' must be a string."),
            PeekError::ModelEmpty => f.write_str("'model' must not be empty."),
            PeekError::ModelNotText => f.write_str("'model' is not a valid string."),
            PeekError::StreamNotBool => f.write_str("'stream' must be true or false."),
            PeekError::Multipart(at, wanted) => write!(
                f,
                "The request body is not valid multipart/form-data: expected {wanted} at byte {at}."
            ),
        }
    }
}

impl std::error::Error for PeekError {}

impl From<Fault> for PeekError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Truncated { at } => PeekError::Truncated(at),
            Fault::Unexpected { at, wanted } => PeekError::Unexpected(at, wanted),
            Fault::TooDeep { at } => PeekError::TooDeep(at),
        }
    }
}

/// The two members that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Member {
    Model,
    Stream,
}

impl Member {
    /// Returns the member with the key `name`; `model` is the key of the model.
    pub(crate) fn named(name: &str, model: &str) -> Option<Member> {
        match name {
            "stream" => Some(Member::Stream),
            _ => (name == model).then_some(Member::Model),
        }
    }

    /// Returns the member with this key, which is written with its quotes.
    fn of_key(key: &[u8], model: &str) -> Option<Member> {
        // A key written only in `\u` escapes is at most this long.
        const LONGEST: usize = 2 + 6 * "version".len();
        if is_named(key, model) {
            Some(Member::Model)
        } else if is_named(key, "stream") {
            Some(Member::Stream)
        } else if key.len() <= LONGEST && key.contains(&b'\\') {
            serde_json::from_slice::<String>(key).ok().and_then(|name| Member::named(&name, model))
        } else {
            None
        }
    }
}

/// The members found so far; rejects a second occurrence.
#[derive(Debug)]
pub(crate) struct Found<'b> {
    model: Option<(Cow<'b, str>, usize, Range<usize>)>,
    stream: Option<bool>,
    messages: bool,
    input: bool,
    encoding: Encoding,
}

impl<'b> Found<'b> {
    pub(crate) fn new(encoding: Encoding) -> Self {
        Self { model: None, stream: None, messages: false, input: false, encoding }
    }

    pub(crate) fn model(
        &mut self,
        model: Cow<'b, str>,
        name: usize,
        value: Range<usize>,
    ) -> Result<(), PeekError> {
        if model.is_empty() {
            return Err(PeekError::ModelEmpty);
        }
        match self.model.replace((model, name, value)) {
            None => Ok(()),
            Some(_) => Err(PeekError::Twice("model")),
        }
    }

    pub(crate) fn stream(&mut self, stream: bool) -> Result<(), PeekError> {
        match self.stream.replace(stream) {
            None => Ok(()),
            Some(_) => Err(PeekError::Twice("stream")),
        }
    }

    pub(crate) fn peek(self) -> Peek<'b> {
        let (model, name, value) =
            self.model.map_or((None, 0, 0..0), |(model, name, value)| (Some(model), name, value));
        let (stream, is_of_responses) =
            (self.stream.unwrap_or(false), self.input && !self.messages);
        Peek { model, stream, is_of_responses, value, name, encoding: self.encoding }
    }
}

fn model_of(value: &[u8]) -> Result<Cow<'_, str>, PeekError> {
    let [b'"', text @ .., b'"'] = value else { return Err(PeekError::ModelNotString) };
    if text.iter().any(|byte| *byte == b'\\' || *byte < b' ') {
        let text = serde_json::from_slice::<String>(value);
        return text.map(Cow::Owned).map_err(|_| PeekError::ModelNotText);
    }
    std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| PeekError::ModelNotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(body: &str) -> String {
        peek(body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn model_and_stream_are_found_wherever_they_stand() {
        let found = peek(
            br#" {"messages":[{"model":"no","stream":false}],"stream":true,"model":"a/b:c"} "#,
        )
        .unwrap();
        assert_eq!(found.model, Some(Cow::Borrowed("a/b:c")));
        assert!(matches!(found.model, Some(Cow::Borrowed(_))));
        assert!(found.stream);
        let none = peek(b"{}").unwrap();
        assert_eq!((none.model, none.stream), (None, false));
        assert!(!peek(br#"{"stream":null}"#).unwrap().stream);
    }

    #[test]
    fn a_version_is_the_model_of_a_prediction() {
        let body = Bytes::from_static(br#"{"input":{"version":1},"model":[],"version":"r/o/n:1"}"#);
        let peeked = peek_version(&body).unwrap();
        assert_eq!(peeked.model.as_deref(), Some("r/o/n:1"));
        let changed = peeked.replace_model(&body, "o/n:1").concat();
        assert_eq!(changed, br#"{"input":{"version":1},"model":[],"version":"o/n:1"}"#);
    }

    #[test]
    fn escapes_in_the_model_are_decoded() {
        let found = peek(br#"{"mo\u0064el":"gpt\u002d4\u00e9\/x"}"#).unwrap();
        assert_eq!(found.model.as_deref(), Some("gpt-4\u{e9}/x"));
    }

    #[test]
    fn the_new_model_is_escaped_and_the_rest_is_shared() {
        let body = Bytes::from_static(b"{ \"n\":1.0, \"model\" :\"old\" ,\"x\":[]}\n");
        let [before, value, behind] = peek(&body).unwrap().replace_model(&body, "a\"\n\u{e9}");
        assert_eq!(&before[..], b"{ \"n\":1.0, \"model\" :");
        assert_eq!(&value[..], "\"a\\\"\\n\u{e9}\"".as_bytes());
        assert_eq!(&behind[..], b" ,\"x\":[]}\n");
        assert_eq!(before.as_ptr(), body.as_ptr());
        let without = Bytes::from_static(b"{}");
        let parts = peek(&without).unwrap().replace_model(&without, "m");
        assert_eq!(parts.concat(), b"{}");
    }

    #[test]
    fn a_whole_member_is_replaced_and_a_missing_one_inserted() {
        let body = Bytes::from_static(b"{\"a\":1, \"model\": \"old\",\"x\":2}");
        let parts = peek(&body).unwrap().replace_member(&body, Bytes::from_static(b"\"v\":1"));
        assert_eq!(parts.concat(), b"{\"a\":1, \"v\":1,\"x\":2}");
        for (body, with) in
            [(" {}", " {\"model\":\"m\"}"), ("{\"a\":1}", "{\"model\":\"m\",\"a\":1}")]
        {
            let body = Bytes::from(body);
            let parts = peek(&body).unwrap().insert_model(&body, "m");
            assert_eq!(parts.concat(), with.as_bytes());
        }
    }

    #[test]
    fn what_cannot_be_routed_is_said_in_a_sentence() {
        assert_eq!(error(""), "The request body is empty; it must be a JSON object.");
        assert_eq!(
            error("{\"model\":\"gp"),
            "The request body is not whole: its JSON object is still open at its end, byte 12."
        );
        assert_eq!(
            error("{\"model\":\"m\"} {"),
            "The request body is not one valid JSON object: expected the end at byte 14."
        );
        assert_eq!(
            error(r#"{"model":"m","mode\u006C":"n"}"#),
            "'model' is given twice in the request body."
        );
        assert_eq!(
            error(r#"{"stream":null,"str\u0065am":true}"#),
            "'stream' is given twice in the request body."
        );
        assert_eq!(error(r#"{"model":null}"#), "'model' must be a string.");
        assert_eq!(error(r#"{"model":["m"]}"#), "'model' must be a string.");
        assert_eq!(error(r#"{"model":""}"#), "'model' must not be empty.");
        assert_eq!(error(r#"{"model":"\ud800"}"#), "'model' is not a valid string.");
        assert_eq!(error("{\"model\":\"a\nb\"}"), "'model' is not a valid string.");
        assert_eq!(error(r#"{"stream":"true"}"#), "'stream' must be true or false.");
        assert_eq!(error(r#"{"stream":truely}"#), "'stream' must be true or false.");
        let broken = peek(b"{\"model\":\"\xff\"}").unwrap_err();
        assert_eq!((broken, broken.param()), (PeekError::ModelNotText, Some("model")));
        assert_eq!(peek(b"[]").unwrap_err().param(), None);
    }
}
