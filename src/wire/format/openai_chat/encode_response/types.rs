//! The members of answers and of chunks, as serde writes them.

use serde::Serialize;
use serde_json::{Value, json};

use crate::wire::failure::ProviderError;
use crate::wire::failure::class::Class;
use crate::wire::inspect::usage::Usage;

/// What a chunk adds to a message, in the order of OpenAI's chunks.
#[expect(clippy::option_option, reason = "`null` is not the same as absent")]
#[derive(Default, Serialize)]
pub(super) struct Delta<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<&'static str>,
    /// `Some(None)` is `null`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content: Option<Option<&'e str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_content: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reasoning_details: Option<Vec<Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refusal: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_calls: Option<[CallDelta<'e>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<[Value; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) images: Option<[Value; 1]>,
}

#[derive(Default, Serialize)]
pub(super) struct CallDelta<'e> {
    pub(super) index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) r#type: Option<&'static str>,
    /// Always there: the Vercel AI SDK and LangChain fail on a delta without it.
    pub(super) function: FunctionDelta<'e>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) extra_content: Option<Value>,
}

#[derive(Default, Serialize)]
pub(super) struct FunctionDelta<'e> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'e str>,
    pub(super) arguments: &'e str,
}

/// The choice of a chunk.
#[derive(Serialize)]
pub(super) struct ChunkChoice<'e> {
    pub(super) index: u32,
    pub(super) delta: &'e Delta<'e>,
    pub(super) logprobs: Option<Logprobs<&'e [Value]>>,
    pub(super) finish_reason: Option<&'static str>,
}

/// A choice of a whole answer.
#[derive(Debug, Default, Serialize)]
pub(super) struct Choice {
    index: u32,
    message: Message,
    logprobs: Option<Logprobs<Vec<Value>>>,
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Logprobs<T> {
    pub(super) content: Option<T>,
    pub(super) refusal: Option<T>,
}

#[derive(Debug, Default, Serialize)]
struct Message {
    role: &'static str,
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<Value>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Value>,
}

#[derive(Debug, Serialize)]
struct Call {
    id: String,
    r#type: &'static str,
    function: Function,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Value>,
}

#[derive(Debug, Serialize)]
struct Function {
    name: String,
    arguments: String,
}

impl Choice {
    pub(super) fn new(index: u32) -> Choice {
        let message = Message { role: "assistant", ..Message::default() };
        Choice { index, message, ..Choice::default() }
    }

