//! What becomes of each feature.

use crate::wire::feature::{Feature as F, Verdict};

/// What becomes of a feature at a provider of this format.
pub fn verdict(feature: F) -> Verdict {
    match feature {
        F::LateSystem
        | F::ImageBytes
        | F::ImageUrl
        | F::ImageDetail
        | F::DocumentText
        | F::Thoughts
        // Citing is what the models do with documents unless told otherwise.
        | F::CitationsWanted
        | F::Tools
        | F::StrictTools
        | F::ChoiceAny
        | F::ChoiceTool
        | F::ChoiceNone
        | F::ChoiceAnyOf
        | F::MaxTokens
        | F::StopSequences
        | F::Json
        | F::Schema
        | F::Logprobs
        | F::Temperature
        | F::TopP
        | F::TopK
        | F::FrequencyPenalty
        | F::PresencePenalty
        | F::Seed
        | F::Effort
        | F::Budget => Verdict::Said,
        F::SpeakerName
        | F::Seals
        | F::CacheMark
        | F::OneCall
        | F::OutcomeError
        | F::Verbosity
        | F::LogitBias
        | F::User
        | F::Metadata
        | F::Tier
        | F::CacheKey
        | F::CacheRetention
        | F::SafetySettings
        | F::Store
        | F::Truncation
        | F::Include
        | F::Prediction
        | F::ProviderFields
        | F::ContextEdits => Verdict::Dropped,
        F::Prefill
        | F::DocumentBytes
        | F::DocumentUrl
        | F::Audio
        | F::Video
        | F::FileId
        | F::ForeignBlock
        | F::ServerTool
        | F::OutcomeMedia
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
