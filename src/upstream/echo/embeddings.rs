//! Embeddings.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Ask, Refusal, Reply, count_tokens};
use crate::wire::json::digest::Digest;

/// Dimensions of a vector if the request sets none.
const DEFAULT_DIMENSIONS: u64 = 8;

/// OpenAI's own limits: 2048 inputs, 3072 dimensions. The product is limited too, so that an answer has a
/// few megabytes at most.
const MAX_INPUTS: usize = 2048;
const MAX_DIMENSIONS: u64 = 3072;
const MAX_NUMBERS: usize = 512 * 1024;

pub(super) fn embeddings(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let inputs = inputs(ask)?;
    let dimensions = match ask.get("dimensions") {
        Value::Null => Some(DEFAULT_DIMENSIONS),
        value => value.as_u64(),
    };
    let dimensions = dimensions.filter(|value| (1..=MAX_DIMENSIONS).contains(value));
    let dimensions = dimensions.and_then(|value| usize::try_from(value).ok()).ok_or_else(|| {
        let message = format!("'dimensions' must be a number from 1 to {MAX_DIMENSIONS}.");
        Refusal::invalid(Some("dimensions"), message)
    })?;
    if inputs.len() * dimensions > MAX_NUMBERS {
        let message =
            format!("The echo provider returns at most {MAX_NUMBERS} numbers for a request.");
        return Err(Refusal::invalid(Some("input"), message));
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
    let tokens: usize = inputs.iter().map(|input| count_tokens(input)).sum();
    Ok(Reply::json(&json!({
        "object": "list",
        "data": data.collect::<Value>(),
        "model": ask.model(),
        "usage": { "prompt_tokens": tokens, "total_tokens": tokens },
    })))
}

/// Returns a vector of length 1 that depends on the text alone.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "any number is good enough"
)]
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

/// Returns `input` as texts. It is a string, a list of strings, a list of tokens, or a list of such lists.
fn inputs(ask: &Ask<'_>) -> Result<Vec<String>, Refusal> {
    let tokens = |list: &[Value]| {
        let words: Option<Vec<_>> = list.iter().map(Value::as_u64).collect();
        words.map(|words| words.iter().map(u64::to_string).collect::<Vec<_>>().join(" "))
    };
    let inputs = match ask.required("input")? {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(list) if list.first().is_some_and(Value::is_u64) => {
            tokens(list).map(|text| vec![text])
        }
        Value::Array(list) if (1..=MAX_INPUTS).contains(&list.len()) => list
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
            "'input' must be a string, a list of tokens, or a list of 1 to {MAX_INPUTS} of these."
        );
        Refusal::invalid(Some("input"), message)
    })
}
