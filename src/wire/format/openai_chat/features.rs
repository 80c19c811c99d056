//! What a provider of this format can be asked, and where a caller asks for it.

use crate::wire::feature::{Feature, Verdict};

/// What becomes of a feature at a provider of this format. Vendors differ; this is OpenAI's own, and what a
/// vendor takes beyond it stands in its row of [`Quirks`](crate::wire::format::quirks::Quirks).
pub fn verdict(feature: Feature) -> Verdict {
    match feature {
        // A plain-text document becomes text.
        Feature::LateSystem
        | Feature::SpeakerName
        | Feature::ImageBytes
        | Feature::ImageUrl
        | Feature::ImageDetail
        | Feature::DocumentBytes
        | Feature::DocumentText
        | Feature::Audio
        | Feature::FileId
        | Feature::Tools
        | Feature::StrictTools
        | Feature::ChoiceAny
        | Feature::ChoiceTool
        | Feature::ChoiceNone
        | Feature::ChoiceAnyOf
        | Feature::OneCall
        // In the message behind the results: a tool's has text only.
        | Feature::OutcomeMedia
        | Feature::MaxTokens
        | Feature::StopSequences
        | Feature::Json
        | Feature::Schema
        | Feature::Candidates
        | Feature::Logprobs
        | Feature::Temperature
        | Feature::TopP
        | Feature::FrequencyPenalty
        | Feature::PresencePenalty
        | Feature::Seed
        | Feature::Effort
        // In words of effort.
        | Feature::Budget
        | Feature::User
        | Feature::Tier
        | Feature::CacheKey => Verdict::Said,
        Feature::Thoughts
        | Feature::Seals
        | Feature::CacheMark
        | Feature::CitationsWanted
        // The result's own text says it.
        | Feature::OutcomeError
        | Feature::Verbosity
        | Feature::TopK
        | Feature::LogitBias
        // OpenAI takes them only of answers that it is to store.
        | Feature::Metadata
        | Feature::CacheRetention
        | Feature::SafetySettings
        | Feature::Store
        | Feature::Truncation
        | Feature::Include
        | Feature::Prediction
        | Feature::ContextEdits
        | Feature::ProviderFields => Verdict::Dropped,
        // OpenAI's models begin anew behind a message of their own.
        Feature::Prefill
        | Feature::DocumentUrl
        | Feature::Video
        | Feature::ForeignBlock
        | Feature::ServerTool
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
        Feature::LateSystem | Feature::Prefill => "messages[].role",
        Feature::SpeakerName => "messages[].name",
        Feature::ImageBytes | Feature::ImageUrl => "messages[].content[].image_url.url",
        Feature::ImageDetail => "messages[].content[].image_url.detail",
        Feature::DocumentBytes => "messages[].content[].file.file_data",
        Feature::DocumentUrl => "messages[].content[].document_url",
        Feature::Audio => "messages[].content[].input_audio",
        Feature::Video => "messages[].content[].video_url",
        Feature::FileId => "messages[].content[].file.file_id",
        Feature::Thoughts => "messages[].reasoning_content",
        Feature::Seals => "messages[].tool_calls[].extra_content",
        Feature::ForeignBlock | Feature::OutcomeMedia => "messages[].content[]",
        Feature::CacheMark => "messages[].content[].cache_control",
        Feature::Tools | Feature::ServerTool => "tools[]",
        Feature::StrictTools => "tools[].function.strict",
        Feature::ChoiceAny | Feature::ChoiceTool | Feature::ChoiceNone => "tool_choice",
        Feature::ChoiceAnyOf => "tool_choice.allowed_tools",
        Feature::OneCall => "parallel_tool_calls",
        Feature::MaxTokens => "max_completion_tokens",
        Feature::StopSequences => "stop",
        Feature::Json => "response_format",
        Feature::Schema => "response_format.json_schema",
        Feature::Candidates => "n",
        Feature::Logprobs => "logprobs",
        Feature::Verbosity => "verbosity",
        Feature::AudioOut => "audio",
        Feature::ImageOut => "modalities",
        Feature::Temperature => "temperature",
        Feature::TopP => "top_p",
        Feature::TopK => "top_k",
        Feature::FrequencyPenalty => "frequency_penalty",
        Feature::PresencePenalty => "presence_penalty",
        Feature::Seed => "seed",
        Feature::LogitBias => "logit_bias",
        Feature::Effort => "reasoning_effort",
        Feature::Budget => "thinking.budget_tokens",
        Feature::User => "user",
        Feature::Metadata => "metadata",
        Feature::Tier => "service_tier",
        Feature::CacheKey => "prompt_cache_key",
        Feature::CacheRetention => "prompt_cache_retention",
        Feature::SafetySettings => "moderation",
        Feature::Store => "store",
        Feature::WebSearch => "web_search_options",
        Feature::Prediction => "prediction",
        Feature::ProviderFields => "min_p",
        Feature::DocumentText
        | Feature::CitationsWanted
        | Feature::OutcomeError
        | Feature::Guardrail
        | Feature::CachedContent
        | Feature::StoredConversation
        | Feature::PromptTemplate
        | Feature::Background
        | Feature::Truncation
        | Feature::Include
        | Feature::Container
        | Feature::ContextEdits => return None,
    })
}
