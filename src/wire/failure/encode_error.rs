//! Encodes the body of an error: one constructor for each API.

use serde_json::{Value, json};

/// Encodes an OpenAI error. <https://platform.openai.com/docs/guides/error-codes>
pub(crate) fn openai(message: &str, kind: &str, param: Option<&str>, code: &str) -> Value {
    json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
}

/// Encodes an Anthropic error; its type follows from the status.
/// <https://platform.claude.com/docs/en/api/errors>
pub(crate) fn anthropic(status: u16, message: &str, request_id: Option<&str>) -> Value {
    let kind = match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 | 529 => "overloaded_error",
        504 => "timeout_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    };
    let mut body = json!({ "type": "error", "error": { "type": kind, "message": message } });
    if let Some(id) = request_id {
        body["request_id"] = json!(id);
    }
    body
}

/// Encodes an error of the Gemini API; its `status` follows from the HTTP status.
/// <https://ai.google.dev/gemini-api/docs/troubleshooting>,
/// <https://cloud.google.com/apis/design/errors#http_mapping>
pub(crate) fn gemini(status: u16, message: &str) -> Value {
    let name = match status {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        502 | 503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        400..=499 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    };
    json!({ "error": { "code": status, "message": message, "status": name } })
}

/// Encodes an error of Bedrock, whose exception's name is in a header.
/// <https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html>
pub(crate) fn bedrock(message: &str) -> Value {
    json!({ "message": message })
}

/// Encodes an error of Cohere. <https://docs.cohere.com/reference/errors>
pub(crate) fn cohere(message: &str, id: &str) -> Value {
    json!({ "id": id, "message": message })
}

/// Encodes an error of Replicate: the problem details of RFC 9457, whose title is optional.
pub(crate) fn replicate(status: u16, title: Option<&str>, message: &str) -> Value {
    match title {
        Some(title) => json!({ "title": title, "detail": message, "status": status }),
        None => json!({ "detail": message, "status": status }),
    }
}
