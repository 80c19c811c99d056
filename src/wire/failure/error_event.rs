//! What tells a caller that its stream was cut, in the form of each API.

use bytes::Bytes;
use serde_json::json;

use crate::wire::api::{Api, Framing, Operation};
use crate::wire::frame::aws_event_stream;

/// How a stream that broke off is brought to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What is put behind it; empty: nothing can be.
    pub bytes: Bytes,
    /// Whether the body must then break off, because the bytes alone do not make every client fail.
    pub breaks: bool,
}

/// The event to put behind a stream that broke off, or the last element of its array. It stands between
/// events only, and nothing that would end a whole answer follows it. A whole body has none.
///
/// What makes the official clients fail (read in their sources, 2026):
/// - OpenAI: any event whose data has an `error`, whatever its name, and nothing else: not a
///   `response.failed`, which they hand on as one more event. OpenAI's own servers send both, first `error`
///   and then `response.failed`, so that is the form here too. The specification has `code` and `message` of
///   an `error` event beside its type, so they stand there as well.
/// - Anthropic: an event named `error`.
/// - Gemini: a response whose first member is an `error`; its `code` must be a number. None reads the array.
/// - Bedrock: any message of the type `exception`; botocore raises it whatever its name, SDKs that are
///   generated need one that the operation has.
/// - Cohere: nothing. A `message-end` with an `error` is what the API itself has.
/// - Replicate: an event named `error` that has an `id`.
pub fn error_event(operation: Operation, framing: Framing, message: &str, code: &str) -> Bytes {
    match framing {
        Framing::Whole => Bytes::new(),
        Framing::Events => Bytes::from(event(operation, message, code)),
        Framing::Array => Bytes::from(format!("{}]", google(message))),
        Framing::Aws => aws_event_stream::exception("modelStreamErrorException", message),
    }
}

fn event(operation: Operation, message: &str, code: &str) -> String {
    match operation.api() {
        Api::OpenAi | Api::Bedrock => openai(operation, message, code),
        Api::Anthropic => {
            let error = json!({ "type": "api_error", "message": message });
            format!("event: error\ndata: {}\n\n", json!({ "type": "error", "error": error }))
        }
        Api::Gemini => format!("data: {}\n\n", google(message)),
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
    let error =
        json!({ "message": message, "type": "upstream_error", "param": null, "code": code });
    if operation != Operation::Responses {
        return format!("data: {}\n\n", json!({ "error": error }));
    }
    let raised = json!({
        "type": "error", "code": code, "message": message, "param": null, "error": error,
    });
    let failed = json!({
        "type": "response.failed",
        "response": {
            "object": "response",
            "status": "failed",
            "error": { "code": code, "message": message },
        },
    });
    format!("event: error\ndata: {raised}\n\nevent: response.failed\ndata: {failed}\n\n")
}

/// <https://cloud.google.com/apis/design/errors#http_mapping>
fn google(message: &str) -> serde_json::Value {
    json!({ "error": { "code": 503, "message": message, "status": "UNAVAILABLE" } })
}
