//! What is answered, and the one answer that is made of it.

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EmbeddingsFormat, Encoding};

/// What one request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The vectors in the order of the texts, each as JSON of the caller's encoding.
    vectors: Vec<String>,
    /// How many tokens the texts have, where the provider has counted them.
    tokens: Option<u64>,
}

impl Part {
    /// How many vectors it has.
    pub fn count(&self) -> usize {
        self.vectors.len()
    }
}

impl EmbeddingsFormat {
    /// Reads the answer to one request. `counted`: the tokens, where the answer says it beside its
    /// vectors, in its head or in its own usage. `None`: it is no answer of this form.
    pub fn read(self, body: &[u8], counted: Option<u64>, encoding: Encoding) -> Option<Part> {
        let (vectors, in_body) = self.vectors(body)?;
        let written = vectors.into_iter().map(|vector| written(vector.get(), encoding));
        Some(Part { vectors: written.collect::<Option<_>>()?, tokens: in_body.or(counted) })
    }

    /// The vectors, and the tokens that are counted beside each.
    fn vectors(self, body: &[u8]) -> Option<(Vec<&RawValue>, Option<u64>)> {
        Some(match self {
            EmbeddingsFormat::OpenAi => {
                let answer: OpenAi<'_> = serde_json::from_slice(body).ok()?;
                (answer.data.into_iter().map(|one| one.embedding).collect(), None)
            }
            EmbeddingsFormat::Gemini => {
                let answer: Gemini<'_> = serde_json::from_slice(body).ok()?;
                (answer.embeddings.into_iter().map(|one| one.values).collect(), None)
            }
            EmbeddingsFormat::VertexContent => {
                let answer: Content<'_> = serde_json::from_slice(body).ok()?;
                (vec![answer.embedding.values], None)
            }
            EmbeddingsFormat::VertexPredict => {
                let answer: Predicted<'_> = serde_json::from_slice(body).ok()?;
                let counts = answer.predictions.iter().map(|one| one.embeddings.tokens());
                let tokens = counts.sum::<Option<u64>>();
                (answer.predictions.into_iter().map(|one| one.embeddings.values).collect(), tokens)
            }
            EmbeddingsFormat::Cohere | EmbeddingsFormat::CohereOnBedrock => {
                let answer: Cohere<'_> = serde_json::from_slice(body).ok()?;
                let by_type = serde_json::from_str::<Floats<'_>>(answer.embeddings.get());
                // Without types, as Bedrock's older models answer, the list stands there itself.
                let floats = by_type.map(|by_type| by_type.float);
                (floats.or_else(|_| serde_json::from_str(answer.embeddings.get())).ok()?, None)
            }
            EmbeddingsFormat::Titan | EmbeddingsFormat::TitanImage => {
                let answer: Titan<'_> = serde_json::from_slice(body).ok()?;
                (vec![answer.embedding], answer.input_text_token_count)
            }
            EmbeddingsFormat::Nova => {
                let answer: Nova<'_> = serde_json::from_slice(body).ok()?;
                (answer.embeddings.into_iter().map(|one| one.embedding).collect(), None)
            }
        })
    }
}

/// Writes OpenAI's answer. `model`: as the caller asked for it.
///
/// OpenAI's API and its SDKs need a usage. Where the provider has not counted all, it is 0, which no text
/// has: a sum of a part would look like a count.
pub fn write(model: &str, parts: &[Part]) -> Vec<u8> {
    let vectors = || parts.iter().flat_map(|part| &part.vectors);
    let size: usize = vectors().map(|vector| vector.len() + 64).sum();
    let mut out = Vec::with_capacity(size + 256);
    out.extend_from_slice(br#"{"object":"list","data":["#);
    for (index, vector) in vectors().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        // Writing into memory cannot fail.
        let _ =
            write!(out, r#"{comma}{{"object":"embedding","index":{index},"embedding":{vector}}}"#);
    }
    let model = serde_json::to_string(model).unwrap_or_default();
    let tokens = parts.iter().map(|part| part.tokens).sum::<Option<u64>>().unwrap_or(0);
    let _ = write!(
        out,
        r#"],"model":{model},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#
    );
    out
}

/// A vector for the caller. As numbers it keeps the provider's digits.
fn written(vector: &str, encoding: Encoding) -> Option<String> {
    let numbers: Vec<f32> = serde_json::from_str(vector).ok()?;
    match encoding {
        Encoding::Float => Some(vector.split_ascii_whitespace().collect()),
        Encoding::Base64 => {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            Some(format!("\"{}\"", BASE64_STANDARD.encode(bytes)))
        }
    }
}

#[derive(Deserialize)]
struct OpenAi<'b> {
    #[serde(borrow)]
    data: Vec<Embedding<'b>>,
}

#[derive(Deserialize)]
struct Nova<'b> {
    #[serde(borrow)]
    embeddings: Vec<Embedding<'b>>,
}

#[derive(Deserialize)]
struct Embedding<'b> {
    #[serde(borrow)]
    embedding: &'b RawValue,
}

#[derive(Deserialize)]
struct Gemini<'b> {
    #[serde(borrow)]
    embeddings: Vec<Values<'b>>,
}

#[derive(Deserialize)]
struct Content<'b> {
    #[serde(borrow)]
    embedding: Values<'b>,
}

