//! The echo provider: answers in-process, without a network, so that the example file, a demo and a
//! client's tests run anywhere.
//!
//! It answers with the words of the last user message, a word an event when streamed, and counts words
//! as tokens. Some requests get more:
//!
//! | request | answer |
//! |---|---|
//! | `tools`, and `tool_choice` is `"required"` or names a function | a call of that function (else the first) with arguments `{}` |
//! | `tools`, and the last user message is `call NAME` | a call of `NAME` |
//! | the last message is a tool's result | that result's words |
//! | `max_tokens`, `max_completion_tokens`, `max_output_tokens` | an answer cut after so many words, and said to be |
//! | model `error-STATUS`, as `error-429` | that status, 400 to 599, with an error in OpenAI's shape |
//! | model `error-in-stream` | a stream that carries an error event half way |
//! | model `cut-stream` | a stream that stops half way without a word |
//!
//! Everything is made from the request alone: the same request gives the same answer.

mod chat;
mod media;
mod responses;
mod vectors;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::wire::api::{Framing, Operation};
use crate::wire::failure::error_event::error_event;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Value of the `content-type` header.
    pub content_type: &'static str,
    /// The body: in one piece, or an event a piece.
    pub frames: Vec<Bytes>,
}

/// Answers a request. `id` is the request's own id, from which the answer's ids are made; `created` the
/// time in seconds since 1970.
pub fn answer(operation: Operation, body: &[u8], id: &str, created: u64) -> Reply {
    match Ask::new(operation, body, id, created).and_then(|ask| reply(&ask)) {
        Ok(reply) => reply,
        Err(refusal) => refusal.reply(),
    }
}

fn reply(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    if let Some(refusal) = Refusal::asked_for(ask.model()) {
        return Err(refusal);
    }
    let mut reply = match ask.operation {
        Operation::Chat => chat::chat(ask),
        Operation::Completions => chat::completions(ask),
        Operation::Responses => responses::responses(ask),
        Operation::ResponsesInputTokens => responses::input_tokens(ask),
        Operation::Embeddings => vectors::embeddings(ask),
        Operation::Moderations => vectors::moderations(ask),
        Operation::Rerank => vectors::rerank(ask),
        Operation::ImageGenerations | Operation::ImageEdits | Operation::ImageVariations => {
            Ok(media::image(ask))
        }
        Operation::Speech => media::speech(ask),
        Operation::Transcriptions | Operation::Translations => media::transcript(ask),
        operation => Err(Refusal::unsupported(operation)),
    }?;
    if reply.content_type == EVENTS && matches!(ask.model(), "error-in-stream" | "cut-stream") {
        reply.frames.truncate(reply.frames.len() / 2);
        if ask.model() == "error-in-stream" {
            let message = "The echo provider was asked for an error.";
            let event = error_event(ask.operation, Framing::Events, message, "server_error");
            reply.frames.push(event);
        }
    }
    Ok(reply)
}

impl Reply {
    fn json(value: &Value) -> Reply {
        Reply { status: 200, content_type: JSON, frames: vec![Bytes::from(value.to_string())] }
    }

    fn events(frames: Vec<Bytes>) -> Reply {
        Reply { status: 200, content_type: EVENTS, frames }
    }
}

/// An event without a name.
fn data(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}

/// An event that is named like its type.
fn named(value: &Value) -> Bytes {
    let name = value["type"].as_str().unwrap_or("message");
    Bytes::from(format!("event: {name}\ndata: {value}\n\n"))
}

fn done() -> Bytes {
    Bytes::from_static(b"data: [DONE]\n\n")
}

/// A request, read.
struct Ask<'a> {
    operation: Operation,
    /// Members of a JSON body; of a form, its text fields.
    fields: Map<String, Value>,
    /// Name and size of a form's first file.
    file: Option<(String, usize)>,
    id: &'a str,
    created: u64,
}

impl<'a> Ask<'a> {
    fn new(
        operation: Operation,
        body: &[u8],
        id: &'a str,
        created: u64,
    ) -> Result<Ask<'a>, Refusal> {
        let (mut fields, mut file) = (Map::new(), None);
        if body.starts_with(b"--") {
            file = media::read_form(body, &mut fields)?;
        } else {
            fields = serde_json::from_slice(body).map_err(|error| {
                let at = (error.line(), error.column());
                let message =
                    format!("The body is not a JSON object (line {}, column {}).", at.0, at.1);
                Refusal::of_param(None, message)
            })?;
        }
        Ok(Ask { operation, fields, file, id, created })
    }

    fn get(&self, name: &str) -> &Value {
        self.fields.get(name).unwrap_or(&Value::Null)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).as_str()
    }

    fn model(&self) -> &str {
        self.text("model").unwrap_or("echo")
    }

    /// Whether a stream is wanted; a form says it in words.
    fn stream(&self) -> bool {
        let stream = self.get("stream");
        stream.as_bool().unwrap_or(matches!(stream.as_str(), Some("true" | "True" | "1")))
    }

    /// A member that must be there.
    fn needed(&self, name: &'static str) -> Result<&Value, Refusal> {
        match self.get(name) {
            Value::Null => {
                let message = format!("Missing required parameter: '{name}'.");
                Err(Refusal::of_param(Some(name), message))
            }
            value => Ok(value),
        }
    }
}

