//! The formats of conversations with a model.

use super::{Api, Operation};

/// The formats of conversations with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `/v1/chat/completions` of OpenAI and of all who copied it.
    OpenAiChat,
    /// `/v1/responses` of OpenAI.
    OpenAiResponses,
    /// `/v1/messages` of Anthropic.
    Anthropic,
    /// `generateContent` of Gemini and Vertex.
    Gemini,
    /// `Converse` of Bedrock.
    Bedrock,
    /// `/v2/chat` of Cohere; of providers only.
    Cohere,
    /// Predictions of language models on Replicate; of providers only.
    Replicate,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 7] = [
        Format::OpenAiChat,
        Format::OpenAiResponses,
        Format::Anthropic,
        Format::Gemini,
        Format::Bedrock,
        Format::Cohere,
        Format::Replicate,
    ];

    /// Those that callers speak.
    pub const OF_CALLERS: [Format; 5] = [
        Format::OpenAiChat,
        Format::OpenAiResponses,
        Format::Anthropic,
        Format::Gemini,
        Format::Bedrock,
    ];

    /// The format in which an operation asks a model; `None`: it asks for something else.
    pub fn of(operation: Operation) -> Option<Format> {
        match operation {
            Operation::Chat => Some(Format::OpenAiChat),
            Operation::Responses => Some(Format::OpenAiResponses),
            Operation::Messages => Some(Format::Anthropic),
            Operation::GenerateContent | Operation::StreamGenerateContent => Some(Format::Gemini),
            Operation::Converse | Operation::ConverseStream => Some(Format::Bedrock),
            Operation::CohereChat => Some(Format::Cohere),
            Operation::Prediction => Some(Format::Replicate),
            _ => None,
        }
    }

    /// The operation that asks in this format.
    pub fn operation(self, stream: bool) -> Operation {
        match (self, stream) {
            (Format::OpenAiChat, _) => Operation::Chat,
            (Format::OpenAiResponses, _) => Operation::Responses,
            (Format::Anthropic, _) => Operation::Messages,
            (Format::Gemini, false) => Operation::GenerateContent,
            (Format::Gemini, true) => Operation::StreamGenerateContent,
            (Format::Bedrock, false) => Operation::Converse,
            (Format::Bedrock, true) => Operation::ConverseStream,
            (Format::Cohere, _) => Operation::CohereChat,
            (Format::Replicate, _) => Operation::Prediction,
        }
    }

    /// Whose API it is of.
    pub fn api(self) -> Api {
        self.operation(false).api()
    }

    /// Its name: in the README, and before the signatures that other formats keep for it.
    pub fn name(self) -> &'static str {
        match self {
            Format::OpenAiChat => "openai-chat",
            Format::OpenAiResponses => "openai-responses",
            Format::Anthropic => "anthropic",
            Format::Gemini => "gemini",
            Format::Bedrock => "bedrock",
            Format::Cohere => "cohere",
            Format::Replicate => "replicate",
        }
    }

    /// Its name in error texts.
    pub fn title(self) -> &'static str {
        match self {
            Format::OpenAiChat => "OpenAI chat",
            Format::OpenAiResponses => "OpenAI Responses",
            Format::Anthropic => "Anthropic Messages",
            Format::Gemini => "Gemini",
            Format::Bedrock => "Bedrock Converse",
            Format::Cohere => "Cohere chat",
            Format::Replicate => "Replicate",
        }
    }

    /// The format of that name.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }
}
