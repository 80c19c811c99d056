//! Predictions of language models on Replicate. No caller speaks it.
//! <https://replicate.com/docs/reference/http#predictions.create>
//!
//! A model is asked by the members of its own `input`, of which the official language models have a few in
//! common: a prompt, a system prompt, limits of sampling. Only OpenAI's take a conversation; a template
//! that would make one prompt of many turns is nothing that this knows of other models.
//!
//! ```text
//! encode.rs    Request -> body; vendors.rs: how each vendor's models name things
//! stream.rs    an answer, streamed or whole -> events
//! ```
//!
//! A stream is not the answer to the request that asks for it: that answer names its address
//! (`urls.stream`). The decoder is for what comes from there.

mod encode_request;
mod decode_response;
mod vendors;

pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;

use crate::wire::feature::{Feature as F, Verdict};

/// What becomes of a feature at a provider of this format. What only some vendors' models take is said to
/// those, and left out or refused at the others.
pub fn verdict(feature: F) -> Verdict {
    match feature {
        F::LateSystem
        | F::ImageBytes
        | F::ImageUrl
        | F::MaxTokens
        | F::StopSequences
        | F::Temperature
        | F::TopP
        | F::TopK
        | F::FrequencyPenalty
        | F::PresencePenalty
        | F::Effort
        | F::Budget => Verdict::Said,
        F::SpeakerName
        | F::ImageDetail
        | F::Thoughts
        | F::Seals
        | F::CacheMark
        | F::CitationsWanted
        | F::OneCall
        | F::Verbosity
        | F::Seed
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
        | F::Logprobs
        | F::ContextEdits => Verdict::Dropped,
        F::Prefill
        | F::DocumentBytes
        | F::DocumentUrl
        | F::DocumentText
        | F::Audio
        | F::Video
        | F::FileId
        | F::ForeignBlock
        | F::Tools
        | F::StrictTools
        | F::ServerTool
        | F::ChoiceAny
        | F::ChoiceTool
        | F::ChoiceNone
        | F::ChoiceAnyOf
        | F::OutcomeError
        | F::OutcomeMedia
        | F::Json
        | F::Schema
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
