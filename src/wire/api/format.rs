//! Formats of requests to a language model.

use super::{Api, Operation};

/// Format of a request to a language model and of its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// `/v1/chat/completions` of OpenAI and of compatible providers.
    OpenAiChat,
    /// `/v1/responses` of OpenAI.
    OpenAiResponses,
    /// `/v1/messages` of Anthropic.
    Anthropic,
    /// `generateContent` of Gemini and Vertex.
    Gemini,
    /// `Converse` of Bedrock.
    Bedrock,
    /// `/v2/chat` of Cohere; for providers only.
    Cohere,
    /// Predictions of language models on Replicate; for providers only.
    Replicate,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 7] = [
        Format::OpenAiChat,
        Format::OpenAiResponses,
        Format::Anthropic,
        Format::Gemini,
        Format::Bedrock,
        Format::Cohere,
        Format::Replicate,
    ];

    /// Formats in which callers can send requests.
    pub const CALLER_FORMATS: [Format; 5] = [
        Format::OpenAiChat,
        Format::OpenAiResponses,
        Format::Anthropic,
        Format::Gemini,
        Format::Bedrock,
    ];

    /// Returns the format of an operation; `None` if it does not call a language model.
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

    /// Returns the operation that uses this format.
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

    /// Returns the API that defines the format.
    pub fn api(self) -> Api {
        self.operation(false).api()
    }

    /// Returns the name in the README and before signatures that another format transports.
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

    /// Returns the name in error texts.
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

    /// Returns the format with this name.
    pub fn named(name: &str) -> Option<Format> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }
}
