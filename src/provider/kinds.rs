//! The table of provider kinds.

use std::fmt;

use crate::wire::api::{Api, Operation};
use crate::wire::format::quirks;
use crate::wire::format::quirks::Quirks;

/// A kind of provider, as in `kind = "…"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the names are those of the vendors; the table below describes them"
)]
pub enum Kind {
    OpenAi,
    Anthropic,
    Gemini,
    Vertex,
    Azure,
    Bedrock,
    Mistral,
    DeepSeek,
    Xai,
    Zai,
    Cohere,
    Groq,
    Together,
    Replicate,
    Vllm,
    Ollama,
    Sglang,
    OpenAiCompatible,
    Echo,
}

/// How a request carries the credential of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `authorization: Bearer KEY`, omitted if the key has no value.
    Bearer,
    /// `x-api-key: KEY`
    Anthropic,
    /// `x-goog-api-key: KEY`
    Gemini,
    /// By the `*_key_config` of the key: an API key, a token that keymux requests, or a signature.
    Cloud,
    /// No credential at all.
    None,
}

/// The properties of a kind.
#[derive(Clone, Copy, Debug)]
pub struct KindInfo {
    /// The kind.
    pub kind: Kind,
    /// The name in the file.
    pub name: &'static str,
    /// Default of `base_url`; `None`: the file must set it.
    pub base_url: Option<&'static str>,
    /// True if a key must have a `value`.
    pub needs_value: bool,
    /// The name of the table that keys of this kind may have.
    pub key_config: Option<&'static str>,
    /// The path between `base_url` and the path of an operation of OpenAI's API: empty, except for a kind
    /// whose `base_url` is an origin without a version.
    pub path_prefix: &'static str,
    /// The APIs it supports.
    pub apis: &'static [Api],
    /// How requests carry the credential.
    pub auth: Auth,
    /// The path below the address of the provider for a free GET request that tests a key. Empty if the kind
    /// is tested in another way.
    pub probe_path: &'static str,
    /// How it deviates from the format that a request is translated to.
    pub quirks: &'static Quirks,
}

const OPENAI: &[Api] = &[Api::OpenAi];

const fn row(kind: Kind, name: &'static str, base_url: Option<&'static str>) -> KindInfo {
    KindInfo {
        kind,
        name,
        base_url,
        needs_value: true,
        key_config: None,
        path_prefix: "",
        apis: OPENAI,
        auth: Auth::Bearer,
        probe_path: "/models",
        quirks: &quirks::PLAIN,
    }
}

/// A kind with a copy of OpenAI's API.
const fn openai_like(
    kind: Kind,
    name: &'static str,
    base_url: Option<&'static str>,
    quirks: &'static Quirks,
) -> KindInfo {
    KindInfo { quirks, ..row(kind, name, base_url) }
}

/// A kind whose keys have credentials in their own table.
const fn cloud(
    kind: Kind,
    name: &'static str,
    base_url: Option<&'static str>,
    key_config: &'static str,
    apis: &'static [Api],
) -> KindInfo {
    KindInfo {
        needs_value: false,
        key_config: Some(key_config),
        apis,
        auth: Auth::Cloud,
        probe_path: "",
        ..row(kind, name, base_url)
    }
}

/// A self-hosted server.
const fn self_hosted(
    kind: Kind,
    name: &'static str,
    base_url: &'static str,
    key_config: &'static str,
    quirks: &'static Quirks,
) -> KindInfo {
    let key_config = Some(key_config);
    KindInfo { needs_value: false, key_config, ..openai_like(kind, name, Some(base_url), quirks) }
}

