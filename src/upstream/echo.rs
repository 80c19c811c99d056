//! The echo provider: answers inside this process, without a network, so that the example file, a demo
//! and a client's tests run anywhere. It supports chat, completions, responses and embeddings.
//!
//! It returns the text of the last user message, in a stream one event for each word, and counts words as
//! tokens. Some requests get another answer:
//!
//! | request | answer |
//! |---|---|
//! | `tools`, and `tool_choice` is `"required"` or names a function | a call of that function (or the first) with arguments `{}` |
//! | `tools`, and the last user message is `call NAME` | a call of `NAME` |
//! | the last message is a tool result | the text of the result |
//! | `max_tokens`, `max_completion_tokens`, `max_output_tokens` | an answer of at most that many words, with the stop reason for it |
//! | model `error-STATUS`, as `error-429` | that status, 400 to 599, with an error in OpenAI's format |
//! | model `error-in-stream` | half of the stream, then an error event |
//! | model `cut-stream` | half of the stream |
//!
//! The answer depends on the request alone: the same request gets the same answer.

mod chat;
mod embeddings;
mod responses;

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
    /// The body in one piece, or one piece for each event.
    pub frames: Vec<Bytes>,
}

/// Answers a request. The ids in the answer are made from `id`, the id of the request; `created` is Unix
/// time in seconds.
pub fn answer(operation: Operation, body: &[u8], id: &str, created: u64) -> Reply {
    match Ask::new(operation, body, id, created).and_then(|ask| reply(&ask)) {
        Ok(reply) => reply,
        Err(refusal) => refusal.into_reply(),
    }
}

fn reply(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    if let Some(refusal) = Refusal::for_model(ask.model()) {
        return Err(refusal);
    }
    let mut reply = match ask.operation {
        Operation::Chat => chat::chat(ask),
        Operation::Completions => chat::completions(ask),
        Operation::Responses => responses::responses(ask),
        Operation::ResponsesInputTokens => responses::input_tokens(ask),
        Operation::Embeddings => embeddings::embeddings(ask),
        operation => Err(Refusal::unsupported(operation)),
    }?;
    if reply.content_type == EVENTS && matches!(ask.model(), "error-in-stream" | "cut-stream") {
        reply.frames.truncate(reply.frames.len() / 2);
        if ask.model() == "error-in-stream" {
            let message = "The echo provider returns an error for this model.";
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

/// Returns an event without a name.
fn data_event(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}

/// Returns an event with the name in its `type`.
fn named_event(value: &Value) -> Bytes {
    let name = value["type"].as_str().unwrap_or("message");
    Bytes::from(format!("event: {name}\ndata: {value}\n\n"))
}

fn done_event() -> Bytes {
    Bytes::from_static(b"data: [DONE]\n\n")
}

/// A parsed request.
struct Ask<'a> {
    operation: Operation,
    fields: Map<String, Value>,
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
        let fields = serde_json::from_slice(body).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let message = format!("The body is not a JSON object (line {line}, column {column}).");
            Refusal::invalid(None, message)
        })?;
        Ok(Ask { operation, fields, id, created })
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

    fn stream(&self) -> bool {
        self.get("stream") == true
    }

    /// Returns a member, or an error if it is missing.
    fn required(&self, name: &'static str) -> Result<&Value, Refusal> {
        match self.get(name) {
            Value::Null => {
                let message = format!("Missing required parameter: '{name}'.");
                Err(Refusal::invalid(Some(name), message))
            }
            value => Ok(value),
        }
    }
}

/// An error answer.
struct Refusal {
    status: u16,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<&'static str>,
    message: String,
}

impl Refusal {
    fn invalid(param: Option<&'static str>, message: impl Into<String>) -> Refusal {
        let message = message.into();
        Refusal { status: 400, kind: "invalid_request_error", code: None, param, message }
    }

    fn unsupported(operation: Operation) -> Refusal {
        let message = format!("The echo provider does not support {}.", operation.path());
        Refusal { status: 404, ..Refusal::invalid(None, message) }
    }

    /// Returns the error for a model `error-STATUS`, in OpenAI's terms.
    fn for_model(model: &str) -> Option<Refusal> {
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
        let message = format!("The echo provider returns status {status} for this model.");
        Some(Refusal { status, kind, code, param: None, message })
    }

    fn into_reply(self) -> Reply {
        let Refusal { status, kind, code, param, message } = self;
        let error = json!({ "message": message, "type": kind, "param": param, "code": code });
        Reply { status, ..Reply::json(&json!({ "error": error })) }
    }
}

/// Counts tokens: one for each word.
fn count_tokens(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Splits the text into words, each with the whitespace before it. Concatenated they are the text.
fn split_words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let start = rest.len() - rest.trim_start().len();
        let end =
            rest[start..].find(char::is_whitespace).map_or(rest.len(), |length| start + length);
        let end = if rest[end..].trim_start().is_empty() { rest.len() } else { end };
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after;
    }
    words
}

/// Returns at most `limit` words of the text, and true if words were left out.
fn truncate(text: &str, limit: Option<u64>) -> (String, bool) {
    let words = split_words(text);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (words.iter().take(limit).copied().collect(), words.len() > limit)
}

/// Returns the text of a message's content: a string, or parts of which some have text.
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

/// Returns the function to call. `name_of` reads the name of a tool; `user_text` is the last message, if it
/// is from the user.
fn function_to_call<'v>(
    ask: &'v Ask<'_>,
    name_of: fn(&Value) -> Option<&str>,
    user_text: Option<&'v str>,
) -> Option<&'v str> {
    let tools = ask.get("tools").as_array()?;
    let names: Vec<&str> = tools.iter().filter_map(name_of).collect();
    let (choice, text) = (ask.get("tool_choice"), user_text?);
    let wanted = text.trim().strip_prefix("call ").filter(|name| names.contains(name));
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
    fn words_concatenate_to_the_text() {
        for text in ["", "  ", "one", " a  b\n\tc ", "\u{e9}\u{a0}\u{4e2d}\u{6587} x"] {
            assert_eq!(split_words(text).concat(), text);
        }
        assert_eq!(split_words("one two\nthree "), ["one", " two", "\nthree "]);
    }

    #[test]
    fn a_model_name_selects_an_error() {
        let reply = answer(Operation::Chat, br#"{"model":"error-429"}"#, "1", 0);
        let body: Value = serde_json::from_slice(&reply.frames[0]).unwrap();
        assert_eq!((reply.status, reply.content_type), (429, JSON));
        assert_eq!(body["error"]["code"], "rate_limit_exceeded");
        assert_eq!(answer(Operation::Chat, br#"{"model":"error-200"}"#, "1", 0).status, 400);
    }

    #[test]
    fn an_invalid_request_gets_an_error_in_openais_format() {
        for (operation, body, status) in [
            (Operation::Chat, "{}", 400),
            (Operation::Chat, "[]", 400),
            (Operation::Embeddings, "{\"input\":{}}", 400),
            (Operation::Transcriptions, "--x\r\n", 400),
            (Operation::Moderations, "{}", 404),
            (Operation::ResponsesCompact, "{\"input\":[]}", 404),
        ] {
            let reply = answer(operation, body.as_bytes(), "1", 0);
            let body: Value = serde_json::from_slice(&reply.frames[0]).unwrap();
            assert_eq!(reply.status, status, "{body}");
            assert!(body["error"]["message"].is_string());
        }
    }
}