    /// Adds what a chunk would have brought.
    pub(super) fn add(&mut self, chunk: ChunkChoice<'_>) {
        let message = &mut self.message;
        let delta = chunk.delta;
        let add_text = |text: &mut Option<String>, more: Option<&str>| {
            if let Some(more) = more {
                text.get_or_insert_default().push_str(more);
            }
        };
        add_text(&mut message.content, delta.content.flatten());
        add_text(&mut message.reasoning_content, delta.reasoning_content);
        add_text(&mut message.refusal, delta.refusal);
        message.reasoning_details.extend(delta.reasoning_details.iter().flatten().cloned());
        message.annotations.extend(delta.annotations.iter().flatten().cloned());
        message.images.extend(delta.images.iter().flatten().cloned());
        if let Some([call]) = &delta.tool_calls {
            message.add_call(call);
        }
        if let Some(logprobs) = chunk.logprobs {
            let all = self.logprobs.get_or_insert(Logprobs { content: None, refusal: None });
            for (all, more) in
                [(&mut all.content, logprobs.content), (&mut all.refusal, logprobs.refusal)]
            {
                if let Some(more) = more {
                    all.get_or_insert_default().extend_from_slice(more);
                }
            }
        }
        self.finish_reason = chunk.finish_reason.or(self.finish_reason);
    }
}

impl Message {
    fn add_call(&mut self, delta: &CallDelta<'_>) {
        if self.tool_calls.len() <= delta.index {
            self.tool_calls.push(Call {
                id: delta.id.unwrap_or_default().to_owned(),
                r#type: "function",
                function: Function {
                    name: delta.function.name.unwrap_or_default().to_owned(),
                    arguments: String::new(),
                },
                extra_content: None,
            });
        }
        if let Some(call) = self.tool_calls.get_mut(delta.index) {
            call.function.arguments.push_str(delta.function.arguments);
            call.extra_content = delta.extra_content.clone().or(call.extra_content.take());
        }
    }
}

/// `usage`. A count that the provider did not report is absent.
#[derive(Serialize)]
pub(super) struct UsageObject {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Serialize)]
struct PromptDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    /// As OpenAI's models on Bedrock and OpenRouter have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl UsageObject {
    /// Returns `None` if nothing was counted.
    pub(super) fn new(usage: Usage) -> Option<UsageObject> {
        if usage == Usage::default() {
            return None;
        }
        let Usage { input, cached_input, cache_write, output, reasoning } = usage;
        let has_details = cached_input.is_some() || cache_write.is_some();
        Some(UsageObject {
            prompt_tokens: input,
            completion_tokens: output,
            total_tokens: input.zip(output).map(|(input, output)| input.saturating_add(output)),
            prompt_tokens_details: has_details.then_some(PromptDetails {
                cached_tokens: cached_input,
                cache_write_tokens: cache_write,
            }),
            completion_tokens_details: reasoning
                .map(|reasoning_tokens| CompletionDetails { reasoning_tokens }),
        })
    }
}

/// Returns a tier in OpenAI's words; `None` for others, which the format does not have.
pub(super) fn service_tier(word: &str) -> Option<&'static str> {
    match word.to_ascii_lowercase().as_str() {
        "auto" => Some("auto"),
        "default" | "standard" | "on_demand" => Some("default"),
        "flex" => Some("flex"),
        "scale" => Some("scale"),
        "priority" => Some("priority"),
        _ => None,
    }
}

/// Returns a citation as an annotation: OpenAI's own as it is, another with its URL and title. `start` and `end`
/// are the place of the citing text, in characters. `None` if the citation has no URL.
pub(super) fn annotation(citation: &Value, start: usize, end: usize) -> Option<Value> {
    if citation.get("url_citation").is_some() {
        return Some(citation.clone());
    }
    // Gemini has them in `web`.
    let source = citation.get("web").unwrap_or(citation);
    let text = |name: &str| source.get(name).and_then(Value::as_str);
    let url = text("url").or_else(|| text("uri"))?;
    let number = |name: &str| citation.get(name).and_then(Value::as_u64);
    let place = number("start_index").zip(number("end_index"));
    let (start, end) = place.unwrap_or((start as u64, end as u64));
    Some(json!({
        "type": "url_citation",
        "url_citation": {
            "url": url,
            "title": text("title").unwrap_or_default(),
            "start_index": start,
            "end_index": end,
        },
    }))
}

/// Returns the `error` of an event. The type is OpenAI's for the class; code and message are the provider's.
pub(super) fn error(error: &ProviderError) -> Value {
    let ProviderError { failure, status: _, kind, code, param, message } = error;
    let (class, own_code) = match failure.class {
        Class::Caller => ("invalid_request_error", None),
        Class::ContextTooLong => ("invalid_request_error", Some("context_length_exceeded")),
        Class::BadCredential => ("authentication_error", None),
        Class::NoAccess => ("invalid_request_error", Some("model_not_found")),
        Class::NoCredit => ("insufficient_quota", Some("insufficient_quota")),
        Class::Throttled => ("rate_limit_error", Some("rate_limit_exceeded")),
        Class::Trouble => ("upstream_error", None),
    };
    let code = own_code.or(code.as_deref()).or(kind.as_deref());
    json!({ "message": message, "type": class, "param": param, "code": code })
}