#[derive(Deserialize)]
struct Values<'b> {
    #[serde(borrow)]
    values: &'b RawValue,
    statistics: Option<Statistics>,
}

impl Values<'_> {
    fn tokens(&self) -> Option<u64> {
        self.statistics.as_ref()?.token_count
    }
}

#[derive(Deserialize)]
struct Statistics {
    token_count: Option<u64>,
}

#[derive(Deserialize)]
struct Predicted<'b> {
    #[serde(borrow)]
    predictions: Vec<Prediction<'b>>,
}

#[derive(Deserialize)]
struct Prediction<'b> {
    #[serde(borrow)]
    embeddings: Values<'b>,
}

#[derive(Deserialize)]
struct Cohere<'b> {
    #[serde(borrow)]
    embeddings: &'b RawValue,
}

#[derive(Deserialize)]
struct Floats<'b> {
    #[serde(borrow)]
    float: Vec<&'b RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Titan<'b> {
    #[serde(borrow)]
    embedding: &'b RawValue,
    input_text_token_count: Option<u64>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parsed(parts: &[Part]) -> Value {
        serde_json::from_slice(&write("m", parts)).unwrap()
    }

    #[test]
    fn each_form_is_read() {
        let both = json!([[0.25, -1], [1e-3, 2]]);
        let values = |n: usize| json!({"values": both[n], "statistics": {"token_count": 3 + n}});
        for (format, body, tokens) in [
            (
                EmbeddingsFormat::OpenAi,
                json!({"data": [{"embedding": both[0]}, {"embedding": both[1]}]}),
                Some(9),
            ),
            (EmbeddingsFormat::Gemini, json!({"embeddings": [values(0), values(1)]}), Some(9)),
            (
                EmbeddingsFormat::VertexPredict,
                json!({"predictions": [{"embeddings": values(0)}, {"embeddings": values(1)}]}),
                Some(7),
            ),
            (EmbeddingsFormat::Cohere, json!({"embeddings": {"float": both}}), Some(9)),
            (EmbeddingsFormat::CohereOnBedrock, json!({"embeddings": both}), Some(9)),
            (
                EmbeddingsFormat::Nova,
                json!({"embeddings": [{"embedding": both[0]}, {"embedding": both[1]}]}),
                Some(9),
            ),
        ] {
            let part = format.read(body.to_string().as_bytes(), Some(9), Encoding::Float).unwrap();
            assert_eq!((part.count(), part.tokens), (2, tokens), "{format:?}");
            assert_eq!(part.vectors, ["[0.25,-1]", "[0.001,2]"], "{format:?}");
        }
        for (format, body, tokens) in [
            (EmbeddingsFormat::VertexContent, json!({"embedding": {"values": [1.5]}}), Some(9)),
            (
                EmbeddingsFormat::Titan,
                json!({"embedding": [1.5], "inputTextTokenCount": 5}),
                Some(5),
            ),
            (EmbeddingsFormat::TitanImage, json!({"embedding": [1.5], "message": null}), Some(9)),
        ] {
            let part = format.read(body.to_string().as_bytes(), Some(9), Encoding::Float).unwrap();
            assert_eq!((part.vectors, part.tokens), (vec!["[1.5]".to_owned()], tokens));
        }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        for body in [r#"{"error":"no"}"#, "", "[]", r#"{"embeddings":[{"values":["a"]}]}"#] {
            for format in EmbeddingsFormat::ALL {
                assert_eq!(format.read(body.as_bytes(), None, Encoding::Float), None, "{body}");
            }
        }
    }

    #[test]
    fn digits_stay_and_base64_has_32_bits_a_number() {
        let body = br#"{"embeddings":[{"values":[
            0.0117123456789012,
            -1e-3 ]}]}"#;
        let part = EmbeddingsFormat::Gemini.read(body, Some(2), Encoding::Float).unwrap();
        assert_eq!(part.vectors, ["[0.0117123456789012,-1e-3]"]);
        let part = EmbeddingsFormat::Gemini.read(body, Some(2), Encoding::Base64).unwrap();
        let answer = parsed(&[part]);
        let packed = answer["data"][0]["embedding"].as_str().unwrap();
        let first: f32 = "0.0117123456789012".parse().unwrap();
        let bytes = BASE64_STANDARD.decode(packed).unwrap();
        assert_eq!(bytes, [first.to_le_bytes(), (-0.001_f32).to_le_bytes()].concat());
    }

    #[test]
    fn parts_become_one_answer_in_order() {
        let part = |vectors: &[&str], tokens| Part {
            vectors: vectors.iter().map(|&vector| vector.to_owned()).collect(),
            tokens,
        };
        let answer = parsed(&[part(&["[1]", "[2]"], Some(4)), part(&["[3]"], Some(5))]);
        let one = |index: u32, number: u32| json!({"object": "embedding", "index": index, "embedding": [number]});
        assert_eq!(
            answer,
            json!({"object": "list", "data": [one(0, 1), one(1, 2), one(2, 3)], "model": "m",
                "usage": {"prompt_tokens": 9, "total_tokens": 9}})
        );
        // What was counted in part was not counted.
        let answer = parsed(&[part(&["[1]"], Some(4)), part(&["[3]"], None)]);
        assert_eq!(answer["usage"], json!({"prompt_tokens": 0, "total_tokens": 0}));
    }
}
