//! `GenerateContentResponse`. <https://ai.google.dev/api/generate-content#generatecontentresponse>

use serde::Serialize;
use serde_json::{Value, json};

use crate::wire::failure::ProviderError;
use crate::wire::failure::class::Class;
use crate::wire::failure::encode_error;
use crate::wire::format::gemini::part::{Part, PartFields};
use crate::wire::inspect::usage::Usage;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer<'a> {
    pub(super) candidates: Vec<CandidateChunk<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage_metadata: Option<UsageMetadata>,
    pub(super) model_version: &'a str,
    pub(super) response_id: &'a str,
}

/// A candidate, or its part of a chunk.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidateChunk<'a> {
    pub(super) content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finish_message: Option<String>,
    pub(super) index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) grounding_metadata: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) logprobs_result: Option<Value>,
}

impl<'a> CandidateChunk<'a> {
    pub(super) fn new(index: u32, content: Content<'a>) -> CandidateChunk<'a> {
        CandidateChunk {
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
pub(super) struct Content<'a> {
    parts: Vec<Part<'a>>,
    role: &'static str,
}

impl<'a> Content<'a> {
    pub(super) fn new(parts: Vec<Part<'a>>) -> Content<'a> {
        Content { parts, role: "model" }
    }

    pub(super) fn empty_text() -> Content<'a> {
        Content::new(vec![PartFields::text("").into()])
    }
}

/// `usageMetadata`. The tokens of thoughts are not in the candidates' tokens; cached tokens are in the prompt's.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageMetadata {
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

impl UsageMetadata {
    /// Encodes a usage; `None`: nothing was counted.
    pub(super) fn new(usage: &Usage, tier: Option<&str>) -> Option<UsageMetadata> {
        if *usage == Usage::default() {
            return None;
        }
        let Usage { input, cached_input, cache_write: _, output, reasoning } = *usage;
        let total = input.zip(output).map(|(input, output)| input.saturating_add(output));
        Some(UsageMetadata {
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

/// The address and the title of a cited source.
pub(super) type Source = (String, Option<String>);

/// Returns the source of a citation. Formats have it at the top, OpenAI chat within `url_citation`.
pub(super) fn source_of(citation: &Value) -> Option<Source> {
    let source = citation.get("url_citation").unwrap_or(citation);
    let url = ["url", "uri"].iter().find_map(|name| source.get(name)?.as_str())?;
    let title = source.get("title").and_then(Value::as_str);
    Some((url.to_owned(), title.map(str::to_owned)))
}

pub(super) fn grounding_metadata(sources: &[Source]) -> Option<Value> {
    let chunks = sources.iter().map(|(uri, title)| match title {
        Some(title) => json!({"web": {"uri": uri, "title": title}}),
        None => json!({"web": {"uri": uri}}),
    });
    let chunks: Vec<_> = chunks.collect();
    (!chunks.is_empty()).then(|| json!({ "groundingChunks": chunks }))
}

/// Converts the elements of OpenAI's `logprobs.content`; `None`: there are none.
pub(super) fn logprobs_result(tokens: &[Value]) -> Option<Value> {
    if tokens.is_empty() {
        return None;
    }
    let one = |token: &Value| json!({"token": token["token"], "logProbability": token["logprob"]});
    let chosen: Vec<_> = tokens.iter().map(one).collect();
    let top: Vec<_> = tokens
        .iter()
        .map(|token| {
            let top = token["top_logprobs"].as_array().into_iter().flatten();
            json!({"candidates": top.map(one).collect::<Vec<_>>()})
        })
        .collect();
    Some(json!({"chosenCandidates": chosen, "topCandidates": top}))
}

/// Encodes an error. The official clients recognize it by a first member `error` with a numeric `code`.
pub(super) fn error(error: &ProviderError) -> Value {
    let code = error.status.filter(|status| (400..600).contains(status));
    let code = code.unwrap_or(match error.failure.class {
        Class::Caller | Class::ContextTooLong => 400,
        Class::BadCredential => 401,
        Class::NoAccess => 404,
        Class::NoCredit | Class::Throttled => 429,
        Class::Trouble => 503,
    });
    encode_error::gemini(code, &error.message)
}
