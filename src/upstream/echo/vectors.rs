//! Embeddings, moderations and reranking.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Ask, Refusal, Reply, content_text, count};
use crate::wire::json::digest::Digest;

/// Numbers of a vector when the request does not say.
const DIMENSIONS: u64 = 8;

/// OpenAI's own limits: 2048 inputs, 3072 dimensions. The product is kept lower, so that an answer stays
/// within some megabytes.
const MOST_INPUTS: usize = 2048;
const MOST_DIMENSIONS: u64 = 3072;
const MOST_NUMBERS: usize = 512 * 1024;

pub(super) fn embeddings(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let inputs = inputs(ask)?;
    let dimensions = match ask.get("dimensions") {
        Value::Null => Some(DIMENSIONS),
        given => given.as_u64(),
    };
    let dimensions = dimensions.filter(|given| (1..=MOST_DIMENSIONS).contains(given));
    let dimensions = dimensions.and_then(|given| usize::try_from(given).ok()).ok_or_else(|| {
        let message = format!("'dimensions' must be a number from 1 to {MOST_DIMENSIONS}.");
        Refusal::of_param(Some("dimensions"), message)
    })?;
    if inputs.len() * dimensions > MOST_NUMBERS {
        let message = format!("The echo provider makes at most {MOST_NUMBERS} numbers a request.");
        return Err(Refusal::of_param(Some("input"), message));
    }
    let base64 = ask.text("encoding_format") == Some("base64");
    let data = inputs.iter().enumerate().map(|(index, input)| {
        let vector = vector(input, dimensions);
        let embedding = if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        } else {
            json!(vector)
        };
        json!({ "object": "embedding", "index": index, "embedding": embedding })
    });
    let tokens: usize = inputs.iter().map(|input| count(input)).sum();
    Ok(Reply::json(&json!({
        "object": "list",
        "data": data.collect::<Value>(),
        "model": ask.model(),
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })))
}

/// A vector of length 1 that depends on the text alone.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "any number does")]
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    // The digest is the seed of xorshift.
    let mut state = Digest::default().text(text.as_bytes()).finish();
    let numbers: Vec<f64> = (0..dimensions)
        .map(|_| {
            state |= 1;
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
        })
        .collect();
    let length = numbers.iter().map(|number| number * number).sum::<f64>().sqrt();
    numbers.iter().map(|number| (number / length) as f32).collect()
}

/// `input` as texts: a string, a list of strings, a list of tokens, or a list of such lists.
fn inputs(ask: &Ask<'_>) -> Result<Vec<String>, Refusal> {
    let tokens = |list: &[Value]| {
        let words: Option<Vec<_>> = list.iter().map(Value::as_u64).collect();
        words.map(|words| words.iter().map(u64::to_string).collect::<Vec<_>>().join(" "))
    };
    let inputs = match ask.needed("input")? {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) if list.first().is_some_and(Value::is_u64) => {
            tokens(list).map(|text| vec![text])
        }
        Value::Array(list) if (1..=MOST_INPUTS).contains(&list.len()) => list
            .iter()
            .map(|input| match input {
                Value::String(text) => Some(text.clone()),
                Value::Array(list) => tokens(list),
                _ => None,
            })
            .collect(),
        _ => None,
    };
    inputs.ok_or_else(|| {
        let message = format!(
            "'input' must be a string, a list of tokens, or a list of 1 to {MOST_INPUTS} of these."
        );
        Refusal::of_param(Some("input"), message)
    })
}

/// The categories of OpenAI's `omni-moderation` models.
const CATEGORIES: [&str; 13] = [
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
];

pub(super) fn moderations(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let results = match ask.needed("input")? {
        Value::Array(list) if list.iter().all(Value::is_string) => list.len(),
        // A string, or the parts of one message.
        _ => 1,
    };
    let all = |value: Value| -> Value {
        CATEGORIES.iter().map(|name| ((*name).to_owned(), value.clone())).collect()
    };
    let result = json!({
        "flagged": false,
        "categories": all(json!(false)),
        "category_scores": all(json!(0.0)),
        "category_applied_input_types": all(json!(["text"])),
    });
    Ok(Reply::json(&json!({
        "id": format!("modr-{}", ask.id),
        "model": ask.model(),
        "results": vec![result; results],
    })))
}

/// The score of a document is the share of the query's words that it has.
pub(super) fn rerank(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let query = ask.needed("query")?.as_str().unwrap_or_default();
    let documents = ask.needed("documents")?.as_array().ok_or_else(|| {
        Refusal::of_param(Some("documents"), "'documents' must be a list of strings or objects.")
    })?;
    let text = |document: &Value| match document {
        Value::String(text) => text.clone(),
        document => content_text(&document["text"]),
    };
    let mut scored: Vec<_> = documents.iter().enumerate().collect::<Vec<_>>();
    let score = |document: &Value| share(query, &text(document));
    scored.sort_by(|(_, a), (_, b)| score(b).total_cmp(&score(a)));
    let most = ask.get("top_n").as_u64().and_then(|most| usize::try_from(most).ok());
    let with_documents = ask.get("return_documents") == true;
    let results = scored.iter().take(most.unwrap_or(usize::MAX)).map(|(index, document)| {
        let mut result = json!({ "index": index, "relevance_score": score(document) });
        if with_documents {
            result["document"] = json!({ "text": text(document) });
        }
        result
    });
    let results: Value = results.collect();
    let words = documents.iter().map(|document| count(&text(document))).sum::<usize>();
    let tokens = count(query) + words;
    Ok(Reply::json(&json!({
        "id": format!("rerank-{}", ask.id),
        "model": ask.model(),
        "results": results,
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })))
}

#[expect(clippy::cast_precision_loss, reason = "a few words")]
fn share(query: &str, text: &str) -> f64 {
    let (query, text) = (query.to_lowercase(), text.to_lowercase());
    let found =
        query.split_whitespace().filter(|word| text.split_whitespace().any(|own| own == *word));
    found.count() as f64 / count(&query).max(1) as f64
}
