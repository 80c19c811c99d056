//! The table of provider kinds.

use std::fmt;

use crate::wire::Api;

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
    /// No credential at all.
    None,
}

/// What keymux knows of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Row {
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
    /// What stands between `base_url` and an operation's path: `""`, but for a kind whose `base_url`
    /// is the bare origin.
    pub prefix: &'static str,
    /// How this version talks to the kind; `None`: it does not serve it yet.
    pub served: Option<(Api, Auth)>,
}

const OPENAI: Option<(Api, Auth)> = Some((Api::OpenAi, Auth::Bearer));

const fn row(kind: Kind, name: &'static str, base_url: Option<&'static str>) -> Row {
    Row { kind, name, base_url, needs_value: true, key_config: None, prefix: "", served: OPENAI }
}

/// One row per kind, in the order of [`Kind`]. The addresses are those of the vendors' API references.
static ROWS: [Row; 19] = [
    row(Kind::OpenAi, "openai", Some("https://api.openai.com/v1")),
    Row { served: None, ..row(Kind::Anthropic, "anthropic", Some("https://api.anthropic.com")) },
    Row {
        served: None,
        ..row(Kind::Gemini, "gemini", Some("https://generativelanguage.googleapis.com"))
    },
    Row {
        served: None,
        needs_value: false,
        key_config: Some("vertex_key_config"),
        ..row(Kind::Vertex, "vertex", Some("https://aiplatform.googleapis.com"))
    },
    Row {
        served: None,
        needs_value: false,
        key_config: Some("azure_key_config"),
        ..row(Kind::Azure, "azure", None)
    },
    Row {
        served: None,
        needs_value: false,
        key_config: Some("bedrock_key_config"),
        ..row(Kind::Bedrock, "bedrock", Some("https://bedrock-runtime.us-east-1.amazonaws.com"))
    },
    row(Kind::Mistral, "mistral", Some("https://api.mistral.ai/v1")),
    row(Kind::DeepSeek, "deepseek", Some("https://api.deepseek.com/v1")),
    row(Kind::Xai, "xai", Some("https://api.x.ai/v1")),
    row(Kind::Zai, "zai", Some("https://api.z.ai/api/paas/v4")),
    Row {
        prefix: "/compatibility/v1",
        ..row(Kind::Cohere, "cohere", Some("https://api.cohere.ai"))
    },
    row(Kind::Groq, "groq", Some("https://api.groq.com/openai/v1")),
    row(Kind::Together, "together", Some("https://api.together.xyz/v1")),
    Row {
        served: None,
        key_config: Some("replicate_key_config"),
        ..row(Kind::Replicate, "replicate", Some("https://api.replicate.com"))
    },
    Row {
        needs_value: false,
        key_config: Some("vllm_key_config"),
        ..row(Kind::Vllm, "vllm", Some("http://127.0.0.1:8000/v1"))
    },
    Row {
        needs_value: false,
        key_config: Some("ollama_key_config"),
        ..row(Kind::Ollama, "ollama", Some("http://127.0.0.1:11434/v1"))
    },
    Row {
        needs_value: false,
        key_config: Some("sgl_key_config"),
        ..row(Kind::Sglang, "sglang", Some("http://127.0.0.1:30000/v1"))
    },
    row(Kind::OpenAiCompatible, "openai-compatible", None),
    Row {
        needs_value: false,
        served: Some((Api::OpenAi, Auth::None)),
        ..row(Kind::Echo, "echo", Some("echo:"))
    },
];

impl Kind {
    /// Every kind there is, in the table's order.
    pub fn all() -> impl Iterator<Item = Kind> {
        ROWS.iter().map(|row| row.kind)
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Kind> {
        ROWS.iter().find(|row| row.name == name).map(|row| row.kind)
    }

    /// What is known of this kind.
    pub fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The name in the file.
    pub fn name(self) -> &'static str {
        self.row().name
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
            assert_eq!(Kind::named(row.name), Some(row.kind));
        }
    }
}
