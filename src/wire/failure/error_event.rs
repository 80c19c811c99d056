//! Encodes the error event that ends an interrupted stream, in the form of each API.

use bytes::Bytes;
use serde_json::json;

use super::encode_error;
use crate::wire::api::{Api, Framing, Operation};
use crate::wire::frame::aws_event_stream;

/// How to end an interrupted stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Bytes to append to the stream; empty if nothing can be appended.
    pub bytes: Bytes,
    /// Set when the body must then be aborted, because the bytes alone do not make every client fail.
    pub breaks: bool,
}

/// Encodes the last event of an interrupted stream, or the last element of its array. It may be appended only
/// between events, and must not be followed by what would end a complete response. Empty for a body that is
/// not a stream.
///
/// These make the official clients fail (from their sources, 2026):
/// - OpenAI: any event whose data has an `error`, whatever the event's name. A `response.failed` alone does
///   not: the clients return it like any other event. OpenAI's own servers send both, first `error` and then
///   `response.failed`, and so does this function. The specification puts `code` and `message` of an `error`
///   event beside its type, so they are there as well.
/// - Anthropic: an event named `error`.
/// - Gemini: a response whose first member is an `error`; its `code` must be a number. No client decodes the
///   array.
/// - Bedrock: any message of the type `exception`. botocore raises every name; generated SDKs need a name
///   that the operation defines.
/// - Cohere: nothing. The API itself sends a `message-end` with an `error`.
/// - Replicate: an event named `error` that has an `id`.
pub fn error_event(operation: Operation, framing: Framing, message: &str, code: &str) -> Bytes {
    match framing {
        Framing::Whole => Bytes::new(),
        Framing::Events => Bytes::from(event(operation, message, code)),
        Framing::Array => Bytes::from(format!("{}]", encode_error::gemini(503, message))),
        Framing::Aws => aws_event_stream::exception("modelStreamErrorException", message),
    }
}

fn event(operation: Operation, message: &str, code: &str) -> String {
    match operation.api() {
        Api::OpenAi | Api::Bedrock => openai(operation, message, code),
        Api::Anthropic => {
            format!("event: error\ndata: {}\n\n", encode_error::anthropic(500, message, None))
        }
        Api::Gemini => format!("data: {}\n\n", encode_error::gemini(503, message)),
        Api::Cohere => {
            let delta = json!({ "error": message, "finish_reason": "ERROR" });
            let end = json!({ "type": "message-end", "delta": delta });
            format!("event: message-end\ndata: {end}\n\n")
        }
        Api::Replicate => {
            format!("event: error\nid: keymux\ndata: {}\n\n", json!({ "detail": message }))
        }
    }
}

fn openai(operation: Operation, message: &str, code: &str) -> String {
    let body = encode_error::openai(message, "upstream_error", None, code);
    if operation != Operation::Responses {
        return format!("data: {body}\n\n");
    }
    let error = json!({
        "type": "error", "code": code, "message": message, "param": null, "error": body["error"],
    });
    let failed = json!({
        "type": "response.failed",
        "response": {
            "object": "response",
            "status": "failed",
            "error": { "code": code, "message": message },
        },
    });
    format!("event: error\ndata: {error}\n\nevent: response.failed\ndata: {failed}\n\n")
}
