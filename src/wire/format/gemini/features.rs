//! What becomes of each feature at a provider, and where a caller asks for it.

use crate::wire::feature::{Feature as F, Verdict};

/// What becomes of a feature at a provider of this format. What only some models take is said to those,
/// and left out at the others.
pub fn verdict(feature: F) -> Verdict {
    match feature {
        // System text in mid-conversation goes to the end of `systemInstruction`.
        F::LateSystem
        | F::Prefill
        | F::ImageBytes
        // Fetched by Google, of both APIs: <https://ai.google.dev/gemini-api/docs/file-input-methods>,
        // and recorded of Vertex.
        | F::ImageUrl
        | F::DocumentBytes
        | F::DocumentUrl
        | F::DocumentText
        | F::Audio
        | F::Video
        | F::Thoughts
        | F::Tools
        | F::ChoiceAny
        | F::ChoiceTool
        | F::ChoiceNone
        | F::ChoiceAnyOf
        | F::OutcomeError
        | F::OutcomeMedia
        | F::MaxTokens
        | F::StopSequences
        | F::Json
        | F::Schema
        | F::Candidates
        | F::Logprobs
        | F::Temperature
        | F::TopP
        | F::TopK
        | F::FrequencyPenalty
        | F::PresencePenalty
        | F::Seed
        | F::Effort
        | F::Budget => Verdict::Said,
        // The Gemini API has `serviceTier` and Vertex `labels`, and each refuses the other's.
        F::Tier
        | F::Metadata
        | F::SpeakerName
        | F::ImageDetail
        | F::Seals
        | F::CacheMark
        | F::CitationsWanted
        | F::StrictTools
        // Outcomes of several calls can be told in every format.
        | F::OneCall
        | F::Verbosity
        | F::LogitBias
        | F::User
        | F::CacheKey
        | F::CacheRetention
        | F::SafetySettings
        | F::Store
        | F::Truncation
        | F::Include
        | F::Prediction
        | F::ContextEdits
        | F::ProviderFields => Verdict::Dropped,
        // Google's own files, blocks and tools are said.
        F::FileId
        | F::ForeignBlock
        | F::ServerTool
        | F::AudioOut
        | F::ImageOut
        | F::Guardrail
        | F::CachedContent
        | F::StoredConversation
        | F::PromptTemplate
        | F::Background
        | F::WebSearch
        | F::Container => Verdict::Refused,
    }
}

/// Where a caller of this format asks for a feature.
pub fn place(feature: F) -> Option<&'static str> {
    Some(match feature {
        F::Prefill => "contents[]",
        F::ImageBytes | F::DocumentBytes | F::DocumentText | F::Audio | F::Video => {
            "contents[].parts[].inlineData"
        }
        F::ImageUrl | F::DocumentUrl | F::FileId => "contents[].parts[].fileData",
        F::ImageDetail => "generationConfig.mediaResolution",
        F::Thoughts => "contents[].parts[].thought",
        F::Seals => "contents[].parts[].thoughtSignature",
        F::ForeignBlock => "contents[].parts[].executableCode",
        F::Tools => "tools[].functionDeclarations",
        F::ServerTool | F::WebSearch => "tools[].googleSearch",
        F::ChoiceAny | F::ChoiceNone => "toolConfig.functionCallingConfig.mode",
        F::ChoiceTool | F::ChoiceAnyOf => "toolConfig.functionCallingConfig.allowedFunctionNames",
        F::OutcomeError => "contents[].parts[].functionResponse.response.error",
        F::OutcomeMedia => "contents[].parts[].functionResponse.parts",
        F::MaxTokens => "generationConfig.maxOutputTokens",
        F::StopSequences => "generationConfig.stopSequences",
        F::Json => "generationConfig.responseMimeType",
        F::Schema => "generationConfig.responseJsonSchema",
        F::Candidates => "generationConfig.candidateCount",
        F::Logprobs => "generationConfig.responseLogprobs",
        F::AudioOut => "generationConfig.speechConfig",
        F::ImageOut => "generationConfig.responseModalities",
        F::Temperature => "generationConfig.temperature",
        F::TopP => "generationConfig.topP",
        F::TopK => "generationConfig.topK",
        F::FrequencyPenalty => "generationConfig.frequencyPenalty",
        F::PresencePenalty => "generationConfig.presencePenalty",
        F::Seed => "generationConfig.seed",
        F::Effort => "generationConfig.thinkingConfig.thinkingLevel",
        F::Budget => "generationConfig.thinkingConfig.thinkingBudget",
        F::Metadata => "labels",
        F::Tier => "serviceTier",
        F::SafetySettings => "safetySettings",
        F::Guardrail => "modelArmorConfig",
        F::CachedContent => "cachedContent",
        F::Store => "store",
        F::ProviderFields => "toolConfig.retrievalConfig",
        F::LateSystem
        | F::SpeakerName
        | F::CacheMark
        | F::CitationsWanted
        | F::StrictTools
        | F::OneCall
        | F::Verbosity
        | F::LogitBias
        | F::User
        | F::CacheKey
        | F::CacheRetention
        | F::StoredConversation
        | F::PromptTemplate
        | F::Background
        | F::Truncation
        | F::Include
        | F::Prediction
        | F::Container
        | F::ContextEdits => return None,
    })
}