/// One row per kind, in the order of [`Kind`]. The addresses are from the vendors' API references.
static KINDS: [KindInfo; 19] = [
    row(Kind::OpenAi, "openai", Some("https://api.openai.com/v1")),
    KindInfo {
        apis: &[Api::Anthropic],
        auth: Auth::Anthropic,
        probe_path: "/v1/models?limit=1",
        ..row(Kind::Anthropic, "anthropic", Some("https://api.anthropic.com"))
    },
    KindInfo {
        apis: &[Api::Gemini],
        auth: Auth::Gemini,
        probe_path: "/v1beta/models?pageSize=1",
        ..row(Kind::Gemini, "gemini", Some("https://generativelanguage.googleapis.com"))
    },
    KindInfo {
        quirks: &quirks::VERTEX,
        ..cloud(
            Kind::Vertex,
            "vertex",
            Some("https://aiplatform.googleapis.com"),
            "vertex_key_config",
            &[Api::Gemini, Api::Anthropic, Api::OpenAi],
        )
    },
    cloud(Kind::Azure, "azure", None, "azure_key_config", &[Api::OpenAi, Api::Anthropic]),
    cloud(
        Kind::Bedrock,
        "bedrock",
        Some("https://bedrock-runtime.us-east-1.amazonaws.com"),
        "bedrock_key_config",
        &[Api::Bedrock, Api::Anthropic, Api::OpenAi],
    ),
    openai_like(Kind::Mistral, "mistral", Some("https://api.mistral.ai/v1"), &quirks::MISTRAL),
    openai_like(Kind::DeepSeek, "deepseek", Some("https://api.deepseek.com/v1"), &quirks::DEEPSEEK),
    openai_like(Kind::Xai, "xai", Some("https://api.x.ai/v1"), &quirks::XAI),
    openai_like(Kind::Zai, "zai", Some("https://api.z.ai/api/paas/v4"), &quirks::ZAI),
    KindInfo {
        path_prefix: "/compatibility/v1",
        apis: &[Api::OpenAi, Api::Cohere],
        probe_path: "/v1/models?page_size=1",
        ..openai_like(Kind::Cohere, "cohere", Some("https://api.cohere.ai"), &quirks::COHERE)
    },
    openai_like(Kind::Groq, "groq", Some("https://api.groq.com/openai/v1"), &quirks::GROQ),
    openai_like(Kind::Together, "together", Some("https://api.together.xyz/v1"), &quirks::TOGETHER),
    KindInfo {
        key_config: Some("replicate_key_config"),
        apis: &[Api::Replicate],
        probe_path: "/v1/account",
        ..row(Kind::Replicate, "replicate", Some("https://api.replicate.com"))
    },
    self_hosted(Kind::Vllm, "vllm", "http://127.0.0.1:8000/v1", "vllm_key_config", &quirks::VLLM),
    self_hosted(
        Kind::Ollama,
        "ollama",
        "http://127.0.0.1:11434/v1",
        "ollama_key_config",
        &quirks::OLLAMA,
    ),
    self_hosted(
        Kind::Sglang,
        "sglang",
        "http://127.0.0.1:30000/v1",
        "sgl_key_config",
        &quirks::SGLANG,
    ),
    openai_like(Kind::OpenAiCompatible, "openai-compatible", None, &quirks::COMPATIBLE),
    KindInfo {
        needs_value: false,
        auth: Auth::None,
        probe_path: "",
        ..row(Kind::Echo, "echo", Some("echo:"))
    },
];

impl Kind {
    /// Returns all kinds in the order of the table.
    pub fn all() -> impl Iterator<Item = Kind> {
        KINDS.iter().map(|row| row.kind)
    }

    /// Returns the kind with that name in the file.
    pub fn from_name(name: &str) -> Option<Kind> {
        KINDS.iter().find(|row| row.name == name).map(|row| row.kind)
    }

    /// Returns the properties of this kind.
    pub fn info(self) -> &'static KindInfo {
        &KINDS[self as usize]
    }

    /// True if it supports this operation in the format of the operation.
    pub fn supports(self, operation: Operation) -> bool {
        self.info().apis.contains(&operation.api())
            && match operation {
                // Vertex's wrapping of Claude, and operations that only some kinds with the API have.
                Operation::RawPredict | Operation::StreamRawPredict | Operation::RawCountTokens => {
                    self == Kind::Vertex
                }
                Operation::Predict => matches!(self, Kind::Vertex | Kind::Gemini),
                _ if self == Kind::Vertex && operation.api() == Api::OpenAi => {
                    matches!(operation, Operation::Chat | Operation::Embeddings)
                }
                _ if self == Kind::Bedrock && operation.api() != Api::Bedrock => {
                    matches!(operation, Operation::Chat | Operation::Messages)
                }
                _ => true,
            }
    }

    /// The name in the file.
    pub fn name(self) -> &'static str {
        self.info().name
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_in_the_order_of_kinds() {
        for (index, row) in KINDS.iter().enumerate() {
            assert_eq!(row.kind as usize, index, "{}", row.name);
            assert_eq!(Kind::from_name(row.name), Some(row.kind));
        }
    }
}
