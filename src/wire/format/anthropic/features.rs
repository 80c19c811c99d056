//! Where callers write what, and what becomes of it at a provider: two tables.

use crate::wire::feature::{Feature, Verdict};

/// What becomes of a feature at a provider of this format.
pub fn verdict(feature: Feature) -> Verdict {
    match feature {
        // As text of the user, in its place: the role of its own is for some models, and not on clouds.
        Feature::LateSystem
        | Feature::Prefill
        | Feature::ImageBytes
        | Feature::ImageUrl
        | Feature::DocumentBytes
        | Feature::DocumentUrl
        | Feature::DocumentText
        | Feature::FileId
        | Feature::Thoughts
        | Feature::CacheMark
        | Feature::Tools
        | Feature::StrictTools
        | Feature::ChoiceAny
        | Feature::ChoiceTool
        | Feature::ChoiceNone
        | Feature::ChoiceAnyOf
        | Feature::OneCall
        | Feature::OutcomeError
        | Feature::OutcomeMedia
        | Feature::MaxTokens
        | Feature::StopSequences
        | Feature::Json
        | Feature::Schema
        | Feature::Temperature
        | Feature::TopP
        | Feature::TopK
        | Feature::Effort
        | Feature::Budget
        | Feature::User
        | Feature::Tier => Verdict::Said,
        Feature::SpeakerName
        | Feature::ImageDetail
        | Feature::Seals
        | Feature::CitationsWanted
        | Feature::Logprobs
        | Feature::Verbosity
        | Feature::FrequencyPenalty
        | Feature::PresencePenalty
        | Feature::Seed
        | Feature::LogitBias
        | Feature::Metadata
        | Feature::CacheKey
        | Feature::CacheRetention
        | Feature::SafetySettings
        | Feature::Store
        | Feature::Truncation
        | Feature::Include
        | Feature::Prediction
        | Feature::ContextEdits
        | Feature::ProviderFields => Verdict::Dropped,
        Feature::Audio
        | Feature::Video
        | Feature::ForeignBlock
        | Feature::ServerTool
        | Feature::Candidates
        | Feature::AudioOut
        | Feature::ImageOut
        | Feature::Guardrail
        | Feature::CachedContent
        | Feature::StoredConversation
        | Feature::PromptTemplate
        | Feature::Background
        | Feature::WebSearch
        | Feature::Container => Verdict::Refused,
    }
}

/// Where a caller of this format asks for a feature.
pub fn place(feature: Feature) -> Option<&'static str> {
    Some(match feature {
        Feature::LateSystem => "messages[].role",
        Feature::Prefill => "messages[]",
        Feature::ImageBytes
        | Feature::ImageUrl
        | Feature::DocumentBytes
        | Feature::DocumentUrl
        | Feature::DocumentText => "messages[].content[].source",
        Feature::FileId => "messages[].content[].source.file_id",
        Feature::Thoughts => "messages[].content[].thinking",
        Feature::Seals => "messages[].content[].signature",
        Feature::ForeignBlock => "messages[].content[]",
        Feature::CacheMark => "messages[].content[].cache_control",
        Feature::CitationsWanted => "messages[].content[].citations",
        Feature::Tools | Feature::ServerTool => "tools[]",
        Feature::StrictTools => "tools[].strict",
        Feature::ChoiceAny | Feature::ChoiceTool | Feature::ChoiceNone => "tool_choice",
        Feature::OneCall => "tool_choice.disable_parallel_tool_use",
        Feature::OutcomeError => "messages[].content[].is_error",
        Feature::OutcomeMedia => "messages[].content[].content[]",
        Feature::MaxTokens => "max_tokens",
        Feature::StopSequences => "stop_sequences",
        Feature::Schema => "output_config.format",
        Feature::Temperature => "temperature",
        Feature::TopP => "top_p",
        Feature::TopK => "top_k",
        Feature::Effort => "output_config.effort",
        Feature::Budget => "thinking.budget_tokens",
        Feature::User => "metadata.user_id",
        Feature::Tier => "service_tier",
        Feature::Container => "container",
        Feature::ContextEdits => "context_management",
        Feature::ProviderFields => "inference_geo",
        Feature::SpeakerName
        | Feature::ImageDetail
        | Feature::Audio
        | Feature::Video
        | Feature::ChoiceAnyOf
        | Feature::Json
        | Feature::Candidates
        | Feature::Logprobs
        | Feature::Verbosity
        | Feature::AudioOut
        | Feature::ImageOut
        | Feature::FrequencyPenalty
        | Feature::PresencePenalty
        | Feature::Seed
        | Feature::LogitBias
        | Feature::Metadata
        | Feature::CacheKey
        | Feature::CacheRetention
        | Feature::SafetySettings
        | Feature::Guardrail
        | Feature::CachedContent
        | Feature::Store
        | Feature::StoredConversation
        | Feature::PromptTemplate
        | Feature::Background
        | Feature::Truncation
        | Feature::Include
        | Feature::WebSearch
        | Feature::Prediction => return None,
    })
}