/// Why a request gets an error.
struct Refusal {
    status: u16,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<&'static str>,
    message: String,
}

impl Refusal {
    fn of_param(param: Option<&'static str>, message: impl Into<String>) -> Refusal {
        let message = message.into();
        Refusal { status: 400, kind: "invalid_request_error", code: None, param, message }
    }

    fn unsupported(operation: Operation) -> Refusal {
        let message = format!("The echo provider does not answer {}.", operation.path());
        Refusal { status: 404, ..Refusal::of_param(None, message) }
    }

    /// The error that a model `error-STATUS` stands for, as OpenAI words it.
    fn asked_for(model: &str) -> Option<Refusal> {
        let status = model.strip_prefix("error-")?.parse().ok()?;
        let (kind, code) = match status {
            401 => ("invalid_request_error", Some("invalid_api_key")),
            402 => ("insufficient_quota", Some("insufficient_quota")),
            404 => ("invalid_request_error", Some("model_not_found")),
            429 => ("requests", Some("rate_limit_exceeded")),
            400..=499 => ("invalid_request_error", None),
            500..=599 => ("server_error", None),
            _ => return None,
        };
        let message = format!("The echo provider was asked for status {status}.");
        Some(Refusal { status, kind, code, param: None, message })
    }

    fn reply(self) -> Reply {
        let Refusal { status, kind, code, param, message } = self;
        let error = json!({ "message": message, "type": kind, "param": param, "code": code });
        Reply { status, ..Reply::json(&json!({ "error": error })) }
    }
}

/// Tokens, as this provider counts them.
fn count(text: &str) -> usize {
    text.split_whitespace().count()
}

/// The text in pieces of a word each, with the blanks before it; together they are the text.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.len() - rest.trim_start().len();
        let end = rest[word..].find(char::is_whitespace).map_or(rest.len(), |length| word + length);
        let end = if rest[end..].trim_start().is_empty() { rest.len() } else { end };
        let (piece, behind) = rest.split_at(end);
        pieces.push(piece);
        rest = behind;
    }
    pieces
}

/// The text up to so many words, and whether that left something out.
fn limited(text: &str, words: Option<u64>) -> (String, bool) {
    let pieces = pieces(text);
    let most = words.and_then(|words| usize::try_from(words).ok()).unwrap_or(usize::MAX);
    (pieces.iter().take(most).copied().collect(), pieces.len() > most)
}

/// The text of a message's content: a string, or parts of which some have text.
fn content_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<_> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            texts.join(" ")
        }
        _ => String::new(),
    }
}

/// The function that must be called, for tools whose names `name_of` gives. `last` is the last
/// message's text, unless a tool wrote it.
fn called<'v>(
    ask: &'v Ask<'_>,
    name_of: fn(&Value) -> Option<&str>,
    last: Option<&'v str>,
) -> Option<&'v str> {
    let tools = ask.get("tools").as_array()?;
    let names: Vec<&str> = tools.iter().filter_map(name_of).collect();
    let (choice, last) = (ask.get("tool_choice"), last?);
    let wanted = last.trim().strip_prefix("call ").filter(|name| names.contains(name));
    match choice.as_str() {
        Some("none") => None,
        Some("required") => wanted.or(names.first().copied()),
        _ => name_of(choice).filter(|name| names.contains(name)).or(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_words_and_make_up_the_text() {
        for text in ["", "  ", "one", " a  b\n\tc ", "\u{e9}\u{a0}\u{4e2d}\u{6587} x"] {
            assert_eq!(pieces(text).concat(), text);
        }
        assert_eq!(pieces("one two\nthree "), ["one", " two", "\nthree "]);
    }

    #[test]
    fn a_model_can_ask_for_an_error() {
        let reply = answer(Operation::Chat, br#"{"model":"error-429"}"#, "1", 0);
        let body: Value = serde_json::from_slice(&reply.frames[0]).unwrap();
        assert_eq!((reply.status, reply.content_type), (429, JSON));
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");
        assert_eq!(answer(Operation::Chat, br#"{"model":"error-200"}"#, "1", 0).status, 400);
    }

    #[test]
    fn what_cannot_be_answered_is_an_error_in_openais_shape() {
        for (operation, body, status) in [
            (Operation::Chat, "{}", 400),
            (Operation::Chat, "[]", 400),
            (Operation::Embeddings, "{\"input\":{}}", 400),
            (Operation::Transcriptions, "--x\r\n", 400),
            (Operation::ResponsesCompact, "{\"input\":[]}", 404),
        ] {
            let reply = answer(operation, body.as_bytes(), "1", 0);
            let body: Value = serde_json::from_slice(&reply.frames[0]).unwrap();
            assert_eq!(reply.status, status, "{body}");
            assert!(body["error"]["message"].is_string());
        }
    }
}
