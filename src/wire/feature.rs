//! The feature matrix: what a request may ask for beyond plain text, which format supports it, and where a
//! caller sets it.
//!
//! One row a feature, one column a format. `fit` acts on this table and
//! docs/translation.md is printed from it.

use super::api::Format;

/// What happens to a feature at a provider of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// The format has it.
    Supported,
    /// It is left out, and named in `x-keymux-dropped`: the answer means the same without it.
    Dropped,
    /// The request is refused: without it the answer would mean something else.
    Refused,
}

use Support::{Dropped as Drop, Refused as No, Supported as Yes};

/// A row of the matrix.
struct Row {
    feature: Feature,
    name: &'static str,
    /// In the order of [`Format::ALL`].
    support: [Support; 7],
    /// The member by which a caller sets it, in the order of [`Format::OF_CALLERS`]. Empty: the format has
    /// no such member.
    places: [&'static str; 5],
}

macro_rules! features {
    ($($name:ident = $words:literal: [$($support:ident),*], [$($place:literal),*];)*) => {
        /// Something that a request can ask for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each has its words in the matrix")]
        pub enum Feature { $($name,)* }

        const MATRIX: &[Row] = &[$(Row {
            feature: Feature::$name,
            name: $words,
            support: [$($support),*],
            places: [$($place),*],
        },)*];
    };
}

// Columns of the first list: chat, responses, anthropic, gemini, bedrock, cohere, replicate.
// Columns of the second list: chat, responses, anthropic, gemini, bedrock.
#[rustfmt::skip]
features! {
    // Content of turns.
    // Anthropic: as user text at its place, because only some models take the role there, and no cloud does.
    // Gemini: appended to `systemInstruction`.
    SystemTurn = "system messages within the conversation":
        [Yes, Yes, Yes, Yes, Yes, Yes, Yes],
        ["messages[].role", "input[].role", "messages[].role", "", "messages[].role"];
    ParticipantName = "participant names":
        [Yes, Drop, Drop, Drop, Drop, Drop, Drop],
        ["messages[].name", "", "", "", ""];
    // OpenAI models begin a new message after one of their own.
    Prefill = "prefill (a last turn of the assistant)":
        [No, No, Yes, Yes, Yes, No, No],
        ["messages[].role", "", "messages[]", "contents[]", "messages"];
    ImageBytes = "images in base64":
        [Yes, Yes, Yes, Yes, Yes, Yes, Yes],
        ["messages[].content[].image_url.url", "input[].content[].image_url", "messages[].content[].source", "contents[].parts[].inlineData", "messages[].content[].image.source.bytes"];
    // Gemini: fetched by Google, by both APIs (<https://ai.google.dev/gemini-api/docs/file-input-methods>;
    // recorded from Vertex). Bedrock takes the location of an S3 object only.
    ImageUrl = "images by URL":
        [Yes, Yes, Yes, Yes, No, Yes, Yes],
        ["messages[].content[].image_url.url", "input[].content[].image_url", "messages[].content[].source", "contents[].parts[].fileData", "messages[].content[].image.source.s3Location"];
    ImageDetail = "image detail":
        [Yes, Yes, Drop, Drop, Drop, Yes, Drop],
        ["messages[].content[].image_url.detail", "input[].content[].detail", "", "generationConfig.mediaResolution", ""];
    DocumentBytes = "PDF documents in base64":
        [Yes, Yes, Yes, Yes, Yes, No, No],
        ["messages[].content[].file.file_data", "input[].content[].file_data", "messages[].content[].source", "contents[].parts[].inlineData", "messages[].content[].document.source.bytes"];
    DocumentUrl = "documents by URL":
        [No, Yes, Yes, Yes, No, No, No],
        ["messages[].content[].document_url", "input[].content[].file_url", "messages[].content[].source", "contents[].parts[].fileData", "messages[].content[].document.source.s3Location"];
    // Chat: as text.
    DocumentText = "plain-text documents":
        [Yes, Yes, Yes, Yes, Yes, Yes, No],
        ["", "input[].content[].file_data", "messages[].content[].source", "contents[].parts[].inlineData", "messages[].content[].document.source.text"];
    Audio = "audio":
        [Yes, No, No, Yes, Yes, No, No],
        ["messages[].content[].input_audio", "input[].content[].input_audio", "", "contents[].parts[].inlineData", "messages[].content[].audio"];
    Video = "video":
        [No, No, No, Yes, Yes, No, No],
        ["messages[].content[].video_url", "", "", "contents[].parts[].inlineData", "messages[].content[].video"];
    // Gemini takes its own files.
    FileId = "files by provider file id":
        [Yes, Yes, Yes, No, No, No, No],
        ["messages[].content[].file.file_id", "input[].content[].file_id", "messages[].content[].source.file_id", "contents[].parts[].fileData", ""];
    // Chat: see `Quirks::reasoning`. Responses takes back only what it signed itself.
    Reasoning = "reasoning of earlier turns":
        [Drop, Drop, Yes, Yes, Yes, Yes, Drop],
        ["messages[].reasoning_content", "input[].summary", "messages[].content[].thinking", "contents[].parts[].thought", "messages[].content[].reasoningContent"];
    ForeignSignatures = "reasoning signatures of other providers":
        [Drop, Drop, Drop, Drop, Drop, Drop, Drop],
        ["messages[].tool_calls[].extra_content", "input[].encrypted_content", "messages[].content[].signature", "contents[].parts[].thoughtSignature", "messages[].content[].reasoningContent.reasoningText.signature"];
    // Each format takes its own blocks.
    ServerToolBlock = "server tool calls and results":
        [No, No, No, No, No, No, No],
        ["messages[].content[]", "input[].type", "messages[].content[]", "contents[].parts[].executableCode", "messages[].content[].toolUse.type"];
    // OpenAI and Gemini cache prompts without cache points.
    CachePoint = "prompt cache points":
        [Drop, Drop, Yes, Drop, Yes, Drop, Drop],
        ["messages[].content[].cache_control", "", "messages[].content[].cache_control", "", "messages[].content[].cachePoint"];
    // Cohere cites documents unless it is told otherwise.
    Citations = "document citations":
        [Drop, Drop, Drop, Drop, Drop, Yes, Drop],
        ["", "", "messages[].content[].citations", "", "messages[].content[].document.citations"];
    // Tools.
    Tools = "tools":
        [Yes, Yes, Yes, Yes, Yes, Yes, No],
        ["tools[]", "tools", "tools[]", "tools[].functionDeclarations", "toolConfig.tools"];
    StrictTools = "strict tools":
        [Yes, Yes, Yes, Drop, Yes, Yes, No],
        ["tools[].function.strict", "tools[].strict", "tools[].strict", "", "toolConfig.tools[].toolSpec.strict"];
    // Each format takes its own tools.
    ServerTool = "server tools":
        [No, No, No, No, No, No, No],
        ["tools[]", "tools[].type", "tools[]", "tools[].googleSearch", "toolConfig.tools[].systemTool"];
    ToolChoiceAny = "tool choice: any":
        [Yes, Yes, Yes, Yes, Yes, Yes, No],
        ["tool_choice", "tool_choice", "tool_choice", "toolConfig.functionCallingConfig.mode", "toolConfig.toolChoice.any"];
    ToolChoiceNamed = "tool choice: one named tool":
        [Yes, Yes, Yes, Yes, Yes, Yes, No],
        ["tool_choice", "tool_choice.name", "tool_choice", "toolConfig.functionCallingConfig.allowedFunctionNames", "toolConfig.toolChoice.tool"];
    ToolChoiceNone = "tool choice: none":
        [Yes, Yes, Yes, Yes, Yes, Yes, No],
        ["tool_choice", "tool_choice", "tool_choice", "toolConfig.functionCallingConfig.mode", ""];
    ToolChoiceAnyOf = "tool choice: any of a list":
        [Yes, Yes, Yes, Yes, Yes, Yes, No],
        ["tool_choice.allowed_tools", "tool_choice.tools", "", "toolConfig.functionCallingConfig.allowedFunctionNames", ""];
    // Results of several calls can be expressed in every format.
    SingleToolCall = "no parallel tool calls":
        [Yes, Yes, Yes, Drop, Drop, Drop, Drop],
        ["parallel_tool_calls", "parallel_tool_calls", "tool_choice.disable_parallel_tool_use", "", ""];
    // Chat, Responses: the text of the result reports the failure.
    ToolResultError = "failed tool results":
        [Drop, Drop, Yes, Yes, Yes, Drop, No],
        ["", "", "messages[].content[].is_error", "contents[].parts[].functionResponse.response.error", "messages[].content[].toolResult.status"];
    // Chat: in a user message after the results, because a tool message holds text only.
    ToolResultMedia = "images in tool results":
        [Yes, Yes, Yes, Yes, Yes, No, No],
        ["messages[].content[]", "input[].output", "messages[].content[].content[]", "contents[].parts[].functionResponse.parts", "messages[].content[].toolResult.content[].image"];
    // The answer.
    MaxTokens = "maximum output tokens":
        [Yes, Yes, Yes, Yes, Yes, Yes, Yes],
        ["max_completion_tokens", "max_output_tokens", "max_tokens", "generationConfig.maxOutputTokens", "inferenceConfig.maxTokens"];
    StopSequences = "stop sequences":
        [Yes, No, Yes, Yes, Yes, Yes, Yes],
        ["stop", "", "stop_sequences", "generationConfig.stopSequences", "inferenceConfig.stopSequences"];
    JsonObject = "JSON mode":
        [Yes, Yes, Yes, Yes, Yes, Yes, No],
        ["response_format", "text.format", "", "generationConfig.responseMimeType", ""];
    JsonSchema = "JSON schema output":
        [Yes, Yes, Yes, Yes, Yes, Yes, No],
        ["response_format.json_schema", "text.format", "output_config.format", "generationConfig.responseJsonSchema", "outputConfig.textFormat"];
    Candidates = "multiple candidates":
        [Yes, No, No, Yes, No, No, No],
        ["n", "", "", "generationConfig.candidateCount", ""];
    Logprobs = "log probabilities":
        [Yes, Yes, Drop, Yes, Drop, Yes, Drop],
        ["logprobs", "top_logprobs", "", "generationConfig.responseLogprobs", ""];
    Verbosity = "verbosity":
        [Drop, Drop, Drop, Drop, Drop, Drop, Drop],
        ["verbosity", "text.verbosity", "", "", ""];
    AudioOutput = "audio output":
        [No, No, No, No, No, No, No],
        ["audio", "", "", "generationConfig.speechConfig", ""];
    ImageOutput = "image output":
        [No, No, No, No, No, No, No],
        ["modalities", "", "", "generationConfig.responseModalities", ""];
    // Sampling.
    Temperature = "temperature":
        [Yes, Yes, Yes, Yes, Yes, Yes, Yes],
        ["temperature", "temperature", "temperature", "generationConfig.temperature", "inferenceConfig.temperature"];
    TopP = "top-p":
        [Yes, Yes, Yes, Yes, Yes, Yes, Yes],
        ["top_p", "top_p", "top_p", "generationConfig.topP", "inferenceConfig.topP"];
    TopK = "top-k":
        [Drop, Drop, Yes, Yes, Yes, Yes, Yes],
        ["top_k", "", "top_k", "generationConfig.topK", "additionalModelRequestFields.top_k"];
    FrequencyPenalty = "frequency penalty":
        [Yes, Drop, Drop, Yes, Drop, Yes, Yes],
        ["frequency_penalty", "", "", "generationConfig.frequencyPenalty", ""];
    PresencePenalty = "presence penalty":
        [Yes, Drop, Drop, Yes, Drop, Yes, Yes],
        ["presence_penalty", "", "", "generationConfig.presencePenalty", ""];
    Seed = "seed":
        [Yes, Drop, Drop, Yes, Drop, Yes, Drop],
        ["seed", "", "", "generationConfig.seed", ""];
    LogitBias = "logit bias":
        [Drop, Drop, Drop, Drop, Drop, Drop, Drop],
        ["logit_bias", "", "", "", ""];
    // Reasoning.
    ReasoningEffort = "reasoning effort":
        [Yes, Yes, Yes, Yes, Yes, Yes, Yes],
        ["reasoning_effort", "reasoning.effort", "output_config.effort", "generationConfig.thinkingConfig.thinkingLevel", "outputConfig.effort"];
    // Formats without budgets get the nearest effort.
    ReasoningBudget = "reasoning token budget":
        [Yes, Yes, Yes, Yes, Yes, Yes, Yes],
        ["thinking.budget_tokens", "", "thinking.budget_tokens", "generationConfig.thinkingConfig.thinkingBudget", "additionalModelRequestFields.thinking.budget_tokens"];
    // About the request.
    EndUser = "end user":
        [Yes, Yes, Yes, Drop, Drop, Drop, Drop],
        ["user", "safety_identifier", "metadata.user_id", "", ""];
    // OpenAI chat takes it for stored completions only. Vertex takes `labels`, which the Gemini API refuses.
    Metadata = "metadata":
        [Drop, Yes, Drop, Drop, Yes, Drop, Drop],
        ["metadata", "metadata", "", "labels", "requestMetadata"];
    // The Gemini API takes `serviceTier`, which Vertex refuses.
    ServiceTier = "service tier":
        [Yes, Yes, Yes, Drop, Yes, Drop, Drop],
        ["service_tier", "service_tier", "service_tier", "serviceTier", "serviceTier"];
    PromptCacheKey = "prompt cache key":
        [Yes, Yes, Drop, Drop, Drop, Drop, Drop],
        ["prompt_cache_key", "prompt_cache_key", "", "", ""];
    PromptCacheRetention = "prompt cache retention":
        [Drop, Drop, Drop, Drop, Drop, Drop, Drop],
        ["prompt_cache_retention", "prompt_cache_retention", "", "", ""];
    SafetySettings = "safety settings":
        [Drop, Drop, Drop, Drop, Drop, Drop, Drop],
        ["moderation", "", "", "safetySettings", ""];
    Guardrail = "guardrails":
        [No, No, No, No, No, No, No],
        ["", "", "", "modelArmorConfig", "guardrailConfig"];
    CachedContent = "cached content by id":
        [No, No, No, No, No, No, No],
        ["", "", "", "cachedContent", ""];
    Store = "storing the response":
        [Drop, Drop, Drop, Drop, Drop, Drop, Drop],
        ["store", "store", "", "store", ""];
    StoredConversation = "stored conversations":
        [No, No, No, No, No, No, No],
        ["", "previous_response_id", "", "", ""];
    PromptTemplate = "stored prompt templates":
        [No, No, No, No, No, No, No],
        ["", "prompt", "", "", "promptVariables"];
    Background = "background responses":
        [No, No, No, No, No, No, No],
        ["", "background", "", "", ""];
    Truncation = "automatic truncation":
        [Drop, Drop, Drop, Drop, Drop, Drop, Drop],
        ["", "truncation", "", "", ""];
    Include = "additional response fields":
        [Drop, Drop, Drop, Drop, Drop, Drop, Drop],
        ["", "include", "", "", "additionalModelResponseFieldPaths"];
    WebSearch = "web search":
        [No, No, No, No, No, No, No],
        ["web_search_options", "", "", "tools[].googleSearch", ""];
    Prediction = "predicted output":
        [Drop, Drop, Drop, Drop, Drop, Drop, Drop],
        ["prediction", "", "", "", ""];
    Container = "containers and remote tools":
        [No, No, No, No, No, No, No],
        ["", "", "container", "", ""];
    ContextManagement = "context management":
        [Drop, Drop, Drop, Drop, Drop, Drop, Drop],
        ["", "context_management", "context_management", "", ""];
    ProviderFields = "provider-specific fields":
        [Drop, Drop, Drop, Drop, Drop, Drop, Drop],
        ["min_p", "moderation", "inference_geo", "toolConfig.retrievalConfig", "additionalModelRequestFields"];
}

impl Feature {
    /// All features, in the order of the matrix.
    pub fn all() -> impl Iterator<Item = Feature> {
        MATRIX.iter().map(|row| row.feature)
    }

    /// Its name in error texts and in the docs.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What happens to it at a provider of `format`. Single models and vendors may support less; their
    /// format's `fit` knows.
    pub fn support(self, format: Format) -> Support {
        self.row().support[format as usize]
    }

    /// The member by which a caller of `format` sets it, in the form of the API's reference
    /// (`generationConfig.topK`, `tools[].strict`); `None`: the format has no such member.
    pub fn place(self, format: Format) -> Option<&'static str> {
        self.row().places.get(format as usize).copied().filter(|place| !place.is_empty())
    }

    fn row(self) -> &'static Row {
        &MATRIX[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_at_the_index_of_its_feature() {
        for (index, row) in MATRIX.iter().enumerate() {
            assert_eq!(row.feature as usize, index);
        }
    }

    #[test]
    fn columns_are_in_the_order_of_the_formats() {
        for (index, format) in Format::ALL.into_iter().enumerate() {
            assert_eq!(format as usize, index);
        }
        assert_eq!(Format::ALL[..5], Format::OF_CALLERS);
    }
}
