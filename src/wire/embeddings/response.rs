//! Decodes the answers of providers, and encodes them as one answer in OpenAI's format.

use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{EmbeddingsFormat, Encoding};

/// The answer to one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vectors {
    /// In the order of the texts, each as JSON in the caller's encoding.
    json: Vec<String>,
    /// The tokens of the texts, if the provider has counted them.
    tokens: Option<u64>,
}

impl Vectors {
    /// Returns the number of vectors.
    pub fn count(&self) -> usize {
        self.json.len()
    }
}

impl EmbeddingsFormat {
    /// Decodes the answer to one request. `counted`: the tokens, if the answer has them outside of its vectors,
    /// in its headers or in its own usage. `None`: it is not an answer of this format.
    pub fn decode_response(
        self,
        body: &[u8],
        counted: Option<u64>,
        encoding: Encoding,
    ) -> Option<Vectors> {
        let (vectors, tokens) = self.vectors(body)?;
        let json = vectors.into_iter().map(|vector| encode_vector(vector.get(), encoding));
        Some(Vectors { json: json.collect::<Option<_>>()?, tokens: tokens.or(counted) })
    }

    /// Returns the vectors, and the tokens that are counted next to them.
    fn vectors(self, body: &[u8]) -> Option<(Vec<&RawValue>, Option<u64>)> {
        Some(match self {
            EmbeddingsFormat::OpenAi | EmbeddingsFormat::Gemini | EmbeddingsFormat::Nova => {
                let answer: List<'_> = serde_json::from_slice(body).ok()?;
                (answer.data.into_iter().map(|vector| vector.embedding).collect(), None)
            }
            EmbeddingsFormat::VertexContent => {
                let answer: Single<Vector<'_>> = serde_json::from_slice(body).ok()?;
                (vec![answer.embedding.embedding], None)
            }
            EmbeddingsFormat::VertexPredict => {
                let answer: Predictions<'_> = serde_json::from_slice(body).ok()?;
                let counts = answer.predictions.iter().map(|one| one.embeddings.tokens());
                let tokens = counts.sum::<Option<u64>>();
                let vectors = answer.predictions.into_iter().map(|one| one.embeddings.embedding);
                (vectors.collect(), tokens)
            }
            EmbeddingsFormat::Cohere | EmbeddingsFormat::CohereOnBedrock => {
                let answer: Cohere<'_> = serde_json::from_slice(body).ok()?;
                let by_type = serde_json::from_str::<Floats<'_>>(answer.embeddings.get());
                // Older models on Bedrock answer with the list itself, without types.
                let floats = by_type.map(|by_type| by_type.float);
                (floats.or_else(|_| serde_json::from_str(answer.embeddings.get())).ok()?, None)
            }
            EmbeddingsFormat::Titan | EmbeddingsFormat::TitanImage => {
                let answer: Single<&RawValue> = serde_json::from_slice(body).ok()?;
                (vec![answer.embedding], answer.input_text_token_count)
            }
        })
    }
}

/// Encodes the answers to all requests as one. `model`: as in the caller's request.
///
/// OpenAI's API and its SDKs require a usage. It is 0, which no text has, if the provider has not counted every
/// text: the sum of a part would look like a count.
pub fn encode_response(model: &str, answers: &[Vectors]) -> Vec<u8> {
    let vectors = || answers.iter().flat_map(|answer| &answer.json);
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
    let tokens = answers.iter().map(|answer| answer.tokens).sum::<Option<u64>>().unwrap_or(0);
    let _ = write!(
        out,
        r#"],"model":{model},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}}}"#
    );
    out
}

/// Encodes a vector for the caller. Numbers keep the provider's digits.
fn encode_vector(vector: &str, encoding: Encoding) -> Option<String> {
    let numbers: Vec<f32> = serde_json::from_str(vector).ok()?;
    match encoding {
        Encoding::Float => Some(vector.split_ascii_whitespace().collect()),
        Encoding::Base64 => {
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            Some(format!("\"{}\"", BASE64_STANDARD.encode(bytes)))
        }
    }
}

