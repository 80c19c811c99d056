//! Decodes a caller's request in OpenAI's format, and encodes it for a provider: in several bodies if one
//! request of the provider takes fewer texts.

use serde_json::{Value, json};

use super::{EmbeddingsFormat, takes_one_text};
use crate::wire::json::fields::{Fields, Rejected, elements};

/// OpenAI's limit. <https://platform.openai.com/docs/api-reference/embeddings/create>
const MAX_TEXTS: usize = 2048;
/// Cohere's limit, also on Bedrock. <https://docs.cohere.com/reference/embed>
const COHERE_TEXTS: usize = 96;
/// Gemini refuses more: "at most 100 requests can be in one batch".
const GEMINI_TEXTS: usize = 100;
/// <https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings>: 250 texts with
/// 20,000 tokens in all. A token has at least one byte.
const VERTEX_TEXTS: usize = 250;
const VERTEX_BYTES: usize = 20_000;

/// The encoding of the vectors for the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// A list of numbers.
    #[default]
    Float,
    /// Little-endian 32-bit floats in base64.
    Base64,
}

/// A request for embeddings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The texts.
    pub texts: Vec<String>,
    /// The requested length of a vector.
    pub dimensions: Option<u64>,
    /// The requested encoding.
    pub encoding: Encoding,
    /// Members that other providers do not have, by the caller's names.
    pub dropped: Vec<String>,
}

impl Request {
    /// Decodes a caller's request.
    ///
    /// # Errors
    ///
    /// When the body is not a request of OpenAI's API, and when its input is tokens: only a model with the
    /// same tokenizer could read them.
    pub fn decode(body: &[u8]) -> Result<Request, Rejected> {
        let mut body = Fields::of_body(body)?;
        body.value("model");
        let at = body.at("input");
        let texts = match body.value("input") {
            None => return Err(Rejected::new(at, "is missing")),
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(list)) if (1..=MAX_TEXTS).contains(&list.len()) => {
                if list.iter().all(Value::is_number) {
                    return Err(Rejected::new(at, INPUT_OF_TOKENS));
                }
                elements(list, &at).into_iter().map(decode_text).collect::<Result<_, _>>()?
            }
            Some(Value::Array(_)) => {
                return Err(Rejected::new(at, format!("must have 1 to {MAX_TEXTS} elements")));
            }
            Some(_) => return Err(Rejected::new(at, "must be a string or a list of strings")),
        };
        let dimensions = body.count("dimensions")?;
        if dimensions == Some(0) {
            return Err(body.must("dimensions", "must be at least 1"));
        }
        let encoding = match body.text("encoding_format")?.as_deref() {
            None | Some("float") => Encoding::Float,
            Some("base64") => Encoding::Base64,
            Some(_) => return Err(body.must("encoding_format", "must be `float` or `base64`")),
        };
        let dropped = body.left().map(str::to_owned).collect();
        Ok(Request { texts, dimensions, encoding, dropped })
    }

    /// Returns true if Cohere's compatible endpoint takes the request as it is. It does not support
    /// `dimensions`.
    /// <https://docs.cohere.com/docs/compatibility-api>
    pub fn fits_in_cohere_compatibility(&self) -> bool {
        self.dimensions.is_none() && self.texts.len() <= COHERE_TEXTS
    }
}

const INPUT_OF_TOKENS: &str =
    "is a list of tokens, and the provider of this model takes text only: send strings";

fn decode_text((value, at): (Value, String)) -> Result<String, Rejected> {
    match value {
        Value::String(text) => Ok(text),
        Value::Array(_) => Err(Rejected::new(at, INPUT_OF_TOKENS)),
        _ => Err(Rejected::new(at, "must be a string")),
    }
}

impl EmbeddingsFormat {
    /// Encodes the request as bodies in the order of the texts, each with the number of its texts. `model`: its
    /// name at the provider.
    ///
    /// A text that is too long is an error, as at OpenAI: providers that would cut it off silently are told not
    /// to, where they have a setting for it.
    pub fn encode_requests(self, request: &Request, model: &str) -> Vec<(Vec<u8>, usize)> {
        let groups = self.groups(&request.texts, model).into_iter();
        let body = |texts: &[String]| self.body(request, texts, model).to_string().into_bytes();
        groups.map(|texts| (body(texts), texts.len())).collect()
    }

