//! The formats of conversations with a model.

use super::{Api, Operation};

/// The formats of conversations with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
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

impl Wire {
    /// All of them.
    pub const ALL: [Wire; 7] = [
        Wire::OpenAiChat,
        Wire::OpenAiResponses,
        Wire::Anthropic,
        Wire::Gemini,
        Wire::Bedrock,
        Wire::Cohere,
        Wire::Replicate,
    ];

    /// Those that callers speak.
    pub const OF_CALLERS: [Wire; 5] =
        [Wire::OpenAiChat, Wire::OpenAiResponses, Wire::Anthropic, Wire::Gemini, Wire::Bedrock];

    /// The format in which an operation asks a model; `None`: it asks for something else.
    pub fn of(operation: Operation) -> Option<Wire> {
        match operation {
            Operation::Chat => Some(Wire::OpenAiChat),
            Operation::Responses => Some(Wire::OpenAiResponses),
            Operation::Messages => Some(Wire::Anthropic),
            Operation::GenerateContent | Operation::StreamGenerateContent => Some(Wire::Gemini),
            Operation::Converse | Operation::ConverseStream => Some(Wire::Bedrock),
            Operation::CohereChat => Some(Wire::Cohere),
            Operation::Prediction => Some(Wire::Replicate),
            _ => None,
        }
    }

    /// The operation that asks in this format.
    pub fn operation(self, stream: bool) -> Operation {
        match (self, stream) {
            (Wire::OpenAiChat, _) => Operation::Chat,
            (Wire::OpenAiResponses, _) => Operation::Responses,
            (Wire::Anthropic, _) => Operation::Messages,
            (Wire::Gemini, false) => Operation::GenerateContent,
            (Wire::Gemini, true) => Operation::StreamGenerateContent,
            (Wire::Bedrock, false) => Operation::Converse,
            (Wire::Bedrock, true) => Operation::ConverseStream,
            (Wire::Cohere, _) => Operation::CohereChat,
            (Wire::Replicate, _) => Operation::Prediction,
        }
    }

    /// Whose API it is of.
    pub fn api(self) -> Api {
        self.operation(false).api()
    }

    /// Its name: in the README, and before the signatures that other formats keep for it.
    pub fn name(self) -> &'static str {
        match self {
            Wire::OpenAiChat => "openai-chat",
            Wire::OpenAiResponses => "openai-responses",
            Wire::Anthropic => "anthropic",
            Wire::Gemini => "gemini",
            Wire::Bedrock => "bedrock",
            Wire::Cohere => "cohere",
            Wire::Replicate => "replicate",
        }
    }

    /// The format of that name.
    pub fn named(name: &str) -> Option<Wire> {
        Wire::ALL.into_iter().find(|wire| wire.name() == name)
    }
}