/// OpenAI has `data` of `embedding`, Gemini `embeddings` of `values`, Nova `embeddings` of `embedding`.
#[derive(Deserialize)]
struct List<'b> {
    #[serde(borrow, alias = "embeddings")]
    data: Vec<Vector<'b>>,
}

#[derive(Deserialize)]
struct Vector<'b> {
    #[serde(borrow, alias = "values")]
    embedding: &'b RawValue,
    statistics: Option<Statistics>,
}

impl Vector<'_> {
    fn tokens(&self) -> Option<u64> {
        self.statistics.as_ref()?.token_count
    }
}

#[derive(Deserialize)]
struct Statistics {
    token_count: Option<u64>,
}

/// Titan has the vector itself, Vertex an object.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Single<V> {
    embedding: V,
    input_text_token_count: Option<u64>,
}

#[derive(Deserialize)]
struct Predictions<'b> {
    #[serde(borrow)]
    predictions: Vec<Prediction<'b>>,
}

#[derive(Deserialize)]
struct Prediction<'b> {
    #[serde(borrow)]
    embeddings: Vector<'b>,
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn encoded(answers: &[Vectors]) -> Value {
        serde_json::from_slice(&encode_response("m", answers)).unwrap()
    }

    #[test]
    fn each_format_is_decoded() {
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
            let answer = format
                .decode_response(body.to_string().as_bytes(), Some(9), Encoding::Float)
                .unwrap();
            assert_eq!((answer.count(), answer.tokens), (2, tokens), "{format:?}");
            assert_eq!(answer.json, ["[0.25,-1]", "[0.001,2]"], "{format:?}");
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
            let answer = format
                .decode_response(body.to_string().as_bytes(), Some(9), Encoding::Float)
                .unwrap();
            assert_eq!((answer.json, answer.tokens), (vec!["[1.5]".to_owned()], tokens));
        }
    }

    #[test]
    fn other_bodies_are_not_answers() {
        for body in [r#"{"error":"no"}"#, "", "[]", r#"{"embeddings":[{"values":["a"]}]}"#] {
            for format in EmbeddingsFormat::ALL {
                assert_eq!(
                    format.decode_response(body.as_bytes(), None, Encoding::Float),
                    None,
                    "{body}"
                );
            }
        }
    }

    #[test]
    fn numbers_keep_their_digits_and_base64_has_32_bits_each() {
        let body = br#"{"embeddings":[{"values":[
            0.0117123456789012,
            -1e-3 ]}]}"#;
        let answer =
            EmbeddingsFormat::Gemini.decode_response(body, Some(2), Encoding::Float).unwrap();
        assert_eq!(answer.json, ["[0.0117123456789012,-1e-3]"]);
        let answer =
            EmbeddingsFormat::Gemini.decode_response(body, Some(2), Encoding::Base64).unwrap();
        let answer = encoded(&[answer]);
        let packed = answer["data"][0]["embedding"].as_str().unwrap();
        let first: f32 = "0.0117123456789012".parse().unwrap();
        let bytes = BASE64_STANDARD.decode(packed).unwrap();
        assert_eq!(bytes, [first.to_le_bytes(), (-0.001_f32).to_le_bytes()].concat());
    }

    #[test]
    fn answers_are_joined_in_order() {
        let answer = |vectors: &[&str], tokens| Vectors {
            json: vectors.iter().map(|&vector| vector.to_owned()).collect(),
            tokens,
        };
        let joined = encoded(&[answer(&["[1]", "[2]"], Some(4)), answer(&["[3]"], Some(5))]);
        let one = |index: u32, number: u32| json!({"object": "embedding", "index": index, "embedding": [number]});
        assert_eq!(
            joined,
            json!({"object": "list", "data": [one(0, 1), one(1, 2), one(2, 3)], "model": "m",
                "usage": {"prompt_tokens": 9, "total_tokens": 9}})
        );
        // A partial count is not a count.
        let partial = encoded(&[answer(&["[1]"], Some(4)), answer(&["[3]"], None)]);
        assert_eq!(partial["usage"], json!({"prompt_tokens": 0, "total_tokens": 0}));
    }
}
