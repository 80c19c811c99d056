//! Errors within an answer, in the shapes of all vendors.

use serde_json::{Map, Value};

use crate::wire::api::Api;
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::{classify, classify_in_stream};

/// Decodes the `error` of an event or of a body: an object, or a string.
pub(crate) fn decode(error: &[u8]) -> ProviderError {
    let value = serde_json::from_slice(error).unwrap_or(Value::Null);
    let (message, members) = match value {
        Value::String(message) => (Some(message), Map::new()),
        Value::Object(members) => (None, members),
        _ => (None, Map::new()),
    };
    let text = |name: &str| match members.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    // Groq has `status_code`, Azure `status`; of OpenRouter and vLLM the code is the status.
    let status = ["status_code", "status", "code"]
        .iter()
        .filter_map(|name| text(name)?.parse::<u16>().ok())
        .find(|status| (400..600).contains(status));
    let failure = match status {
        Some(status) => classify(Api::OpenAi, status, error, &|_| None),
        None => classify_in_stream(error),
    };
    let message = message.or_else(|| text("message")).or_else(|| text("detail"));
    ProviderError {
        failure,
        status,
        kind: text("type"),
        code: text("code"),
        param: text("param"),
        message: message.unwrap_or_else(|| "The provider failed without a reason.".to_owned()),
    }
}
