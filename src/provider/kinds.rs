//! The table of provider kinds.

use std::fmt;

use crate::wire::quirks::{self, Quirks};
use crate::wire::{Api, Operation};

/// A kind of provider: the name that `kind = "…"` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the vendors' own; the table below says the rest")]
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

/// How a key's credential goes into a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `authorization: Bearer KEY`, left out when the key has no value.
    Bearer,
    /// `x-api-key: KEY`
    Anthropic,
    /// `x-goog-api-key: KEY`
    Gemini,
    /// What the key's own table says: a key, a token that is asked for, a signature.
    Cloud,
    /// No credential at all.
    None,
}

/// What keymux knows of one kind.
#[derive(Clone, Copy, Debug)]
pub struct KindInfo {
    /// The kind this row is about.
    pub kind: Kind,
    /// The name in the file.
    pub name: &'static str,
    /// Where the provider answers when the file says nothing; `None`: the file must say.
    pub base_url: Option<&'static str>,
    /// Whether a key must have a `value` (or a sub-config that carries the credential).
    pub needs_value: bool,
    /// The key's sub-config that belongs to this kind.
    pub key_config: Option<&'static str>,
    /// What stands between `base_url` and the path of an operation of OpenAI's: `""`, but for a kind
    /// whose `base_url` is the bare origin.
    pub path_prefix: &'static str,
    /// The APIs it answers in.
    pub apis: &'static [Api],
    /// How it is shown a key.
    pub auth: Auth,
    /// A GET of this path behind the address costs nothing and shows whether the key is good. `""`: the
    /// kind is asked in another way.
    pub probe_path: &'static str,
    /// How it bends the format that a request is translated to.
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

/// One that copied OpenAI's API.
const fn alike(
    kind: Kind,
    name: &'static str,
    base_url: Option<&'static str>,
    quirks: &'static Quirks,
) -> KindInfo {
    KindInfo { quirks, ..row(kind, name, base_url) }
}

/// A kind of which a key has a table of its own.
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

/// A server of one's own.
const fn own(
    kind: Kind,
    name: &'static str,
    base_url: &'static str,
    key_config: &'static str,
    quirks: &'static Quirks,
) -> KindInfo {
    let key_config = Some(key_config);
    KindInfo { needs_value: false, key_config, ..alike(kind, name, Some(base_url), quirks) }
}

/// One row per kind, in the order of [`Kind`]. The addresses are those of the vendors' API references.
static ROWS: [KindInfo; 19] = [
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
    alike(Kind::Mistral, "mistral", Some("https://api.mistral.ai/v1"), &quirks::MISTRAL),
    alike(Kind::DeepSeek, "deepseek", Some("https://api.deepseek.com/v1"), &quirks::DEEPSEEK),
    alike(Kind::Xai, "xai", Some("https://api.x.ai/v1"), &quirks::XAI),
    alike(Kind::Zai, "zai", Some("https://api.z.ai/api/paas/v4"), &quirks::ZAI),
    KindInfo {
        path_prefix: "/compatibility/v1",
        apis: &[Api::OpenAi, Api::Cohere],
        probe_path: "/v1/models?page_size=1",
        ..alike(Kind::Cohere, "cohere", Some("https://api.cohere.ai"), &quirks::COHERE)
    },
    alike(Kind::Groq, "groq", Some("https://api.groq.com/openai/v1"), &quirks::GROQ),
    alike(Kind::Together, "together", Some("https://api.together.xyz/v1"), &quirks::TOGETHER),
    KindInfo {
        key_config: Some("replicate_key_config"),
        apis: &[Api::Replicate],
        probe_path: "/v1/account",
        ..row(Kind::Replicate, "replicate", Some("https://api.replicate.com"))
    },
    own(Kind::Vllm, "vllm", "http://127.0.0.1:8000/v1", "vllm_key_config", &quirks::VLLM),
    own(Kind::Ollama, "ollama", "http://127.0.0.1:11434/v1", "ollama_key_config", &quirks::OLLAMA),
    own(Kind::Sglang, "sglang", "http://127.0.0.1:30000/v1", "sgl_key_config", &quirks::SGLANG),
    alike(Kind::OpenAiCompatible, "openai-compatible", None, &quirks::COMPATIBLE),
    KindInfo {
        needs_value: false,
        auth: Auth::None,
        probe_path: "",
        ..row(Kind::Echo, "echo", Some("echo:"))
    },
];

impl Kind {
    /// Every kind there is, in the table's order.
    pub fn all() -> impl Iterator<Item = Kind> {
        ROWS.iter().map(|row| row.kind)
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.kind)
    }

    /// What is known of this kind.
    pub fn info(self) -> &'static KindInfo {
        &ROWS[self as usize]
    }

    /// Whether it answers this operation in the form it is asked in.
    pub fn supports(self, operation: Operation) -> bool {
        self.info().apis.contains(&operation.api())
            && match operation {
                // The envelope of Vertex, and what only some of those that speak the API have.
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
    fn each_row_stands_at_its_kinds_place() {
        for (place, row) in ROWS.iter().enumerate() {
            assert_eq!(row.kind as usize, place, "{}", row.name);
            assert_eq!(Kind::from_name(row.name), Some(row.kind));
        }
    }
}
