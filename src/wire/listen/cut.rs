//! The event that tells a caller that its stream was cut.

use bytes::Bytes;
use serde_json::json;

use super::super::Operation;

/// The event to put behind a stream that broke off. It stands between events only (see
/// [`Listener::at_boundary`](super::Listener::at_boundary)), and no `[DONE]` follows it.
///
/// The official Python and Node clients raise on any event whose data has an `error`, whatever its
/// name, and on nothing else: not on a `response.failed`, which they hand on as one more event. OpenAI's own
/// servers send both, first `error` and then `response.failed`, so that is the form here too. The specification
/// has `code` and `message` of an `error` event beside its type, so they stand there as well.
pub fn error_event(operation: Operation, message: &str, code: &str) -> Bytes {
    let error =
        json!({ "message": message, "type": "upstream_error", "param": null, "code": code });
    let text = match operation {
        Operation::Responses => {
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
        _ => format!("data: {}\n\n", json!({ "error": error })),
    };
    Bytes::from(text)
}
