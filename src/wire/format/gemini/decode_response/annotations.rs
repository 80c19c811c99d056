//! Annotations of a candidate's content: citations, and the log probabilities of its tokens.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// The most citations of one chunk.
const MAX_CITATIONS: usize = 1024;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata {
    grounding_chunks: Vec<Map<String, Value>>,
    grounding_supports: Vec<Support>,
    /// `citationSources` in the Gemini API, `citations` in Vertex.
    #[serde(alias = "citations")]
    citation_sources: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Support {
    segment: Value,
    grounding_chunk_indices: Vec<usize>,
}

/// Returns one citation for each segment that a source supports, with Google's names: `uri` and `title` of the
/// source, and `startIndex`, `endIndex` and `text` of the segment. Indices count bytes. A source without a
/// segment is a citation, too.
pub(super) fn citations(metadata: &RawValue) -> Vec<Value> {
    let Ok(sources) = serde_json::from_str::<Metadata>(metadata.get()) else { return Vec::new() };
    let mut all = sources.citation_sources;
    let no_segment = Value::Null;
    if sources.grounding_supports.is_empty() {
        all.extend(
            sources.grounding_chunks.iter().filter_map(|chunk| citation(chunk, &no_segment)),
        );
    }
    for support in &sources.grounding_supports {
        let chunks = support.grounding_chunk_indices.iter();
        let chunks = chunks.filter_map(|at| sources.grounding_chunks.get(*at));
        all.extend(chunks.filter_map(|chunk| citation(chunk, &support.segment)));
    }
    all.truncate(MAX_CITATIONS);
    all
}

fn citation(chunk: &Map<String, Value>, segment: &Value) -> Option<Value> {
    // One of `web`, `retrievedContext`, `maps` and `image`.
    let source = chunk.values().next()?.as_object()?;
    let of_source = ["uri", "title"].map(|name| (name, source.get(name)));
    let of_segment = ["startIndex", "endIndex", "text"].map(|name| (name, segment.get(name)));
    let members = of_source.into_iter().chain(of_segment);
    let members = members.filter_map(|(name, value)| Some((name.to_owned(), value?.clone())));
    Some(Value::Object(members.collect()))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Logprobs {
    chosen_candidates: Vec<Token>,
    top_candidates: Vec<Top>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Top {
    candidates: Vec<Token>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Token {
    token: String,
    log_probability: Value,
}

impl Token {
    fn to_openai(&self) -> Value {
        json!({"token": self.token, "logprob": self.log_probability, "bytes": null})
    }
}

/// Converts `logprobsResult` to the elements of OpenAI's `logprobs.content`.
pub(super) fn logprobs(result: &RawValue) -> Vec<Value> {
    let Ok(result) = serde_json::from_str::<Logprobs>(result.get()) else { return Vec::new() };
    let mut tops = result.top_candidates.into_iter();
    let tokens = result.chosen_candidates.iter().map(|chosen| {
        let top = tops.next().unwrap_or_default().candidates;
        let mut token = chosen.to_openai();
        token["top_logprobs"] = top.iter().map(Token::to_openai).collect();
        token
    });
    tokens.collect()
}

#[cfg(test)]
#[allow(
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "so that a test fails, and takes literals"
)]
mod tests {
    use super::*;

    fn raw(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    #[test]
    fn each_source_of_a_segment_is_a_citation() {
        let metadata = json!({
            "groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}, {"maps": {"uri": "https://b"}}],
            "groundingSupports": [
                {"segment": {"startIndex": 1, "endIndex": 3, "text": "x"}, "groundingChunkIndices": [0, 1, 7]},
            ],
        });
        let segment = |uri: &str| json!({"uri": uri, "startIndex": 1, "endIndex": 3, "text": "x"});
        let mut first = segment("https://a");
        first["title"] = "A".into();
        assert_eq!(citations(&raw(&metadata)), [first, segment("https://b")]);
        let sources = json!({"citationSources": [{"uri": "https://c"}]});
        assert_eq!(citations(&raw(&sources)), [json!({"uri": "https://c"})]);
        let alone = json!({"groundingChunks": [{"web": {"uri": "https://d"}}]});
        assert_eq!(citations(&raw(&alone)), [json!({"uri": "https://d"})]);
        assert!(citations(&raw(&json!([]))).is_empty());
    }

    #[test]
    fn log_probabilities_are_converted_to_openais_form() {
        let result = json!({
            "chosenCandidates": [{"token": "a", "tokenId": 3, "logProbability": -0.5}],
            "topCandidates": [{"candidates": [{"token": "a", "logProbability": -0.5}]}],
        });
        let token = json!({"token": "a", "logprob": -0.5, "bytes": null});
        let mut expected = token.clone();
        expected["top_logprobs"] = json!([token]);
        assert_eq!(logprobs(&raw(&result)), [expected]);
    }
}
