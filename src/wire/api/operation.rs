//! What can be asked for, in whose API: a table.

/// Whose API an operation belongs to: it decides the shape of errors, of the models list, and how an
/// answer is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Api {
    /// `https://api.openai.com/v1` and all who copied it.
    OpenAi,
    /// `https://api.anthropic.com/v1`.
    Anthropic,
    /// `https://generativelanguage.googleapis.com/v1beta`, and Vertex for Google's own models.
    Gemini,
    /// `https://bedrock-runtime.REGION.amazonaws.com`.
    Bedrock,
    /// `https://api.cohere.com/v2`.
    Cohere,
    /// `https://api.replicate.com/v1`.
    Replicate,
}

impl Api {
    /// The vendor's name.
    pub fn name(self) -> &'static str {
        match self {
            Api::OpenAi => "OpenAI",
            Api::Anthropic => "Anthropic",
            Api::Gemini => "Gemini",
            Api::Bedrock => "Bedrock",
            Api::Cohere => "Cohere",
            Api::Replicate => "Replicate",
        }
    }
}

/// What a request asks for.
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
    Messages,
    CountTokens,
    /// Anthropic's messages in the envelope of Vertex: the model stands in the path.
    RawPredict,
    StreamRawPredict,
    RawCountTokens,
    GenerateContent,
    StreamGenerateContent,
    GeminiCountTokens,
    EmbedContent,
    BatchEmbedContents,
    Predict,
    Converse,
    ConverseStream,
    Invoke,
    InvokeStream,
    BedrockCountTokens,
    CohereChat,
    CohereEmbed,
    CohereRerank,
    Prediction,
    Files,
    Batches,
    StoredResponses,
    MessageBatches,
    StoredPredictions,
    InvocationJobs,
}

/// Operation, its API, its name in metrics and logs, and where it stands: the path behind the version
/// for OpenAI; the whole path for Anthropic and Cohere; for the others what follows the model. What providers
/// keep stands in a table of its own: see [`stored`](super::resources).
type Row = (Operation, Api, &'static str, &'static str);

/// In the order of [`Operation`].
static ROWS: [Row; 40] = [
    (Operation::Chat, Api::OpenAi, "chat", "/chat/completions"),
    (Operation::Completions, Api::OpenAi, "completions", "/completions"),
    (Operation::Responses, Api::OpenAi, "responses", "/responses"),
    (Operation::ResponsesCompact, Api::OpenAi, "responses_compact", "/responses/compact"),
    (
        Operation::ResponsesInputTokens,
        Api::OpenAi,
        "responses_input_tokens",
        "/responses/input_tokens",
    ),
    (Operation::Embeddings, Api::OpenAi, "embeddings", "/embeddings"),
    (Operation::Moderations, Api::OpenAi, "moderations", "/moderations"),
    (Operation::ImageGenerations, Api::OpenAi, "image_generations", "/images/generations"),
    (Operation::ImageEdits, Api::OpenAi, "image_edits", "/images/edits"),
    (Operation::ImageVariations, Api::OpenAi, "image_variations", "/images/variations"),
    (Operation::Speech, Api::OpenAi, "speech", "/audio/speech"),
    (Operation::Transcriptions, Api::OpenAi, "transcriptions", "/audio/transcriptions"),
    (Operation::Translations, Api::OpenAi, "translations", "/audio/translations"),
    (Operation::Rerank, Api::OpenAi, "rerank", "/rerank"),
    (Operation::Messages, Api::Anthropic, "messages", "/v1/messages"),
    (Operation::CountTokens, Api::Anthropic, "count_tokens", "/v1/messages/count_tokens"),
    (Operation::RawPredict, Api::Anthropic, "raw_predict", "rawPredict"),
    (Operation::StreamRawPredict, Api::Anthropic, "stream_raw_predict", "streamRawPredict"),
    (Operation::RawCountTokens, Api::Anthropic, "raw_count_tokens", "count-tokens:rawPredict"),
    (Operation::GenerateContent, Api::Gemini, "generate_content", "generateContent"),
    (
        Operation::StreamGenerateContent,
        Api::Gemini,
        "stream_generate_content",
        "streamGenerateContent",
    ),
    (Operation::GeminiCountTokens, Api::Gemini, "gemini_count_tokens", "countTokens"),
    (Operation::EmbedContent, Api::Gemini, "embed_content", "embedContent"),
    (Operation::BatchEmbedContents, Api::Gemini, "batch_embed_contents", "batchEmbedContents"),
    (Operation::Predict, Api::Gemini, "predict", "predict"),
    (Operation::Converse, Api::Bedrock, "converse", "converse"),
    (Operation::ConverseStream, Api::Bedrock, "converse_stream", "converse-stream"),
    (Operation::Invoke, Api::Bedrock, "invoke", "invoke"),
    (Operation::InvokeStream, Api::Bedrock, "invoke_stream", "invoke-with-response-stream"),
    (Operation::BedrockCountTokens, Api::Bedrock, "bedrock_count_tokens", "count-tokens"),
    (Operation::CohereChat, Api::Cohere, "cohere_chat", "/v2/chat"),
    (Operation::CohereEmbed, Api::Cohere, "cohere_embed", "/v2/embed"),
    (Operation::CohereRerank, Api::Cohere, "cohere_rerank", "/v2/rerank"),
    (Operation::Prediction, Api::Replicate, "prediction", "predictions"),
    (Operation::Files, Api::OpenAi, "files", ""),
    (Operation::Batches, Api::OpenAi, "batches", ""),
    (Operation::StoredResponses, Api::OpenAi, "stored_responses", ""),
    (Operation::MessageBatches, Api::Anthropic, "message_batches", ""),
    (Operation::StoredPredictions, Api::Replicate, "stored_predictions", ""),
    (Operation::InvocationJobs, Api::Bedrock, "invocation_jobs", ""),
];

impl Operation {
    /// How many there are.
    pub const COUNT: usize = ROWS.len();

    /// All operations, in the order of the table.
    pub fn all() -> impl Iterator<Item = Operation> {
        ROWS.iter().map(|row| row.0)
    }

    /// All operations of one API.
    pub fn of(api: Api) -> impl Iterator<Item = Operation> {
        ROWS.iter().filter(move |row| row.1 == api).map(|row| row.0)
    }

    /// The operation of that API at a path, or behind a model, as the table has it.
    pub fn at(api: Api, path: &str) -> Option<Operation> {
        let row = ROWS.iter().find(|row| row.1 == api && row.3 == path && !path.is_empty());
        row.map(|row| row.0)
    }

    /// Whose it is.
    pub fn api(self) -> Api {
        ROWS[self as usize].1
    }

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        ROWS[self as usize].2
    }

    /// Where it stands: see the table.
    pub fn path(self) -> &'static str {
        ROWS[self as usize].3
    }

    /// Whether its path asks for a stream, whatever the body says.
    pub fn streams(self) -> bool {
        matches!(
            self,
            Operation::StreamRawPredict
                | Operation::StreamGenerateContent
                | Operation::ConverseStream
                | Operation::InvokeStream
        )
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_stands_at_its_operations_place() {
        for (place, row) in ROWS.iter().enumerate() {
            assert_eq!(row.0 as usize, place, "{}", row.2);
            let found = (!row.3.is_empty()).then_some(row.0);
            assert_eq!(Operation::at(row.1, row.3), found);
        }
    }
}