    /// Divides the texts into requests.
    fn groups<'t>(self, texts: &'t [String], model: &str) -> Vec<&'t [String]> {
        let most = match self {
            EmbeddingsFormat::Gemini => GEMINI_TEXTS,
            EmbeddingsFormat::VertexPredict if !takes_one_text(model) => VERTEX_TEXTS,
            EmbeddingsFormat::OpenAi
            | EmbeddingsFormat::Cohere
            | EmbeddingsFormat::CohereOnBedrock => COHERE_TEXTS,
            EmbeddingsFormat::VertexPredict
            | EmbeddingsFormat::VertexContent
            | EmbeddingsFormat::Titan
            | EmbeddingsFormat::TitanImage
            | EmbeddingsFormat::Nova => 1,
        };
        let most_bytes =
            if self == EmbeddingsFormat::VertexPredict { VERTEX_BYTES } else { usize::MAX };
        let (mut groups, mut rest) = (Vec::new(), texts);
        while !rest.is_empty() {
            let mut bytes = 0;
            let fitting = rest.iter().take(most).take_while(|text| {
                bytes += text.len();
                bytes <= most_bytes
            });
            let (group, remaining) = rest.split_at(fitting.count().max(1));
            groups.push(group);
            rest = remaining;
        }
        groups
    }

    fn body(self, request: &Request, texts: &[String], model: &str) -> Value {
        let first = texts.first().map_or("", String::as_str);
        let content = |text: &str| json!({"parts": [{"text": text}]});
        let with = |mut body: Value, name: &str| {
            if let (Some(dimensions), Value::Object(members)) = (request.dimensions, &mut body) {
                members.insert(name.to_owned(), dimensions.into());
            }
            body
        };
        match self {
            EmbeddingsFormat::OpenAi => with(
                json!({"model": model, "input": texts, "encoding_format": "float"}),
                "dimensions",
            ),
            EmbeddingsFormat::Gemini => {
                let model = format!("models/{model}");
                let one = |text: &String| {
                    with(json!({"model": model, "content": content(text)}), "outputDimensionality")
                };
                json!({"requests": texts.iter().map(one).collect::<Vec<_>>()})
            }
            EmbeddingsFormat::VertexPredict => {
                let instances: Vec<_> = texts.iter().map(|text| json!({"content": text})).collect();
                let parameters = with(json!({"autoTruncate": false}), "outputDimensionality");
                json!({"instances": instances, "parameters": parameters})
            }
            EmbeddingsFormat::VertexContent => {
                let mut body = json!({"content": content(first)});
                if let Some(dimensions) = request.dimensions {
                    body["embedContentConfig"] = json!({"outputDimensionality": dimensions});
                }
                body
            }
            // This input type is for texts that are stored, as most are. OpenAI's API has no member for
            // another.
            EmbeddingsFormat::Cohere | EmbeddingsFormat::CohereOnBedrock => {
                let mut body = json!({"texts": texts, "input_type": "search_document",
                    "embedding_types": ["float"], "truncate": "NONE"});
                if self == EmbeddingsFormat::Cohere {
                    body["model"] = model.into();
                }
                with(body, "output_dimension")
            }
            EmbeddingsFormat::Titan => with(json!({"inputText": first}), "dimensions"),
            EmbeddingsFormat::TitanImage => {
                let mut body = json!({"inputText": first});
                if let Some(dimensions) = request.dimensions {
                    body["embeddingConfig"] = json!({"outputEmbeddingLength": dimensions});
                }
                body
            }
            // <https://docs.aws.amazon.com/nova/latest/userguide/embeddings-schema.html>
            EmbeddingsFormat::Nova => {
                let text = json!({"truncationMode": "NONE", "value": first});
                let params = json!({"embeddingPurpose": "GENERIC_INDEX", "text": text});
                let params = with(params, "embeddingDimension");
                json!({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": params})
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(body: &Value) -> Result<Request, Rejected> {
        Request::decode(body.to_string().as_bytes())
    }

    fn bodies(format: EmbeddingsFormat, model: &str, request: &Value) -> Vec<Value> {
        let bodies = format.encode_requests(&decode(request).unwrap(), model);
        bodies.iter().map(|(body, _)| serde_json::from_slice(body).unwrap()).collect()
    }

    #[test]
    fn one_text_and_several_are_decoded() {
        let one = decode(&json!({"model": "m", "input": "a", "user": "u", "x": 1})).unwrap();
        assert_eq!((one.texts, one.encoding), (vec!["a".to_owned()], Encoding::Float));
        assert_eq!(one.dropped, ["user", "x"]);
        let request = json!({"input": ["a", "b"], "dimensions": 8, "encoding_format": "base64"});
        let two = decode(&request).unwrap();
        assert_eq!((two.texts.len(), two.dimensions, two.encoding), (2, Some(8), Encoding::Base64));
    }

    #[test]
    fn errors_contain_the_place() {
        for (request, at) in [
            (json!({}), "/input"),
            (json!({"input": []}), "/input"),
            (json!({"input": vec!["a"; 2049]}), "/input"),
            (json!({"input": {"text": "a"}}), "/input"),
            (json!({"input": [1, 2, 3]}), "/input"),
            (json!({"input": [[1, 2], [3]]}), "/input/0"),
            (json!({"input": ["a", 1]}), "/input/1"),
            (json!({"input": "a", "dimensions": 0}), "/dimensions"),
            (json!({"input": "a", "dimensions": -1}), "/dimensions"),
            (json!({"input": "a", "encoding_format": "int8"}), "/encoding_format"),
        ] {
            assert_eq!(decode(&request).unwrap_err().at, at, "{request}");
        }
        let tokens = decode(&json!({"input": [[1]]})).unwrap_err().to_string();
        assert!(tokens.contains("send strings"), "{tokens}");
    }

    #[test]
    fn each_format_is_encoded() {
        let request = json!({"input": ["a", "b"], "dimensions": 8});
        let gemini = |text| {
            json!({"model": "models/m", "content": {"parts": [{"text": text}]},
                "outputDimensionality": 8})
        };
        let content = |text| {
            json!({"content": {"parts": [{"text": text}]},
                "embedContentConfig": {"outputDimensionality": 8}})
        };
        let nova = |text| {
            json!({"taskType": "SINGLE_EMBEDDING", "singleEmbeddingParams": {
                "embeddingPurpose": "GENERIC_INDEX", "embeddingDimension": 8,
                "text": {"truncationMode": "NONE", "value": text}}})
        };
        let cohere = json!({"texts": ["a", "b"], "input_type": "search_document",
            "embedding_types": ["float"], "truncate": "NONE", "output_dimension": 8});
        let mut with_model = cohere.clone();
        with_model["model"] = "m".into();
        for (format, expected) in [
            (
                EmbeddingsFormat::OpenAi,
                vec![json!({"model": "m", "input": ["a", "b"], "encoding_format": "float",
                    "dimensions": 8})],
            ),
            (EmbeddingsFormat::Gemini, vec![json!({"requests": [gemini("a"), gemini("b")]})]),
            (
                EmbeddingsFormat::VertexPredict,
                vec![json!({"instances": [{"content": "a"}, {"content": "b"}],
                    "parameters": {"autoTruncate": false, "outputDimensionality": 8}})],
            ),
            (EmbeddingsFormat::VertexContent, vec![content("a"), content("b")]),
            (EmbeddingsFormat::Cohere, vec![with_model]),
            (EmbeddingsFormat::CohereOnBedrock, vec![cohere]),
            (
                EmbeddingsFormat::Titan,
                vec![
                    json!({"inputText": "a", "dimensions": 8}),
                    json!({"inputText": "b", "dimensions": 8}),
                ],
            ),
            (
                EmbeddingsFormat::TitanImage,
                vec![
                    json!({"inputText": "a", "embeddingConfig": {"outputEmbeddingLength": 8}}),
                    json!({"inputText": "b", "embeddingConfig": {"outputEmbeddingLength": 8}}),
                ],
            ),
            (EmbeddingsFormat::Nova, vec![nova("a"), nova("b")]),
        ] {
            assert_eq!(bodies(format, "m", &request), expected, "{format:?}");
        }
    }

    #[test]
    fn dimensions_are_not_invented() {
        for format in EmbeddingsFormat::ALL {
            let all = format!("{:?}", bodies(format, "m", &json!({"input": "a"})));
            assert!(!all.to_ascii_lowercase().contains("dimension"), "{all}");
            assert!(!all.contains("outputEmbeddingLength") && !all.contains("Config"), "{all}");
        }
    }

    #[test]
    fn a_batch_is_divided_in_order() {
        let texts: Vec<String> = (0..300).map(|n| format!("<{n}>")).collect();
        let request = json!({"input": texts});
        for (format, model, requests) in [
            (EmbeddingsFormat::OpenAi, "m", 4),
            (EmbeddingsFormat::Gemini, "gemini-embedding-001", 3),
            (EmbeddingsFormat::VertexPredict, "text-embedding-005", 2),
            (EmbeddingsFormat::VertexPredict, "gemini-embedding-001", 300),
            (EmbeddingsFormat::VertexContent, "gemini-embedding-2", 300),
            (EmbeddingsFormat::Cohere, "embed-v4.0", 4),
            (EmbeddingsFormat::CohereOnBedrock, "cohere.embed-v4:0", 4),
            (EmbeddingsFormat::Titan, "amazon.titan-embed-text-v2:0", 300),
        ] {
            let all = bodies(format, model, &request);
            assert_eq!(all.len(), requests, "{format:?}");
            let text = all.iter().map(Value::to_string).collect::<String>();
            let places: Vec<_> = texts.iter().map(|one| text.find(one.as_str()).unwrap()).collect();
            assert!(places.is_sorted(), "{format:?}");
        }
    }

    #[test]
    fn vertex_gets_at_most_its_limit_of_tokens() {
        let request =
            json!({"input": ["x".repeat(15_000), "y", "z".repeat(5_000), "w".repeat(30_000)]});
        let all = bodies(EmbeddingsFormat::VertexPredict, "text-embedding-005", &request);
        let counts: Vec<_> =
            all.iter().map(|one| one["instances"].as_array().unwrap().len()).collect();
        assert_eq!(counts, [2, 1, 1]);
    }
}
