//! What stands beside a candidate's content: what it cites, and the probabilities of its tokens.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// No answer cites more places than this.
const MOST: usize = 1024;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Cited {
    grounding_chunks: Vec<Map<String, Value>>,
    grounding_supports: Vec<Support>,
    /// Of the Gemini API, and of Vertex.
    #[serde(alias = "citations")]
    citation_sources: Vec<Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Support {
    segment: Value,
    grounding_chunk_indices: Vec<usize>,
}

/// Each place that a source supports, as one citation in Google's own names: `uri` and `title` of the
/// source, and `startIndex`, `endIndex` and `text` of the segment. Indices count bytes. Sources of which it
/// is not said what they support are cited as well.
pub(crate) fn citations(metadata: &RawValue) -> Vec<Value> {
    let Ok(cited) = serde_json::from_str::<Cited>(metadata.get()) else { return Vec::new() };
    let mut all = cited.citation_sources;
    let nowhere = Value::Null;
    if cited.grounding_supports.is_empty() {
        all.extend(cited.grounding_chunks.iter().filter_map(|chunk| citation(chunk, &nowhere)));
    }
    for support in &cited.grounding_supports {
        let chunks = support.grounding_chunk_indices.iter();
        let chunks = chunks.filter_map(|at| cited.grounding_chunks.get(*at));
        all.extend(chunks.filter_map(|chunk| citation(chunk, &support.segment)));
    }
    all.truncate(MOST);
    all
}

fn citation(chunk: &Map<String, Value>, segment: &Value) -> Option<Value> {
    // One of `web`, `retrievedContext`, `maps` and `image`.
    let source = chunk.values().next()?.as_object()?;
    let own = ["uri", "title"].map(|name| (name, source.get(name)));
    let place = ["startIndex", "endIndex", "text"].map(|name| (name, segment.get(name)));
    let members = own.into_iter().chain(place);
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
    fn said(&self) -> Value {
        json!({"token": self.token, "logprob": self.log_probability, "bytes": null})
    }
}

/// In the form of OpenAI's `logprobs.content`.
pub(crate) fn logprobs(result: &RawValue) -> Vec<Value> {
    let Ok(result) = serde_json::from_str::<Logprobs>(result.get()) else { return Vec::new() };
    let mut tops = result.top_candidates.into_iter();
    let tokens = result.chosen_candidates.iter().map(|chosen| {
        let top = tops.next().unwrap_or_default().candidates;
        let mut said = chosen.said();
        said["top_logprobs"] = top.iter().map(Token::said).collect();
        said
    });
    tokens.collect()
}

#[cfg(test)]
#[allow(
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "so a test reads like what it says"
)]
mod tests {
    use super::*;

    fn raw(value: &Value) -> Box<RawValue> {
        serde_json::value::to_raw_value(value).unwrap()
    }

    #[test]
    fn a_segment_is_cited_once_a_source() {
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
    fn probabilities_take_openais_form() {
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
