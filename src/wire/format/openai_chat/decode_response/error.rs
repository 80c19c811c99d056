//! Errors within an answer, in the shapes of all who copied the format.

use serde_json::{Map, Value};

use crate::wire::api::Api;
use crate::wire::failure::ProviderError;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::failure::classify::{classify, classify_in_stream};

/// Of the `error` of an event or of a body: an object, or only words.
pub(crate) fn of_error(error: &[u8]) -> ProviderError {
    let value = serde_json::from_slice(error).unwrap_or(Value::Null);
    let (words, members) = match value {
        Value::String(words) => (Some(words), Map::new()),
        Value::Object(members) => (None, members),
        _ => (None, Map::new()),
    };
    let text = |name: &str| match members.get(name)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    // Groq has `status_code`, Azure `status`; OpenRouter and vLLM have the status as the code.
    let status = ["status_code", "status", "code"]
        .iter()
        .filter_map(|name| text(name)?.parse::<u16>().ok())
        .find(|status| (400..600).contains(status));
    let failure = match status {
        Some(status) => classify(Api::OpenAi, status, error, &|_| None),
        None => classify_in_stream(error),
    };
    let message = words.or_else(|| text("message")).or_else(|| text("detail"));
    ProviderError {
        failure,
        status,
        kind: text("type"),
        code: text("code"),
        param: text("param"),
        message: message.unwrap_or_else(|| "The provider failed and did not say why.".to_owned()),
    }
}

/// What has no words of the provider's.
pub(crate) fn trouble(message: &str) -> ProviderError {
    ProviderError {
        failure: Failure { class: Class::Trouble, retry_after: None },
        status: None,
        kind: None,
        code: None,
        param: None,
        message: message.to_owned(),
    }
}
