//! `GenerateContentResponse`. <https://ai.google.dev/api/generate-content#generatecontentresponse>

use serde::Serialize;
use serde_json::{Value, json};

use crate::wire::failure::ProviderError;
use crate::wire::failure::class::Class;
use crate::wire::format::gemini::part::{Own, Part};
use crate::wire::inspect::usage::Usage;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Answer<'a> {
    pub(crate) candidates: Vec<Share<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage_metadata: Option<Count>,
    pub(crate) model_version: &'a str,
    pub(crate) response_id: &'a str,
}

/// A candidate, or its share of a chunk.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Share<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finish_message: Option<String>,
    pub(crate) index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grounding_metadata: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logprobs_result: Option<Value>,
}

impl<'a> Share<'a> {
    pub(crate) fn of(index: u32, content: Option<Content<'a>>) -> Share<'a> {
        Share {
            content,
            finish_reason: None,
            finish_message: None,
            index,
            grounding_metadata: None,
            logprobs_result: None,
        }
    }
}

#[derive(Debug, Serialize)]
pub(crate) struct Content<'a> {
    pub(crate) parts: Vec<Part<'a>>,
    pub(crate) role: &'static str,
}

impl Content<'_> {
    /// Of no text.
    pub(crate) fn nothing() -> Self {
        let own = Own { text: Some("".into()), ..Own::default() };
        Content { parts: vec![own.into()], role: "model" }
    }
}

/// `usageMetadata`: thoughts stand beside the candidates' tokens, what was cached within the prompt's.
#[expect(clippy::struct_field_names, reason = "Google's names")]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Count {
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_content_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidates_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thoughts_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_token_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

impl Count {
    /// `None`: nothing was counted.
    pub(crate) fn of(usage: &Usage, tier: Option<&str>) -> Option<Count> {
        if *usage == Usage::default() {
            return None;
        }
        let Usage { input, cached_input, cache_write: _, output, reasoning } = *usage;
        let total = input.zip(output).map(|(input, output)| input.saturating_add(output));
        Some(Count {
            prompt_token_count: input,
            cached_content_token_count: cached_input,
            candidates_token_count: output
                .map(|output| output.saturating_sub(reasoning.unwrap_or(0))),
            thoughts_token_count: reasoning,
            total_token_count: total.or(input),
            service_tier: tier.and_then(service_tier),
        })
    }
}

fn service_tier(word: &str) -> Option<&'static str> {
    match word {
        "standard" | "default" => Some("standard"),
        "flex" => Some("flex"),
        "priority" => Some("priority"),
        _ => None,
    }
}

/// The address and the title of what is cited, where a format has them: at the top, or with OpenAI within
/// `url_citation`.
pub(crate) fn cited(citation: &Value) -> Option<(String, Option<String>)> {
    let source = citation.get("url_citation").unwrap_or(citation);
    let url = ["url", "uri"].iter().find_map(|name| source.get(name)?.as_str())?;
    let title = source.get("title").and_then(Value::as_str);
    Some((url.to_owned(), title.map(str::to_owned)))
}

pub(crate) fn grounding(cited: &[(String, Option<String>)]) -> Option<Value> {
    let chunks = cited.iter().map(|(uri, title)| match title {
        Some(title) => json!({"web": {"uri": uri, "title": title}}),
        None => json!({"web": {"uri": uri}}),
    });
    let chunks: Vec<_> = chunks.collect();
    (!chunks.is_empty()).then(|| json!({ "groundingChunks": chunks }))
}

/// `logprobsResult`, of the elements of OpenAI's `logprobs.content`.
pub(crate) fn likely(tokens: &[Value]) -> Value {
    let one = |token: &Value| json!({"token": token["token"], "logProbability": token["logprob"]});
    let chosen: Vec<_> = tokens.iter().map(one).collect();
    let top: Vec<_> = tokens
        .iter()
        .map(|token| {
            let top = token["top_logprobs"].as_array().into_iter().flatten();
            json!({"candidates": top.map(one).collect::<Vec<_>>()})
        })
        .collect();
    json!({"chosenCandidates": chosen, "topCandidates": top})
}

/// What makes the official clients fail: a first member `error` whose `code` is a number.
/// <https://cloud.google.com/apis/design/errors#http_mapping>
pub(crate) fn error(told: &ProviderError) -> Value {
    let code = told.status.filter(|status| (400..600).contains(status));
    let code = code.unwrap_or(match told.failure.class {
        Class::Caller | Class::ContextTooLong => 400,
        Class::BadCredential => 401,
        Class::NoAccess => 404,
        Class::NoCredit | Class::Throttled => 429,
        Class::Trouble => 503,
    });
    let status = match code {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        429 => "RESOURCE_EXHAUSTED",
        400..=499 => "INVALID_ARGUMENT",
        502 | 503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        _ => "INTERNAL",
    };
    json!({"error": {"code": code, "message": told.message, "status": status}})
}
