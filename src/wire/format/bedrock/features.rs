//! What becomes of each feature at a provider, and where a caller asks for it.

use crate::wire::feature::{Feature as F, Verdict};

/// What becomes of a feature at a provider of this format. What only some models take is said to those,
/// and left out or refused at the others.
pub fn verdict(feature: F) -> Verdict {
    match feature {
        F::LateSystem
        | F::Prefill
        | F::ImageBytes
        | F::DocumentBytes
        | F::DocumentText
        | F::Audio
        | F::Video
        | F::Thoughts
        | F::CacheMark
        | F::Tools
        | F::StrictTools
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
        | F::Temperature
        | F::TopP
        | F::TopK
        | F::Effort
        | F::Budget
        | F::Metadata
        | F::Tier => Verdict::Said,
        F::SpeakerName
        | F::ImageDetail
        | F::Seals
        | F::CitationsWanted
        | F::OneCall
        | F::Verbosity
        | F::FrequencyPenalty
        | F::PresencePenalty
        | F::Seed
        | F::LogitBias
        | F::User
        | F::CacheKey
        | F::CacheRetention
        | F::SafetySettings
        | F::Store
        | F::Truncation
        | F::Include
        | F::Logprobs
        | F::Prediction
        | F::ProviderFields
        | F::ContextEdits => Verdict::Dropped,
        // Those of a bucket are said.
        F::ImageUrl
        | F::DocumentUrl
        | F::FileId
        | F::ForeignBlock
        | F::ServerTool
        | F::Candidates
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
        F::LateSystem => "messages[].role",
        F::Prefill => "messages",
        F::ImageBytes => "messages[].content[].image.source.bytes",
        F::ImageUrl => "messages[].content[].image.source.s3Location",
        F::DocumentBytes => "messages[].content[].document.source.bytes",
        F::DocumentUrl => "messages[].content[].document.source.s3Location",
        F::DocumentText => "messages[].content[].document.source.text",
        F::Audio => "messages[].content[].audio",
        F::Video => "messages[].content[].video",
        F::Thoughts => "messages[].content[].reasoningContent",
        F::Seals => "messages[].content[].reasoningContent.reasoningText.signature",
        F::ForeignBlock => "messages[].content[].toolUse.type",
        F::CacheMark => "messages[].content[].cachePoint",
        F::CitationsWanted => "messages[].content[].document.citations",
        F::Tools => "toolConfig.tools",
        F::StrictTools => "toolConfig.tools[].toolSpec.strict",
        F::ServerTool => "toolConfig.tools[].systemTool",
        F::ChoiceAny => "toolConfig.toolChoice.any",
        F::ChoiceTool => "toolConfig.toolChoice.tool",
        F::OutcomeError => "messages[].content[].toolResult.status",
        F::OutcomeMedia => "messages[].content[].toolResult.content[].image",
        F::MaxTokens => "inferenceConfig.maxTokens",
        F::StopSequences => "inferenceConfig.stopSequences",
        F::Schema => "outputConfig.textFormat",
        F::Temperature => "inferenceConfig.temperature",
        F::TopP => "inferenceConfig.topP",
        F::TopK => "additionalModelRequestFields.top_k",
        F::Effort => "outputConfig.effort",
        F::Budget => "additionalModelRequestFields.thinking.budget_tokens",
        F::Metadata => "requestMetadata",
        F::Tier => "serviceTier",
        F::Guardrail => "guardrailConfig",
        F::PromptTemplate => "promptVariables",
        F::Include => "additionalModelResponseFieldPaths",
        F::ProviderFields => "additionalModelRequestFields",
        F::SpeakerName
        | F::ImageDetail
        | F::FileId
        | F::ChoiceNone
        | F::ChoiceAnyOf
        | F::OneCall
        | F::Json
        | F::Candidates
        | F::Logprobs
        | F::Verbosity
        | F::AudioOut
        | F::ImageOut
        | F::FrequencyPenalty
        | F::PresencePenalty
        | F::Seed
        | F::LogitBias
        | F::User
        | F::CacheKey
        | F::CacheRetention
        | F::SafetySettings
        | F::CachedContent
        | F::Store
        | F::StoredConversation
        | F::Background
        | F::Truncation
        | F::WebSearch
        | F::Prediction
        | F::Container
        | F::ContextEdits => return None,
    })
}
