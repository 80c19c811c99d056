//! What callers see of endings, usage, citations, tiers and errors, in a stream as in a whole answer.

use serde::Serialize;
use serde_json::{Value, json};

use crate::wire::failure::ProviderError;
use crate::wire::failure::class::Class;
use crate::wire::inspect::usage::Usage;
use crate::wire::ir::Stop;

/// The format has five words, two of them for the same. Clients of typed languages refuse others, so an
/// ending that has none here is a `stop`.
pub(crate) fn finish_reason(why: Stop, refused: bool) -> &'static str {
    match why {
        Stop::Length | Stop::Window => "length",
        Stop::Calls => "tool_calls",
        // A refusal in words stands in `refusal`, and ends with `stop` (recorded).
        Stop::Refusal if refused => "stop",
        Stop::Refusal | Stop::Filter => "content_filter",
        Stop::End | Stop::Sequence | Stop::Pause | Stop::Malformed | Stop::Other => "stop",
    }
}

/// A tier in OpenAI's words; others have no place in the format.
pub(crate) fn service_tier(word: &str) -> Option<&'static str> {
    match word.to_ascii_lowercase().as_str() {
        "auto" => Some("auto"),
        "default" | "standard" | "on_demand" => Some("default"),
        "flex" => Some("flex"),
        "scale" => Some("scale"),
        "priority" => Some("priority"),
        _ => None,
    }
}

/// `usage`; what the provider did not count is not there.
#[derive(Serialize)]
pub(crate) struct Counted {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<Prompt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<Completion>,
}

#[derive(Serialize)]
struct Prompt {
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    /// As OpenAI's models on Bedrock and OpenRouter have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Serialize)]
struct Completion {
    reasoning_tokens: u64,
}

/// `None`: nothing was counted.
pub(crate) fn counted(usage: Usage) -> Option<Counted> {
    if usage == Usage::default() {
        return None;
    }
    let Usage { input, cached_input, cache_write, output, reasoning } = usage;
    let details = cached_input.is_some() || cache_write.is_some();
    Some(Counted {
        prompt_tokens: input,
        completion_tokens: output,
        total_tokens: input.zip(output).map(|(input, output)| input.saturating_add(output)),
        prompt_tokens_details: details
            .then_some(Prompt { cached_tokens: cached_input, cache_write_tokens: cache_write }),
        completion_tokens_details: reasoning
            .map(|reasoning_tokens| Completion { reasoning_tokens }),
    })
}

/// A citation as an annotation: OpenAI's own as it stands, another that has an address with it and its
/// title. `from` and `to` are where the citing text stands, in characters. `None`: it has no address.
pub(crate) fn annotation(citation: &Value, from: usize, to: usize) -> Option<Value> {
    if citation.get("url_citation").is_some() {
        return Some(citation.clone());
    }
    // Gemini's stand in `web`.
    let source = citation.get("web").unwrap_or(citation);
    let text = |name: &str| source.get(name).and_then(Value::as_str);
    let url = text("url").or_else(|| text("uri"))?;
    let number = |name: &str| citation.get(name).and_then(Value::as_u64);
    let place = number("start_index").zip(number("end_index"));
    let (from, to) = place.unwrap_or((from as u64, to as u64));
    Some(json!({
        "type": "url_citation",
        "url_citation": {
            "url": url,
            "title": text("title").unwrap_or_default(),
            "start_index": from,
            "end_index": to,
        },
    }))
}

/// The `error` of an event. The type is OpenAI's for what it means, code and words are the provider's.
pub(crate) fn error(told: &ProviderError) -> Value {
    let ProviderError { failure, status: _, kind, code, param, message } = told;
    let (class, named) = match failure.class {
        Class::Caller => ("invalid_request_error", None),
        Class::ContextTooLong => ("invalid_request_error", Some("context_length_exceeded")),
        Class::BadCredential => ("authentication_error", None),
        Class::NoAccess => ("invalid_request_error", Some("model_not_found")),
        Class::NoCredit => ("insufficient_quota", Some("insufficient_quota")),
        Class::Throttled => ("rate_limit_error", Some("rate_limit_exceeded")),
        Class::Trouble => ("upstream_error", None),
    };
    let code = named.or(code.as_deref()).or(kind.as_deref());
    json!({ "message": message, "type": class, "param": param, "code": code })
}
