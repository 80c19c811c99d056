//! Bytes and their meaning. Synchronous; no sockets, clock, configuration or logging in here.

pub mod failure;
pub mod frame;
pub mod ir;
pub mod listen;
pub mod multipart;
pub mod peek;
mod scan;

/// Whose API an address belongs to: it decides the shape of errors and of the models list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `https://api.openai.com/v1` and all who copied it.
    OpenAi,
    /// `https://api.anthropic.com/v1`.
    Anthropic,
    /// `https://generativelanguage.googleapis.com/v1beta`.
    Gemini,
}

/// What a request asks for. Each stands for one address of the OpenAI API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is named like its path, which the table below gives")]
pub enum Operation {
    Chat,
    Completions,
    Responses,
    ResponsesCompact,
    ResponsesInputTokens,
    Embeddings,
    Moderations,
    ImageGenerations,
    ImageEdits,
    ImageVariations,
    Speech,
    Transcriptions,
    Translations,
    Rerank,
}

impl Operation {
    /// All operations, in the order of the table.
    pub const ALL: [Operation; 14] = [
        Operation::Chat,
        Operation::Completions,
        Operation::Responses,
        Operation::ResponsesCompact,
        Operation::ResponsesInputTokens,
        Operation::Embeddings,
        Operation::Moderations,
        Operation::ImageGenerations,
        Operation::ImageEdits,
        Operation::ImageVariations,
        Operation::Speech,
        Operation::Transcriptions,
        Operation::Translations,
        Operation::Rerank,
    ];

    /// The path behind the version (`/v1`), and the name that metrics and logs use.
    pub fn path_and_name(self) -> (&'static str, &'static str) {
        match self {
            Operation::Chat => ("/chat/completions", "chat"),
            Operation::Completions => ("/completions", "completions"),
            Operation::Responses => ("/responses", "responses"),
            Operation::ResponsesCompact => ("/responses/compact", "responses_compact"),
            Operation::ResponsesInputTokens => {
                ("/responses/input_tokens", "responses_input_tokens")
            }
            Operation::Embeddings => ("/embeddings", "embeddings"),
            Operation::Moderations => ("/moderations", "moderations"),
            Operation::ImageGenerations => ("/images/generations", "image_generations"),
            Operation::ImageEdits => ("/images/edits", "image_edits"),
            Operation::ImageVariations => ("/images/variations", "image_variations"),
            Operation::Speech => ("/audio/speech", "speech"),
            Operation::Transcriptions => ("/audio/transcriptions", "transcriptions"),
            Operation::Translations => ("/audio/translations", "translations"),
            Operation::Rerank => ("/rerank", "rerank"),
        }
    }

    /// The operation at a path behind the version.
    pub fn at(path: &str) -> Option<Operation> {
        Operation::ALL.into_iter().find(|operation| operation.path() == path)
    }

    /// The model that the API takes when the body names none (OpenAI's API reference; the official
    /// SDKs leave it out).
    pub fn default_model(self) -> Option<&'static str> {
        match self {
            Operation::Moderations => Some("omni-moderation-latest"),
            Operation::ImageGenerations | Operation::ImageEdits | Operation::ImageVariations => {
                Some("dall-e-2")
            }
            _ => None,
        }
    }

    /// The path behind the version.
    pub fn path(self) -> &'static str {
        self.path_and_name().0
    }

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        self.path_and_name().1
    }
}
