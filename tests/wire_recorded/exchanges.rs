//! Recorded exchanges with providers. They are not part of the package: the environment
//! variable `KEYMUX_SHARED` says where they are.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use keymux::wire::api::{Api, Framing, Operation};

#[allow(dead_code, reason = "each test reads what it needs")]
pub(crate) struct Exchange {
    pub(crate) id: String,
    pub(crate) operation: Operation,
    pub(crate) features: Vec<String>,
    /// `None` when the request is not known.
    pub(crate) request: Option<Vec<u8>>,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Exchange {
    pub(crate) fn header(&self, wanted: &str) -> Option<&str> {
        self.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    pub(crate) fn framing(&self) -> Framing {
        Framing::of(self.operation, self.header("content-type").map(str::as_bytes))
    }

    pub(crate) fn is_stream(&self) -> bool {
        self.framing().is_stream()
    }

    #[allow(dead_code, reason = "each test reads what it needs")]
    pub(crate) fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|own| own == feature)
    }
}

/// All exchanges in OpenAI's formats, or in all others; `None`, and a word on standard error, when there are
/// none here.
pub(crate) fn all(of_openai: bool) -> Option<Vec<Exchange>> {
    let Some(shared) = std::env::var_os("KEYMUX_SHARED") else {
        eprintln!("skipped: KEYMUX_SHARED does not say where the recorded exchanges are");
        return None;
    };
    let root = PathBuf::from(shared).join("fixtures");
    let read = |name: &str| -> Value {
        let path = root.join(name);
        let text =
            std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_slice(&text).unwrap()
    };
    let index = read("index.json");
    let entries = index.as_array().unwrap().iter();
    let exchanges: Vec<_> = entries
        .filter_map(|entry| {
            let operation = operation(entry["api"].as_str().unwrap())?;
            if (operation.api() == Api::OpenAi) != of_openai {
                return None;
            }
            let id = entry["id"].as_str().unwrap().to_owned();
            let recorded = read(&format!("{id}.json"));
            Some(exchange(id, operation, entry, &recorded))
        })
        .collect();
    assert!(exchanges.len() > 100, "only {} exchanges", exchanges.len());
    Some(exchanges)
}

fn exchange(id: String, operation: Operation, entry: &Value, recorded: &Value) -> Exchange {
    let (request, response) = (&recorded["request"], &recorded["response"]);
    let features = entry["features"].as_array().unwrap().iter();
    let headers = response["headers"].as_object().into_iter().flatten();
    Exchange {
        id,
        operation,
        features: features.map(|feature| feature.as_str().unwrap().to_owned()).collect(),
        request: match &request["body"] {
            Value::Null => None,
            Value::String(text) => Some(text.clone().into_bytes()),
            parsed => Some(parsed.to_string().into_bytes()),
        },
        status: response["status"]
            .as_u64()
            .and_then(|status| status.try_into().ok())
            .unwrap_or(200),
        headers: headers
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        body: match response["body_b64"].as_str() {
            Some(binary) => STANDARD.decode(binary).unwrap(),
            None => response["body"].as_str().unwrap_or_default().as_bytes().to_vec(),
        },
    }
}

fn operation(api: &str) -> Option<Operation> {
    Some(match api {
        "openai.chat" => Operation::Chat,
        "openai.completions" => Operation::Completions,
        "openai.responses" => Operation::Responses,
        "openai.responses.compact" => Operation::ResponsesCompact,
        "openai.responses.input_tokens" => Operation::ResponsesInputTokens,
        "openai.embeddings" => Operation::Embeddings,
        "anthropic.messages" => Operation::Messages,
        "anthropic.count_tokens" => Operation::CountTokens,
        "vertex.rawPredict" => Operation::RawPredict,
        "vertex.streamRawPredict" => Operation::StreamRawPredict,
        "gemini.generateContent" => Operation::GenerateContent,
        "gemini.streamGenerateContent" => Operation::StreamGenerateContent,
        "gemini.countTokens" => Operation::GeminiCountTokens,
        "gemini.embedContent" => Operation::EmbedContent,
        "gemini.batchEmbedContents" => Operation::BatchEmbedContents,
        "vertex.predict" => Operation::Predict,
        "bedrock.converse" => Operation::Converse,
        "bedrock.converse_stream" => Operation::ConverseStream,
        "bedrock.invoke_model" => Operation::Invoke,
        "bedrock.invoke_model_stream" => Operation::InvokeStream,
        "bedrock.count_tokens" => Operation::BedrockCountTokens,
        "cohere.chat" => Operation::CohereChat,
        "cohere.embed" => Operation::CohereEmbed,
        "cohere.rerank" => Operation::CohereRerank,
        "replicate.predictions" | "replicate.stream" | "replicate.other" => Operation::Prediction,
        _ => return None,
    })
}
