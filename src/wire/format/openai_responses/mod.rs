//! OpenAI's Responses API, `/v1/responses`.
//! <https://platform.openai.com/docs/api-reference/responses>, and <https://www.openresponses.org> for the
//! part of it that other vendors serve.
//!
//! ```text
//! caller half     decode.rs input.rs tools.rs    a request -> Request
//!                 echo.rs                        what its answer repeats of it
//!                 encoder.rs output.rs parts.rs  events -> the caller's stream
//!                 object.rs                      the response object, and whole answers
//! provider half   encode.rs items.rs calls.rs    Request -> a request
//!                 decoder.rs blocks.rs told.rs   frames, or a whole answer -> events
//! both            seal.rs                        signatures in `encrypted_content`
//! ```
//!
//! An answer is a list of items: messages of several parts, reasoning, calls, and the work of OpenAI's own
//! tools. A part of a message is a block, as is an item of any other sort.
//!
//! Nothing is ever stored for a caller of another format: providers are always asked with `store: false`.

mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod signature;

use crate::wire::feature::{Feature, Verdict};
use crate::wire::json::walk::members;

pub use self::decode_request::decode_request;
pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
pub use self::encode_response::{Encoder, encode_whole};

/// The one member that a function has in place of the plain text that a custom tool takes.
const FREEFORM: &str = "input";

/// Whether a body that came to `/v1/chat/completions` is one of this format: it has `input`, and no
/// `messages`. Some clients are known to send it there.
pub fn is_responses_shaped(body: &[u8]) -> bool {
    let [input, messages] = members(body, ["input", "messages"]);
    input.is_some_and(|input| input.starts_with(b"\"") || input.starts_with(b"["))
        && messages.is_none()
}

/// What becomes of a feature at a provider of this format.
pub fn verdict(feature: Feature) -> Verdict {
    match feature {
        Feature::LateSystem
        | Feature::ImageBytes
        | Feature::ImageUrl
        | Feature::ImageDetail
        | Feature::DocumentBytes
        | Feature::DocumentUrl
        | Feature::DocumentText
        | Feature::FileId
        | Feature::Tools
        | Feature::StrictTools
        | Feature::ChoiceAny
        | Feature::ChoiceTool
        | Feature::ChoiceNone
        | Feature::ChoiceAnyOf
        | Feature::OneCall
        | Feature::OutcomeMedia
        | Feature::MaxTokens
        | Feature::Json
        | Feature::Schema
        | Feature::Logprobs
        | Feature::Temperature
        | Feature::TopP
        | Feature::Effort
        | Feature::Budget
        | Feature::User
        | Feature::Metadata
        | Feature::Tier
        | Feature::CacheKey => Verdict::Said,
        // A thought that is not signed by this API cannot be told to it, a failed result is told by its
        // text alone, and prompts are cached without marks.
        Feature::Thoughts
        | Feature::Seals
        | Feature::OutcomeError
        | Feature::CacheMark
        | Feature::CitationsWanted
        | Feature::SpeakerName
        | Feature::Verbosity
        | Feature::TopK
        | Feature::FrequencyPenalty
        | Feature::PresencePenalty
        | Feature::Seed
        | Feature::CacheRetention
        | Feature::SafetySettings
        | Feature::Store
        | Feature::Truncation
        | Feature::Include
        | Feature::Prediction
        | Feature::ContextEdits
        | Feature::ProviderFields
        | Feature::LogitBias => Verdict::Dropped,
        Feature::Prefill
        | Feature::Audio
        | Feature::Video
        | Feature::ForeignBlock
        | Feature::ServerTool
        | Feature::StopSequences
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
        Feature::LateSystem => "input[].role",
        Feature::ImageBytes | Feature::ImageUrl => "input[].content[].image_url",
        Feature::ImageDetail => "input[].content[].detail",
        Feature::DocumentBytes | Feature::DocumentText => "input[].content[].file_data",
        Feature::DocumentUrl => "input[].content[].file_url",
        Feature::Audio => "input[].content[].input_audio",
        Feature::FileId => "input[].content[].file_id",
        Feature::Thoughts => "input[].summary",
        Feature::Seals => "input[].encrypted_content",
        Feature::ForeignBlock => "input[].type",
        Feature::Tools => "tools",
        Feature::StrictTools => "tools[].strict",
        Feature::ServerTool => "tools[].type",
        Feature::ChoiceAny | Feature::ChoiceNone => "tool_choice",
        Feature::ChoiceTool => "tool_choice.name",
        Feature::ChoiceAnyOf => "tool_choice.tools",
        Feature::OneCall => "parallel_tool_calls",
        Feature::OutcomeMedia => "input[].output",
        Feature::MaxTokens => "max_output_tokens",
        Feature::Json | Feature::Schema => "text.format",
        Feature::Logprobs => "top_logprobs",
        Feature::Verbosity => "text.verbosity",
        Feature::Temperature => "temperature",
        Feature::TopP => "top_p",
        Feature::Effort => "reasoning.effort",
        Feature::User => "safety_identifier",
        Feature::Metadata => "metadata",
        Feature::Tier => "service_tier",
        Feature::CacheKey => "prompt_cache_key",
        Feature::CacheRetention => "prompt_cache_retention",
        Feature::Store => "store",
        Feature::StoredConversation => "previous_response_id",
        Feature::PromptTemplate => "prompt",
        Feature::Background => "background",
        Feature::Truncation => "truncation",
        Feature::Include => "include",
        Feature::ContextEdits => "context_management",
        Feature::ProviderFields => "moderation",
        Feature::SpeakerName
        | Feature::Prefill
        | Feature::Video
        | Feature::CacheMark
        | Feature::CitationsWanted
        | Feature::OutcomeError
        | Feature::StopSequences
        | Feature::Candidates
        | Feature::AudioOut
        | Feature::ImageOut
        | Feature::TopK
        | Feature::FrequencyPenalty
        | Feature::PresencePenalty
        | Feature::Seed
        | Feature::LogitBias
        | Feature::Budget
        | Feature::SafetySettings
        | Feature::Guardrail
        | Feature::CachedContent
        | Feature::WebSearch
        | Feature::Prediction
        | Feature::Container => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_of_this_format_by_its_input() {
        assert!(is_responses_shaped(br#"{"model":"m","input":"Hello"}"#));
        assert!(is_responses_shaped(br#"{"input": [{"role":"user","content":"x"}]}"#));
        assert!(!is_responses_shaped(br#"{"messages":[],"input":"x"}"#));
        assert!(!is_responses_shaped(br#"{"messages":[{"input":"x"}]}"#));
        assert!(!is_responses_shaped(b"[1]"));
    }
}
